//! `passalong doctor`: says whether others can reach this computer, in green,
//! yellow and red, with one remedy for each thing that gets in the way.

use clap::builder::styling::{AnsiColor, Style};
use passalong_engine::api::Problem;
use passalong_engine::doctor::{self, Checkup, Finding, FindingLevel};

use crate::Ended;
use crate::args::Global;
use crate::output::{Event, Output};
use crate::wait::Interrupt;

/// Looks, and tells what was found.
pub(crate) async fn run(
    global: &Global,
    output: &mut Output,
    interrupt: &mut Interrupt,
) -> Result<Ended, Problem> {
    let config = global.config()?;
    output.say("Looking at this computer's network; this takes a few seconds…\n");
    let checkup = tokio::select! {
        checkup = doctor::check(&config) => checkup,
        () = interrupt.asked() => return Ok(Ended::Interrupted),
    };
    let event = Event::Checkup {
        level: checkup.level,
        summary: &checkup.summary,
        cause: checkup.cause,
    };
    output.tell(event, || light(&checkup));
    for finding in &checkup.findings {
        let event = Event::Finding {
            topic: finding.topic,
            level: finding.level,
            title: &finding.title,
            detail: &finding.detail,
            remedy: finding.remedy.as_deref(),
        };
        output.tell(event, || text(finding));
    }
    Ok(Ended::Done)
}

fn style(level: FindingLevel) -> Style {
    let color = match level {
        FindingLevel::Good => AnsiColor::Green,
        FindingLevel::Notice => AnsiColor::Yellow,
        FindingLevel::Bad => AnsiColor::Red,
    };
    Style::new().bold().fg_color(Some(color.into()))
}

fn light(checkup: &Checkup) -> String {
    let style = style(checkup.level);
    let word = match checkup.level {
        FindingLevel::Good => "Green",
        FindingLevel::Notice => "Yellow",
        FindingLevel::Bad => "Red",
    };
    format!("{style}{word}{style:#}  {}\n", checkup.summary)
}

fn text(finding: &Finding) -> String {
    let style = style(finding.level);
    let mark = match finding.level {
        FindingLevel::Good => "good",
        FindingLevel::Notice => "note",
        FindingLevel::Bad => "bad",
    };
    let mut text = format!(
        "{style}{mark:>4}{style:#}  {}\n      {}",
        finding.title, finding.detail
    );
    if let Some(remedy) = &finding.remedy {
        text.push_str(&format!("\n      What to do: {remedy}"));
    }
    text
}
