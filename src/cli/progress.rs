//! How far a long command is: a bar on a terminal, a plain line now and then elsewhere.
//!
//! Both go to standard error, so that standard output holds results only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::output;

/// Distance of two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Redraws of a bar in a second.
const DRAWS_PER_SECOND: u8 = 10;

/// Shows how much of something is done.
#[derive(Debug)]
pub struct Progress {
    shown: Shown,
    what: &'static str,
    total: u64,
    start: Instant,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines { next: Instant },
}

impl Progress {
    /// Starts at nothing done of `total`; `what` is done, such as "published".
    pub fn new(what: &'static str, total: u64) -> Self {
        let start = Instant::now();
        let shown = if std::io::stderr().is_terminal() {
            let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
            let bar = ProgressBar::with_draw_target(Some(total), target);
            let template = "{prefix} {wide_bar} {percent:>3} %  {msg}  {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(what);
            Shown::Bar(bar)
        } else {
            Shown::Lines {
                next: start + LINE_EVERY,
            }
        };
        Self {
            shown,
            what,
            total,
            start,
        }
    }

    /// `position` of the total is done, which is `rows` rows.
    pub fn at(&mut self, position: u64, rows: u64) {
        let now = Instant::now();
        let rate = || rate(rows, now.saturating_duration_since(self.start));
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(position);
                bar.set_message(format!("{} rows, {}/s", grouped(rows), rate()));
            }
            Shown::Lines { next } if now >= *next => {
                let percent = position.saturating_mul(100) / self.total.max(1);
                let what = self.what;
                output::remark(format_args!(
                    "{what} {} rows, {percent} %, {}/s",
                    grouped(rows),
                    rate()
                ));
                *next = now + LINE_EVERY;
            }
            Shown::Lines { .. } => {}
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Shown::Bar(bar) = self.shown {
            bar.finish_and_clear();
        }
    }
}

/// Rows in a second, grouped.
pub fn rate(rows: u64, took: Duration) -> String {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    grouped(rows.saturating_mul(1_000) / millis)
}

/// A count with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas_between_thousands() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), shown);
        }
        assert_eq!(rate(3_000, Duration::from_millis(1_500)), "2,000");
        assert_eq!(rate(5, Duration::ZERO), "5,000");
    }
}
