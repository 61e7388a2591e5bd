//! The consumer of a process: membership, rebalance hooks, and the feeding of queues. It does what
//! `consume/` does on the poll thread, and what librdkafka does behind it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use broker_model::Member;
use foretell::consume::Assigned;
use foretell::domain::{Epoch, PartitionId, RecordBatch};
use foretell::ownership::Ownership;

use crate::checks::Violation;
use crate::hits::Hit;
use crate::input::{PARTITIONS, id, index};
use crate::shared::{GROUP, SESSION_TIMEOUT_MS, Shared, say};

pub(crate) type Queue = Rc<RefCell<VecDeque<RecordBatch>>>;

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
        queue: Queue,
    },
    /// What is held of a partition is not what is committed.
    Reassign {
        partition: PartitionId,
        epoch: Epoch,
    },
}

struct Feed {
    epoch: Epoch,
    /// Where to read on, and whom for; `None` while it is restored.
    flowing: Option<(i64, Queue)>,
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
    feeds: BTreeMap<usize, Feed>,
    hook: Option<Hook>,
    pub(crate) inbox: VecDeque<PollCommand>,
    cut_off_at_ms: Option<u64>,
    /// Told to leave.
    pub(crate) stopping: bool,
    pub(crate) left: bool,
}

/// How long a revocation waits.
const DRAIN_TIMEOUT_MS: u64 = 10_000;
/// Batches in a queue.
const QUEUE_MAX: usize = 6;

impl Consumer {
    pub(crate) fn new() -> Self {
        Self {
            member: Member::NONE,
            feeds: BTreeMap::new(),
            hook: None,
            inbox: VecDeque::new(),
            cut_off_at_ms: None,
            stopping: false,
            left: false,
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
        let learns = self.member.id.is_some() && known.is_none() && shared.random.one_in(6);
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

    /// One poll. `frozen` is true while the committer keeps ownership from ending.
    pub(crate) fn poll(
        &mut self,
        (ownership, frozen): (&Ownership, bool),
        shared: &mut Shared,
    ) -> Result<(bool, Option<Rebalance>), Violation> {
        if self.left {
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
        if let Some(event) = self.obey((ownership, frozen), shared) {
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
                    queue,
                } => {
                    let feed = self.feeds.get_mut(&index(partition));
                    if let Some(feed) = feed.filter(|feed| feed.epoch == epoch) {
                        feed.flowing = Some((at, queue));
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
                        let feed = Feed {
                            epoch: assigned.epoch,
                            flowing: None,
                        };
                        self.feeds.insert(index(partition), feed);
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
        if !self.feeds.is_empty() {
            if frozen {
                return (false, None);
            }
            let lost: Vec<PartitionId> =
                self.feeds.keys().map(|partition| id(*partition)).collect();
            for partition in &lost {
                ownership.release(*partition);
                shared.hit(Hit::Lost);
            }
            self.feeds.clear();
            self.member = Member::NONE;
            return (true, Some(Rebalance::Lost(lost)));
        }
        if self.stopping {
            self.left = true;
        } else {
            self.member = shared.join();
            say!(shared, "joined as {:?}", self.member);
        }
        (true, None)
    }

    fn rebalance(&mut self, ownership: &Ownership, shared: &mut Shared) -> Option<Rebalance> {
        let member = self.member.id?;
        let had = self.feeds.keys().copied();
        let gone: Vec<usize> = had
            .filter(|partition| self.stopping || !shared.is_wanted_by(*partition, member))
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
            let gone = gone.into_iter().map(id).collect();
            return Some(Rebalance::Revoked(gone, sender));
        }
        if self.stopping {
            self.left = true;
            shared.throw_out(member);
            self.member = Member::NONE;
            return None;
        }
        let mut assigned = Vec::new();
        for partition in 0..PARTITIONS {
            if !self.feeds.contains_key(&partition) && shared.take(partition, member) {
                let epoch = ownership.acquire(id(partition));
                let flowing = None;
                self.feeds.insert(partition, Feed { epoch, flowing });
                shared.hit(Hit::Assigned);
                assigned.push(Assigned {
                    partition: id(partition),
                    epoch,
                });
            }
        }
        (!assigned.is_empty()).then_some(Rebalance::Assigned(assigned))
    }

    fn end_hook(&mut self, ownership: &Ownership, shared: &mut Shared) {
        let Some(hook) = self.hook.take() else {
            return;
        };
        for partition in hook.partitions {
            ownership.release(id(partition));
            self.feeds.remove(&partition);
            if let Some(member) = self.member.id {
                shared.give_up(partition, member);
            }
        }
        say!(shared, "the hook of {:?} ends", self.member);
        // It joins again without them, which begins the generation in which another takes them.
        shared.broker.group(GROUP).next_generation();
    }

    fn fetch(&mut self, shared: &mut Shared) -> Result<bool, Violation> {
        let mut any = false;
        for (partition, feed) in &mut self.feeds {
            let Some((position, queue)) = &mut feed.flowing else {
                continue;
            };
            if queue.borrow().len() >= QUEUE_MAX || shared.random.one_in(4) {
                continue;
            }
            let most = 1 + shared.random.index(6);
            let (batch, next) = shared
                .setup
                .read(&shared.broker, *partition, (*position, most))?;
            *position = next;
            if !batch.is_empty() {
                queue.borrow_mut().push_back(batch);
                any = true;
            }
        }
        Ok(any)
    }
}
