//! How far one assignment of a partition is committed, and what its windows hold: told by the committer and the lane,
//! read by the poll thread.
//!
//! Its gauges are published by the poll thread alone: it knows the end of the log, and it is the one
//! that learns when the partition goes, so no commit can bring a gauge back that has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use crate::domain::{NextOffset, Timestamp};

/// Some numbers of one assignment. The next assignment has others, so a late commit of this one cannot
/// be taken for its progress.
#[derive(Clone, Debug)]
pub struct Progress {
    numbers: Arc<Numbers>,
}

#[derive(Debug)]
struct Numbers {
    committed: AtomicI64,
    /// Record timestamp of the newest committed record, [`NONE`] before the first.
    newest_ms: AtomicI64,
    series: AtomicUsize,
    is_partial: AtomicBool,
}

/// How a partition of this worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionProgress {
    /// Committed offset, the next to read.
    pub committed: i64,
    /// Offsets behind the last stable one; `None` before the client knows that.
    pub lag: Option<i64>,
    /// Series in the windows.
    pub series: usize,
    /// A window may lack something that was lost to a restore.
    pub is_partial: bool,
}

const NONE: i64 = i64::MIN;

impl Progress {
    /// An assignment that begins at `position`: the committed offset, or the start of a group that
    /// has none yet.
    pub fn at(position: NextOffset) -> Self {
        Self {
            numbers: Arc::new(Numbers {
                committed: AtomicI64::new(position.get()),
                newest_ms: AtomicI64::new(NONE),
                series: AtomicUsize::new(0),
                is_partial: AtomicBool::new(false),
            }),
        }
    }

    /// Everything before `to` is committed.
    pub fn advance(&self, to: NextOffset, newest: Option<Timestamp>) {
        self.numbers.committed.store(to.get(), Ordering::Relaxed);
        if let Some(Timestamp(newest)) = newest {
            self.numbers.newest_ms.store(newest, Ordering::Relaxed);
        }
    }

    pub fn committed(&self) -> i64 {
        self.numbers.committed.load(Ordering::Relaxed)
    }

    /// What the windows hold now.
    pub fn keeps(&self, series: usize, is_partial: bool) {
        self.numbers.series.store(series, Ordering::Relaxed);
        self.numbers.is_partial.store(is_partial, Ordering::Relaxed);
    }

    /// All of it, where the log ends at `log_end` as far as the client knows.
    pub fn look(&self, log_end: Option<i64>) -> PartitionProgress {
        let committed = self.committed();
        PartitionProgress {
            committed,
            // Offsets have holes, so this bounds the records that wait; it does not count them. The end is some
            // seconds old: what was committed meanwhile must not make it negative.
            lag: log_end.map(|end| end.saturating_sub(committed).max(0)),
            series: self.numbers.series.load(Ordering::Relaxed),
            is_partial: self.numbers.is_partial.load(Ordering::Relaxed),
        }
    }

    /// Record timestamp of the newest committed record of this assignment.
    pub fn newest(&self) -> Option<Timestamp> {
        let newest = self.numbers.newest_ms.load(Ordering::Relaxed);
        (newest != NONE).then_some(Timestamp(newest))
    }
}
