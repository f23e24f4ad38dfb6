//! Everything that is printed: JSON events on stdout, one a line, or text for
//! people with progress bars where stdout is a terminal. Notes and problems in
//! text go to stderr.
//!
//! Nothing here fails: when nobody reads any more, the work goes on.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use passalong_engine::api::{PersonView, Problem, ProblemCode, Route};
use passalong_engine::doctor::{FindingLevel, Topic};
use passalong_engine::size;
use serde::Serialize;

use crate::people::together;

/// Shortest time between two `progress` events of one subject.
const INTERVAL: Duration = Duration::from_millis(100);
/// Parts of a whole that plain text tells as lines.
const PARTS: u64 = 10;

/// What scripts read.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "event"
)]
pub(crate) enum Event<'a> {
    /// A share has an invite.
    Invite { code: &'a str, link: &'a str },
    /// The list of a share is complete.
    Manifest {
        name: &'a str,
        files: u32,
        bytes: u64,
    },
    /// Somebody came, changed or went. `device` is their id.
    Peer {
        device: &'a str,
        name: &'a str,
        route: Option<Route>,
        /// The name of who helps them through.
        #[serde(skip_serializing_if = "Option::is_none")]
        through: Option<&'a str>,
        state: &'a str,
    },
    /// Bytes hashed, fetched from `sources`, or with `device` held by that person.
    Progress {
        bytes: u64,
        total: u64,
        rate: u64,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        sources: &'a [&'a str],
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<&'a str>,
    },
    /// A file is whole; with `--list`, a file is offered.
    File { path: &'a str, bytes: u64 },
    /// Everything is there: here in `dir`, or with `device` at that person.
    Complete {
        bytes: u64,
        seconds: f64,
        dir: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<&'a str>,
    },
    /// With `--by-hand`: the code to send to the person who shares.
    Reply { code: &'a str },
    /// With `--by-hand`: the code to send back to the person who fetches.
    Answer { code: &'a str },
    /// Nobody who has it is online; it starts by itself. Whom it is waited for, if known.
    Waiting { r#for: Option<&'a str> },
    /// What `doctor` came to: one light, one sentence, and what it rests on.
    Checkup {
        level: FindingLevel,
        summary: &'a str,
        cause: Option<Topic>,
    },
    /// Something `doctor` found.
    Finding {
        topic: Topic,
        level: FindingLevel,
        title: &'a str,
        detail: &'a str,
        remedy: Option<&'a str>,
    },
    /// What `bench` measured; rates in bytes a second.
    Bench {
        files: u32,
        bytes: u64,
        hash_seconds: f64,
        hash_rate: u64,
        seconds: f64,
        rate: u64,
        cpu_seconds: Option<f64>,
        peak_memory: Option<u64>,
    },
    /// The command ends with this.
    Error {
        code: ProblemCode,
        message: &'a str,
        remedy: &'a str,
    },
}

/// How far something is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    /// What it is, and the same for every step of it.
    pub(crate) what: &'a str,
    /// Whom the bytes come from or go to.
    pub(crate) who: Who<'a>,
    /// Whose progress it is, if another device's.
    pub(crate) device: Option<&'a str>,
    pub(crate) bytes: u64,
    pub(crate) total: u64,
    /// Bytes a second.
    pub(crate) rate: u64,
}

/// Whom bytes come from or go to now, by name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who<'a> {
    Nobody,
    From(&'a [&'a str]),
    To(&'a [&'a str]),
}

/// Where everything is printed.
pub(crate) struct Output {
    json: bool,
    bars: Option<MultiProgress>,
    subjects: HashMap<String, Subject>,
}

struct Subject {
    told: Instant,
    part: u64,
    bar: Option<ProgressBar>,
}

impl Output {
    /// JSON, or text with bars where stdout is a terminal.
    pub(crate) fn new(json: bool) -> Self {
        let bars = (!json && std::io::stdout().is_terminal())
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stdout()));
        Output {
            json,
            bars,
            subjects: HashMap::new(),
        }
    }

    /// An event for scripts, or what it means for people.
    pub(crate) fn tell(&self, event: Event<'_>, text: impl FnOnce() -> String) {
        if self.json {
            self.event(event);
        } else {
            self.say(&text());
        }
    }

    /// An event for scripts only.
    pub(crate) fn event(&self, event: Event<'_>) {
        if self.json
            && let Ok(line) = serde_json::to_string(&event)
        {
            write_line(std::io::stdout().lock(), &line);
        }
    }

    /// Text for people on stdout.
    pub(crate) fn say(&self, text: &str) {
        if !self.json {
            self.aside(|| write_line(anstream::stdout().lock(), text));
        }
    }

    /// Text for people on stderr, with JSON too.
    pub(crate) fn note(&self, text: &str) {
        self.aside(|| write_line(anstream::stderr().lock(), text));
    }

    /// The problem that a command ends with.
    pub(crate) fn problem(&self, problem: &Problem) {
        let Problem {
            code,
            message,
            remedy,
        } = problem;
        if self.json {
            self.event(Event::Error {
                code: *code,
                message,
                remedy,
            });
        } else {
            self.note(&format!("{}\n{remedy}", sentence(message)));
        }
    }

    /// Progress: an event, a bar, or a line for each tenth.
    pub(crate) fn progress(&mut self, step: Step<'_>) {
        let now = Instant::now();
        let part = (step.bytes.saturating_mul(PARTS))
            .checked_div(step.total)
            .unwrap_or(PARTS);
        let key = step.device.unwrap_or(step.what);
        let known = self.subjects.get(key).map(|s| (s.told, s.part));
        if known.is_some_and(|(told, _)| now < told + INTERVAL) {
            return;
        }
        if !self.subjects.contains_key(key) {
            let bar = self.bars.as_ref().map(|bars| bars.add(bar(step.total)));
            let subject = Subject {
                told: now,
                part,
                bar,
            };
            self.subjects.insert(key.to_owned(), subject);
        }
        let Some(subject) = self.subjects.get_mut(key) else {
            return;
        };
        subject.told = now;
        let passed = subject.part < part;
        subject.part = part;
        if let Some(bar) = &subject.bar {
            bar.update(|state| {
                state.set_len(step.total);
                state.set_pos(step.bytes);
            });
            bar.set_message(step.describe());
        } else if self.json {
            self.event(Event::Progress {
                bytes: step.bytes,
                total: step.total,
                rate: step.rate,
                sources: match step.who {
                    Who::From(names) => names,
                    Who::Nobody | Who::To(_) => &[],
                },
                device: step.device,
            });
        } else if passed && part < PARTS {
            self.say(&step.describe());
        }
    }

    /// Progress that only people are told.
    pub(crate) fn show(&mut self, step: Step<'_>) {
        if !self.json {
            self.progress(step);
        }
    }

    /// Progress that only scripts are told.
    pub(crate) fn report(&mut self, step: Step<'_>) {
        if self.json {
            self.progress(step);
        }
    }

    /// Takes a progress bar away: by `device` if it had one, else by `what`.
    pub(crate) fn finish(&mut self, key: &str) {
        if let Some(bar) = self.subjects.remove(key).and_then(|subject| subject.bar) {
            bar.finish_and_clear();
        }
    }

    /// Takes every bar away.
    pub(crate) fn clear(&mut self) {
        for (_, subject) in self.subjects.drain() {
            if let Some(bar) = subject.bar {
                bar.finish_and_clear();
            }
        }
    }

    fn aside(&self, write: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

impl Step<'_> {
    fn describe(&self) -> String {
        let percent = (self.bytes.saturating_mul(100))
            .checked_div(self.total)
            .unwrap_or(100);
        let who = match self.who {
            Who::From(names @ [_, ..]) => format!(" from {}", together(names)),
            Who::To(names @ [_, ..]) => format!(" to {}", together(names)),
            Who::Nobody | Who::From([]) | Who::To([]) => String::new(),
        };
        let mut text = format!(
            "{}{who}: {percent} %, {} of {}",
            self.what,
            size(self.bytes),
            size(self.total)
        );
        let left = self.total.saturating_sub(self.bytes);
        if let Some(seconds) = left.checked_div(self.rate).filter(|_| left > 0) {
            text.push_str(&format!(
                ", {}/s, {} left",
                size(self.rate),
                duration(seconds)
            ));
        }
        text
    }
}

fn bar(total: u64) -> ProgressBar {
    // The template is checked by a test; without it the bar is only plainer.
    let style = ProgressStyle::with_template(TEMPLATE)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─");
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()).with_style(style)
}

const TEMPLATE: &str = "{bar:24} {wide_msg}";

fn write_line(mut to: impl Write, line: &str) {
    // Whoever read may have closed the pipe; that ends the reading, not the work.
    let _ = writeln!(to, "{line}").and_then(|()| to.flush());
}

/// A message as a sentence of its own.
pub(crate) fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let mut sentence: String = letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// "1 file", "3 files".
pub(crate) fn files(count: u32) -> String {
    match count {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}

/// How somebody is reached, for people; nothing while they are not.
pub(crate) fn route(person: &PersonView) -> Option<String> {
    Some(match person.route? {
        Route::SameNetwork => "on the same network".to_owned(),
        Route::Direct => "straight across the internet".to_owned(),
        Route::Relayed => "through a relay".to_owned(),
        Route::Carried => format!("through {}", through(person).unwrap_or("a friend")),
    })
}

/// The name of who helps somebody through.
pub(crate) fn through(person: &PersonView) -> Option<&str> {
    let friend = person.through.as_ref()?;
    Some(friend.name.as_str()).filter(|name| !name.is_empty())
}

/// A time in the two largest units: "1 min 20 s".
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Bytes a second over a time.
pub(crate) fn rate(bytes: u64, seconds: f64) -> u64 {
    if seconds > 0.0 {
        (bytes as f64 / seconds) as u64
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_a_style() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn events_begin_with_their_name() {
        let json = |event| serde_json::to_string(&event).expect("JSON");
        let event = Event::Peer {
            device: "ab",
            name: "Ana",
            route: Some(Route::SameNetwork),
            through: None,
            state: "complete",
        };
        assert_eq!(
            json(event),
            r#"{"event":"peer","device":"ab","name":"Ana","route":"sameNetwork","state":"complete"}"#
        );
        let event = Event::Peer {
            device: "ab",
            name: "Ana",
            route: Some(Route::Carried),
            through: Some("Mia"),
            state: "connected",
        };
        assert_eq!(
            json(event),
            r#"{"event":"peer","device":"ab","name":"Ana","route":"carried","through":"Mia","state":"connected"}"#
        );
        let event = Event::Error {
            code: ProblemCode::NotAnInvite,
            message: "no",
            remedy: "try",
        };
        assert_eq!(
            json(event),
            r#"{"event":"error","code":"notAnInvite","message":"no","remedy":"try"}"#
        );
    }

    #[test]
    fn times_are_told_in_two_units() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(80), "1 min 20 s");
        assert_eq!(duration(7260), "2 h 1 min");
    }

    #[test]
    fn messages_become_sentences() {
        assert_eq!(sentence("the code is short"), "The code is short.");
        assert_eq!(sentence("Really?"), "Really?");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn a_step_says_how_far_and_how_long() {
        let mut step = Step {
            what: "Received",
            who: Who::Nobody,
            device: None,
            bytes: 1_000_000,
            total: 4_000_000,
            rate: 100_000,
        };
        assert_eq!(
            step.describe(),
            "Received: 25 %, 1.0 MB of 4.0 MB, 100 kB/s, 30 s left"
        );
        step.who = Who::From(&["Ana", "Ben"]);
        assert_eq!(
            step.describe(),
            "Received from Ana and Ben: 25 %, 1.0 MB of 4.0 MB, 100 kB/s, 30 s left"
        );
        step.who = Who::To(&[]);
        assert!(step.describe().starts_with("Received: 25 %"));
    }
}
