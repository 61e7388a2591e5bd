//! The transaction coordinator: who may write under a transactional id, and how a transaction ends.
//!
//! A transaction that is to end is `Ending` until its last marker is written, one marker at a time, so that
//! outputs may be visible while the offsets are not, and the other way round.

use super::{Broker, Committed, Member, Partition, Refusal};

/// A producer's id and the epoch that it writes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No transaction since the producer was initialised.
    Empty,
    Ongoing,
    /// Decided; not every marker is written.
    Ending {
        commit: bool,
    },
    Ended {
        commit: bool,
    },
}

/// What a marker is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Log(Partition),
    /// The offsets of a group.
    Group(String),
}

/// A marker that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub transactional_id: String,
    pub target: Target,
}

#[derive(Clone, Debug)]
pub(super) struct Transaction {
    producer: Producer,
    timeout_ms: u64,
    phase: Phase,
    began_ms: u64,
    targets: Vec<Target>,
}

impl Transaction {
    fn includes(&self, target: &Target) -> bool {
        self.targets.contains(target)
    }

    /// A request of the coordinator's client must have the present epoch, exactly.
    fn check(&self, producer: Producer) -> Result<(), Refusal> {
        if self.producer.id != producer.id {
            Err(Refusal::UnknownProducer)
        } else if self.producer.epoch != producer.epoch {
            Err(Refusal::Fenced)
        } else {
            Ok(())
        }
    }

    fn end(&mut self, commit: bool) {
        self.phase = if self.targets.is_empty() {
            Phase::Ended { commit }
        } else {
            Phase::Ending { commit }
        };
    }

    /// Ends the open transaction with an abort, at an epoch that its producer does not have.
    fn fence(&mut self) {
        self.producer.epoch += 1;
        self.end(false);
    }
}

impl<R> Broker<R> {
    /// `InitProducerId` of a client that has no producer id yet.
    ///
    /// # Errors
    /// While a transaction of the id is being ended, which this begins where one is open.
    pub fn init_producer(
        &mut self,
        transactional_id: &str,
        timeout_ms: u64,
    ) -> Result<Producer, Refusal> {
        let Some(transaction) = self.transactions.get_mut(transactional_id) else {
            let producer = Producer {
                id: self.producers,
                epoch: 0,
            };
            self.producers += 1;
            let transaction = Transaction {
                producer,
                timeout_ms,
                phase: Phase::Empty,
                began_ms: 0,
                targets: Vec::new(),
            };
            self.transactions
                .insert(transactional_id.to_owned(), transaction);
            return Ok(producer);
        };
        match transaction.phase {
            Phase::Ongoing => {
                transaction.fence();
                Err(Refusal::Concurrent)
            }
            Phase::Ending { .. } => Err(Refusal::Concurrent),
            Phase::Empty | Phase::Ended { .. } => {
                transaction.producer.epoch += 1;
                transaction.timeout_ms = timeout_ms;
                transaction.phase = Phase::Empty;
                Ok(transaction.producer)
            }
        }
    }

    /// `AddPartitionsToTxn`.
    ///
    /// # Errors
    /// When the producer may not, or not yet.
    pub fn add_partitions(
        &mut self,
        transactional_id: &str,
        producer: Producer,
        partitions: impl IntoIterator<Item = Partition>,
    ) -> Result<(), Refusal> {
        let targets = partitions.into_iter().map(Target::Log);
        self.add(transactional_id, producer, targets)
    }

    /// `AddOffsetsToTxn`.
    ///
    /// # Errors
    /// When the producer may not, or not yet.
    pub fn add_offsets(
        &mut self,
        transactional_id: &str,
        producer: Producer,
        group: &str,
    ) -> Result<(), Refusal> {
        let target = Target::Group(group.to_owned());
        self.add(transactional_id, producer, std::iter::once(target))
    }

    fn add(
        &mut self,
        transactional_id: &str,
        producer: Producer,
        targets: impl Iterator<Item = Target>,
    ) -> Result<(), Refusal> {
        let now_ms = self.now_ms;
        let transaction = self
            .transactions
            .get_mut(transactional_id)
            .ok_or(Refusal::UnknownProducer)?;
        transaction.check(producer)?;
        match transaction.phase {
            Phase::Ending { .. } => return Err(Refusal::Concurrent),
            Phase::Ongoing => {}
            Phase::Empty | Phase::Ended { .. } => {
                transaction.phase = Phase::Ongoing;
                transaction.began_ms = now_ms;
                transaction.targets.clear();
            }
        }
        for target in targets {
            if !transaction.includes(&target) {
                transaction.targets.push(target);
            }
        }
        Ok(())
    }

    /// Produce, of one batch in a transaction. `sequence` numbers the producer's records in a partition
    /// since its epoch began.
    ///
    /// # Errors
    /// When the partition is not part of an open transaction of this producer.
    pub fn produce(
        &mut self,
        transactional_id: &str,
        producer: Producer,
        (partition, sequence): (Partition, i32),
        records: impl IntoIterator<Item = R>,
    ) -> Result<(), Refusal> {
        let open = self.log(partition)?.is_open(producer.id);
        // The partition's leader asks the coordinator once in a transaction.
        if !open {
            self.verify(transactional_id, producer, &Target::Log(partition))?;
        }
        let log = self.log_mut(partition)?;
        log.append_batch(producer, sequence, records.into_iter())
    }

    /// `TxnOffsetCommit`. Nothing looks whether the partitions are the member's.
    ///
    /// # Errors
    /// When the member is none, or the group not part of an open transaction of this producer.
    pub fn commit_offsets(
        &mut self,
        (transactional_id, producer): (&str, Producer),
        (group, member): (&str, Member),
        offsets: impl IntoIterator<Item = (Partition, Committed)>,
    ) -> Result<(), Refusal> {
        if !self.group(group).has_pending(producer.id) {
            let target = Target::Group(group.to_owned());
            self.verify(transactional_id, producer, &target)?;
        }
        let group = self.group(group);
        group.check_transactional(member)?;
        group.add_pending(producer, offsets)
    }

    fn verify(
        &self,
        transactional_id: &str,
        producer: Producer,
        target: &Target,
    ) -> Result<(), Refusal> {
        let transaction = self
            .transactions
            .get(transactional_id)
            .ok_or(Refusal::UnknownProducer)?;
        transaction.check(producer)?;
        match transaction.phase {
            Phase::Ending { .. } => Err(Refusal::Concurrent),
            Phase::Ongoing if transaction.includes(target) => Ok(()),
            Phase::Ongoing | Phase::Empty | Phase::Ended { .. } => Err(Refusal::InvalidState),
        }
    }

    /// `EndTxn`. The answer comes when it is decided; the markers are written later. Nothing tells this
    /// transaction of the producer's epoch from another one.
    ///
    /// # Errors
    /// When there is no transaction that could end so.
    pub fn end_transaction(
        &mut self,
        transactional_id: &str,
        producer: Producer,
        commit: bool,
    ) -> Result<(), Refusal> {
        let transaction = self
            .transactions
            .get_mut(transactional_id)
            .ok_or(Refusal::UnknownProducer)?;
        transaction.check(producer)?;
        match transaction.phase {
            Phase::Ongoing => {
                transaction.end(commit);
                Ok(())
            }
            Phase::Ending { commit: ending } if ending == commit => Err(Refusal::Concurrent),
            Phase::Ended { commit: ended } if ended == commit => Ok(()),
            Phase::Empty | Phase::Ending { .. } | Phase::Ended { .. } => Err(Refusal::InvalidState),
        }
    }

    /// Lets time pass. Transactions that have run out of it are aborted at an epoch of the coordinator.
    /// Returns how many.
    pub fn advance(&mut self, ms: u64) -> usize {
        self.now_ms += ms;
        let now_ms = self.now_ms;
        let overdue = self.transactions.values_mut().filter(|transaction| {
            transaction.phase == Phase::Ongoing
                && now_ms > transaction.began_ms + transaction.timeout_ms
        });
        overdue.map(Transaction::fence).count()
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Where the transaction of an id stands; `None` when the id is not known.
    pub fn phase(&self, transactional_id: &str) -> Option<Phase> {
        let transaction = self.transactions.get(transactional_id)?;
        Some(transaction.phase)
    }

    /// The markers that are to be written, in no order that they must be written in.
    pub fn markers(&self) -> Vec<Marker> {
        let ending = self
            .transactions
            .iter()
            .filter(|(_, transaction)| matches!(transaction.phase, Phase::Ending { .. }));
        ending
            .flat_map(|(id, transaction)| {
                transaction.targets.iter().map(|target| Marker {
                    transactional_id: id.clone(),
                    target: target.clone(),
                })
            })
            .collect()
    }

    /// What is committed of a partition, by a transaction whose end is decided and not written yet
    /// included.
    pub fn decided(&mut self, group: &str, partition: Partition) -> Option<&Committed> {
        let mut committing = Vec::new();
        for transaction in self.transactions.values() {
            if transaction.phase == (Phase::Ending { commit: true }) {
                committing.push(transaction.producer.id);
            }
        }
        let group = &*self.group(group);
        let mut pending = committing
            .into_iter()
            .filter_map(|producer| group.pending_offset(producer, partition));
        pending.next().or_else(|| group.committed_offset(partition))
    }

    /// True when a marker is to be written.
    pub fn has_markers(&self) -> bool {
        let mut transactions = self.transactions.values();
        transactions.any(|transaction| matches!(transaction.phase, Phase::Ending { .. }))
    }

    /// Writes one of [`Broker::markers`]. With the last one the transaction has ended.
    pub fn write_marker(&mut self, marker: &Marker) {
        let Some(transaction) = self.transactions.get_mut(&marker.transactional_id) else {
            return;
        };
        let Phase::Ending { commit } = transaction.phase else {
            return;
        };
        let producer = transaction.producer;
        let before = transaction.targets.len();
        transaction
            .targets
            .retain(|target| *target != marker.target);
        let was_due = transaction.targets.len() < before;
        if transaction.targets.is_empty() {
            transaction.phase = Phase::Ended { commit };
        }
        if !was_due {
            return;
        }
        match &marker.target {
            Target::Log(partition) => {
                if let Some(log) = self.logs.get_mut(partition) {
                    log.append_marker(producer, commit);
                }
            }
            Target::Group(group) => self.group(group).end_pending(producer, commit),
        }
    }

    /// Writes every marker.
    pub fn write_markers(&mut self) {
        for marker in self.markers() {
            self.write_marker(&marker);
        }
    }
}
