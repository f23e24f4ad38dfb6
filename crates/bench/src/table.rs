//! Results as a table for a terminal.

use std::fmt::Write;

use crate::results::{Group, Kind, Results, Spread};

const MEGA: f64 = 1e6;

/// One line for each group.
pub(crate) fn table(results: &Results) -> String {
    let mut rows = vec![
        [
            "road",
            "what",
            "program",
            "speed",
            "",
            "first byte",
            "CPU s/GB",
            "memory MB",
        ]
        .map(str::to_owned),
    ];
    let groups = results.groups();
    rows.extend(groups.iter().map(row));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(group: &Group<'_>) -> [String; 8] {
    let first = group.first();
    let (speed, spread) = speed(group);
    [
        first.road.clone(),
        first.load.words().to_owned(),
        first.program.clone(),
        speed,
        spread,
        first_byte(group),
        cpu(group),
        memory(group),
    ]
}

/// The median with its unit, and the ends.
pub(crate) fn speed(group: &Group<'_>) -> (String, String) {
    let first = group.first();
    let unfinished = if group.whole() { "" } else { " (not whole)" };
    if matches!(first.load, Kind::Idle | Kind::IdleInDht) {
        let share = group.spread(|run| {
            let cpu = run.sender?.cpu_seconds;
            (run.seconds > 0.0).then(|| cpu / run.seconds * 100.0)
        });
        return told(share, 1.0, 2, " % of a core", unfinished);
    }
    if first.load == Kind::Early {
        return told(
            group.spread(|run| Some(run.seconds)),
            1.0,
            1,
            " s to the first byte",
            "",
        );
    }
    match first.road.as_str() {
        "loopback" if matches!(first.load, Kind::SmallFiles | Kind::ManyFiles) => {
            let files = group.spread(|run| Some(f64::from(run.files) / run.seconds));
            told(files, 1.0, 0, " files/s", unfinished)
        }
        "loopback" => told(group.rate(), MEGA, 0, " MB/s", unfinished),
        _ => told(group.rate(), MEGA / 8.0, 1, " Mbit/s", unfinished),
    }
}

/// The median time to the first byte.
pub(crate) fn first_byte(group: &Group<'_>) -> String {
    let time = group.spread(|run| run.first_byte_seconds);
    time.map_or_else(String::new, |time| format!("{:.1} s", time.median))
}

/// Processor seconds for a gigabyte, of the sender and the receiver.
pub(crate) fn cpu(group: &Group<'_>) -> String {
    let load = group.first().load;
    if matches!(load, Kind::Idle | Kind::IdleInDht | Kind::Early) {
        return String::new();
    }
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let sender = group.spread(|run| Some(run.sender?.cpu_seconds / gigabytes(run.bytes)));
    let receiver = group.spread(|run| Some(run.receiver?.cpu_seconds / gigabytes(run.bytes)));
    both(sender, receiver, 1.0, 1)
}

/// The most memory, of the sender and the receiver.
pub(crate) fn memory(group: &Group<'_>) -> String {
    let sender = group.spread(|run| Some(run.sender?.peak_bytes? as f64));
    let receiver = group.spread(|run| Some(run.receiver?.peak_bytes? as f64));
    both(sender, receiver, MEGA, 0)
}

fn both(sender: Option<Spread>, receiver: Option<Spread>, unit: f64, digits: usize) -> String {
    let tell = |spread: Option<Spread>| {
        spread.map_or_else(
            || "–".to_owned(),
            |spread| format!("{:.digits$}", spread.median / unit),
        )
    };
    match (sender, receiver) {
        (None, None) => String::new(),
        (sender, None) => tell(sender),
        (sender, receiver) => format!("{} / {}", tell(sender), tell(receiver)),
    }
}

fn told(
    spread: Option<Spread>,
    unit: f64,
    digits: usize,
    name: &str,
    unfinished: &str,
) -> (String, String) {
    let Some(spread) = spread else {
        return (String::new(), String::new());
    };
    let [median, least, most] =
        [spread.median, spread.least, spread.most].map(|value| value / unit);
    (
        format!("{median:.digits$}{name}{unfinished}"),
        format!("{least:.digits$}–{most:.digits$}"),
    )
}
