//! Further WebRTC connections beside a link whose data channel is too little for what
//! waits for it, and no QUIC lane is up: SCTP takes each lost packet for a full path,
//! so that several connections carry several times as much.
//!
//! Whoever sends offers a set of them on the control channel, so that nobody knocks
//! again and nothing is trusted that the link did not establish; only its own pieces
//! go out there. A set ends as a whole: when one of its connections breaks, when it is
//! not used any more, or when this device is to give way to other traffic.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use passalong_proto::knock::Offer;
use passalong_proto::lanes::Backlog;
use passalong_proto::wire::{FIRST_PARALLEL, Frame, Message};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::data::DataLane;
use super::{Lane, Lost, Manner, QuicLane, Strand};
use crate::link::{Connecting, Link, LinkError, LinkSettings};
use crate::peer::{Control, Inbound};

/// Connections in a set: with the link's own as many as browsers open to one host.
const CONNECTIONS: usize = 5;
/// How long pieces may wait for a data channel where QUIC may still come up.
const QUIC_COMES: Duration = Duration::from_secs(3);
/// The same where it does not.
const QUIC_DOES_NOT: Duration = Duration::from_millis(500);
/// How often a data channel that is used is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long servers are asked for candidates.
const GATHER: Duration = Duration::from_millis(1500);
/// How long the other side may take to answer, and connections to be made.
const PATIENCE: Duration = Duration::from_secs(10);
/// A set on which nothing was sent for so long ends.
const UNUSED: Duration = Duration::from_secs(60);
/// The pause before another set is offered, at first; it doubles each time.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest such pause.
const LONG_PAUSE: Duration = Duration::from_secs(300);
/// Sets that come sooner after each other than this are not heard.
const LEAST_PAUSE: Duration = Duration::from_secs(4);

/// What the other side says of a set.
#[derive(Debug)]
pub(crate) enum SetCall {
    Offered(Set),
    Answered(Set),
}

/// Halves of connections.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) lane: u32,
    pub(crate) halves: Vec<Offer>,
}

/// What making connections beside one link takes.
pub(crate) struct Parallel {
    pub(crate) settings: LinkSettings,
    pub(crate) control: Control,
    pub(crate) data: Arc<DataLane>,
    pub(crate) quic: watch::Receiver<Option<QuicLane>>,
    /// Whether a QUIC lane is tried.
    pub(crate) expects_quic: bool,
    pub(crate) manner: watch::Receiver<Manner>,
    pub(crate) strands: watch::Sender<Vec<Arc<Strand>>>,
    pub(crate) lost: mpsc::UnboundedSender<Lost>,
    pub(crate) inlet: Inlet,
}

/// Where what comes in goes.
#[derive(Clone)]
pub(crate) struct Inlet {
    /// Does not keep the link's stream from ending.
    pub(crate) inbound: mpsc::WeakSender<Inbound>,
    /// Where the last sign of the other side is noted.
    pub(crate) heard: Arc<Mutex<Instant>>,
}

/// Why a set did not come up.
#[derive(Debug, thiserror::Error)]
enum SetFault {
    #[error("the other side did not answer in time")]
    Late,
    #[error("the other side answered with fewer or more connections than were offered")]
    Uneven,
    #[error("no connection was made")]
    None,
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Parallel {
    /// Offers sets where they help, and takes those that are offered, for as long as
    /// the link is there.
    pub(crate) async fn keep(self, mut calls: mpsc::Receiver<SetCall>) {
        let (answered, mut answers) = mpsc::channel(1);
        let taking = Taking {
            settings: self.settings.clone(),
            control: self.control.clone(),
            inlet: self.inlet.clone(),
            last: 0,
            since: None,
            connections: JoinSet::new(),
        };
        let sorting = async {
            let mut taking = taking;
            while let Some(call) = calls.recv().await {
                match call {
                    SetCall::Offered(set) => taking.take(set).await,
                    // One that nobody waits for is not an answer.
                    SetCall::Answered(set) => _ = answered.try_send(set),
                }
            }
        };
        tokio::select! {
            () = sorting => {}
            () = self.offer(&mut answers) => {}
        }
    }

    async fn offer(&self, answers: &mut mpsc::Receiver<Set>) {
        let mut pause = PAUSE;
        for lane in FIRST_PARALLEL.. {
            self.too_little().await;
            match self.make(lane, answers).await {
                Ok(()) => {
                    if self.hold(lane).await {
                        pause = PAUSE;
                    }
                }
                Err(error) => tracing::debug!(%error, "no connections beside the link"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONG_PAUSE);
        }
    }

    /// Waits until the data channel holds up what is to be sent, and nothing else
    /// carries it.
    async fn too_little(&self) {
        loop {
            self.data.used().await;
            let mut backlog = Backlog::new(match self.expects_quic {
                true => QUIC_COMES,
                false => QUIC_DOES_NOT,
            });
            let mut before = (Instant::now(), self.data.delivered().await);
            loop {
                tokio::time::sleep(LOOK).await;
                let now = (Instant::now(), self.data.delivered().await);
                let is_alone = self.quic.borrow().is_none();
                let is_fast = *self.manner.borrow() == Manner::Fast;
                let is_waited_for = is_alone && is_fast && self.data.is_backed_up().await;
                let bytes = now.1.saturating_sub(before.1);
                if backlog.look(is_waited_for, bytes, now.0 - before.0) {
                    return;
                }
                if !is_waited_for {
                    break;
                }
                before = now;
            }
        }
    }

    /// Makes a set. Its connections are used as they come up.
    async fn make(&self, lane: u32, answers: &mut mpsc::Receiver<Set>) -> Result<(), SetFault> {
        let mut offered = Vec::new();
        for _ in 0..CONNECTIONS {
            offered.push(Connecting::offer(&self.settings).await?);
        }
        let halves = gathered(&mut offered, &self.settings).await;
        self.control.send(Message::Parallel { lane, halves });
        let answer = async {
            loop {
                match answers.recv().await {
                    Some(set) if set.lane == lane => return set.halves,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        let halves = timeout(PATIENCE, answer)
            .await
            .map_err(|_| SetFault::Late)?;
        if halves.len() != offered.len() {
            return Err(SetFault::Uneven);
        }
        let mut opening = JoinSet::new();
        for (mut connecting, half) in offered.into_iter().zip(halves) {
            opening.spawn(async move {
                connecting.set_remote(&half).await?;
                let link = connecting.connected(PATIENCE).await?;
                // The other side's channels open last, and what comes before is lost.
                let sign = timeout(PATIENCE, link.control.receive()).await;
                match sign {
                    Ok(Some(_)) => Ok(link),
                    _ => Err(LinkError::Closed),
                }
            });
        }
        while let Some(made) = opening.join_next().await {
            match made {
                Ok(Ok(link)) => {
                    let strand = Arc::new(Strand::new(link));
                    self.strands.send_modify(|strands| strands.push(strand));
                }
                Ok(Err(error)) => tracing::debug!(lane, %error, "a connection beside the link"),
                Err(_) => {}
            }
        }
        let count = self.strands.borrow().len();
        tracing::debug!(lane, count, "connections beside the link");
        match count {
            0 => Err(SetFault::None),
            _ => Ok(()),
        }
    }

    /// Uses a set for as long as all of it is there and something is sent. Says whether
    /// it was of use.
    async fn hold(&self, lane: u32) -> bool {
        let strands = self.strands.borrow().clone();
        let mut watching = JoinSet::new();
        for strand in &strands {
            let strand = Arc::clone(strand);
            watching.spawn(async move { strand.gone().await });
        }
        let mut manner = self.manner.clone();
        let is_unused = tokio::select! {
            _ = watching.join_next() => false,
            () = unused(&strands) => true,
            // The settings live as long as the engine.
            _ = manner.wait_for(|manner| *manner == Manner::Polite) => false,
        };
        self.strands.send_replace(Vec::new());
        let mut pieces = Vec::new();
        for strand in &strands {
            pieces.extend(strand.end());
        }
        if !is_unused {
            // A link that is gone needs no telling.
            let _ = self.lost.send(Lost { lane, pieces });
        }
        for strand in &strands {
            strand.close().await;
        }
        is_unused
    }
}

/// Resolves when nothing was sent for a while, and everything was delivered.
async fn unused(strands: &[Arc<Strand>]) {
    let mut before = None;
    loop {
        tokio::time::sleep(UNUSED).await;
        let sent: u64 = strands.iter().map(|strand| strand.data.sent()).sum();
        let mut delivered = 0;
        for strand in strands {
            delivered += strand.delivered().await;
        }
        if before == Some(sent) && delivered == sent {
            return;
        }
        before = Some(sent);
    }
}

/// This side's halves, once servers were asked for candidates.
async fn gathered(connections: &mut [Connecting], settings: &LinkSettings) -> Vec<Offer> {
    let mut limit = match settings.has_servers() {
        true => GATHER,
        false => Duration::from_millis(100),
    };
    let mut halves = Vec::with_capacity(connections.len());
    for connecting in connections {
        let began = Instant::now();
        connecting.gathered(limit).await;
        limit = limit.saturating_sub(began.elapsed());
        halves.push(connecting.local_offer());
    }
    halves
}

/// Takes sets that the other side offers, one at a time.
struct Taking {
    settings: LinkSettings,
    control: Control,
    inlet: Inlet,
    /// The last set that was heard of.
    last: u32,
    since: Option<Instant>,
    connections: JoinSet<()>,
}

impl Taking {
    async fn take(&mut self, set: Set) {
        let is_soon = self
            .since
            .is_some_and(|since| since.elapsed() < LEAST_PAUSE);
        if set.lane < FIRST_PARALLEL.max(self.last) || is_soon {
            return;
        }
        self.last = set.lane.saturating_add(1);
        self.since = Some(Instant::now());
        self.connections.abort_all();
        if let Err(error) = self.answer(set).await {
            tracing::debug!(%error, "connections beside the link are not taken");
        }
    }

    async fn answer(&mut self, set: Set) -> Result<(), LinkError> {
        let mut answered = Vec::with_capacity(set.halves.len());
        for half in &set.halves {
            answered.push(Connecting::answer(&self.settings, half).await?);
        }
        let halves = gathered(&mut answered, &self.settings).await;
        let lane = set.lane;
        self.control.send(Message::ParallelAnswer { lane, halves });
        for connecting in answered {
            let inlet = self.inlet.clone();
            self.connections.spawn(async move {
                if let Ok(link) = connecting.connected(PATIENCE).await {
                    read(&link, lane, inlet).await;
                    link.handle.close().await;
                }
            });
        }
        Ok(())
    }
}

/// Says that this side is there, and hands over what comes.
async fn read(link: &Link, lane: u32, inlet: Inlet) {
    let sign = Message::Alive.encode();
    if link.control.send(BytesMut::from(&sign[..])).await.is_err() {
        return;
    }
    let reading = async {
        while let Some(bytes) = link.bulk.receive().await {
            *inlet.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            let inbound = match Frame::decode(bytes) {
                Ok(frame) => Inbound::Frame(frame, lane),
                Err(error) => Inbound::Malformed(error),
            };
            match inlet.inbound.upgrade() {
                Some(sender) if sender.send(inbound).await.is_ok() => {}
                _ => return,
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = link.handle.gone() => {}
    }
}
