//! Homes whose router is the kernel of this computer: a namespace of its own that
//! translates by nf_tables, and, where the router is one that can be asked to open
//! ports, miniupnpd or something worse.
//!
//! Inside there is a cable, so the router is found as one is at home. What leaves
//! it goes by a [`Wire`] like everything else.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use passalong_netns::{Failure, Namespace, Running, on_path};
use tempfile::TempDir;

use crate::nonsense;
use crate::wires::Wire;

/// The router's address at home.
const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The length of a home's network, and of an address with no network around it.
const HOME: u8 = 24;
const ALONE: u8 = 32;
/// The ends of the cable: in the host, and in the router.
const CABLE: [&str; 2] = ["home", "lan"];
/// What miniupnpd says when it hears everything that it is asked by.
const LISTENING: &str = "Listening for NAT-PMP/PCP traffic";
/// What every program that is asked says then, in either case.
pub(crate) const REQUEST: &str = "request";
/// How long it may take until it listens.
const READY: Duration = Duration::from_secs(20);
/// How often it is looked whether a port is open.
const LOOK: Duration = Duration::from_millis(50);

/// What a router does when it is asked to open a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It does not listen.
    Silent,
    /// It does, by UPnP, PCP and NAT-PMP.
    Opens,
    /// It does by PCP and NAT-PMP alone.
    OpensByPcp,
    /// It would, but opens nothing where its own address is a private one.
    Refuses,
    /// It answers nonsense to all of them.
    Nonsense,
}

/// A home with such a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// Whether ports are drawn for each destination; else they are kept.
    pub(crate) draws: bool,
    pub(crate) asked: Asked,
}

/// A router, gone when dropped.
#[derive(Debug)]
pub(crate) struct KernelRouter {
    // What runs in the namespace ends before it.
    answering: Option<Running>,
    _namespace: Namespace,
    asked: Asked,
    outside: Ipv4Addr,
    /// Holds the settings of miniupnpd, and the ports that it opened.
    folder: TempDir,
}

impl KernelRouter {
    /// Puts `host` into a home as its guest number `index`; gives the router, whose
    /// namespace this is, and the wire that leads out of it.
    pub(crate) async fn install(
        host: &Namespace,
        namespace: Namespace,
        home: Home,
        index: u8,
        outside: Ipv4Addr,
    ) -> Result<(KernelRouter, Wire), Failure> {
        let [near, far] = CABLE;
        let peer = [
            "type",
            "veth",
            "peer",
            "name",
            far,
            "netns",
            namespace.name(),
        ];
        host.ip(["link", "add", near].into_iter().chain(peer))?;
        let guest = Ipv4Addr::new(192, 168, 1, 10 + index);
        for (end, device, address) in [(host, near, guest), (&namespace, far, INSIDE)] {
            end.ip(["addr", "add", &format!("{address}/{HOME}"), "dev", device])?;
            end.ip(["link", "set", device, "up"])?;
        }
        host.ip(["route", "add", "default", "via", &INSIDE.to_string()])?;
        namespace.set("net/ipv4/ip_forward", "1")?;
        let wire = Wire::plug(&namespace, &[(outside.into(), ALONE)])?;
        namespace.run("nft", [rules(wire.name(), home.draws).as_str()])?;
        let failed = |error| Failure::io("a folder could not be made", error);
        let folder = tempfile::tempdir().map_err(failed)?;
        let answering = match home.asked {
            Asked::Silent => None,
            Asked::Nonsense => Some(nonsense::start(&namespace, INSIDE).await?),
            Asked::Opens | Asked::OpensByPcp | Asked::Refuses => {
                let upnp = home.asked != Asked::OpensByPcp;
                Some(miniupnpd(&namespace, folder.path(), wire.name(), upnp).await?)
            }
        };
        let router = KernelRouter {
            answering,
            _namespace: namespace,
            asked: home.asked,
            outside,
            folder,
        };
        Ok((router, wire))
    }

    /// Waits until somebody has a port opened; tells where it is reached.
    pub(crate) async fn opened(&self) -> Result<SocketAddrV4, Failure> {
        let path = leases(self.folder.path());
        loop {
            // There is no such file until something is open.
            let ports = fs::read_to_string(&path).unwrap_or_default();
            if let Some(port) = ports.lines().find_map(outside_port) {
                return Ok(SocketAddrV4::new(self.outside, port));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it was asked for a port, and has opened one if it does that; not at
    /// all where it does not listen.
    pub(crate) async fn asked(&mut self) -> Result<(), Failure> {
        if matches!(self.asked, Asked::Opens | Asked::OpensByPcp) {
            return self.opened().await.map(drop);
        }
        let Some(answering) = &mut self.answering else {
            return Ok(());
        };
        while let Some(said) = answering.line().await {
            if said.text.to_lowercase().contains(REQUEST) {
                return Ok(());
            }
        }
        Err(answering.failure("it ended before it was asked"))
    }
}

/// The outside port in a line of miniupnpd's leases.
fn outside_port(line: &str) -> Option<u16> {
    line.strip_prefix("UDP:")?.split(':').next()?.parse().ok()
}

fn leases(folder: &Path) -> PathBuf {
    folder.join("leases")
}

/// What the kernel does with what crosses the router whose outside is the device
/// `outside`: as in a router at home, strangers reach nothing, not even the router.
/// The names of chains are those that miniupnpd looks for.
fn rules(outside: &str, draws: bool) -> String {
    let draw = if draws { "fully-random" } else { "" };
    let inside = CABLE[1];
    format!(
        "table inet filter {{
            chain input {{
                type filter hook input priority 0; policy accept;
                iifname \"{outside}\" ct state new,invalid drop
            }}
            chain forward {{
                type filter hook forward priority 0; policy drop;
                ct state established,related accept
                iifname \"{inside}\" oifname \"{outside}\" accept
                jump miniupnpd
            }}
            chain prerouting {{
                type nat hook prerouting priority -100;
                jump prerouting_miniupnpd
            }}
            chain postrouting {{
                type nat hook postrouting priority 100;
                jump postrouting_miniupnpd
                oifname \"{outside}\" masquerade {draw}
            }}
            chain miniupnpd {{ }}
            chain prerouting_miniupnpd {{ }}
            chain postrouting_miniupnpd {{ }}
        }}"
    )
}

/// Starts miniupnpd in a router whose outside is the device `outside`, and waits
/// until it listens.
async fn miniupnpd(
    router: &Namespace,
    folder: &Path,
    outside: &str,
    upnp: bool,
) -> Result<Running, Failure> {
    let upnp = if upnp { "yes" } else { "no" };
    let settings = format!(
        "ext_ifname={outside}\n\
         listening_ip={}\n\
         enable_natpmp=yes\n\
         enable_upnp={upnp}\n\
         ipv6_disable=yes\n\
         secure_mode=yes\n\
         uuid=4f8a1c52-7d0e-4f35-9a54-3b1f6e0c2d77\n\
         lease_file={}\n\
         minissdpdsocket={}\n\
         allow 1024-65535 {INSIDE}/{HOME} 1024-65535\n\
         deny 0-65535 0.0.0.0/0 0-65535\n",
        CABLE[1],
        leases(folder).display(),
        folder.join("minissdpd").display(),
    );
    let path = folder.join("settings");
    fs::write(&path, settings).map_err(|error| Failure::io(path.display().to_string(), error))?;
    // Everything that it says is a complaint, also that it is ready.
    let mut command = router.command(Path::new("sh"));
    command.args(["-c", "exec miniupnpd -d -f \"$1\" -P \"$2\" 2>&1", "sh"]);
    command.args([path, folder.join("pid")]);
    let mut running = Running::start("miniupnpd", command)?;
    let listening = async {
        let mut said = Vec::new();
        while let Some(line) = running.line().await {
            if line.text.contains(LISTENING) {
                return Ok(());
            }
            said.push(line.text);
        }
        Err(Failure::program("miniupnpd", said.join("\n  ")))
    };
    match tokio::time::timeout(READY, listening).await {
        Ok(Ok(())) => Ok(running),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::program("miniupnpd", "it does not listen")),
    }
}

/// Says what is missing to have the kernel translate, if anything is.
///
/// # Errors
/// [`Failure::Missing`] with what is missing and how to get it.
pub(crate) fn able_to_translate() -> Result<(), Failure> {
    if on_path("nft").is_none() {
        let text =
            "The kernel is told to translate by nft, which is missing: apt-get install nftables.";
        return Err(Failure::Missing(text.to_owned()));
    }
    let namespace = Namespace::new("nft")?;
    let tried = namespace.run("nft", [rules("lo", true).as_str()]);
    tried.map_err(|failure| {
        Failure::Missing(format!(
            "The kernel does not translate by nf_tables: {failure}"
        ))
    })
}

/// Says what is missing to have ports opened, if anything is.
///
/// # Errors
/// [`Failure::Missing`] with what is missing and how to get it.
pub(crate) fn able_to_open() -> Result<(), Failure> {
    let missing = || {
        let text = "Ports are opened by miniupnpd for nf_tables, which is missing: \
                    apt-get install miniupnpd-nftables.";
        Failure::Missing(text.to_owned())
    };
    let program = on_path("miniupnpd").ok_or_else(missing)?;
    let told = Command::new(program).arg("--version").output();
    let told = told.map_err(|error| Failure::io("miniupnpd could not be run", error))?;
    let version = [told.stdout, told.stderr].concat();
    match String::from_utf8_lossy(&version).contains("nftables") {
        true => Ok(()),
        false => Err(missing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outside_port_is_read_from_a_lease() {
        let lease = "UDP:40001:192.168.1.10:40000:1795397570:iroh-portmap";
        assert_eq!(outside_port(lease), Some(40001));
        for line in ["", "UDP:", "TCP:40001:192.168.1.10:40000:0:x", "UDP:x:1"] {
            assert_eq!(outside_port(line), None, "{line}");
        }
    }
}
