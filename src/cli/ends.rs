//! Where a topic begins and ends for readers of committed records, once that is decided.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use tokio::time::Instant;

use super::clients::{self, Connection, Troubles, Unreachable};
use crate::domain::NextOffset;

/// How long a broker may take to tell an offset.
const OFFSETS_MAX: Duration = Duration::from_secs(10);
/// How long an open transaction may keep the end of the topic from being read: the longest that a worker's
/// may stay open unless it is configured otherwise, and more.
const STABLE_MAX: Duration = Duration::from_mins(1);
/// Distance of two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Why the ends are not known.
#[derive(Debug, thiserror::Error)]
pub enum EndsError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error("there is no topic `{topic}` at {brokers}; create it with `foretell topics create`")]
    NoTopic { topic: String, brokers: String },
    #[error("{topic}, partition {partition}: the ends of the log could not be read: {error}")]
    Read {
        topic: String,
        partition: i32,
        error: KafkaError,
    },
    #[error(
        "{topic}, partition {partition}: a transaction has been open for {} s, and what lies behind it cannot be read. Find it with kafka-transactions.sh find-hanging",
        STABLE_MAX.as_secs()
    )]
    Unstable { topic: String, partition: i32 },
}

/// The first offset of a partition and the one past the last that was there.
pub type Ends = (NextOffset, NextOffset);

/// Waits until everything that is in the topic now can be read, and tells where each partition begins and
/// where it ended. `committed` reads committed records only.
///
/// # Errors
/// When a leader gives no answer in time, or a transaction stays open.
pub fn wait_until_stable(
    committed: &BaseConsumer<Troubles>,
    connection: &Connection,
    (topic, partitions): (&str, i32),
) -> Result<Vec<Ends>, EndsError> {
    let mut config = connection.reader();
    config.set("isolation.level", "read_uncommitted");
    let all: BaseConsumer = config.create().map_err(Unreachable::Config)?;
    let give_up = Instant::now() + STABLE_MAX;
    let mut ends = Vec::new();
    for partition in 0..partitions {
        let failed = |error| EndsError::Read {
            topic: topic.to_owned(),
            partition,
            error,
        };
        let (start, end) = all
            .fetch_watermarks(topic, partition, OFFSETS_MAX)
            .map_err(failed)?;
        loop {
            // To a read_committed client the broker tells the last stable offset.
            let (_, stable) = committed
                .fetch_watermarks(topic, partition, OFFSETS_MAX)
                .map_err(failed)?;
            if stable >= end {
                break;
            }
            if Instant::now() >= give_up {
                let topic = topic.to_owned();
                return Err(EndsError::Unstable { topic, partition });
            }
            std::thread::park_timeout(LOOK);
        }
        let position = |offset| NextOffset::new(offset).unwrap_or(NextOffset::ZERO);
        ends.push((position(start), position(end)));
    }
    Ok(ends)
}

/// The same for a topic by its name.
///
/// # Errors
/// When there is no such topic too.
pub fn stable_ends(connection: &Connection, topic: &str) -> Result<Vec<Ends>, EndsError> {
    let (consumer, troubles) = clients::reader(connection).map_err(Unreachable::Config)?;
    let serve = || drop(consumer.poll(clients::SERVE));
    let metadata = clients::metadata(consumer.client(), (connection, &troubles), serve)?;
    let partitions = clients::partitions(&metadata, topic).ok_or_else(|| EndsError::NoTopic {
        topic: topic.to_owned(),
        brokers: connection.brokers().to_owned(),
    })?;
    wait_until_stable(&consumer, connection, (topic, partitions))
}
