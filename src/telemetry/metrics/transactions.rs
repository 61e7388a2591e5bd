//! What is counted of commits.

use std::time::Duration;

use metrics::{counter, histogram};

use super::catalogue::{COMMIT, REINITIALISED, SETTLED, SKIPPED, STALE, TRANSACTIONS};

/// How an attempt to commit went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionResult {
    Committed,
    /// Aborted; its output batches are sent again.
    Aborted,
    /// Not begun: the worker is not in its group at the moment.
    NotAMember,
    /// It is not known whether it was committed; it is settled.
    Indefinite,
}

impl TransactionResult {
    pub const ALL: [Self; 4] = [
        Self::Committed,
        Self::Aborted,
        Self::NotAMember,
        Self::Indefinite,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::NotAMember => "not_a_member",
            Self::Indefinite => "indefinite",
        }
    }
}

/// What the committed offset of one partition says of a transaction without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Committed,
    /// Nothing of it is visible: it is sent again.
    NotCommitted,
    /// Neither its start nor its end: somebody else moved it.
    Elsewhere,
    /// A commit that moves nothing cannot be told from none, and may be made twice.
    Silent,
}

impl Settlement {
    pub const ALL: [Self; 4] = [
        Self::Committed,
        Self::NotCommitted,
        Self::Elsewhere,
        Self::Silent,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::NotCommitted => "not_committed",
            Self::Elsewhere => "elsewhere",
            Self::Silent => "silent",
        }
    }
}

pub(super) fn describe() {
    for result in TransactionResult::ALL {
        counter!(TRANSACTIONS, "result" => result.label()).absolute(0);
    }
    for verdict in Settlement::ALL {
        counter!(SETTLED, "verdict" => verdict.label()).absolute(0);
    }
    counter!(REINITIALISED).absolute(0);
    counter!(SKIPPED).absolute(0);
}

/// An attempt to commit ended.
pub fn transaction(result: TransactionResult) {
    counter!(TRANSACTIONS, "result" => result.label()).increment(1);
}

/// Output batches were made visible, after as many attempts as it took.
pub fn commit_seconds(took: Duration) {
    histogram!(COMMIT).record(took.as_secs_f64());
}

/// Output batches were dropped because their partitions were taken away.
pub fn batches_stale(count: usize) {
    counter!(STALE).increment(u64::try_from(count).unwrap_or(u64::MAX));
}

/// The producer was destroyed and another one initialised.
pub fn producer_reinitialised() {
    counter!(REINITIALISED).increment(1);
}

/// What a transaction without a result turned out to be, for one of its partitions.
pub fn settled(verdict: Settlement) {
    counter!(SETTLED, "verdict" => verdict.label()).increment(1);
}

/// Offsets are skipped whose records were deleted before they were read.
pub fn skipped(offsets: u64) {
    counter!(SKIPPED).increment(offsets);
}
