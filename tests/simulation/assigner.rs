//! The assigner of a process, which does with partitions what the product's decisions say.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use foretell::consume::{Feed, queue};
use foretell::partition::{AssignmentCommand, AssignmentEvent, Restored};
use foretell::produce::OutputBatch;
use foretell::telemetry::Progress;

use crate::bugs::Bug;
use crate::checks::{Violation, ensure};
use crate::consumer::{PollCommand, Rebalance};
use crate::fetch::QUEUE;
use crate::hits::Hit;
use crate::input::index;
use crate::lane::{Kept, LaneCommand, Serving};
use crate::process::Process;
use crate::restore::Ready;
use crate::shared::{Shared, say};

/// What arrives at the assigner.
pub(crate) enum AssignerInput {
    Rebalance(Rebalance),
    Restored(Box<Ready>),
    Kept(Box<Kept>),
    /// A partition cannot be taken over, and nothing is skipped.
    Failed,
}

/// Windows are kept for so long.
const KEPT_FOR_MS: u64 = 60_000;

impl Process {
    pub(crate) fn assign(&mut self, shared: &mut Shared) -> Result<bool, Violation> {
        let Some(input) = self.assigner.pop_front() else {
            return Ok(false);
        };
        let mut token = None;
        let mut restored = None;
        let event = match input {
            AssignerInput::Rebalance(Rebalance::Assigned(assigned)) => {
                AssignmentEvent::Assigned(assigned)
            }
            AssignerInput::Rebalance(Rebalance::Revoked(partitions, held)) => {
                token = Some(held);
                AssignmentEvent::Revoked(partitions)
            }
            AssignerInput::Rebalance(Rebalance::Lost(partitions)) => {
                AssignmentEvent::Lost(partitions)
            }
            AssignerInput::Failed => {
                self.end(Hit::EndedAtGap, shared);
                return Ok(true);
            }
            AssignerInput::Kept(kept) => {
                if !self.assignment.has(kept.partition) {
                    let until = shared.broker.now_ms() + KEPT_FOR_MS;
                    self.keeping.insert(kept.partition, (until, *kept));
                }
                return Ok(true);
            }
            AssignerInput::Restored(ready) => {
                let event = AssignmentEvent::Restored {
                    assigned: ready.restored.assigned,
                    commits_start: ready.restored.opening.is_some(),
                };
                restored = Some(*ready);
                event
            }
        };
        let commands = self.assignment.apply(event);
        if commands.is_empty() && restored.is_some() {
            shared.hit(Hit::RestoreStale);
        }
        for command in commands {
            say!(shared, "{}: {command:?}", self.id);
            self.obey(command, (&mut restored, token.as_ref()), shared)?;
        }
        Ok(true)
    }

    fn obey(
        &mut self,
        command: AssignmentCommand,
        (ready, token): (&mut Option<Ready>, Option<&SyncSender<()>>),
        shared: &mut Shared,
    ) -> Result<(), Violation> {
        match command {
            AssignmentCommand::Restore(assigned) => {
                let now = shared.broker.now_ms();
                let kept = self.keeping.remove(&assigned.partition);
                let kept = kept.filter(|(until, _)| *until > now);
                self.restores.begin(assigned, kept.map(|(_, kept)| kept));
            }
            AssignmentCommand::CommitStart(assigned) => {
                if let Some(Ready { restored, run }) = ready {
                    let mut start = restored.first_batch();
                    if shared.has(Bug::SkipsUnrecorded) {
                        let at = restored.position;
                        start = OutputBatch::new(assigned.partition, assigned.epoch, at);
                        start.metadata = restored.step.metadata(at).encode();
                    }
                    let door = &mut self.committer.door;
                    let key = (assigned.partition, assigned.epoch);
                    door.begin(key, (restored.position, *run));
                    door.admit_opening(start)?;
                }
            }
            AssignmentCommand::Serve { lane, .. } => {
                if let Some(ready) = ready.take() {
                    self.serve(ready, lane, shared)?;
                }
            }
            AssignmentCommand::Release { partition, lane } => {
                if let Some(token) = token {
                    let release = LaneCommand::Release(partition, token.clone());
                    self.lanes[lane].inbox.push_back(release);
                }
            }
            AssignmentCommand::Discard { partition, lane } => {
                self.lanes[lane]
                    .inbox
                    .push_back(LaneCommand::Discard(partition));
            }
        }
        Ok(())
    }

    fn serve(&mut self, ready: Ready, lane: usize, shared: &mut Shared) -> Result<(), Violation> {
        self.installed(&ready, shared)?;
        let Ready { restored, run } = ready;
        let Restored {
            assigned,
            step,
            position,
            opening: _,
        } = restored;
        let (partition, epoch) = (assigned.partition, assigned.epoch);
        let (sender, receiver) = queue(QUEUE, Arc::default());
        let progress = Progress::at(position);
        let feed = Feed::new(sender, progress.clone(), position);
        let key = (partition, epoch);
        self.committer.door.begin(key, (position, run));
        let serving = Serving::new(key, (step, position, run), receiver, progress);
        let serving = LaneCommand::Serve(Box::new(serving));
        self.lanes[lane].inbox.push_back(serving);
        self.consumer.inbox.push_back(PollCommand::Serve {
            partition,
            epoch,
            at: position.get(),
            feed: Box::new(feed),
        });
        Ok(())
    }

    /// I5: the state that is installed is the one at the committed offset.
    fn installed(&self, ready: &Ready, shared: &mut Shared) -> Result<(), Violation> {
        let Ready { restored, run } = ready;
        let Restored {
            assigned,
            step,
            position,
            opening: _,
        } = restored;
        if !self.ownership.holds(assigned.partition, assigned.epoch) {
            return Ok(());
        }
        let partition = index(assigned.partition);
        let windows = step.windows();
        let found = Some((windows.checksum(), windows.stream_time()));
        let expected = shared.straight[partition].get(*run).state_at(*position);
        ensure(found == expected, "I5", || {
            format!("the state of {partition} restored at {position} is not the straight run's")
        })
    }
}
