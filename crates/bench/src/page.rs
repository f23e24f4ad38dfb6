//! The tables and plots of a page of documentation, made from results: what is
//! between `<!-- roads -->` and `<!-- /roads -->`, and so on, is replaced.
//! What people wrote around it stays.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use passalong_netns::Failure;

use crate::args;
use crate::bars::{Bar, Bars};
use crate::results::{Group, Kind, Machine, Results};
use crate::roads::{ROADS, Road};
use crate::table;

/// Bytes a second in a megabit a second.
const MEGABIT: f64 = 1e6 / 8.0;

/// Writes the page and its plots.
pub(crate) fn run(args: &args::Page) -> Result<(), Failure> {
    let roads = Results::read(&args.roads)?;
    let here = Results::read(&args.here)?;
    let failed = |path: &Path, error| Failure::io(path.display().to_string(), error);
    fs::create_dir_all(&args.pictures).map_err(|error| failed(&args.pictures, error))?;
    for road in ROADS {
        let svg = plot(&roads, &road);
        if let Some(svg) = svg {
            let path = args.pictures.join(format!("bench-{}.svg", road.name));
            fs::write(&path, svg).map_err(|error| failed(&path, error))?;
        }
    }
    let mut page = fs::read_to_string(&args.page).map_err(|error| failed(&args.page, error))?;
    for (mark, text) in [
        ("machine", machine(&roads.machine, &roads.programs)),
        ("kinds-of-road", kinds_of_road()),
        ("roads", speeds(&roads)),
        ("ratios", ratios(&roads)),
        ("costs", costs(&roads)),
        ("here", speeds(&here)),
        ("here-costs", costs(&here)),
    ] {
        page = replaced(&page, mark, &text)?;
    }
    fs::write(&args.page, page).map_err(|error| failed(&args.page, error))
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

fn machine(machine: &Machine, programs: &[String]) -> String {
    format!(
        "{} cores ({}), {:.0} GB of memory, {}; {}.",
        machine.cores,
        machine.processor,
        machine.memory_bytes as f64 / 1e9,
        machine.kernel,
        programs.join(", ")
    )
}

fn kinds_of_road() -> String {
    let mut text = "| road | what it is like | one file | with a program that losses slow down |\n\
                    | --- | --- | ---: | ---: |\n"
        .to_owned();
    for road in ROADS {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} MB | {} MB |",
            road.name,
            road.described(),
            road.bytes / 1_000_000,
            road.bytes_if_slowed / 1_000_000
        );
    }
    text
}

/// Speeds with their spread.
fn speeds(results: &Results) -> String {
    let mut text = "| road | what | program | median | least to most | runs | first byte after |\n\
                    | --- | --- | --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for group in &results.groups() {
        let first = group.first();
        let (speed, spread) = table::speed(group);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {speed} | {spread} | {} | {} |",
            first.road,
            first.load.words(),
            first.program,
            group.repeats(),
            table::first_byte(group)
        );
    }
    text
}

/// What each side takes.
fn costs(results: &Results) -> String {
    let mut text = "| road | what | program | CPU seconds per GB, sender / receiver | most memory in MB, sender / receiver |\n\
                    | --- | --- | --- | ---: | ---: |\n"
        .to_owned();
    for group in &results.groups() {
        let first = group.first();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            first.road,
            first.load.words(),
            first.program,
            table::cpu(group),
            table::memory(group)
        );
    }
    text
}

/// How many times as fast as each of the others `passalong` and its data
/// channel alone are, by medians.
fn ratios(results: &Results) -> String {
    let groups = results.groups();
    let mut text =
        "| road | what | program | against sendme | against TCP cubic | against TCP BBR |\n\
                    | --- | --- | --- | ---: | ---: | ---: |\n"
            .to_owned();
    for group in groups
        .iter()
        .filter(|group| group.first().program.starts_with("passalong"))
    {
        let first = group.first();
        // From memory to memory, TCP on the loopback is no yardstick for disks.
        let emulated = Road::named(&first.road).is_some_and(|road| road.quality.is_some());
        let against = |program: &str| {
            let same = |other: &&Group<'_>| {
                let other = other.first();
                other.road == first.road && other.load == first.load && other.program == program
            };
            let other = groups.iter().find(same).and_then(Group::rate);
            match (group.rate(), other) {
                (Some(_), Some(_)) if !emulated && program.starts_with("TCP") => String::new(),
                (Some(own), Some(other)) => format!("{:.2} ×", own.median / other.median),
                _ => String::new(),
            }
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            first.road,
            first.load.words(),
            first.program,
            against("sendme"),
            against("TCP cubic"),
            against("TCP BBR")
        );
    }
    text
}

/// Bars of one file over a road, or `None` if that was not measured.
fn plot(results: &Results, road: &Road) -> Option<String> {
    let here = road.quality.is_none();
    let (unit, name) = if here {
        (1e6, "MB/s")
    } else {
        (MEGABIT, "Mbit/s")
    };
    let groups = results.groups();
    // There, TCP would dwarf everything else.
    let shown = |group: &&Group<'_>| {
        let first = group.first();
        first.road == road.name
            && first.load == Kind::File
            && !(here && first.program.starts_with("TCP"))
    };
    let bars: Vec<Bar> = groups
        .iter()
        .filter(shown)
        .filter_map(|group| {
            let rate = group.rate()?;
            Some(Bar {
                name: group.first().program.clone(),
                own: group.first().program.starts_with("passalong"),
                median: rate.median / unit,
                least: rate.least / unit,
                most: rate.most / unit,
            })
        })
        .collect();
    let limit = road.quality.map(|quality| quality.rate as f64 / 8.0 / unit);
    let bars = Bars {
        title: format!("{}: {}", road.name, road.described()),
        unit: name.to_owned(),
        limit,
        bars,
    };
    (!bars.bars.is_empty()).then(|| bars.svg())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Cost, Run};

    fn results() -> Results {
        let run = |road: &str, program: &str, seconds| Run {
            road: road.to_owned(),
            program: program.to_owned(),
            bytes: 25_000_000,
            files: 1,
            seconds,
            whole: true,
            ..Run::default()
        };
        Results {
            runs: vec![
                run("wan", "TCP BBR", 1.25),
                run("wan", "passalong", 1.0),
                run("wan", "sendme", 20.0),
                run("loopback", "passalong", 0.1),
            ],
            ..Results::default()
        }
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = "# A\n<!-- x -->\nold\n<!-- /x -->\nB\n";
        let once = replaced(page, "x", "new\n").expect("marks");
        assert_eq!(once, "# A\n<!-- x -->\nnew\n<!-- /x -->\nB\n");
        assert_eq!(replaced(&once, "x", "new").expect("marks"), once);
        assert!(replaced(page, "y", "new").is_err());
    }

    #[test]
    fn ratios_are_those_of_the_medians_on_the_same_road() {
        let text = ratios(&results());
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| wan | one file | passalong | 20.00 × |  | 1.25 × |",
                "| loopback | one file | passalong |  |  |  |",
            ]
        );
        assert!(
            speeds(&results())
                .contains("| wan | one file | passalong | 200.0 Mbit/s | 200.0–200.0 | 1 |")
        );
    }

    #[test]
    fn idle_shares_have_a_row_each_without_the_dht_and_in_it() {
        let run = |load, cpu_seconds, seconds| Run {
            road: "loopback".to_owned(),
            load,
            program: "passalong".to_owned(),
            files: 10,
            seconds,
            whole: true,
            sender: Some(Cost {
                cpu_seconds,
                peak_bytes: Some(20_000_000),
            }),
            ..Run::default()
        };
        let results = Results {
            runs: vec![
                run(Kind::IdleInDht, 0.48, 120.0),
                run(Kind::Idle, 0.03, 30.0),
            ],
            ..Results::default()
        };
        let rows = |text: String| text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            rows(speeds(&results)),
            [
                "| loopback | ten idle shares | passalong | 0.10 % of a core | 0.10–0.10 | 1 |  |",
                "| loopback | ten idle shares in the DHT | passalong | 0.40 % of a core | 0.40–0.40 | 1 |  |",
            ]
        );
        assert_eq!(
            rows(costs(&results))[1],
            "| loopback | ten idle shares in the DHT | passalong |  | 20 |"
        );
    }

    #[test]
    fn a_road_that_was_measured_has_a_plot() {
        let wan = Road::named("wan").expect("a road");
        let svg = plot(&results(), &wan).expect("a plot");
        assert!(svg.contains("TCP BBR") && svg.contains("Mbit/s"));
        let far = Road::named("far").expect("a road");
        assert!(plot(&results(), &far).is_none());
    }
}
