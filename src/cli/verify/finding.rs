//! What a check finds: a closed set, its counts, and the first of each kind with where it lies.

use std::collections::BTreeMap;

use serde::Serialize;

/// What was found of a forecast, a dead letter or a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// As recomputed, to the last bit.
    Equal,
    /// Made by another runtime, and within the limit of what runtimes differ by.
    Close,
    Missing,
    Doubled,
    Differing,
    OutOfOrder,
    /// Nothing makes it due.
    Unexpected,
    /// Nobody had its model serve its origin.
    NeverInForce,
    /// Missing, and perhaps rightly so: it may have expired.
    MaybeExpired,
    /// Missing between forecasts of two models, of which only one had made it due.
    Undecided,
    /// It cannot be told any more what it should be.
    Unverifiable,
    UnknownModel,
    /// So far out of order that what it should be was forgotten.
    TooLate,
    /// Of a record that was not committed when the check began.
    Newer,
    /// Of a record that was not asked for.
    Outside,
    /// Of another input topic.
    OtherTopic,
    LetterEqual,
    LetterMissing,
    LetterDoubled,
    LetterReason,
    LetterUnexpected,
    LetterUnverifiable,
    LetterNewer,
    LetterOutside,
    /// The record of a gap that was skipped.
    LetterGap,
    /// Of another input topic, a receipt, or written by somebody else.
    LetterOther,
    /// The windows are not those that were committed.
    Checksum,
}

/// What a finding means for the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Right, or nothing to do with this check.
    Fine,
    /// Nothing is said about it, and nobody can.
    Untold,
    /// Could be checked and was not.
    Unchecked,
    Wrong,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Forecasts,
    Letters,
    State,
}

impl Finding {
    pub const ALL: [Self; 27] = [
        Self::Equal,
        Self::Close,
        Self::Missing,
        Self::Doubled,
        Self::Differing,
        Self::OutOfOrder,
        Self::Unexpected,
        Self::NeverInForce,
        Self::MaybeExpired,
        Self::Undecided,
        Self::Unverifiable,
        Self::UnknownModel,
        Self::TooLate,
        Self::Newer,
        Self::Outside,
        Self::OtherTopic,
        Self::LetterEqual,
        Self::LetterMissing,
        Self::LetterDoubled,
        Self::LetterReason,
        Self::LetterUnexpected,
        Self::LetterUnverifiable,
        Self::LetterNewer,
        Self::LetterOutside,
        Self::LetterGap,
        Self::LetterOther,
        Self::Checksum,
    ];

    /// For programs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Close => "close",
            Self::Missing => "missing",
            Self::Doubled => "doubled",
            Self::Differing => "differing",
            Self::OutOfOrder => "out_of_order",
            Self::Unexpected => "unexpected",
            Self::NeverInForce => "never_in_force",
            Self::MaybeExpired => "maybe_expired",
            Self::Undecided => "undecided",
            Self::Unverifiable => "unverifiable",
            Self::UnknownModel => "unknown_model",
            Self::TooLate => "too_late",
            Self::Newer => "newer",
            Self::Outside => "outside",
            Self::OtherTopic => "other_topic",
            Self::LetterEqual => "letter_equal",
            Self::LetterMissing => "letter_missing",
            Self::LetterDoubled => "letter_doubled",
            Self::LetterReason => "letter_reason",
            Self::LetterUnexpected => "letter_unexpected",
            Self::LetterUnverifiable => "letter_unverifiable",
            Self::LetterNewer => "letter_newer",
            Self::LetterOutside => "letter_outside",
            Self::LetterGap => "letter_gap",
            Self::LetterOther => "letter_other",
            Self::Checksum => "checksum",
        }
    }

    /// For people, in a table of what it is about.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Equal => "equal, every bit",
            Self::Close => "equal within the limit for another runtime",
            Self::Missing | Self::LetterMissing => "missing",
            Self::Doubled | Self::LetterDoubled => "doubled",
            Self::Differing => "differing",
            Self::OutOfOrder => "out of order",
            Self::Unexpected | Self::LetterUnexpected => "unexpected",
            Self::NeverInForce => "of a model that was never in force",
            Self::MaybeExpired => "expired? (cannot be told from missing)",
            Self::Undecided => "undecided, where the model was changed",
            Self::Unverifiable | Self::LetterUnverifiable => "cannot be checked any more",
            Self::UnknownModel => "of a model that was not given",
            Self::TooLate => "not checked, too far out of order",
            Self::Newer | Self::LetterNewer => "newer than the check",
            Self::Outside | Self::LetterOutside => "not asked for",
            Self::OtherTopic => "of another input topic",
            Self::LetterEqual => "as they should be",
            Self::LetterReason => "with another reason",
            Self::LetterGap => "of gaps that were skipped",
            Self::LetterOther => "of others, receipts",
            Self::Checksum => "windows that differ from the committed checksum",
        }
    }

    pub const fn weight(self) -> Weight {
        match self {
            Self::Equal
            | Self::Close
            | Self::Newer
            | Self::Outside
            | Self::OtherTopic
            | Self::LetterEqual
            | Self::LetterNewer
            | Self::LetterOutside
            | Self::LetterGap
            | Self::LetterOther => Weight::Fine,
            Self::MaybeExpired
            | Self::Undecided
            | Self::Unverifiable
            | Self::LetterUnverifiable => Weight::Untold,
            Self::UnknownModel | Self::TooLate => Weight::Unchecked,
            Self::Missing
            | Self::Doubled
            | Self::Differing
            | Self::OutOfOrder
            | Self::Unexpected
            | Self::NeverInForce
            | Self::LetterMissing
            | Self::LetterDoubled
            | Self::LetterReason
            | Self::LetterUnexpected
            | Self::Checksum => Weight::Wrong,
        }
    }

    pub const fn about(self) -> About {
        match self {
            Self::Equal
            | Self::Close
            | Self::Missing
            | Self::Doubled
            | Self::Differing
            | Self::OutOfOrder
            | Self::Unexpected
            | Self::NeverInForce
            | Self::MaybeExpired
            | Self::Undecided
            | Self::Unverifiable
            | Self::UnknownModel
            | Self::TooLate
            | Self::Newer
            | Self::Outside
            | Self::OtherTopic => About::Forecasts,
            Self::LetterEqual
            | Self::LetterMissing
            | Self::LetterDoubled
            | Self::LetterReason
            | Self::LetterUnexpected
            | Self::LetterUnverifiable
            | Self::LetterNewer
            | Self::LetterOutside
            | Self::LetterGap
            | Self::LetterOther => About::Letters,
            Self::Checksum => About::State,
        }
    }
}

/// Where a record lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// One finding, for who looks into it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub finding: Finding,
    /// The record of the input topic, where one is named.
    pub source: Option<Place>,
    /// The forecast or the dead letter, where there is one.
    pub output: Option<Place>,
    pub what: String,
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

/// All findings of a check, counted, and the first of each that somebody should look at.
#[derive(Debug)]
pub struct Findings {
    counts: BTreeMap<Finding, u64>,
    differences: BTreeMap<Finding, Vec<Difference>>,
    show: usize,
}

impl Findings {
    /// Keeps the first `show` of each kind.
    pub fn new(show: usize) -> Self {
        Self {
            counts: BTreeMap::new(),
            differences: BTreeMap::new(),
            show,
        }
    }

    /// Counts one that there is nothing to say about.
    pub fn count(&mut self, finding: Finding) {
        *self.counts.entry(finding).or_default() += 1;
    }

    /// Counts one, and keeps it if it is among the first.
    pub fn note(&mut self, finding: Finding, tell: impl FnOnce() -> Difference) {
        self.count(finding);
        let kept = self.differences.entry(finding).or_default();
        if kept.len() < self.show {
            kept.push(tell());
        }
    }

    pub fn get(&self, finding: Finding) -> u64 {
        self.counts.get(&finding).copied().unwrap_or(0)
    }

    /// How many there are of this weight.
    pub fn of_weight(&self, weight: Weight) -> u64 {
        let of =
            |(finding, count): (&Finding, &u64)| (finding.weight() == weight).then_some(*count);
        self.counts.iter().filter_map(of).sum()
    }

    /// Every finding that was made, in the order of [`Finding::ALL`].
    pub fn counts(&self) -> impl Iterator<Item = (Finding, u64)> + '_ {
        self.counts
            .iter()
            .map(|(finding, count)| (*finding, *count))
    }

    /// Those that were kept, kind by kind.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.differences.values().flatten()
    }

    /// True when everything that can be checked was checked and is as it should be.
    pub fn is_clean(&self) -> bool {
        self.of_weight(Weight::Wrong) == 0 && self.of_weight(Weight::Unchecked) == 0
    }
}
