//! One chart as SVG: a target of a series over time.

use std::fmt::Write as _;

use super::{Bucket, Line, Lines, axis};
use crate::domain::{Grid, Slot};

pub const WIDTH: f64 = 960.0;
pub const HEIGHT: f64 = 236.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 36.0;
/// Pieces of a line: about one per pixel.
const PIECES: i64 = 880;

/// Of actual values, of the last value, and of the models in their order. Told apart without red and
/// green; after Okabe and Ito.
pub const ACTUAL: &str = "#1a1a1a";
pub const LAST_VALUE: &str = "#8a8a8a";
pub const MODELS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00",
];

/// The colour of a model.
pub fn colour(model: usize) -> &'static str {
    MODELS[model % MODELS.len()]
}

/// What a chart says besides its lines.
#[derive(Clone, Copy, Debug)]
pub struct Captions<'a> {
    pub series: &'a str,
    pub target: &'a str,
    /// Of the forecasts that are drawn, such as "6 steps (12 min) ahead".
    pub ahead: &'a str,
    pub last_value: bool,
}

/// From slots and values to the places on the chart.
struct Scale {
    slots: (i64, i64),
    values: (f64, f64),
}

impl Scale {
    fn x(&self, slot: f64) -> f64 {
        let (first, last) = (float(self.slots.0), float(self.slots.1));
        LEFT + (slot - first) / (last - first).max(1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)
    }
}

/// Appends the chart, its upper left corner at (0, `top`).
pub fn draw(out: &mut String, top: f64, lines: &Lines, grid: Grid, captions: Captions<'_>) {
    put(out, format_args!("<g transform=\"translate(0 {top:.0})\">"));
    let (series, target) = (escaped(captions.series), escaped(captions.target));
    let ahead = escaped(captions.ahead);
    put(
        out,
        format_args!(
            "<text x=\"{LEFT}\" y=\"16\" class=\"title\">{series} · {target}<tspan class=\"note\" dx=\"8\">forecasts {ahead}</tspan></text>"
        ),
    );
    if let Some(scale) = scale(lines, captions.last_value) {
        axes(out, &scale, grid);
        bands(out, &scale, lines);
        if captions.last_value {
            let style = "stroke-width=\"1\" stroke-dasharray=\"3 2\"";
            stroke(out, &scale, &lines.last_value, (LAST_VALUE, style));
        }
        stroke(
            out,
            &scale,
            &lines.actual,
            (ACTUAL, "stroke-width=\"1.1\" stroke-opacity=\"0.8\""),
        );
        for (model, mean) in lines.means.iter().enumerate() {
            let style = "stroke-width=\"1.4\" stroke-opacity=\"0.9\"";
            stroke(out, &scale, mean, (colour(model), style));
        }
    } else {
        put(
            out,
            format_args!("<text x=\"{LEFT}\" y=\"60\" class=\"note\">nothing was observed</text>"),
        );
    }
    put(out, format_args!("</g>"));
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    writeln!(out, "{text}").unwrap_or_default();
}

fn bands(out: &mut String, scale: &Scale, lines: &Lines) {
    for (model, band) in lines.bands.iter().enumerate() {
        let (runs, width) = band.runs(scale.slots, PIECES);
        for run in runs {
            let path = outline(scale, &run, width);
            let colour = colour(model);
            put(
                out,
                format_args!("<path d=\"{path}\" fill=\"{colour}\" fill-opacity=\"0.2\"/>"),
            );
        }
    }
}

fn stroke(out: &mut String, scale: &Scale, line: &Line, (colour, style): (&str, &str)) {
    let (runs, width) = line.runs(scale.slots, PIECES);
    let path: String = runs.iter().map(|run| trace(scale, run, width)).collect();
    if !path.is_empty() {
        put(
            out,
            format_args!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" {style}/>"),
        );
    }
}

/// All that is drawn lies within.
fn scale(lines: &Lines, last_value: bool) -> Option<Scale> {
    let mut drawn = vec![&lines.actual];
    drawn.extend(lines.means.iter().chain(&lines.bands));
    if last_value {
        drawn.push(&lines.last_value);
    }
    let slots = drawn.iter().filter_map(|line| line.ends());
    let (first, last) = slots.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))?;
    // Where only the end of each line was kept, they begin at different slots.
    let first = lines.actual.ends().map_or(first, |(first, _)| first);
    let values = drawn.iter().filter_map(|line| line.range());
    let values = values.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))?;
    Some(Scale {
        slots: (first, last),
        values: axis::range(values),
    })
}

fn axes(out: &mut String, scale: &Scale, grid: Grid) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in axis::values(scale.values) {
        let y = scale.y(tick.at);
        put(
            out,
            format_args!(
                "<path d=\"M{LEFT} {y:.1}H{right}\" class=\"grid\"/><text x=\"{:.0}\" y=\"{:.1}\" class=\"tick\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 3.5,
                tick.text
            ),
        );
    }
    let time = |slot: i64| grid.time(Slot(slot)).0;
    let (first, last) = (time(scale.slots.0), time(scale.slots.1));
    for (at, text) in axis::times((first, last), 8) {
        let slots = float(at.saturating_sub(first)) / float(grid.step_ms());
        let x = scale.x(float(scale.slots.0) + slots);
        put(
            out,
            format_args!(
                "<path d=\"M{x:.1} {TOP}V{bottom}\" class=\"grid\"/><text x=\"{x:.1}\" y=\"{:.0}\" class=\"tick\" text-anchor=\"middle\">{text}</text>",
                bottom + 14.0
            ),
        );
    }
    put(
        out,
        format_args!(
            "<path d=\"M{LEFT} {bottom}H{right}\" class=\"axis\"/><text x=\"{right}\" y=\"{:.0}\" class=\"tick\" text-anchor=\"end\">time, UTC</text>",
            bottom + 28.0
        ),
    );
}

/// A line through a run; a stretch of more than one slot is drawn from its lowest to its highest value.
fn trace(scale: &Scale, run: &[Bucket], width: i64) -> String {
    let mut path = String::new();
    let mut command = 'M';
    let mut last = f64::NAN;
    for bucket in run {
        let x = scale.x(middle(bucket, width));
        let (mut first, mut second) = (bucket.low, bucket.high);
        // Begin at the end that is nearer to where the line is.
        if (last - second).abs() < (last - first).abs() {
            std::mem::swap(&mut first, &mut second);
        }
        let y = scale.y(first);
        write!(path, "{command}{x:.1} {y:.1}").unwrap_or_default();
        command = 'L';
        if bucket.low < bucket.high {
            write!(path, "V{:.1}", scale.y(second)).unwrap_or_default();
        }
        last = second;
    }
    if let [_] = run {
        // A single point shows as a dot only where it has a length.
        path.push_str("h0.8");
    }
    path
}

/// The outline of a band: along its upper side and back along the lower one.
fn outline(scale: &Scale, run: &[Bucket], width: i64) -> String {
    let mut path = String::new();
    let there = run.iter().map(|bucket| (bucket, bucket.high));
    let back = run.iter().rev().map(|bucket| (bucket, bucket.low));
    let mut command = 'M';
    for (bucket, value) in there.chain(back) {
        let (x, y) = (scale.x(middle(bucket, width)), scale.y(value));
        write!(path, "{command}{x:.1} {y:.1}").unwrap_or_default();
        command = 'L';
    }
    path.push('Z');
    path
}

fn middle(bucket: &Bucket, width: i64) -> f64 {
    float(bucket.slot) + float(width - 1) / 2.0
}

/// A number of slots or milliseconds to compute places with.
fn float(number: i64) -> f64 {
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "a place on a picture; slots and milliseconds since 1970 are exact in a double"
    )]
    let nearest = number as f64;
    nearest
}

/// Text as XML takes it.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}
