//! The two hosts of a measurement: namespaces with a road between them, or
//! this computer twice.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use passalong_netns::{Failure, Namespace};
use tokio::process::Command;

use crate::emulator::{ENDS, Emulator};
use crate::results::OnTheRoad;
use crate::roads::Road;

/// One of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Sender,
    Receiver,
}

/// Two hosts; the road is closed and they are gone when it is dropped.
#[derive(Debug)]
pub(crate) enum Ends {
    /// This computer, over its loopback.
    Here,
    /// Two namespaces. The road is closed before they go.
    Apart {
        road: Emulator,
        hosts: Box<[Namespace; 2]>,
    },
}

impl Ends {
    /// The two ends of `road`. `seed` decides which packets are lost.
    pub(crate) fn of(road: &Road, seed: u64) -> Result<Ends, Failure> {
        let Some(quality) = road.quality else {
            return Ok(Ends::Here);
        };
        let hosts = Box::new([Namespace::new("a")?, Namespace::new("b")?]);
        let road = Emulator::open(quality, [&hosts[0], &hosts[1]], seed)?;
        Ok(Ends::Apart { road, hosts })
    }

    /// The address of one of them.
    pub(crate) fn address(&self, end: End) -> IpAddr {
        match self {
            Ends::Here => Ipv4Addr::LOCALHOST.into(),
            Ends::Apart { .. } => ENDS[end as usize].into(),
        }
    }

    /// The command that runs `program` at one of them.
    pub(crate) fn command(&self, end: End, program: &Path) -> Command {
        match self {
            Ends::Here => Command::new(program),
            Ends::Apart { hosts, .. } => hosts[end as usize].command(program),
        }
    }

    /// Closes the road, if there is one, and tells what it did.
    pub(crate) fn close(self) -> Option<OnTheRoad> {
        let Ends::Apart { road, hosts } = self else {
            return None;
        };
        let cpu_seconds = road.cpu().as_secs_f64();
        let [there, back] = road.close();
        drop(hosts);
        Some(OnTheRoad {
            cpu_seconds,
            arrived: there.arrived + back.arrived,
            lost: there.lost + back.lost,
            dropped: there.dropped + back.dropped,
        })
    }
}
