//! The assigner's thread: the one owner of "which partition is where".
//!
//! It turns rebalances and finished restores into commands to the other threads: restore this, serve
//! that on this lane, give it up; what is decided is in `assignment`. All of these pass through one
//! thread in one order, so a partition that is taken away while it is being restored can never be
//! served afterwards.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::assignment::{Assignment, AssignmentCommand, AssignmentEvent, Roster};
use super::at_hand::{Kept, RestoreJob};
use super::cut::CutSettings;
use super::keeping::Keeping;
use super::lane::LaneCommand;
use super::opening::Restored;
use super::pulse::HungLane;
use super::restore::RestoreError;
use super::serving::Serving;
use crate::consume::{Assigned, PollCommand, QueueLimits, RebalanceEvent, queue};
use crate::produce::{CommitterInput, Taken};
use crate::snapshot::{Last, Order};
use crate::telemetry::metrics;

/// What arrives at the assigner.
#[derive(Debug)]
pub enum AssignerInput {
    Rebalance(RebalanceEvent),
    Restored(Box<Restored>),
    /// What a lane had of a partition that was revoked.
    Kept(Box<Kept>),
    /// A partition cannot be taken over, and nothing is skipped: the worker ends.
    Failed(RestoreError),
    /// The group has been left, by a worker that began to stop at `since`.
    Stop {
        since: Instant,
        /// What is still stored then is abandoned.
        until: Instant,
    },
}

/// The other threads, as the assigner commands them.
#[derive(Debug)]
pub struct AssignerSettings {
    pub inputs: Receiver<AssignerInput>,
    pub restores: SyncSender<RestoreJob>,
    pub lanes: Vec<LaneHandle>,
    pub poller: SyncSender<PollCommand>,
    pub committer: mpsc::Sender<CommitterInput>,
    pub roster: watch::Sender<Roster>,
    /// Lanes that take no partition while others can.
    pub hung: watch::Receiver<Vec<HungLane>>,
    pub queue: QueueLimits,
    /// `None` where no snapshots are made.
    pub snapshots: Option<CutSettings>,
}

/// A lane, as the assigner commands it.
#[derive(Clone, Debug)]
pub struct LaneHandle {
    pub commands: mpsc::Sender<LaneCommand>,
    pub wake: Arc<Notify>,
}

/// Why the assigner ended early.
#[derive(Debug, thiserror::Error)]
pub enum AssignerError {
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("{0} has ended")]
    Gone(&'static str),
}

/// The state of the assigner's thread.
#[derive(Debug)]
pub struct Assigner {
    settings: AssignerSettings,
    assignment: Assignment,
    keeping: Keeping<Box<Kept>>,
}

/// What comes with an event and goes to another thread with its commands.
#[derive(Default)]
struct Goods {
    restored: Option<Restored>,
    /// Whoever waits for a revocation waits until the last clone is dropped, by the committer.
    released: Option<SyncSender<()>>,
}

impl Assigner {
    pub fn new(settings: AssignerSettings) -> Self {
        Self {
            assignment: Assignment::new(settings.lanes.len()),
            keeping: Keeping::default(),
            settings,
        }
    }

    /// Works until it is told to stop. Its end ends the restore threads, the lanes and the committer.
    ///
    /// # Errors
    /// When a partition cannot be restored, or another thread has ended.
    pub fn run(mut self) -> Result<(), AssignerError> {
        while let Some(input) = self.next_input() {
            match input {
                AssignerInput::Kept(kept) => {
                    if !self.assignment.has(kept.partition) {
                        let now = Instant::now();
                        self.keeping.keep(kept.partition, kept, now);
                    }
                }
                AssignerInput::Rebalance(event) => self.on_rebalance(event)?,
                AssignerInput::Restored(restored) => self.on_restored(*restored)?,
                AssignerInput::Failed(error) => return Err(error.into()),
                AssignerInput::Stop { since, until } => {
                    self.store_last(since, until);
                    return Ok(());
                }
            }
            self.publish();
        }
        Ok(())
    }

    /// Has the windows stored that were served until the end, so that the next start need not read what they were
    /// made from. The group is left by now and nobody waits for it but the process.
    fn store_last(&mut self, since: Instant, until: Instant) {
        let Some(settings) = &self.settings.snapshots else {
            return;
        };
        let kept = self.keeping.take_since(since).into_iter();
        let all: Vec<_> = kept
            .filter_map(|kept| kept.into_last(&settings.topic))
            .collect();
        if all.is_empty() {
            return;
        }
        let partitions = all.len();
        match settings.uploads.try_send(Order::Last(Last { all, until })) {
            Ok(()) => info!(partitions, "storing the last snapshots"),
            Err(_full_or_closed) => {
                warn!("the last snapshots are not stored: earlier ones are still under way");
            }
        }
    }

    /// `None` when nobody is left to send one. What is kept for too long is dropped meanwhile.
    fn next_input(&mut self) -> Option<AssignerInput> {
        loop {
            let now = Instant::now();
            let Some(until) = self.keeping.drop_old(now) else {
                return self.settings.inputs.recv().ok();
            };
            match self.settings.inputs.recv_timeout(until - now) {
                Ok(input) => return Some(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn on_rebalance(&mut self, event: RebalanceEvent) -> Result<(), AssignerError> {
        let mut goods = Goods::default();
        let event = match event {
            RebalanceEvent::Assigned(assigned) => AssignmentEvent::Assigned(assigned),
            RebalanceEvent::Revoked {
                partitions,
                released,
            } => {
                goods.released = Some(released);
                AssignmentEvent::Revoked(partitions)
            }
            RebalanceEvent::Lost(partitions) => AssignmentEvent::Lost(partitions),
            RebalanceEvent::Reassigned(assigned) => AssignmentEvent::Assigned(vec![assigned]),
        };
        self.apply(event, goods)
    }

    fn on_restored(&mut self, restored: Restored) -> Result<(), AssignerError> {
        let event = AssignmentEvent::Restored {
            assigned: restored.assigned,
            commits_start: restored.opening.is_some(),
        };
        let hung = self.settings.hung.borrow();
        let lanes = hung.iter().map(|one| one.lane).collect();
        drop(hung);
        self.assignment.avoid(lanes);
        let goods = Goods {
            restored: Some(restored),
            released: None,
        };
        self.apply(event, goods)
    }

    fn apply(&mut self, event: AssignmentEvent, mut goods: Goods) -> Result<(), AssignerError> {
        self.assignment
            .apply(event)
            .into_iter()
            .try_for_each(|command| self.carry_out(command, &mut goods))
        // What nobody was given is dropped here, which releases it.
    }

    fn carry_out(
        &mut self,
        command: AssignmentCommand,
        goods: &mut Goods,
    ) -> Result<(), AssignerError> {
        match command {
            AssignmentCommand::Restore(assigned) => {
                let kept = self.keeping.take(assigned.partition);
                let sent = self.settings.restores.send(RestoreJob { assigned, kept });
                sent.map_err(|_closed| AssignerError::Gone("restoring"))
            }
            AssignmentCommand::CommitStart(_) => goods
                .restored
                .as_mut()
                .map_or(Ok(()), |restored| self.commit_start(restored)),
            AssignmentCommand::Serve { lane, .. } => goods
                .restored
                .take()
                .map_or(Ok(()), |restored| self.serve(restored, lane)),
            AssignmentCommand::Release { partition, lane } => {
                goods.released.clone().map_or(Ok(()), |released| {
                    let release = LaneCommand::Release {
                        partition,
                        released,
                    };
                    self.command(lane, release)
                })
            }
            AssignmentCommand::Discard { partition, lane } => {
                self.command(lane, LaneCommand::Discard { partition })
            }
        }
    }

    fn commit_start(&self, restored: &mut Restored) -> Result<(), AssignerError> {
        let start = Box::new(restored.first_batch());
        self.settings
            .committer
            .blocking_send(CommitterInput::Batch(start, Taken::default()))
            .map_err(|_closed| AssignerError::Gone("the committer"))
    }

    fn serve(&self, restored: Restored, lane: usize) -> Result<(), AssignerError> {
        let Restored {
            assigned: Assigned { partition, epoch },
            step,
            position,
            opening: _,
        } = restored;
        let wake = Arc::clone(&self.settings.lanes[lane].wake);
        let (sender, receiver) = queue(self.settings.queue, wake);
        let serving = Serving::new((partition, epoch), step, position, receiver);
        let progress = serving.progress.clone();
        let topic_id = serving.step.lineage().topic_id;
        self.command(lane, LaneCommand::Serve(Box::new(serving)))?;
        info!(%partition, %position, lane, "serving");
        self.settings
            .poller
            .send(PollCommand::Serve {
                partition,
                epoch,
                at: position,
                topic_id,
                queue: sender,
                progress,
            })
            .map_err(|_closed| AssignerError::Gone("the poll thread"))
    }

    fn command(&self, lane: usize, command: LaneCommand) -> Result<(), AssignerError> {
        self.settings.lanes[lane]
            .commands
            .blocking_send(command)
            .map_err(|_closed| AssignerError::Gone("a lane"))
    }

    fn publish(&self) {
        let roster = self.assignment.roster();
        metrics::roster(roster.restoring.len(), roster.serving);
        self.settings.roster.send_replace(roster);
    }
}
