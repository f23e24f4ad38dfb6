//! What carries the datagrams of a connection through another member: handed on by
//! whoever is linked with both ends, and sealed between these two.
//!
//! Invariant: nothing of the connection reaches a socket. Each end has an address that
//! is made up and the same in every connection; how datagrams get to the member in
//! between and back is not decided here.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use passalong_proto::keys::Role;
use passalong_proto::knock::{Candidate, CandidateKind, Offer};
use passalong_proto::wire::MAX_CARRIED;
use webrtc::runtime::{RecvMeta, Transmit};

use super::medium::{Lent, Medium, Terms, Writable};
use crate::api::Route;

/// Bytes of a carried connection that may be on their way: half of what may wait for
/// being carried on a link, so that none is lost while there is one.
const WINDOW: u32 = 128 * 1024;
/// Longest SCTP packet: sealed, and told on a control channel, it fits one packet there.
const PACKET: u32 = 1072;
/// Bytes that may wait to be read; more are lost.
const MAX_WAITING: usize = 256 * 1024;
/// What a datagram that waits costs beside its length, in bytes.
const OVERHEAD: usize = 64;
/// As high as that of the only candidate may be.
const PRIORITY: u32 = 1 << 30;

/// Takes a datagram to whoever carries, or loses it.
type HandOn = Box<dyn Fn(&[u8]) + Send + Sync>;

/// A way through another member.
pub(crate) struct Carried {
    role: Role,
    hand_on: HandOn,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<Vec<u8>>,
    /// What they cost.
    bytes: usize,
    reader: Option<Waker>,
}

impl Carried {
    /// The end of the one who has this `role` in the connection; `hand_on` takes what
    /// is to be carried, and may lose it.
    pub(crate) fn new(role: Role, hand_on: impl Fn(&[u8]) + Send + Sync + 'static) -> Carried {
        Carried {
            role,
            hand_on: Box::new(hand_on),
            inbox: Mutex::default(),
        }
    }

    /// The other side's half as a connection over this can use it. `None` if it is not
    /// meant to be carried.
    pub(crate) fn reaching(&self, mut offer: Offer) -> Option<Offer> {
        if !offer.is_carried() {
            return None;
        }
        // What it says of the address would lead nowhere.
        for candidate in &mut offer.candidates {
            candidate.address = self.other_end();
        }
        Some(offer)
    }

    /// Takes in a datagram that was carried here. It is lost if too many wait.
    pub(crate) fn arrived(&self, datagram: Vec<u8>) {
        let mut inbox = self.lock();
        let cost = datagram.len() + OVERHEAD;
        if datagram.is_empty() || inbox.bytes + cost > MAX_WAITING {
            return;
        }
        inbox.bytes += cost;
        inbox.waiting.push_back(datagram);
        let reader = inbox.reader.take();
        drop(inbox);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn other_end(&self) -> SocketAddr {
        end_of(match self.role {
            Role::Knocker => Role::Answerer,
            Role::Answerer => Role::Knocker,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that an end has, in a network that no one is in (RFC 2544, appendix
/// C.2.2).
fn end_of(role: Role) -> SocketAddr {
    let last = match role {
        Role::Knocker => 1,
        Role::Answerer => 2,
    };
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, last)), 1024)
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Medium for Carried {
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inbox = self.lock();
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some(datagram) = inbox.waiting.pop_front() else {
                break;
            };
            inbox.bytes -= datagram.len() + OVERHEAD;
            // As with a socket, what does not fit is cut.
            let length = datagram.len().min(buf.len());
            buf[..length].copy_from_slice(&datagram[..length]);
            *meta = RecvMeta::default();
            meta.addr = self.other_end();
            meta.len = length;
            meta.stride = length;
            count += 1;
        }
        if count == 0 {
            inbox.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(count))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if transmit.destination == self.other_end() {
            let size = transmit.segment_size.unwrap_or(transmit.contents.len());
            for datagram in transmit.contents.chunks(size.max(1)) {
                if datagram.len() <= MAX_CARRIED {
                    (self.hand_on)(datagram);
                }
            }
        }
        Ok(())
    }

    fn poll_writable(&self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn writable(self: Arc<Self>) -> Writable {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Lent for Carried {
    fn is_ipv4(&self) -> bool {
        true
    }

    fn candidates(&self) -> Vec<Candidate> {
        vec![Candidate {
            kind: CandidateKind::Carried,
            address: end_of(self.role),
            priority: PRIORITY,
        }]
    }

    fn terms(&self) -> Option<Terms> {
        Some(Terms {
            route: Route::Carried,
            window: WINDOW,
            packet: PACKET,
        })
    }

    fn named(&self, _ufrag: &str) {}
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Waker;

    use passalong_proto::knock::IceToken;

    use super::*;

    fn read(medium: &Carried, room: usize) -> Option<(SocketAddr, Vec<u8>)> {
        let mut buffer = vec![0; room];
        let mut meta = [RecvMeta::default()];
        let mut cx = Context::from_waker(Waker::noop());
        let mut bufs = [IoSliceMut::new(&mut buffer)];
        match medium.poll_read(&mut cx, &mut bufs, &mut meta) {
            Poll::Ready(read) => {
                assert_eq!(read.unwrap(), 1);
                assert_eq!(meta[0].stride, meta[0].len);
                buffer.truncate(meta[0].len);
                Some((meta[0].addr, buffer))
            }
            Poll::Pending => None,
        }
    }

    fn sent(
        role: Role,
        destination: SocketAddr,
        contents: &[u8],
        size: Option<usize>,
    ) -> Vec<usize> {
        let (sender, handed_on) = mpsc::channel();
        let medium = Carried::new(role, move |datagram| sender.send(datagram.len()).unwrap());
        let transmit = Transmit {
            destination,
            ecn: None,
            contents,
            segment_size: size,
            src_ip: None,
        };
        medium.try_send(&transmit).unwrap();
        drop(medium);
        handed_on.into_iter().collect()
    }

    #[test]
    fn what_arrives_is_read_in_order_and_comes_from_the_other_end() {
        let medium = Carried::new(Role::Knocker, |_| {});
        assert_eq!(read(&medium, 10), None);
        for datagram in [vec![1; 3], Vec::new(), vec![2; 20]] {
            medium.arrived(datagram);
        }
        assert_eq!(
            read(&medium, 10),
            Some((end_of(Role::Answerer), vec![1; 3]))
        );
        assert_eq!(
            read(&medium, 10),
            Some((end_of(Role::Answerer), vec![2; 10]))
        );
        assert_eq!(read(&medium, 10), None);
    }

    #[test]
    fn what_nobody_reads_is_lost_at_a_bound_however_small_it_is() {
        for length in [1, MAX_CARRIED] {
            let medium = Carried::new(Role::Knocker, |_| {});
            for _ in 0..10_000 {
                medium.arrived(vec![7; length]);
            }
            let kept = std::iter::from_fn(|| read(&medium, 2000)).count();
            assert_eq!(kept, MAX_WAITING / (length + OVERHEAD));
            medium.arrived(vec![7; length]);
            assert!(read(&medium, 2000).is_some(), "there is room again");
        }
    }

    #[test]
    fn only_what_is_for_the_other_end_is_handed_on_and_each_datagram_alone() {
        let other = end_of(Role::Knocker);
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 4000));
        assert_eq!(sent(Role::Answerer, other, &[7; 100], None), [100]);
        assert_eq!(
            sent(Role::Answerer, other, &[7; 100], Some(40)),
            [40, 40, 20]
        );
        assert!(sent(Role::Answerer, elsewhere, &[7; 100], None).is_empty());
        assert!(sent(Role::Knocker, other, &[7; 100], None).is_empty());
        assert!(sent(Role::Answerer, other, &[7; MAX_CARRIED + 1], None).is_empty());
    }

    #[test]
    fn an_offer_leads_to_the_other_end_whatever_it_says() {
        let medium = Carried::new(Role::Knocker, |_| {});
        let candidate = |kind| Candidate {
            kind,
            address: SocketAddr::from(([192, 0, 2, 1], 4000)),
            priority: 7,
        };
        let offer = |kind| Offer {
            ufrag: IceToken::new("ufrag").unwrap(),
            password: IceToken::new("a+password+of+22+chars").unwrap(),
            fingerprint: [6; 32],
            candidates: vec![candidate(kind)],
        };
        let reached = medium.reaching(offer(CandidateKind::Carried)).unwrap();
        assert_eq!(reached.candidates[0].address, end_of(Role::Answerer));
        assert_eq!(medium.reaching(offer(CandidateKind::Host)), None);
    }
}
