//! A worker process: the threads of the product as actors that take turns, each with the product's own
//! decisions and its queues.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use broker_model::MemberId;
use foretell::domain::PartitionId;
use foretell::ownership::Ownership;
use foretell::partition::{Assignment, AssignmentCommand, AssignmentEvent, Restored};
use foretell::produce::{CommitterInput, OutputBatch, Taken};

use crate::checks::{Violation, ensure};
use crate::commit::{Committer, Standing, Turn};
use crate::consumer::{Consumer, PollCommand, Rebalance};
use crate::hits::Hit;
use crate::input::index;
use crate::lane::{Kept, Lane, LaneCommand, Serving};
use crate::restore::Restores;
use crate::shared::{Shared, say};

const LANES: usize = 2;

/// Whether there is a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Not yet, or not any more; it comes back.
    Down,
    /// Its producer is being initialised.
    Starting,
    Running,
    /// For good.
    Gone,
}

/// What arrives at the assigner.
enum AssignerInput {
    Rebalance(Rebalance),
    Restored(Box<Restored>),
    Kept(Box<Kept>),
}

/// Windows are kept for so long.
const KEPT_FOR_MS: u64 = 60_000;

pub(crate) struct Process {
    /// The transactional id.
    pub(crate) id: &'static str,
    pub(crate) life: Life,
    pub(crate) paused: bool,
    ownership: Ownership,
    consumer: Consumer,
    assignment: Assignment,
    assigner: VecDeque<AssignerInput>,
    /// Windows of partitions that were revoked, and until when.
    keeping: BTreeMap<PartitionId, (u64, Kept)>,
    restores: Restores,
    lanes: [Lane; LANES],
    committer: Committer,
    pub(crate) interval_ms: u64,
}

/// Which of its threads goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Actor {
    Poll,
    Heartbeat,
    Assigner,
    Restore,
    Lane(usize),
    Snapshot(usize),
    Upload(usize),
    Committer,
}

impl Process {
    /// `interval_ms` is the least time between two commits.
    pub(crate) fn new(id: &'static str, life: Life, interval_ms: u64) -> Self {
        Self {
            id,
            life,
            paused: false,
            ownership: Ownership::default(),
            consumer: Consumer::new(),
            assignment: Assignment::new(LANES),
            assigner: VecDeque::new(),
            keeping: BTreeMap::new(),
            restores: Restores::default(),
            lanes: [(); LANES].map(|()| Lane::default()),
            committer: Committer::new(Duration::from_millis(interval_ms)),
            interval_ms,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.life, Life::Running) && !self.paused
    }

    /// The membership that its heartbeats keep alive.
    pub(crate) fn beating(&self) -> Option<MemberId> {
        let beats = self.is_up() && !self.consumer.is_cut_off();
        self.consumer.member.id.filter(|_| beats)
    }

    /// Cuts it off from the group's coordinator, or ends that.
    pub(crate) fn cut_off_or_reconnect(&mut self, shared: &mut Shared) {
        if self.consumer.is_cut_off() {
            self.consumer.reconnect();
            return;
        }
        self.consumer.cut_off(shared);
        shared.hit(Hit::CutOff);
        if let Some(member) = self.consumer.member.id.filter(|_| shared.random.one_in(2)) {
            shared.throw_out(member);
        }
    }

    pub(crate) fn is_committing(&self) -> bool {
        self.committer.is_frozen()
    }

    pub(crate) fn reconnect(&mut self) {
        self.consumer.reconnect();
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.consumer.is_cut_off()
    }

    pub(crate) fn stop(&mut self) {
        self.consumer.stopping = true;
    }

    /// Starts it, once the coordinator lets its producer.
    pub(crate) fn start(&mut self, shared: &mut Shared) -> bool {
        let initialised = self.committer.initialise(self.id, shared);
        if initialised {
            self.life = Life::Running;
        }
        initialised
    }

    pub(crate) fn work(&mut self, actor: Actor, shared: &mut Shared) -> Result<bool, Violation> {
        match actor {
            Actor::Poll => {
                let frozen = self.committer.is_frozen();
                let polled = self.consumer.poll((&self.ownership, frozen), shared)?;
                let (worked, event) = polled;
                if let Some(event) = event {
                    self.assigner.push_back(AssignerInput::Rebalance(event));
                }
                self.end_if_done();
                Ok(worked)
            }
            Actor::Heartbeat => Ok(self.consumer.heartbeat(shared)),
            Actor::Assigner => self.assign(shared),
            Actor::Restore => {
                let restored = self.restores.work(&self.ownership, shared)?;
                let worked = restored.is_some();
                let restored = restored.into_iter().flatten();
                self.assigner
                    .extend(restored.map(|one| AssignerInput::Restored(Box::new(one))));
                Ok(worked)
            }
            Actor::Lane(lane) => {
                let worked = self.lanes[lane].work(&mut self.committer.inbox, shared)?;
                let kept = self.lanes[lane].kept.drain(..);
                let kept = kept.map(|one| AssignerInput::Kept(Box::new(one)));
                self.assigner.extend(kept);
                Ok(worked)
            }
            Actor::Snapshot(lane) => Ok(self.lanes[lane].snapshot(shared)),
            Actor::Upload(lane) => self.lanes[lane].upload(shared),
            Actor::Committer => {
                let member = self.consumer.member;
                let group = (&self.ownership, member);
                // Trouble seldom comes alone.
                shared.troubled = self.consumer.is_cut_off();
                let turn = self.committer.work(self.id, group, shared)?;
                self.consumer
                    .inbox
                    .extend(self.committer.reassigned.drain(..));
                if turn == Turn::Ended {
                    shared.hit(Hit::Ended);
                    *self = Self::new(self.id, Life::Down, self.interval_ms);
                }
                Ok(turn != Turn::Nothing)
            }
        }
    }

    /// A process that was told to stop ends once it has left the group and all is committed.
    fn end_if_done(&mut self) {
        let quiet = |lane: &Lane| lane.inbox.is_empty();
        if self.consumer.left && self.assigner.is_empty() && self.lanes.iter().all(quiet) {
            self.committer.close();
            if self.committer.standing() == Standing::Idle {
                self.life = Life::Down;
            }
        }
    }

    fn assign(&mut self, shared: &mut Shared) -> Result<bool, Violation> {
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
            AssignerInput::Kept(kept) => {
                if !self.assignment.has(kept.partition) {
                    let until = shared.broker.now_ms() + KEPT_FOR_MS;
                    self.keeping.insert(kept.partition, (until, *kept));
                }
                return Ok(true);
            }
            AssignerInput::Restored(one) => {
                let event = AssignmentEvent::Restored {
                    assigned: one.assigned,
                    commits_start: one.opening.is_some(),
                };
                restored = Some(*one);
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
        (restored, token): (&mut Option<Restored>, Option<&SyncSender<()>>),
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
                if let Some(restored) = restored {
                    let at = restored.position;
                    let mut start = OutputBatch::new(assigned.partition, assigned.epoch, at);
                    start.metadata = restored.step.metadata(at).encode();
                    let input = CommitterInput::Batch(Box::new(start), Taken::default());
                    self.committer.inbox.push_back(input);
                }
            }
            AssignmentCommand::Serve { assigned, lane } => {
                if let Some(restored) = restored.take() {
                    self.installed(&restored, shared)?;
                    let Restored { step, position, .. } = restored;
                    let queue = Rc::new(RefCell::new(VecDeque::new()));
                    let key = (assigned.partition, assigned.epoch);
                    let serving = Serving::new(key, (step, position), Rc::clone(&queue));
                    let serving = LaneCommand::Serve(Box::new(serving));
                    self.lanes[lane].inbox.push_back(serving);
                    self.consumer.inbox.push_back(PollCommand::Serve {
                        partition: assigned.partition,
                        epoch: assigned.epoch,
                        at: position.get(),
                        queue,
                    });
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

    /// I5: the state that is installed is the one at the committed offset.
    fn installed(&self, restored: &Restored, shared: &mut Shared) -> Result<(), Violation> {
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
        let expected = shared.straight[partition].state_at(*position);
        ensure(found == expected, "I5", || {
            format!("the state of {partition} restored at {position} is not the straight run's")
        })
    }

    /// It dies; what it was doing is counted.
    pub(crate) fn crash(&mut self, shared: &mut Shared) {
        let standing = self.committer.standing();
        let hits = [
            (self.consumer.is_in_hook(), Hit::CrashInRevoke),
            (self.restores.is_replaying(), Hit::CrashInReplay),
            (
                self.lanes.iter().any(|lane| !lane.uploads.is_empty()),
                Hit::CrashInUpload,
            ),
            (
                self.lanes.iter().any(Lane::has_committed_cut),
                Hit::CrashAfterCommit,
            ),
            (standing == Standing::HasBatches, Hit::CrashBeforeBegin),
            (standing == Standing::Produced, Hit::CrashAfterProduce),
            (standing == Standing::OffsetsSent, Hit::CrashAfterOffsets),
            (standing == Standing::EndUnanswered, Hit::CrashEndUnanswered),
        ];
        let mut any = false;
        for (_, hit) in hits.into_iter().filter(|(holds, _)| *holds) {
            any = true;
            shared.hit(hit);
        }
        if !any {
            shared.hit(Hit::CrashIdle);
        }
        say!(shared, "{}: crashes", self.id);
        *self = Self::new(self.id, Life::Down, self.interval_ms);
    }

    /// How much a crash is worth right after this: some moments are short.
    pub(crate) fn peril(&self, actor: Actor) -> u64 {
        let storing = self.lanes.iter().any(|lane| !lane.uploads.is_empty());
        match (actor, self.committer.standing()) {
            (Actor::Committer, Standing::EndUnanswered) => 30,
            (Actor::Committer, Standing::Produced | Standing::OffsetsSent) => 2,
            (Actor::Snapshot(_), _) if storing => 4,
            _ => 0,
        }
    }

    /// Something is going on at which a crash is of interest.
    pub(crate) fn is_interesting(&self) -> bool {
        self.consumer.is_in_hook()
            || self.restores.is_replaying()
            || self.committer.standing() != Standing::Idle
            || self.lanes.iter().any(|lane| !lane.uploads.is_empty())
    }

    /// Partitions that it would speak for, for traces.
    pub(crate) fn served(&self) -> Vec<PartitionId> {
        let servings = self.lanes.iter().flat_map(|lane| &lane.servings);
        servings.map(|serving| serving.partition).collect()
    }
}

/// Every actor of a process.
pub(crate) const ACTORS: [Actor; 14] = [
    Actor::Poll,
    Actor::Poll,
    Actor::Heartbeat,
    Actor::Assigner,
    Actor::Assigner,
    Actor::Restore,
    Actor::Lane(0),
    Actor::Lane(1),
    Actor::Snapshot(0),
    Actor::Snapshot(1),
    Actor::Upload(0),
    Actor::Upload(1),
    Actor::Committer,
    Actor::Committer,
];
