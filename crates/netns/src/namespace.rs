//! Network namespaces, by the `ip` command (iproute2), which needs root.
//!
//! A namespace is gone when its value is dropped, with its devices; processes
//! in it are ended by whoever started them. Names hold the id of this process,
//! so that what a killed run left behind can be told from what is in use.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Failure;

const PREFIX: &str = "passalong";

/// A namespace with nothing but a loopback device.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one; `mark` tells those of a process apart.
    ///
    /// # Errors
    /// If `ip` may not.
    pub fn new(mark: &str) -> Result<Namespace, Failure> {
        let name = format!("{PREFIX}-{}-{mark}", std::process::id());
        ip(["netns", "add", &name])?;
        let namespace = Namespace { name };
        namespace.ip(["link", "set", "lo", "up"])?;
        // Most networks speak IPv4; nothing else shall travel on them.
        namespace.set_ipv6(false)?;
        Ok(namespace)
    }

    /// Lets the devices in here speak IPv6, which they do not from the start, or not.
    ///
    /// # Errors
    /// If the kernel has no IPv6.
    pub fn set_ipv6(&self, spoken: bool) -> Result<(), Failure> {
        let disabled = if spoken { "0" } else { "1" };
        self.set("net/ipv6/conf/all/disable_ipv6", disabled)?;
        self.set("net/ipv6/conf/default/disable_ipv6", disabled)
    }

    /// Sets a parameter of the kernel, named by its path in /proc/sys, for in here.
    ///
    /// # Errors
    /// If the kernel has none of this name, or refuses.
    pub fn set(&self, parameter: &str, value: &str) -> Result<(), Failure> {
        let write = "echo \"$2\" > \"/proc/sys/$1\"";
        self.run("sh", ["-c", write, "sh", parameter, value])
    }

    /// Runs `program` in here until it ends.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub fn run<'a>(
        &'a self,
        program: &'a str,
        args: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        let inside = ["netns", "exec", &self.name, program];
        ip(inside.into_iter().chain(args))
    }

    /// The name that `ip` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with these arguments in here.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn ip<'a>(&'a self, args: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        ip(["-n", &self.name].into_iter().chain(args))
    }

    /// The command that runs `program` in here; its process id is the program's.
    pub fn command(&self, program: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(failure) = ip(["netns", "del", &self.name]) {
            eprintln!("{failure}");
        }
    }
}

/// Takes away what runs that were killed left behind.
///
/// # Errors
/// If `ip` refuses.
pub(crate) fn clear_left_behind() -> Result<(), Failure> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
        // Nobody has made any namespace since the computer was started.
        return Ok(());
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix('-')?.split_once('-'));
        if let Some((pid, _)) = owner
            && !Path::new("/proc").join(pid).exists()
        {
            ip(["netns", "del", name])?;
        }
    }
    Ok(())
}

/// Runs `ip`; what it says goes into the failure.
///
/// # Errors
/// If it is missing or refuses.
pub fn ip(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<(), Failure> {
    let mut command = Command::new("ip");
    command.args(args).stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|error| Failure::io("ip could not be run", error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Program {
        program: "ip".to_owned(),
        problem: said.trim().to_owned(),
    })
}
