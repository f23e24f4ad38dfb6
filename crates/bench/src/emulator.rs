//! An emulated road between two network namespaces: a TUN device in each, and
//! one thread in between that carries packets as two [`Line`]s say.
//!
//! The kernel hands over whole trains of packets, and gets them whole where
//! nothing of them was lost, so that the road costs little of the computer
//! that the programs at its ends are measured on. While packets come the thread
//! looks at the devices at fixed ticks, and nobody has to wake it.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use passalong_netns::{Failure, Namespace, ip};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::line::{Counts, Fate, Line, Quality};
use crate::train::{Train, VIRTIO};

/// The addresses of the two ends.
pub(crate) const ENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];
const MTU: u16 = 1500;
/// Frames that a device keeps until the thread looks: more than come in a tick,
/// also when the thread is late.
const DEVICE_QUEUE: u32 = 2000;
/// Frames taken from one device before the other one is looked at.
const BURST: usize = 256;
/// Packets that arrive together at most, as with a network card that
/// interrupts for several.
const TOGETHER: usize = 16;
/// The longest time between two looks while packets come.
const TICK: Duration = Duration::from_micros(250);
/// How often an idle road looks whether it is to end.
const IDLE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// The thread goes before the programs that are measured: a road does not get
/// slower because its ends are busy.
const PRIORITY: i32 = -10;
/// The largest frame: a header and 64 KiB.
const FRAME: usize = VIRTIO + (1 << 16);
/// Buffers kept for frames to come.
const SPARE: usize = 4096;

/// A road that is open until it is dropped.
#[derive(Debug)]
pub(crate) struct Emulator {
    stop: Arc<AtomicBool>,
    busy: Arc<AtomicU64>,
    thread: Option<JoinHandle<[Counts; 2]>>,
}

impl Emulator {
    /// Opens a road between `ends`, whose addresses are [`ENDS`]. `seed`
    /// decides which packets are lost.
    pub(crate) fn open(
        quality: Quality,
        ends: [&Namespace; 2],
        seed: u64,
    ) -> Result<Emulator, Failure> {
        let mut devices = Vec::new();
        for (index, end) in ends.into_iter().enumerate() {
            devices.push(device(index, end)?);
        }
        let [a, b] = <[SyncDevice; 2]>::try_from(devices)
            .map_err(|_| Failure::Broken("a road has two ends"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let busy = Arc::new(AtomicU64::new(0));
        let carrier = Carrier {
            devices: [a, b],
            directions: [0, 1].map(|index| Direction {
                line: Line::new(quality, seed * 2 + index),
                flying: VecDeque::new(),
            }),
            tick: (quality.delay / 2).min(TICK),
            spare: Vec::new(),
            incoming: vec![0; FRAME],
            begun: Instant::now(),
            stop: Arc::clone(&stop),
            busy: Arc::clone(&busy),
        };
        let thread = std::thread::Builder::new()
            .name("road".to_owned())
            .spawn(move || carrier.run())
            .map_err(|error| Failure::io("the road could not be opened", error))?;
        Ok(Emulator {
            stop,
            busy,
            thread: Some(thread),
        })
    }

    /// CPU time that carrying has taken so far.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.busy.load(Ordering::Relaxed))
    }

    /// Closes the road; gives what became of the packets of each direction.
    pub(crate) fn close(mut self) -> [Counts; 2] {
        self.end().unwrap_or_default()
    }

    fn end(&mut self) -> Option<[Counts; 2]> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// A TUN device in `end`, up and with its address.
fn device(index: usize, end: &Namespace) -> Result<SyncDevice, Failure> {
    let broken = |error| Failure::io("a TUN device could not be made", error);
    let name = format!("road{}{}", std::process::id(), ["a", "b"][index]);
    let device = DeviceBuilder::new()
        .name(&name)
        .mtu(MTU)
        .offload(true)
        .tx_queue_len(DEVICE_QUEUE)
        .enable(false)
        .build_sync()
        .map_err(broken)?;
    device.set_nonblocking(true).map_err(broken)?;
    ip(["link", "set", &name, "netns", end.name()])?;
    let address = format!("{}/24", ENDS[index]);
    end.ip(["addr", "add", &address, "dev", &name])?;
    end.ip(["link", "set", &name, "up"])?;
    Ok(device)
}

/// One direction, and what is on it.
struct Direction {
    line: Line,
    flying: VecDeque<Flying>,
}

struct Flying {
    due: Duration,
    frame: Vec<u8>,
}

/// What the thread owns. Direction 0 goes from device 0 to device 1.
struct Carrier {
    devices: [SyncDevice; 2],
    directions: [Direction; 2],
    tick: Duration,
    spare: Vec<Vec<u8>>,
    incoming: Vec<u8>,
    begun: Instant,
    stop: Arc<AtomicBool>,
    busy: Arc<AtomicU64>,
}

impl Carrier {
    fn run(mut self) -> [Counts; 2] {
        // Without the right to, the road is as late as the computer is busy.
        let _ = rustix::process::setpriority_process(None, PRIORITY);
        if let Err(error) = self.carry() {
            eprintln!("The road is broken: {error}");
        }
        self.directions.map(|direction| direction.line.counts())
    }

    fn carry(&mut self) -> io::Result<()> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        while !self.stop.load(Ordering::Relaxed) {
            let mut taken = 0;
            for direction in 0..2 {
                self.deliver(direction);
                taken += self.take(direction)?;
            }
            let due = self
                .directions
                .iter()
                .filter_map(|d| Some(d.flying.front()?.due))
                .min();
            self.note_cpu();
            let now = self.begun.elapsed();
            match taken {
                0 => self.wait(&timer, due.map(|due| due.saturating_sub(now)))?,
                _ => {
                    arm(&timer, self.tick)?;
                    rustix::io::read(&timer, &mut [0; 8])?;
                }
            }
        }
        Ok(())
    }

    /// Waits until a host sends something, or `due` has passed.
    fn wait(&self, timer: &OwnedFd, due: Option<Duration>) -> io::Result<()> {
        if let Some(due) = due {
            arm(timer, due)?;
        }
        let [a, b] = [&self.devices[0], &self.devices[1]]
            .map(|device| PollFd::from_borrowed_fd(device.as_fd(), PollFlags::IN));
        let mut ready = [a, b, PollFd::new(timer, PollFlags::IN)];
        let watched = if due.is_some() { 3 } else { 2 };
        poll(&mut ready[..watched], Some(&IDLE))?;
        Ok(())
    }

    /// Hands over what has arrived.
    fn deliver(&mut self, direction: usize) {
        let now = self.begun.elapsed();
        let flying = &mut self.directions[direction].flying;
        while let Some(flight) = flying.pop_front_if(|flight| flight.due <= now) {
            // A host that takes nothing just now loses it, as it would with a card.
            let _ = self.devices[1 - direction].send(&flight.frame);
            if self.spare.len() < SPARE {
                self.spare.push(flight.frame);
            }
        }
    }

    /// Takes what a host has sent; gives the number of frames.
    fn take(&mut self, direction: usize) -> io::Result<usize> {
        for taken in 0..BURST {
            let length = match self.devices[direction].recv(&mut self.incoming) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
                Err(error) => return Err(error),
            };
            let now = self.begun.elapsed();
            let frame = &self.incoming[..length];
            let Direction { line, flying } = &mut self.directions[direction];
            let spare = &mut self.spare;
            match Train::of(frame) {
                Some(train) => send_train(&train, frame, now, line, flying, spare),
                None => {
                    if let Fate::Arrives(due) = line.carry(now, length.saturating_sub(VIRTIO)) {
                        let mut copy = spare.pop().unwrap_or_default();
                        copy.clear();
                        copy.extend_from_slice(frame);
                        flying.push_back(Flying { due, frame: copy });
                    }
                }
            }
        }
        Ok(BURST)
    }

    fn note_cpu(&self) {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        let nanos = used.tv_sec as u64 * 1_000_000_000 + used.tv_nsec as u64;
        self.busy.store(nanos, Ordering::Relaxed);
    }
}

/// Sends each packet of a train; those that follow one another arrive together.
fn send_train(
    train: &Train,
    frame: &[u8],
    now: Duration,
    line: &mut Line,
    flying: &mut VecDeque<Flying>,
    spare: &mut Vec<Vec<u8>>,
) {
    let mut run: Option<(usize, Duration)> = None;
    for index in 0..=train.packets() {
        let fate = match index < train.packets() {
            true => line.carry(now, train.bytes(index)),
            false => Fate::Lost,
        };
        let full = run.is_some_and(|(from, _)| index - from == TOGETHER);
        if let Some((from, due)) = run
            && (full || !matches!(fate, Fate::Arrives(_)))
        {
            let mut copy = spare.pop().unwrap_or_default();
            train.cut(frame, from..index, &mut copy);
            flying.push_back(Flying { due, frame: copy });
            run = None;
        }
        if let Fate::Arrives(due) = fate {
            run = Some((run.map_or(index, |(from, _)| from), due));
        }
    }
}

/// Sets a timer, which is more exact than the kernel lets sleeps be.
fn arm(timer: &OwnedFd, time: Duration) -> io::Result<()> {
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: time.as_secs() as i64,
            // Nothing at all would turn it off.
            tv_nsec: i64::from(time.subsec_nanos().max(1)),
        },
    };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(())
}
