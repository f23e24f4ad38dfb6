//! `passalong share`: offers files until Ctrl-C, or until the one person has
//! them.
//!
//! Only what was named on the command line is watched and told; without paths,
//! everything that the data folder offered before.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use passalong_engine::api::{
    Audience, Event as Change, Id, PersonState, PersonView, Problem, ProblemCode, Route,
    ShareState, ShareView, SkippedView,
};
use passalong_engine::{Engine, size};

use crate::Ended;
use crate::args::{self, Global};
use crate::by_hand::{self, Typed};
use crate::output::{self, Event, Output, Step, Who};
use crate::people::Sending;
use crate::wait::{Events, Interrupt};

/// Offers what `args` names.
pub(crate) async fn run(
    args: args::Share,
    global: &Global,
    output: &mut Output,
    interrupt: &mut Interrupt,
) -> Result<Ended, Problem> {
    let engine = Engine::start(global.config()?).await?;
    if let Some(told) = engine.told() {
        output.note(told);
    }
    let outcome = offer(args, &engine, output, interrupt).await;
    interrupt.shut_down(&engine).await;
    outcome
}

async fn offer(
    args: args::Share,
    engine: &Engine,
    output: &mut Output,
    interrupt: &mut Interrupt,
) -> Result<Ended, Problem> {
    let kept = kept(engine).await;
    let watched: HashSet<Id> = if args.paths.is_empty() {
        if kept.is_empty() {
            return Err(nothing_kept());
        }
        if args.once {
            for id in &kept {
                engine.set_audience(id, Audience::OnePerson).await?;
            }
        }
        kept.into_iter().collect()
    } else {
        let audience = match args.once {
            true => Audience::OnePerson,
            false => Audience::Anyone,
        };
        let id = engine.share(args.paths, args.name, audience).await?;
        match kept.iter().filter(|kept| **kept != id).count() {
            0 => {}
            1 => output.say("One earlier share of this data folder is offered as well."),
            more => output.say(&format!(
                "{more} earlier shares of this data folder are offered as well."
            )),
        }
        HashSet::from([id])
    };
    let mut events = Events::of(engine).await;
    let mut shares: HashMap<Id, Watched> = HashMap::new();
    let mut typed = Typed::when(args.by_hand);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            code = typed.code() => {
                by_hand::take(engine, code, output).await;
                continue;
            }
            () = interrupt.asked() => {
                output.clear();
                output.say("Ended. The same command offers it again under the same invite.");
                return Ok(Ended::Interrupted);
            }
        };
        let Change::Share { share } = event else {
            continue;
        };
        if !watched.contains(&share.id) {
            continue;
        }
        let name = share.name.clone();
        let known = shares.entry(share.id.clone()).or_default();
        let ended = known.look(share, output);
        if let Some(Err(problem)) = ended
            && watched.len() > 1
        {
            output.note(&format!("“{name}” is not offered: {}", problem.message));
        }
        let all = || shares.values().filter_map(|watched| watched.over.as_ref());
        if all().count() == watched.len() {
            let failed = all().find_map(|over| over.clone().err());
            return failed.map_or(Ok(Ended::Done), Err);
        }
    }
}

/// The shares that this data folder offered before and has not stopped.
async fn kept(engine: &Engine) -> Vec<Id> {
    let shares = engine.snapshot().await.shares;
    let open =
        |share: &ShareView| !matches!(share.state, ShareState::Stopped | ShareState::Delivered);
    shares.into_iter().filter(open).map(|s| s.id).collect()
}

fn nothing_kept() -> Problem {
    Problem::new(
        ProblemCode::Usage,
        "Nothing was offered from this data folder before.",
        "Name the files or folders to share: passalong share PATH...",
    )
}

/// A share as it was last told.
#[derive(Default)]
struct Watched {
    /// The link as it was last told.
    link: Option<String>,
    listed: bool,
    hashing: Option<(Instant, u64)>,
    skipped: Vec<SkippedView>,
    skipped_total: u32,
    people: HashMap<String, Seen>,
    /// How it ended, if it did.
    over: Option<Result<(), Problem>>,
}

struct Seen {
    state: PersonState,
    route: Option<Route>,
    accepted: Option<Instant>,
}

impl Watched {
    /// Takes in how the share stands; says how it ended if it just did.
    fn look(&mut self, share: ShareView, output: &mut Output) -> Option<&Result<(), Problem>> {
        if self.over.is_some() {
            return None;
        }
        if self.link.as_ref() != Some(&share.link) {
            let before = self.link.replace(share.link.clone());
            let (code, link) = (&share.code, &share.link);
            output.tell(Event::Invite { code, link }, || match before {
                None => invite(&share),
                Some(_) => {
                    format!("\nOther addresses lead here now; the link with them:\n\n{link}\n")
                }
            });
        }
        if let ShareState::Preparing {
            done_bytes,
            total_bytes,
        } = share.state
            && total_bytes > 0
        {
            self.hashing(&share.name, done_bytes, total_bytes, output);
        }
        self.left_out(&share, output);
        if share.state == ShareState::Ready && !self.listed {
            self.listed = true;
            output.finish(&preparing(&share.name));
            let event = Event::Manifest {
                name: &share.name,
                files: share.files,
                bytes: share.bytes,
            };
            output.tell(event, || ready(&share));
        }
        for person in &share.people {
            self.person(person, output);
        }
        sending(&share.name, &share.people, output);
        self.over = match share.state {
            ShareState::Delivered => {
                output.say(&format!("Delivered: “{}” is offered no more.", share.name));
                Some(Ok(()))
            }
            ShareState::Stopped => Some(Ok(())),
            ShareState::Failed { problem } => {
                output.finish(&preparing(&share.name));
                Some(Err(problem))
            }
            ShareState::Preparing { .. } | ShareState::Ready => None,
        };
        self.over.as_ref()
    }

    fn hashing(&mut self, name: &str, bytes: u64, total: u64, output: &mut Output) {
        let (since, before) = *self.hashing.get_or_insert((Instant::now(), bytes));
        let what = preparing(name);
        output.progress(Step {
            what: &what,
            who: Who::Nobody,
            device: None,
            bytes,
            total,
            rate: output::rate(bytes.saturating_sub(before), since.elapsed().as_secs_f64()),
        });
    }

    fn left_out(&mut self, share: &ShareView, output: &Output) {
        for skipped in &share.skipped {
            if !self.skipped.contains(skipped) {
                output.note(&format!("Left out: {}: {}.", skipped.path, skipped.reason));
                self.skipped.push(skipped.clone());
            }
        }
        let unnamed = share.skipped_total as usize - share.skipped.len();
        if share.skipped_total > self.skipped_total && unnamed > 0 {
            output.note(&format!("{unnamed} more were left out."));
        }
        self.skipped_total = share.skipped_total;
    }

    fn person(&mut self, person: &PersonView, output: &mut Output) {
        let id = &person.device.id;
        let seen = self.people.entry(id.clone()).or_insert(Seen {
            state: PersonState::Lost,
            route: None,
            accepted: None,
        });
        let before = seen.state;
        if person.state != before || person.route != seen.route {
            seen.state = person.state;
            seen.route = person.route;
            let event = Event::Peer {
                device: id,
                name: &person.device.name,
                route: person.route,
                through: output::through(person),
                state: state_name(person.state),
            };
            output.event(event);
            if person.state != before
                && let Some(text) = state_text(person)
            {
                output.say(&text);
            }
        }
        if person.state == PersonState::Receiving {
            seen.accepted.get_or_insert_with(Instant::now);
            output.report(Step {
                what: &person.device.name,
                who: Who::Nobody,
                device: Some(id),
                bytes: person.bytes,
                total: person.total,
                rate: person.rate,
            });
        } else {
            output.finish(id);
        }
        if person.state == PersonState::Complete && before != PersonState::Complete {
            let since = seen.accepted.take();
            output.event(Event::Complete {
                bytes: person.total,
                seconds: since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
                dir: None,
                device: Some(id),
            });
        }
    }
}

/// Shows how far those are who are receiving, all together.
pub(crate) fn sending(name: &str, people: &[PersonView], output: &mut Output) {
    let what = format!("“{name}”");
    let sending = Sending::to(people);
    if sending.to.is_empty() {
        return output.finish(&what);
    }
    output.show(Step {
        what: &what,
        who: Who::To(&sending.to),
        device: None,
        bytes: sending.bytes,
        total: sending.total,
        rate: sending.rate,
    });
}

fn preparing(name: &str) -> String {
    format!("Preparing “{name}”")
}

fn invite(share: &ShareView) -> String {
    format!(
        "\nInvite to “{}”:\n\n    \x1b[1m{}\x1b[0m\n\n{}\n",
        share.name, share.code, share.link
    )
}

fn ready(share: &ShareView) -> String {
    let whom = match share.audience {
        Audience::Anyone => "Anyone with the invite can get them until you press Ctrl-C.",
        Audience::OnePerson => "One person can get them; then this ends.",
    };
    format!(
        "Ready: {}, {}. {whom}",
        output::files(share.files),
        size(share.bytes)
    )
}

/// What scripts read; the same words as in the window's events.
fn state_name(state: PersonState) -> &'static str {
    match state {
        PersonState::Connecting => "connecting",
        PersonState::Choosing => "choosing",
        PersonState::Receiving => "receiving",
        PersonState::Waiting => "waiting",
        PersonState::Complete => "complete",
        PersonState::Declined => "declined",
        PersonState::Cancelled => "cancelled",
        PersonState::Lost => "lost",
    }
}

fn state_text(person: &PersonView) -> Option<String> {
    let name = &person.device.name;
    let total = size(person.total);
    Some(match person.state {
        PersonState::Connecting => return None,
        PersonState::Choosing => match output::route(person) {
            Some(route) => format!("{name} is here, {route}."),
            None => format!("{name} is here."),
        },
        PersonState::Receiving => format!("{name} is getting {total}."),
        PersonState::Waiting => format!("{name} waits for a turn."),
        PersonState::Complete => format!("{name} has everything: {total}."),
        PersonState::Declined => format!("{name} declined."),
        PersonState::Cancelled => format!("{name} cancelled."),
        PersonState::Lost => format!("The connection to {name} is gone; they may come back."),
    })
}
