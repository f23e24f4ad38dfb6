//! A link: one peer's live WebRTC connection to another, with a control and a
//! bulk data channel. The only module that imports `webrtc`.
//!
//! A [`Connecting`] is built from or for a compact [`Offer`]; it becomes a
//! [`Link`] when both channels are open. DTLS fingerprints are always verified.
//! What travels on the channels, and who the peer is, is not decided here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use passalong_proto::knock::{Candidate, CandidateKind, IceToken, MAX_CANDIDATES, Offer};
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

use crate::api::Route;
use socket::BufferedRuntime;

mod socket;

/// Threads that carry the packet work of all links of the process.
const REACTORS: usize = 2;
/// SCTP packet size on a path within one machine, whose interface takes 64 KiB.
const SAME_MACHINE_MTU: u32 = 8900;
/// Pause between two checks of a pair of candidates.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How often a connection that may be relayed is woken: the library hands a
/// relayed packet to its TURN client in one round of its loop and sends it in
/// the next, which without other events begins 200 ms later.
const RELAY_WAKE: Duration = Duration::from_millis(3);

/// A STUN or TURN server, its host already resolved: name look-ups inside the
/// connection would hold up its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IceServer {
    /// `stun:IP:PORT` or `turn:IP:PORT?transport=udp`.
    pub(crate) url: String,
    /// Long-term credential user name; empty for STUN.
    pub(crate) username: String,
    /// Long-term credential password; empty for STUN.
    pub(crate) password: String,
}

/// What a connection is built from.
#[derive(Clone, Debug)]
pub(crate) struct LinkSettings {
    /// Local addresses to be reached at.
    pub(crate) addresses: Vec<IpAddr>,
    /// STUN and TURN servers.
    pub(crate) ice_servers: Vec<IceServer>,
    /// Use TURN only.
    pub(crate) relay_only: bool,
    /// Both ends are on this machine, as far as the knock could tell.
    pub(crate) same_machine: bool,
    /// How long the other side may take to begin its checks: a person may be
    /// carrying the answer to it by hand.
    pub(crate) patience: Duration,
}

impl LinkSettings {
    fn may_relay(&self) -> bool {
        self.ice_servers
            .iter()
            .any(|server| server.url.starts_with("turn:"))
    }
}

/// Why a link could not be made or went away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The WebRTC library refused.
    #[error("the connection could not be set up: {0}")]
    Setup(String),
    /// No pair of addresses worked, or the handshake failed.
    #[error("no way through was found between the two computers")]
    NoRoute,
    /// The connection is gone.
    #[error("the connection was closed")]
    Closed,
}

impl From<webrtc::error::Error> for LinkError {
    fn from(error: webrtc::error::Error) -> Self {
        LinkError::Setup(error.to_string())
    }
}

/// A connection being made.
pub(crate) struct Connecting {
    connection: Arc<dyn PeerConnection>,
    control: Arc<dyn DataChannel>,
    bulk: Arc<dyn DataChannel>,
    local: watch::Receiver<Gathered>,
    state: watch::Receiver<RTCPeerConnectionState>,
    credentials: Credentials,
    peer_fingerprint: Option<[u8; 32]>,
    known_candidates: Vec<Candidate>,
    waking: Option<Waking>,
}

/// Wakes a connection regularly for as long as this lives.
struct Waking(JoinHandle<()>);

impl Waking {
    /// Setting a threshold to what it is already does nothing but wake.
    fn start(channel: Arc<dyn DataChannel>) -> Waking {
        Waking(tokio::spawn(async move {
            let mut tick = tokio::time::interval(RELAY_WAKE);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while channel.set_buffered_amount_low_threshold(0).await.is_ok() {
                tick.tick().await;
            }
        }))
    }
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

#[derive(Clone)]
struct Credentials {
    ufrag: IceToken,
    password: IceToken,
    fingerprint: [u8; 32],
}

struct Handler {
    gathered: watch::Sender<Gathered>,
    state: watch::Sender<RTCPeerConnectionState>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Some(candidate) = compact(&event.candidate) {
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
        let (connection, control, bulk, local, state) = build(settings).await?;
        let offer = connection.create_offer(None).await?;
        connection.set_local_description(offer).await?;
        let credentials = local_credentials(&*connection).await?;
        let waking = settings
            .may_relay()
            .then(|| Waking::start(Arc::clone(&control)));
        Ok(Connecting {
            connection,
            control,
            bulk,
            local,
            state,
            credentials,
            peer_fingerprint: None,
            known_candidates: Vec::new(),
            waking,
        })
    }

    /// Begins a connection as the answerer of `remote`.
    pub(crate) async fn answer(
        settings: &LinkSettings,
        remote: &Offer,
    ) -> Result<Connecting, LinkError> {
        let (connection, control, bulk, local, state) = build(settings).await?;
        let description = RTCSessionDescription::offer(to_sdp(remote, "actpass"))?;
        connection.set_remote_description(description).await?;
        let answer = connection.create_answer(None).await?;
        connection.set_local_description(answer).await?;
        let credentials = local_credentials(&*connection).await?;
        let waking = settings
            .may_relay()
            .then(|| Waking::start(Arc::clone(&control)));
        Ok(Connecting {
            connection,
            control,
            bulk,
            local,
            state,
            credentials,
            peer_fingerprint: Some(remote.fingerprint),
            known_candidates: remote.candidates.clone(),
            waking,
        })
    }

    /// This side's half as known now; grows while candidates are gathered.
    pub(crate) fn local_offer(&self) -> Offer {
        Offer {
            ufrag: self.credentials.ufrag.clone(),
            password: self.credentials.password.clone(),
            fingerprint: self.credentials.fingerprint,
            candidates: self.local.borrow().candidates.clone(),
        }
    }

    /// Waits until every server was asked for candidates, or `limit` passed.
    pub(crate) async fn gathered(&mut self, limit: Duration) {
        let complete = self.local.wait_for(|gathered| gathered.complete);
        // Running out of time is no error: what is known by then is used.
        let _ = tokio::time::timeout(limit, complete).await;
    }

    /// Takes the other side's half: the first time whole, later only the
    /// candidates that are new. A different fingerprint is refused.
    pub(crate) async fn set_remote(&mut self, remote: &Offer) -> Result<(), LinkError> {
        match self.peer_fingerprint {
            None => {
                let description = RTCSessionDescription::answer(to_sdp(remote, "active"))?;
                self.connection.set_remote_description(description).await?;
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
                            candidate: candidate_line(candidate, self.known_candidates.len()),
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
        if let Err(error) = outcome {
            let _ = self.connection.close().await;
            return Err(error);
        }
        let Some(peer_fingerprint) = self.peer_fingerprint else {
            return Err(LinkError::Closed);
        };
        let route = route(&*self.connection).await;
        Ok(Link {
            control: Channel {
                channel: self.control,
            },
            bulk: Channel { channel: self.bulk },
            fingerprint: self.credentials.fingerprint,
            peer_fingerprint,
            route,
            handle: LinkHandle {
                connection: self.connection,
                _waking: self
                    .waking
                    .filter(|_| route == Route::Relayed)
                    .map(Arc::new),
            },
        })
    }

    /// Gives the connection up.
    pub(crate) async fn close(self) {
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

/// A live connection with both channels open.
pub(crate) struct Link {
    /// Control messages.
    pub(crate) control: Channel,
    /// Piece frames.
    pub(crate) bulk: Channel,
    /// SHA-256 of this side's DTLS certificate.
    pub(crate) fingerprint: [u8; 32],
    /// SHA-256 of the peer's, verified by the handshake.
    pub(crate) peer_fingerprint: [u8; 32],
    /// How the peer is reached.
    pub(crate) route: Route,
    /// Closes the connection.
    pub(crate) handle: LinkHandle,
}

/// Closes a link from anywhere.
#[derive(Clone)]
pub(crate) struct LinkHandle {
    connection: Arc<dyn PeerConnection>,
    _waking: Option<Arc<Waking>>,
}

impl LinkHandle {
    /// Closes the connection; both channels end.
    pub(crate) async fn close(&self) {
        let _ = self.connection.close().await;
    }
}

/// One data channel: ordered, reliable messages.
#[derive(Clone)]
pub(crate) struct Channel {
    channel: Arc<dyn DataChannel>,
}

impl Channel {
    /// Queues a message, waiting while the send buffer is full.
    pub(crate) async fn send(&self, message: BytesMut) -> Result<(), LinkError> {
        self.channel
            .send(message)
            .await
            .map_err(|_| LinkError::Closed)
    }

    /// The next message; `None` when the channel is gone.
    pub(crate) async fn receive(&self) -> Option<Bytes> {
        loop {
            match self.channel.poll().await? {
                DataChannelEvent::OnMessage(message) => return Some(message.data.freeze()),
                DataChannelEvent::OnClose | DataChannelEvent::OnClosing => return None,
                _ => {}
            }
        }
    }

    /// Waits until everything queued was acknowledged by the peer, or `limit`
    /// passed.
    pub(crate) async fn flushed(&self, limit: Duration) {
        let drained = async {
            while matches!(self.channel.outstanding_bytes().await, Ok(left) if left > 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(limit, drained).await;
    }
}

type Built = (
    Arc<dyn PeerConnection>,
    Arc<dyn DataChannel>,
    Arc<dyn DataChannel>,
    watch::Receiver<Gathered>,
    watch::Receiver<RTCPeerConnectionState>,
);

async fn build(settings: &LinkSettings) -> Result<Built, LinkError> {
    let (gathered, local) = watch::channel(Gathered::default());
    let (state_sender, state) = watch::channel(RTCPeerConnectionState::New);
    let window = socket::sctp_window();
    let checks = settings.patience.as_millis() / CHECK_INTERVAL.as_millis();
    let checks = u16::try_from(checks).unwrap_or(u16::MAX);
    let mut engine = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_dtls_cipher_suites(vec![
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
        ])
        .with_sctp_max_receive_buffer_size(window)
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(checks))
        .with_ice_timeouts(
            Some(Duration::from_secs(6)),
            Some(settings.patience),
            Some(Duration::from_secs(2)),
        );
    if settings.same_machine {
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
        .with_runtime(Arc::new(BufferedRuntime(TokioRuntime)))
        .with_handler(Arc::new(Handler {
            gathered,
            state: state_sender,
        }))
        .with_udp_addrs(
            settings
                .addresses
                .iter()
                .map(|ip| SocketAddr::new(*ip, 0))
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
    Ok((connection, control, bulk, local, state))
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

async fn route(connection: &dyn PeerConnection) -> Route {
    let pair = match connection.sctp().await {
        Some(sctp) => {
            let ice = sctp.transport().ice_transport();
            ice.get_selected_candidate_pair().await.ok().flatten()
        }
        None => None,
    };
    let Some(pair) = pair else {
        return Route::Direct;
    };
    if pair.local().typ == RTCIceCandidateType::Relay
        || pair.remote().typ == RTCIceCandidateType::Relay
    {
        return Route::Relayed;
    }
    match pair.remote().address.parse::<IpAddr>() {
        Ok(address) if is_nearby(address) => Route::SameNetwork,
        _ => Route::Direct,
    }
}

/// Whether an address can only belong to this machine or its local network.
fn is_nearby(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || own_network(v4)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Whether a public-looking IPv4 address is in the network of an interface.
fn own_network(address: Ipv4Addr) -> bool {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().any(|interface| match &interface.addr {
        if_addrs::IfAddr::V4(v4) => {
            let mask = u32::from(v4.netmask);
            mask != 0 && u32::from(v4.ip) & mask == u32::from(address) & mask
        }
        if_addrs::IfAddr::V6(_) => false,
    })
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

/// The candidate attribute of RFC 8839 §5.1, without the leading `a=`.
fn candidate_line(candidate: &Candidate, foundation: usize) -> String {
    let (kind, related) = match candidate.kind {
        CandidateKind::Host => ("host", ""),
        CandidateKind::ServerReflexive => ("srflx", " raddr 0.0.0.0 rport 0"),
        CandidateKind::Relayed => ("relay", " raddr 0.0.0.0 rport 0"),
    };
    format!(
        "candidate:{foundation} 1 udp {} {} {} typ {kind}{related}",
        candidate.priority,
        candidate.address.ip(),
        candidate.address.port(),
    )
}

/// An SDP description of one data-channel section (RFC 8841) from its compact
/// form. Every part was checked when the offer was parsed, so nothing a peer
/// chose can begin a line of its own.
fn to_sdp(offer: &Offer, setup: &str) -> String {
    let fingerprint: Vec<String> = offer
        .fingerprint
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    let mut sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\n\
         a=mid:0\r\na=sendrecv\r\na=sctp-port:5000\r\na=max-message-size:65536\r\n",
        offer.ufrag.as_str(),
        offer.password.as_str(),
        fingerprint.join(":"),
    );
    for (index, candidate) in offer.candidates.iter().enumerate() {
        sdp.push_str(&format!("a={}\r\n", candidate_line(candidate, index + 1)));
    }
    sdp
}

async fn local_credentials(connection: &dyn PeerConnection) -> Result<Credentials, LinkError> {
    let description = connection
        .local_description()
        .await
        .ok_or(LinkError::Closed)?;
    let attribute = |name: &str| {
        description
            .sdp
            .lines()
            .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name))
    };
    let token = |name: &str| attribute(name).and_then(IceToken::new);
    let fingerprint = attribute("fingerprint:sha-256 ").and_then(|text| {
        let bytes: Option<Vec<u8>> = text
            .trim()
            .split(':')
            .map(|pair| u8::from_str_radix(pair, 16).ok())
            .collect();
        bytes?.try_into().ok()
    });
    match (token("ice-ufrag:"), token("ice-pwd:"), fingerprint) {
        (Some(ufrag), Some(password), Some(fingerprint)) => Ok(Credentials {
            ufrag,
            password,
            fingerprint,
        }),
        _ => Err(LinkError::Setup(
            "the local description lacks credentials".to_owned(),
        )),
    }
}

/// Local addresses that peers can be told: those asked for, or every address of
/// an interface that is up, loopback only where there is nothing else.
pub(crate) fn local_addresses(bind: &[IpAddr]) -> Vec<IpAddr> {
    if !bind.is_empty() {
        return bind.to_vec();
    }
    static FALLBACK: OnceLock<Vec<IpAddr>> = OnceLock::new();
    let found: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| !ip.is_loopback() && !is_link_local(*ip))
        .collect();
    if found.is_empty() {
        FALLBACK
            .get_or_init(|| vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
            .clone()
    } else {
        found
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
