//! What became of a consumed record: one closed set whose counts add up to the records.

use std::fmt;

/// Why a record was refused. The label is a metric label and a dead-letter header: never rename one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    Undecodable,
    UnknownSchema,
    BadSeries,
    TooManySeries,
    TimeOutOfRange,
    NotFinite,
    MissingValue,
    OffGrid,
    Late,
    ConflictingDuplicate,
}

impl Rejection {
    pub const ALL: [Self; 10] = [
        Self::Undecodable,
        Self::UnknownSchema,
        Self::BadSeries,
        Self::TooManySeries,
        Self::TimeOutOfRange,
        Self::NotFinite,
        Self::MissingValue,
        Self::OffGrid,
        Self::Late,
        Self::ConflictingDuplicate,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnknownSchema => "unknown_schema",
            Self::BadSeries => "bad_series",
            Self::TooManySeries => "too_many_series",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::NotFinite => "not_finite",
            Self::MissingValue => "missing_value",
            Self::OffGrid => "off_grid",
            Self::Late => "late",
            Self::ConflictingDuplicate => "conflicting_duplicate",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Undecodable => 0,
            Self::UnknownSchema => 1,
            Self::BadSeries => 2,
            Self::TooManySeries => 3,
            Self::TimeOutOfRange => 4,
            Self::NotFinite => 5,
            Self::MissingValue => 6,
            Self::OffGrid => 7,
            Self::Late => 8,
            Self::ConflictingDuplicate => 9,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Why a record was written to the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadLetterReason {
    Rejected(Rejection),
    ModelOutputInvalid,
}

impl DeadLetterReason {
    /// A metric label and a header: never rename one.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.label(),
            Self::ModelOutputInvalid => "model_output_invalid",
        }
    }
}

/// The one end of a consumed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Folded, and a forecast was published.
    Forecast,
    /// Folded; no forecast was due.
    Folded,
    /// Filled a slot or a missing cell behind the newest slot, or replaced cells there.
    LateFilled,
    /// Said nothing new.
    Duplicate,
    /// Put aside until its series' next record.
    Held,
    /// A forecast was due but its deadline had passed; the state has the observation.
    Expired,
    /// A null value.
    Tombstone,
    /// A forecast was due and the model gave no usable one.
    ForecastFailed,
    Rejected(Rejection),
}

impl Outcome {
    /// Number of different outcomes, each rejection counted apart.
    pub const COUNT: usize = 8 + Rejection::ALL.len();

    /// Every outcome, in the order of [`OutcomeCounts`].
    pub fn all() -> impl Iterator<Item = Self> {
        [
            Self::Forecast,
            Self::Folded,
            Self::LateFilled,
            Self::Duplicate,
            Self::Held,
            Self::Expired,
            Self::Tombstone,
            Self::ForecastFailed,
        ]
        .into_iter()
        .chain(Rejection::ALL.into_iter().map(Self::Rejected))
    }

    /// `rejected` for every rejection; the reason has a label of its own.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Forecast => "forecast",
            Self::Folded => "folded",
            Self::LateFilled => "late_filled",
            Self::Duplicate => "duplicate",
            Self::Held => "held",
            Self::Expired => "expired",
            Self::Tombstone => "tombstone",
            Self::ForecastFailed => "forecast_failed",
            Self::Rejected(_) => "rejected",
        }
    }

    /// The reason in the dead letter of a record that ended so; `None` for one that has none.
    pub const fn dead_letter_reason(self) -> Option<DeadLetterReason> {
        match self {
            Self::Forecast
            | Self::Folded
            | Self::LateFilled
            | Self::Duplicate
            | Self::Held
            | Self::Expired
            | Self::Tombstone => None,
            Self::ForecastFailed => Some(DeadLetterReason::ModelOutputInvalid),
            Self::Rejected(rejection) => Some(DeadLetterReason::Rejected(rejection)),
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Forecast => 0,
            Self::Folded => 1,
            Self::LateFilled => 2,
            Self::Duplicate => 3,
            Self::Held => 4,
            Self::Expired => 5,
            Self::Tombstone => 6,
            Self::ForecastFailed => 7,
            Self::Rejected(rejection) => 8 + rejection.index(),
        }
    }
}

/// How many records ended as each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts([u64; Outcome::COUNT]);

impl OutcomeCounts {
    pub fn add(&mut self, outcome: Outcome) {
        self.0[outcome.index()] += 1;
    }

    pub fn add_many(&mut self, outcome: Outcome, records: u64) {
        self.0[outcome.index()] += records;
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome.index()]
    }

    /// The number of records: every one of them has exactly one outcome.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::all().map(|outcome| (outcome, self.get(outcome)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_place_of_its_own() {
        assert!(Outcome::all().map(Outcome::index).eq(0..Outcome::COUNT));
        let mut counts = OutcomeCounts::default();
        for outcome in Outcome::all() {
            counts.add(outcome);
        }
        assert_eq!(counts.total(), u64::try_from(Outcome::COUNT).unwrap());
        assert!(counts.iter().all(|(_, count)| count == 1));
    }
}
