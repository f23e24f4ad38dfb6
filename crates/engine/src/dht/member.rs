//! The member's side: says that it is there, takes knocks out of the mailboxes and
//! puts the answers where whoever knocked looks for them.
//!
//! A knock from a mailbox goes the way of every other knock, through the post to
//! the share that it fits. What it leads to is decided there.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use passalong_proto::invite::InviteSecret;
use passalong_proto::knock::{self, SessionId};
use passalong_proto::rendezvous::agenda::{Agenda, MemberAgenda, MemberErrand, Outcome};
use passalong_proto::rendezvous::mailbox::{Mailbox, encode_answer};
use passalong_proto::rendezvous::presence::{Presence, Presences};
use passalong_proto::rendezvous::{ANSWER_SLOTS, PRESENCE_SLOTS, Place, Slot};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::{Dht, Lease, Unwritten, this_hour};
use crate::context::Context;

/// Knocks taken out of the mailboxes at one look: what somebody with the invite
/// can have this device work on. The others are taken at the next look.
const AT_ONE_LOOK: usize = 6;
/// Knocks that are remembered as seen.
const REMEMBERED: usize = 256;
/// Times that an answer is put down while its knock stays where it was.
const ANSWERS: u8 = 3;
/// Answers that may wait to be put down.
const QUEUE: usize = 32;

/// A sealed answer, and where it is looked for.
#[derive(Debug)]
pub(crate) struct Mail {
    /// The number in the header of the knock.
    pub(crate) knock: [u8; 8],
    pub(crate) session: SessionId,
    pub(crate) answer: Vec<u8>,
}

/// How many others are linked, and whether anybody else is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crowd {
    links: usize,
    room: bool,
}

/// A member that can be met in the DHT, until this is dropped.
pub(crate) struct Member {
    crowd: watch::Sender<Crowd>,
    task: JoinHandle<()>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Member {
    /// Can be met from now on, unless the DHT is switched off.
    pub(crate) fn start(context: &Arc<Context>, secret: InviteSecret) -> Option<Member> {
        let dht = context.dht()?;
        let lease = dht.join();
        let now = dht.began.elapsed();
        let (crowd, watched) = watch::channel(Crowd {
            links: 0,
            room: true,
        });
        let (answers, written) = mpsc::channel(QUEUE);
        let meeting = Meeting {
            context: Arc::clone(context),
            secret,
            lease,
            crowd: watched,
            agenda: MemberAgenda::new(now, u64::from_le_bytes(crate::random())),
            began: dht.began,
            round: Round::among(dht, now),
            announced: Vec::new(),
            seen: VecDeque::new(),
            answers,
            errands: JoinSet::new(),
        };
        Some(Member {
            crowd,
            task: tokio::spawn(meeting.run(written)),
        })
    }

    /// Says how many others are linked, and whether anybody else is let in.
    pub(crate) fn crowd(&self, links: usize, room: bool) {
        let crowd = Crowd { links, room };
        self.crowd
            .send_if_modified(|now| std::mem::replace(now, crowd) != crowd);
    }
}

/// A share among those of this device, until this is dropped.
struct Round {
    dht: Arc<Dht>,
    number: u64,
}

impl Round {
    fn among(dht: Arc<Dht>, now: Duration) -> Round {
        let number = dht.rounds().enter(now);
        Round { dht, number }
    }

    /// How long to leave between two looks where something last happened at `touched`.
    fn since(&self, touched: Duration) -> Duration {
        self.dht.rounds().pause(self.number, touched)
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.dht.rounds().leave(self.number);
    }
}

/// A knock that was taken out of a mailbox.
struct Seen {
    knock: [u8; 8],
    /// The answer to it, once there is one, and how often it was put down.
    answer: Option<(SessionId, Vec<u8>)>,
    put: u8,
}

/// What an errand brought.
enum Brought {
    Announced(Outcome),
    /// The knocks that lie in the mailboxes.
    Knocks(Option<Vec<Vec<u8>>>),
    Answered,
}

struct Meeting {
    context: Arc<Context>,
    secret: InviteSecret,
    lease: Lease,
    crowd: watch::Receiver<Crowd>,
    agenda: MemberAgenda,
    began: Instant,
    round: Round,
    /// The addresses that were told of last.
    announced: Vec<SocketAddr>,
    seen: VecDeque<Seen>,
    answers: mpsc::Sender<Mail>,
    errands: JoinSet<Brought>,
}

impl Meeting {
    async fn run(mut self, mut written: mpsc::Receiver<Mail>) {
        loop {
            if !self.lease.is_inside() {
                self.lease.inside().await;
                self.agenda.online(self.began.elapsed());
            }
            while let Some(errand) = self.agenda.next(self.began.elapsed()) {
                self.begin(errand);
            }
            let wake = self.agenda.wake().map(|wake| self.began + wake);
            tokio::select! {
                () = at(wake) => {}
                Some(brought) = self.errands.join_next(), if !self.errands.is_empty() => {
                    if let Ok(brought) = brought {
                        self.brought(brought);
                    }
                }
                Some(mail) = written.recv() => self.answer(mail),
                changed = self.crowd.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let Crowd { links, room } = *self.crowd.borrow_and_update();
                    self.agenda.crowd(self.began.elapsed(), links, room);
                }
            }
        }
    }

    fn begin(&mut self, errand: MemberErrand) {
        let (lease, secret) = (self.lease.clone(), self.secret);
        match errand {
            MemberErrand::Announce => {
                self.announced = self.addresses();
                let own = Presence {
                    device: self.context.device(),
                    hour: this_hour(),
                    addresses: self.announced.clone(),
                };
                self.errands.spawn(async move {
                    Brought::Announced(announce(&lease, &secret, &own).await)
                });
            }
            MemberErrand::Collect => {
                self.errands
                    .spawn(async move { Brought::Knocks(collect(&lease, &secret).await) });
            }
        }
    }

    /// Where knocks are taken; nothing for whoever tells nobody.
    fn addresses(&self) -> Vec<SocketAddr> {
        if self.context.config.relay_only {
            return Vec::new();
        }
        self.context.addresses()
    }

    fn brought(&mut self, brought: Brought) {
        let now = self.began.elapsed();
        match brought {
            Brought::Announced(outcome) => self.agenda.done(MemberErrand::Announce, outcome, now),
            Brought::Knocks(knocks) => {
                let outcome = match knocks {
                    Some(knocks) => self.take_in(&knocks),
                    None => Outcome::Failed,
                };
                let pause = self.round.since(self.agenda.touched());
                self.agenda.leave_at_least(pause);
                self.agenda.done(MemberErrand::Collect, outcome, now);
                if self.announced != self.addresses() {
                    self.agenda.renewed(now);
                }
            }
            Brought::Answered => {}
        }
    }

    /// Delivers knocks that are new, and answers those again whose answer seems
    /// not to have been found.
    fn take_in(&mut self, knocks: &[Vec<u8>]) -> Outcome {
        let mut outcome = Outcome::Done;
        let mut delivered = 0;
        for bytes in knocks {
            let Some(id) = knock::datagram_id(bytes) else {
                continue;
            };
            if let Some(seen) = self.seen.iter_mut().find(|seen| seen.knock == id) {
                if let Some((session, answer)) = seen.answer.clone()
                    && seen.put < ANSWERS
                {
                    seen.put += 1;
                    let put = seen.put;
                    self.put(session, answer, put);
                }
                continue;
            }
            if delivered == AT_ONE_LOOK {
                break;
            }
            delivered += 1;
            if self.seen.len() == REMEMBERED {
                self.seen.pop_front();
            }
            self.seen.push_back(Seen {
                knock: id,
                answer: None,
                put: 0,
            });
            let own = self.context.device();
            let session = self
                .context
                .post
                .deliver_mail(&self.secret, own, bytes, &self.answers);
            if let Some(session) = session {
                outcome = Outcome::News;
                self.find(session);
            }
        }
        outcome
    }

    /// Finds out where the answer goes while it is still being thought of.
    fn find(&mut self, session: SessionId) {
        let slot = Slot::new(&self.secret, self.answer_place(session, 1));
        let lease = self.lease.clone();
        self.errands.spawn(async move {
            // Only the way there matters, which the node remembers.
            let _ = lease.read(&slot).await;
            Brought::Answered
        });
    }

    /// Where an answer goes: each time to another place, and each member begins with
    /// its own.
    fn answer_place(&self, session: SessionId, time: u8) -> Place {
        let own = self.context.device().0[0];
        Place::Answer(session, own.wrapping_add(time) % ANSWER_SLOTS)
    }

    fn answer(&mut self, mail: Mail) {
        let Mail {
            knock,
            session,
            answer,
        } = mail;
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.knock == knock) {
            seen.answer = Some((session, answer.clone()));
            seen.put = 1;
        }
        self.put(session, answer, 1);
    }

    /// Puts an answer down.
    fn put(&mut self, session: SessionId, answer: Vec<u8>, time: u8) {
        let Some(content) = encode_answer(&answer) else {
            return;
        };
        let slot = Slot::new(&self.secret, self.answer_place(session, time));
        let lease = self.lease.clone();
        self.errands.spawn(async move {
            let written = lease.write(&slot, |_| Some(content.clone())).await;
            if written.is_err() {
                tracing::debug!("an answer could not be put into the DHT");
            }
            Brought::Answered
        });
    }
}

async fn announce(lease: &Lease, secret: &InviteSecret, own: &Presence) -> Outcome {
    for attempt in 0..PRESENCE_SLOTS {
        let slot = Slot::new(secret, Place::of_device(own.device, attempt));
        let change = |read: &[Vec<u8>]| {
            let read: Vec<Presences> = read.iter().map(|note| Presences::decode(note)).collect();
            Some(Presences::joined_by(own.clone(), &read).encode())
        };
        match lease.write(&slot, change).await {
            Ok(_) => return Outcome::Done,
            Err(Unwritten::Conflict) => {}
            Err(Unwritten::Unreachable) => return Outcome::Failed,
        }
    }
    Outcome::Failed
}

/// The knocks in all mailboxes, in turns; `None` if none could be read.
async fn collect(lease: &Lease, secret: &InviteSecret) -> Option<Vec<Vec<u8>>> {
    let now = this_hour();
    let read = lease.read_each(secret, Place::mailboxes()).await;
    let boxes: Vec<Vec<Vec<u8>>> = read
        .into_iter()
        .map(|notes| {
            let mailboxes = notes.iter().map(|note| Mailbox::decode(note));
            mailboxes
                .flat_map(|mailbox| mailbox.knocks(now).map(<[u8]>::to_vec).collect::<Vec<_>>())
                .collect()
        })
        .collect();
    if boxes.is_empty() {
        return None;
    }
    let longest = boxes.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|nth| boxes.iter().filter_map(move |each| each.get(nth)));
    let mut knocks: Vec<Vec<u8>> = Vec::new();
    for knock in turns {
        if !knocks.contains(knock) {
            knocks.push(knock.clone());
        }
    }
    Some(knocks)
}

/// Waits for a time; for ever if there is none.
pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
