//! Reads a range of one partition again, for a restore, and the committed offset it ends at.
//!
//! A consumer of its own, assigned by hand and without a membership in the group: it can neither
//! disturb the group nor commit. It reads the committed offset as `read_committed`, which is what
//! makes the coordinator wait until a predecessor's transaction is decided (KIP-447, `require_stable`).

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tokio::time::Instant;

use super::answer::{until_answered, until_leader_answers};
use super::client::ClientSettings;
use super::failure::{is_damaged, is_passing};
use super::hooks::check_elements;
use super::raw_headers::wanted_headers;
use super::topic_id::topic_id;
use crate::domain::{NextOffset, Offset, PartitionId, RecordBatch, Timestamp, TopicId};
use crate::permission::is_forbidden;

/// Where a partition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The stable committed offset and its metadata; `None` before the group's first commit.
    pub stable: Option<(NextOffset, String)>,
    /// First offset still in the log.
    pub log_start: NextOffset,
    /// One past the last record.
    pub log_end: NextOffset,
    /// Asked for last: where it is the committed one, so is the log. `None` where the brokers tell none.
    pub topic_id: Option<TopicId>,
}

/// Where a group without a committed offset starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPosition {
    Earliest,
    Latest,
    /// The first record at or after this time.
    At(Timestamp),
}

/// Why a replay could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the restore consumer could not be created: {0}")]
    Create(#[source] KafkaError),
    #[error(
        "{topic}/{partition}: {what} could not be read: {error}; is the group coordinator reachable?"
    )]
    Position {
        topic: String,
        partition: PartitionId,
        what: &'static str,
        error: KafkaError,
    },
    #[error("{topic}/{partition} could not be read again from offset {at}: {error}")]
    Read {
        topic: String,
        partition: PartitionId,
        at: NextOffset,
        error: KafkaError,
    },
    #[error(
        "{topic}/{partition}: no record and no end of the log within {waited:?} at offset {at}"
    )]
    Stalled {
        topic: String,
        partition: PartitionId,
        at: NextOffset,
        waited: Duration,
    },
}

impl ReplayError {
    /// True when the log is damaged: every attempt meets the same.
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Read { error, .. } if is_damaged(error))
    }

    /// True when the principal may not read.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Position { error, .. } | Self::Read { error, .. } if is_forbidden(error))
    }
}

/// How long a replay waits for the next record before it gives up.
const STALL_MAX: Duration = Duration::from_mins(1);
const POLL_WAIT: Duration = Duration::from_millis(50);
/// Records in one hand-over to the fold.
const BATCH_MAX: usize = 1024;

/// A consumer for restores; one per restore thread.
pub struct Replayer {
    consumer: BaseConsumer,
    topic: String,
    /// Headers that are copied; a restore needs none.
    header_names: Vec<String>,
}

impl std::fmt::Debug for Replayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replayer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Replayer {
    /// `group_id` names the group whose committed offsets are read; it is never joined.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(client: &ClientSettings, group_id: &str, topic: &str) -> Result<Self, ReplayError> {
        let consumer = client
            .config()
            .set("group.id", group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.wait.max.ms", "50")
            .create()
            .map_err(ReplayError::Create)?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
            header_names: Vec::new(),
        })
    }

    /// The same, and the records that it reads have these headers.
    #[must_use]
    pub fn with_headers(self, names: &[&str]) -> Self {
        let header_names = names.iter().copied().map(str::to_owned).collect();
        Self {
            header_names,
            ..self
        }
    }

    /// Reads the committed offset, once it is stable, and the ends of the log. `wanted` is asked while
    /// no answer comes.
    ///
    /// # Errors
    /// When the coordinator or the leader gives no answer in time, or it is not wanted any more.
    pub fn committed(
        &self,
        partition: PartitionId,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Committed, ReplayError> {
        let failed = |what| {
            move |error| ReplayError::Position {
                topic: self.topic.clone(),
                partition,
                what,
                error,
            }
        };
        let mut asked = TopicPartitionList::with_capacity(1);
        asked.add_partition(&self.topic, partition.0);
        let ask_committed = |timeout| {
            self.consumer
                .committed_offsets(asked.clone(), timeout)
                .and_then(|answer| check_elements(&answer).map(|()| answer))
        };
        let answer =
            until_answered(ask_committed, wanted).map_err(failed("the committed offset"))?;
        let stable = answer
            .elements()
            .first()
            .and_then(|element| match element.offset() {
                KafkaOffset::Offset(offset) => {
                    NextOffset::new(offset).map(|offset| (offset, element.metadata().to_owned()))
                }
                KafkaOffset::Beginning
                | KafkaOffset::End
                | KafkaOffset::Stored
                | KafkaOffset::Invalid
                | KafkaOffset::OffsetTail(_) => None,
            });
        let (log_start, log_end) = self.ends(partition, wanted)?;
        Ok(Committed {
            stable,
            log_start,
            log_end,
            topic_id: self.topic_id(partition, wanted)?,
        })
    }

    /// The id that the topic has now, `None` where the brokers tell none.
    ///
    /// # Errors
    /// When the leader gives no answer in time, there is no such topic, or it is not wanted any more.
    pub fn topic_id(
        &self,
        partition: PartitionId,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Option<TopicId>, ReplayError> {
        let topic = self.topic.as_str();
        let ask = |timeout| topic_id(&self.consumer, (topic, partition), timeout);
        until_answered(ask, wanted).map_err(|error| ReplayError::Position {
            topic: topic.to_owned(),
            partition,
            what: "the id of the topic",
            error,
        })
    }

    /// The first offset in the log and the one past the last.
    ///
    /// # Errors
    /// When the leader gives no answer in time, or it is not wanted any more.
    pub fn ends(
        &self,
        partition: PartitionId,
        wanted: &dyn Fn() -> bool,
    ) -> Result<(NextOffset, NextOffset), ReplayError> {
        let ask = |timeout| {
            self.consumer
                .fetch_watermarks(&self.topic, partition.0, timeout)
        };
        let leader = (&self.consumer, self.topic.as_str());
        let (low, high) =
            until_leader_answers(leader, ask, wanted).map_err(|error| ReplayError::Position {
                topic: self.topic.clone(),
                partition,
                what: "the ends of the log",
                error,
            })?;
        let position = |offset| NextOffset::new(offset).unwrap_or(NextOffset::ZERO);
        Ok((position(low), position(high)))
    }

    /// Resolves a start position to a number.
    ///
    /// # Errors
    /// When the leader gives no answer in time.
    pub fn resolve(
        &self,
        partition: PartitionId,
        start: StartPosition,
        log: &Committed,
        wanted: &dyn Fn() -> bool,
    ) -> Result<NextOffset, ReplayError> {
        match start {
            StartPosition::Earliest => Ok(log.log_start),
            StartPosition::Latest => Ok(log.log_end),
            StartPosition::At(time) => {
                let found = self.offset_at(partition, time, wanted)?;
                Ok(found.unwrap_or(log.log_end))
            }
        }
    }

    /// The first offset whose record timestamp is at or after `time`; `None` past the last record.
    ///
    /// # Errors
    /// When the leader gives no answer in time.
    pub fn offset_at(
        &self,
        partition: PartitionId,
        time: Timestamp,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Option<NextOffset>, ReplayError> {
        let failed = |error| ReplayError::Position {
            topic: self.topic.clone(),
            partition,
            what: "the offset of a time",
            error,
        };
        let mut asked = TopicPartitionList::with_capacity(1);
        asked
            .add_partition_offset(&self.topic, partition.0, KafkaOffset::Offset(time.0.max(0)))
            .map_err(failed)?;
        let ask = |timeout| {
            self.consumer
                .offsets_for_times(asked.clone(), timeout)
                .and_then(|answer| check_elements(&answer).map(|()| answer))
        };
        let leader = (&self.consumer, self.topic.as_str());
        let answer = until_leader_answers(leader, ask, wanted).map_err(failed)?;
        Ok(answer
            .elements()
            .first()
            .and_then(|element| element.offset().to_raw())
            .and_then(NextOffset::new))
    }

    /// Reads the records of `[from, to)` and gives them to `fold` in offset order, batch by batch.
    /// `fold` answers whether to go on; while no record comes it is asked with what there is, which may
    /// be nothing. Returns the number of records read.
    ///
    /// Offsets have holes (transaction markers, compaction), so the range ends at the first record at
    /// or past `to`, or at the end of the log.
    ///
    /// # Errors
    /// When reading fails, or nothing comes for a minute.
    pub fn replay(
        &self,
        partition: PartitionId,
        (from, to): (NextOffset, NextOffset),
        fold: &mut dyn FnMut(&RecordBatch) -> bool,
    ) -> Result<u64, ReplayError> {
        if from >= to {
            return Ok(0);
        }
        let failed = |error| ReplayError::Read {
            topic: self.topic.clone(),
            partition,
            at: from,
            error,
        };
        let mut position = TopicPartitionList::with_capacity(1);
        position
            .add_partition_offset(&self.topic, partition.0, KafkaOffset::Offset(from.get()))
            .map_err(failed)?;
        self.consumer.assign(&position).map_err(failed)?;
        let read = self.read_until(partition, (from, to), fold);
        self.consumer.unassign().map_err(failed)?;
        read
    }

    fn read_until(
        &self,
        partition: PartitionId,
        (from, to): (NextOffset, NextOffset),
        fold: &mut dyn FnMut(&RecordBatch) -> bool,
    ) -> Result<u64, ReplayError> {
        let mut batch = RecordBatch::default();
        let mut read: u64 = 0;
        let mut at = from;
        let mut progress = Instant::now();
        loop {
            let mut done = false;
            let mut idle = false;
            match self.consumer.poll(POLL_WAIT) {
                None if progress.elapsed() > STALL_MAX => {
                    let topic = self.topic.clone();
                    return Err(ReplayError::Stalled {
                        topic,
                        partition,
                        at,
                        waited: STALL_MAX,
                    });
                }
                None => idle = true,
                Some(Ok(message)) => {
                    progress = Instant::now();
                    match Offset::new(message.offset()) {
                        Some(offset) if to.is_past(offset) => {
                            at = offset.next();
                            let timestamp = message.timestamp().to_millis().map(Timestamp);
                            let position = (offset, timestamp);
                            let headers = wanted_headers(&message, &self.header_names);
                            batch.push(position, message.key(), message.payload(), headers);
                            read += 1;
                            done = at == to;
                        }
                        Some(_) => done = true,
                        None => {}
                    }
                }
                // Committed offsets lie at or below the last stable offset, which is this end.
                Some(Err(KafkaError::PartitionEOF(_))) => done = true,
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => {
                    let topic = self.topic.clone();
                    return Err(ReplayError::Read {
                        topic,
                        partition,
                        at,
                        error,
                    });
                }
            }
            if (done || idle || batch.len() >= BATCH_MAX) && !fold(&std::mem::take(&mut batch)) {
                return Ok(read);
            }
            if done {
                return Ok(read);
            }
        }
    }
}
