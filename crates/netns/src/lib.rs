//! Networks of namespaces on one computer, and programs that are run in them
//! and watched from outside: what the benchmarks and the NAT laboratory stand on.
//!
//! Everything that is made or started here is gone when its value is dropped.
//! What connects the namespaces is not decided here.

mod failure;
mod namespace;
mod process;

use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

pub use self::failure::Failure;
pub use self::namespace::{Namespace, ip};
pub use self::process::{Running, Said, Used};

/// Says what is missing to build networks, if anything is; takes away what runs
/// that were killed left behind.
///
/// # Errors
/// [`Failure::Missing`] with what is missing and how to get it.
pub fn able_to_build() -> Result<(), Failure> {
    let missing = |what: &str| Err(Failure::Missing(what.to_owned()));
    if !rustix::process::geteuid().is_root() {
        return missing("Network namespaces need root: run it with sudo.");
    }
    if on_path("ip").is_none() {
        return missing("Namespaces are made with ip, which is missing: apt-get install iproute2.");
    }
    if !Path::new("/dev/net/tun").exists() {
        return missing(
            "Namespaces are connected with TUN devices, and this kernel has none: modprobe tun.",
        );
    }
    namespace::clear_left_behind()
}

/// The program with this name that a shell would run.
pub fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Waits for Ctrl-C, or for the system to ask for an end.
///
/// # Errors
/// If signals cannot be heard.
pub async fn asked_to_end() -> Result<(), Failure> {
    let failed = |error| Failure::io("signals could not be heard", error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
