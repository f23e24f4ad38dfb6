//! A gateway that answers, and always nonsense: to PCP and NAT-PMP, and to UPnP with
//! a description that leads to more of it.
//!
//! No answer opens anything. What is answered depends on what was asked and on how
//! much was asked before, and on nothing else ([`Nonsense`]).

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use passalong_netns::{Failure, Namespace, Running};

use crate::kernel::REQUEST;

/// The port of PCP and NAT-PMP (RFC 6887 §19.1), and of SSDP, with its group.
const PCP: u16 = 5351;
const SSDP: u16 = 1900;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// The port of the descriptions.
const HTTP: u16 = 5000;
/// The longest message of PCP (RFC 6887 §7).
const LONGEST: usize = 1100;
/// How long somebody may take to ask over TCP.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the process says when it listens.
const READY: &str = "ready";
/// How long that may take.
const STARTED: Duration = Duration::from_secs(20);

/// A description that is as it has to be: whoever believes it asks on.
const DESCRIPTION: &str = "<?xml version=\"1.0\"?>\
    <root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device>\
    <deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>\
    <deviceList><device>\
    <deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType>\
    <deviceList><device>\
    <deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType>\
    <serviceList><service>\
    <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>\
    <controlURL>/control</controlURL><SCPDURL>/actions</SCPDURL>\
    </service></serviceList>\
    </device></deviceList></device></deviceList></device></root>";
/// What it says to be its address outside, one after the other.
const ADDRESSES: [&str; 5] = ["", "0.0.0.0", "127.0.0.1", "203.0.113.999", "<![CDATA["];

/// Starts it in `router`, whose address inside this is; waits until it listens.
pub(crate) async fn start(router: &Namespace, address: Ipv4Addr) -> Result<Running, Failure> {
    let here = std::env::current_exe();
    let here = here.map_err(|error| Failure::io("this program was not found again", error))?;
    let mut command = router.command(Path::new(&here));
    command.arg("--be-nonsense").arg(address.to_string());
    let mut running = Running::start("the nonsense", command)?;
    let said = tokio::time::timeout(STARTED, running.line()).await;
    match said {
        Ok(Some(said)) if said.text == READY => Ok(running),
        _ => Err(running.failure("it does not listen")),
    }
}

/// Is the gateway with this address, until the process is ended.
pub(crate) async fn be(address: Ipv4Addr) -> Result<(), Failure> {
    let failed = |error| Failure::io("nonsense could not be answered", error);
    let pcp = UdpSocket::bind((address, PCP)).map_err(failed)?;
    let ssdp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, SSDP)).map_err(failed)?;
    ssdp.join_multicast_v4(&GROUP, &address).map_err(failed)?;
    let http = TcpListener::bind((address, HTTP)).map_err(failed)?;
    println!("{READY}");
    let listening: [Box<dyn FnOnce() -> io::Result<()> + Send>; 3] = [
        Box::new(move || {
            to_datagrams(&pcp, |nonsense, asked| {
                println!("{REQUEST} by PCP or NAT-PMP");
                nonsense.pcp(asked)
            })
        }),
        Box::new(move || to_datagrams(&ssdp, |_, _| found(address).into_bytes())),
        Box::new(move || to_requests(&http)),
    ];
    let mut ended = tokio::task::JoinSet::new();
    for listen in listening {
        ended.spawn_blocking(listen);
    }
    match ended.join_next().await {
        Some(Ok(Err(error))) => Err(failed(error)),
        _ => Err(Failure::Broken("nonsense never ends")),
    }
}

fn to_datagrams(
    socket: &UdpSocket,
    answer: impl Fn(&mut Nonsense, &[u8]) -> Vec<u8>,
) -> io::Result<()> {
    let mut nonsense = Nonsense::default();
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        // Whoever asked may be gone.
        let _ = socket.send_to(&answer(&mut nonsense, &buffer[..length]), from);
    }
}

fn to_requests(listener: &TcpListener) -> io::Result<()> {
    let mut nonsense = Nonsense::default();
    let mut buffer = [0; 2048];
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // What comes in the first piece tells what is wanted.
        let asked = stream.read(&mut buffer).unwrap_or(0);
        println!("{REQUEST} by UPnP");
        let _ = stream.write_all(&nonsense.http(&buffer[..asked]));
    }
}

/// Where a search finds the description.
fn found(address: Ipv4Addr) -> String {
    let at = SocketAddrV4::new(address, HTTP);
    format!(
        "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nEXT:\r\n\
         ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
         USN: uuid:nonsense::urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
         LOCATION: http://{at}/description.xml\r\n\r\n"
    )
}

/// What is answered, one after the other.
#[derive(Debug, Default)]
struct Nonsense {
    answered: usize,
}

impl Nonsense {
    /// To a message of PCP or NAT-PMP: noise of any length, the message itself, or
    /// what begins as a success and goes on as noise.
    fn pcp(&mut self, asked: &[u8]) -> Vec<u8> {
        self.answered += 1;
        let mut noise = vec![0; LONGEST];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.answered.to_le_bytes()).update(asked);
        hasher.finalize_xof().fill(&mut noise);
        let length = usize::from(u16::from_le_bytes([noise[0], noise[1]])) % LONGEST;
        match self.answered % 4 {
            0 => asked.to_vec(),
            1 => noise[..length].to_vec(),
            2 => noise,
            _ => {
                let [version, operation] = [0, 1].map(|at| asked.get(at).copied().unwrap_or(0));
                let begun = [version, operation | 0x80, 0, 0];
                [&begun, &noise[..asked.len().min(LONGEST)]].concat()
            }
        }
    }

    /// To a request for the description, that; to all else success, and addresses
    /// that nobody can have.
    fn http(&mut self, asked: &[u8]) -> Vec<u8> {
        let body = match asked.starts_with(b"GET /description") {
            true => DESCRIPTION.to_owned(),
            false => {
                self.answered += 1;
                let address = ADDRESSES[self.answered % ADDRESSES.len()];
                format!(
                    "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
                     <u:GetExternalIPAddressResponse \
                     xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:1\">\
                     <NewExternalIPAddress>{address}</NewExternalIPAddress>\
                     </u:GetExternalIPAddressResponse></s:Body></s:Envelope>"
                )
            }
        };
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n";
        format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_message_gets_an_answer_that_differs_from_the_last_one(
            asked in prop::collection::vec(any::<u8>(), 2..LONGEST),
        ) {
            let mut nonsense = Nonsense::default();
            let answers: Vec<_> = (0..8).map(|_| nonsense.pcp(&asked)).collect();
            for pair in answers.windows(2) {
                prop_assert_ne!(&pair[0], &pair[1]);
            }
            prop_assert_eq!(answers[3].as_slice(), &asked);
            prop_assert!(answers.iter().all(|answer| answer.len() <= LONGEST + 4));
            // Some look like a success.
            prop_assert!(answers.iter().any(|answer| answer.starts_with(&[asked[0], asked[1] | 0x80, 0, 0])));
        }
    }

    #[test]
    fn the_description_is_found_and_nothing_that_it_leads_to_is_an_address() {
        let place = found(Ipv4Addr::new(192, 168, 1, 1));
        assert!(place.contains("LOCATION: http://192.168.1.1:5000/description.xml\r\n"));
        let mut nonsense = Nonsense::default();
        let mut answer = |asked: &[u8]| String::from_utf8(nonsense.http(asked)).expect("text");
        assert!(answer(b"GET /description.xml HTTP/1.1\r\n\r\n").ends_with(DESCRIPTION));
        for _ in 0..ADDRESSES.len() {
            let said = answer(b"POST /control HTTP/1.1\r\n\r\n");
            let (_, rest) = said
                .split_once("<NewExternalIPAddress>")
                .expect("an address");
            let (address, _) = rest.split_once("</NewExternalIPAddress>").expect("its end");
            let nobodys = address
                .parse::<Ipv4Addr>()
                .map_or(true, |ip| ip.is_unspecified() || ip.is_loopback());
            assert!(nobodys, "{address}");
        }
    }
}
