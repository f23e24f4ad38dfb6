//! What can go wrong with a run, in words for the person who started it.

use std::io;

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something is missing on this computer.
    #[error("{0}")]
    Missing(String),
    /// The system refused something.
    #[error("{what}: {error}")]
    Io {
        /// What was to be done.
        what: String,
        /// What the system says.
        error: io::Error,
    },
    /// A program that is run failed.
    #[error("{program}: {problem}")]
    Program {
        /// What it is called.
        program: String,
        /// What went wrong, with what it complained about.
        problem: String,
    },
    /// What arrived is not what was sent.
    #[error("{0} did not arrive as it was sent")]
    Spoiled(String),
    /// A rule of this program was broken.
    #[error("this should not happen: {0}")]
    Broken(&'static str),
}

impl Failure {
    /// `what` failed with `error`.
    pub fn io(what: impl Into<String>, error: io::Error) -> Failure {
        Failure::Io {
            what: what.into(),
            error,
        }
    }

    /// `program` failed as `problem` says.
    pub fn program(program: &str, problem: impl Into<String>) -> Failure {
        Failure::Program {
            program: program.to_owned(),
            problem: problem.into(),
        }
    }
}
