//! The consumer of a process: membership, rebalance hooks, and the feeding of queues. It does what
//! `consume/` does on the poll thread, and what librdkafka does behind it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use broker_model::Member;
use foretell::consume::{Assigned, Feed};
use foretell::domain::{Epoch, PartitionId};
use foretell::ownership::Ownership;

use crate::checks::Violation;
use crate::hits::Hit;
use crate::input::{PARTITIONS, id, index};
use crate::shared::{GROUP, SESSION_TIMEOUT_MS, Shared, say};

/// What a rebalance asks of the assigner.
pub(crate) enum Rebalance {
    Assigned(Vec<Assigned>),
    Revoked(Vec<PartitionId>, SyncSender<()>),
    Lost(Vec<PartitionId>),
}

/// What the poll thread is told.
pub(crate) enum PollCommand {
    /// A partition is restored and may be read.
    Serve {
        partition: PartitionId,
        epoch: Epoch,
        at: i64,
        feed: Box<Feed>,
    },
    /// What is held of a partition is not what is committed.
    Reassign {
        partition: PartitionId,
        epoch: Epoch,
    },
}

/// Whether it is leaving the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    No,
    /// To join it anew, as the next records of a partition are gone.
    ToRejoin,
    /// For good.
    ToStop,
    Left,
}

/// What the group has told it of its assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing yet, or that the last one is lost.
    Out,
    /// Nothing since it joined again.
    Before,
    Now,
}

/// A partition that it has been given.
pub(crate) struct Part {
    epoch: Epoch,
    /// Where to read on, and whom for; `None` while it is restored.
    pub(crate) flowing: Option<(i64, Box<Feed>)>,
}

/// A revocation that waits for the last commits.
struct Hook {
    partitions: Vec<usize>,
    released: Receiver<()>,
    deadline_ms: u64,
}

pub(crate) struct Consumer {
    /// What librdkafka says of the membership.
    pub(crate) member: Member,
    pub(crate) parts: BTreeMap<usize, Part>,
    hook: Option<Hook>,
    pub(crate) inbox: VecDeque<PollCommand>,
    cut_off_at_ms: Option<u64>,
    /// When the next heartbeat is due.
    beats_at_ms: u64,
    pub(crate) leaving: Leaving,
    /// Whether gaps are skipped, since the process started.
    pub(crate) skips_gaps: bool,
    /// The next records of a partition are gone, and nothing is skipped: the worker ends.
    pub(crate) is_at_gap: bool,
    pub(crate) told: Told,
}

/// Heartbeats come at least so often.
const HEARTBEAT_MS: u64 = 3_000;
/// How long one may be late.
const LATE_MS: u64 = 200;
/// How long a revocation waits.
const DRAIN_TIMEOUT_MS: u64 = 10_000;
impl Consumer {
    pub(crate) fn new() -> Self {
        Self {
            member: Member::NONE,
            parts: BTreeMap::new(),
            hook: None,
            inbox: VecDeque::new(),
            cut_off_at_ms: None,
            beats_at_ms: 0,
            leaving: Leaving::No,
            skips_gaps: false,
            is_at_gap: false,
            told: Told::Out,
        }
    }

    pub(crate) fn is_in_hook(&self) -> bool {
        self.hook.is_some()
    }

    /// The group's coordinator is out of reach; all else goes on.
    pub(crate) fn cut_off(&mut self, shared: &Shared) {
        self.cut_off_at_ms = Some(shared.broker.now_ms());
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off_at_ms.is_some()
    }

    pub(crate) fn reconnect(&mut self) {
        self.cut_off_at_ms = None;
    }

    /// librdkafka's own thread learns that the coordinator does not know the member any more, or takes it
    /// for granted when it has not been answered for so long.
    pub(crate) fn heartbeat(&mut self, shared: &mut Shared) -> bool {
        if let Some(since) = self.cut_off_at_ms {
            let is_over = shared.broker.now_ms() > since + SESSION_TIMEOUT_MS;
            if is_over {
                say!(
                    shared,
                    "{:?} takes itself to be out of the group",
                    self.member
                );
                self.member = Member::NONE;
                self.cut_off_at_ms = None;
            }
            return is_over;
        }
        let known = self
            .member
            .id
            .and_then(|id| shared.broker.group(GROUP).member(id));
        let now_ms = shared.broker.now_ms();
        if now_ms < self.beats_at_ms {
            return false;
        }
        self.delay_heartbeat(shared);
        let learns = self.member.id.is_some() && known.is_none();
        if learns {
            say!(
                shared,
                "{:?} learns that it is out of the group",
                self.member
            );
            self.member = Member::NONE;
        }
        learns
    }

    pub(crate) fn delay_heartbeat(&mut self, shared: &mut Shared) {
        self.beats_at_ms = shared.broker.now_ms() + shared.random.below(HEARTBEAT_MS);
    }

    /// No thread is kept from a heartbeat for long.
    pub(crate) fn beats_late(&self, now_ms: u64) -> bool {
        !self.is_cut_off() && now_ms >= self.beats_at_ms + LATE_MS
    }

    /// One poll. `frozen` is true while the committer keeps ownership from ending.
    pub(crate) fn poll(
        &mut self,
        (ownership, frozen): (&Ownership, bool),
        shared: &mut Shared,
    ) -> Result<(bool, Option<Rebalance>), Violation> {
        if self.leaving == Leaving::Left {
            return Ok((false, None));
        }
        if let Some(hook) = &self.hook {
            let late = shared.broker.now_ms() > hook.deadline_ms;
            let released = hook.released.try_recv() == Err(TryRecvError::Disconnected);
            if !(released || late) || frozen {
                return Ok((false, None));
            }
            if !released {
                shared.hit(Hit::RevokedTooSlowly);
            }
            self.end_hook(ownership, shared);
            return Ok((true, None));
        }
        // Whoever leaves the group does nothing else.
        if self.leaving == Leaving::No
            && let Some(event) = self.obey((ownership, frozen), shared)
        {
            return Ok((true, Some(event)));
        }
        if self.is_cut_off() {
            return Ok((self.fetch(shared)?, None));
        }
        let known = self
            .member
            .id
            .and_then(|id| shared.broker.group(GROUP).member(id));
        // It learns with a heartbeat that it is out.
        if self.member.id.is_some() && known.is_none() {
            return Ok((self.fetch(shared)?, None));
        }
        let Some(known) = known else {
            return Ok(self.out_of_the_group((ownership, frozen), shared));
        };
        let was_stale = known != self.member;
        self.member = known;
        if let Some(event) = self.rebalance(ownership, shared) {
            return Ok((true, Some(event)));
        }
        Ok((self.fetch(shared)? || was_stale, None))
    }

    fn obey(
        &mut self,
        (ownership, frozen): (&Ownership, bool),
        shared: &mut Shared,
    ) -> Option<Rebalance> {
        while let Some(command) = self.inbox.pop_front() {
            match command {
                PollCommand::Serve {
                    partition,
                    epoch,
                    at,
                    feed,
                } => {
                    let part = self.parts.get_mut(&index(partition));
                    if let Some(part) = part.filter(|part| part.epoch == epoch) {
                        part.flowing = Some((at, feed));
                    }
                }
                // Ending an epoch waits for the commit that is under way.
                PollCommand::Reassign { .. } if frozen => {
                    self.inbox.push_front(command);
                    return None;
                }
                PollCommand::Reassign { partition, epoch } => {
                    if ownership.holds(partition, epoch) {
                        shared.hit(Hit::Reassigned);
                        ownership.release(partition);
                        let assigned = Assigned {
                            partition,
                            epoch: ownership.acquire(partition),
                        };
                        let part = Part {
                            epoch: assigned.epoch,
                            flowing: None,
                        };
                        self.parts.insert(index(partition), part);
                        return Some(Rebalance::Assigned(vec![assigned]));
                    }
                }
            }
        }
        None
    }

    /// Everything is lost; then it joins again.
    fn out_of_the_group(
        &mut self,
        (ownership, frozen): (&Ownership, bool),
        shared: &mut Shared,
    ) -> (bool, Option<Rebalance>) {
        if !self.parts.is_empty() {
            if frozen {
                return (false, None);
            }
            let lost: Vec<PartitionId> =
                self.parts.keys().map(|partition| id(*partition)).collect();
            for partition in &lost {
                ownership.release(*partition);
                shared.hit(Hit::Lost);
            }
            self.parts.clear();
            self.told = Told::Out;
            self.member = Member::NONE;
            return (true, Some(Rebalance::Lost(lost)));
        }
        if self.leaving == Leaving::ToStop {
            self.leaving = Leaving::Left;
        } else {
            self.leaving = Leaving::No;
            if self.told == Told::Now {
                self.told = Told::Before;
            }
            self.member = shared.join();
            say!(shared, "joined as {:?}", self.member);
        }
        (true, None)
    }

    fn rebalance(&mut self, ownership: &Ownership, shared: &mut Shared) -> Option<Rebalance> {
        let member = self.member.id?;
        let leaves = self.leaving != Leaving::No;
        let had = self.parts.keys().copied();
        let gone: Vec<usize> = had
            .filter(|partition| leaves || !shared.is_wanted_by(*partition, member))
            .collect();
        if !gone.is_empty() {
            let (sender, released) = sync_channel(1);
            self.hook = Some(Hook {
                partitions: gone.clone(),
                released,
                deadline_ms: shared.broker.now_ms() + DRAIN_TIMEOUT_MS,
            });
            for _ in &gone {
                shared.hit(Hit::Revoked);
            }
            self.told = Told::Now;
            let gone = gone.into_iter().map(id).collect();
            return Some(Rebalance::Revoked(gone, sender));
        }
        if leaves {
            if self.leaving == Leaving::ToStop {
                self.leaving = Leaving::Left;
            }
            shared.throw_out(member);
            self.member = Member::NONE;
            return None;
        }
        let mut assigned = Vec::new();
        for partition in 0..PARTITIONS {
            if !self.parts.contains_key(&partition) && shared.take(partition, member) {
                let epoch = ownership.acquire(id(partition));
                let flowing = None;
                self.parts.insert(partition, Part { epoch, flowing });
                shared.hit(Hit::Assigned);
                assigned.push(Assigned {
                    partition: id(partition),
                    epoch,
                });
            }
        }
        // The first answer of the group is told even if it is no partition.
        let is_news = !assigned.is_empty() || self.told != Told::Now;
        self.told = Told::Now;
        is_news.then_some(Rebalance::Assigned(assigned))
    }

    fn end_hook(&mut self, ownership: &Ownership, shared: &mut Shared) {
        let Some(hook) = self.hook.take() else {
            return;
        };
        for partition in hook.partitions {
            ownership.release(id(partition));
            self.parts.remove(&partition);
            if let Some(member) = self.member.id {
                shared.give_up(partition, member);
            }
        }
        say!(shared, "the hook of {:?} ends", self.member);
        // It joins again without them, which begins the generation in which another takes them.
        shared.broker.group(GROUP).next_generation();
    }

    /// Partitions that nothing is read of, and those that flow, with their epochs; none that a hook gives up.
    pub(crate) fn assigned(&self) -> impl Iterator<Item = (PartitionId, Epoch, bool)> {
        let hook = self.hook.as_ref();
        let goes =
            move |partition: &usize| hook.is_some_and(|hook| hook.partitions.contains(partition));
        let parts = self
            .parts
            .iter()
            .filter(move |(partition, _)| !goes(partition));
        parts.map(|(partition, part)| (id(*partition), part.epoch, part.flowing.is_some()))
    }
}
