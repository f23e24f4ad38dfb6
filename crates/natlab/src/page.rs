//! Results as tables, and a page of documentation that holds them: what is
//! between `<!-- pairs -->` and `<!-- /pairs -->`, and so on, is replaced. What
//! people wrote around it stays.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use passalong_netns::Failure;

use crate::{capture, pairs, roaming};

/// Writes tables into a page, each between the marks with its name.
pub(crate) fn write(path: &Path, tables: &[(&str, String)]) -> Result<(), Failure> {
    let failed = |error| Failure::io(path.display().to_string(), error);
    let mut page = fs::read_to_string(path).map_err(failed)?;
    for (mark, table) in tables {
        page = replaced(&page, mark, table)?;
    }
    fs::write(path, page).map_err(failed)
}

/// `page` with `text` between the two marks.
fn replaced(page: &str, mark: &str, text: &str) -> Result<String, Failure> {
    let (open, close) = (format!("<!-- {mark} -->"), format!("<!-- /{mark} -->"));
    let parts = page
        .split_once(&open)
        .and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1)));
    let Some((before, after)) = parts else {
        return Err(Failure::Missing(format!(
            "the page has no marks {open} and {close}"
        )));
    };
    Ok(format!(
        "{before}{open}\n{}\n{close}{after}",
        text.trim_end()
    ))
}

/// Which pairs met.
pub(crate) fn pairs(results: &[pairs::Result]) -> String {
    let mut table = "| who shares, who fetches | carrier | help | expected | came of it | connected | all there |\n\
                     | --- | --- | --- | --- | --- | ---: | ---: |\n"
        .to_owned();
    for result in results {
        let cell = result.cell;
        let expected = match cell.must_meet() {
            true => "meet",
            false => "cannot",
        };
        let (came, connected, whole) = match (&result.met, &result.failure) {
            (Some(met), _) => (
                route(&met.route).to_owned(),
                format!("{:.1} s", met.connected),
                format!("{:.1} s", met.whole),
            ),
            (None, Some(failure)) => (
                format!("**failed**: {}", first_line(failure)),
                String::new(),
                String::new(),
            ),
            (None, None) if cell.must_meet() => {
                ("**not met**".to_owned(), String::new(), String::new())
            }
            (None, None) => ("not met".to_owned(), String::new(), String::new()),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} | {expected} | {came} | {connected} | {whole} |",
            cell.pair.words(),
            cell.carrier.words(),
            cell.help.words(),
        );
    }
    table
}

/// How long changes of the network lasted.
pub(crate) fn roaming(results: &[roaming::Result]) -> String {
    let mut table =
        "| what happens | between | carrier | nothing came for |\n| --- | --- | --- | ---: |\n"
            .to_owned();
    for result in results {
        let silence = match (&result.silence, &result.failure) {
            (Some(silence), _) => format!("{silence:.1} s"),
            (None, failure) => {
                let failure = failure.as_deref().unwrap_or_default();
                format!("**failed**: {}", first_line(failure))
            }
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} | {silence} |",
            result.story.words(),
            result.story.pair.words(),
            result.story.carrier.words(),
        );
    }
    table
}

/// What could be read in captures.
pub(crate) fn capture(results: &[capture::Result]) -> String {
    let mut table =
        "| meeting | captured | looked for | found |\n| --- | ---: | ---: | --- |\n".to_owned();
    for result in results {
        let (bytes, forms) = result.searched.unwrap_or_default();
        let found = match &result.failure {
            None => "nothing".to_owned(),
            Some(failure) => format!("**failed**: {}", first_line(failure)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | {:.1} MB | {forms} forms | {found} |",
            result.words,
            bytes as f64 / 1e6,
        );
    }
    table
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A route as the command names it, for people.
fn route(name: &str) -> &str {
    match name {
        "sameNetwork" => "same network",
        "carried" => "through a friend",
        other => other,
    }
}
