//! How links come to be: knocks answered, members called.

use std::sync::Arc;
use std::time::Duration;

use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::{DeviceId, Role};
use passalong_proto::knock::{Answer, MAX_CALL_BACK, Refusal, SessionId};
use passalong_proto::wire::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::member::{Change, Member};
use crate::carrying::reaching;
use crate::context::Context;
use crate::dht::Mail;
use crate::knocking::{Call, Knocking, Met};
use crate::link::{self, Connecting};
use crate::peer::{Peer, greet};
use crate::post::{Visit, WayBack};

/// Members that are asked to carry one after the other, before a call counts as failed.
const BEARERS: usize = 2;
/// A connection that is not made after this long is given up.
const CONNECT: Duration = Duration::from_secs(45);
/// A connection whose knock came out of the DHT, where the answer has to be found.
const CONNECT_BY_DHT: Duration = Duration::from_secs(60);
/// A connection whose knock came by paste may wait for a person.
const CONNECT_BY_PASTE: Duration = Duration::from_secs(600);

/// Answers somebody's knocks and serves them once the link is up.
pub(super) async fn receive(
    mut member: Member,
    secret: InviteSecret,
    session: SessionId,
    first: Visit,
    knocks: mpsc::Receiver<Visit>,
) {
    let answering = Answering {
        context: Arc::clone(&member.context),
        secret,
        session,
    };
    match answering.connect(&mut member, first, knocks).await {
        Some(peer) => member.talk(peer).await,
        None => member.report(Change::Gone).await,
    }
}

/// Calls a member that others told of, at first straight, then through others who would
/// carry: `via` are those who told.
pub(super) async fn call(mut member: Member, secret: InviteSecret, call: Call, via: Vec<DeviceId>) {
    match meet(&mut member, secret, call, &via).await {
        Some(Met::Peer { peer, name, .. }) => {
            member.name = name;
            member.talk(*peer).await;
        }
        Some(Met::Failed | Met::Refused(_)) | None => member.report(Change::Gone).await,
    }
}

async fn meet(
    member: &mut Member,
    secret: InviteSecret,
    call: Call,
    via: &[DeviceId],
) -> Option<Met> {
    let device = call.device;
    let carrying = Arc::clone(&member.carrying);
    // What did not lead there a moment ago costs whoever waits a quarter of a minute.
    if !carrying.is_apart(&device) || carrying.bearers(via).is_empty() {
        let met = knock(member, secret, call).await?;
        let failed = matches!(met, Met::Failed);
        carrying.set_apart(device, failed);
        if !failed {
            return Some(met);
        }
    }
    for bearer in carrying.bearers(via).into_iter().take(BEARERS) {
        // They may have been first.
        if carrying.is_linked(&device) {
            return None;
        }
        let session = SessionId(crate::random());
        let detour = carrying.detour(bearer, device, session, Role::Knocker);
        let Some(detour) = detour.map(Arc::new) else {
            continue;
        };
        let call = Call {
            device,
            addresses: Vec::new(),
            through: vec![detour.control().clone()],
            detour: Some(Arc::clone(&detour)),
        };
        let met = knock(member, secret, call).await?;
        let failed = matches!(met, Met::Failed);
        carrying.tried(&bearer, !failed);
        if !failed {
            member.detour = Some(detour);
            return Some(met);
        }
    }
    carrying.set_apart(device, false);
    Some(Met::Failed)
}

/// Knocks until something came of it; `None` if this is not to go on.
async fn knock(member: &mut Member, secret: InviteSecret, call: Call) -> Option<Met> {
    let mut knocking = Knocking::call(&member.context, secret, call);
    tokio::select! {
        met = knocking.next() => Some(met),
        _ = member.stop.changed() => None,
    }
}

/// Answers a knock with a refusal.
pub(super) async fn refuse(visit: Visit, reason: Refusal) {
    let session = visit.knock.knock.session;
    answer(visit, Answer::Refused { session, reason }).await;
}

async fn answer(visit: Visit, answer: Answer) {
    let session = answer.session();
    let Ok(bytes) = visit.knock.answer(&answer) else {
        return;
    };
    match visit.back {
        WayBack::Datagram { socket, to } => {
            // A lost answer is asked for by the next knock.
            socket.send_to(&bytes, to).await;
        }
        WayBack::Paste { answer } => {
            let _ = answer.send(bytes);
        }
        WayBack::Forward { through, to, .. } => {
            through.send(Message::Forward { to, sealed: bytes })
        }
        WayBack::Mailbox { answers, knock } => {
            // A lost answer is asked for by the next knock.
            let _ = answers.try_send(Mail {
                knock,
                session,
                answer: bytes,
            });
        }
    }
}

struct Answering {
    context: Arc<Context>,
    secret: InviteSecret,
    session: SessionId,
}

impl Answering {
    /// Answers knocks until the connection is made.
    async fn connect(
        &self,
        member: &mut Member,
        first: Visit,
        mut knocks: mpsc::Receiver<Visit>,
    ) -> Option<Peer> {
        let patience = match first.back {
            WayBack::Paste { .. } => CONNECT_BY_PASTE,
            WayBack::Mailbox { .. } => CONNECT_BY_DHT,
            WayBack::Datagram { .. } | WayBack::Forward { .. } => CONNECT,
        };
        let offer = first.knock.knock.offer.clone();
        if let (true, WayBack::Forward { bearer, to, .. }) = (offer.is_carried(), &first.back) {
            let carrying = &member.carrying;
            let detour = carrying.detour(*bearer, *to, self.session, Role::Answerer);
            member.detour = detour.map(Arc::new);
            // Whoever knocks so has tried without.
            carrying.set_apart(*to, true);
        }
        let detour = member.detour.clone();
        let offer = reaching(detour.as_deref(), offer)?;
        let settings = match &detour {
            Some(detour) => detour.settings(patience),
            None => {
                let context = &self.context;
                context.link_settings(first.same_machine, patience).await
            }
        };
        let mut connecting = match Connecting::answer(&settings, &offer).await {
            Ok(connecting) => connecting,
            Err(error) => {
                tracing::warn!(%error, "a knock could not be answered");
                return None;
            }
        };
        // An answer that is carried once should have every candidate.
        let gather = Duration::from_millis(match first.back {
            WayBack::Paste { .. } => 3000,
            WayBack::Mailbox { .. } => 1000,
            WayBack::Datagram { .. } | WayBack::Forward { .. } => 150,
        });
        let port = async {
            if let WayBack::Paste { .. } = first.back {
                self.context.port_asked(gather).await;
            }
        };
        tokio::join!(connecting.gathered(gather), port);
        self.reply(first, &connecting).await;
        let mut state = connecting.progress();
        let deadline = Instant::now() + patience;
        loop {
            tokio::select! {
                knock = knocks.recv() => {
                    let Some(knock) = knock else { break };
                    let offer = knock.knock.knock.offer.clone();
                    let Some(offer) = reaching(detour.as_deref(), offer) else { continue };
                    if let Err(error) = connecting.set_remote(&offer).await {
                        tracing::warn!(%error, "a repeated knock does not fit the first");
                    }
                    self.reply(knock, &connecting).await;
                }
                changed = state.changed() => {
                    let now = *state.borrow_and_update();
                    if changed.is_err() || link::is_over(now) {
                        break;
                    }
                    if link::is_made(now) {
                        let link = connecting.connected(Duration::from_secs(10)).await.ok()?;
                        let key = &self.context.key;
                        let greeted = greet(
                            link,
                            Role::Answerer,
                            key,
                            member.device,
                            &self.secret,
                            self.context.ways(),
                        );
                        return greeted.await.map_err(|error| {
                            tracing::warn!(%error, "a visitor did not introduce itself");
                        }).ok();
                    }
                }
                () = tokio::time::sleep_until(deadline) => break,
                _ = member.stop.changed() => break,
            }
        }
        connecting.close().await;
        None
    }

    async fn reply(&self, visit: Visit, connecting: &Connecting) {
        let welcome = Answer::Welcome {
            session: self.session,
            device: self.context.device(),
            name: self.context.name(),
            offer: connecting.local_offer(),
        };
        answer(visit, welcome).await;
    }
}

/// Where an answer may be sent although nothing came from there: the knock was
/// pasted. Bounded, and only to addresses that can be a person's.
pub(crate) fn callable(addresses: &[std::net::SocketAddr]) -> Vec<std::net::SocketAddr> {
    addresses
        .iter()
        .copied()
        .filter(|a| a.port() >= 1024 && !a.ip().is_unspecified() && !a.ip().is_multicast())
        .take(MAX_CALL_BACK)
        .collect()
}
