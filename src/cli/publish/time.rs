//! Times as files have them, read into [`Timestamp`].
//!
//! A time is an instant only when the file says so: text needs an offset, a number needs a unit.
//! What is missing comes from the command line (`--assume-utc`, `--time-unit`), never from a guess.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::domain::Timestamp;

/// Unit of times that are plain numbers since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TimeUnit {
    S,
    Ms,
    Us,
    Ns,
}

/// How to read times that do not say all they should.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeReader {
    /// Unit of plain numbers.
    pub unit: Option<TimeUnit>,
    /// Local times are UTC.
    pub assume_utc: bool,
}

/// Why a cell is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeProblem {
    #[error(
        "is a local time without an offset; add --assume-utc if the file's times are UTC, or write them as 2018-03-28T15:56:00+02:00"
    )]
    Local,
    #[error("is a plain number; say what it counts since 1970 with --time-unit s, ms, us or ns")]
    NoUnit,
    #[error("is not a time; 2018-03-28T15:56:00Z is one")]
    Unreadable,
    #[error("is outside the years that can be published")]
    OutOfRange,
}

impl TimeReader {
    /// Reads RFC 3339 (a space may stand for the `T`), a local time, or a whole number.
    pub fn text(self, text: &str) -> Result<Timestamp, TimeProblem> {
        if let Ok(number) = text.parse::<i64>() {
            return self.number(number);
        }
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Ok(Timestamp(instant.as_millisecond()));
        }
        let local: DateTime = text
            .parse()
            .map_err(|_no_time: jiff::Error| TimeProblem::Unreadable)?;
        if !self.assume_utc {
            return Err(TimeProblem::Local);
        }
        let instant = TimeZone::UTC
            .to_timestamp(local)
            .map_err(|_far_off: jiff::Error| TimeProblem::OutOfRange)?;
        Ok(Timestamp(instant.as_millisecond()))
    }

    /// Reads a number since the Unix epoch in the configured unit.
    pub fn number(self, number: i64) -> Result<Timestamp, TimeProblem> {
        self.unit
            .map_or(Err(TimeProblem::NoUnit), |unit| unit.time(number))
    }

    /// Reads a column that says its unit, and by `has_offset` whether its times are instants.
    pub fn typed(
        self,
        number: i64,
        unit: TimeUnit,
        has_offset: bool,
    ) -> Result<Timestamp, TimeProblem> {
        if !has_offset && !self.assume_utc {
            return Err(TimeProblem::Local);
        }
        unit.time(number)
    }
}

impl TimeUnit {
    /// The whole millisecond at or before `number` units since the epoch.
    fn time(self, number: i64) -> Result<Timestamp, TimeProblem> {
        match self {
            Self::S => number.checked_mul(1_000),
            Self::Ms => Some(number),
            Self::Us => Some(number.div_euclid(1_000)),
            Self::Ns => Some(number.div_euclid(1_000_000)),
        }
        .map(Timestamp)
        .ok_or(TimeProblem::OutOfRange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: TimeReader = TimeReader {
        unit: None,
        assume_utc: false,
    };
    const UTC: TimeReader = TimeReader {
        unit: None,
        assume_utc: true,
    };
    // 2018-03-28 15:56:00 UTC, by `date -u -d @1522252560`.
    const AT: Timestamp = Timestamp(1_522_252_560_000);

    #[test]
    fn times_with_an_offset_are_instants() {
        for text in [
            "2018-03-28T15:56:00Z",
            "2018-03-28 15:56:00Z",
            "2018-03-28T17:56:00+02:00",
            "2018-03-28 15:56:00.000+00:00",
        ] {
            assert_eq!(PLAIN.text(text), Ok(AT), "{text}");
        }
    }

    #[test]
    fn local_times_are_utc_only_when_told() {
        for text in ["2018-03-28 15:56:00", "2018-03-28T15:56"] {
            assert_eq!(PLAIN.text(text), Err(TimeProblem::Local), "{text}");
            assert_eq!(UTC.text(text), Ok(AT), "{text}");
        }
        assert_eq!(
            PLAIN.typed(AT.0, TimeUnit::Ms, false),
            Err(TimeProblem::Local)
        );
        assert_eq!(UTC.typed(AT.0, TimeUnit::Ms, false), Ok(AT));
        assert_eq!(PLAIN.typed(AT.0 * 1_000, TimeUnit::Us, true), Ok(AT));
    }

    #[test]
    fn numbers_need_a_unit() {
        assert_eq!(PLAIN.text("1522252560"), Err(TimeProblem::NoUnit));
        for (unit, text) in [
            (TimeUnit::S, "1522252560"),
            (TimeUnit::Ms, "1522252560000"),
            (TimeUnit::Us, "1522252560000999"),
            (TimeUnit::Ns, "1522252560000999999"),
        ] {
            let reader = TimeReader {
                unit: Some(unit),
                ..PLAIN
            };
            assert_eq!(reader.text(text), Ok(AT), "{text}");
        }
        assert_eq!(TimeUnit::Us.time(-1), Ok(Timestamp(-1)));
        assert_eq!(TimeUnit::S.time(i64::MAX), Err(TimeProblem::OutOfRange));
    }

    #[test]
    fn what_is_no_time_is_said_to_be_none() {
        for text in [
            "",
            "yesterday",
            "2018-13-01 00:00:00",
            "12.5",
            "99999999999999999999",
        ] {
            assert_eq!(UTC.text(text), Err(TimeProblem::Unreadable), "{text}");
        }
    }
}
