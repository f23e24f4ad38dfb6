//! `kill -9` of either side at any moment: two real processes, one hundred kills.
//! Nothing wrong or unfinished ever has a final name, and nothing that was
//! verified is lost but for the last second.
#![allow(clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use passalong_engine::{Config, Engine};
use serde_json::Value;
use support::{bytes, tree};
use tempfile::TempDir;

const KILLS: u32 = 100;
/// Bytes a second that the sharer sends.
const LIMIT: u64 = 16 << 20;
/// What the last second before a kill can have brought: a timer may be late, and
/// a sharer that was just started sends a little more.
const LAST_SECOND: u64 = LIMIT + LIMIT / 4 + (1 << 20);
const PIECE: usize = 1 << 20;
/// Longest wait for what should happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// A command that runs, killed if nobody else does.
struct Running {
    child: Child,
    events: Receiver<Value>,
}

impl Running {
    fn start(home: &Path, words: &[&str]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_passalong"))
            .args([
                "--bind",
                "127.0.0.1",
                "--no-lan",
                "--no-dht",
                "--stun",
                "none",
                "--json",
            ])
            .args(words)
            .current_dir(home)
            .env("HOME", home)
            .env("PASSALONG_DATA_DIR", home.join("data"))
            .env_remove("PASSALONG_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The last line of a killed process may have been cut off.
                if let Ok(event) = serde_json::from_str(&line)
                    && sender.send(event).is_err()
                {
                    return;
                }
            }
        });
        Running { child, events }
    }

    /// The next event until `deadline`; `None` then, or when it has ended.
    fn event(&self, deadline: Instant) -> Option<Value> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.events.recv_timeout(left).ok()
    }

    fn kill(&mut self) {
        // Sends SIGKILL on Unix.
        self.child.kill().expect("killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Over already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one who shares, and what their invite is.
struct Sharer {
    home: TempDir,
    running: Running,
    code: String,
    link: String,
}

impl Sharer {
    fn start(home: TempDir) -> Sharer {
        let running = Running::start(home.path(), &["share", "Set"]);
        let mut sharer = Sharer {
            home,
            running,
            code: String::new(),
            link: String::new(),
        };
        sharer.invited();
        sharer
    }

    fn restart(&mut self) {
        self.running = Running::start(self.home.path(), &["share", "Set"]);
        let before = std::mem::take(&mut self.code);
        self.invited();
        assert_eq!(self.code, before, "the same share has the same code");
    }

    /// Waits for the invite, which comes before anything is read.
    fn invited(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.running.event(deadline).expect("an invite");
            if event["event"] == "invite" {
                self.code = event["code"].as_str().expect("a code").to_owned();
                self.link = event["link"].as_str().expect("a link").to_owned();
                return;
            }
        }
    }
}

/// The one who gets, and how far it is.
struct Getter {
    home: TempDir,
    running: Running,
    round: u32,
    /// Verified bytes as told last, in this process or an earlier one.
    held: u64,
    /// Right bytes on disk when it was killed last.
    on_disk: u64,
    /// Something was told of them since this process began.
    told: bool,
    complete: bool,
    visible: BTreeMap<String, u64>,
}

impl Getter {
    fn out(&self) -> PathBuf {
        self.home.path().join(format!("out {}", self.round))
    }

    fn restart(&mut self, link: &str) {
        let out = format!("out {}", self.round);
        let words = ["get", "--to", &out, link];
        self.running = Running::start(self.home.path(), &words);
        self.told = false;
    }

    /// Begins anew, into a folder of its own.
    fn next_round(&mut self, link: &str) {
        self.round += 1;
        self.held = 0;
        self.on_disk = 0;
        self.complete = false;
        self.visible.clear();
        self.restart(link);
    }

    /// Takes in what was told; says whether more is held than before.
    fn take(&mut self, event: &Value) -> bool {
        let before = self.held;
        match event["event"].as_str() {
            Some("progress") => {
                let bytes = event["bytes"].as_u64().expect("bytes");
                if !self.told {
                    assert!(
                        bytes + LAST_SECOND >= self.held,
                        "{bytes} bytes are known of {}",
                        self.held
                    );
                }
                self.told = true;
                self.held = bytes;
            }
            Some("complete") => self.complete = true,
            Some("error") => panic!("{event}"),
            _ => {}
        }
        self.held > before
    }

    /// Waits until more is held, all is here, or the time is over.
    fn more(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !self.complete
            && let Some(event) = self.running.event(deadline)
        {
            if self.take(&event) {
                return;
            }
        }
    }

    /// Takes in what was told and not read yet.
    fn catch_up(&mut self) {
        while let Ok(event) = self.running.events.try_recv() {
            self.take(&event);
        }
    }

    /// Everything that was told to be here is on disk, and so is what was there
    /// when it was killed before.
    fn check_disk(&mut self, source: &BTreeMap<String, Option<Vec<u8>>>) {
        let visible: u64 = self.visible.values().sum();
        let on_disk = visible + right_bytes(&self.out(), source);
        assert!(on_disk >= self.held, "{on_disk} of {} told", self.held);
        assert!(
            on_disk >= self.on_disk,
            "{on_disk} of {} before",
            self.on_disk
        );
        self.on_disk = on_disk;
    }

    /// Whatever has a final name is whole and right, and stays.
    fn check(&mut self, source: &BTreeMap<String, Option<Vec<u8>>>) {
        let mut visible = BTreeMap::new();
        let mut stack = vec![self.out()];
        while let Some(folder) = stack.pop() {
            let Ok(children) = fs::read_dir(&folder) else {
                assert_eq!(folder, self.out(), "a folder that was there");
                continue;
            };
            for child in children {
                let path = child.expect("an entry").path();
                let name = path.strip_prefix(self.out()).expect("below");
                let name = name.to_string_lossy().into_owned();
                if name.starts_with(".passalong-") {
                    continue;
                }
                let wanted = source.get(&name).expect("a name of the share");
                match wanted {
                    None => stack.push(path),
                    Some(content) => {
                        let here = fs::read(&path).expect("a file");
                        assert!(here == *content, "{name} is wrong");
                        visible.insert(name, here.len() as u64);
                    }
                }
            }
        }
        for name in self.visible.keys() {
            assert!(visible.contains_key(name), "{name} was here");
        }
        self.visible = visible;
    }
}

/// Bytes of unfinished files below `folder` that are right: pieces that are
/// where they are in a file of the share.
fn right_bytes(folder: &Path, source: &BTreeMap<String, Option<Vec<u8>>>) -> u64 {
    let mut right = 0;
    let children = fs::read_dir(folder).into_iter().flatten().flatten();
    for hidden in children.filter(|child| child.file_name().as_encoded_bytes()[0] == b'.') {
        for part in fs::read_dir(hidden.path()).into_iter().flatten().flatten() {
            let here = fs::read(part.path()).expect("a part");
            let of_file = |content: &Vec<u8>| -> u64 {
                let pieces = content.chunks(PIECE).enumerate();
                let right = pieces.filter(|(index, piece)| {
                    let start = index * PIECE;
                    here.get(start..start + piece.len()) == Some(*piece)
                });
                right.map(|(_, piece)| piece.len() as u64).sum()
            };
            right += source.values().flatten().map(of_file).max().unwrap_or(0);
        }
    }
    right
}

/// Files of every kind: of one piece and many, some the same, some empty.
fn fill(folder: &Path) {
    let write = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, content).expect("a file");
    };
    write("Set/film.bin", &bytes(1, (20 << 20) + 77));
    for number in 0..4 {
        let length = (3 << 20) + number as usize * 1000;
        write(
            &format!("Set/middle/{number}.bin"),
            &bytes(10 + number, length),
        );
    }
    for number in 0..60 {
        let length = 200 + number as usize * 997;
        write(
            &format!("Set/small/{number}.txt"),
            &bytes(100 + number, length),
        );
    }
    write("Set/exact.bin", &bytes(7, 2 << 20));
    write("Set/nothing.txt", b"");
}

/// Writes the sharer's upload limit into their data folder.
fn limit(home: &Path) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut config = Config::new(home.join("data"));
        config.bind = vec![std::net::Ipv4Addr::LOCALHOST.into()];
        config.lan = Some(false);
        config.dht = Some(false);
        config.stun = Some(Vec::new());
        let engine = Engine::start(config).await.expect("the engine starts");
        let mut settings = engine.snapshot().await.settings;
        settings.upload_limit = Some(LIMIT);
        engine.save_settings(settings).await.expect("saved");
        engine.shutdown().await;
    });
}

#[test]
fn a_hundred_kills_of_either_side_lose_nothing_and_leave_nothing_wrong() {
    let home = tempfile::tempdir().expect("a temporary folder");
    fill(home.path());
    limit(home.path());
    // As it is below the folder of a round.
    let source = tree(home.path())
        .into_iter()
        .filter(|(name, _)| name.starts_with("Set"))
        .collect();
    let mut ana = Sharer::start(home);
    let home = tempfile::tempdir().expect("a temporary folder");
    let words = ["get", "--to", "out 1", &ana.link];
    let running = Running::start(home.path(), &words);
    let mut ben = Getter {
        home,
        running,
        round: 1,
        held: 0,
        on_disk: 0,
        told: false,
        complete: false,
        visible: BTreeMap::new(),
    };
    let mut dice = Dice(0x00c0_ffee_d00d_f00d);
    let (mut kills, mut midway) = (0, 0);
    while kills < KILLS {
        if dice.below(4) > 0 {
            ben.more(Duration::from_millis(1200));
        }
        std::thread::sleep(dice.millis(300));
        ben.catch_up();
        if ben.complete {
            is_all_there(&mut ben, &source);
            ben.next_round(&ana.link);
            continue;
        }
        kills += 1;
        midway += u32::from(ben.told && ben.held > 0);
        if dice.below(2) == 0 {
            ana.running.kill();
            ben.check(&source);
            ana.restart();
        } else {
            ben.running.kill();
            // What it had told before it was killed counts.
            while let Ok(event) = ben.running.events.recv() {
                ben.take(&event);
            }
            ben.check(&source);
            ben.check_disk(&source);
            if ben.complete {
                is_all_there(&mut ben, &source);
                ben.next_round(&ana.link);
            } else {
                ben.restart(&ana.link);
            }
        }
    }
    assert!(midway > KILLS / 4, "only {midway} kills came midway");
    assert!(ben.round > 1, "nothing ever was complete between the kills");
    // Left alone, the rest comes.
    let deadline = Instant::now() + PATIENCE;
    while !ben.complete {
        let event = ben.running.event(deadline).expect("the end");
        ben.take(&event);
    }
    is_all_there(&mut ben, &source);
}

/// All is byte for byte there, and nothing else.
fn is_all_there(ben: &mut Getter, source: &BTreeMap<String, Option<Vec<u8>>>) {
    ben.running.child.wait().expect("it ends");
    ben.check(source);
    assert!(tree(&ben.out()) == *source, "round {}", ben.round);
    fs::remove_dir_all(ben.out()).expect("removed");
}
