//! The NAT laboratory: meets the `passalong` command with itself behind every
//! kind of router, and says whether those met who can.
//!
//! It knows nothing of the engine: what it runs is the command that people run,
//! and what it reads is what scripts read. Everything that it starts or makes is
//! gone when it ends, also by Ctrl-C.

mod args;
mod capture;
mod dht;
mod firewall;
mod internet;
mod kernel;
mod kinds;
mod lab;
mod meeting;
mod nat;
mod nonsense;
mod packet;
mod page;
mod pairs;
mod passalong;
mod pcap;
mod roaming;
mod secrets;
mod wires;

use std::process::ExitCode;

use clap::Parser;
use passalong_netns::{Failure, able_to_build, asked_to_end};

use crate::args::{Args, Part};

fn main() -> ExitCode {
    let args = Args::parse();
    // What is started from a laboratory has everything.
    if !args.is_part_of_a_laboratory()
        && let Err(missing) = able_to_build().and_then(|()| lab::find_server())
    {
        println!("SKIPPED: {missing}");
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("passalong-natlab could not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            outcome = run(args) => Some(outcome),
            asked = asked_to_end() => asked.err().map(Err),
        }
    });
    match ended {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(failure)) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
        None => ExitCode::from(130),
    }
}

/// Says whether everything was as it has to be.
async fn run(args: Args) -> Result<bool, Failure> {
    if args.be_a_dht {
        return dht::be().await.map(|()| true);
    }
    if let Some(address) = args.be_nonsense {
        return nonsense::be(address).await.map(|()| true);
    }
    if let Some(logs) = &args.logs {
        std::fs::create_dir_all(logs)
            .map_err(|error| Failure::io(logs.display().to_string(), error))?;
    }
    let mut tables = Vec::new();
    let mut failed = 0;
    for part in Part::MEETINGS.into_iter().filter(|part| args.wants(*part)) {
        eprintln!("{}:", part.words());
        let table = match part.able() {
            Ok(()) => {
                let results = pairs::run(&args, part).await?;
                failed += results.iter().filter(|result| !result.is_good()).count();
                page::pairs(&results)
            }
            Err(missing) => format!("SKIPPED: {missing}"),
        };
        tables.push((part.mark(), table));
    }
    if args.wants(Part::Roaming) {
        eprintln!("{}:", Part::Roaming.words());
        let results = roaming::run(&args).await?;
        failed += results.iter().filter(|result| !result.is_good()).count();
        tables.push((Part::Roaming.mark(), page::roaming(&results)));
    }
    if args.wants(Part::Capture) {
        eprintln!("{}:", Part::Capture.words());
        let results = capture::run(&args).await?;
        failed += results.iter().filter(|result| !result.is_good()).count();
        tables.push((Part::Capture.mark(), page::capture(&results)));
    }
    for (_, table) in &tables {
        println!("{table}");
    }
    if let Some(path) = &args.page {
        page::write(path, &tables)?;
    }
    match failed {
        0 => println!("Everything is as it has to be."),
        failed => println!("{failed} of these FAILED."),
    }
    Ok(failed == 0)
}
