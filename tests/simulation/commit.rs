//! The committer of a process: the product's decisions, and a client that does what librdkafka does.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_model::Member;
use foretell::domain::{Epoch, NextOffset, PartitionId};
use foretell::ownership::Ownership;
use foretell::produce::{
    Action, Attempt, CommitError, Core, Guarantee, OutputBatch, Report, Settlement, Stable, Trouble,
};

use crate::bugs::Bug;
use crate::checks::{Violation, ensure, violation};
use crate::client::{Client, Transaction, requests};
use crate::consumer::PollCommand;
use crate::door::Door;
use crate::hits::Hit;
use crate::input::{OUTPUTS, index};
use crate::shared::{Shared, TRANSACTION_TIMEOUT_MS, say};

/// Where the committer is, for who kills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Idle,
    HasBatches,
    Produced,
    OffsetsSent,
    EndUnanswered,
}

pub(crate) struct Committer {
    pub(crate) door: Door,
    pub(crate) core: Core,
    pub(crate) client: Option<Client>,
    pub(crate) transaction: Option<Transaction>,
    /// `EndTxn` was sent and not answered.
    pub(crate) unanswered: bool,
    /// What it asks of the poll thread.
    pub(crate) reassigned: Vec<PollCommand>,
    /// The first batch of the last attempt that failed, and since when its attempts do.
    failing: Option<(Key, u64)>,
}

/// What tells a batch from others.
type Key = (PartitionId, Epoch, NextOffset, NextOffset);

fn key(batch: &OutputBatch) -> Key {
    (batch.partition, batch.epoch, batch.from, batch.to)
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Nothing,
    Worked,
    /// The process ends, for this.
    Ended(Hit),
}

/// A transaction that waits for its next request for so long comes first.
const PATIENCE_MS: u64 = 200;

impl Committer {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            door: Door::default(),
            core: Core::new(Guarantee::ExactlyOnce, interval),
            client: None,
            transaction: None,
            unanswered: false,
            reassigned: Vec::new(),
            failing: None,
        }
    }

    /// Something that is not its doing takes time.
    pub(crate) fn hold(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.is_held = true;
        }
    }

    /// True when its transaction has not been gone on with for as long as a thread may be kept waiting.
    pub(crate) fn is_kept_waiting(&self, now_ms: u64) -> bool {
        let waits = |one: &Transaction| now_ms >= one.asked_ms + PATIENCE_MS;
        self.transaction.as_ref().is_some_and(waits)
    }

    /// What it says of commits that fail.
    pub(crate) fn trouble(&self, shared: &Shared) -> Option<&Trouble> {
        self.core.trouble(now(shared))
    }

    /// Since when all attempts to commit the batch that is next have failed.
    pub(crate) fn fails_since(&self) -> Option<u64> {
        let (failed, since) = self.failing?;
        let first = self.core.batches().first()?;
        (key(first) == failed).then_some(since)
    }

    pub(crate) fn note_failure(&mut self, shared: &Shared) {
        if let (Some(first), None) = (self.core.batches().first(), self.fails_since()) {
            self.failing = Some((key(first), shared.broker.now_ms()));
        }
    }

    /// True while ownership may not end: from the check to the result.
    pub(crate) fn is_frozen(&self) -> bool {
        self.transaction.is_some()
    }

    pub(crate) fn standing(&self) -> Standing {
        match &self.transaction {
            Some(transaction) => transaction.standing,
            None if self.unanswered => Standing::EndUnanswered,
            None if self.door.inbox.is_empty() && self.core.batches().is_empty() => Standing::Idle,
            None => Standing::HasBatches,
        }
    }

    /// Nothing comes any more.
    pub(crate) fn close(&mut self) {
        self.core.close();
    }

    /// Starts a producer; false while the coordinator is busy.
    pub(crate) fn initialise(&mut self, id: &'static str, shared: &mut Shared) -> bool {
        let Ok(producer) = shared.broker.init_producer(id, TRANSACTION_TIMEOUT_MS) else {
            return false;
        };
        say!(shared, "{id}: initialised as {producer:?}");
        self.client = Some(Client {
            producer,
            sequences: [0; OUTPUTS],
            spent: false,
            disturbed: false,
        });
        true
    }

    /// One request, or one decision.
    pub(crate) fn work(
        &mut self,
        id: &'static str,
        (ownership, member): (&Ownership, Member),
        shared: &mut Shared,
    ) -> Result<Turn, Violation> {
        if self.transaction.is_some() {
            self.request(id, shared)?;
            // Often nothing happens elsewhere in between.
            while self.transaction.is_some() && shared.random.below(3) > 0 {
                self.request(id, shared)?;
            }
            return Ok(Turn::Worked);
        }
        while self.core.accepts() && !shared.random.one_in(4) {
            let Some(input) = self.door.inbox.pop_front() else {
                break;
            };
            self.core.offer(input);
        }
        self.door.look(self.core.batches())?;
        let ignores = shared.has(Bug::IgnoresOwnership);
        let holds = |partition, epoch| ignores || ownership.holds(partition, epoch);
        let action = self.core.next(now(shared), &holds);
        self.report(shared);
        match action {
            Action::Receive { .. } => {
                if self.core.batches().is_empty() {
                    self.door.look_idle()?;
                }
                return Ok(Turn::Nothing);
            }
            Action::Sleep { .. } => return Ok(Turn::Nothing),
            Action::End(error) => {
                say!(shared, "{id}: ends: {error}");
                return ended(&error).map(Turn::Ended);
            }
            Action::Transact { count } => self.begin(count, (ownership, member), shared)?,
            Action::Reinitialise => self.reinitialise(id, shared),
            Action::ReadStable(partitions) => self.read_stable(&partitions, member, shared),
        }
        Ok(Turn::Worked)
    }

    fn reinitialise(&mut self, id: &'static str, shared: &mut Shared) {
        if shared.has(Bug::NoInitialisation) {
            if let Some(client) = &mut self.client {
                client.spent = false;
                client.disturbed = false;
            }
        } else if !self.initialise(id, shared) {
            // It is waited for.
            return;
        }
        shared.hit(Hit::Reinitialised);
        self.unanswered = false;
        self.core.on_reinitialised(Ok(()), now(shared));
    }

    fn read_stable(&mut self, partitions: &[PartitionId], member: Member, shared: &mut Shared) {
        let stable = !shared.has(Bug::ReadsUnstable);
        let mut offsets = Ok(BTreeMap::new());
        if shared.troubled {
            // The same coordinator would be asked, by the same client.
            offsets = Err("it cannot be reached".to_owned());
        }
        for partition in partitions {
            match (shared.committed(index(*partition), stable), &mut offsets) {
                (Ok(committed), Ok(offsets)) => {
                    let offset = committed.map(|committed| committed.offset);
                    offsets.insert(*partition, offset);
                }
                (Ok(_), Err(_)) => {}
                (Err(refusal), _) => {
                    shared.hit(Hit::UnstableRead);
                    offsets = Err(refusal.to_string());
                }
            }
        }
        say!(shared, "committed are {offsets:?}");
        let is_member = member.id.is_some();
        self.core
            .on_stable(&Stable { offsets, is_member }, now(shared));
        self.note_failure(shared);
        self.report(shared);
    }

    pub(crate) fn report(&mut self, shared: &mut Shared) {
        for report in self.core.take_reports() {
            match report {
                Report::Attempted(_) | Report::Took(_) => {}
                Report::Committed(batch) => {
                    say!(shared, "committed: {} to {}", batch.partition, batch.to);
                    batch.progress.advance(batch.to, batch.newest);
                    self.failing = None;
                }
                Report::Stale(count) => {
                    (0..count).for_each(|_| shared.hit(Hit::StaleDropped));
                }
                Report::Released(_, released) => drop(released),
                Report::Settled(_, verdict) => shared.hit(match verdict {
                    Settlement::Committed => Hit::SettledCommitted,
                    Settlement::NotCommitted => Hit::SettledNot,
                    Settlement::Elsewhere => Hit::SettledElsewhere,
                    Settlement::Silent => Hit::SettledSilent,
                }),
                Report::Reassign(partition, epoch) => {
                    self.reassigned
                        .push(PollCommand::Reassign { partition, epoch });
                }
            }
        }
    }

    fn begin(
        &mut self,
        count: usize,
        (ownership, member): (&Ownership, Member),
        shared: &mut Shared,
    ) -> Result<(), Violation> {
        if member.id.is_none() && !shared.has(Bug::CommitsWithoutGeneration) {
            shared.hit(Hit::NotAMember);
            self.core
                .on_attempt(Err(Attempt::NotAMember), false, now(shared));
            self.note_failure(shared);
            return Ok(());
        }
        let batches = &self.core.batches()[..count];
        for batch in batches {
            let held = ownership.holds(batch.partition, batch.epoch);
            let ignores = shared.has(Bug::IgnoresOwnership);
            ensure(held || ignores, "I13", || {
                format!(
                    "a batch of an ended assignment of {} is committed",
                    batch.partition
                )
            })?;
        }
        let computes_until_ms = if shared.has(Bug::ComputesInTransaction) {
            shared.broker.now_ms() + shared.random.below(8_000)
        } else {
            0
        };
        let runs = batches.iter().filter_map(|batch| {
            let run = self.door.run_of((batch.partition, batch.epoch))?;
            Some((index(batch.partition), run))
        });
        let runs = runs.collect();
        let has_offsets = !shared.has(Bug::SkipsOffsets);
        let todo = requests(batches, has_offsets, &mut shared.random);
        say!(
            shared,
            "begins a transaction of {} batches as {member:?}",
            batches.len()
        );
        self.transaction = Some(Transaction {
            batches: batches.to_vec(),
            todo,
            tried: false,
            standing: Standing::HasBatches,
            member,
            began_ms: shared.broker.now_ms(),
            is_held: false,
            asked_ms: shared.broker.now_ms(),
            computes_until_ms,
            runs,
        });
        Ok(())
    }
}

/// What a worker may end for. Commits may fail for as long as they like (I17).
fn ended(error: &CommitError) -> Result<Hit, Violation> {
    match error {
        CommitError::FencedOften { .. } => Ok(Hit::EndedFenced),
        CommitError::Torn { .. } => Err(violation("I7", error.to_string())),
        CommitError::Create(_)
        | CommitError::Init { .. }
        | CommitError::Thread(_)
        | CommitError::LeftBehind { .. }
        | CommitError::LeftOpen { .. }
        | CommitError::TooLarge { .. }
        | CommitError::Forbidden { .. }
        | CommitError::ForbiddenId { .. }
        | CommitError::Fenced { .. }
        | CommitError::Offsets { .. } => Err(violation("I17", error.to_string())),
    }
}

pub(crate) fn now(shared: &Shared) -> Duration {
    Duration::from_millis(shared.broker.now_ms())
}
