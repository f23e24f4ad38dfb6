//! What can go wrong with a measurement, in words for the person who runs it.

use std::io;

/// Why a measurement ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something is missing on this computer.
    #[error("{0}")]
    Missing(String),
    /// The system refused something.
    #[error("{what}: {error}")]
    Io { what: String, error: io::Error },
    /// A program under measurement, or one that is needed for it, failed.
    #[error("{program}: {problem}")]
    Program { program: String, problem: String },
    /// What arrived is not what was sent.
    #[error("{0} did not arrive as it was sent")]
    Spoiled(String),
    /// A rule of this program was broken.
    #[error("this should not happen: {0}")]
    Broken(&'static str),
}

impl Failure {
    /// `what` failed with `error`.
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Failure {
        Failure::Io {
            what: what.into(),
            error,
        }
    }

    /// `program` failed as `problem` says.
    pub(crate) fn program(program: &str, problem: impl Into<String>) -> Failure {
        Failure::Program {
            program: program.to_owned(),
            problem: problem.into(),
        }
    }
}
