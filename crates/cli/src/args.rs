//! The command line: what can be asked, and the engine's configuration that
//! follows from it.
//!
//! Scripts rely on every name here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use globset::Glob;
use passalong_engine::Config;
use passalong_engine::api::{Problem, ProblemCode, TurnServer};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 anything else, 2 wrong usage, 3 not a valid invite, 4 nobody answered,
5 declined or stopped, 6 disk (full, not writable, unreadable), 7 corrupt or hostile share,
130 interrupted.";

/// Hands files straight from one computer to another.
#[derive(Debug, Parser)]
#[command(
    name = "passalong",
    version,
    after_help = EXIT_CODES,
    arg_required_else_help = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What applies to every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print one JSON object a line instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Keep everything in this folder; two folders are two devices
    #[arg(long, global = true, value_name = "DIR", env = "PASSALONG_DATA_DIR")]
    data_dir: Option<PathBuf>,

    /// Use this local address only; may be given more than once
    #[arg(long, global = true, value_name = "ADDR")]
    pub(crate) bind: Vec<IpAddr>,

    /// Do not look for people on the local network
    #[arg(long, global = true)]
    no_lan: bool,

    /// Send files over data channels alone, without QUIC
    #[arg(long, global = true)]
    no_quic: bool,

    /// Do not ask the router to open a port
    #[arg(long, global = true)]
    no_port_mapping: bool,

    /// Carry sealed data between others in a share who cannot reach each other
    #[arg(long, global = true)]
    carry: bool,

    /// Do not look for people in the DHT
    #[arg(long, global = true)]
    no_dht: bool,

    /// Enter the DHT here instead of at the public places; may be given more than once
    #[arg(long, global = true, value_name = "HOST:PORT", value_parser = host_and_port)]
    dht_bootstrap: Vec<String>,

    /// Use this STUN server, stun:HOST:PORT, instead of those in the settings; "none" for none
    #[arg(long, global = true, value_name = "URL", value_parser = stun_server)]
    stun: Vec<Server<String>>,

    /// Use this TURN server, turn:USER:PASSWORD@HOST:PORT, instead of those in the settings;
    /// "none" for none
    #[arg(long, global = true, value_name = "URL", value_parser = turn_server)]
    turn: Vec<Server<TurnServer>>,

    /// Say more about what happens; -vv says everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Offer files and folders until Ctrl-C
    Share(Share),
    /// Fetch what somebody offers
    Get(Get),
    /// See whether others can reach this computer, and what to do if not
    Doctor,
    /// Measure how fast files go from one peer to another over the loopback
    Bench(Bench),
}

/// Offer files and folders until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct Share {
    /// Call the share this
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,

    /// For one person: end when they have everything
    #[arg(long)]
    pub(crate) once: bool,

    /// Take reply codes on standard input, for people who cannot be reached otherwise
    #[arg(long)]
    pub(crate) by_hand: bool,

    /// What to share; without any, all that this data folder offered before
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

/// Fetch what somebody offers.
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// Put the files here instead of the Downloads folder; made if its parent folder exists
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,

    /// Fetch only what matches, as --list shows it: "*.jpg", "Photos/2024", "**/notes/*"; may be
    /// given more than once
    #[arg(long, value_name = "GLOB", value_parser = crate::only::glob)]
    pub(crate) only: Vec<Glob>,

    /// Show what is offered and fetch nothing
    #[arg(long)]
    pub(crate) list: bool,

    /// Go on offering the files under the same invite until Ctrl-C
    #[arg(long)]
    pub(crate) stay: bool,

    /// Print a reply code to send to the person who shares, take their answer code on standard
    /// input, and wait ten minutes for it: for computers that cannot reach each other otherwise
    #[arg(long)]
    pub(crate) by_hand: bool,

    /// Wait for as long as it takes until somebody who has it is online, instead of 30 seconds
    #[arg(long)]
    pub(crate) wait: bool,

    /// Seconds without anybody connected before giving up
    #[arg(long, value_name = "SECONDS", hide = true)]
    patience: Option<u64>,

    /// The code or link that you were sent
    #[arg(value_name = "INVITE", required = true, num_args = 1..)]
    invite: Vec<String>,
}

/// Measure how fast files go from one peer to another over the loopback.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// Megabytes to send
    #[arg(long, value_name = "MB", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) size: u64,

    /// Spread them over this many files
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) files: u32,

    /// Work in a temporary folder here instead of the data folder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// A server that was given, or the wish for none.
#[derive(Clone, Debug)]
enum Server<T> {
    None,
    At(T),
}

fn given(names: &[String]) -> Option<Vec<String>> {
    (!names.is_empty()).then(|| names.to_vec())
}

impl Global {
    /// What an engine is started with.
    pub(crate) fn config(&self) -> Result<Config, Problem> {
        let mut config = Config::new(self.data_dir()?);
        config.bind = self.bind.clone();
        config.lan = self.no_lan.then_some(false);
        config.port_mapping = self.no_port_mapping.then_some(false);
        config.carry = self.carry.then_some(true);
        config.dht = self.no_dht.then_some(false);
        config.dht_bootstrap = given(&self.dht_bootstrap);
        config.quic = self.quic();
        config.stun = chosen(&self.stun);
        config.turn = chosen(&self.turn);
        // A command does what it was asked, and nothing left over from another.
        config.resume = false;
        Ok(config)
    }

    /// Whether QUIC is to be used where it comes up.
    pub(crate) fn quic(&self) -> bool {
        !self.no_quic
    }

    /// The data folder, chosen or usual.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Problem> {
        let folder = self.data_dir.clone().or_else(Config::default_data_dir);
        folder.ok_or_else(|| {
            Problem::new(
                ProblemCode::Usage,
                "There is no home folder to keep anything in.",
                "Say with --data-dir where it goes.",
            )
        })
    }
}

impl Get {
    /// The invite; a code in four words is one invite.
    pub(crate) fn invite(&self) -> String {
        self.invite.join(" ")
    }

    /// How long to wait for somebody to be connected; `None` for as long as it takes.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let usual = match (self.wait, self.by_hand) {
            (true, _) => None,
            (false, true) => Some(600),
            (false, false) => Some(30),
        };
        self.patience.or(usual).map(Duration::from_secs)
    }
}

fn chosen<T: Clone>(given: &[Server<T>]) -> Option<Vec<T>> {
    let server = |server: &Server<T>| match server {
        Server::None => None,
        Server::At(server) => Some(server.clone()),
    };
    (!given.is_empty()).then(|| given.iter().filter_map(server).collect())
}

fn stun_server(text: &str) -> Result<Server<String>, &'static str> {
    match text.strip_prefix("stun:") {
        _ if text == "none" => Ok(Server::None),
        Some(host) if !host.is_empty() => Ok(Server::At(text.to_owned())),
        _ => Err("expected stun:HOST:PORT, or none"),
    }
}

fn turn_server(text: &str) -> Result<Server<TurnServer>, &'static str> {
    if text == "none" {
        return Ok(Server::None);
    }
    TurnServer::parse(text)
        .map(Server::At)
        .ok_or("expected turn:USER:PASSWORD@HOST:PORT, or none")
}

fn host_and_port(text: &str) -> Result<String, &'static str> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err("expected HOST:PORT"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn global(words: &[&str]) -> Global {
        let words = ["passalong", "doctor"].iter().chain(words);
        Args::try_parse_from(words).expect("a command line").global
    }

    fn config(words: &[&str]) -> Config {
        let mut all = vec!["--data-dir", "d"];
        all.extend(words);
        global(&all).config().expect("a configuration")
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn servers_replace_those_of_the_settings_and_none_means_none() {
        assert_eq!(config(&[]).stun, None);
        assert_eq!(config(&["--stun", "none"]).stun, Some(vec![]));
        assert_eq!(
            config(&["--stun", "stun:a:1", "--stun", "stun:b:2"]).stun,
            Some(vec!["stun:a:1".to_owned(), "stun:b:2".to_owned()])
        );
        let turn = config(&["--turn", "turn:ana:a:b@relay:3478"]).turn;
        let turn = turn.expect("servers");
        assert_eq!(
            (turn[0].url.as_str(), turn[0].password.as_str()),
            ("turn:relay:3478", "a:b")
        );
    }

    #[test]
    fn the_dht_is_entered_where_it_is_said_or_not_at_all() {
        let usual = config(&[]);
        assert_eq!((usual.dht, usual.dht_bootstrap), (None, None));
        assert_eq!(config(&["--no-dht"]).dht, Some(false));
        let own = config(&[
            "--dht-bootstrap",
            "a.example:1",
            "--dht-bootstrap",
            "10.0.0.1:2",
        ]);
        let expected = ["a.example:1", "10.0.0.1:2"].map(str::to_owned).to_vec();
        assert_eq!(own.dht_bootstrap, Some(expected));
    }

    #[test]
    fn servers_that_make_no_sense_are_refused() {
        for words in [
            ["--stun", "stun:"],
            ["--stun", "example.org:3478"],
            ["--turn", "turn:relay:3478"],
            ["--dht-bootstrap", "relay"],
            ["--bind", "localhost"],
        ] {
            let all = ["passalong", "doctor"].iter().chain(&words);
            let error = Args::try_parse_from(all).expect_err("refused");
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }

    #[test]
    fn a_code_may_be_several_words() {
        let args = Args::try_parse_from(["passalong", "get", "AAAAA", "BBBBB", "CCCCC", "DDDDD"]);
        let Command::Get(get) = args.expect("a command line").command else {
            panic!("not get")
        };
        assert_eq!(get.invite(), "AAAAA BBBBB CCCCC DDDDD");
    }
}
