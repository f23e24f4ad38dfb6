//! The side that looks for a member: reads who is there, leaves its knock in a
//! mailbox and looks for the answer.
//!
//! Addresses that are found are told to `knocking`, and answers go through the post
//! to whoever sealed the knock. A knock that was answered is taken out again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use passalong_proto::invite::InviteSecret;
use passalong_proto::knock::{self, SessionId};
use passalong_proto::rendezvous::agenda::{Agenda, Outcome, SeekerAgenda, SeekerErrand};
use passalong_proto::rendezvous::mailbox::{Mailbox, decode_answer};
use passalong_proto::rendezvous::presence::{self, Presences};
use passalong_proto::rendezvous::{MAILBOXES, Place, Slot};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::member::at;
use super::{Dht, LITTLE_GRACE, Lease, Reach, Unwritten, this_hour};
use crate::context::Context;

/// Answers that are remembered as delivered.
const REMEMBERED: usize = 32;

/// A sealed knock that is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter {
    session: SessionId,
    bytes: Vec<u8>,
}

/// A running search in the DHT, until this is dropped.
pub(crate) struct Seeking {
    dht: Arc<Dht>,
    lease: Lease,
    secret: InviteSecret,
    letter: watch::Sender<Option<Letter>>,
    /// The mailbox that a knock lies in.
    left: watch::Receiver<Option<u8>>,
    found: watch::Receiver<Vec<SocketAddr>>,
    reach: watch::Receiver<Reach>,
    task: JoinHandle<()>,
}

impl Drop for Seeking {
    fn drop(&mut self) {
        self.task.abort();
        let letter = self.letter.borrow().clone();
        if let (Some(letter), Some(mailbox)) = (letter, *self.left.borrow())
            && Handle::try_current().is_ok()
        {
            let (lease, secret) = (self.lease.clone(), self.secret);
            self.dht
                .tidy(async move { take_out(&lease, &secret, mailbox, letter.session).await });
        }
    }
}

impl Seeking {
    /// Looks for members from now on, unless the DHT is switched off.
    pub(crate) fn start(context: &Arc<Context>, secret: InviteSecret) -> Option<Seeking> {
        let dht = context.dht()?;
        let lease = dht.join();
        let (letter, letters) = watch::channel(None);
        let (left_sender, left) = watch::channel(None);
        let (found_sender, found) = watch::channel(Vec::new());
        let search = Search {
            context: Arc::clone(context),
            secret,
            lease: lease.clone(),
            letters,
            left: left_sender,
            found: found_sender,
            agenda: SeekerAgenda::new(Duration::ZERO, u64::from_le_bytes(crate::random())),
            began: Instant::now(),
            mailbox: crate::random::<1>()[0] % MAILBOXES,
            delivered: Vec::new(),
            errands: JoinSet::new(),
        };
        Some(Seeking {
            reach: lease.reach(),
            dht,
            lease,
            secret,
            letter,
            left,
            found,
            task: tokio::spawn(search.run()),
        })
    }

    /// The sealed knock that is to be found from now on.
    pub(crate) fn knock(&self, session: SessionId, bytes: Vec<u8>) {
        self.letter.send_replace(Some(Letter { session, bytes }));
    }

    /// Whether there is a knock to be found.
    pub(crate) fn has_knock(&self) -> bool {
        self.letter.borrow().is_some()
    }

    /// Waits until something else is to be shown or knocked at.
    pub(crate) async fn changed(&mut self) {
        let ended = tokio::select! {
            changed = self.found.changed() => changed.is_err(),
            changed = self.reach.changed() => changed.is_err(),
        };
        if ended {
            std::future::pending::<()>().await;
        }
    }

    /// Where members are said to take knocks.
    pub(crate) fn found(&mut self) -> Vec<SocketAddr> {
        self.found.borrow_and_update().clone()
    }

    /// Whether the DHT can be reached, as far as is known.
    pub(crate) fn is_possible(&self) -> bool {
        !matches!(*self.reach.borrow(), Reach::Unreachable)
    }
}

/// What an errand brought.
enum Brought {
    /// The mailbox that the knock is in, and what came of it.
    Delivered(u8, Outcome),
    Found(Option<Vec<SocketAddr>>),
    Answers(Option<Vec<Vec<u8>>>),
}

struct Search {
    context: Arc<Context>,
    secret: InviteSecret,
    lease: Lease,
    letters: watch::Receiver<Option<Letter>>,
    left: watch::Sender<Option<u8>>,
    found: watch::Sender<Vec<SocketAddr>>,
    agenda: SeekerAgenda,
    began: Instant,
    mailbox: u8,
    delivered: Vec<Vec<u8>>,
    errands: JoinSet<Brought>,
}

impl Search {
    async fn run(mut self) {
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
                changed = self.letters.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.agenda.renewed(self.began.elapsed());
                }
            }
        }
    }

    fn begin(&mut self, errand: SeekerErrand) {
        let (lease, secret) = (self.lease.clone(), self.secret);
        let letter = self.letters.borrow().clone();
        match errand {
            SeekerErrand::Deliver => {
                let Some(letter) = letter else { return };
                let (mailbox, device) = (self.mailbox, self.context.device());
                let again = self.left.borrow().is_some();
                self.errands.spawn(async move {
                    let delivery = Delivery {
                        lease,
                        secret,
                        letter,
                        device,
                    };
                    let (mailbox, outcome) = delivery.deliver(mailbox, again).await;
                    Brought::Delivered(mailbox, outcome)
                });
            }
            SeekerErrand::LookAround => {
                let device = self.context.device();
                self.errands.spawn(async move {
                    let notes = read_all(&lease, &secret, Place::presences()).await;
                    let found = notes.map(|notes| {
                        let read: Vec<Presences> =
                            notes.iter().map(|note| Presences::decode(note)).collect();
                        presence::addresses(&read, device, this_hour())
                    });
                    Brought::Found(found)
                });
            }
            SeekerErrand::Check => {
                let Some(letter) = letter else { return };
                self.errands.spawn(async move {
                    Brought::Answers(look_for_answers(&lease, &secret, letter.session).await)
                });
            }
        }
    }

    fn brought(&mut self, brought: Brought) {
        let now = self.began.elapsed();
        let (errand, outcome) = match brought {
            Brought::Delivered(mailbox, outcome) => {
                self.mailbox = mailbox;
                if outcome != Outcome::Failed {
                    self.left.send_replace(Some(mailbox));
                }
                (SeekerErrand::Deliver, outcome)
            }
            Brought::Found(None) => (SeekerErrand::LookAround, Outcome::Failed),
            Brought::Found(Some(found)) => {
                let news = self
                    .found
                    .send_if_modified(|known| std::mem::replace(known, found.clone()) != found);
                let outcome = if news { Outcome::News } else { Outcome::Done };
                (SeekerErrand::LookAround, outcome)
            }
            Brought::Answers(None) => (SeekerErrand::Check, Outcome::Failed),
            Brought::Answers(Some(answers)) => (SeekerErrand::Check, self.pass_on(answers)),
        };
        self.agenda.done(errand, outcome, now);
    }

    /// Hands answers that are new to whoever sealed the knock.
    fn pass_on(&mut self, answers: Vec<Vec<u8>>) -> Outcome {
        let mut outcome = Outcome::Done;
        for answer in answers {
            if self.delivered.contains(&answer) {
                continue;
            }
            if self.context.post.deliver_answer(&answer).is_some() {
                outcome = Outcome::News;
            }
            if self.delivered.len() == REMEMBERED {
                self.delivered.remove(0);
            }
            self.delivered.push(answer);
        }
        outcome
    }
}

struct Delivery {
    lease: Lease,
    secret: InviteSecret,
    letter: Letter,
    device: passalong_proto::keys::DeviceId,
}

impl Delivery {
    /// Sees that the knock lies in a mailbox: in `mailbox` if that can be written,
    /// and in another one if it was put there `before` and somebody took it out.
    async fn deliver(&self, mailbox: u8, before: bool) -> (u8, Outcome) {
        let own = |bytes: &[u8]| {
            let knock = knock::open(&self.secret, bytes);
            knock.is_ok_and(|knock| {
                knock.knock.session == self.letter.session || knock.knock.device == self.device
            })
        };
        let mut mailbox = mailbox % MAILBOXES;
        if before {
            let slot = Slot::new(&self.secret, Place::Mailbox(mailbox));
            let Ok(notes) = self.lease.read(&slot).await else {
                return (mailbox, Outcome::Failed);
            };
            let now = this_hour();
            let pushed_out = !notes
                .iter()
                .any(|note| Mailbox::decode(note).knocks(now).any(own));
            if pushed_out {
                mailbox = (mailbox + 1) % MAILBOXES;
            }
        }
        for _ in 0..MAILBOXES {
            let slot = Slot::new(&self.secret, Place::Mailbox(mailbox));
            let change = |read: &[Vec<u8>]| {
                let read: Vec<Mailbox> = read.iter().map(|note| Mailbox::decode(note)).collect();
                let now = this_hour();
                let there = read
                    .first()
                    .is_some_and(|newest| newest.knocks(now).any(|each| each == self.letter.bytes));
                if there {
                    return None;
                }
                let changed = Mailbox::with(self.letter.bytes.clone(), now, &read, own);
                changed.map(|changed| changed.encode())
            };
            match self.lease.write(&slot, change).await {
                Ok(true) => return (mailbox, Outcome::News),
                Ok(false) => return (mailbox, Outcome::Done),
                Err(Unwritten::Unreachable) => return (mailbox, Outcome::Failed),
                Err(Unwritten::Conflict) => mailbox = (mailbox + 1) % MAILBOXES,
            }
        }
        (mailbox, Outcome::Failed)
    }
}

/// Takes the knocks of a session out of a mailbox.
async fn take_out(lease: &Lease, secret: &InviteSecret, mailbox: u8, session: SessionId) {
    let slot = Slot::new(secret, Place::Mailbox(mailbox));
    let own =
        |bytes: &[u8]| knock::open(secret, bytes).is_ok_and(|knock| knock.knock.session == session);
    let change = |read: &[Vec<u8>]| {
        let read: Vec<Mailbox> = read.iter().map(|note| Mailbox::decode(note)).collect();
        let now = this_hour();
        let there = read.iter().any(|mailbox| mailbox.knocks(now).any(own));
        there.then(|| Mailbox::without(now, &read, own).encode())
    };
    if lease.write(&slot, change).await.is_err() {
        tracing::debug!("a knock could not be taken out of the DHT");
    }
}

/// The answers to a knock. Where one place has any, the others get little time: the
/// reading of an empty one takes long. `None` if no place could be read.
async fn look_for_answers(
    lease: &Lease,
    secret: &InviteSecret,
    session: SessionId,
) -> Option<Vec<Vec<u8>>> {
    let mut reads = JoinSet::new();
    for place in Place::answers(session) {
        let (lease, slot) = (lease.clone(), Slot::new(secret, place));
        reads.spawn(async move { lease.glance(&slot).await });
    }
    let mut found: Option<Vec<Vec<u8>>> = None;
    let mut patience = Duration::MAX;
    while let Ok(Some(read)) = tokio::time::timeout(patience, reads.join_next()).await {
        let Ok(Ok(notes)) = read else { continue };
        let found = found.get_or_insert_default();
        let answers = notes.iter().filter_map(|note| decode_answer(note));
        found.extend(answers.map(<[u8]>::to_vec));
        if !found.is_empty() {
            patience = LITTLE_GRACE;
        }
    }
    found
}

/// Every note that lies in some places; `None` if none of them could be read.
async fn read_all(
    lease: &Lease,
    secret: &InviteSecret,
    places: impl Iterator<Item = Place>,
) -> Option<Vec<Vec<u8>>> {
    let read = lease.read_each(secret, places).await;
    (!read.is_empty()).then(|| read.concat())
}
