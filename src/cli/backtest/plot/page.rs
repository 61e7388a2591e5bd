//! The file that `--plot` writes: an SVG, or an HTML page with the charts and the tables of errors.
//!
//! Either stands by itself: no script, no font, no picture of elsewhere.

use std::fmt::Write as _;
use std::path::Path;

use super::chart::{self, ACTUAL, Captions, HEIGHT, LAST_VALUE, WIDTH, colour, escaped};
use super::{Lines, Recorder};
use crate::cli::backtest::report::{Report, text};
use crate::cli::backtest::scope::Scope;
use crate::domain::Grid;

/// What the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Html,
    Svg,
}

impl Format {
    /// By the name of the file.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "html" | "htm" => Some(Self::Html),
            "svg" => Some(Self::Svg),
            _ => None,
        }
    }
}

/// What is drawn.
#[derive(Debug)]
pub struct Picture<'a> {
    pub report: &'a Report,
    pub scope: &'a Scope,
    pub grid: Grid,
    /// Series and what is kept of each.
    pub series: Vec<(&'a str, &'a Recorder)>,
    /// Steps ahead of the forecasts that are drawn.
    pub horizon: usize,
    pub last_value: bool,
}

const STYLE: &str = "text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-size:11px;fill:#333}\
.title{font-size:13px;font-weight:600;fill:#111}.note{font-weight:400;font-size:11px;fill:#666}\
.tick{fill:#666}.grid{stroke:#e6e6e6;fill:none}.axis{stroke:#999;fill:none}";

const PAGE_STYLE: &str = "body{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;color:#222;\
max-width:1000px;margin:24px auto;padding:0 16px;font-size:14px;line-height:1.45}\
h1{font-size:20px;margin:0 0 4px}h2{font-size:15px;margin:28px 0 6px}p{margin:4px 0;color:#444}\
table{border-collapse:collapse;font-size:12.5px;font-variant-numeric:tabular-nums}\
th,td{padding:3px 9px;text-align:right;border-bottom:1px solid #eee;white-space:nowrap}\
th{border-bottom:1px solid #bbb;font-weight:600}.text{text-align:left}.scroll{overflow-x:auto}\
tr.first td{border-top:1px solid #ccc}svg{display:block;max-width:100%;height:auto}";

/// Room above the charts of an SVG, for its title and the legend.
const HEADER: f64 = 74.0;
const LEGEND: f64 = 26.0;

impl Picture<'_> {
    pub fn draw(&self, format: Format) -> String {
        match format {
            Format::Html => self.html(),
            Format::Svg => self.svg(),
        }
    }

    fn charts(&self) -> Vec<(&str, &str, &Lines)> {
        let mut charts = Vec::new();
        for (name, recorder) in &self.series {
            for (target, lines) in self.scope.targets.iter().zip(recorder.targets()) {
                charts.push((*name, target.name.as_str(), lines));
            }
        }
        charts
    }

    fn ahead(&self) -> String {
        text::ahead_in_words(self.horizon, self.grid.step_ms())
    }

    fn chart(&self, out: &mut String, top: f64, (series, target, lines): (&str, &str, &Lines)) {
        let captions = Captions {
            series,
            target,
            ahead: &self.ahead(),
            last_value: self.last_value,
        };
        chart::draw(out, top, lines, self.grid, captions);
    }

    /// The lines and what they are, from (0, `top`) on.
    fn legend(&self, out: &mut String, top: f64) {
        let mut x = 62.0;
        let y = top + 14.0;
        let mut entry = |colour: &str, style: &str, band: bool, label: &str| {
            if band {
                write!(
                    out,
                    "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"22\" height=\"10\" fill=\"{colour}\" fill-opacity=\"0.2\"/>",
                    y - 9.0
                )
                .unwrap_or_default();
            }
            writeln!(
                out,
                "<path d=\"M{x:.0} {:.0}h22\" stroke=\"{colour}\" {style} fill=\"none\"/><text x=\"{:.0}\" y=\"{y:.0}\">{}</text>",
                y - 4.0,
                x + 28.0,
                escaped(label)
            )
            .unwrap_or_default();
            let letters = u32::try_from(label.chars().count()).map_or(0.0, f64::from);
            x += 28.0 + letters * 6.2 + 22.0;
        };
        entry(ACTUAL, "stroke-width=\"1.1\"", false, "observed");
        for (model, served) in self.report.models.iter().enumerate() {
            let levels = &self.scope.models[model].levels;
            let label = match (levels.first(), levels.last()) {
                (Some(low), Some(high)) if levels.len() > 1 => {
                    format!("{}, {low} to {high} quantile", served.label)
                }
                _ => served.label.clone(),
            };
            let banded = levels.len() > 1;
            entry(colour(model), "stroke-width=\"1.6\"", banded, &label);
        }
        if self.last_value {
            entry(LAST_VALUE, "stroke-dasharray=\"3 2\"", false, "last value");
        }
    }

    fn svg(&self) -> String {
        let charts = self.charts();
        let count = u32::try_from(charts.len()).map_or(0.0, f64::from);
        let height = HEADER + count * HEIGHT;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" height=\"{height:.0}\">\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        writeln!(
            out,
            "<text x=\"62\" y=\"22\" class=\"title\" style=\"font-size:15px\">{}</text><text x=\"62\" y=\"38\" class=\"note\">{}</text>",
            escaped(&text::title(self.report)),
            escaped(&text::extent(self.report))
        )
        .unwrap_or_default();
        self.legend(&mut out, HEADER - LEGEND);
        let mut top = HEADER;
        for chart in charts {
            self.chart(&mut out, top, chart);
            top += HEIGHT;
        }
        out.push_str("</svg>\n");
        out
    }

    fn html(&self) -> String {
        let title = escaped(&text::title(self.report));
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{PAGE_STYLE}\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        writeln!(out, "<p>{}.</p>", escaped(&text::extent(self.report))).unwrap_or_default();
        for note in text::notes(self.report) {
            writeln!(out, "<p>{}</p>", escaped(&note)).unwrap_or_default();
        }
        let tables = text::tables(self.report);
        for table in tables.iter().take(2) {
            html_table(&mut out, table);
        }
        writeln!(
            out,
            "<h2>Observed and forecast, {}</h2>",
            escaped(&self.ahead())
        )
        .unwrap_or_default();
        open_svg(&mut out, LEGEND);
        self.legend(&mut out, 0.0);
        out.push_str("</svg>\n");
        for chart in self.charts() {
            open_svg(&mut out, HEIGHT);
            self.chart(&mut out, 0.0, chart);
            out.push_str("</svg>\n");
        }
        for table in tables.iter().skip(2) {
            html_table(&mut out, table);
        }
        out.push_str("</body>\n</html>\n");
        out
    }
}

fn open_svg(out: &mut String, height: f64) {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" height=\"{height:.0}\">"
    )
    .unwrap_or_default();
}

fn html_table(out: &mut String, table: &text::Table) {
    write!(
        out,
        "<h2>{}</h2>\n<div class=\"scroll\"><table>\n<tr>",
        escaped(&table.caption)
    )
    .unwrap_or_default();
    let class = |column: usize| {
        if column < table.texts {
            " class=\"text\""
        } else {
            ""
        }
    };
    for (column, cell) in table.head.iter().enumerate() {
        write!(out, "<th{}>{}</th>", class(column), escaped(cell)).unwrap_or_default();
    }
    out.push_str("</tr>\n");
    for row in &table.rows {
        let first = row.first().is_some_and(|cell| !cell.is_empty());
        out.push_str(if first {
            "<tr class=\"first\">"
        } else {
            "<tr>"
        });
        for (column, cell) in row.iter().enumerate() {
            write!(out, "<td{}>{}</td>", class(column), escaped(cell)).unwrap_or_default();
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}
