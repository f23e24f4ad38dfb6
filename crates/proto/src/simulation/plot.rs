//! A plot with logarithmic axes as SVG text, readable on light and dark paper.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 56.0;
/// How the lines are told apart: by colour and by dashes.
const DASHES: [&str; 4] = ["none", "2 5", "9 5", "12 4 2 4"];

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
.c0 { stroke: #0969da; } .c1 { stroke: #8c959f; } .c2 { stroke: #bc4c00; } .c3 { stroke: #1a7f37; }
.f0 { fill: #0969da; } .f1 { fill: #8c959f; } .f2 { fill: #bc4c00; } .f3 { fill: #1a7f37; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.grid { stroke: #3d444d; }
.c0 { stroke: #58a6ff; } .c1 { stroke: #9198a1; } .c2 { stroke: #f0883e; } .c3 { stroke: #3fb950; }
.f0 { fill: #58a6ff; } .f1 { fill: #9198a1; } .f2 { fill: #f0883e; } .f3 { fill: #3fb950; }
}
";

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is called in the legend.
    pub name: String,
    /// Its points, from left to right; both numbers above 0.
    pub points: Vec<(f64, f64)>,
}

/// A plot; both axes are logarithmic.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What goes to the right.
    pub across: String,
    /// What goes up.
    pub up: String,
    /// At most four.
    pub lines: Vec<Line>,
}

/// An axis from `least` to `most`, over `span` pixels.
#[derive(Clone, Copy)]
struct Axis {
    least: f64,
    most: f64,
    span: f64,
}

impl Axis {
    /// An axis that holds all of these and begins and ends at round numbers.
    fn over(values: impl Iterator<Item = f64> + Clone, span: f64) -> Axis {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        if least > most {
            return Axis {
                least: 1.0,
                most: 10.0,
                span,
            };
        }
        let around = Axis {
            least: least / 10.0,
            most: most * 10.0,
            span,
        };
        let marks = around.marks();
        let before = marks.iter().rev().find(|mark| **mark <= least * 1.001);
        let after = marks.iter().find(|mark| **mark >= most * 0.999);
        Axis {
            least: before.copied().unwrap_or(least),
            most: after.copied().unwrap_or(most),
            span,
        }
    }

    fn place(&self, value: f64) -> f64 {
        (value / self.least).ln() / (self.most / self.least).ln() * self.span
    }

    /// The round numbers within it, closer together if it is short.
    fn marks(&self) -> Vec<f64> {
        let short = self.most / self.least < 10.0;
        let times: &[u8] = match short {
            true => &[1, 2, 3, 4, 5, 6, 7, 8, 9],
            false => &[1, 2, 5],
        };
        let mut marks = Vec::new();
        let mut power = 10f64.powf(self.least.log10().floor());
        while power <= self.most {
            for times in times {
                let mark = power * f64::from(*times);
                if mark >= self.least * 0.999 && mark <= self.most * 1.001 {
                    marks.push(mark);
                }
            }
            power *= 10.0;
        }
        marks
    }
}

impl Plot {
    /// The plot as an SVG document.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let x = Axis::over(points().map(|point| point.0), WIDTH - LEFT - RIGHT);
        let y = Axis::over(points().map(|point| point.1), HEIGHT - TOP - BOTTOM);
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut svg = String::new();
        // Writing to a string cannot fail.
        let mut put = |text: std::fmt::Arguments<'_>| {
            let _ = svg.write_fmt(text);
            svg.push('\n');
        };
        put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escaped(&self.title)
        ));
        put(format_args!("<style>\n{STYLE}</style>"));
        put(format_args!(
            "<text class=\"title\" x=\"{LEFT}\" y=\"24\">{}</text>",
            escaped(&self.title)
        ));
        for mark in x.marks() {
            let at = LEFT + x.place(mark);
            put(format_args!(
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{mark}</text>",
                bottom + 18.0
            ));
        }
        for mark in y.marks() {
            let at = bottom - y.place(mark);
            put(format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
                LEFT - 8.0,
                at + 4.0
            ));
        }
        put(format_args!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 14.0,
            escaped(&self.across)
        ));
        put(format_args!(
            "<text transform=\"translate(18 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (TOP + bottom) / 2.0,
            escaped(&self.up)
        ));
        for (at, line) in self.lines.iter().enumerate().take(DASHES.len()) {
            let place = |(a, b): &(f64, f64)| (LEFT + x.place(*a), bottom - y.place(*b));
            let path: Vec<String> = (line.points.iter().map(place))
                .map(|(a, b)| format!("{a:.1},{b:.1}"))
                .collect();
            put(format_args!(
                "<polyline class=\"line c{at}\" stroke-dasharray=\"{}\" points=\"{}\"/>",
                DASHES[at],
                path.join(" ")
            ));
            for (a, b) in line.points.iter().map(place) {
                put(format_args!(
                    "<circle class=\"f{at}\" cx=\"{a:.1}\" cy=\"{b:.1}\" r=\"3\"/>"
                ));
            }
            let down = TOP + 18.0 + 20.0 * at as f64;
            let from = LEFT + 14.0;
            put(format_args!(
                "<line class=\"line c{at}\" stroke-dasharray=\"{}\" x1=\"{from}\" y1=\"{down}\" x2=\"{}\" y2=\"{down}\"/>\
                 <text x=\"{}\" y=\"{}\">{}</text>",
                DASHES[at],
                from + 36.0,
                from + 46.0,
                down + 4.0,
                escaped(&line.name)
            ));
        }
        put(format_args!("</svg>"));
        svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
