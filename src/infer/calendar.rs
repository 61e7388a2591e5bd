//! Calendar features: where a time stands in its day, week and year, as a sine and a cosine each.
//!
//! UTC and the proleptic Gregorian calendar, in integers. The batch calls it for every slot of every
//! window, so sines and cosines come from tables: there are only 1,440 minutes, 7 days of the week
//! and 366 days of the year. It reads no clock and knows no time zone.

use std::f64::consts::TAU;

use crate::domain::Timestamp;

use super::scaling::narrow;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
const MINUTES_PER_DAY: u16 = 1_440;
const DAYS_PER_WEEK: u16 = 7;
const DAYS_PER_YEAR_MAX: u16 = 366;
/// Mean length of a Julian year in days, as seasonal models use it.
const YEAR_PERIOD: f64 = 365.25;

/// A periodic feature of time. Each adds two inputs: the sine, then the cosine, of
/// 2 pi x value / period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CalendarFeature {
    /// Whole minutes since midnight, 0 to 1439; period 1440.
    MinuteOfDay,
    /// Monday = 0 to Sunday = 6; period 7.
    DayOfWeek,
    /// The first of January = 1; period 365.25.
    DayOfYear,
}

impl CalendarFeature {
    pub const ALL: [Self; 3] = [Self::MinuteOfDay, Self::DayOfWeek, Self::DayOfYear];

    /// The name that a contract uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MinuteOfDay => "minute_of_day",
            Self::DayOfWeek => "day_of_week",
            Self::DayOfYear => "day_of_year",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.name() == name)
    }

    fn table(self) -> Vec<[f32; 2]> {
        match self {
            Self::MinuteOfDay => table(MINUTES_PER_DAY, f64::from(MINUTES_PER_DAY)),
            Self::DayOfWeek => table(DAYS_PER_WEEK, f64::from(DAYS_PER_WEEK)),
            // Entry 0 is never read: the first of January is day 1.
            Self::DayOfYear => table(DAYS_PER_YEAR_MAX + 1, YEAR_PERIOD),
        }
    }
}

/// Sine and cosine of 2 pi x value / period for the values below `values`.
fn table(values: u16, period: f64) -> Vec<[f32; 2]> {
    (0..values)
        .map(|value| {
            let angle = TAU * f64::from(value) / period;
            [narrow(angle.sin()), narrow(angle.cos())]
        })
        .collect()
}

/// The calendar features of one contract, in its order.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    step_ms: i64,
    tables: Vec<(CalendarFeature, Vec<[f32; 2]>)>,
}

impl Calendar {
    pub(super) fn new(step_ms: i64, features: &[CalendarFeature]) -> Self {
        Self {
            step_ms,
            tables: features
                .iter()
                .map(|&feature| (feature, feature.table()))
                .collect(),
        }
    }

    /// Inputs that the features add to a slot.
    pub(super) fn width(&self) -> usize {
        2 * self.tables.len()
    }

    /// Writes the features of consecutive slots. `rows` holds one row of `row_width` inputs per
    /// slot, the features come last in each, and `first` is the time of the first row.
    pub(super) fn fill(&self, rows: &mut [f32], row_width: usize, first: Timestamp) {
        if self.tables.is_empty() {
            return;
        }
        let at = row_width - self.width();
        let mut moment = Moment::of(first);
        for row in rows.chunks_exact_mut(row_width) {
            for (pair, (feature, table)) in row[at..]
                .as_chunks_mut::<2>()
                .0
                .iter_mut()
                .zip(&self.tables)
            {
                *pair = table[moment.value(*feature)];
            }
            moment.advance(self.step_ms);
        }
    }
}

/// A time taken apart. Advancing it divides only when the day changes, because a window has many
/// slots and few days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// Days since 1970-01-01.
    day: i64,
    /// Milliseconds since midnight.
    ms: i64,
    weekday: usize,
    day_of_year: usize,
}

impl Moment {
    fn of(time: Timestamp) -> Self {
        let day = time.0.div_euclid(DAY_MS);
        Self {
            day,
            ms: time.0.rem_euclid(DAY_MS),
            weekday: weekday(day),
            day_of_year: day_of_year(day),
        }
    }

    fn advance(&mut self, step_ms: i64) {
        self.ms += step_ms;
        if self.ms >= DAY_MS {
            self.day += self.ms.div_euclid(DAY_MS);
            self.ms = self.ms.rem_euclid(DAY_MS);
            self.weekday = weekday(self.day);
            self.day_of_year = day_of_year(self.day);
        }
    }

    fn value(&self, feature: CalendarFeature) -> usize {
        match feature {
            CalendarFeature::MinuteOfDay => index(self.ms / MINUTE_MS),
            CalendarFeature::DayOfWeek => self.weekday,
            CalendarFeature::DayOfYear => self.day_of_year,
        }
    }
}

/// 1970-01-01 was a Thursday.
fn weekday(day: i64) -> usize {
    index((day + 3).rem_euclid(7))
}

/// Day of the year, from 1. Years are counted from the first of March, so that the leap day comes
/// last and every 400 years are alike (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
fn day_of_year(day: i64) -> usize {
    // Days from the first of March to the last of December.
    const MARCH_TO_DECEMBER: i64 = 306;
    let shifted = day + 719_468; // 0000-03-01 is day 0
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    if from_march >= MARCH_TO_DECEMBER {
        // January or February of the next calendar year.
        index(from_march - MARCH_TO_DECEMBER + 1)
    } else {
        let year = year_of_era + era * 400;
        let leap =
            year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
        index(from_march + 1 + 59 + i64::from(leap))
    }
}

/// A calendar value, which is below 1,440 and not negative by its computation.
fn index(value: i64) -> usize {
    usize::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `tests/oracle/golden.py` with Python's `datetime`.
    const VECTORS: &str = include_str!("../../tests/oracle/calendar.json");

    #[test]
    fn agrees_with_python_datetime() {
        let vectors: Vec<[i64; 4]> = serde_json::from_str(VECTORS).unwrap();
        assert!(vectors.len() > 1_000);
        for [time, minute, weekday, day_of_year] in vectors {
            let moment = Moment::of(Timestamp(time));
            let values = CalendarFeature::ALL.map(|feature| moment.value(feature));
            let wanted =
                [minute, weekday, day_of_year].map(|value| usize::try_from(value).unwrap());
            assert_eq!(values, wanted, "at {time} ms");
        }
    }

    #[test]
    fn advancing_equals_taking_apart_anew() {
        for step_ms in [
            1,
            60_000,
            120_000,
            3_600_000,
            86_399_999,
            86_400_000,
            31_622_400_000,
        ] {
            let mut time = -40 * step_ms - 12_345;
            let mut moment = Moment::of(Timestamp(time));
            for _ in 0..2_000 {
                time += step_ms;
                moment.advance(step_ms);
                assert_eq!(moment, Moment::of(Timestamp(time)));
            }
        }
    }

    #[test]
    fn any_time_indexes_the_tables() {
        let calendar = Calendar::new(120_000, &CalendarFeature::ALL);
        for time in [i64::MIN, -1, 0, 1, i64::MAX] {
            let mut row = [f32::NAN; 7];
            calendar.fill(&mut row, 7, Timestamp(time));
            assert!(row[0].is_nan() && row[1..].iter().all(|value| value.abs() <= 1.0));
        }
    }

    #[test]
    fn features_stand_last_in_each_row_sine_first() {
        let calendar = Calendar::new(6 * 3_600_000, &[CalendarFeature::MinuteOfDay]);
        let mut rows = [9.0; 6];
        calendar.fill(&mut rows, 3, Timestamp(0));
        let wanted = [9.0, 0.0, 1.0, 9.0, 1.0, 0.0];
        assert!(
            rows.iter()
                .zip(wanted)
                .all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6)
        );
    }

    #[test]
    fn names_lead_back_to_their_features() {
        for feature in CalendarFeature::ALL {
            assert_eq!(CalendarFeature::from_name(feature.name()), Some(feature));
        }
        assert_eq!(CalendarFeature::from_name("hour"), None);
    }
}
