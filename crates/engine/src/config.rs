//! What an engine is started with.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::api::TurnServer;

/// How to start an engine. What is `None` is taken from the settings in the
/// data folder.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where all state lives. Held by one engine at a time.
    pub data_dir: PathBuf,
    /// Local addresses to use; empty means every interface.
    pub bind: Vec<IpAddr>,
    /// Whether to look on the local network.
    pub lan: Option<bool>,
    /// Whether to meet in the DHT.
    pub dht: Option<bool>,
    /// Where to enter the DHT, as `host:port`, instead of the public places.
    pub dht_bootstrap: Option<Vec<String>>,
    /// Knock at addresses that are found in the DHT. Without it the mailboxes there
    /// have to do.
    pub dht_addresses: bool,
    /// Whether to ask the router to open the port of knocks.
    pub port_mapping: Option<bool>,
    /// Whether to carry datagrams between others who find no way to each other.
    pub carry: Option<bool>,
    /// STUN servers instead of those in the settings.
    pub stun: Option<Vec<String>>,
    /// TURN servers instead of those in the settings.
    pub turn: Option<Vec<TurnServer>>,
    /// Send pieces over QUIC where it comes up; without it, over data channels alone.
    pub quic: bool,
    /// Use TURN only: never tell a peer this computer's addresses.
    pub relay_only: bool,
    /// The name this device goes by, instead of the kept one.
    pub device_name: Option<String>,
    /// Where received files go, instead of the settings' folder.
    pub download_dir: Option<PathBuf>,
    /// Pass on what was received for as long as the engine runs, instead of what
    /// the settings say.
    pub stay: Option<bool>,
    /// Go on by itself with downloads that an earlier run left unfinished, and
    /// pass on those that are done.
    pub resume: bool,
    /// Bytes a second that files to be shared are read and hashed at, at most; `None`
    /// for as fast as it goes.
    pub hash_rate: Option<u64>,
}

impl Config {
    /// Everything from the settings in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Config {
            data_dir: data_dir.into(),
            bind: Vec::new(),
            lan: None,
            dht: None,
            dht_bootstrap: None,
            dht_addresses: true,
            port_mapping: None,
            carry: None,
            stun: None,
            turn: None,
            quic: true,
            relay_only: false,
            device_name: None,
            download_dir: None,
            stay: None,
            resume: true,
            hash_rate: None,
        }
    }

    /// The platform's folder for this app's data, if the system names one.
    pub fn default_data_dir() -> Option<PathBuf> {
        directories::ProjectDirs::from("org", "Passalong", "Passalong")
            .map(|dirs| dirs.data_dir().to_owned())
    }

    /// The person's Downloads folder, or their home, or the current folder.
    pub fn default_download_dir() -> PathBuf {
        directories::UserDirs::new()
            .map(|dirs| dirs.download_dir().unwrap_or(dirs.home_dir()).to_owned())
            .unwrap_or_else(|| PathBuf::from("."))
    }
}

impl TurnServer {
    /// Parses `turn:USER:PASSWORD@HOST:PORT`, as the command line takes it.
    pub fn parse(text: &str) -> Option<TurnServer> {
        let rest = text.strip_prefix("turn:")?;
        let (credentials, host) = rest.rsplit_once('@')?;
        let (username, password) = credentials.split_once(':')?;
        if username.is_empty() || host.is_empty() {
            return None;
        }
        Some(TurnServer {
            url: format!("turn:{host}"),
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }
}
