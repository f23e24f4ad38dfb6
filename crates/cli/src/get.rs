//! `passalong get`: fetches what an invite is for.
//!
//! Files that are unfinished when the command ends are kept, and the next run
//! into the same folder goes on with them. Nothing is written for `--list`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use passalong_engine::api::{
    Carrier, CarrierState, CarrierView, EntryView, Event as Change, Id, Opened, PersonView,
    Presence, Problem, ProblemCode, Progress, Selection, TransferState, TransferView,
};
use passalong_engine::{Engine, size};
use passalong_proto::invite::Invite;
use passalong_proto::knock;
use tokio::time::Instant;

use crate::args::{self, Global};
use crate::by_hand::{self, Typed};
use crate::output::{self, Event, Output, Step, Who};
use crate::people::sources;
use crate::wait::{Events, Interrupt};
use crate::{Ended, only, share};

/// What is told while the other side still reads its files.
const PREPARING: &str = "Read over there";

/// Seconds after a connection broke before it is said that it is waited for.
const LOOKING: u32 = 10;

/// Fetches what `args` names.
pub(crate) async fn run(
    args: args::Get,
    global: &Global,
    output: &mut Output,
    interrupt: &mut Interrupt,
) -> Result<Ended, Problem> {
    let invite = args.invite();
    check(&invite)?;
    let mut config = global.config()?;
    config.stay = Some(args.stay);
    if let Some(to) = &args.to {
        config.download_dir = Some(destination(to)?);
    }
    let engine = Engine::start(config).await?;
    if let Some(told) = engine.told() {
        output.note(told);
    }
    let outcome = fetch(args, &invite, &engine, output, interrupt).await;
    interrupt.shut_down(&engine).await;
    outcome
}

/// Finds typing errors before anything touches the network.
fn check(invite: &str) -> Result<(), Problem> {
    if knock::looks_like_text(invite) {
        return Err(Problem::new(
            ProblemCode::NotAnInvite,
            "This is a reply code, not an invite.",
            "A reply code is pasted by the person who shares the files.",
        ));
    }
    Invite::parse(invite).map(drop).map_err(|error| {
        Problem::new(
            ProblemCode::NotAnInvite,
            output::sentence(&error.to_string()),
            "Check the code with the person who sent it, or copy and paste the whole invite.",
        )
    })
}

/// A folder that is there or can be made in one step.
fn destination(to: &Path) -> Result<PathBuf, Problem> {
    let problem = |what: &str, remedy: &str| {
        Problem::new(
            ProblemCode::Disk,
            format!("{} {what}", to.display()),
            remedy,
        )
    };
    let full = std::path::absolute(to)
        .map_err(|error| problem(&format!("cannot be used: {error}."), "Choose a folder."))?;
    if full.is_dir() {
        return Ok(full);
    }
    if full.exists() {
        return Err(problem("is not a folder.", "Choose a folder."));
    }
    match full.parent() {
        Some(parent) if parent.is_dir() => Ok(full),
        _ => Err(problem(
            "does not exist, nor does the folder it would be in.",
            "Check the name, or whether a drive was unplugged, and try again.",
        )),
    }
}

async fn fetch(
    args: args::Get,
    invite: &str,
    engine: &Engine,
    output: &mut Output,
    interrupt: &mut Interrupt,
) -> Result<Ended, Problem> {
    let id = match engine.open(invite).await? {
        Opened::Transfer { id } => id,
        Opened::Reply { .. } | Opened::Answer { .. } => {
            return Err(Problem::new(
                ProblemCode::NotAnInvite,
                "This is not an invite.",
                "Ask the person for the invite itself.",
            ));
        }
    };
    let mut events = Events::of(engine).await;
    let patience = args.patience();
    let mut fetching = Fetching {
        engine,
        args,
        id,
        decided: false,
        from: None,
        met: false,
        waiting: false,
        peers: HashMap::new(),
        counted: false,
        carriers: Vec::new(),
        alone_since: Some(Instant::now()),
        staying: false,
        said: "",
    };
    output.say("Looking for the person who shares this…");
    let mut typed = Typed::when(fetching.args.by_hand);
    if fetching.args.by_hand {
        by_hand::offer_reply(engine, &fetching.id, output).await;
    }
    loop {
        let given_up = match (fetching.alone_since, patience) {
            (Some(since), Some(patience)) => Some((since + patience, patience)),
            _ => None,
        };
        let event = tokio::select! {
            event = events.next() => event,
            code = typed.code() => {
                by_hand::take(engine, code, output).await;
                continue;
            }
            patience = run_out(given_up) => return Err(fetching.nobody(patience)),
            () = interrupt.asked() => {
                output.clear();
                output.say(fetching.interrupted());
                return Ok(Ended::Interrupted);
            }
        };
        match event {
            Change::Transfer { transfer } if transfer.id == fetching.id => {
                if let Some(outcome) = fetching.look(transfer, output).await {
                    output.clear();
                    return outcome;
                }
            }
            Change::File { id, path, bytes } if id == fetching.id => {
                output.event(Event::File { path: &path, bytes });
            }
            _ => {}
        }
    }
}

/// Waits until patience has run out, and says how long it was.
async fn run_out(deadline: Option<(Instant, Duration)>) -> Duration {
    match deadline {
        Some((deadline, patience)) => {
            tokio::time::sleep_until(deadline).await;
            patience
        }
        None => std::future::pending().await,
    }
}

struct Fetching<'a> {
    engine: &'a Engine,
    args: args::Get,
    id: Id,
    /// The offer was accepted or declined.
    decided: bool,
    /// The name of whoever shares, once met, also by an earlier run.
    from: Option<String>,
    /// Somebody was connected in this run.
    met: bool,
    /// It was told that nobody is online.
    waiting: bool,
    /// How the others were told of last, by device.
    peers: HashMap<String, &'static str>,
    /// It was told what is here already.
    counted: bool,
    carriers: Vec<CarrierView>,
    /// Since when nobody is connected.
    alone_since: Option<Instant>,
    /// Everything is here and passed along.
    staying: bool,
    /// The last line about waiting, told once.
    said: &'static str,
}

type Outcome = Result<Ended, Problem>;

impl Fetching<'_> {
    /// Takes in how the transfer stands; says how the command ends if it does.
    async fn look(&mut self, transfer: TransferView, output: &mut Output) -> Option<Outcome> {
        self.peers(&transfer, output);
        if self.staying {
            return self.stay(&transfer, output);
        }
        self.alone(&transfer);
        match &transfer.state {
            TransferState::Connecting { .. } => None,
            TransferState::Waiting { .. } => {
                self.wait("starts", output);
                None
            }
            TransferState::Preparing {
                done_bytes,
                total_bytes,
            } => {
                if *total_bytes > 0 {
                    self.once(output, "The files are still being read over there…");
                    output.show(Step {
                        what: PREPARING,
                        who: Who::Nobody,
                        device: None,
                        bytes: *done_bytes,
                        total: *total_bytes,
                        rate: 0,
                    });
                }
                None
            }
            TransferState::Offered if !self.decided => {
                self.decided = true;
                output.finish(PREPARING);
                self.offered(&transfer, output)
                    .await
                    .err()
                    .map(Err)
                    .or_else(|| self.args.list.then_some(Ok(Ended::Done)))
            }
            TransferState::Offered | TransferState::Declined | TransferState::Cancelled => None,
            TransferState::Checking { .. } => {
                self.once(output, "Checking what is here already…");
                None
            }
            TransferState::Receiving { progress } => {
                self.said = "";
                self.count(progress, output);
                receiving(progress, &transfer.people, output);
                None
            }
            TransferState::Paused { progress } => {
                receiving(progress, &transfer.people, output);
                self.once(output, "Paused.");
                None
            }
            TransferState::Stalled {
                progress, seconds, ..
            } => {
                receiving(progress, &transfer.people, output);
                if transfer.route.is_some() {
                    self.once(output, "Nothing comes at the moment; waiting…");
                } else if *seconds >= LOOKING {
                    self.wait("goes on", output);
                } else {
                    self.once(output, "The connection is gone; trying to get it back…");
                }
                None
            }
            TransferState::Done {
                files,
                bytes,
                already_here,
                seconds,
            } => {
                output.clear();
                let dir = &transfer.destination.path;
                let event = Event::Complete {
                    bytes: *bytes,
                    seconds: *seconds,
                    dir: Some(dir),
                    device: None,
                };
                output.tell(event, || {
                    let here = match already_here {
                        0 => String::new(),
                        here => format!(" ({here} of {files} already here)"),
                    };
                    format!(
                        "Done: {}{here}, {} in {seconds:.1} s, in {dir}.",
                        output::files(*files),
                        size(*bytes)
                    )
                });
                self.done(&transfer, output)
            }
            TransferState::Failed { problem, .. } => Some(Err(problem.clone())),
        }
    }

    fn alone(&mut self, transfer: &TransferView) {
        match &transfer.state {
            TransferState::Connecting { carriers, .. }
            | TransferState::Waiting { carriers, .. }
            | TransferState::Stalled { carriers, .. }
                if transfer.route.is_none() =>
            {
                self.carriers = carriers.clone();
                self.alone_since.get_or_insert_with(Instant::now);
            }
            TransferState::Checking { .. } => self.alone_since = None,
            _ if transfer.route.is_some() => self.alone_since = None,
            _ => {
                self.alone_since.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Tells once, until somebody is there, that nobody is, and what it then does by itself.
    fn wait(&mut self, does: &str, output: &Output) {
        if std::mem::replace(&mut self.waiting, true) {
            return;
        }
        let from = self.from.as_deref();
        output.tell(Event::Waiting { r#for: from }, || {
            format!(
                "Waiting for {}: {does} by itself.",
                from.unwrap_or("somebody who has it")
            )
        });
    }

    /// Tells who came and who went.
    fn peers(&mut self, transfer: &TransferView, output: &Output) {
        if let Some(from) = &transfer.from {
            self.from = Some(from.name.clone());
        }
        let preparing = matches!(
            &transfer.state,
            TransferState::Preparing { total_bytes, .. } if *total_bytes > 0
        );
        for person in &transfer.people {
            let device = &person.device;
            let before = self.peers.get(&device.id).copied();
            let state = match person.presence {
                Presence::Connected if preparing => "preparing",
                Presence::Connected => "connected",
                Presence::Known | Presence::Gone if before.is_some() => "lost",
                Presence::Known | Presence::Gone => continue,
            };
            if before == Some(state) {
                continue;
            }
            self.peers.insert(device.id.clone(), state);
            (self.met, self.waiting) = (true, false);
            output.event(Event::Peer {
                device: &device.id,
                name: &device.name,
                route: person.route,
                through: output::through(person),
                state,
            });
            let is_new = before.is_none_or(|before| before == "lost");
            if let Some(route) = output::route(person).filter(|_| is_new) {
                output.say(&format!("Connected to {}, {route}.", device.name));
            }
        }
    }

    /// Tells once what is here before anything is fetched.
    fn count(&mut self, progress: &Progress, output: &Output) {
        if !self.counted {
            self.counted = true;
            let Progress {
                files, files_total, ..
            } = progress;
            if *files > 0 {
                output.say(&format!("{files} of {files_total} already here."));
            }
        }
    }

    /// Says a line about waiting, if it is not the last one said.
    fn once(&mut self, output: &Output, line: &'static str) {
        if self.said != line {
            self.said = line;
            output.say(line);
        }
    }

    /// Shows the list, then chooses from it.
    async fn offered(&mut self, transfer: &TransferView, output: &Output) -> Result<(), Problem> {
        let name = transfer.name.as_deref().unwrap_or("Files");
        let event = Event::Manifest {
            name,
            files: transfer.files,
            bytes: transfer.bytes,
        };
        output.tell(event, || {
            format!(
                "“{name}”: {}, {}",
                output::files(transfer.files),
                size(transfer.bytes)
            )
        });
        let entries = match self.args.list || !self.args.only.is_empty() {
            true => self.engine.entries(&self.id).await?,
            false => Vec::new(),
        };
        let chosen = match self.args.only.is_empty() {
            true => None,
            false => Some(only::choose(&entries, &self.args.only)),
        };
        if self.args.list {
            let chosen: Option<HashSet<u32>> = chosen.clone().map(HashSet::from_iter);
            list(&entries, chosen.as_ref(), output);
        }
        let nothing = chosen.as_ref().is_some_and(Vec::is_empty);
        if self.args.list || nothing {
            self.engine.decline(&self.id).await?;
        }
        if nothing {
            return Err(Problem::new(
                ProblemCode::Usage,
                "Nothing in this share matches --only.",
                "See with --list what is in it.",
            ));
        }
        if self.args.list {
            return Ok(());
        }
        if let Some(to) = &self.args.to {
            make(to)?;
        }
        let selection = match chosen {
            Some(entries) => Selection::Only { entries },
            None => Selection::All,
        };
        self.engine.accept(&self.id, selection).await
    }

    /// Everything asked for is here, as far as it could be sent.
    fn done(&mut self, transfer: &TransferView, output: &Output) -> Option<Outcome> {
        for problem in &transfer.problems {
            output.note(&format!("Not sent: {}: {}.", problem.path, problem.reason));
        }
        if let Some(first) = transfer.problems.first() {
            let message = match transfer.problems.len() {
                1 => format!("{} could not be sent: {}.", first.path, first.reason),
                count => format!("{count} files could not be sent."),
            };
            let remedy = "Everything else is here. Ask the person to share these again.";
            return Some(Err(Problem::new(ProblemCode::Disk, message, remedy)));
        }
        if !self.args.stay {
            return Some(Ok(Ended::Done));
        }
        if !transfer.passing_on {
            output.say("It was shared with you alone, so it is not passed along.");
            return Some(Ok(Ended::Done));
        }
        self.staying = true;
        self.alone_since = None;
        output.say("Passing it along to anyone with the invite, until you press Ctrl-C.");
        None
    }

    /// Everything is here and passed along; says how that ends if it does.
    fn stay(&mut self, transfer: &TransferView, output: &mut Output) -> Option<Outcome> {
        if transfer.passing_on {
            let name = transfer.name.as_deref().unwrap_or("Files");
            share::sending(name, &transfer.people, output);
            return None;
        }
        if transfer.stopped {
            output.clear();
            output.say("The sharer stopped it, so it is not passed along any more. What is here stays yours.");
            return Some(Ok(Ended::Done));
        }
        Some(Err(Problem::new(
            ProblemCode::Disk,
            "Some of the files are not here as they came any more, so they are not passed along.",
            "Run the same command again to fetch what is missing.",
        )))
    }

    fn interrupted(&self) -> &'static str {
        match (self.staying, self.decided) {
            (true, _) => "Ended.",
            (false, true) => "Ended. What is here is kept; the same command goes on with it.",
            (false, false) => "Ended. Nothing was fetched.",
        }
    }

    fn nobody(&self, patience: Duration) -> Problem {
        let seconds = patience.as_secs();
        match &self.from {
            Some(from) if self.met => Problem::new(
                ProblemCode::Unreachable,
                format!(
                    "The connection to {from} was lost and did not come back within {seconds} s."
                ),
                match self.decided {
                    true => "What is here is kept: run the same command again to go on.",
                    false => "Run the same command again when they are back.",
                },
            ),
            _ => Problem::new(
                ProblemCode::Unreachable,
                format!("Nobody answered within {seconds} s. {}", self.tried()),
                "Check that Passalong is open at the other end, and use the whole link rather \
                 than the code. With get --wait it starts by itself when somebody is there. \
                 Where no way leads there, get --by-hand gives a reply code to send to them; \
                 passalong doctor says more.",
            ),
        }
    }

    fn tried(&self) -> String {
        let of = |carrier: Carrier| {
            let found = self.carriers.iter().find(|view| view.carrier == carrier);
            found.map_or(CarrierState::Unavailable, |view| view.state)
        };
        let answered = self
            .carriers
            .iter()
            .any(|view| view.state == CarrierState::Answered);
        if answered {
            return "Somebody answered the knock, but no connection could be made.".to_owned();
        }
        let addresses = match of(Carrier::Addresses) {
            CarrierState::Unavailable => "The invite holds no addresses",
            _ => "The addresses in the invite were tried",
        };
        let lan = match of(Carrier::Lan) {
            CarrierState::Unavailable => "the local network was not searched",
            _ => "the local network was searched",
        };
        let dht = match of(Carrier::Dht) {
            CarrierState::Unavailable => "the DHT could not be reached or is off",
            _ => "the DHT was searched",
        };
        format!("{addresses}, {lan}, and {dht}.")
    }
}

fn receiving(progress: &Progress, people: &[PersonView], output: &mut Output) {
    output.progress(Step {
        what: "Received",
        who: Who::From(&sources(people)),
        device: None,
        bytes: progress.bytes,
        total: progress.total,
        rate: progress.rate,
    });
}

fn make(folder: &Path) -> Result<(), Problem> {
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::create_dir(folder).map_err(|error| {
        Problem::new(
            ProblemCode::Disk,
            format!("{} could not be made: {error}.", folder.display()),
            "Choose another folder.",
        )
    })
}

fn list(entries: &[EntryView], chosen: Option<&HashSet<u32>>, output: &Output) {
    for entry in entries {
        if chosen.is_some_and(|chosen| !chosen.contains(&entry.index)) {
            continue;
        }
        if entry.folder {
            output.say(&format!("{:>10}  {}/", "", entry.path));
        } else {
            let event = Event::File {
                path: &entry.path,
                bytes: entry.size,
            };
            output.tell(event, || {
                format!("{:>10}  {}", size(entry.size), entry.path)
            });
        }
    }
}
