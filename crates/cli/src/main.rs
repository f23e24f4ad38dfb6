//! The `passalong` command: the engine without a window.
//!
//! This file starts, ends and maps problems to exit codes; each subcommand has
//! a file of its own, and everything that is printed goes through `output`.
//! What is sent, received and kept is the engine's business.

mod args;
mod bench;
mod by_hand;
mod doctor;
mod get;
mod only;
mod output;
mod people;
mod share;
mod wait;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use passalong_engine::api::{Problem, ProblemCode};
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command};
use crate::output::Output;
use crate::wait::Interrupt;

/// How a command ended that met no problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// It did what was asked.
    Done,
    /// Ctrl-C, or the system asked it to end.
    Interrupted,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return misused(&error),
    };
    log(args.global.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("passalong could not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut output = Output::new(args.global.json);
    let outcome = runtime.block_on(run(args, &mut output));
    // Whatever still reads a disk is of no use to anybody now.
    runtime.shutdown_background();
    output.clear();
    match outcome {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Interrupted) => ExitCode::from(130),
        Err(problem) => {
            output.problem(&problem);
            ExitCode::from(exit_code(problem.code))
        }
    }
}

async fn run(args: Args, output: &mut Output) -> Result<Ended, Problem> {
    let mut interrupt = Interrupt::listen()?;
    let Args { global, command } = args;
    match command {
        Command::Share(args) => share::run(args, &global, output, &mut interrupt).await,
        Command::Get(args) => get::run(args, &global, output, &mut interrupt).await,
        Command::Doctor => doctor::run(&global, output, &mut interrupt).await,
        Command::Bench(args) => bench::run(args, &global, output, &mut interrupt).await,
    }
}

/// The exit code that scripts rely on.
fn exit_code(code: ProblemCode) -> u8 {
    match code {
        ProblemCode::Internal => 1,
        ProblemCode::Usage => 2,
        ProblemCode::NotAnInvite | ProblemCode::OwnInvite => 3,
        ProblemCode::Unreachable => 4,
        ProblemCode::Stopped | ProblemCode::Taken => 5,
        ProblemCode::Disk => 6,
        ProblemCode::Corrupt | ProblemCode::Version => 7,
    }
}

/// Answers a command line that could not be read, or that asked for help.
fn misused(error: &clap::Error) -> ExitCode {
    let asked_for = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if !asked_for && std::env::args_os().any(|arg| arg == "--json") {
        let message = error.to_string();
        let message = message.trim_start_matches("error: ").trim_end();
        let remedy = "Run passalong --help.";
        Output::new(true).problem(&Problem::new(ProblemCode::Usage, message, remedy));
        return ExitCode::from(exit_code(ProblemCode::Usage));
    }
    // Nobody is there to read it if this fails.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            ExitCode::from(exit_code(ProblemCode::Usage))
        }
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1)),
    }
}

/// Sends the log to stderr: errors of Passalong alone, more with each `-v`.
fn log(verbose: u8) {
    let directives = match verbose {
        0 => "passalong=error",
        1 => "passalong=info",
        2 => "passalong=debug",
        _ => "passalong=trace,info",
    };
    let filter =
        EnvFilter::try_from_env("PASSALONG_LOG").unwrap_or_else(|_| EnvFilter::new(directives));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
