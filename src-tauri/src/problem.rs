//! Problems that arise in the shell itself, in the words the engine's use.

use passalong_engine::api::{Problem, ProblemCode};

/// Something on this computer did not do what was asked.
pub(crate) fn internal(message: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem {
        code: ProblemCode::Internal,
        message: message.into(),
        remedy: remedy.into(),
    }
}

/// The row that was meant is gone.
pub(crate) fn gone() -> Problem {
    Problem {
        code: ProblemCode::Usage,
        message: "That share is not here any more.".to_owned(),
        remedy: "Share the files again.".to_owned(),
    }
}
