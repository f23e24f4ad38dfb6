//! Knocking: every carrier at once, until somebody lets us in.
//!
//! One sealed knock goes to the addresses in the link and to those found on
//! the local network and in the DHT, again and again with growing pauses, and one
//! into a mailbox of the DHT; the first welcome wins. A member that others told of is called the same way, at the addresses
//! it is said to have and through those who are linked with it. The same knock, as text, is the reply code. A knock is repeated with
//! new candidates as they are gathered; its session says that it is the same.

mod places;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use passalong_proto::invite::{Invite, InviteSecret};
use passalong_proto::keys::{DeviceId, Role, is_from_sharer, stop_statement};
use passalong_proto::knock::{
    self, Answer, Candidate, CandidateKind, DeviceName, Knock, Offer, Refusal, SessionId,
};
use passalong_proto::rendezvous::mailbox::MAX_LETTER;
use passalong_proto::wire::Message;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::places::Places;
use crate::api::{Carrier, CarrierState, CarrierView, Problem};
use crate::carrying::{Detour, reaching};
use crate::context::Context;
use crate::link::{self, Connecting};
use crate::pace;
use crate::peer::{Control, GreetError, Peer, greet};
use crate::post::Knocker;

/// Pause after a connection that failed.
const AGAIN: Duration = Duration::from_millis(500);
/// Pause before the next try where no connection can be made at all.
const NO_CONNECTION: Duration = Duration::from_secs(5);
/// Pause between knocks that only bring new candidates.
const TRICKLE: Duration = Duration::from_millis(700);
/// A welcome that leads to no connection is forgotten after this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where the answer came by itself: then it is there at once, or not.
const WELCOMED: Duration = Duration::from_secs(15);
/// A connection that nobody answered for this long is made anew: routers forget which
/// port they gave it.
const FRESH: Duration = Duration::from_secs(180);
/// The same while a reply code of it is in somebody's hands.
const FRESH_BY_PASTE: Duration = Duration::from_secs(1800);
/// The same while neither a server nor the router has said how this computer is seen from
/// outside: the network may be there again. It doubles each time, up to [`FRESH`].
const FRESH_BLIND: Duration = Duration::from_secs(5);
/// Time to gather candidates before the first knock, where there are servers.
const GATHER: Duration = Duration::from_millis(150);
/// Time to gather for a knock that is left in the DHT.
const GATHER_FOR_DHT: Duration = Duration::from_millis(1500);
/// Time to gather for a code that is sent only once.
const GATHER_FOR_PASTE: Duration = Duration::from_secs(3);
/// A member that does not answer a call within this time is not there.
const CALL: Duration = Duration::from_secs(8);
/// The same through a member who carries, whose link is there already.
const CALL_BY_DETOUR: Duration = Duration::from_secs(3);
/// A welcome through such a member leads to a connection within this time, or not.
const WELCOMED_BY_DETOUR: Duration = Duration::from_secs(6);
/// Channels open within this time of the handshake.
const OPEN: Duration = Duration::from_secs(10);

/// What knocking led to.
pub(crate) enum Met {
    /// The connection that was welcomed did not open, or to an impostor.
    Failed,
    /// Somebody is connected and has shown who they are.
    Peer {
        peer: Box<Peer>,
        device: DeviceId,
        name: DeviceName,
    },
    /// Somebody said no.
    Refused(Problem),
}

/// A member to be called, and how.
pub(crate) struct Call {
    pub(crate) device: DeviceId,
    pub(crate) addresses: Vec<SocketAddr>,
    /// Members who are linked with it, as they say.
    pub(crate) through: Vec<Control>,
    /// What the connection is to go on, if not a path of its own.
    pub(crate) detour: Option<Arc<Detour>>,
}

/// A running search for somebody who has the share.
pub(crate) struct Knocking {
    met: mpsc::Receiver<Met>,
    codes: mpsc::Sender<oneshot::Sender<String>>,
    carriers: watch::Receiver<Vec<CarrierView>>,
    /// Dropped with this, which ends the search.
    _held: oneshot::Sender<()>,
}

impl Knocking {
    /// Starts knocking for anybody who has the share.
    pub(crate) fn start(
        context: &Arc<Context>,
        invite: Invite,
        shunned: HashSet<DeviceId>,
    ) -> Knocking {
        Knocking::begin(context, invite, shunned, None)
    }

    /// Calls one member. Ends with [`Met::Failed`] if it does not answer.
    pub(crate) fn call(context: &Arc<Context>, secret: InviteSecret, call: Call) -> Knocking {
        let invite = Invite::new(secret, call.addresses.iter().copied());
        Knocking::begin(context, invite, HashSet::new(), Some(call))
    }

    fn begin(
        context: &Arc<Context>,
        invite: Invite,
        shunned: HashSet<DeviceId>,
        call: Option<Call>,
    ) -> Knocking {
        let (met_sender, met) = mpsc::channel(4);
        let (codes, code_requests) = mpsc::channel(4);
        let (carriers_sender, carriers) = watch::channel(Vec::new());
        let (held, mut let_go) = oneshot::channel();
        let context = Arc::clone(context);
        tokio::spawn(async move {
            let addresses = &invite.addresses;
            let same_machine =
                !addresses.is_empty() && addresses.iter().all(|address| link::is_own(address.ip()));
            let mut renewals = context.network.renewals();
            let (connecting, asks_servers) = loop {
                let settings = match call.as_ref().and_then(|call| call.detour.as_ref()) {
                    Some(detour) => detour.settings(PATIENCE),
                    None => context.link_settings(same_machine, PATIENCE).await,
                };
                match Connecting::offer(&settings).await {
                    Ok(connecting) => break (connecting, settings.has_servers()),
                    Err(error) if call.is_some() => {
                        tracing::debug!(%error, "a member cannot be called");
                        // Whoever waited may have let go.
                        let _ = met_sender.send(Met::Failed).await;
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "no connection can be made from here"),
                }
                tokio::select! {
                    _ = renewals.changed() => {}
                    () = tokio::time::sleep(NO_CONNECTION) => {}
                    _ = &mut let_go => return,
                }
            };
            let places = match call {
                None => Places::of(&context, invite.secret),
                Some(_) => Places::none(invite.secret),
            };
            let detour = call.as_ref().and_then(|call| call.detour.as_ref());
            let session =
                detour.map_or_else(|| SessionId(crate::random()), |detour| detour.session());
            let search = Search {
                knocker: context.post.knocker(invite.secret.id()),
                context,
                invite,
                shunned,
                call,
                places,
                session,
                connecting,
                asks_servers,
                since: Instant::now(),
                blind_for: FRESH_BLIND,
                renewals,
                sealed: None,
                left: None,
                welcome: None,
                pinned: false,
                attempt: 0,
                met: met_sender,
                carriers: carriers_sender,
            };
            search.run(code_requests, let_go).await;
        });
        Knocking {
            met,
            codes,
            carriers,
            _held: held,
        }
    }

    /// The next thing that matters. Losing this future loses nothing.
    pub(crate) async fn next(&mut self) -> Met {
        match self.met.recv().await {
            Some(met) => met,
            // The search ended; the caller's other events go on.
            None => std::future::pending().await,
        }
    }

    /// A code that a person can send back by any means.
    pub(crate) fn reply_code(&self) -> impl Future<Output = Option<String>> + use<> {
        let (sender, code) = oneshot::channel();
        let codes = self.codes.clone();
        async move {
            codes.send(sender).await.ok()?;
            code.await.ok()
        }
    }

    pub(crate) fn carriers(&self) -> Vec<CarrierView> {
        self.carriers.borrow().clone()
    }
}

struct Welcome {
    device: DeviceId,
    name: DeviceName,
    since: Instant,
    /// The answer lay in the DHT.
    by_dht: bool,
}

struct Search {
    context: Arc<Context>,
    knocker: Knocker,
    invite: Invite,
    /// Devices that have shown that they cannot be relied on.
    shunned: HashSet<DeviceId>,
    /// The one member that is meant, if not anybody.
    call: Option<Call>,
    places: Places,
    session: SessionId,
    connecting: Connecting,
    /// Whether it asks servers how it is seen from outside.
    asks_servers: bool,
    /// When it was begun.
    since: Instant,
    /// How long it may wait without having been told.
    blind_for: Duration,
    renewals: watch::Receiver<u64>,
    /// The last knock and the offer in it.
    sealed: Option<(Offer, Vec<u8>)>,
    /// The number of the knock that was left in the DHT, and the offer in it.
    left: Option<([u8; 8], Offer)>,
    welcome: Option<Welcome>,
    /// A reply code of this session is in somebody's hands.
    pinned: bool,
    attempt: usize,
    met: mpsc::Sender<Met>,
    carriers: watch::Sender<Vec<CarrierView>>,
}

impl Search {
    async fn run(
        mut self,
        mut codes: mpsc::Receiver<oneshot::Sender<String>>,
        mut let_go: oneshot::Receiver<()>,
    ) {
        let mut state = self.connecting.progress();
        self.connecting.gathered(GATHER).await;
        self.look_around();
        let mut next_knock = Instant::now();
        let started = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next_knock) => {
                    if self.call.is_some() && self.welcome.is_none() && started.elapsed() > self.call_limit() {
                        return self.give_up().await;
                    }
                    if self.is_out_of_patience() || self.is_stale() {
                        if !self.restart().await {
                            return self.give_up().await;
                        }
                        state = self.connecting.progress();
                    }
                    self.knock().await;
                    next_knock = Instant::now() + self.pause();
                }
                // The candidates in the knock may lead nowhere any more.
                _ = self.renewals.changed(), if self.call.is_none() && self.welcome.is_none() => {
                    if !self.restart().await {
                        return self.give_up().await;
                    }
                    state = self.connecting.progress();
                    self.attempt = 0;
                    next_knock = Instant::now();
                }
                () = self.places.changed() => {
                    if self.look_around() {
                        next_knock = Instant::now();
                    }
                }
                answer = self.knocker.answer() => {
                    let goes_on = match answer {
                        Some((knock, answer)) => self.answered(knock, answer).await,
                        None => None,
                    };
                    if goes_on.is_none() {
                        self.connecting.close().await;
                        return;
                    }
                    next_knock = Instant::now() + TRICKLE;
                }
                changed = state.changed() => {
                    let now = *state.borrow_and_update();
                    if link::is_made(now) {
                        self.open().await;
                        return;
                    }
                    if changed.is_err() || link::is_over(now) {
                        if !self.restart().await {
                            return self.give_up().await;
                        }
                        state = self.connecting.progress();
                        next_knock = Instant::now() + AGAIN;
                    }
                }
                _ = &mut let_go => {
                    self.connecting.close().await;
                    return;
                }
                Some(request) = codes.recv() => {
                    tokio::join!(
                        self.connecting.gathered(GATHER_FOR_PASTE),
                        self.context.port_asked(GATHER_FOR_PASTE)
                    );
                    if let Some(code) = self.code() {
                        // Whoever asked may have looked away.
                        let _ = request.send(code);
                    }
                }
            }
        }
    }

    fn detour(&self) -> Option<&Detour> {
        self.call.as_ref()?.detour.as_deref()
    }

    /// How long a call waits for an answer.
    fn call_limit(&self) -> Duration {
        match self.detour() {
            Some(_) => CALL_BY_DETOUR,
            None => CALL,
        }
    }

    /// Takes in what was found elsewhere; says whether there is a new address.
    fn look_around(&mut self) -> bool {
        let any = self.places.look();
        self.show();
        any
    }

    fn show(&self) {
        let state = |possible: bool| match (&self.welcome, possible) {
            (Some(_), true) => CarrierState::Answered,
            (None, true) => CarrierState::Trying,
            (_, false) => CarrierState::Unavailable,
        };
        let carriers = vec![
            CarrierView {
                carrier: Carrier::Addresses,
                state: state(!self.invite.addresses.is_empty()),
            },
            CarrierView {
                carrier: Carrier::Lan,
                state: state(self.places.has_lan()),
            },
            CarrierView {
                carrier: Carrier::Dht,
                state: state(self.places.has_dht()),
            },
            CarrierView {
                carrier: Carrier::Paste,
                state: if self.pinned {
                    CarrierState::Trying
                } else {
                    CarrierState::Unavailable
                },
            },
        ];
        self.carriers.send_replace(carriers);
    }

    fn pause(&self) -> Duration {
        if self.welcome.is_some() {
            TRICKLE
        } else {
            pace::pause(self.attempt)
        }
    }

    async fn knock(&mut self) {
        self.attempt += 1;
        if !self.seal() {
            return;
        }
        let Some((_, bytes)) = &self.sealed else {
            return;
        };
        let found = self.places.addresses(self.attempt);
        for address in self.invite.addresses.iter().chain(found) {
            self.knocker.send(bytes, *address).await;
        }
        if let Some(call) = &self.call {
            for control in &call.through {
                control.send(Message::Forward {
                    to: call.device,
                    sealed: bytes.clone(),
                });
            }
        }
        self.leave_in_dht();
    }

    /// Leaves a knock in the DHT, once all is gathered that it should say, and
    /// another one when there is more to say.
    fn leave_in_dht(&mut self) {
        let ready = self.connecting.is_gathered() || self.since.elapsed() >= GATHER_FOR_DHT;
        let dht = self.places.dht();
        let Some(dht) = dht.filter(|_| ready && self.welcome.is_none()) else {
            return;
        };
        let mut content = self.content(self.connecting.local_offer());
        content.shorten(MAX_LETTER);
        if dht.has_knock() && matches!(&self.left, Some((_, offer)) if *offer == content.offer) {
            return;
        }
        let sealed = self.knocker.seal(&self.invite.secret, &content);
        if let Ok(bytes) = sealed
            && let Some(id) = knock::datagram_id(&bytes)
        {
            dht.knock(self.session, bytes);
            self.left = Some((id, content.offer));
        }
    }

    /// Tells that nobody was met, and gives the connection up.
    async fn give_up(self) {
        self.connecting.close().await;
        let _ = self.met.send(Met::Failed).await;
    }

    /// Seals the knock anew if there is anything new to say.
    fn seal(&mut self) -> bool {
        let offer = self.connecting.local_offer();
        if self
            .sealed
            .as_ref()
            .is_some_and(|(sealed, _)| *sealed == offer)
        {
            return true;
        }
        match self
            .knocker
            .seal(&self.invite.secret, &self.content(offer.clone()))
        {
            Ok(bytes) => {
                self.sealed = Some((offer, bytes));
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the knock could not be sealed");
                false
            }
        }
    }

    fn content(&self, offer: Offer) -> Knock {
        Knock {
            session: self.session,
            device: self.context.device(),
            name: self.context.name(),
            offer,
            call_back: self.context.addresses(),
        }
    }

    fn code(&mut self) -> Option<String> {
        let content = self.content(self.connecting.local_offer());
        let bytes = self
            .knocker
            .seal_pinned(&self.invite.secret, &content)
            .ok()?;
        self.pinned = true;
        self.show();
        Some(knock::to_text(&bytes))
    }

    /// Takes an answer; `None` ends the search.
    async fn answered(&mut self, to: [u8; 8], answer: Answer) -> Option<()> {
        if answer.session() != self.session {
            return Some(());
        }
        match answer {
            // A call that is refused is as good as one that is not answered.
            Answer::Refused { .. } if self.call.is_some() => Some(()),
            Answer::Refused {
                reason: Refusal::Busy,
                ..
            } => Some(()),
            Answer::Refused { reason, .. } => {
                let problem = match reason {
                    Refusal::Stopped {
                        public_key,
                        signature,
                    } => {
                        let secret = &self.invite.secret;
                        let statement = stop_statement(secret);
                        if !is_from_sharer(secret, &public_key, &statement, &signature.into()) {
                            return Some(());
                        }
                        Problem::stopped()
                    }
                    Refusal::Taken => Problem::taken(),
                    Refusal::OwnShare | Refusal::Busy => Problem::own_invite(),
                };
                let _ = self.met.send(Met::Refused(problem)).await;
                None
            }
            Answer::Welcome {
                device,
                name,
                offer,
                ..
            } => {
                let other = self
                    .welcome
                    .as_ref()
                    .is_some_and(|first| first.device != device);
                let meant = self.call.as_ref().is_none_or(|call| call.device == device);
                // The first to answer is the one we connect to.
                if other || !meant || self.shunned.contains(&device) {
                    return Some(());
                }
                let Some(offer) = reaching(self.detour(), offer) else {
                    return Some(());
                };
                if let Err(error) = self.connecting.set_remote(&offer).await {
                    tracing::warn!(%error, "an answer could not be used");
                    return Some(());
                }
                // One knock takes one answer: candidates that the other side finds
                // later come with the answer to the next.
                self.sealed = None;
                if self.welcome.is_none() {
                    self.welcome = Some(Welcome {
                        device,
                        name,
                        since: Instant::now(),
                        by_dht: matches!(&self.left, Some((left, _)) if *left == to),
                    });
                    self.show();
                }
                Some(())
            }
        }
    }

    fn is_out_of_patience(&self) -> bool {
        self.welcome.as_ref().is_some_and(|welcome| {
            // What is carried slowly keeps its connection for longer.
            let slow = self.pinned || welcome.by_dht && !self.is_blind();
            let patience = match (self.detour(), slow) {
                (Some(_), _) => WELCOMED_BY_DETOUR,
                (None, true) => PATIENCE,
                (None, false) => WELCOMED,
            };
            welcome.since.elapsed() > patience
        })
    }

    /// Whether the connection has waited for so long that it would hardly come up.
    fn is_stale(&self) -> bool {
        let fresh = match (self.pinned, self.is_blind()) {
            (true, _) => FRESH_BY_PASTE,
            (false, true) => self.blind_for,
            (false, false) => FRESH,
        };
        self.call.is_none() && self.welcome.is_none() && self.since.elapsed() > fresh
    }

    /// Whether neither a server nor the router has said how this computer is seen from
    /// outside, which cannot be known from its own addresses.
    fn is_blind(&self) -> bool {
        let tells_nothing = |candidate: &Candidate| match candidate.address.ip() {
            _ if candidate.kind != CandidateKind::Host => false,
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(_) => true,
        };
        let candidates = self.connecting.local_offer().candidates;
        self.asks_servers && candidates.iter().all(tells_nothing)
    }

    /// Begins again with a new connection; `false` if none can be built.
    async fn restart(&mut self) -> bool {
        if self.call.is_some() {
            // Whoever called decides whether to call again.
            return false;
        }
        let blind = self.is_blind();
        let settings = self.context.link_settings(false, PATIENCE).await;
        match Connecting::offer(&settings).await {
            Ok(connecting) => {
                std::mem::replace(&mut self.connecting, connecting)
                    .close()
                    .await;
                self.session = SessionId(crate::random());
                self.blind_for = match blind {
                    true => FRESH.min(self.blind_for * 2),
                    false => FRESH_BLIND,
                };
                self.asks_servers = settings.has_servers();
                self.since = Instant::now();
                self.sealed = None;
                self.left = None;
                self.pinned = false;
                if self.welcome.take().is_some() {
                    // They are there: quickly, then.
                    self.attempt = 0;
                }
                self.connecting.gathered(GATHER).await;
                self.show();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "no new connection could be built");
                false
            }
        }
    }

    async fn open(self) {
        let Search {
            context,
            invite,
            connecting,
            welcome,
            met,
            ..
        } = self;
        let Some(Welcome { device, name, .. }) = welcome else {
            return;
        };
        let outcome = match connecting.connected(OPEN).await {
            Ok(link) => {
                let greeted = greet(
                    link,
                    Role::Knocker,
                    &context.key,
                    device,
                    &invite.secret,
                    context.ways(),
                );
                match greeted.await {
                    Ok(peer) => Met::Peer {
                        peer: Box::new(peer),
                        device,
                        name,
                    },
                    Err(GreetError::Version) => Met::Refused(Problem::version()),
                    Err(error) => {
                        tracing::warn!(%error, "the other side did not introduce itself");
                        Met::Failed
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the connection did not open");
                Met::Failed
            }
        };
        if let Err(mpsc::error::SendError(Met::Peer { peer, .. })) = met.send(outcome).await {
            // Nobody waits any more.
            peer.drop_link().await;
        }
    }
}
