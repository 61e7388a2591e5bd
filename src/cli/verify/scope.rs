//! What is checked of an input partition, and what can be said about it.

use crate::domain::{NextOffset, Offset, PartitionId};

/// What is checked of one input partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    pub partition: PartitionId,
    /// The first record that is folded.
    pub first: NextOffset,
    /// Where the log begins.
    pub log_start: NextOffset,
    /// The stable committed offset when the check began: the end of what is checked.
    pub committed: NextOffset,
    /// The same once the ends of the output topics were known: what was committed meanwhile is newer.
    pub newer_until: NextOffset,
    /// True where forecasts of records below `first` can be: it is no start of a group that is known.
    pub has_past: bool,
    /// From where on it is known what `partial` must be; `None` is nowhere.
    pub partial_known_from: Option<NextOffset>,
    /// The records that were asked for; `None` is all of them.
    pub asked: Option<(NextOffset, NextOffset)>,
}

/// Where a source lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// Not asked for.
    Outside,
    /// Below the first record that is folded.
    Below,
    Judged,
    Newer,
    /// At or after the committed offset.
    Beyond,
}

impl Scope {
    pub fn lies(&self, offset: Offset) -> Lies {
        let is_asked =
            |(from, to): (NextOffset, NextOffset)| !from.is_past(offset) && to.is_past(offset);
        if !self.asked.is_none_or(is_asked) {
            Lies::Outside
        } else if !self.newer_until.is_past(offset) {
            Lies::Beyond
        } else if self.first.is_past(offset) {
            Lies::Below
        } else if self.committed.is_past(offset) {
            Lies::Judged
        } else {
            Lies::Newer
        }
    }

    /// The records to be judged, which may be none.
    pub fn judged(&self) -> (NextOffset, NextOffset) {
        let (from, to) = self.asked.unwrap_or((self.first, self.committed));
        (from.max(self.first), to.min(self.committed))
    }

    /// Whether `partial` of this source's forecast can be compared.
    pub fn knows_partial(&self, offset: Offset) -> bool {
        self.partial_known_from
            .is_some_and(|from| !from.is_past(offset))
    }
}

/// Whether the windows at the committed offset are those that a worker left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateProof {
    Agrees,
    Differs {
        found: u64,
        committed: u64,
    },
    /// Nothing can be said, and why.
    Untold(String),
}
