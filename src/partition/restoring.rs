//! What is restored at the moment and how that goes, for whoever asks whether the worker is ready.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::consume::Assigned;
use crate::domain::{Epoch, NextOffset, PartitionId, RecordBatch};

/// Without a record for this long a replay is said to wait for one.
const WAITS_AFTER: Duration = Duration::from_secs(3);

/// A restore that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restoring {
    epoch: Epoch,
    pub since: Instant,
    /// What it does, or waits for.
    pub doing: String,
    /// What its last attempt failed with.
    pub failed: Option<String>,
}

/// The restores that are under way; a partition that waits for its turn is not among them.
#[derive(Clone, Debug)]
pub struct Restores {
    under_way: watch::Sender<BTreeMap<PartitionId, Restoring>>,
}

impl Default for Restores {
    fn default() -> Self {
        let (under_way, _nobody_watches_yet) = watch::channel(BTreeMap::new());
        Self { under_way }
    }
}

impl Restores {
    pub fn watch(&self) -> watch::Receiver<BTreeMap<PartitionId, Restoring>> {
        self.under_way.subscribe()
    }

    pub(super) fn begin(&self, assigned: Assigned) -> UnderWay {
        let Assigned { partition, epoch } = assigned;
        let restoring = Restoring {
            epoch,
            since: Instant::now(),
            doing: String::new(),
            failed: None,
        };
        self.under_way.send_modify(|all| {
            all.insert(partition, restoring);
        });
        UnderWay {
            restores: self.clone(),
            assigned,
        }
    }
}

/// A restore, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    restores: Restores,
    assigned: Assigned,
}

impl UnderWay {
    pub(super) fn does(&self, doing: impl Into<String>) {
        let doing = doing.into();
        self.change(|restoring| restoring.doing = doing);
    }

    pub(super) fn failed(&self, error: &dyn Display) {
        let error = error.to_string();
        self.change(|restoring| restoring.failed = Some(error));
    }

    fn change(&self, change: impl FnOnce(&mut Restoring)) {
        let Assigned { partition, epoch } = self.assigned;
        self.restores.under_way.send_modify(|all| {
            if let Some(mine) = all.get_mut(&partition).filter(|one| one.epoch == epoch) {
                change(mine);
            }
        });
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Assigned { partition, epoch } = self.assigned;
        self.restores.under_way.send_modify(|all| {
            // Assigned once more, it may be on another thread by now.
            if all.get(&partition).is_some_and(|one| one.epoch == epoch) {
                all.remove(&partition);
            }
        });
    }
}

/// What is told of a replay.
#[derive(Debug)]
pub(super) struct Told<'a> {
    under_way: &'a UnderWay,
    range: (NextOffset, NextOffset),
    at: NextOffset,
    /// When the last record came.
    last: Instant,
    waits: bool,
}

impl<'a> Told<'a> {
    pub(super) fn new(range: (NextOffset, NextOffset), under_way: &'a UnderWay) -> Self {
        let told = Self {
            under_way,
            range,
            at: range.0,
            last: Instant::now(),
            waits: false,
        };
        told.reads();
        told
    }

    fn reads(&self) {
        let (from, to) = self.range;
        self.under_way
            .does(format!("reads its records from offset {from} up to {to}"));
    }

    /// While no record comes, `batch` is empty.
    pub(super) fn read(&mut self, batch: &RecordBatch) {
        if let Some(record) = batch.iter().last() {
            self.at = record.offset.next();
            self.last = Instant::now();
            if std::mem::take(&mut self.waits) {
                self.reads();
            }
        } else if !self.waits && self.last.elapsed() > WAITS_AFTER {
            self.waits = true;
            let (at, (_, to)) = (self.at, self.range);
            self.under_way.does(format!(
                "waits for its records from offset {at} up to {to}: can its leader be reached?"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_that_is_not_wanted_any_more_hides_nothing_of_the_next_one() {
        let one = |epoch| Assigned {
            partition: PartitionId(3),
            epoch: Epoch(epoch),
        };
        let restores = Restores::default();
        let watch = restores.watch();
        let first = restores.begin(one(1));
        first.does("reads");
        first.failed(&"no broker");
        let shown = watch.borrow().get(&PartitionId(3)).cloned().unwrap();
        assert_eq!(shown.doing, "reads");
        assert_eq!(shown.failed.as_deref(), Some("no broker"));
        let second = restores.begin(one(2));
        first.does("still reads");
        drop(first);
        let next = watch.borrow().get(&PartitionId(3)).cloned().unwrap();
        assert_eq!((&*next.doing, next.failed), ("", None));
        drop(second);
        assert!(watch.borrow().is_empty());
    }
}
