//! Where the ticks of an axis stand and what they say.

use jiff::tz::TimeZone;

/// A tick: its value and its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    pub at: f64,
    pub text: String,
}

/// The range of an axis on which these values lie, with some room around them. It begins at 0 where they
/// come near it.
pub fn range((low, high): (f64, f64)) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if high - low <= size * 1e-9 {
        let half = if size > 0.0 { size / 2.0 } else { 1.0 };
        return (low - half, high + half);
    }
    let room = (high - low) * 0.04;
    if low >= 0.0 && low < high / 3.0 {
        return (0.0, high + room);
    }
    (low - room, high + room)
}

/// Ticks of an axis of values with this range, at round numbers.
pub fn values((low, high): (f64, f64)) -> Vec<Tick> {
    const INTERVALS: f64 = 4.0;
    const TICKS_MAX: usize = 12;
    let rough = (high - low) / INTERVALS;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * magnitude)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * magnitude);
    let mut ticks = Vec::new();
    let mut at = (low / step).ceil() * step;
    while at <= high && ticks.len() < TICKS_MAX {
        // What is left of a sum of steps that should be 0.
        let round = if at.abs() < step * 1e-9 { 0.0 } else { at };
        ticks.push(Tick {
            at: round,
            text: short(round, step),
        });
        at += step;
    }
    ticks
}

/// A round number with as many digits as the step between two of them needs.
fn short(value: f64, step: f64) -> String {
    let magnitude = value.abs().max(step);
    let (by, unit) = if !(1e-4..1e15).contains(&magnitude) {
        return format!("{value:e}");
    } else if magnitude >= 1e12 {
        (1e12, "T")
    } else if magnitude >= 1e9 {
        (1e9, "G")
    } else if magnitude >= 1e6 {
        (1e6, "M")
    } else if magnitude >= 1e3 {
        (1e3, "k")
    } else {
        (1.0, "")
    };
    if value == 0.0 {
        return "0".to_owned();
    }
    let text = format!("{:.4}", value / by);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Distances of two ticks of time, in milliseconds.
const STEPS: [i64; 25] = [
    1,
    10,
    100,
    1_000,
    5_000,
    15_000,
    30_000,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
    91 * DAY,
    365 * DAY,
];

/// Ticks of an axis of time, in UTC, at round times; `at` is in milliseconds since the epoch.
pub fn times((first, last): (i64, i64), most: i64) -> Vec<(i64, String)> {
    let span = last.saturating_sub(first).max(1);
    let step = STEPS
        .into_iter()
        .find(|step| span / step <= most)
        .unwrap_or_else(|| (span / most.max(1)).max(1));
    let mut at = first
        .div_euclid(step)
        .saturating_add(1)
        .saturating_mul(step);
    if first.rem_euclid(step) == 0 {
        at = first;
    }
    let mut ticks = Vec::new();
    let mut day = None;
    while at <= last && i64::try_from(ticks.len()).is_ok_and(|count| count <= most) {
        let new_day = day != Some(at.div_euclid(DAY));
        day = Some(at.div_euclid(DAY));
        ticks.push((at, time_text(at, step, new_day)));
        at = at.saturating_add(step);
    }
    ticks
}

/// The date where it changes, else the time of the day.
fn time_text(at: i64, step: i64, new_day: bool) -> String {
    let Ok(instant) = jiff::Timestamp::from_millisecond(at) else {
        return at.to_string();
    };
    let civil = TimeZone::UTC.to_datetime(instant);
    let format = match (step >= DAY, new_day) {
        (true, _) if step >= 91 * DAY => "%Y-%m-%d",
        (true, _) => "%d %b",
        (false, true) if at.rem_euclid(DAY) == 0 => "%d %b",
        (false, true) => "%d %b %H:%M",
        (false, false) if step < 1_000 => "%H:%M:%S%.3f",
        (false, false) if step < MINUTE => "%H:%M:%S",
        (false, false) => "%H:%M",
    };
    civil.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_round_ticks_within_the_range() {
        for (given, texts) in [
            ((0.0, 100.0), vec!["0", "50", "100"]),
            ((12e6, 310e6), vec!["0", "100M", "200M", "300M"]),
            ((-1.0, 1.0), vec!["-1", "0", "1"]),
            ((1_150.0, 2_300.0), vec!["1.5k", "2k"]),
        ] {
            let (low, high) = range(given);
            assert!(low <= given.0 && high > given.1);
            let ticks = values((low, high));
            assert!(ticks.iter().all(|tick| tick.at >= low && tick.at <= high));
            let found: Vec<_> = ticks.iter().map(|tick| tick.text.as_str()).collect();
            assert_eq!(found, texts);
        }
    }

    #[test]
    fn a_constant_has_an_axis_too() {
        for value in [0.0, 5.0, -1e9, 1e-12] {
            let (low, high) = range((value, value));
            assert!(low < value && value < high, "{value}");
            assert!(!values((low, high)).is_empty(), "{value}");
        }
    }

    #[test]
    fn times_have_round_ticks_and_say_the_date_where_it_changes() {
        // 2018-04-03T20:30:00Z by `date -u -d ... +%s`.
        let first = 1_522_787_400_000;
        let ticks = times((first, first + 8 * HOUR), 6);
        let texts: Vec<_> = ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["03 Apr 22:00", "04 Apr", "02:00", "04:00"]);
        let days = times((first, first + 5 * DAY), 8);
        assert_eq!(days[0].1, "04 Apr");
    }
}
