//! What of a Kafka cluster exactly-once processing rests on, as plain data: logs with their last stable
//! offset, the transaction coordinator, the group coordinator. No socket, no thread, no clock.
//!
//! Every method of [`Broker`] is a request as it is handled, or something that the cluster does by itself:
//! write a marker, end a transaction that has run out of time. Whoever holds the broker decides the order,
//! and so may hand over a request late, twice or never. `integration-tests/tests/broker_model.rs` runs the
//! same requests against this and a real Kafka and compares the answers and what is visible.
//!
//! The requests are those of a client without KIP-890's second version, as librdkafka is: the epoch of a
//! producer does not change from one of its transactions to the next.

mod group;
mod log;
mod transactions;

use std::collections::BTreeMap;
use std::fmt;

pub use group::{Committed, Group, Member, MemberId};
pub use log::{Log, Visible};
pub use transactions::{Marker, Phase, Producer, Target};

use transactions::Transaction;

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    pub topic: &'static str,
    pub index: i32,
}

/// Why a request was refused, in classes: a client does the same for every error of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The coordinator is busy with the transaction before: ask again.
    Concurrent,
    /// The producer's epoch is not the present one.
    Fenced,
    /// The coordinator knows no such producer for this transactional id.
    UnknownProducer,
    /// The transaction is not in a state for this.
    InvalidState,
    /// A batch's number within its producer's epoch is not the next one.
    OutOfSequence,
    UnknownMember,
    IllegalGeneration,
    /// A transaction that may move the offset is not over: ask again.
    Unstable,
    /// The offset is not in the log.
    OutOfRange,
    UnknownPartition,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {self:?}")
    }
}

impl std::error::Error for Refusal {}

/// A cluster. `R` is what a record is.
#[derive(Clone, Debug)]
pub struct Broker<R> {
    now_ms: u64,
    logs: BTreeMap<Partition, Log<R>>,
    transactions: BTreeMap<String, Transaction>,
    groups: BTreeMap<String, Group>,
    producers: i64,
}

impl<R> Default for Broker<R> {
    fn default() -> Self {
        Self {
            now_ms: 0,
            logs: BTreeMap::new(),
            transactions: BTreeMap::new(),
            groups: BTreeMap::new(),
            producers: 0,
        }
    }
}

/// Logs.
impl<R> Broker<R> {
    pub fn create(&mut self, partition: Partition) {
        self.logs.entry(partition).or_default();
    }

    /// # Errors
    /// When there is no such partition.
    pub fn log(&self, partition: Partition) -> Result<&Log<R>, Refusal> {
        self.logs.get(&partition).ok_or(Refusal::UnknownPartition)
    }

    /// # Errors
    /// When there is no such partition.
    pub fn log_mut(&mut self, partition: Partition) -> Result<&mut Log<R>, Refusal> {
        self.logs
            .get_mut(&partition)
            .ok_or(Refusal::UnknownPartition)
    }
}

/// The group coordinator.
impl<R> Broker<R> {
    /// The group of that name, which there is as soon as it is asked for.
    pub fn group(&mut self, name: &str) -> &mut Group {
        if !self.groups.contains_key(name) {
            self.groups.insert(name.to_owned(), Group::default());
        }
        self.groups.entry(name.to_owned()).or_default()
    }
}
