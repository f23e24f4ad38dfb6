//! Measures the `passalong` command from outside: over emulated roads beside
//! TCP and sendme, and on this computer alone.
//!
//! It knows nothing of the engine: what it runs is the command that people run,
//! and what it reads is what scripts read. Everything that it starts or makes
//! is gone when it ends, also by Ctrl-C.

mod args;
mod bars;
mod directory;
mod emulator;
mod ends;
mod files;
mod here;
mod iperf;
mod line;
mod measure;
mod over_roads;
mod page;
mod passalong;
mod programs;
mod results;
mod roads;
mod sendme;
mod table;
mod train;
mod transfer;

use std::process::ExitCode;

use clap::Parser;
use passalong_netns::{Failure, asked_to_end};

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("passalong-bench could not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            outcome = run(args.command) => Some(outcome),
            asked = asked_to_end() => asked.err().map(Err),
        }
    });
    match ended {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(failure)) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
        None => ExitCode::from(130),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Roads(args) => over_roads::run(args).await,
        Command::Road { road, seed } => over_roads::open(&road, seed).await,
        Command::Here(args) => here::run(args).await,
        Command::Page(args) => page::run(&args),
    }
}
