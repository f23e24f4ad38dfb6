//! A peer without an engine: speaks knock, WebRTC and wire by itself, and says
//! whatever a test wants said.
//!
//! What a [`RawPeer`] does of its own accord is what the protocol asks for; all
//! that is hostile is in the tests.

use std::collections::HashSet;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use passalong_proto::invite::{Invite, InviteSecret};
use passalong_proto::keys::{DeviceId, DeviceKey, Role, ShareKey, link_binding};
use passalong_proto::knock::{
    self, Answer, Candidate, CandidateKind, DeviceName, IceToken, Knock, MAX_DATAGRAM, Offer,
    ReceivedKnock, SentKnock, SessionId,
};
use passalong_proto::wire::{
    BULK_CHANNEL, CONTROL_CHANNEL, Farewell, Frame, Message, PROTOCOL_VERSION, PieceRef,
};
use rtc_ice::mdns::MulticastDnsMode;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    CipherSuiteId, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceGatheringState, RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription,
    SettingEngineBuilder,
};
use webrtc::runtime::TokioRuntime;

use crate::PATIENCE;

/// SCTP window, in bytes, that the smallest usual socket buffer can take.
const WINDOW: u32 = 128 * 1024;

/// A device that is not Passalong.
pub struct RawPeer {
    key: DeviceKey,
    socket: UdpSocket,
    /// Sessions that were answered, so that repeated knocks are passed over.
    answered: Mutex<HashSet<SessionId>>,
}

impl RawPeer {
    /// A device on the loopback whose key comes from `seed`.
    pub async fn new(seed: u8) -> RawPeer {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        RawPeer {
            key: DeviceKey::from_seed([seed; 32]),
            socket: socket.expect("a socket"),
            answered: Mutex::new(HashSet::new()),
        }
    }

    /// Where it can be knocked at.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// Its device key's public half.
    pub fn device(&self) -> DeviceId {
        self.key.public()
    }

    /// The link into a share that this peer pretends to have.
    pub fn link_to(&self, secret: InviteSecret) -> String {
        Invite::new(secret, [self.address()]).link()
    }

    /// The next knock of a session that was not answered yet.
    pub async fn next_knock(&self, secret: &InviteSecret) -> (ReceivedKnock, SocketAddr) {
        let heard = async {
            let mut buffer = [0; MAX_DATAGRAM];
            loop {
                let (length, from) = self.socket.recv_from(&mut buffer).await.expect("received");
                if let Ok(received) = knock::open(secret, &buffer[..length]) {
                    let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
                    if answered.insert(received.knock.session) {
                        return (received, from);
                    }
                }
            }
        };
        patiently("a knock", heard).await
    }

    /// Answers the next knock and connects; nothing is said yet.
    pub async fn answer(&self, secret: &InviteSecret) -> RawLink {
        self.answer_with(secret, |_| {}).await.opened().await
    }

    /// Answers the next knock with what `adjust` makes of the true offer.
    pub async fn answer_with(
        &self,
        secret: &InviteSecret,
        adjust: impl FnOnce(&mut Offer),
    ) -> Unopened {
        let (received, from) = self.next_knock(secret).await;
        let Knock {
            session,
            device,
            offer: remote,
            ..
        } = received.knock.clone();
        let connection = Connection::new().await;
        connection
            .remote(RTCSessionDescription::offer(sdp(&remote, "actpass")))
            .await;
        let answer = connection
            .inner
            .create_answer(None)
            .await
            .expect("an answer");
        let own = connection.local(answer).await;
        let mut offer = own.clone();
        adjust(&mut offer);
        let welcome = Answer::Welcome {
            session,
            device: self.device(),
            name: DeviceName::new("Mallory"),
            offer,
        };
        let sealed = received.answer(&welcome).expect("sealed");
        self.send(&sealed, from).await;
        Unopened {
            connection,
            key: self.key.clone(),
            role: Role::Answerer,
            secret: *secret,
            own: own.fingerprint,
            peer: (device, remote.fingerprint),
        }
    }

    /// Knocks with the first address of an invite and connects; nothing is said yet.
    pub async fn knock(&self, link: &str) -> RawLink {
        let invite = Invite::parse(link).expect("an invite");
        let connection = Connection::new().await;
        let offer = connection.inner.create_offer(None).await.expect("an offer");
        let own = connection.local(offer).await;
        let (bytes, mut sent) = self.seal(&invite.secret, new_session(), own.clone());
        self.send(&bytes, invite.addresses[0]).await;
        let Answer::Welcome { device, offer, .. } = self.answer_to(&mut sent).await else {
            panic!("refused")
        };
        connection
            .remote(RTCSessionDescription::answer(sdp(&offer, "active")))
            .await;
        let unopened = Unopened {
            connection,
            key: self.key.clone(),
            role: Role::Knocker,
            secret: invite.secret,
            own: own.fingerprint,
            peer: (device, offer.fingerprint),
        };
        unopened.opened().await
    }

    /// Seals a knock of this device.
    pub fn seal(
        &self,
        secret: &InviteSecret,
        session: [u8; 16],
        offer: Offer,
    ) -> (Vec<u8>, SentKnock) {
        let content = Knock {
            session: SessionId(session),
            device: self.device(),
            name: DeviceName::new("Mallory"),
            offer,
            call_back: Vec::new(),
        };
        knock::seal(secret, &content).expect("sealed")
    }

    /// Sends a datagram.
    pub async fn send(&self, bytes: &[u8], to: SocketAddr) {
        self.socket.send_to(bytes, to).await.expect("sent");
    }

    /// The next datagram.
    pub async fn datagram(&self) -> Vec<u8> {
        let mut buffer = vec![0; MAX_DATAGRAM + 1];
        let received = patiently("a datagram", self.socket.recv(&mut buffer)).await;
        buffer.truncate(received.expect("received"));
        buffer
    }

    /// The answer to a knock.
    pub async fn answer_to(&self, sent: &mut SentKnock) -> Answer {
        loop {
            if let Ok(answer) = sent.open(&self.datagram().await) {
                return answer;
            }
        }
    }
}

/// An offer that leads nowhere.
pub fn dead_offer() -> Offer {
    Offer {
        ufrag: IceToken::new("dead").expect("a token"),
        password: IceToken::new("dead+dead+dead+dead+dead").expect("a token"),
        fingerprint: [0; 32],
        candidates: Vec::new(),
    }
}

struct Connection {
    inner: Arc<dyn PeerConnection>,
    control: Arc<dyn DataChannel>,
    bulk: Arc<dyn DataChannel>,
    gathered: watch::Receiver<(Vec<Candidate>, bool)>,
    state: watch::Receiver<RTCPeerConnectionState>,
}

struct Handler {
    gathered: watch::Sender<(Vec<Candidate>, bool)>,
    state: watch::Sender<RTCPeerConnectionState>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(ip) = event.candidate.address.parse() {
            let candidate = Candidate {
                kind: CandidateKind::Host,
                address: SocketAddr::new(ip, event.candidate.port),
                priority: event.candidate.priority,
            };
            self.gathered
                .send_modify(|(candidates, _)| candidates.push(candidate));
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_modify(|(_, complete)| *complete = true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }
}

impl Connection {
    async fn new() -> Connection {
        let (gathered_sender, gathered) = watch::channel((Vec::new(), false));
        let (state_sender, state) = watch::channel(RTCPeerConnectionState::New);
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_dtls_cipher_suites(vec![
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
            ])
            .with_sctp_max_receive_buffer_size(WINDOW)
            .build();
        let inner = PeerConnectionBuilder::new()
            .with_setting_engine(settings)
            .with_runtime(Arc::new(TokioRuntime))
            .with_handler(Arc::new(Handler {
                gathered: gathered_sender,
                state: state_sender,
            }))
            .with_udp_addrs(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
            .with_data_channel_send_buffer_limit(1 << 20)
            .build()
            .await
            .expect("a connection");
        let inner: Arc<dyn PeerConnection> = Arc::new(inner);
        let channel = async |label, id| {
            let init = RTCDataChannelInit {
                ordered: true,
                negotiated: Some(id),
                ..Default::default()
            };
            let made = inner.create_data_channel(label, Some(init)).await;
            made.expect("a channel")
        };
        let control = channel("control", CONTROL_CHANNEL).await;
        let bulk = channel("bulk", BULK_CHANNEL).await;
        Connection {
            inner,
            control,
            bulk,
            gathered,
            state,
        }
    }

    /// Resolves when the other side answers no more.
    async fn gone(&self) {
        let mut state = self.state.clone();
        let is_gone = |state: &RTCPeerConnectionState| {
            matches!(
                state,
                RTCPeerConnectionState::Disconnected
                    | RTCPeerConnectionState::Failed
                    | RTCPeerConnectionState::Closed
            )
        };
        // Without whoever tells the state there is no connection.
        let _ = state.wait_for(is_gone).await;
    }

    /// What comes next on one of the channels; `None` when the other side is gone.
    async fn next(&self, channel: &Arc<dyn DataChannel>) -> Option<Bytes> {
        let heard = async {
            loop {
                match channel.poll().await? {
                    DataChannelEvent::OnMessage(message) => return Some(message.data.freeze()),
                    DataChannelEvent::OnClose | DataChannelEvent::OnClosing => return None,
                    _ => {}
                }
            }
        };
        // What came before the other side went comes first.
        let next = async {
            tokio::select! {
                biased;
                heard = heard => heard,
                () = self.gone() => None,
            }
        };
        patiently("a message", next).await
    }

    async fn remote(&self, description: Result<RTCSessionDescription, webrtc::error::Error>) {
        let set = self.inner.set_remote_description(description.expect("sdp"));
        set.await.expect("a remote description");
    }

    /// Begins with a local description; gives its compact form.
    async fn local(&self, description: RTCSessionDescription) -> Offer {
        let set = self.inner.set_local_description(description).await;
        set.expect("a local description");
        let mut gathered = self.gathered.clone();
        let complete = gathered.wait_for(|(_, complete)| *complete);
        let candidates = patiently("candidates", complete)
            .await
            .expect("gathered")
            .0
            .clone();
        let sdp = self.inner.local_description().await.expect("set").sdp;
        let attribute = |name: &str| {
            let mut lines = sdp.lines();
            let found = lines.find_map(|line| line.strip_prefix("a=")?.strip_prefix(name));
            found.expect("an attribute")
        };
        let fingerprint: Vec<u8> = attribute("fingerprint:sha-256 ")
            .split(':')
            .map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal"))
            .collect();
        Offer {
            ufrag: IceToken::new(attribute("ice-ufrag:")).expect("a token"),
            password: IceToken::new(attribute("ice-pwd:")).expect("a token"),
            fingerprint: fingerprint.try_into().expect("32 bytes"),
            candidates,
        }
    }
}

/// A connection that was negotiated and may come up.
pub struct Unopened {
    connection: Connection,
    key: DeviceKey,
    role: Role,
    secret: InviteSecret,
    own: [u8; 32],
    peer: (DeviceId, [u8; 32]),
}

impl Unopened {
    /// Waits for both channels.
    pub async fn opened(self) -> RawLink {
        for channel in [&self.connection.control, &self.connection.bulk] {
            let open = async {
                while !matches!(
                    channel.poll().await.expect("a channel"),
                    DataChannelEvent::OnOpen
                ) {}
            };
            patiently("an open channel", open).await;
        }
        RawLink(self)
    }
}

/// A live connection to a real engine, over which anything can be said.
pub struct RawLink(Unopened);

impl RawLink {
    /// The true hello of this link's device.
    pub fn hello(&self) -> Message {
        self.hello_of(&self.0.key)
    }

    /// The hello that the holder of `key` would say here.
    pub fn hello_of(&self, key: &DeviceKey) -> Message {
        Message::Hello {
            version: PROTOCOL_VERSION,
            signature: key.sign(&self.binding()).into(),
        }
    }

    /// The word of the holder of `key` that this link leads to the sharer.
    pub fn sharer_of(&self, key: &ShareKey) -> Message {
        Message::Sharer {
            public_key: key.public(),
            signature: key.sign(&self.binding()).into(),
        }
    }

    /// The device at the other end.
    pub fn peer(&self) -> DeviceId {
        self.0.peer.0
    }

    /// The device at this end.
    pub fn own(&self) -> DeviceId {
        self.0.key.public()
    }

    fn binding(&self) -> [u8; 32] {
        let Unopened {
            role,
            secret,
            own,
            peer,
            ..
        } = &self.0;
        link_binding(*role, own, &peer.1, secret)
    }

    /// Says hello and checks the other side's; the answerer begins.
    pub async fn greet(&self) {
        let Unopened {
            role,
            secret,
            own,
            peer,
            ..
        } = &self.0;
        if *role == Role::Answerer {
            self.send(&self.hello()).await;
        }
        let first = self.receive().await;
        let Some(Message::Hello { version, signature }) = first else {
            panic!("no hello but {first:?}")
        };
        let other = match role {
            Role::Knocker => Role::Answerer,
            Role::Answerer => Role::Knocker,
        };
        let binding = link_binding(other, &peer.1, own, secret);
        assert_eq!(version, PROTOCOL_VERSION);
        assert!(peer.0.verify(&binding, &signature.into()));
        if *role == Role::Knocker {
            self.send(&self.hello()).await;
        }
    }

    /// Sends a control message. A link that is gone takes it as well: the other
    /// side may hang up at any time.
    pub async fn send(&self, message: &Message) {
        self.send_control(&message.encode()).await;
    }

    /// Sends bytes on the control channel.
    pub async fn send_control(&self, bytes: &[u8]) {
        let _ = self.0.connection.control.send(BytesMut::from(bytes)).await;
    }

    /// Sends bytes on the bulk channel.
    pub async fn send_bulk(&self, bytes: &[u8]) {
        let _ = self.0.connection.bulk.send(BytesMut::from(bytes)).await;
    }

    /// Sends a frame on the bulk channel.
    pub async fn send_frame(&self, piece: PieceRef, offset: u32, data: &[u8]) {
        self.send_bulk(&Frame::encode(piece, offset, data)).await;
    }

    /// The next control message but for signs of life and offers of lanes that this
    /// peer does not have; `None` when the other side is gone.
    pub async fn receive(&self) -> Option<Message> {
        loop {
            let bytes = self.0.connection.next(&self.0.connection.control).await?;
            match Message::decode(&bytes).expect("an honest message") {
                Message::Alive | Message::Quic { .. } | Message::Parallel { .. } => {}
                message => return Some(message),
            }
        }
    }

    /// Reads until a message that `wanted` picks out.
    pub async fn heard<T>(&self, what: &str, wanted: impl Fn(&Message) -> Option<T>) -> T {
        loop {
            let Some(message) = self.receive().await else {
                panic!("the other side is gone; waited in vain for {what}")
            };
            if let Some(found) = wanted(&message) {
                return found;
            }
        }
    }

    /// The next frame; `None` when the other side is gone.
    pub async fn receive_frame(&self) -> Option<Frame> {
        let bytes = self.0.connection.next(&self.0.connection.bulk).await?;
        Some(Frame::decode(bytes).expect("an honest frame"))
    }

    /// Reads until the other side parts and gives what it said at that.
    pub async fn parting(&self) -> Option<Farewell> {
        loop {
            if let Message::Bye { reason } = self.receive().await? {
                return Some(reason);
            }
        }
    }

    /// Ends the connection without a word.
    pub async fn close(self) {
        let _ = self.0.connection.inner.close().await;
    }
}

/// A session that no other knock of this process has: one that is just ending
/// takes no knock any more.
fn new_session() -> [u8; 16] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes();
    [number, number].concat().try_into().expect("16 bytes")
}

/// Waits for what should happen soon.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

fn sdp(offer: &Offer, setup: &str) -> String {
    let pairs = offer.fingerprint.iter().map(|byte| format!("{byte:02X}"));
    let fingerprint = pairs.collect::<Vec<_>>().join(":");
    let mut lines = vec![
        "v=0".to_owned(),
        "o=- 1 1 IN IP4 127.0.0.1".to_owned(),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        "a=group:BUNDLE 0".to_owned(),
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel".to_owned(),
        "c=IN IP4 0.0.0.0".to_owned(),
        format!("a=ice-ufrag:{}", offer.ufrag.as_str()),
        format!("a=ice-pwd:{}", offer.password.as_str()),
        format!("a=fingerprint:sha-256 {fingerprint}"),
        format!("a=setup:{setup}"),
        "a=mid:0".to_owned(),
        "a=sctp-port:5000".to_owned(),
        "a=max-message-size:65536".to_owned(),
    ];
    for (index, candidate) in offer.candidates.iter().enumerate() {
        let (ip, port) = (candidate.address.ip(), candidate.address.port());
        let priority = candidate.priority;
        lines.push(format!(
            "a=candidate:{index} 1 udp {priority} {ip} {port} typ host"
        ));
    }
    lines.join("\r\n") + "\r\n"
}
