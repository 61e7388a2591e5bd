//! How far one assignment of a partition is committed: told by the committer, read by the poll thread.
//!
//! Its gauges are published by the poll thread alone: it knows the end of the log, and it is the one
//! that learns when the partition goes, so no commit can bring a gauge back that has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::{NextOffset, Timestamp};

/// Two numbers of one assignment. The next assignment has others, so a late commit of this one cannot
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

    /// Record timestamp of the newest committed record of this assignment.
    pub fn newest(&self) -> Option<Timestamp> {
        let newest = self.numbers.newest_ms.load(Ordering::Relaxed);
        (newest != NONE).then_some(Timestamp(newest))
    }
}
