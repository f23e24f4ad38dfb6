//! The command line of the app: where its data is, what it may use of the
//! network, and what to share or open at once.
//!
//! Links and paths share one list, because a desktop hands both over the same way.

use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use passalong_engine::Config;
use passalong_engine::api::TurnServer;

use crate::intake::Intake;

/// Hands files straight from one computer to another.
#[derive(Debug, Parser)]
#[command(name = "passalong-app", version)]
pub(crate) struct Args {
    /// Keep everything in this folder; two folders are two devices
    #[arg(long, value_name = "DIR", env = "PASSALONG_DATA_DIR")]
    data_dir: Option<PathBuf>,

    /// Put received files here unless the settings say otherwise
    #[arg(long, value_name = "DIR")]
    download_dir: Option<PathBuf>,

    /// Use this local address only; may be given more than once
    #[arg(long, value_name = "ADDR")]
    bind: Vec<IpAddr>,

    /// Do not look for people on the local network
    #[arg(long)]
    no_lan: bool,

    /// Do not look for people in the DHT
    #[arg(long)]
    no_dht: bool,

    /// Do not ask the router to open a port
    #[arg(long)]
    no_port_mapping: bool,

    /// Carry sealed data between others in a share who cannot reach each other
    #[arg(long)]
    carry: bool,

    /// Enter the DHT here instead of at the public places; may be given more than once
    #[arg(long, value_name = "HOST:PORT")]
    dht_bootstrap: Vec<String>,

    /// Use this STUN server, stun:HOST:PORT, instead of those in the settings
    #[arg(long, value_name = "URL")]
    stun: Vec<String>,

    /// Use this TURN server, turn:USER:PASSWORD@HOST:PORT, instead of those in the settings
    #[arg(long, value_name = "URL", value_parser = turn_server)]
    turn: Vec<TurnServer>,

    /// Go by this name
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,

    /// Open the window on this half of the screen
    #[arg(long, value_name = "SIDE")]
    pub(crate) place: Option<Side>,

    /// Files and folders to share, or passalong: links to open
    #[arg(value_name = "PATH|LINK")]
    given: Vec<OsString>,
}

/// A half of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Args {
    /// What the engine is started with.
    pub(crate) fn config(&self) -> Result<Config, &'static str> {
        let data_dir = self
            .data_dir()
            .ok_or("there is no home folder; say with --data-dir where the data goes")?;
        let mut config = Config::new(data_dir);
        config.bind = self.bind.clone();
        config.lan = self.no_lan.then_some(false);
        config.port_mapping = self.no_port_mapping.then_some(false);
        config.carry = self.carry.then_some(true);
        config.dht = self.no_dht.then_some(false);
        config.dht_bootstrap = (!self.dht_bootstrap.is_empty()).then(|| self.dht_bootstrap.clone());
        config.stun = (!self.stun.is_empty()).then(|| self.stun.clone());
        config.turn = (!self.turn.is_empty()).then(|| self.turn.clone());
        config.device_name = self.name.clone();
        config.download_dir = self.download_dir.clone();
        Ok(config)
    }

    /// The data folder, chosen or usual.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        self.data_dir.clone().or_else(Config::default_data_dir)
    }

    /// What tells starts with different data folders apart; none for the usual one.
    pub(crate) fn instance(&self) -> Option<String> {
        let folder = std::path::absolute(self.data_dir.as_ref()?).ok()?;
        if Some(&folder) == Config::default_data_dir().as_ref() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        folder.canonicalize().unwrap_or(folder).hash(&mut hasher);
        Some(format!("d{:016x}", hasher.finish()))
    }

    /// What is to be shared and opened, with paths meant from `cwd`.
    pub(crate) fn intake(&self, cwd: &Path) -> Intake {
        let mut intake = Intake::default();
        for given in &self.given {
            match link(given) {
                Some(link) => intake.links.push(link.to_owned()),
                None => intake.paths.push(cwd.join(local_path(given))),
            }
        }
        intake
    }
}

/// The text of a `passalong:` link, if that is what was given.
fn link(given: &OsStr) -> Option<&str> {
    given.to_str().filter(|text| {
        text.get(..10)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("passalong:"))
    })
}

/// The path that was given, also as a `file:` address as desktops do.
fn local_path(given: &OsStr) -> PathBuf {
    given
        .to_str()
        .filter(|text| text.starts_with("file:"))
        .and_then(|text| tauri::Url::parse(text).ok())
        .and_then(|url| url.to_file_path().ok())
        .unwrap_or_else(|| PathBuf::from(given))
}

fn turn_server(text: &str) -> Result<TurnServer, &'static str> {
    TurnServer::parse(text).ok_or("expected turn:USER:PASSWORD@HOST:PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Args {
        Args::parse_from(std::iter::once("passalong-app").chain(words.iter().copied()))
    }

    #[test]
    fn links_and_paths_are_told_apart() {
        let args = parse(&[
            "notes.txt",
            "PassAlong:AAAAA-BBBBB",
            "/srv/passalong:x",
            "file:///srv/a%20b",
        ]);
        let intake = args.intake(Path::new("/home/ana"));
        assert_eq!(intake.links, ["PassAlong:AAAAA-BBBBB"]);
        let paths = ["/home/ana/notes.txt", "/srv/passalong:x", "/srv/a b"];
        assert_eq!(intake.paths, paths.map(PathBuf::from));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_unicode() {
        use std::os::unix::ffi::OsStrExt;
        let name = OsStr::from_bytes(b"caf\xe9");
        let args = Args::parse_from([OsStr::new("passalong-app"), name]);
        assert_eq!(
            args.intake(Path::new("/srv")).paths,
            [Path::new("/srv").join(name)]
        );
    }

    #[test]
    fn each_data_folder_is_its_own_instance() {
        let (a, b) = (
            parse(&["--data-dir", "/srv/a"]),
            parse(&["--data-dir", "/srv/b"]),
        );
        assert_ne!(a.instance(), b.instance());
        assert_eq!(
            a.instance(),
            parse(&["--data-dir", "/srv/a", "file"]).instance()
        );
    }

    #[test]
    fn a_turn_server_needs_credentials() {
        assert!(turn_server("turn:ana:secret@relay.example:3478").is_ok());
        assert!(turn_server("turn:relay.example:3478").is_err());
    }
}
