//! A place in a topic as a person says it: an end of it, a time, or a time ago.

use std::str::FromStr;
use std::time::Duration;

use crate::domain::Timestamp;

/// Where to begin or to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    Beginning,
    End,
    Ago(Duration),
    At(Timestamp),
}

impl Moment {
    /// The time that is meant, if one is, when it is `now`.
    pub fn time(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Beginning | Self::End => None,
            Self::Ago(ago) => {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Some(Timestamp(now.0.saturating_sub(ago).max(0)))
            }
            Self::At(time) => Some(Timestamp(time.0.max(0))),
        }
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ALLOWED: &str = "say beginning, end, a time ago such as 90s, 15m, 24h or 7d, or an instant such as \
             2018-03-28T15:56:00Z";
        match text {
            "beginning" => return Ok(Self::Beginning),
            "end" => return Ok(Self::End),
            _ => {}
        }
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::At(Timestamp(instant.as_millisecond())));
        }
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = text.strip_prefix(digits).unwrap_or_default();
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(ALLOWED),
        };
        let count: u64 = digits
            .parse()
            .map_err(|_no_number: std::num::ParseIntError| ALLOWED)?;
        let seconds = count.checked_mul(seconds).ok_or(ALLOWED)?;
        Ok(Self::Ago(Duration::from_secs(seconds)))
    }
}

/// A time as people read it, in UTC.
pub fn shown(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(
        |_out_of_range| time.to_string(),
        |instant| instant.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_word_a_time_ago_or_an_instant() {
        assert_eq!("beginning".parse(), Ok(Moment::Beginning));
        assert_eq!("end".parse(), Ok(Moment::End));
        assert_eq!("24h".parse(), Ok(Moment::Ago(Duration::from_hours(24))));
        assert_eq!("90s".parse(), Ok(Moment::Ago(Duration::from_secs(90))));
        let instant = Moment::At(Timestamp(1_522_252_560_000));
        assert_eq!("2018-03-28T15:56:00Z".parse(), Ok(instant));
        assert_eq!("2018-03-28T17:56:00+02:00".parse(), Ok(instant));
        for bad in [
            "",
            "h",
            "24",
            "1.5h",
            "-1h",
            "yesterday",
            "2018-03-28T15:56:00",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_ago_is_before_now_and_never_before_1970() {
        let now = Timestamp(100_000);
        assert_eq!(
            Moment::Ago(Duration::from_secs(90)).time(now),
            Some(Timestamp(10_000))
        );
        assert_eq!(Moment::Ago(Duration::MAX).time(now), Some(Timestamp(0)));
        assert_eq!(Moment::End.time(now), None);
    }
}
