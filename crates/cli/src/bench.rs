//! `passalong bench`: two peers in one process over the loopback, disk to
//! disk, and what arrived compared with what was sent.
//!
//! Only hashing and the transfer are timed; making the files and comparing
//! them are not. Everything happens in a temporary folder that is removed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use passalong_engine::api::{
    Audience, Event as Change, Opened, Problem, ProblemCode, Selection, ShareState, TransferState,
};
use passalong_engine::{Config, Engine, size};
use tempfile::TempDir;

use crate::Ended;
use crate::args::{self, Global};
use crate::output::{self, Event, Output, Step, Who};
use crate::wait::{Events, Interrupt};

/// Bytes written and compared at a time.
const BLOCK: usize = 1 << 20;
const MEGABYTE: u64 = 1_000_000;
/// Linux counts CPU time in hundredths of a second (proc(5), USER_HZ).
const TICKS: f64 = 100.0;
/// How often the hashing is looked at: events come too seldom to time it.
const LOOK: Duration = Duration::from_millis(5);

/// Measures with what `args` asks for.
pub(crate) async fn run(
    args: args::Bench,
    global: &Global,
    output: &mut Output,
    interrupt: &mut Interrupt,
) -> Result<Ended, Problem> {
    let parent = match &args.dir {
        Some(dir) => dir.clone(),
        None => global.data_dir()?,
    };
    let ground = Ground::new(&parent, global.quic()).map_err(|error| disk(&parent, &error))?;
    let bytes = args.size * MEGABYTE;
    tokio::select! {
        measured = measure(&ground, args.files, bytes, output) => {
            output.clear();
            tell(&measured?, output);
            Ok(Ended::Done)
        }
        () = interrupt.asked() => {
            output.clear();
            Ok(Ended::Interrupted)
        }
    }
}

/// Where it happens; gone when dropped.
struct Ground {
    dir: TempDir,
    quic: bool,
}

impl Ground {
    fn new(parent: &Path, quic: bool) -> io::Result<Ground> {
        fs::create_dir_all(parent)?;
        let dir = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(parent)?;
        fs::create_dir(dir.path().join("out"))?;
        Ok(Ground { dir, quic })
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    async fn engine(&self, name: &str) -> Result<Engine, Problem> {
        let mut config = Config::new(self.dir.path().join(name));
        config.quic = self.quic;
        config.bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        config.lan = Some(false);
        config.dht = Some(false);
        config.port_mapping = Some(false);
        config.stun = Some(Vec::new());
        config.turn = Some(Vec::new());
        config.device_name = Some(name.to_owned());
        config.download_dir = Some(self.target());
        Engine::start(config).await
    }
}

struct Measured {
    files: u32,
    bytes: u64,
    hash_seconds: f64,
    seconds: f64,
    cpu_seconds: Option<f64>,
    peak_memory: Option<u64>,
}

async fn measure(
    ground: &Ground,
    files: u32,
    bytes: u64,
    output: &mut Output,
) -> Result<Measured, Problem> {
    output.say(&format!(
        "Making {} of {}…",
        output::files(files),
        size(bytes)
    ));
    let source = ground.source();
    blocking(&source, move |source| make(source, files, bytes)).await?;

    let (from, to) = (
        ground.engine("sender").await?,
        ground.engine("receiver").await?,
    );
    let begun = Instant::now();
    let link = hashed(&from, ground.source(), output).await?;
    let hash_seconds = begun.elapsed().as_secs_f64();

    let cpu_before = cpu_ticks();
    let seconds = fetched(&to, &link, output).await?;
    let cpu_after = cpu_ticks();
    let peak_memory = peak_memory();
    to.shutdown().await;
    from.shutdown().await;

    output.say("Comparing…");
    let arrived = ground.target().join("files");
    blocking(&source, move |source| compare(source, &arrived, files)).await?;
    Ok(Measured {
        files,
        bytes,
        hash_seconds,
        seconds,
        cpu_seconds: cpu_before
            .zip(cpu_after)
            .map(|(a, b)| a.abs_diff(b) as f64 / TICKS),
        peak_memory,
    })
}

/// Shares and waits until everything is hashed; gives the link.
async fn hashed(engine: &Engine, path: PathBuf, output: &mut Output) -> Result<String, Problem> {
    let id = engine.share(vec![path], None, Audience::Anyone).await?;
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let shares = engine.snapshot().await.shares;
        let Some(share) = shares.into_iter().find(|share| share.id == id) else {
            return Err(failed("its own share is gone"));
        };
        match share.state {
            ShareState::Ready => {
                output.finish("Hashing");
                return Ok(share.link);
            }
            ShareState::Failed { problem } => return Err(problem),
            ShareState::Preparing {
                done_bytes,
                total_bytes,
            } if total_bytes > 0 => output.show(Step {
                what: "Hashing",
                who: Who::Nobody,
                device: None,
                bytes: done_bytes,
                total: total_bytes,
                rate: 0,
            }),
            _ => {}
        }
    }
}

/// Fetches and waits until everything is there; gives the seconds it took.
async fn fetched(engine: &Engine, link: &str, output: &mut Output) -> Result<f64, Problem> {
    let mut events = Events::of(engine).await;
    let Opened::Transfer { id } = engine.open(link).await? else {
        return Err(failed("its own invite was not understood"));
    };
    let mut accepted = false;
    loop {
        let Change::Transfer { transfer } = events.next().await else {
            continue;
        };
        match transfer.state {
            _ if transfer.id != id => {}
            TransferState::Offered if !accepted => {
                accepted = true;
                engine.accept(&id, Selection::All).await?;
            }
            TransferState::Receiving { progress } => output.show(Step {
                what: "Transfer",
                who: Who::Nobody,
                device: None,
                bytes: progress.bytes,
                total: progress.total,
                rate: progress.rate,
            }),
            TransferState::Done { seconds, .. } => return Ok(seconds),
            TransferState::Failed { problem, .. } => return Err(problem),
            _ => {}
        }
    }
}

fn tell(measured: &Measured, output: &Output) {
    let hash_rate = output::rate(measured.bytes, measured.hash_seconds);
    let rate = output::rate(measured.bytes, measured.seconds);
    let event = Event::Bench {
        files: measured.files,
        bytes: measured.bytes,
        hash_seconds: measured.hash_seconds,
        hash_rate,
        seconds: measured.seconds,
        rate,
        cpu_seconds: measured.cpu_seconds,
        peak_memory: measured.peak_memory,
    };
    output.tell(event, || {
        let mut lines = vec![
            format!(
                "{}, {}, over the loopback, compared byte for byte",
                output::files(measured.files),
                size(measured.bytes)
            ),
            format!(
                "hashing    {:>8.0} MB/s   {:.2} s",
                hash_rate as f64 / MEGABYTE as f64,
                measured.hash_seconds
            ),
            format!(
                "transfer   {:>8.0} MB/s   {:.2} s",
                rate as f64 / MEGABYTE as f64,
                measured.seconds
            ),
        ];
        if let Some(seconds) = measured.cpu_seconds {
            lines.push(format!(
                "CPU time   {seconds:>8.2} s      both peers, transfer"
            ));
        }
        if let Some(bytes) = measured.peak_memory {
            lines.push(format!(
                "memory     {:>8.0} MB     both peers, at most",
                bytes as f64 / MEGABYTE as f64
            ));
        }
        lines.join("\n")
    });
}

/// Does disk work where it holds nobody up.
async fn blocking(
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
) -> Result<(), Problem> {
    let owned = path.to_owned();
    let outcome = tokio::task::spawn_blocking(move || work(&owned)).await;
    match outcome {
        Ok(done) => done.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => failed(&error.to_string()),
            _ => disk(path, &error),
        }),
        Err(error) => Err(failed(&error.to_string())),
    }
}

/// Writes `bytes` that do not compress, spread evenly over `files`.
fn make(folder: &Path, files: u32, bytes: u64) -> io::Result<()> {
    fs::create_dir(folder)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0; BLOCK];
    for index in 0..files {
        let share = |index: u32| bytes * u64::from(index) / u64::from(files);
        let mut left = share(index + 1) - share(index);
        let mut file = BufWriter::with_capacity(BLOCK, File::create(folder.join(name(index)))?);
        while left > 0 {
            for word in block.chunks_exact_mut(8) {
                // xorshift64 (Marsaglia 2003).
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            let part = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            file.write_all(&block[..part])?;
            left -= part as u64;
        }
        file.flush()?;
    }
    Ok(())
}

fn name(index: u32) -> String {
    format!("{index:06}.bin")
}

fn compare(sent: &Path, arrived: &Path, files: u32) -> io::Result<()> {
    let (mut a, mut b) = (vec![0; BLOCK], vec![0; BLOCK]);
    for index in 0..files {
        let name = name(index);
        let mut sent = File::open(sent.join(&name))?;
        let mut arrived = File::open(arrived.join(&name))?;
        loop {
            let read = fill(&mut sent, &mut a)?;
            if fill(&mut arrived, &mut b)? != read || a[..read] != b[..read] {
                let message = format!("{name} did not arrive as it was sent");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if read == 0 {
                break;
            }
        }
    }
    Ok(())
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// CPU time this process has used, in [`TICKS`], where Linux tells.
fn cpu_ticks() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name comes before, in brackets, and may hold spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The most memory this process has held, in bytes, where Linux tells.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn disk(path: &Path, error: &io::Error) -> Problem {
    Problem::new(
        ProblemCode::Disk,
        format!("{} could not be used: {error}.", path.display()),
        "Free some space, or choose another folder with --dir.",
    )
}

fn failed(what: &str) -> Problem {
    Problem::new(
        ProblemCode::Internal,
        format!("The measurement failed: {what}."),
        "Run it again with -v to see more.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_to_size_and_compared() {
        let dir = tempfile::tempdir().expect("a folder");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        make(&a, 3, 2_500_000).expect("made");
        make(&b, 3, 2_500_000).expect("made");
        let sizes = |dir: &Path| -> u64 {
            (0..3)
                .map(|index| fs::metadata(dir.join(name(index))).expect("a file").len())
                .sum()
        };
        assert_eq!(sizes(&a), 2_500_000);
        compare(&a, &b, 3).expect("the same");
        let mut changed = fs::read(b.join(name(2))).expect("a file");
        changed[800_000] ^= 1;
        fs::write(b.join(name(2)), &changed).expect("written");
        let error = compare(&a, &b, 3).expect_err("different");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        changed.truncate(10);
        fs::write(b.join(name(2)), &changed).expect("written");
        compare(&a, &b, 3).expect_err("shorter");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_time_and_memory() {
        assert!(cpu_ticks().is_some());
        assert!(peak_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
