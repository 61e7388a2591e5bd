//! The restore threads of a process: the real plan and rebuild over the cluster's log and the snapshots.

use std::collections::VecDeque;

use broker_model::Committed;
use foretell::consume::Assigned;
use foretell::domain::NextOffset;
use foretell::domain::RecordBatch;
use foretell::ownership::Ownership;
use foretell::partition::{
    AtHand, Finding, Fresh, Opening, RebuildPlan, Rebuilt, Restored, Sources, rebuild_from,
};

use crate::bugs::Bug;
use crate::checks::{Violation, ensure, violation};
use crate::hits::Hit;
use crate::input::{index, next};
use crate::lane::Kept;
use crate::shared::{Shared, say};

enum Stage {
    /// Kafka is asked where the group stands.
    Ask,
    Replay(Option<Committed>),
    /// The state is there and has not been handed over.
    Done(Box<Restored>),
}

#[derive(Default)]
pub(crate) struct Restores {
    under_way: VecDeque<(Assigned, Option<Kept>, Stage)>,
}

impl Restores {
    /// `kept` is what this process had of the partition when it was revoked.
    pub(crate) fn begin(&mut self, assigned: Assigned, kept: Option<Kept>) {
        self.under_way.push_back((assigned, kept, Stage::Ask));
    }

    pub(crate) fn is_replaying(&self) -> bool {
        let mut stages = self.under_way.iter();
        stages.any(|(.., stage)| matches!(stage, Stage::Replay(_) | Stage::Done(_)))
    }

    /// One step of one restore; `None` when there is nothing to do. What is given is handed over, once or
    /// more often.
    pub(crate) fn work(
        &mut self,
        ownership: &Ownership,
        shared: &mut Shared,
    ) -> Result<Option<Vec<Restored>>, Violation> {
        if self.under_way.is_empty() {
            return Ok(None);
        }
        let at = shared.random.index(self.under_way.len());
        let Some((assigned, mut kept, stage)) = self.under_way.remove(at) else {
            return Ok(None);
        };
        let partition = index(assigned.partition);
        let wanted = ownership.holds(assigned.partition, assigned.epoch);
        let stage = match stage {
            Stage::Done(restored) => return Ok(Some(hand_over(*restored, shared))),
            // Taken away meanwhile.
            Stage::Ask | Stage::Replay(_) if !wanted => return Ok(Some(Vec::new())),
            Stage::Ask => {
                let stable = !shared.has(Bug::ReadsUnstable);
                if let Ok(committed) = shared.committed(partition, stable) {
                    Stage::Replay(committed)
                } else {
                    shared.hit(Hit::UnstableRead);
                    Stage::Ask
                }
            }
            Stage::Replay(None) => {
                shared.hit(Hit::RestoredFirst);
                Stage::Done(Box::new(Restored {
                    assigned,
                    step: shared.setup.fresh_step(),
                    position: NextOffset::ZERO,
                    opening: Some(Opening::FirstStart),
                }))
            }
            Stage::Replay(Some(committed)) => {
                let restored = replay((assigned, kept.take()), &committed, shared)?;
                Stage::Done(Box::new(restored))
            }
        };
        self.under_way.push_back((assigned, kept, stage));
        Ok(Some(Vec::new()))
    }
}

/// The answer comes once, or is doubled on its way.
fn hand_over(restored: Restored, shared: &mut Shared) -> Vec<Restored> {
    let mut copies = Vec::with_capacity(2);
    if shared.fault(50) {
        shared.hit(Hit::RestoreDoubled);
        copies.push(Restored {
            assigned: restored.assigned,
            step: restored.step.clone(),
            position: restored.position,
            opening: restored.opening.clone(),
        });
    }
    copies.push(restored);
    copies
}

fn replay(
    (assigned, kept): (Assigned, Option<Kept>),
    committed: &Committed,
    shared: &mut Shared,
) -> Result<Restored, Violation> {
    let partition = index(assigned.partition);
    let at = next(committed.offset);
    let hash = shared.setup.config_hash;
    let mut plan = RebuildPlan::proven(&committed.metadata, hash, at, NextOffset::ZERO)
        .map_err(|error| violation("I5", error.to_string()))?;
    if shared.has(Bug::RestoresPastCommit) {
        let log = shared.broker.log(crate::input::input(partition))?;
        plan.committed = next(log.last_stable());
        plan.proof = None;
    }
    let target = plan.committed;
    let range = (plan.from.offset.get(), target.get());
    let mut found = shared.store.find(partition, range);
    let mut kept = kept.filter(|kept| (range.0..=range.1).contains(&kept.position.get()));
    let mut from_kept = false;
    let windows = shared.setup.windows;
    let chunk = 1 + shared.random.index(9);
    let mut unreadable = 0;
    let (setup, broker) = (&shared.setup, &shared.broker);
    let sources = Sources {
        ask: &mut |_schema| None,
        read: &mut |(from, to), fold| {
            let mut from = from.get();
            while from < to.get() {
                let (batch, next) = setup.read(broker, partition, (from, chunk))?;
                fold(&below(batch, to));
                if next == from {
                    break;
                }
                from = next;
            }
            Ok::<_, Violation>(true)
        },
        at_hand: &mut || {
            from_kept = kept.is_some();
            if let Some(held) = kept.take() {
                return Some(AtHand {
                    position: held.position,
                    windows: held.windows,
                });
            }
            while let Some(stored) = found.pop() {
                let loaded = stored.object.load(windows);
                match loaded.filter(|loaded| loaded.position.get() == stored.position) {
                    Some(loaded) => return Some(loaded),
                    None => unreadable += 1,
                }
            }
            None
        },
    };
    let fresh = Fresh {
        windows,
        decoder: &setup.decoder,
    };
    let rebuilt = rebuild_from(fresh, plan, sources, &mut |_watched| {})?;
    (0..unreadable).for_each(|_| shared.hit(Hit::SnapshotUnreadable));
    let Some(rebuilt) = rebuilt else {
        return Err(violation(
            "I16",
            "a restore ended without a state".to_owned(),
        ));
    };
    report((partition, from_kept), &rebuilt, shared)?;
    Ok(Restored {
        assigned,
        step: rebuilt.step,
        position: target,
        opening: None,
    })
}

fn report(
    (partition, from_kept): (usize, bool),
    rebuilt: &Rebuilt,
    shared: &mut Shared,
) -> Result<(), Violation> {
    let Rebuilt {
        step: _,
        finding,
        attempts,
        from_windows,
    } = rebuilt;
    say!(
        shared,
        "restore of {partition}: {finding:?} after {attempts:?}"
    );
    let proven = *finding == Finding::Agreed || shared.has(Bug::RestoresPastCommit);
    ensure(proven, "I5", || {
        format!("the restore of {partition} ended with {finding:?} after {attempts:?}")
    })?;
    if attempts.len() > 1 {
        shared.hit(Hit::RestoredFurtherBack);
    }
    shared.hit(if *from_windows && from_kept {
        Hit::RestoredFromKept
    } else if *from_windows {
        Hit::RestoredFromSnapshot
    } else {
        Hit::RestoredFromLog
    });
    Ok(())
}

/// The records of a batch below a position.
fn below(batch: RecordBatch, to: NextOffset) -> RecordBatch {
    if batch.last_offset().is_none_or(|last| to.is_past(last)) {
        return batch;
    }
    let mut kept = RecordBatch::default();
    for record in batch.iter().filter(|record| to.is_past(record.offset)) {
        let at = (record.offset, record.timestamp);
        kept.push(at, record.key, record.value, record.headers());
    }
    kept
}
