//! Reply and answer codes for terminals: printed here, carried by people,
//! typed or pasted in there. For two computers that no datagram leads to.

use std::io::BufRead;

use passalong_engine::Engine;
use passalong_engine::api::{Id, Opened, Problem, ProblemCode};
use passalong_proto::knock;
use tokio::sync::mpsc;

use crate::output::{Event, Output};

/// Lines typed or pasted into stdin.
pub(crate) struct Typed {
    lines: mpsc::UnboundedReceiver<String>,
}

impl Typed {
    /// Reads stdin if it is `wanted`; otherwise nothing ever comes.
    pub(crate) fn when(wanted: bool) -> Typed {
        let (sender, lines) = mpsc::unbounded_channel();
        if wanted {
            // A thread of its own, because nothing can end its reading.
            std::thread::spawn(move || {
                for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Typed { lines }
    }

    /// The next code. Losing this future loses nothing.
    pub(crate) async fn code(&mut self) -> Result<String, Problem> {
        loop {
            match self.lines.recv().await {
                Some(line) if line.trim().is_empty() => {}
                Some(line) if knock::looks_like_text(&line) => return Ok(line),
                Some(_) => return Err(not_a_code()),
                None => std::future::pending().await,
            }
        }
    }
}

fn not_a_code() -> Problem {
    Problem::new(
        ProblemCode::NotAnInvite,
        "This is neither a reply code nor an answer code.",
        "Copy the whole of it, in one line, and paste it again.",
    )
}

/// Prints the reply code of a transfer, if nobody was met meanwhile.
pub(crate) async fn offer_reply(engine: &Engine, id: &Id, output: &Output) {
    if let Ok(code) = engine.reply_code(id).await {
        output.tell(Event::Reply { code: &code }, || {
            format!(
                "Send this reply code to the person who shares, who runs share --by-hand:\n\n\
                 {code}\n\n\
                 If no connection follows, paste the answer code that they send back."
            )
        });
    }
}

/// Takes a code that was typed. What is wrong with it is told, and ends nothing.
pub(crate) async fn take(engine: &Engine, code: Result<String, Problem>, output: &Output) {
    let opened = match code {
        Ok(code) => engine.open(&code).await,
        Err(problem) => Err(problem),
    };
    match opened {
        Ok(Opened::Reply {
            from, answer_code, ..
        }) => output.tell(Event::Answer { code: &answer_code }, || {
            format!(
                "{} is being called. If they do not appear, send them this answer code soon:\n\n\
                 {answer_code}\n",
                from.name
            )
        }),
        Ok(Opened::Answer { .. } | Opened::Transfer { .. }) => output.say("Connecting…"),
        Err(problem) => output.note(&format!("{} {}", problem.message, problem.remedy)),
    }
}
