//! The restore threads of a process: the real plan and rebuild over the cluster's log and the snapshots.

use std::collections::VecDeque;

use broker_model::Committed;
use foretell::consume::Assigned;
use foretell::domain::{Epoch, NextOffset, PartitionId};
use foretell::ownership::Ownership;
use foretell::partition::{Opening, Restored, Standing, standing};
use foretell::produce::{Gap, OutputBatch, SourceRange};

use crate::bugs::Bug;
use crate::checks::{Violation, violation};
use crate::hits::Hit;
use crate::input::{index, input, next};
use crate::lane::Kept;
use crate::replay::{Replayed, replay};
use crate::shared::Shared;
use crate::straight::Origin;

enum Stage {
    /// Kafka is asked where the group stands.
    Ask,
    Replay(Found),
    /// The state is there and has not been handed over.
    Done(Box<Ready>),
    /// It cannot be taken over.
    Failed,
}

/// Where the group stands.
pub(crate) struct Found {
    pub(crate) committed: Committed,
    pub(crate) log_start: NextOffset,
    /// The straight run that is committed.
    pub(crate) run: usize,
}

/// A state, and the straight run that it is of.
pub(crate) struct Ready {
    pub(crate) restored: Restored,
    pub(crate) run: usize,
}

/// What a restore gives.
pub(crate) enum Restoring {
    Ready(Box<Ready>),
    /// What comes of a mistake.
    Emitted(Box<OutputBatch>),
    /// Nothing is skipped: the worker ends.
    Failed,
}

#[derive(Default)]
pub(crate) struct Restores {
    under_way: VecDeque<(Assigned, Option<Kept>, Stage)>,
    /// Whether gaps are skipped, since the process started.
    pub(crate) skips_gaps: bool,
}

impl Restores {
    /// `kept` is what this process had of the partition when it was revoked.
    pub(crate) fn begin(&mut self, assigned: Assigned, kept: Option<Kept>) {
        self.under_way.push_back((assigned, kept, Stage::Ask));
    }

    pub(crate) fn has(&self, partition: PartitionId, epoch: Epoch) -> bool {
        let mut assigned = self.under_way.iter().map(|(assigned, ..)| assigned);
        assigned.any(|one| (one.partition, one.epoch) == (partition, epoch))
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
    ) -> Result<Option<Vec<Restoring>>, Violation> {
        if self.under_way.is_empty() {
            return Ok(None);
        }
        let at = shared.random.index(self.under_way.len());
        let Some((assigned, mut kept, stage)) = self.under_way.remove(at) else {
            return Ok(None);
        };
        let mut given = Vec::new();
        let wanted = ownership.holds(assigned.partition, assigned.epoch);
        let stage = match stage {
            Stage::Done(ready) => return Ok(Some(hand_over(*ready, shared))),
            Stage::Failed => return Ok(Some(vec![Restoring::Failed])),
            // Taken away meanwhile.
            Stage::Ask | Stage::Replay(_) if !wanted => return Ok(Some(given)),
            Stage::Ask => self.ask(assigned, shared)?,
            Stage::Replay(found) => {
                let Replayed { ready, emitted } = replay((assigned, kept.take()), &found, shared)?;
                given.extend(emitted.map(|batch| Restoring::Emitted(Box::new(batch))));
                if let Some(ready) = ready {
                    Stage::Done(Box::new(ready))
                } else {
                    // It is tried again, without what was at hand.
                    shared.hit(Hit::DeletedInReplay);
                    Stage::Ask
                }
            }
        };
        self.under_way.push_back((assigned, kept, stage));
        Ok(Some(given))
    }

    fn ask(&self, assigned: Assigned, shared: &mut Shared) -> Result<Stage, Violation> {
        let partition = index(assigned.partition);
        let stable = !shared.has(Bug::ReadsUnstable);
        let Ok(committed) = shared.committed(partition, stable) else {
            shared.hit(Hit::UnstableRead);
            return Ok(Stage::Ask);
        };
        let log = shared.broker.log(input(partition))?;
        let ends = (next(log.start()), next(log.end()));
        let at = committed.as_ref().map(|committed| next(committed.offset));
        let opened = match (standing(at, ends, self.skips_gaps), committed) {
            (Standing::New, _) => {
                shared.hit(Hit::RestoredFirst);
                (ends.0, Opening::FirstStart)
            }
            (Standing::Skips { from, to }, _) => {
                shared.hit(Hit::GapMetRestoring);
                let gap = Gap(SourceRange {
                    topic: "in".to_owned(),
                    partition: assigned.partition,
                    from,
                    to,
                });
                (to, Opening::Gap(gap))
            }
            (Standing::Outside, _) => {
                shared.hit(Hit::GapMetRestoring);
                return Ok(Stage::Failed);
            }
            (Standing::Within, committed) => {
                let committed =
                    committed.ok_or_else(|| violation("I5", "of nothing".to_owned()))?;
                let run = shared.straight[partition].committed();
                let log_start = ends.0;
                return Ok(Stage::Replay(Found {
                    committed,
                    log_start,
                    run,
                }));
            }
        };
        let (position, opening) = opened;
        let start = position.get();
        let run = begin_run(Origin::Empty { start }, partition, shared)?;
        let restored = Restored {
            assigned,
            step: shared.setup.fresh_step(position),
            position,
            opening: Some(opening),
        };
        Ok(Stage::Done(Box::new(Ready { restored, run })))
    }
}

pub(crate) fn begin_run(
    origin: Origin,
    partition: usize,
    shared: &mut Shared,
) -> Result<usize, Violation> {
    let with = (&shared.setup, &shared.broker);
    Ok(shared.straight[partition].begin(origin, with, partition)?)
}

/// The answer comes once, or is doubled on its way.
fn hand_over(ready: Ready, shared: &mut Shared) -> Vec<Restoring> {
    let mut copies = Vec::with_capacity(2);
    if shared.fault(50) {
        shared.hit(Hit::RestoreDoubled);
        let Ready { restored, run } = &ready;
        let restored = Restored {
            assigned: restored.assigned,
            step: restored.step.clone(),
            position: restored.position,
            opening: restored.opening.clone(),
        };
        let run = *run;
        copies.push(Restoring::Ready(Box::new(Ready { restored, run })));
    }
    copies.push(Restoring::Ready(Box::new(ready)));
    copies
}
