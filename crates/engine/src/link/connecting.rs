//! A connection being made: gathering, the exchange of offers, and waiting for
//! both channels to open.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use passalong_proto::knock::{Candidate, CandidateKind, MAX_CANDIDATES, Offer};
use passalong_proto::wire::{BULK_CHANNEL, CONTROL_CHANNEL};
use rtc_ice::mdns::MulticastDnsMode;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    CipherSuiteId, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCConfigurationBuilder, RTCIceCandidate, RTCIceCandidateInit, RTCIceCandidateType,
    RTCIceGatheringState, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder,
};
use webrtc::runtime::TokioRuntime;

use super::addresses::is_nearby;
use super::sdp::{self, Credentials};
use super::socket::{self, Haste, Hurry, Lending, SharingRuntime, Sockets};
use super::{Channel, Link, LinkError, LinkHandle, LinkSettings};
use crate::api::Route;

/// Threads that carry the packet work of all links of the process.
const REACTORS: usize = 2;
/// SCTP packet size on a path within one machine, whose interface takes 64 KiB.
const SAME_MACHINE_MTU: u32 = 8900;
/// Pause between two checks of a pair of candidates (Ta of RFC 8445 §14.2). Each
/// step of ICE waits for the next one, so it is shorter than the 50 ms given there.
const CHECK_INTERVAL: Duration = Duration::from_millis(25);
/// The same where a person carries the answer, which takes minutes.
const SLOW_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// Longest patience with the shorter pause.
const PROMPT: Duration = Duration::from_secs(60);

/// How long a pair on the local network has to answer before one through routers is
/// nominated, which stays. The library takes half a second to a second; before a relay
/// it waits for two.
const NEARER: Duration = Duration::from_millis(300);

/// How often a relayed connection is woken: the library hands a relayed packet to
/// its TURN client in one round of its loop and sends in the next, which without
/// other events begins 200 ms later.
const WAKE: Duration = Duration::from_millis(3);

/// A connection being made.
pub(crate) struct Connecting {
    connection: Arc<dyn PeerConnection>,
    control: Arc<dyn DataChannel>,
    bulk: Arc<dyn DataChannel>,
    local: watch::Receiver<Gathered>,
    state: watch::Receiver<RTCPeerConnectionState>,
    sockets: Sockets,
    lending: Lending,
    credentials: Credentials,
    peer_fingerprint: Option<[u8; 32]>,
    known_candidates: Vec<Candidate>,
    haste: Haste,
    /// From the time on when the other side's half is known.
    hurry: Option<Hurry>,
    /// What further connections are built from.
    beside: Option<LinkSettings>,
}

/// Wakes a connection regularly for as long as this lives.
pub(super) struct Waking(JoinHandle<()>);

impl Waking {
    fn start(channel: Arc<dyn DataChannel>) -> Waking {
        Waking(tokio::spawn(async move {
            let mut tick = tokio::time::interval(WAKE);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while wake(&*channel).await.is_ok() {
                tick.tick().await;
            }
        }))
    }
}

/// Wakes the connection of a channel: setting a threshold to what it is already does
/// nothing else.
async fn wake(channel: &dyn DataChannel) -> Result<(), webrtc::error::Error> {
    channel.set_buffered_amount_low_threshold(0).await
}

/// From now on the connection of this channel looks at its timers often.
async fn hurry(haste: &Haste, channel: &dyn DataChannel) -> Result<Hurry, webrtc::error::Error> {
    let hurry = haste.begin();
    // It may be asleep.
    wake(channel).await?;
    Ok(hurry)
}

impl Drop for Waking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Candidates found so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    candidates: Vec<Candidate>,
    complete: bool,
}

struct Handler {
    lending: Lending,
    gathered: watch::Sender<Gathered>,
    state: watch::Sender<RTCPeerConnectionState>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let stands_for_lent = |c: &Candidate| self.lending.addresses().any(|a| a == c.address);
        if let Some(candidate) = compact(&event.candidate).filter(|c| !stands_for_lent(c)) {
            self.gathered.send_if_modified(|gathered| {
                let fits = gathered.candidates.len() < MAX_CANDIDATES
                    && !gathered
                        .candidates
                        .iter()
                        .any(|c| c.address == candidate.address);
                if fits {
                    gathered.candidates.push(candidate);
                }
                fits
            });
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered
                .send_modify(|gathered| gathered.complete = true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }
}

impl Connecting {
    /// Begins a connection as the knocker: the offering, controlling side.
    pub(crate) async fn offer(settings: &LinkSettings) -> Result<Connecting, LinkError> {
        let built = build(settings).await?;
        let offer = built.connection.create_offer(None).await?;
        built.connection.set_local_description(offer).await?;
        built.connecting(None).await
    }

    /// Begins a connection as the answerer of `remote`.
    pub(crate) async fn answer(
        settings: &LinkSettings,
        remote: &Offer,
    ) -> Result<Connecting, LinkError> {
        let built = build(settings).await?;
        let description = RTCSessionDescription::offer(sdp::to_sdp(remote, "actpass"))?;
        built.connection.set_remote_description(description).await?;
        let answer = built.connection.create_answer(None).await?;
        built.connection.set_local_description(answer).await?;
        built.connecting(Some(remote)).await
    }

    /// This side's half as known now; grows while candidates are gathered.
    pub(crate) fn local_offer(&self) -> Offer {
        let mut candidates = self.local.borrow().candidates.clone();
        for lent in self.lending.all().flat_map(|lent| lent.candidates()) {
            let fits = candidates.len() < MAX_CANDIDATES;
            if fits && candidates.iter().all(|c| c.address != lent.address) {
                candidates.push(lent);
            }
        }
        Offer {
            ufrag: self.credentials.ufrag.clone(),
            password: self.credentials.password.clone(),
            fingerprint: self.credentials.fingerprint,
            candidates,
        }
    }

    /// Waits until every server was asked for candidates, or `limit` passed.
    pub(crate) async fn gathered(&mut self, limit: Duration) {
        let complete = self.local.wait_for(|gathered| gathered.complete);
        // Running out of time is no error: what is known by then is used.
        let _ = tokio::time::timeout(limit, complete).await;
    }

    /// Whether every server was asked for candidates.
    pub(crate) fn is_gathered(&self) -> bool {
        self.local.borrow().complete
    }

    /// Takes the other side's half: the first time whole, later only the
    /// candidates that are new. A different fingerprint is refused.
    pub(crate) async fn set_remote(&mut self, remote: &Offer) -> Result<(), LinkError> {
        match self.peer_fingerprint {
            None => {
                let description = RTCSessionDescription::answer(sdp::to_sdp(remote, "active"))?;
                self.connection.set_remote_description(description).await?;
                self.hurry = Some(hurry(&self.haste, &*self.control).await?);
                self.peer_fingerprint = Some(remote.fingerprint);
                self.known_candidates = remote.candidates.clone();
                Ok(())
            }
            Some(fingerprint) if fingerprint == remote.fingerprint => {
                for candidate in &remote.candidates {
                    let known = self
                        .known_candidates
                        .iter()
                        .any(|c| c.address == candidate.address);
                    if !known && self.known_candidates.len() < MAX_CANDIDATES {
                        self.known_candidates.push(*candidate);
                        let line = RTCIceCandidateInit {
                            candidate: sdp::candidate_line(candidate, self.known_candidates.len()),
                            sdp_mid: Some("0".to_owned()),
                            sdp_mline_index: Some(0),
                            ..Default::default()
                        };
                        self.connection.add_ice_candidate(line).await?;
                    }
                }
                Ok(())
            }
            Some(_) => Err(LinkError::Setup(
                "the other side changed its fingerprint".to_owned(),
            )),
        }
    }

    /// A handle that tells when the connection is made or failed, usable while
    /// candidates are still exchanged.
    pub(crate) fn progress(&self) -> watch::Receiver<RTCPeerConnectionState> {
        self.state.clone()
    }

    /// Waits for both channels to open.
    pub(crate) async fn connected(self, limit: Duration) -> Result<Link, LinkError> {
        let opened = async {
            let mut state = self.state.clone();
            let failed = state.wait_for(|s| {
                matches!(
                    s,
                    RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
                )
            });
            tokio::select! {
                biased;
                control = opened(&*self.control) => control?,
                _ = failed => return Err(LinkError::NoRoute),
            }
            opened(&*self.bulk).await
        };
        let outcome = tokio::time::timeout(limit, opened)
            .await
            .unwrap_or(Err(LinkError::NoRoute));
        drop(self.hurry);
        if let Err(error) = outcome {
            let _ = self.connection.close().await;
            return Err(error);
        }
        let Some(peer_fingerprint) = self.peer_fingerprint else {
            return Err(LinkError::Closed);
        };
        let route = match self.lending.terms() {
            Some(terms) => terms.route,
            None => route(&*self.connection).await,
        };
        let waking = match route {
            Route::Relayed => Some(Arc::new(Waking::start(Arc::clone(&self.control)))),
            _ => None,
        };
        Ok(Link {
            control: Channel {
                channel: self.control,
            },
            bulk: Channel { channel: self.bulk },
            fingerprint: self.credentials.fingerprint,
            peer_fingerprint,
            route,
            beside: self.beside,
            handle: LinkHandle {
                connection: self.connection,
                sockets: self.sockets,
                state: self.state,
                _waking: waking,
            },
        })
    }

    /// Gives the connection up.
    pub(crate) async fn close(self) {
        // Ending takes time that is not to be cut short.
        drop(self.hurry);
        let _ = self.connection.close().await;
    }
}

/// Whether a connection state means that it will never be made.
pub(crate) fn is_over(state: RTCPeerConnectionState) -> bool {
    matches!(
        state,
        RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
    )
}

/// Whether a connection state means that it is made.
pub(crate) fn is_made(state: RTCPeerConnectionState) -> bool {
    state == RTCPeerConnectionState::Connected
}

/// A connection with its channels, before any description is set.
struct Unconnected {
    connection: Arc<dyn PeerConnection>,
    control: Arc<dyn DataChannel>,
    bulk: Arc<dyn DataChannel>,
    local: watch::Receiver<Gathered>,
    state: watch::Receiver<RTCPeerConnectionState>,
    sockets: Sockets,
    lending: Lending,
    haste: Haste,
    beside: Option<LinkSettings>,
}

impl Unconnected {
    /// A connection that has set its local description, and what it knows of
    /// the peer's.
    async fn connecting(self, remote: Option<&Offer>) -> Result<Connecting, LinkError> {
        let credentials = credentials(&*self.connection).await?;
        for lent in self.lending.all() {
            lent.named(credentials.ufrag.as_str());
        }
        let hurry = match remote {
            Some(_) => Some(hurry(&self.haste, &*self.control).await?),
            None => None,
        };
        Ok(Connecting {
            hurry,
            haste: self.haste,
            connection: self.connection,
            control: self.control,
            bulk: self.bulk,
            local: self.local,
            state: self.state,
            sockets: self.sockets,
            lending: self.lending,
            beside: self.beside,
            credentials,
            peer_fingerprint: remote.map(|remote| remote.fingerprint),
            known_candidates: remote.map_or_else(Vec::new, |remote| remote.candidates.clone()),
        })
    }
}

/// What a connection goes by, once it has set its local description.
pub(super) async fn credentials(connection: &dyn PeerConnection) -> Result<Credentials, LinkError> {
    let description = connection.local_description().await;
    description
        .and_then(|description| sdp::credentials(&description.sdp))
        .ok_or_else(|| LinkError::Setup("the local description lacks credentials".to_owned()))
}

async fn build(settings: &LinkSettings) -> Result<Unconnected, LinkError> {
    let (gathered, local) = watch::channel(Gathered::default());
    let (state_sender, state) = watch::channel(RTCPeerConnectionState::New);
    let sockets = Sockets::default();
    let haste = Haste::default();
    let lending = Lending::of(&settings.lent)?;
    let terms = lending.terms();
    let window = terms.map_or_else(socket::sctp_window, |terms| terms.window);
    let interval = match settings.patience <= PROMPT {
        true => CHECK_INTERVAL,
        false => SLOW_CHECK_INTERVAL,
    };
    let checks = settings.patience.as_millis() / interval.as_millis();
    let checks = u16::try_from(checks).unwrap_or(u16::MAX);
    let mut engine = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_dtls_cipher_suites(vec![
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
        ])
        .with_sctp_max_receive_buffer_size(window)
        .with_ice_connection_attempts(Some(interval), Some(checks))
        .with_srflx_acceptance_min_wait(Some(NEARER))
        .with_prflx_acceptance_min_wait(Some(NEARER))
        .with_ice_timeouts(
            Some(Duration::from_secs(6)),
            Some(settings.patience),
            Some(Duration::from_secs(2)),
        );
    if let Some(terms) = terms {
        engine = engine.with_sctp_mtu(terms.packet);
    } else if settings.same_machine {
        engine = engine.with_sctp_mtu(SAME_MACHINE_MTU);
    }
    let servers = settings
        .ice_servers
        .iter()
        .map(|server| RTCIceServer {
            urls: vec![server.url.clone()],
            username: server.username.clone(),
            credential: server.password.clone(),
        })
        .collect();
    let policy = if settings.relay_only {
        RTCIceTransportPolicy::Relay
    } else {
        RTCIceTransportPolicy::All
    };
    let configuration = RTCConfigurationBuilder::new()
        .with_ice_servers(servers)
        .with_ice_transport_policy(policy)
        .build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_setting_engine(engine.build())
        .with_runtime(Arc::new(SharingRuntime {
            tokio: TokioRuntime,
            sockets: sockets.clone(),
            lending: lending.clone(),
            haste: haste.clone(),
        }))
        .with_handler(Arc::new(Handler {
            lending: lending.clone(),
            gathered,
            state: state_sender,
        }))
        .with_udp_addrs(
            settings
                .addresses
                .iter()
                .map(|ip| SocketAddr::new(*ip, 0))
                .chain(lending.addresses())
                .collect(),
        )
        .with_dedicated_reactor_pool_size(REACTORS)
        .with_data_channel_send_buffer_limit(send_buffer(window))
        .build()
        .await?;
    let connection: Arc<dyn PeerConnection> = Arc::new(connection);
    let control = connection
        .create_data_channel("control", Some(channel(CONTROL_CHANNEL)))
        .await?;
    let bulk = connection
        .create_data_channel("bulk", Some(channel(BULK_CHANNEL)))
        .await?;
    Ok(Unconnected {
        connection,
        control,
        bulk,
        local,
        state,
        sockets,
        haste,
        beside: terms.is_none().then(|| LinkSettings {
            lent: Vec::new(),
            patience: PROMPT,
            ..settings.clone()
        }),
        lending,
    })
}

fn channel(id: u16) -> RTCDataChannelInit {
    RTCDataChannelInit {
        ordered: true,
        negotiated: Some(id),
        ..Default::default()
    }
}

/// Bytes queued for a channel before `send` waits: enough to keep the window
/// full while the sender is scheduled out, little enough that control messages
/// behind it are not late on a slow road.
fn send_buffer(window: u32) -> usize {
    (window as usize).max(512 * 1024)
}

async fn opened(channel: &dyn DataChannel) -> Result<(), LinkError> {
    loop {
        match channel.poll().await {
            Some(DataChannelEvent::OnOpen) => return Ok(()),
            Some(_) => {}
            None => return Err(LinkError::Closed),
        }
    }
}

/// What is known of the pair of candidates that ICE chose.
struct Chosen {
    /// Where this side's datagrams leave from.
    base: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    relayed: bool,
}

async fn chosen(connection: &dyn PeerConnection) -> Option<Chosen> {
    let sctp = connection.sctp().await?;
    let ice = sctp.transport().ice_transport();
    let pair = ice.get_selected_candidate_pair().await.ok().flatten()?;
    let (local, remote) = (pair.local(), pair.remote());
    let base = match local.typ {
        RTCIceCandidateType::Srflx | RTCIceCandidateType::Prflx => {
            address(&local.related_address, local.related_port)
        }
        _ => address(&local.address, local.port),
    };
    Some(Chosen {
        base,
        remote: address(&remote.address, remote.port),
        relayed: [local.typ, remote.typ].contains(&RTCIceCandidateType::Relay),
    })
}

fn address(ip: &str, port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new(ip.parse().ok()?, port))
}

/// From where and to where the peer is reached by UDP now, unless through a relay.
pub(super) async fn nominated(connection: &dyn PeerConnection) -> Option<(SocketAddr, SocketAddr)> {
    let chosen = chosen(connection).await?;
    match chosen.relayed {
        true => None,
        false => Some((chosen.base?, chosen.remote?)),
    }
}

async fn route(connection: &dyn PeerConnection) -> Route {
    match chosen(connection).await {
        Some(Chosen { relayed: true, .. }) => Route::Relayed,
        Some(Chosen {
            remote: Some(remote),
            ..
        }) if is_nearby(remote.ip()) => Route::SameNetwork,
        _ => Route::Direct,
    }
}

fn compact(candidate: &RTCIceCandidate) -> Option<Candidate> {
    let kind = match candidate.typ {
        RTCIceCandidateType::Host => CandidateKind::Host,
        RTCIceCandidateType::Srflx => CandidateKind::ServerReflexive,
        RTCIceCandidateType::Relay => CandidateKind::Relayed,
        _ => return None,
    };
    let ip: IpAddr = candidate.address.parse().ok()?;
    if ip.is_unspecified() || candidate.port == 0 {
        return None;
    }
    Some(Candidate {
        kind,
        address: SocketAddr::new(ip, candidate.port),
        priority: candidate.priority,
    })
}
