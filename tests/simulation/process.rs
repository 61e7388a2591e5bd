//! A worker process: the threads of the product as actors that take turns, each with the product's own
//! decisions and its queues.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use broker_model::MemberId;
use foretell::domain::PartitionId;
use foretell::ownership::Ownership;
use foretell::partition::{Assignment, Panics};

use crate::assigner::AssignerInput;
use crate::bugs::Bug;
use crate::checks::Violation;
use crate::commit::{Committer, Standing, Turn};
use crate::consumer::{Consumer, Leaving, PollCommand};
use crate::hits::Hit;
use crate::lane::{Kept, Lane};
use crate::models::Models;
use crate::restore::{Restores, Restoring};
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

pub(crate) struct Process {
    /// The transactional id.
    pub(crate) id: &'static str,
    pub(crate) life: Life,
    pub(crate) paused: bool,
    pub(crate) ownership: Ownership,
    pub(crate) consumer: Consumer,
    pub(crate) assignment: Assignment,
    pub(crate) assigner: VecDeque<AssignerInput>,
    /// Windows of partitions that were revoked, and until when.
    pub(crate) keeping: BTreeMap<PartitionId, (u64, Kept)>,
    pub(crate) restores: Restores,
    pub(crate) lanes: [Lane; LANES],
    pub(crate) committer: Committer,
    panics: BTreeMap<PartitionId, Panics>,
    /// Where models are promoted, and once it runs.
    models: Option<Models>,
    /// Not ready, as commits fail.
    pub(crate) is_failing: bool,
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
    Models,
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
            panics: BTreeMap::new(),
            models: None,
            is_failing: false,
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
        self.consumer.leaving = Leaving::ToStop;
    }

    /// It stands still.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
        self.committer.hold();
    }

    /// It goes on, and the answer to its next heartbeat may take its time.
    pub(crate) fn go_on(&mut self, shared: &mut Shared) {
        self.paused = false;
        self.consumer.delay_heartbeat(shared);
        say!(shared, "{}: goes on", self.id);
    }

    /// Time passes in which it does nothing.
    pub(crate) fn hold(&mut self) {
        self.committer.hold();
    }

    /// The thread of it that comes first, if one has been kept waiting for too long.
    pub(crate) fn kept_waiting(&self, now_ms: u64) -> Option<Actor> {
        if !self.is_up() {
            None
        } else if self.committer.is_kept_waiting(now_ms) {
            Some(Actor::Committer)
        } else {
            let is_late = self.consumer.beats_late(now_ms);
            is_late.then_some(Actor::Heartbeat)
        }
    }

    /// It ends by itself, for this.
    pub(crate) fn end(&mut self, cause: Hit, shared: &mut Shared) {
        say!(shared, "{}: ends by itself", self.id);
        shared.hit(cause);
        *self = Self::new(self.id, Life::Down, self.interval_ms);
    }

    /// Starts it, once the coordinator lets its producer.
    pub(crate) fn start(&mut self, shared: &mut Shared) -> Result<bool, Violation> {
        let initialised = self.committer.initialise(self.id, shared);
        if initialised {
            self.life = Life::Running;
            let skips = shared.profile.skips_gaps || shared.has(Bug::SkipsUnasked);
            self.restores.skips_gaps = skips;
            self.consumer.skips_gaps = skips;
            if shared.profile.commands > 0 {
                self.models = Some(Models::new(shared)?);
            }
        }
        Ok(initialised)
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
                if self.consumer.is_at_gap {
                    self.end(Hit::EndedAtGap, shared);
                }
                self.end_if_done();
                Ok(worked)
            }
            Actor::Heartbeat => Ok(self.consumer.heartbeat(shared)),
            Actor::Assigner => self.assign(shared),
            Actor::Restore => self.restore(shared),
            Actor::Lane(lane) => self.lane(lane, shared),
            Actor::Snapshot(lane) => Ok(self.lanes[lane].snapshot(shared)),
            Actor::Upload(lane) => self.lanes[lane].upload(shared),
            Actor::Models => match &mut self.models {
                Some(models) => models.work(shared),
                None => Ok(false),
            },
            Actor::Committer => {
                let member = self.consumer.member;
                let group = (&self.ownership, member);
                // Trouble seldom comes alone.
                shared.troubled = self.consumer.is_cut_off();
                let turn = self.committer.work(self.id, group, shared)?;
                self.consumer
                    .inbox
                    .extend(self.committer.reassigned.drain(..));
                if let Turn::Ended(cause) = turn {
                    self.end(cause, shared);
                }
                Ok(turn != Turn::Nothing)
            }
        }
    }

    fn restore(&mut self, shared: &mut Shared) -> Result<bool, Violation> {
        let Some(given) = self.restores.work(&self.ownership, shared)? else {
            return Ok(false);
        };
        for one in given {
            match one {
                Restoring::Ready(ready) => self.assigner.push_back(AssignerInput::Restored(ready)),
                Restoring::Failed => self.assigner.push_back(AssignerInput::Failed),
                Restoring::Emitted(batch) => {
                    let _no_room = self.committer.door.offer(*batch, false)?;
                }
            }
        }
        Ok(true)
    }

    fn lane(&mut self, lane: usize, shared: &mut Shared) -> Result<bool, Violation> {
        let worked =
            self.lanes[lane].work(&mut self.committer.door, self.models.as_ref(), shared)?;
        let kept = self.lanes[lane].kept.drain(..);
        let kept = kept.map(|one| AssignerInput::Kept(Box::new(one)));
        self.assigner.extend(kept);
        for (partition, epoch) in std::mem::take(&mut self.lanes[lane].fallen) {
            let panics = self.panics.entry(partition).or_default();
            if !panics.bear(shared.instant()) {
                self.end(Hit::EndedByPanics, shared);
                break;
            }
            let command = PollCommand::Reassign { partition, epoch };
            self.consumer.inbox.push_back(command);
        }
        Ok(worked)
    }

    /// A process that was told to stop ends once it has left the group and all is committed.
    fn end_if_done(&mut self) {
        let is_quiet = self.lanes.iter().all(Lane::is_quiet);
        if self.consumer.leaving == Leaving::Left && self.assigner.is_empty() && is_quiet {
            self.committer.close();
            if self.committer.standing() == Standing::Idle {
                self.life = Life::Down;
            }
        }
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

    /// It obeys all commands.
    pub(crate) fn has_models(&self, shared: &Shared) -> bool {
        let models = self.models.as_ref();
        models.is_none_or(|models| models.is_at_rest(shared))
    }

    /// Partitions that it would speak for, for traces.
    pub(crate) fn served(&self) -> Vec<PartitionId> {
        let servings = self.lanes.iter().flat_map(|lane| &lane.servings);
        servings.map(|serving| serving.partition).collect()
    }
}

/// Every actor of a process.
pub(crate) const ACTORS: [Actor; 16] = [
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
    Actor::Models,
    Actor::Models,
];
