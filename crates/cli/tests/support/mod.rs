//! The real command, run by people who each have a folder of their own.
//!
//! Nothing here waits for a time to pass: a command is waited for until it
//! prints what is expected or ends, and a test that waits too long fails.

// Each test file includes this and uses its part of it.
#![allow(dead_code, unreachable_pub, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody at a terminal.
pub struct Person {
    home: TempDir,
}

impl Person {
    /// Somebody with an empty home.
    pub fn new() -> Person {
        let home = tempfile::tempdir().expect("a temporary folder");
        Person { home }
    }

    /// A file or folder of theirs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file of theirs, folders included, and says where it is.
    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, content).expect("a file");
        path
    }

    /// Runs the command in their home, on the loopback and with their data.
    pub fn run(&self, words: &[&str]) -> Running {
        let mut all = vec![
            "--bind",
            "127.0.0.1",
            "--no-lan",
            "--no-dht",
            "--stun",
            "none",
        ];
        all.extend(words);
        self.run_bare(&all)
    }

    /// Runs the command in their home with their data.
    pub fn run_bare(&self, words: &[&str]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_passalong"))
            .args(words)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env("PASSALONG_DATA_DIR", self.path("data"))
            .env_remove("PASSALONG_LOG")
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let (sender, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in stdout.lines() {
                if sender.send(line.expect("UTF-8")).is_err() {
                    return;
                }
            }
        });
        let mut stderr = child.stderr.take().expect("stderr");
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("UTF-8");
            text
        });
        Running {
            child,
            lines,
            reader: Some(reader),
            errors: Some(errors),
            seen: Vec::new(),
        }
    }

    /// Shares with JSON and waits for the link.
    pub fn share(&self, words: &[&str]) -> (Running, String) {
        let mut all = vec!["--json", "share"];
        all.extend(words);
        let mut share = self.run(&all);
        let link = share.event("invite")["link"]
            .as_str()
            .expect("a link")
            .to_owned();
        (share, link)
    }

    /// Fetches with JSON into `out` and waits for the end.
    pub fn get(&self, words: &[&str]) -> Finished {
        let mut all = vec!["--json", "get", "--to", "out"];
        all.extend(words);
        self.run(&all).finish()
    }
}

/// A command that runs.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    errors: Option<JoinHandle<String>>,
    seen: Vec<String>,
}

/// A command that ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: Vec<String>,
    pub stderr: String,
}

impl Running {
    /// Waits for a line that is as `wanted`.
    pub fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(error) => panic!("waited in vain ({error}); so far: {:#?}", self.seen),
            }
        }
    }

    /// Waits for a JSON event of this kind.
    pub fn event(&mut self, kind: &str) -> Value {
        self.event_with(kind, |_| true)
    }

    /// Waits for a JSON event of this kind that is as `wanted`.
    pub fn event_with(&mut self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = format!("{{\"event\":\"{kind}\"");
        let line = self.line(|line| line.starts_with(&start) && wanted(&parse(line)));
        parse(&line)
    }

    /// Types a line.
    pub fn type_in(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin");
        // A command that has ended reads no more, and needs no more.
        let _ = writeln!(stdin, "{line}");
    }

    /// Presses Ctrl-C.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        let sent = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success());
    }

    /// Reads no more of what it prints.
    pub fn turn_away(&mut self) {
        // The reader ends, and closes its end of the pipe, at the next line.
        let (_, lines) = mpsc::channel();
        self.lines = lines;
    }

    /// Waits for the end.
    pub fn finish(mut self) -> Finished {
        drop(self.child.stdin.take());
        let code = self.child.wait().expect("it ends").code();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("read");
        }
        self.seen.extend(self.lines.try_iter());
        let errors = self.errors.take().expect("stderr");
        Finished {
            code,
            stdout: std::mem::take(&mut self.seen),
            stderr: errors.join().expect("read"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Over already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// The JSON events of one kind.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let all = self.stdout.iter().map(|line| parse(line));
        all.filter(|event| event["event"] == kind).collect()
    }

    /// The one JSON event of this kind.
    pub fn event(&self, kind: &str) -> Value {
        let events = self.events(kind);
        assert_eq!(events.len(), 1, "{self:#?}");
        events[0].clone()
    }
}

fn parse(line: &str) -> Value {
    assert!(line.starts_with("{\"event\":\""), "{line}");
    serde_json::from_str(line).expect("JSON")
}

/// Bytes that look random and are the same every time.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut content = Vec::with_capacity(length + 8);
    while content.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(length);
    content
}

/// Everything below a folder: paths with their content, folders with none.
pub fn tree(dir: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut stack = vec![dir.to_owned()];
    while let Some(folder) = stack.pop() {
        for child in fs::read_dir(&folder).expect("a folder") {
            let path = child.expect("an entry").path();
            let name = path.strip_prefix(dir).expect("below");
            let name = name.to_string_lossy().into_owned();
            if path.is_dir() {
                found.insert(name, None);
                stack.push(path);
            } else {
                found.insert(name, Some(fs::read(&path).expect("a file")));
            }
        }
    }
    found
}
