//! What a lane shows of its work to the watchdog: which round it is in, and whose.
//!
//! A lane that hangs can answer nothing, so it says beforehand what it is about to do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::domain::PartitionId;

/// A lane that hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HungLane {
    pub lane: usize,
    pub partitions: Vec<PartitionId>,
    /// When its round began.
    pub since: Instant,
    /// In a run of the model.
    pub in_run: bool,
}

/// Both sides of it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    shared: Arc<Mutex<Beat>>,
}

#[derive(Debug, Default)]
struct Beat {
    /// Rounds that have begun.
    begun: u64,
    in_round: bool,
    partitions: Vec<PartitionId>,
}

impl Pulse {
    /// A round begins.
    pub(super) fn begin(&self) {
        let mut beat = self.beat();
        beat.begun += 1;
        beat.in_round = true;
    }

    /// It has ended. To wait for the committer afterwards is no part of it: that is told as commits that
    /// fail.
    pub(super) fn end(&self) {
        self.beat().in_round = false;
    }

    /// The lane has these partitions from now on.
    pub(super) fn serves(&self, partitions: impl Iterator<Item = PartitionId>) {
        let mut beat = self.beat();
        beat.partitions.clear();
        beat.partitions.extend(partitions);
    }

    /// The number of the round that is under way.
    pub fn round(&self) -> Option<u64> {
        let beat = self.beat();
        beat.in_round.then_some(beat.begun)
    }

    /// The lane's partitions, in order.
    pub fn partitions(&self) -> Vec<PartitionId> {
        let mut partitions = self.beat().partitions.clone();
        partitions.sort_unstable();
        partitions
    }

    /// Whether nobody else holds it: the lane is gone.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    fn beat(&self) -> MutexGuard<'_, Beat> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
