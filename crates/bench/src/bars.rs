//! Bars as SVG: a median each, with a whisker from the least to the most.
//! They follow the reader's dark or light, as the page around them does.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 216.0;
const RIGHT: f64 = 96.0;
const TOP: f64 = 64.0;
const ROW: f64 = 34.0;
const THICK: f64 = 20.0;
const BOTTOM: f64 = 16.0;

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.quiet { fill: #59636e; }
.own { fill: #0969da; } .other { fill: #8c959f; }
.limit { stroke: #bc4c00; stroke-width: 1.5; stroke-dasharray: 5 4; }
.spread { stroke: #1f2328; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.quiet { fill: #9198a1; }
.own { fill: #4493f8; } .other { fill: #6e7681; }
.limit { stroke: #f0883e; }
.spread { stroke: #e6edf3; }
}
";

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) name: String,
    /// Drawn in the colour that stands out.
    pub(crate) own: bool,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// A plot of bars from 0 to the right.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) unit: String,
    /// Drawn as a line that nothing can pass.
    pub(crate) limit: Option<f64>,
    pub(crate) bars: Vec<Bar>,
}

impl Bars {
    /// The plot as an SVG document.
    pub(crate) fn svg(&self) -> String {
        let values = self.bars.iter().map(|bar| bar.most).chain(self.limit);
        let most = values.fold(f64::MIN_POSITIVE, f64::max);
        let place = |value: f64| LEFT + (value / most) * (WIDTH - LEFT - RIGHT);
        let height = TOP + ROW * self.bars.len() as f64 + BOTTOM;
        let mut svg = String::new();
        // Writing to a string cannot fail.
        let mut put = |text: std::fmt::Arguments<'_>| {
            let _ = svg.write_fmt(text);
            svg.push('\n');
        };
        let title = escaped(&self.title);
        put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
             <style>\n{STYLE}</style>\n\
             <text class=\"title\" x=\"16\" y=\"24\">{title}</text>"
        ));
        put(format_args!(
            "<text class=\"quiet\" x=\"16\" y=\"46\">{}, median and spread</text>",
            escaped(&self.unit)
        ));
        for (index, bar) in self.bars.iter().enumerate() {
            let top = TOP + ROW * index as f64;
            let middle = top + THICK / 2.0;
            put(format_args!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 10.0,
                middle + 4.5,
                escaped(&bar.name)
            ));
            put(format_args!(
                "<rect class=\"{}\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{THICK}\" rx=\"2\"/>",
                if bar.own { "own" } else { "other" },
                place(bar.median) - LEFT
            ));
            put(format_args!(
                "<line class=\"spread\" x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\"/>",
                place(bar.least),
                place(bar.most)
            ));
            put(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                place(bar.most.max(bar.median)) + 8.0,
                middle + 4.5,
                number(bar.median)
            ));
        }
        if let Some(limit) = self.limit {
            let at = place(limit);
            put(format_args!(
                "<line class=\"limit\" x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{:.1}\"/>\
                 <text class=\"quiet\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                TOP - 8.0,
                height - BOTTOM,
                TOP - 13.0,
                number(limit)
            ));
        }
        put(format_args!("</svg>"));
        svg
    }
}

/// With as many digits as say something.
fn number(value: f64) -> String {
    match value < 10.0 {
        true => format!("{value:.1}"),
        false => format!("{value:.0}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_medians_say() {
        let bar = |name: &str, median| Bar {
            name: name.to_owned(),
            own: name == "a & b",
            median,
            least: median,
            most: median,
        };
        let bars = Bars {
            title: "speed".to_owned(),
            unit: "Mbit/s".to_owned(),
            limit: Some(204.0),
            bars: vec![bar("a & b", 102.0), bar("c", 0.0)],
        };
        let svg = bars.svg();
        // The limit is as wide as the plot: 720 - 216 - 96 pixels.
        assert!(svg.contains("<rect class=\"own\" x=\"216\" y=\"64.0\" width=\"204.0\""));
        assert!(svg.contains("<rect class=\"other\" x=\"216\" y=\"98.0\" width=\"0.0\""));
        assert!(svg.contains(">a &amp; b<"));
        assert!(svg.ends_with("</svg>\n"));
    }
}
