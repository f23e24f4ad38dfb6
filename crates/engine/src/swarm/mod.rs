//! A share's swarm as seen from here: the links to others who have it or are
//! after it, what is fetched over them, and whom to be linked with.
//!
//! Owned by the task of a share or of a transfer, which asks for what happens
//! next and decides what it means. Decisions of the protocol are made in
//! `proto`: which piece to ask of whom in `fetch`, whom to be linked with in
//! `membership`. `member` is one link, `joining` how links come to be, `events`
//! what is done about what they report, `offering` the list that is served and what of it
//! can be had, `telling` what the others are told, `people` and `copies` what is shown.

mod copies;
mod events;
mod feed;
mod joining;
mod member;
mod offering;
mod people;
mod telling;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use passalong_proto::fetch::{Fetch, FetchEvent, PeerKey, Resumed};
use passalong_proto::invite::Invite;
use passalong_proto::keys::{DeviceId, Role, ShareKey, stop_statement};
use passalong_proto::knock::{DeviceName, Refusal, SessionId};
use passalong_proto::manifest::{ManifestError, SignedManifest};
use passalong_proto::membership::Membership;
use passalong_proto::serve::Violation;
use passalong_proto::signed_hashes::SignedHashes;
use passalong_proto::wire::{Farewell, Message, PieceRef, Signature, SourceProblem};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use self::joining::callable;
use self::member::{Member, Report};
use self::offering::{Ledger, Ready};
use self::people::People;
use crate::api::{CarrierView, CopiesView, DeviceView, PersonView, Problem, Route, Safety};
use crate::board::Rate;
use crate::carrying::Carrying;
use crate::context::Context;
use crate::dht;
use crate::knocking::{Knocking, Met};
use crate::peer::Control;
use crate::post::{VISIT_QUEUE, Visit, WayBack};
use crate::pulse::Pulse;
use crate::source::Shelf;

/// Links of one share, those being made counted.
const MAX_LINKS: usize = 64;
/// Reports that may wait: frames among them, so it bounds memory.
const REPORTS_AHEAD: usize = 64;
/// How often what is due is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two times that the others are told how far this side is.
const TELL_EVERY: u32 = 5;
/// Ticks between two looks at who holds what.
const COUNT_EVERY: u32 = 10;
/// Nothing came for this long, and nobody was found silent: others are looked for
/// beside those who are linked.
const STARVING: Duration = Duration::from_secs(20);
/// Pause before knocking again after the last link broke.
const AGAIN: Duration = Duration::from_millis(500);

/// What the owner of a swarm should know, or decide.
#[derive(Debug)]
pub(crate) enum Happening {
    /// Somebody knocks: to be let in or refused.
    Visit(Box<Visit>),
    /// Somebody is linked now.
    Met(DeviceView),
    /// The fetching half learned something.
    Fetched(FetchEvent),
    /// Somebody accepted what they were offered.
    Accepted { device: DeviceId },
    /// Somebody does not want it after all.
    Released { device: DeviceId },
    /// Somebody has everything they accepted.
    Complete { device: DeviceId },
    /// A file of this side cannot be read.
    Unavailable { entry: u32, reason: SourceProblem },
    /// The share was stopped by whoever made it.
    Stopped,
    /// It cannot go on by itself.
    Failed(Problem),
}

/// One link, made or being made.
struct Link {
    device: DeviceId,
    stop: watch::Sender<Option<Farewell>>,
    session: Option<SessionId>,
    /// This side called.
    called: bool,
    /// Set once it is made.
    made: Option<Made>,
}

struct Made {
    route: Route,
    /// Who carries it.
    bearer: Option<DeviceId>,
    role: Role,
    control: Control,
    peer_binding: [u8; 32],
    sharer: bool,
    told_accepted: bool,
    told_complete: bool,
    /// Knocks passed on for this link in the running period.
    forwards: u32,
}

/// The sharer's word that the share is stopped.
#[derive(Clone, Copy)]
struct Stop {
    public_key: [u8; 32],
    signature: Signature,
}

/// See the module.
pub(crate) struct Swarm {
    context: Arc<Context>,
    invite: Invite,
    maker: Option<ShareKey>,
    fetch: Fetch,
    membership: Membership,
    people: People,
    ready: watch::Sender<Option<Arc<Ready>>>,
    /// Signed hashes of the list that is or was served.
    ledger: Arc<Ledger>,
    sending: watch::Sender<bool>,
    links: HashMap<PeerKey, Link>,
    /// Devices with a made link.
    linked: HashMap<DeviceId, PeerKey>,
    sessions: HashMap<SessionId, mpsc::Sender<Visit>>,
    shunned: HashSet<DeviceId>,
    visit_sender: mpsc::Sender<Visit>,
    visits: mpsc::Receiver<Visit>,
    report_sender: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
    tasks: JoinSet<()>,
    carrying: Arc<Carrying>,
    /// Whether the others were told that datagrams are carried here.
    told_willing: bool,
    happenings: VecDeque<Happening>,
    search: Option<Knocking>,
    search_after: Instant,
    searching: bool,
    answering: bool,
    announced: bool,
    /// Others are to find this device, and the part of it that the DHT has.
    to_be_met: bool,
    meeting: Option<dht::Member>,
    /// For a download: files and bytes accepted, and whether all of it is here.
    accepted: Option<(u32, u64)>,
    complete: bool,
    told_bytes: u64,
    gained: Vec<u32>,
    preparing: (u64, u64),
    one_person: bool,
    stopped: Option<Stop>,
    budget: i64,
    copies: CopiesView,
    safety: Safety,
    received: Rate,
    last_received: Instant,
    next_key: u64,
    ticks: u32,
    pulse: Pulse,
    started: Instant,
}

impl Swarm {
    /// The swarm of the share behind `invite`; `maker` is its key if it is one's
    /// own. Nobody is looked for or let in yet.
    pub(crate) fn new(context: Arc<Context>, invite: Invite, maker: Option<ShareKey>) -> Swarm {
        let (visit_sender, visits) = mpsc::channel(VISIT_QUEUE);
        let (report_sender, reports) = mpsc::channel(REPORTS_AHEAD);
        let seed = u64::from_le_bytes(crate::random());
        let carrying = Arc::new(Carrying::new(Arc::clone(&context)));
        Swarm {
            fetch: Fetch::new(invite.secret, seed),
            membership: Membership::new(context.device(), context.name(), seed),
            people: People::default(),
            ready: watch::channel(None).0,
            ledger: Arc::default(),
            sending: watch::channel(!context.settings().paused).0,
            context,
            invite,
            maker,
            links: HashMap::new(),
            linked: HashMap::new(),
            sessions: HashMap::new(),
            shunned: HashSet::new(),
            visit_sender,
            visits,
            report_sender,
            reports,
            tasks: JoinSet::new(),
            carrying,
            told_willing: false,
            happenings: VecDeque::new(),
            search: None,
            search_after: Instant::now(),
            searching: false,
            answering: false,
            announced: false,
            to_be_met: false,
            meeting: None,
            accepted: None,
            complete: false,
            told_bytes: 0,
            gained: Vec::new(),
            preparing: (0, 0),
            one_person: false,
            stopped: None,
            budget: 0,
            copies: CopiesView::default(),
            safety: Safety::default(),
            received: Rate::new(),
            last_received: Instant::now(),
            next_key: 0,
            ticks: 0,
            pulse: Pulse::new(TICK),
            started: Instant::now(),
        }
    }

    /// The next thing that the owner should know. Losing this future loses
    /// nothing.
    pub(crate) async fn next(&mut self) -> Happening {
        loop {
            if let Some(happening) = self.happenings.pop_front() {
                return happening;
            }
            let quiet = self.is_quiet();
            tokio::select! {
                Some(report) = self.reports.recv() => self.reported(report),
                Some(visit) = self.visits.recv() => return Happening::Visit(Box::new(visit)),
                met = next_met(&mut self.search) => self.met(met),
                () = self.pulse.beat(quiet) => self.ticked(),
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            }
        }
    }

    /// Whether nobody is linked, on their way here, or looked for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.links.is_empty() && self.search.is_none() && !self.searching
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Answers knocks from now on.
    pub(crate) fn answer_knocks(&mut self) {
        if !self.answering {
            self.answering = true;
            self.context
                .post
                .register(self.invite.secret, self.visit_sender.clone());
        }
    }

    /// Says on the local network and in the DHT that knocks are answered here.
    pub(crate) fn announce(&mut self) {
        self.to_be_met = true;
        self.meet();
        let secret = self.invite.secret;
        if !self.announced
            && let Some(lan) = self.context.lan()
        {
            self.announced = true;
            lan.announce(&secret.lan_tag(), self.context.post.port());
        }
    }

    /// Is met in the DHT as long as it is to be met and that is switched on.
    pub(super) fn meet(&mut self) {
        if !self.to_be_met || self.context.dht().is_none() {
            self.meeting = None;
            return;
        }
        if self.meeting.is_none() {
            self.meeting = dht::Member::start(&self.context, self.invite.secret);
        }
        if let Some(meeting) = &self.meeting {
            meeting.crowd(self.linked.len(), self.links.len() < MAX_LINKS);
        }
    }

    /// Is not found any more; knocks are still answered.
    pub(crate) fn withdraw(&mut self) {
        self.to_be_met = false;
        self.meeting = None;
        if self.announced
            && let Some(lan) = self.context.lan()
        {
            lan.withdraw(&self.invite.secret.lan_tag());
        }
        self.announced = false;
    }

    /// Looks for somebody who has the share whenever nobody is linked, or stops
    /// looking.
    pub(crate) fn search(&mut self, searching: bool) {
        self.searching = searching;
        self.search_after = Instant::now();
        if searching {
            self.look();
        } else {
            self.search = None;
        }
    }

    fn look(&mut self) {
        let alone = self.linked.is_empty();
        let due = self.searching
            && self.search.is_none()
            && (alone || self.is_starving())
            && Instant::now() >= self.search_after;
        if due {
            // Somebody else is meant than those who are linked already.
            let linked = self.linked.keys().copied();
            let shunned = self.shunned.iter().copied().chain(linked).collect();
            let invite = self.invite.clone();
            self.search = Some(Knocking::start(&self.context, invite, shunned));
        }
    }

    /// Whether nothing comes although something is wanted: nobody who is linked
    /// has it.
    fn is_starving(&self) -> bool {
        self.accepted.is_some()
            && !self.complete
            && *self.sending.borrow()
            && self.last_received.elapsed() >= STARVING
    }

    /// Takes in addresses of members; says whether any is new.
    pub(crate) fn learn(&mut self, addresses: Vec<SocketAddr>) -> bool {
        let known = self.invite.addresses.clone();
        let all = addresses.into_iter().chain(known.iter().copied());
        self.invite = Invite::new(self.invite.secret, all);
        let any = self
            .invite
            .addresses
            .iter()
            .any(|address| !known.contains(address));
        if any {
            self.search = None;
            self.look();
        }
        any
    }

    /// Members met before: worth a call when nobody else is known.
    pub(crate) fn remember(&mut self, members: Vec<(DeviceId, DeviceName, Vec<SocketAddr>)>) {
        self.membership.remembered(members);
    }

    /// Members worth remembering, with where they take knocks.
    pub(crate) fn memorable(&self) -> Vec<(DeviceId, DeviceName, Vec<SocketAddr>)> {
        let now = self.now();
        self.membership
            .members(now)
            .map(|known| (known.device, known.name.clone(), known.addresses.clone()))
            .collect()
    }

    /// The one who showed in this run that the share is theirs.
    pub(crate) fn sharer(&self) -> Option<DeviceId> {
        self.people.whose()
    }

    /// A code that a person can send back by any means.
    pub(crate) fn reply_code(&self) -> Option<impl Future<Output = Option<String>> + use<>> {
        self.search.as_ref().map(Knocking::reply_code)
    }

    /// The invite with every address known to lead to a member.
    pub(crate) fn invite(&self) -> &Invite {
        &self.invite
    }

    /// When file bytes last came in.
    pub(crate) fn last_received(&self) -> Instant {
        self.last_received
    }

    /// Bytes a second that come in.
    pub(crate) fn receiving_rate(&mut self) -> u64 {
        self.received.tick()
    }

    pub(crate) fn carriers(&self) -> Vec<CarrierView> {
        self.search
            .as_ref()
            .map(Knocking::carriers)
            .unwrap_or_default()
    }

    pub(crate) fn is_linked(&self) -> bool {
        !self.linked.is_empty()
    }

    /// How the link to the sharer, or to anybody, goes.
    pub(crate) fn route(&self) -> Option<Route> {
        let made = self.links.values().filter_map(|link| link.made.as_ref());
        made.max_by_key(|made| made.sharer).map(|made| made.route)
    }

    pub(crate) fn fetch(&self) -> &Fetch {
        &self.fetch
    }

    /// Whether the sharer said that the share is for one person.
    pub(crate) fn is_for_one_person(&self) -> bool {
        self.one_person
    }

    /// Takes in from the record whether the share is for one person.
    pub(crate) fn set_one_person(&mut self, one_person: bool) {
        self.one_person = one_person;
    }

    /// Lets somebody in: a new visitor gets a task, a repeated knock goes to it.
    pub(crate) fn welcome(&mut self, visit: Visit) {
        let session = visit.knock.knock.session;
        let device = visit.knock.knock.device;
        if visit.knock.knock.offer.is_carried() && !matches!(visit.back, WayBack::Forward { .. }) {
            return;
        }
        if let Some(known) = self.sessions.get(&session) {
            // A task that is behind lets this one knock again; one that just
            // ended does not open its session again.
            let _ = known.try_send(visit);
            return;
        }
        if device == self.context.device() {
            return self.refuse(visit, Refusal::OwnShare);
        }
        if self.links.len() >= MAX_LINKS || self.shunned.contains(&device) {
            return self.refuse(visit, Refusal::Busy);
        }
        let (again, knocks) = mpsc::channel(16);
        self.sessions.insert(session, again);
        let name = visit.knock.knock.name.clone();
        self.people.connecting(device, &name);
        let member = self.member(device, name, Some(session));
        let secret = self.invite.secret;
        self.tasks
            .spawn(joining::receive(member, secret, session, visit, knocks));
    }

    /// Answers a knock with a refusal.
    pub(crate) fn refuse(&mut self, visit: Visit, reason: Refusal) {
        self.tasks.spawn(joining::refuse(visit, reason));
    }

    fn member(&mut self, device: DeviceId, name: DeviceName, session: Option<SessionId>) -> Member {
        let key = PeerKey(self.next_key);
        self.next_key += 1;
        let (stop, stopped) = watch::channel(None);
        let link = Link {
            device,
            stop,
            session,
            called: session.is_none(),
            made: None,
        };
        self.links.insert(key, link);
        Member {
            context: Arc::clone(&self.context),
            key,
            device,
            name,
            ready: self.ready.subscribe(),
            sending: self.sending.subscribe(),
            stop: stopped,
            reports: self.report_sender.clone(),
            carrying: Arc::clone(&self.carrying),
            detour: None,
        }
    }

    fn met(&mut self, met: Met) {
        self.search = None;
        match met {
            Met::Failed => self.search_after = Instant::now() + AGAIN,
            Met::Refused(problem) => {
                self.searching = false;
                self.happenings.push_back(Happening::Failed(problem));
            }
            Met::Peer { peer, device, name } => {
                let member = self.member(device, name, None);
                self.tasks.spawn(member.talk(*peer));
            }
        }
    }

    /// How far the reading of one's own files is.
    pub(crate) fn set_preparing(&mut self, done_bytes: u64, total_bytes: u64) {
        self.preparing = (done_bytes, total_bytes);
    }

    /// A download begins with the list as it was kept.
    pub(crate) fn restore(
        &mut self,
        signed: SignedManifest,
        hashes: Vec<SignedHashes>,
    ) -> Result<(), ManifestError> {
        let seed = u64::from_le_bytes(crate::random());
        self.fetch = Fetch::restore(self.invite.secret, signed, seed)?;
        self.fetch.restore_signed_hashes(hashes);
        Ok(())
    }

    /// Begins the download anew; what was chosen is not chosen any more.
    pub(crate) fn begin_again(&mut self, keep_list: bool) {
        let renewed = if keep_list {
            Some(self.fetch.again())
        } else {
            self.fetch.renewed()
        };
        self.fetch = renewed
            .unwrap_or_else(|| Fetch::new(self.invite.secret, u64::from_le_bytes(crate::random())));
        if !keep_list {
            self.dismiss(Farewell::Finished);
        }
        self.ready.send_replace(None);
        self.accepted = None;
        self.complete = false;
        self.told_bytes = 0;
        self.stopped = None;
        self.shunned.clear();
        self.membership.set_active(false);
    }

    /// The person's choice: `present` files are here, `resumed` ones partly.
    pub(crate) fn accept(
        &mut self,
        wanted: &[u32],
        present: &HashSet<u32>,
        resumed: Vec<Resumed>,
        shelf: Arc<Shelf>,
    ) -> Result<(), Violation> {
        self.fetch.accept(wanted, present, resumed)?;
        let progress = self.fetch.progress();
        self.accepted = Some((progress.files_total, progress.total));
        self.membership.set_active(true);
        self.offer(shelf, self.one_person);
        self.flush();
        Ok(())
    }

    /// What of a file is on disk already.
    pub(crate) fn file_ready(&mut self, entry: u32, stored: &[u32]) {
        self.fetch.file_ready(entry, stored);
        for piece in stored {
            self.gain(PieceRef {
                entry,
                piece: *piece,
            });
        }
        self.flush();
    }

    /// A piece is verified and on disk.
    pub(crate) fn stored(&mut self, piece: PieceRef) {
        self.fetch.piece_stored(piece);
        self.gain(piece);
        self.flush();
    }

    fn gain(&mut self, piece: PieceRef) {
        let ready = self.ready.borrow().clone();
        if let Some(ready) = ready
            && let Some(number) = ready.pieces.number(piece)
        {
            ready.hold(number, true);
            self.gained.push(number);
        }
    }

    /// A piece does not verify: whoever sent it is not asked any more.
    pub(crate) fn rejected(&mut self, piece: PieceRef) {
        if let Some(key) = self.fetch.piece_rejected(piece) {
            let problem = Problem::corrupt("a piece did not verify");
            self.fault(key, Farewell::Corrupt, problem);
        }
        self.flush();
    }

    /// Everything that was accepted is here.
    pub(crate) fn completed(&mut self) {
        self.complete = true;
        self.tell_gained();
        self.tell_progress();
        self.count();
    }

    /// A file of this side turned out to be gone or changed.
    pub(crate) fn lose(&mut self, entry: u32) {
        let ready = self.ready.borrow().clone();
        if let Some(ready) = ready {
            for number in ready.pieces.of_entry(entry) {
                ready.hold(number, false);
            }
        }
    }

    /// Fetches and sends nothing while paused.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        let paused = paused || self.context.settings().paused;
        self.sending
            .send_if_modified(|sending| std::mem::replace(sending, !paused) == paused);
        self.fetch.set_paused(paused);
        self.flush();
    }

    /// Tells everybody that the share is stopped, signed by its key.
    pub(crate) fn stop(&mut self, key: &ShareKey) {
        let stop = self.sign_stop(key);
        let message = Message::Stopped {
            public_key: stop.public_key,
            signature: stop.signature,
        };
        self.tell_everybody(&message, None);
        self.dismiss(Farewell::Stopped);
    }

    fn sign_stop(&mut self, key: &ShareKey) -> Stop {
        let statement = stop_statement(&self.invite.secret);
        *self.stopped.get_or_insert_with(|| Stop {
            public_key: key.public(),
            signature: key.sign(&statement).into(),
        })
    }

    /// Answers a knock with the sharer's word that the share is stopped, or as
    /// long as that is not known with a request to come back later.
    pub(crate) fn refuse_as_stopped(&mut self, visit: Visit) {
        if let Some(maker) = self.maker.clone() {
            self.sign_stop(&maker);
        }
        let reason = self.stopped.map_or(Refusal::Busy, |stop| Refusal::Stopped {
            public_key: stop.public_key,
            signature: stop.signature,
        });
        self.refuse(visit, reason);
    }

    /// Says something to everybody, with the last word of a download.
    pub(crate) fn say(&mut self, message: &Message) {
        self.tell_everybody(message, None);
    }

    fn tell_everybody(&self, message: &Message, but: Option<PeerKey>) {
        for (key, link) in &self.links {
            if let Some(made) = &link.made
                && Some(*key) != but
            {
                made.control.send(message.clone());
            }
        }
    }

    /// Says goodbye to everybody; new people may still be let in.
    pub(crate) fn dismiss(&mut self, reason: Farewell) {
        for link in self.links.values() {
            link.stop.send_replace(Some(reason));
        }
    }

    /// Says goodbye to everybody but one.
    pub(crate) fn dismiss_others(&mut self, than: DeviceId, reason: Farewell) {
        for link in self.links.values().filter(|link| link.device != than) {
            link.stop.send_replace(Some(reason));
        }
    }

    /// Says goodbye to one.
    pub(crate) fn dismiss_one(&mut self, device: DeviceId, reason: Farewell) {
        for link in self.links.values().filter(|link| link.device == device) {
            link.stop.send_replace(Some(reason));
        }
    }

    /// Looks for nobody, answers nobody and says goodbye to everybody.
    pub(crate) fn leave(&mut self, reason: Farewell) {
        self.search(false);
        self.withdraw();
        if self.answering {
            self.answering = false;
            self.context.post.unregister(&self.invite.secret.id());
        }
        self.dismiss(reason);
    }

    /// Leaves, and waits until everybody was told.
    pub(crate) async fn close(mut self, reason: Farewell) {
        self.leave(reason);
        // Knocks that still come are not answered.
        self.visits.close();
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => if ended.is_none() { return },
                Some(_) = self.reports.recv() => {}
            }
        }
    }

    /// The others, for showing.
    pub(crate) fn people_views(&self) -> Vec<PersonView> {
        self.people.views()
    }

    pub(crate) fn copies(&self) -> &CopiesView {
        &self.copies
    }

    pub(crate) fn safety(&self) -> &Safety {
        &self.safety
    }

    /// The invite with this device's addresses first, then those of others.
    pub(crate) fn link(&self) -> String {
        let own = self.context.addresses();
        let others = self.invite.addresses.iter().copied();
        Invite::new(self.invite.secret, own.into_iter().chain(others)).link()
    }
}

async fn next_met(search: &mut Option<Knocking>) -> Met {
    match search {
        Some(search) => search.next().await,
        None => std::future::pending().await,
    }
}
