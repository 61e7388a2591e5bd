//! Follows one partition of a topic from a position, outside of any group.
//!
//! For topics whose records are few and are all read by everybody: the control topic, and what workers say of
//! themselves. Records of transactions that abort are seen like all others, so that every reader sees the same.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{
    Offset as KafkaOffset, TopicPartitionList, TopicPartitionListElem,
};
use tokio::time::Instant;

use super::client::ClientSettings;
use super::contact::Troubles;
use super::failure::is_passing;
use crate::domain::{NextOffset, Offset, Timestamp};

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    pub offset: Offset,
    /// Record timestamp.
    pub timestamp: Option<Timestamp>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// What came of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    Record(Followed),
    Nothing,
    /// Everything was read that there is now.
    End,
}

/// Why a topic cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("the consumer of {topic} could not be created: {error}")]
    Create { topic: String, error: KafkaError },
    #[error("{topic} could not be read: {error}")]
    Read { topic: String, error: KafkaError },
    #[error(
        "the end of {topic} did not come within {timeout:?}, after {read} records; is its leader up?"
    )]
    Slow {
        topic: String,
        read: usize,
        timeout: Duration,
    },
}

/// A reader of partition 0.
pub struct Follower {
    consumer: BaseConsumer<Troubles>,
    topic: String,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// The only partition.
const PARTITION: i32 = 0;
const POLL_WAIT: Duration = Duration::from_millis(50);

impl Follower {
    /// Begins to read at a position.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(
        client: &ClientSettings,
        topic: &str,
        from: NextOffset,
    ) -> Result<Self, FollowError> {
        Self::create(client, topic)?.begin(KafkaOffset::Offset(from.get()))
    }

    /// Begins to read at the first record that is not older than `from`.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration, or the broker does not say where that is.
    pub fn since(
        client: &ClientSettings,
        topic: &str,
        from: Timestamp,
        timeout: Duration,
    ) -> Result<Self, FollowError> {
        let follower = Self::create(client, topic)?;
        let mut times = TopicPartitionList::with_capacity(1);
        let found = times
            .add_partition_offset(topic, PARTITION, KafkaOffset::Offset(from.0))
            .and_then(|()| follower.consumer.offsets_for_times(times, timeout))
            .map_err(|error| follower.failed(error))?;
        let found = found.elements().first().map(TopicPartitionListElem::offset);
        follower.begin(match found {
            Some(offset @ KafkaOffset::Offset(_)) => offset,
            // Nothing is as new.
            _ => KafkaOffset::End,
        })
    }

    fn create(client: &ClientSettings, topic: &str) -> Result<Self, FollowError> {
        let created = client
            .config()
            // The library asks for one; nothing is ever committed for it.
            .set("group.id", "foretell-follower")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_uncommitted")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.wait.max.ms", "500")
            // The end of the topic is no error here, and what is one reaches the caller.
            .create_with_context(Troubles::default());
        let consumer: BaseConsumer<Troubles> = created.map_err(|error| FollowError::Create {
            topic: topic.to_owned(),
            error,
        })?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
        })
    }

    fn begin(self, offset: KafkaOffset) -> Result<Self, FollowError> {
        let mut position = TopicPartitionList::with_capacity(1);
        position
            .add_partition_offset(&self.topic, PARTITION, offset)
            .and_then(|()| self.consumer.assign(&position))
            .map_err(|error| self.failed(error))?;
        Ok(self)
    }

    /// The next record, if one comes within `wait`.
    ///
    /// # Errors
    /// When it cannot be read, and will not by itself.
    pub fn poll(&self, wait: Duration) -> Result<Polled, FollowError> {
        match self.consumer.poll(wait) {
            None => Ok(Polled::Nothing),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Polled::End),
            Some(Err(error)) if is_passing(&error) => Ok(Polled::Nothing),
            Some(Err(error)) => Err(self.failed(error)),
            Some(Ok(message)) => {
                let found = Offset::new(message.offset()).map(|offset| Followed {
                    offset,
                    timestamp: message.timestamp().to_millis().map(Timestamp),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                });
                Ok(found.map_or(Polled::Nothing, Polled::Record))
            }
        }
    }

    /// Everything up to the end that the topic has now.
    ///
    /// # Errors
    /// When it cannot be read, or the end does not come within `timeout`.
    pub fn read_to_end(&self, timeout: Duration) -> Result<Vec<Followed>, FollowError> {
        let began = Instant::now();
        let mut all = Vec::new();
        while began.elapsed() < timeout {
            match self.poll(POLL_WAIT)? {
                Polled::Record(record) => all.push(record),
                Polled::Nothing => {}
                Polled::End => return Ok(all),
            }
        }
        Err(FollowError::Slow {
            topic: self.topic.clone(),
            read: all.len(),
            timeout,
        })
    }

    fn failed(&self, error: KafkaError) -> FollowError {
        FollowError::Read {
            topic: self.topic.clone(),
            error,
        }
    }
}
