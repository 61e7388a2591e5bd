//! The assigner: the one owner of "which partition is where".
//!
//! It turns rebalances and finished restores into commands: restore this, serve that on this lane,
//! give it up. All of these pass through one thread in one order, so a partition that is taken away
//! while it is being restored can never be served afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use tokio::sync::{Notify, mpsc, watch};
use tracing::info;

use super::lane::LaneCommand;
use super::restore::{RestoreError, Restored};
use super::round::Serving;
use crate::consume::{Assigned, PollCommand, QueueLimits, RebalanceEvent, queue};
use crate::domain::{Epoch, PartitionId};
use crate::produce::{CommitterInput, OutputBatch, Taken};
use crate::telemetry::metrics;

/// What arrives at the assigner.
#[derive(Debug)]
pub enum AssignerInput {
    Rebalance(RebalanceEvent),
    Restored(Box<Restored>),
    /// A partition cannot be taken over, and nothing is skipped: the worker ends.
    Failed(RestoreError),
    /// The group has been left.
    Stop,
}

/// The other threads, as the assigner commands them.
#[derive(Debug)]
pub struct AssignerSettings {
    pub inputs: Receiver<AssignerInput>,
    pub restores: SyncSender<Assigned>,
    pub lanes: Vec<LaneHandle>,
    pub poller: SyncSender<PollCommand>,
    pub committer: mpsc::Sender<CommitterInput>,
    pub roster: watch::Sender<Roster>,
    pub queue: QueueLimits,
}

/// A lane, as the assigner commands it.
#[derive(Clone, Debug)]
pub struct LaneHandle {
    pub commands: mpsc::Sender<LaneCommand>,
    pub wake: Arc<Notify>,
}

/// How many partitions this worker has, for readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// True once the group has given its first answer, even if that was no partition.
    pub joined: bool,
    pub restoring: usize,
    pub serving: usize,
}

/// Why the assigner ended early.
#[derive(Debug, thiserror::Error)]
pub enum AssignerError {
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("{0} has ended")]
    Gone(&'static str),
}

/// Where a partition is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Restoring { epoch: Epoch },
    Serving { lane: usize },
}

/// The state of the assigner's thread.
#[derive(Debug)]
pub struct Assigner {
    settings: AssignerSettings,
    phases: BTreeMap<PartitionId, Phase>,
    joined: bool,
}

impl Assigner {
    pub fn new(settings: AssignerSettings) -> Self {
        Self {
            settings,
            phases: BTreeMap::new(),
            joined: false,
        }
    }

    /// Works until it is told to stop. Its end ends the restore threads, the lanes and the committer.
    ///
    /// # Errors
    /// When a partition cannot be restored, or another thread has ended.
    pub fn run(mut self) -> Result<(), AssignerError> {
        while let Ok(input) = self.settings.inputs.recv() {
            match input {
                AssignerInput::Rebalance(event) => self.on_rebalance(event)?,
                AssignerInput::Restored(restored) => self.on_restored(*restored)?,
                AssignerInput::Failed(error) => return Err(error.into()),
                AssignerInput::Stop => return Ok(()),
            }
            self.publish();
        }
        Ok(())
    }

    fn on_rebalance(&mut self, event: RebalanceEvent) -> Result<(), AssignerError> {
        self.joined = true;
        match event {
            RebalanceEvent::Assigned(assigned) => {
                for one in assigned {
                    self.phases
                        .insert(one.partition, Phase::Restoring { epoch: one.epoch });
                    let sent = self.settings.restores.send(one);
                    sent.map_err(|_closed| AssignerError::Gone("restoring"))?;
                }
                Ok(())
            }
            RebalanceEvent::Revoked {
                partitions,
                released,
            } => {
                partitions.into_iter().try_for_each(|partition| {
                    let released = released.clone();
                    self.give_up(
                        partition,
                        LaneCommand::Release {
                            partition,
                            released,
                        },
                    )
                })
                // The last clone of `released` is dropped by the committer.
            }
            RebalanceEvent::Lost(partitions) => {
                // Out of the group, until it gives the next assignment.
                self.joined = false;
                partitions.into_iter().try_for_each(|partition| {
                    self.give_up(partition, LaneCommand::Discard { partition })
                })
            }
        }
    }

    fn give_up(
        &mut self,
        partition: PartitionId,
        command: LaneCommand,
    ) -> Result<(), AssignerError> {
        match self.phases.remove(&partition) {
            Some(Phase::Serving { lane }) => self.command(lane, command),
            // Nothing of it has been published. Dropping the command releases it.
            Some(Phase::Restoring { .. }) | None => Ok(()),
        }
    }

    fn on_restored(&mut self, restored: Restored) -> Result<(), AssignerError> {
        let Restored {
            assigned: Assigned { partition, epoch },
            mut step,
            position,
            first_start,
        } = restored;
        match self.phases.get(&partition) {
            Some(Phase::Restoring { epoch: current }) if *current == epoch => {}
            // Taken away, perhaps given back, while it was being restored.
            Some(Phase::Restoring { .. } | Phase::Serving { .. }) | None => return Ok(()),
        }
        if first_start {
            // A crash before the first commit must not resolve "latest" again, further on. It advances
            // nothing, so its progress is nobody's.
            let mut start = OutputBatch::new(partition, epoch, position);
            start.metadata = step.metadata(position).encode();
            self.settings
                .committer
                .blocking_send(CommitterInput::Batch(Box::new(start), Taken::default()))
                .map_err(|_closed| AssignerError::Gone("the committer"))?;
        }
        let lane = self.least_loaded();
        let wake = Arc::clone(&self.settings.lanes[lane].wake);
        let (sender, receiver) = queue(self.settings.queue, wake);
        let serving = Serving::new((partition, epoch), step, position, receiver);
        let progress = serving.progress.clone();
        self.command(lane, LaneCommand::Serve(Box::new(serving)))?;
        self.phases.insert(partition, Phase::Serving { lane });
        info!(%partition, %position, lane, "serving");
        self.settings
            .poller
            .send(PollCommand::Serve {
                partition,
                epoch,
                at: position,
                queue: sender,
                progress,
            })
            .map_err(|_closed| AssignerError::Gone("the poll thread"))
    }

    fn least_loaded(&self) -> usize {
        let load = |lane: usize| {
            self.phases
                .values()
                .filter(|phase| matches!(phase, Phase::Serving { lane: at } if *at == lane))
                .count()
        };
        (0..self.settings.lanes.len())
            .min_by_key(|lane| load(*lane))
            .unwrap_or(0)
    }

    fn command(&self, lane: usize, command: LaneCommand) -> Result<(), AssignerError> {
        self.settings.lanes[lane]
            .commands
            .blocking_send(command)
            .map_err(|_closed| AssignerError::Gone("a lane"))
    }

    fn publish(&self) {
        let serving = self
            .phases
            .values()
            .filter(|phase| matches!(phase, Phase::Serving { .. }))
            .count();
        let roster = Roster {
            joined: self.joined,
            restoring: self.phases.len() - serving,
            serving,
        };
        metrics::roster(roster.restoring, roster.serving);
        self.settings.roster.send_replace(roster);
    }
}
