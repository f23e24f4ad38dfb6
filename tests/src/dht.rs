//! A DHT of its own on the loopback, and people who have no other way to meet.

use std::fs;
use std::net::Ipv4Addr;

use mainline::async_dht::AsyncDht;
use mainline::{Dht, DhtBuilder, MutableItem, Testnet};
use passalong_engine::Config;
use passalong_engine::api::{Carrier, CarrierState, TransferState, TransferView};
use passalong_proto::invite::{Invite, InviteSecret};
use passalong_proto::keys::DeviceId;
use passalong_proto::knock::{self, DeviceName, IceToken, Knock, Offer, SessionId};
use passalong_proto::rendezvous::mailbox::Mailbox;
use passalong_proto::rendezvous::note::NOTE_LEN;
use passalong_proto::rendezvous::presence::{Presence, Presences};
use passalong_proto::rendezvous::{Hour, Place, Slot};

use crate::{PATIENCE, Person};

/// Nodes where people enter.
const DOORS: usize = 3;
/// What the system shows of the name of a node's thread.
const THREAD: &str = "Mainline Dht ac";

/// A whole DHT; it ends with this.
pub struct Internet {
    nodes: Vec<Dht>,
    doors: Vec<String>,
}

impl Internet {
    /// A DHT of so many nodes.
    pub async fn new(nodes: usize) -> Internet {
        let build = move || Testnet::builder(nodes).build().expect("a DHT");
        let net = tokio::task::spawn_blocking(build).await.expect("built");
        Internet {
            doors: net.bootstrap.into_iter().take(DOORS).collect(),
            nodes: net.nodes,
        }
    }

    /// A DHT with a node on each of these ports of 127.0.0.1.
    pub async fn at(ports: &[u16]) -> Internet {
        let mut nodes = Vec::new();
        let doors: Vec<String> = ports.iter().map(|p| format!("127.0.0.1:{p}")).collect();
        for port in ports {
            let mut builder = Dht::builder();
            builder.server_mode().port(*port);
            match nodes.is_empty() {
                true => builder.no_bootstrap(),
                false => builder.bootstrap(&doors[..1]),
            };
            nodes.push(built(builder).await);
        }
        Internet { nodes, doors }
    }

    /// Where it is entered.
    pub fn doors(&self) -> Vec<String> {
        self.doors.clone()
    }

    /// Takes so many nodes away from one moment to the next, none of the doors.
    pub fn lose(&mut self, nodes: usize) {
        assert!(self.nodes.len() >= nodes + DOORS, "not so many nodes");
        self.nodes.truncate(self.nodes.len() - nodes);
    }

    /// Somebody who can be met here and nowhere else.
    pub async fn person(&self, name: &str) -> Person {
        self.person_with(name, |_| {}).await
    }

    /// The same, as if behind routers that let no knock through: mailboxes alone
    /// lead anywhere.
    pub async fn hidden(&self, name: &str) -> Person {
        self.person_with(name, |config| config.dht_addresses = false)
            .await
    }

    /// Somebody whose configuration is changed by `adjust`.
    pub async fn person_with(&self, name: &str, adjust: impl FnOnce(&mut Config)) -> Person {
        let doors = self.doors();
        Person::with(name, |config| {
            config.dht = Some(true);
            config.dht_bootstrap = Some(doors);
            adjust(config);
        })
        .await
    }

    /// Somebody who knows the protocol and the code, and is up to no good.
    pub async fn mallory(&self, code: &str) -> Mallory {
        let mut builder = Dht::builder();
        builder.port(0).bootstrap(&self.doors);
        Mallory {
            node: built(builder).await.as_async(),
            secret: Invite::parse(code).expect("a code").secret,
        }
    }

    /// Waits until a member of a share says in the DHT that it is there.
    pub async fn announced(&self, code: &str) {
        let reader = self.mallory(code).await;
        let look = async {
            loop {
                for place in Place::presences() {
                    if reader.reads(place).await {
                        return;
                    }
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, look).await;
        found.expect("somebody says that they are there");
    }
}

async fn built(mut builder: DhtBuilder) -> Dht {
    builder.bind_address(Ipv4Addr::LOCALHOST);
    let build = move || builder.build().expect("a node");
    tokio::task::spawn_blocking(build).await.expect("built")
}

/// A node of somebody with the code.
pub struct Mallory {
    node: AsyncDht,
    secret: InviteSecret,
}

impl Mallory {
    /// Whether there is a note in a place.
    async fn reads(&self, place: Place) -> bool {
        let slot = Slot::new(&self.secret, place);
        let key = slot.public();
        let item = self.node.get_mutable_most_recent(&key, None).await;
        item.is_some_and(|item| slot.open(item.value()).is_ok())
    }

    async fn write(&self, place: Place, seq: i64, value: &[u8]) {
        let slot = Slot::new(&self.secret, place);
        let item = MutableItem::new(slot.signing_key().clone(), value, seq, None);
        let written = self.node.put_mutable(item, None).await;
        written.expect("Mallory writes first or last");
    }

    async fn seal(&self, place: Place, content: &[u8]) {
        let slot = Slot::new(&self.secret, place);
        let note = slot.seal([7; 24], content).expect("it fits");
        self.write(place, 1_000, &note).await;
    }

    /// Makes every mailbox but one and every place for presences useless: nothing
    /// can be written over what lies there.
    pub async fn take_over_all_but_one(&self) {
        for place in Place::mailboxes().skip(1).chain(Place::presences().skip(1)) {
            self.write(place, i64::MAX, &[0x5a; NOTE_LEN]).await;
        }
    }

    /// Fills every place for presences with people who are not there.
    pub async fn make_up_people(&self) {
        for (number, place) in (0..).zip(Place::presences()) {
            let mut presences = Presences::default();
            for member in 0..30 {
                let made_up = Presence {
                    device: DeviceId([number * 30 + member; 32]),
                    hour: this_hour(),
                    addresses: vec![([127, 0, 0, 1], 2_000 + u16::from(member)).into()],
                };
                presences = Presences::joined_by(made_up, &[presences]);
            }
            self.seal(place, &presences.encode()).await;
        }
    }

    /// Fills every mailbox with knocks that lead to nobody.
    pub async fn make_up_knocks(&self) {
        for (number, place) in (0..).zip(Place::mailboxes()) {
            let mut mailbox = Mailbox::default();
            for nth in 0..3 {
                let made_up = self.made_up_knock(number * 3 + nth);
                let joined = Mailbox::with(made_up, this_hour(), &[mailbox], |_| false);
                mailbox = joined.expect("it fits");
            }
            self.seal(place, &mailbox.encode()).await;
        }
    }

    fn made_up_knock(&self, number: u8) -> Vec<u8> {
        let token = |text: &str| IceToken::new(text).expect("a token");
        let content = Knock {
            session: SessionId([number; 16]),
            device: DeviceId([number; 32]),
            name: DeviceName::new("Nobody"),
            offer: Offer {
                ufrag: token("abcd"),
                password: token("abcdefghijklmnopqrstuvwx"),
                fingerprint: [number; 32],
                candidates: Vec::new(),
            },
            call_back: Vec::new(),
        };
        knock::seal(&self.secret, &content).expect("sealed").0
    }
}

fn this_hour() -> Hour {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    Hour::of_unix(since.as_secs())
}

/// How a way of meeting goes for a transfer that looks for somebody.
pub fn carrier(transfer: &TransferView, carrier: Carrier) -> Option<CarrierState> {
    let (TransferState::Connecting { carriers, .. } | TransferState::Waiting { carriers, .. }) =
        &transfer.state
    else {
        return None;
    };
    let found = carriers.iter().find(|view| view.carrier == carrier);
    found.map(|view| view.state)
}

/// Threads of DHT nodes in this process.
pub fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("threads");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == THREAD).count()
}
