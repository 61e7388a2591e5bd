//! Which partitions this process may speak for, and since which assignment.
//!
//! The broker checks the member and its generation, but not that an offset belongs to the member
//! that commits it (docs/kafka.md, finding 3), so ownership is enforced here.
//! The rebalance hooks change the table; the committer keeps it from losing an entry for a whole
//! transaction, so a partition cannot change hands between the check and the commit. Nobody else
//! writes it. Whoever only asks never waits for a transaction: a poll, or a restore that runs while
//! the other partitions are served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{Epoch, PartitionId};

/// A shared handle to the table.
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Held for a whole transaction, and by whoever ends an epoch. Taken before the table.
    commit: Mutex<()>,
    /// Held for one look or one change.
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    epochs: BTreeMap<PartitionId, Epoch>,
    last: u64,
}

impl Ownership {
    /// Starts a new epoch for a partition that was assigned.
    pub fn acquire(&self, partition: PartitionId) -> Epoch {
        let mut table = self.lock();
        table.last += 1;
        let epoch = Epoch(table.last);
        table.epochs.insert(partition, epoch);
        epoch
    }

    /// Ends ownership. Blocks while a transaction is under way.
    pub fn release(&self, partition: PartitionId) {
        let _no_commit = self.lock_commit();
        self.lock().epochs.remove(&partition);
    }

    /// True while `epoch` is the partition's present assignment to this process.
    pub fn holds(&self, partition: PartitionId, epoch: Epoch) -> bool {
        self.lock().epochs.get(&partition) == Some(&epoch)
    }

    /// Keeps every epoch from ending until the guard is dropped.
    pub fn freeze(&self) -> Frozen<'_> {
        Frozen {
            _commit: self.lock_commit(),
            ownership: self,
        }
    }

    fn lock_commit(&self) -> MutexGuard<'_, ()> {
        self.shared
            .commit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is a map of numbers: a thread that panicked left it in a state that is valid.
        self.shared
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ownership that cannot end while this exists.
#[derive(Debug)]
pub struct Frozen<'a> {
    _commit: MutexGuard<'a, ()>,
    ownership: &'a Ownership,
}

impl Frozen<'_> {
    pub fn holds(&self, partition: PartitionId, epoch: Epoch) -> bool {
        self.ownership.holds(partition, epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_with_its_assignment() {
        let ownership = Ownership::default();
        let partition = PartitionId(3);
        let first = ownership.acquire(partition);
        assert!(ownership.holds(partition, first));
        ownership.release(partition);
        assert!(!ownership.holds(partition, first));
        let second = ownership.acquire(partition);
        assert!(ownership.holds(partition, second) && !ownership.holds(partition, first));
        assert!(ownership.freeze().holds(partition, second));
    }

    #[test]
    fn a_commit_keeps_nobody_from_asking_and_nothing_from_being_assigned() {
        let ownership = Ownership::default();
        let (kept, new) = (PartitionId(0), PartitionId(1));
        let epoch = ownership.acquire(kept);
        let frozen = ownership.freeze();
        let other = ownership.acquire(new);
        assert!(ownership.holds(kept, epoch) && ownership.holds(new, other));
        assert!(frozen.holds(kept, epoch));
    }
}
