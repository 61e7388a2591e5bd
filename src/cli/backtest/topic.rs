//! Records of a topic, partition by partition, up to the end that it has when the backtest starts.
//!
//! Read as a worker reads it again after a restart: `read_committed`, positions chosen here, no
//! membership in any group, nothing committed and nothing written.

use std::num::NonZeroU32;

use rdkafka::consumer::Consumer;

use super::replay::Replay;
use crate::cli::clients::{self, Connection, Unreachable};
use crate::cli::moment::Moment;
use crate::cli::progress::Progress;
use crate::cli::registry::RegistryClient;
use crate::consume::{ClientSettings, ReplayError, Replayer};
use crate::decode::Decoder;
use crate::domain::{NextOffset, Offset, PartitionId, Timestamp};
use crate::infer::ForeignBatch;
use crate::partition::{Lineage, Placed, Step};
use crate::registry::Trouble;
use crate::window::{Table, WindowConfig};

/// Why a topic cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(
        "there is no topic `{topic}` at {brokers}; is it the input of the worker, topics.observations?"
    )]
    NoTopic { topic: String, brokers: String },
    #[error(transparent)]
    Read(#[from] ReplayError),
    #[error(transparent)]
    ForeignBatch(#[from] ForeignBatch),
    #[error(transparent)]
    Registry(#[from] Trouble),
}

/// What is read of a topic.
#[derive(Debug)]
pub struct Topic {
    replayer: Replayer,
    partitions: NonZeroU32,
    /// Per partition, the first position and the one past the last.
    ranges: Vec<(PartitionId, NextOffset, NextOffset)>,
}

impl Topic {
    /// Finds what there is to read.
    pub fn open(
        connection: &Connection,
        topic: &str,
        (from, to): (Moment, Moment),
        now: Timestamp,
    ) -> Result<Self, TopicError> {
        let partitions = partitions(connection, topic)?;
        let settings = ClientSettings {
            brokers: connection.brokers().to_owned(),
            client_id: "foretell-cli".to_owned(),
            properties: connection
                .properties()
                .expose()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        // librdkafka wants the name of a group to assign partitions by hand; it is never joined.
        let replayer = Replayer::new(&settings, "foretell-cli", topic)?;
        let wanted = || true;
        let mut ranges = Vec::new();
        for number in 0..partitions.get() {
            let partition = PartitionId(i32::try_from(number).unwrap_or(i32::MAX));
            let (first, last) = replayer.ends(partition, &wanted)?;
            let position = |moment: Moment| match moment.time(now) {
                Some(time) => {
                    let found = replayer.offset_at(partition, time, &wanted)?;
                    Ok::<_, ReplayError>(found.unwrap_or(last))
                }
                None if moment == Moment::Beginning => Ok(first),
                None => Ok(last),
            };
            ranges.push((partition, position(from)?, position(to)?.min(last)));
        }
        Ok(Self {
            replayer,
            partitions,
            ranges,
        })
    }

    /// Gives every record to the replay, at most `limit`.
    pub fn replay(
        &self,
        replay: &mut Replay,
        (windows, decoder): (WindowConfig, &Decoder),
        registry: &RegistryClient,
        limit: u64,
    ) -> Result<(), TopicError> {
        let length = |(_, from, to): &(PartitionId, NextOffset, NextOffset)| {
            u64::try_from(to.get().saturating_sub(from.get())).unwrap_or(0)
        };
        let total = self.ranges.iter().map(length).sum();
        let mut progress = Progress::new("judged", total);
        let mut done = 0;
        for range in &self.ranges {
            let (partition, from, to) = *range;
            let lineage = Lineage::beginning_at(from, 0);
            let mut step = Step::new(decoder.clone(), Table::new(windows), lineage);
            let placed = Placed {
                partition,
                partitions: self.partitions,
            };
            let mut failed = None;
            self.replayer.replay(partition, (from, to), &mut |batch| {
                for record in batch.iter() {
                    if replay.told.records >= limit {
                        return false;
                    }
                    let learned = registry.learn(&mut step, &record);
                    let taken = learned
                        .map_err(TopicError::from)
                        .and_then(|()| Ok(replay.take(&mut step, &record, Some(placed))?));
                    if let Err(error) = taken {
                        failed = Some(error);
                        return false;
                    }
                }
                let at = batch.last_offset().map_or(from, Offset::next);
                progress.at(done + length(&(partition, from, at)), replay.told.records);
                true
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            replay.end(&step)?;
            done += length(range);
        }
        progress.finish();
        Ok(())
    }
}

fn partitions(connection: &Connection, topic: &str) -> Result<NonZeroU32, TopicError> {
    let (consumer, troubles) = clients::reader(connection).map_err(Unreachable::Config)?;
    let serve = || drop(consumer.poll(clients::SERVE));
    let metadata = clients::metadata(consumer.client(), (connection, &troubles), serve)?;
    clients::partitions(&metadata, topic)
        .and_then(|count| u32::try_from(count).ok())
        .and_then(NonZeroU32::new)
        .ok_or_else(|| TopicError::NoTopic {
            topic: topic.to_owned(),
            brokers: connection.brokers().to_owned(),
        })
}
