//! The wires of an [`Internet`]: a TUN device in the namespace of each host, and
//! one thread that carries packets between them as the internet says, each as
//! long on its way as the others.
//!
//! Whoever changes the internet does so between two packets.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use passalong_netns::{Failure, Namespace, ip};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::firewall::Ends;
use crate::internet::{HostId, Internet};
use crate::packet::{Fragments, Packet};
use crate::pcap::Capture;

const MTU: u16 = 1500;
/// How long every packet travels.
const DELAY: Duration = Duration::from_millis(10);
/// How often idle wires look whether they are to end.
const IDLE: Duration = Duration::from_millis(100);
/// Packets that may be on their way; more are lost.
const FLYING: usize = 20_000;
/// Packets taken from one device before the next one is looked at.
const BURST: usize = 64;

/// Wires that carry until they are dropped.
#[derive(Debug)]
pub(crate) struct Wires {
    internet: Arc<Mutex<Internet>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wires {
    /// Connects the hosts of `internet`, one device for each in their order. With
    /// a path, everything that hosts send is captured there.
    pub(crate) fn connect(
        internet: Internet,
        devices: Vec<Wire>,
        capture: Option<&Path>,
    ) -> Result<Wires, Failure> {
        let capture = capture.map(Capture::create).transpose();
        let capture =
            capture.map_err(|error| Failure::io("the capture could not be begun", error))?;
        let internet = Arc::new(Mutex::new(internet));
        let stop = Arc::new(AtomicBool::new(false));
        let mut carrier = Carrier {
            internet: Arc::clone(&internet),
            devices,
            fragments: Fragments::default(),
            flying: VecDeque::new(),
            begun: Instant::now(),
            capture,
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name("wires".to_owned())
            .spawn(move || {
                if let Err(error) = carrier.run() {
                    eprintln!("The wires are broken: {error}");
                }
            })
            .map_err(|error| Failure::io("the wires could not be connected", error))?;
        Ok(Wires {
            internet,
            stop,
            thread: Some(thread),
        })
    }

    /// The internet as it is now, to be changed; nothing is carried meanwhile.
    pub(crate) fn internet(&self) -> MutexGuard<'_, Internet> {
        self.internet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has said what was wrong.
            let _ = thread.join();
        }
    }
}

/// The end of a wire, in a host.
pub(crate) struct Wire {
    device: SyncDevice,
    name: String,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Wire").field(&self.name).finish()
    }
}

impl Wire {
    /// Plugs a wire into `host`, whose addresses with lengths of their networks
    /// these are.
    pub(crate) fn plug(host: &Namespace, addresses: &[(IpAddr, u8)]) -> Result<Wire, Failure> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let broken = |error| Failure::io("a TUN device could not be made", error);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("w{}x{number}", std::process::id());
        let device = DeviceBuilder::new()
            .name(&name)
            .mtu(MTU)
            .enable(false)
            .build_sync()
            .map_err(broken)?;
        device.set_nonblocking(true).map_err(broken)?;
        ip(["link", "set", &name, "netns", host.name()])?;
        for address in addresses {
            give(host, &name, *address)?;
        }
        host.ip(["link", "set", &name, "up"])?;
        host.ip(["route", "add", "default", "dev", &name])?;
        if addresses.iter().any(|(address, _)| address.is_ipv6()) {
            host.ip(["-6", "route", "add", "default", "dev", &name])?;
        }
        Ok(Wire { device, name })
    }

    /// What the device is called in the host.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Gives the device `name` of a host an address.
fn give(host: &Namespace, name: &str, (address, length): (IpAddr, u8)) -> Result<(), Failure> {
    let with_length = format!("{address}/{length}");
    // Nobody else can have it, so IPv6 need not look whether somebody does.
    let sure = address.is_ipv6().then_some("nodad");
    host.ip(["addr", "add", &with_length, "dev", name]
        .into_iter()
        .chain(sure))
}

/// Takes the addresses of the device `name` of a host and gives it another one.
pub(crate) fn readdress(
    host: &Namespace,
    name: &str,
    address: (IpAddr, u8),
) -> Result<(), Failure> {
    host.ip(["addr", "flush", "dev", name])?;
    give(host, name, address)?;
    // It may have gone with the last address.
    host.ip(["route", "replace", "default", "dev", name])
}

struct Flying {
    due: Duration,
    to: HostId,
    bytes: Vec<u8>,
}

struct Carrier {
    internet: Arc<Mutex<Internet>>,
    devices: Vec<Wire>,
    fragments: Fragments,
    flying: VecDeque<Flying>,
    begun: Instant,
    capture: Option<Capture>,
    stop: Arc<AtomicBool>,
}

impl Carrier {
    fn run(&mut self) -> io::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            self.deliver();
            let mut taken = 0;
            for index in 0..self.devices.len() {
                taken += self.take(HostId(index))?;
            }
            if taken == 0 {
                self.wait()?;
            }
        }
        match &mut self.capture {
            Some(capture) => capture.flush(),
            None => Ok(()),
        }
    }

    /// Waits until a host sends something, or a packet has arrived.
    fn wait(&self) -> io::Result<()> {
        let now = self.begun.elapsed();
        let next = self.flying.front().map(|flying| flying.due);
        let until = next.map_or(IDLE, |due| due.saturating_sub(now));
        let time = Timespec {
            tv_sec: until.as_secs() as i64,
            tv_nsec: i64::from(until.subsec_nanos()),
        };
        let mut ready: Vec<PollFd<'_>> = self
            .devices
            .iter()
            .map(|wire| PollFd::from_borrowed_fd(wire.device.as_fd(), PollFlags::IN))
            .collect();
        poll(&mut ready, Some(&time))?;
        Ok(())
    }

    /// Hands over what has arrived.
    fn deliver(&mut self) {
        let now = self.begun.elapsed();
        while let Some(flying) = self.flying.pop_front_if(|flying| flying.due <= now) {
            if let Some(wire) = self.devices.get(flying.to.0) {
                // A host that takes nothing just now loses it, as it would with a card.
                let _ = wire.device.send(&flying.bytes);
            }
        }
    }

    /// Takes what a host has sent; gives the number of packets.
    fn take(&mut self, host: HostId) -> io::Result<usize> {
        let mut buffer = [0; 1 << 16];
        for taken in 0..BURST {
            let length = match self.devices[host.0].device.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
                // The device is down while its host is given another address.
                Err(error) if error.raw_os_error() == Some(DOWN) => return Ok(taken),
                Err(error) => return Err(error),
            };
            let bytes = &buffer[..length];
            if let Some(capture) = &mut self.capture {
                let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                capture.packet(time, bytes)?;
            }
            let now = self.begun.elapsed();
            if let Some((to, bytes)) = self.carried(host, bytes, now)
                && self.flying.len() < FLYING
            {
                let due = now + DELAY;
                self.flying.push_back(Flying { due, to, bytes });
            }
        }
        Ok(BURST)
    }

    /// Who gets what a host has sent, and as what.
    fn carried(&mut self, from: HostId, bytes: &[u8], now: Duration) -> Option<(HostId, Vec<u8>)> {
        let internet = || self.internet.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ends) = Ends::parse(bytes) {
            let to = internet().carry_ipv6(from, ends, now)?;
            return Some((to, bytes.to_vec()));
        }
        let whole = self.fragments.whole(bytes.to_vec())?;
        let (to, packet) = internet().carry(from, Packet::parse(whole)?, now)?;
        Some((to, packet.into_bytes()))
    }
}

/// EBADFD, which a TUN device says while it is down.
const DOWN: i32 = 77;
