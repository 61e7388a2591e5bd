//! The rebalance callbacks of the consumer, turned into messages that carry their own answer.
//!
//! librdkafka calls them inside `poll`, on the poll thread. An assignment is named and paused and
//! nothing is awaited; a revocation waits, for a bounded time, until what is finished is committed;
//! a lost partition is given up at once. Errors of (un)assign are not swallowed, as rdkafka's own
//! callback does, but end the worker.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::Statistics;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaRespErr;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::identity::{Identity, MadeAnew};
use crate::domain::{Epoch, PartitionId, TopicId};
use crate::ownership::Ownership;
use crate::telemetry::librdkafka;

/// One partition of an assignment, and the epoch that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub partition: PartitionId,
    pub epoch: Epoch,
}

/// What a rebalance asks of the worker.
#[derive(Debug)]
pub enum RebalanceEvent {
    /// Assigned and paused; to be restored, then served.
    Assigned(Vec<Assigned>),
    /// The poll thread waits until every clone of `released` is dropped, so a dead task cannot hang
    /// the group.
    Revoked {
        partitions: Vec<PartitionId>,
        released: SyncSender<()>,
    },
    /// Ownership is gone already: nothing may be committed.
    Lost(Vec<PartitionId>),
    /// Still assigned, and paused; what is held of it is worth nothing, so it is restored once more.
    Reassigned(Assigned),
}

/// The consumer's context.
pub struct Hooks {
    ownership: Ownership,
    /// Takes an event to the owner of the partitions; `false` when that has ended.
    sink: Box<dyn Fn(RebalanceEvent) -> bool + Send + Sync>,
    /// How long a revocation waits for the partitions' last commit.
    release_timeout: Duration,
    /// What the poll thread must know after the poll that called a hook.
    aftermath: Mutex<Aftermath>,
    /// Last stable offset of each partition, as the client's statistics gave it last.
    log_ends: Mutex<BTreeMap<PartitionId, i64>>,
    identity: Identity,
}

/// What hooks leave for the poll thread, which they run on but do not own.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    pub(super) gone: Vec<PartitionId>,
    pub(super) failure: Option<KafkaError>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("ownership", &self.ownership)
            .finish_non_exhaustive()
    }
}

impl Hooks {
    pub fn new(
        topic: &str,
        ownership: Ownership,
        sink: Box<dyn Fn(RebalanceEvent) -> bool + Send + Sync>,
        release_timeout: Duration,
    ) -> Self {
        Self {
            ownership,
            sink,
            release_timeout,
            aftermath: Mutex::default(),
            log_ends: Mutex::default(),
            identity: Identity::of(topic),
        }
    }

    /// The id of the topic that is read, once it is known.
    pub(super) fn topic_id(&self) -> Option<TopicId> {
        self.identity.id()
    }

    /// Whether the topic is another one by now. It is known before any record of that comes.
    pub(super) fn made_anew(&self) -> Option<MadeAnew> {
        self.identity.made_anew()
    }

    pub(super) fn holds(&self, partition: PartitionId, epoch: Epoch) -> bool {
        self.ownership.holds(partition, epoch)
    }

    /// Ends a partition's epoch and begins the next one.
    pub(super) fn reassign(&self, partition: PartitionId) {
        self.ownership.release(partition);
        let epoch = self.ownership.acquire(partition);
        self.send(RebalanceEvent::Reassigned(Assigned { partition, epoch }));
    }

    pub(super) fn release_timeout(&self) -> Duration {
        self.release_timeout
    }

    pub(super) fn take_aftermath(&self) -> Aftermath {
        std::mem::take(
            &mut *self
                .aftermath
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(super) fn log_ends(&self) -> BTreeMap<PartitionId, i64> {
        self.log_ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn on_assign(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
    ) -> KafkaResult<()> {
        let mut positioned = TopicPartitionList::with_capacity(partitions.count());
        let began = Instant::now();
        for element in partitions.elements() {
            // With auto.offset.reset=error and nothing committed a position must be named; the true one
            // is sought once the partition is restored. Not a logical one such as the end: librdkafka
            // looks that up, our pause outdates the answer, and its second look-up 500 ms later moves
            // the partition to the end after we have sought its position, skipping what lies between.
            // The log's start is a number that a fetch before the pause may ask for.
            let start = log_start(consumer, element.topic(), element.partition(), began);
            positioned.add_partition_offset(element.topic(), element.partition(), start)?;
        }
        // Before, so that no fetch at 0 is sent, which is out of range where the log has lost its
        // beginning. librdkafka keeps an application's pause across un-assign and re-assign, so the
        // state is set again afterwards and never assumed.
        consumer.pause(&positioned)?;
        consumer.incremental_assign(&positioned)?;
        consumer.pause(&positioned)?;
        check_elements(&positioned)?;
        let assigned: Vec<Assigned> = ids(partitions)
            .map(|partition| Assigned {
                partition,
                epoch: self.ownership.acquire(partition),
            })
            .collect();
        let taken: Vec<PartitionId> = ids(partitions).collect();
        info!(partitions = ?numbers(&taken), "partitions assigned");
        self.send(RebalanceEvent::Assigned(assigned));
        Ok(())
    }

    fn on_revoke(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
    ) -> KafkaResult<()> {
        let gone: Vec<PartitionId> = ids(partitions).collect();
        let lost = consumer.assignment_lost();
        if lost {
            warn!(partitions = ?numbers(&gone), "partitions lost; their unfinished work is discarded");
            self.disown(&gone);
            self.send(RebalanceEvent::Lost(gone.clone()));
        } else {
            self.wait_for_release(&gone);
            self.disown(&gone);
        }
        self.aftermath
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .gone
            .extend_from_slice(&gone);
        consumer.incremental_unassign(partitions)
    }

    fn wait_for_release(&self, partitions: &[PartitionId]) {
        let (released, wait) = sync_channel(1);
        self.send(RebalanceEvent::Revoked {
            partitions: partitions.to_vec(),
            released,
        });
        match wait.recv_timeout(self.release_timeout) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                info!(
                    partitions = ?numbers(partitions),
                    "partitions revoked; their finished work is committed"
                );
            }
            Err(RecvTimeoutError::Timeout) => {
                let waited = self.release_timeout;
                warn!(
                    partitions = ?numbers(partitions),
                    ?waited,
                    "partitions revoked before their last commit was made; the next owner repeats that work"
                );
            }
        }
    }

    fn disown(&self, partitions: &[PartitionId]) {
        for partition in partitions {
            self.ownership.release(*partition);
        }
    }

    fn send(&self, event: RebalanceEvent) {
        // The receiver ends only with the worker; there is nothing to tell anyone then.
        if !(self.sink)(event) {
            warn!("rebalance while the worker stops");
        }
    }
}

impl ClientContext for Hooks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.identity.hear(facility, message);
        librdkafka::log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        let ends = statistics
            .topics
            .into_values()
            .flat_map(|topic| topic.partitions.into_values())
            // librdkafka counts records without a partition under -1, and knows no end before a fetch.
            .filter(|partition| partition.partition >= 0 && partition.ls_offset >= 0)
            .map(|partition| (PartitionId(partition.partition), partition.ls_offset))
            .collect();
        *self.log_ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(target: "librdkafka", %error, reason, "consumer error");
    }
}

impl ConsumerContext for Hooks {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let result = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.on_assign(consumer, partitions)
        } else if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS {
            self.on_revoke(consumer, partitions)
        } else {
            Err(KafkaError::Rebalance(RDKafkaErrorCode::from(event)))
        };
        if let Err(failure) = result {
            error!(%failure, "rebalance failed");
            self.aftermath
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .failure = Some(failure);
        }
    }
}

/// How long a hook may look for the starts of logs, for all its partitions together.
const LOG_STARTS_MAX: Duration = Duration::from_secs(5);
/// One look.
const LOG_START_TIMEOUT: Duration = Duration::from_secs(1);

/// The first offset in the log; 0 where the broker does not say in time.
fn log_start(
    consumer: &BaseConsumer<Hooks>,
    topic: &str,
    partition: i32,
    began: Instant,
) -> Offset {
    if began.elapsed() > LOG_STARTS_MAX {
        return Offset::Offset(0);
    }
    consumer
        .fetch_watermarks(topic, partition, LOG_START_TIMEOUT)
        .map_or(Offset::Offset(0), |(low, _)| Offset::Offset(low.max(0)))
}

/// As people write them.
fn numbers(partitions: &[PartitionId]) -> Vec<i32> {
    partitions.iter().map(|partition| partition.0).collect()
}

fn ids(partitions: &TopicPartitionList) -> impl Iterator<Item = PartitionId> + use<> {
    partitions
        .elements()
        .iter()
        .map(|element| PartitionId(element.partition()))
        .collect::<Vec<_>>()
        .into_iter()
}

/// rdkafka returns `Ok` for calls whose single elements failed.
pub(super) fn check_elements(partitions: &TopicPartitionList) -> KafkaResult<()> {
    partitions
        .elements()
        .iter()
        .try_for_each(TopicPartitionListElem::error)
}
