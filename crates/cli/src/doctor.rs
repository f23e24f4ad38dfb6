//! `passalong doctor`: says whether others can reach this computer, in green,
//! yellow and red, with one remedy for each thing that gets in the way.

use clap::builder::styling::{AnsiColor, Style};
use passalong_engine::api::Problem;
use passalong_engine::doctor::{self, Finding, FindingLevel};

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
    let findings = tokio::select! {
        findings = doctor::check(&config) => findings,
        () = interrupt.asked() => return Ok(Ended::Interrupted),
    };
    for finding in &findings {
        let event = Event::Finding {
            level: level(finding.level),
            title: &finding.title,
            detail: &finding.detail,
            remedy: finding.remedy.as_deref(),
        };
        output.tell(event, || text(finding));
    }
    Ok(Ended::Done)
}

fn level(level: FindingLevel) -> &'static str {
    match level {
        FindingLevel::Good => "good",
        FindingLevel::Notice => "notice",
        FindingLevel::Bad => "bad",
    }
}

fn text(finding: &Finding) -> String {
    let (mark, color) = match finding.level {
        FindingLevel::Good => ("good", AnsiColor::Green),
        FindingLevel::Notice => ("note", AnsiColor::Yellow),
        FindingLevel::Bad => ("bad", AnsiColor::Red),
    };
    let style = Style::new().bold().fg_color(Some(color.into()));
    let mut text = format!(
        "{style}{mark:>4}{style:#}  {}\n      {}",
        finding.title, finding.detail
    );
    if let Some(remedy) = &finding.remedy {
        text.push_str(&format!("\n      What to do: {remedy}"));
    }
    text
}
