//! A program that is run from outside: started, listened to, spoken to, and
//! watched in /proc for the memory and the processor time it takes.
//!
//! It is killed and gone when its value is dropped. Times of lines are those at which
//! they were read.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Failure;

/// How often memory and processor time are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Linux counts processor time in hundredths of a second (proc(5), USER_HZ).
const TICK: Duration = Duration::from_millis(10);
/// How long a killed program may take to be gone, and how often that is looked at.
const ENDING: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(2);
/// Lines of complaints that are kept for a failure's message.
const COMPLAINTS: usize = 10;

/// What a process has taken since it was started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Processor time of all its threads.
    pub cpu: Duration,
    /// The most memory it has held, in bytes.
    pub peak: u64,
}

/// A line that a program has printed.
#[derive(Debug)]
pub struct Said {
    /// When it was read.
    pub at: Instant,
    /// Without its end.
    pub text: String,
}

/// A running program.
#[derive(Debug)]
pub struct Running {
    name: String,
    begun: Instant,
    child: Child,
    pid: u32,
    lines: mpsc::UnboundedReceiver<Said>,
    complaints: Arc<Mutex<Vec<String>>>,
    tasks: [JoinHandle<()>; 2],
    input: Option<ChildStdin>,
    used: Used,
}

impl Running {
    /// Starts `command`, which is called `name` in messages. It has nothing to read.
    ///
    /// # Errors
    /// If the system cannot start it.
    pub fn start(name: &str, mut command: Command) -> Result<Running, Failure> {
        command.stdin(Stdio::null());
        Running::spawn(name, command)
    }

    /// Starts `command` as [`Running::start`] does, and leaves its input open for
    /// [`Running::tell`].
    ///
    /// # Errors
    /// If the system cannot start it.
    pub fn start_listening(name: &str, mut command: Command) -> Result<Running, Failure> {
        command.stdin(Stdio::piped());
        Running::spawn(name, command)
    }

    fn spawn(name: &str, mut command: Command) -> Result<Running, Failure> {
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let begun = Instant::now();
        let mut child = command
            .spawn()
            .map_err(|error| Failure::io(format!("{name} could not be started"), error))?;
        let ((Some(out), Some(err)), Some(pid)) =
            ((child.stdout.take(), child.stderr.take()), child.id())
        else {
            return Err(Failure::Broken("a program has no output"));
        };
        let (sender, lines) = mpsc::unbounded_channel();
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&complaints);
        let tasks = [
            read(out, move |said| {
                // When nobody listens any more, the program may talk on.
                let _ = sender.send(said);
            }),
            read(err, move |said| {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == COMPLAINTS {
                    kept.remove(0);
                }
                kept.push(said.text);
            }),
        ];
        Ok(Running {
            name: name.to_owned(),
            begun,
            pid,
            lines,
            complaints,
            tasks,
            input: child.stdin.take(),
            child,
            used: Used::default(),
        })
    }

    /// Writes a line to its input.
    ///
    /// # Errors
    /// If it takes none, or has ended.
    pub async fn tell(&mut self, line: &str) -> Result<(), Failure> {
        let input = self
            .input
            .as_mut()
            .ok_or(Failure::Broken("a program that is told something listens"))?;
        let line = format!("{line}\n");
        let written = input.write_all(line.as_bytes()).await;
        written.map_err(|error| Failure::io(format!("{} takes no input", self.name), error))
    }

    /// When it was started.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Its next line, or `None` when it has ended. Watches it meanwhile.
    pub async fn line(&mut self) -> Option<Said> {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                said = self.lines.recv() => return said,
                _ = look.tick() => {
                    self.look();
                }
            }
        }
    }

    /// What it has taken until now, or until it ended.
    pub fn used(&mut self) -> Used {
        self.look();
        self.used
    }

    /// Asks it to end, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Lets it run no more, until [`Running::thaw`].
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it run on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && self.child.id().is_some()
        {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If the system lost track of it.
    pub async fn ended(&mut self) -> Result<ExitStatus, Failure> {
        // Until it is waited for, /proc tells the time that all of it took.
        while !self.look() {
            tokio::time::sleep(LOOK).await;
        }
        let waited = self.child.wait().await;
        waited.map_err(|error| Failure::io(format!("{} was lost", self.name), error))
    }

    /// The failure of this program: `problem`, with what it complained about.
    pub fn failure(&self, problem: &str) -> Failure {
        let complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut problem = problem.to_owned();
        for line in complaints.iter() {
            problem.push_str("\n  ");
            problem.push_str(line);
        }
        Failure::program(&self.name, problem)
    }

    /// Looks what it takes; true if it has ended.
    fn look(&mut self) -> bool {
        let told = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.pid));
        if let Some(peak) = told("status").ok().as_deref().and_then(peak_memory) {
            self.used.peak = self.used.peak.max(peak);
        }
        let Some((state, cpu)) = told("stat").ok().as_deref().and_then(state_and_cpu) else {
            return true;
        };
        self.used.cpu = cpu;
        state == 'Z'
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // Nobody shall write to a folder or a network that is taken away next.
        let _ = self.child.start_kill();
        let until = Instant::now() + ENDING;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(SHORT);
        }
    }
}

fn read(
    from: impl AsyncRead + Unpin + Send + 'static,
    mut hear: impl FnMut(Said) + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(text)) = lines.next_line().await {
            hear(Said {
                at: Instant::now(),
                text,
            });
        }
    })
}

/// VmHWM of /proc/PID/status, in bytes.
fn peak_memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The state and utime + stime of /proc/PID/stat.
fn state_and_cpu(stat: &str) -> Option<(char, Duration)> {
    // The program's name comes before, in brackets, and may hold spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let mut times = fields.skip(10).map(str::parse::<u32>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some((state, TICK * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Running::start("sh", command).expect("started")
    }

    #[tokio::test]
    async fn lines_are_heard_and_what_was_used_is_known_after_the_end() {
        let mut running =
            shell("echo one; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo two; exit 3");
        let mut lines = Vec::new();
        while let Some(said) = running.line().await {
            lines.push(said.text);
        }
        assert_eq!(lines, ["one", "two"]);
        let status = running.ended().await.expect("ended");
        assert_eq!(status.code(), Some(3));
        let used = running.used();
        assert!(used.cpu >= TICK, "{used:?}");
        assert!(used.peak > 100_000, "{used:?}");
    }

    #[tokio::test]
    async fn a_failure_tells_what_the_program_complained_about() {
        let mut running = shell("echo no disk >&2; echo done");
        running.ended().await.expect("ended");
        while running.line().await.is_some() {}
        let failure = running.failure("it gave up");
        assert_eq!(failure.to_string(), "sh: it gave up\n  no disk");
    }

    #[tokio::test]
    async fn a_program_is_gone_when_its_value_is_dropped() {
        let mut running = shell("echo ready; exec sleep 1000");
        running.line().await.expect("a line");
        let folder = format!("/proc/{}", running.pid);
        assert!(std::path::Path::new(&folder).exists());
        drop(running);
        assert!(!std::path::Path::new(&folder).exists());
    }

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_times() {
        let stat = "17 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 100 5";
        assert_eq!(state_and_cpu(stat), Some(('S', Duration::from_secs(3))));
        assert_eq!(state_and_cpu("17 (a"), None);
        assert_eq!(
            peak_memory("VmPeak:\t 10 kB\nVmHWM:\t   2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(peak_memory("Name:\tx\n"), None);
    }
}
