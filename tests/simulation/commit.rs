//! The committer of a process: the product's decisions, and a client that does what librdkafka does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use broker_model::{Member, Refusal};
use foretell::domain::PartitionId;
use foretell::ownership::Ownership;
use foretell::produce::{
    Action, Attempt, CommitterInput, Core, Guarantee, Report, Settlement, Stable,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::bugs::Bug;
use crate::checks::{Violation, ensure};
use crate::client::{Client, Stage, Transaction, requests};
use crate::consumer::PollCommand;
use crate::hits::Hit;
use crate::input::{OUTPUTS, index};
use crate::network::Request;
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
    pub(crate) inbox: VecDeque<CommitterInput>,
    core: Core,
    client: Option<Client>,
    transaction: Option<Transaction>,
    /// `EndTxn` was sent and not answered.
    unanswered: bool,
    /// What it asks of the poll thread.
    pub(crate) reassigned: Vec<PollCommand>,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Nothing,
    Worked,
    /// The process ends.
    Ended,
}

impl Committer {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            inbox: VecDeque::new(),
            core: Core::new(Guarantee::ExactlyOnce, interval),
            client: None,
            transaction: None,
            unanswered: false,
            reassigned: Vec::new(),
        }
    }

    /// True while ownership may not end: from the check to the result.
    pub(crate) fn is_frozen(&self) -> bool {
        self.transaction.is_some()
    }

    pub(crate) fn standing(&self) -> Standing {
        match &self.transaction {
            Some(transaction) if transaction.offsets_sent => Standing::OffsetsSent,
            Some(transaction) if transaction.produced => Standing::Produced,
            None if self.unanswered => Standing::EndUnanswered,
            None if self.inbox.is_empty() && self.core.batches().is_empty() => Standing::Idle,
            Some(_) | None => Standing::HasBatches,
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
            let Some(input) = self.inbox.pop_front() else {
                break;
            };
            self.core.offer(input);
        }
        let ignores = shared.has(Bug::IgnoresOwnership);
        let holds = |partition, epoch| ignores || ownership.holds(partition, epoch);
        let action = self.core.next(now(shared), &holds);
        self.report(shared);
        match action {
            Action::Receive { .. } | Action::Sleep { .. } => return Ok(Turn::Nothing),
            Action::End(error) => {
                say!(shared, "{id}: ends: {error}");
                return Ok(Turn::Ended);
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
        self.report(shared);
    }

    fn report(&mut self, shared: &mut Shared) {
        for report in self.core.take_reports() {
            match report {
                Report::Attempted(_) | Report::Took(_) => {}
                Report::Committed(batch) => {
                    say!(shared, "committed: {} to {}", batch.partition, batch.to);
                    batch.progress.advance(batch.to, batch.newest);
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
            offsets_sent: false,
            produced: false,
            member,
        });
        Ok(())
    }

    /// The next request of the transaction.
    fn request(&mut self, id: &'static str, shared: &mut Shared) -> Result<(), Violation> {
        let (Some(transaction), Some(client)) = (&mut self.transaction, &mut self.client) else {
            return Ok(());
        };
        ensure(!client.spent, "I8", || {
            format!("{id} calls a producer after an indefinite result")
        })?;
        let Some(stage) = transaction.todo.front().copied() else {
            return Ok(());
        };
        if matches!(stage, Stage::Produce(_)) && !transaction.tried && shared.fault(20) {
            // A delivery failed.
            transaction.todo = VecDeque::from([Stage::End { commit: false }]);
            return Ok(());
        }
        let request = Request {
            transactional_id: id,
            producer: client.producer,
            body: transaction.body(stage, client),
        };
        let sent = shared.send(&request);
        client.disturbed |= sent.is_twice && !shared.has(Bug::RetriesUnseen);
        match (stage, sent.answer) {
            (Stage::Offsets | Stage::End { .. }, None) if shared.random.one_in(2) => {
                self.unanswered = matches!(stage, Stage::End { .. });
                self.end(Err(indefinite(Code::OperationTimedOut)), shared);
            }
            // The client sends it again.
            (_, None) => transaction.tried = true,
            (_, Some(Err(Refusal::Concurrent))) => {}
            (Stage::End { commit: true }, Some(Ok(()))) => {
                shared.hits.transactions += 1;
                self.end(Ok(()), shared);
            }
            (Stage::End { commit: false }, Some(Ok(()))) => {
                shared.hit(Hit::Aborted);
                let (step, error) = (STEP, KafkaError::MessageProduction(Code::MessageTimedOut));
                self.end(Err(Attempt::Again { step, error }), shared);
            }
            (sent, Some(Ok(()))) => {
                transaction.todo.pop_front();
                transaction.tried = false;
                match sent {
                    Stage::Produce(place) => {
                        transaction.produced = true;
                        client.sequences[place] += transaction.count(place);
                    }
                    Stage::Offsets => transaction.offsets_sent = true,
                    Stage::Add | Stage::AddOffsets | Stage::End { .. } => {}
                }
            }
            (_, Some(Err(Refusal::IllegalGeneration | Refusal::UnknownMember))) => {
                shared.hit(Hit::ZombieRefused);
                transaction.todo = VecDeque::from([Stage::End { commit: false }]);
            }
            (_, Some(Err(Refusal::Fenced))) => {
                shared.hit(Hit::Fenced);
                self.end(Err(indefinite(Code::Fenced)), shared);
            }
            (_, Some(Err(_))) => self.end(Err(indefinite(Code::InvalidTransactionalState)), shared),
        }
        Ok(())
    }

    fn end(&mut self, result: Result<(), Attempt>, shared: &mut Shared) {
        say!(shared, "the transaction ends: {result:?}");
        self.transaction = None;
        let mut disturbed = false;
        if let Some(client) = &mut self.client {
            client.spent = matches!(result, Err(Attempt::Indefinite { .. }));
            disturbed = client.disturbed;
        }
        if disturbed {
            shared.hit(Hit::Disturbed);
        }
        self.core.on_attempt(result, disturbed, now(shared));
        self.report(shared);
    }
}

const STEP: &str = "a step of the simulation";

fn indefinite(code: Code) -> Attempt {
    let (step, error) = (STEP, KafkaError::MessageProduction(code));
    Attempt::Indefinite { step, error }
}

fn now(shared: &Shared) -> Duration {
    Duration::from_millis(shared.broker.now_ms())
}
