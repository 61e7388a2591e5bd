//! The demo's reader: what was observed, what was forecast, and when everything is done.
//!
//! It reads the two topics as any application would, forecasts with `read_committed`. The work is done
//! once the worker has committed every observation and every forecast of them has been read.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feed::Published;
use super::score::{Features, Scores};
use super::view::View;
use crate::cli::clients::{Connection, Troubles};
use crate::cli::tail::is_passing;
use crate::config::{Config, InputFormat};
use crate::decode::{
    Decoder, DecoderConfig, DecoderError, Projection, SchemaError, SchemaFolder, WireFormat,
    WriterSchema,
};
use crate::produce::readback::{ForecastReader, NoForecast};

/// Records that are read of one topic before the other has its turn.
const TURN_RECORDS: usize = 500;
/// Wait for a record of one topic.
const POLL: Duration = Duration::from_millis(20);
/// Distance of two looks at what the worker has committed.
const COMMITTED_EVERY: Duration = Duration::from_millis(500);
/// How long a broker may take to answer one question.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Why the demo cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("{topic} cannot be read: {error}")]
    Read { topic: String, error: KafkaError },
    #[error("what the worker has committed cannot be asked: {0}")]
    Committed(KafkaError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    #[error(transparent)]
    Forecast(#[from] NoForecast),
}

/// Reads both topics.
pub struct Watcher {
    observations: Topic,
    forecasts: Topic,
    decoder: Decoder,
    reader: ForecastReader,
    features: Features,
    scores: Scores,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher")
            .field("scores", &self.scores)
            .finish_non_exhaustive()
    }
}

/// A topic that is read from its beginning.
struct Topic {
    name: String,
    consumer: BaseConsumer<Troubles>,
    /// Next offset by partition.
    next: Vec<i64>,
    /// Partitions whose end has been reached.
    ended: Vec<bool>,
    records: u64,
}

/// What was read in all.
#[derive(Debug)]
pub struct Watched {
    pub observations: u64,
    /// From the first look to the last.
    pub took: Duration,
    pub scores: Scores,
}

impl Watcher {
    pub fn new(
        config: &Config,
        connection: &Connection,
        partitions: usize,
    ) -> Result<Self, WatchError> {
        let format = match &config.input.format {
            InputFormat::SingleObject { schema_folder } => WireFormat::SingleObject {
                schemas: SchemaFolder::load(schema_folder)?,
            },
            InputFormat::Datum { schema } => WireFormat::Datum {
                schema: WriterSchema::load(schema)?,
            },
            InputFormat::Confluent => WireFormat::Confluent,
        };
        let decoder = Decoder::new(
            DecoderConfig {
                projection: Projection {
                    series: config.input.series_field.clone(),
                    time: config.input.time_field.clone(),
                    time_unit: None,
                    features: config.window.features.clone(),
                },
                value_bytes_max: config.input.value_bytes_max.get(),
            },
            format,
        )?;
        // The group's name answers for what the worker has committed; the group is not joined.
        let group = &config.kafka.group_id;
        Ok(Self {
            observations: Topic::read(
                connection,
                &config.topics.observations,
                (partitions, group),
            )?,
            forecasts: Topic::read(connection, &config.topics.forecasts, (partitions, group))?,
            decoder,
            reader: ForecastReader::new(false)?,
            features: Features::new(&config.window.features),
            scores: Scores::default(),
        })
    }

    /// Reads and shows until everything is done, or until `stop`; with `follow` only until `stop`.
    pub fn run(
        mut self,
        view: &mut View,
        published: &Published,
        (stop, follow): (&CancellationToken, bool),
    ) -> Result<Watched, WatchError> {
        let start = Instant::now();
        let mut look = start;
        while !stop.is_cancelled() {
            self.take_turns()?;
            view.show(&self.scores, &self.features, published);
            let now = Instant::now();
            if !follow && published.finished.load(Ordering::Acquire) && now >= look {
                if self.observations.is_committed()? {
                    break;
                }
                look = now + COMMITTED_EVERY;
            }
        }
        // What was committed before is there to its end; read it out.
        for topic in [&mut self.observations, &mut self.forecasts] {
            topic.again()?;
        }
        let give_up = Instant::now() + ANSWER_MAX;
        while !(self.observations.at_end() && self.forecasts.at_end()) && Instant::now() < give_up {
            self.take_turns()?;
        }
        view.show(&self.scores, &self.features, published);
        Ok(Watched {
            observations: self.observations.records,
            took: start.elapsed(),
            scores: self.scores,
        })
    }

    fn take_turns(&mut self) -> Result<(), WatchError> {
        let Self {
            observations,
            forecasts,
            decoder,
            reader,
            features,
            scores,
        } = self;
        observations.turn(|message| {
            // A record that is none of ours is the worker's to judge.
            if let Some(value) = message.payload()
                && let Ok(reading) = decoder.decode(value)
                && let Some(time) = reading.time
            {
                scores.observe(reading.series, time.0, reading.cells, features);
            }
        })?;
        forecasts.turn(|message| {
            if let Ok(forecast) = reader.read(message.payload()) {
                scores.forecast(forecast, features);
            }
        })
    }
}

impl Topic {
    fn read(
        connection: &Connection,
        name: &str,
        (partitions, group): (usize, &str),
    ) -> Result<Self, WatchError> {
        let read = |error| WatchError::Read {
            topic: name.to_owned(),
            error,
        };
        let mut config = connection.reader();
        config.set("group.id", group);
        let consumer = config
            .create_with_context(Troubles::default())
            .map_err(read)?;
        let mut topic = Self {
            name: name.to_owned(),
            consumer,
            next: vec![0; partitions],
            ended: Vec::new(),
            records: 0,
        };
        topic.again()?;
        Ok(topic)
    }

    /// Assigns at the next offsets, so that each partition reports its end anew.
    fn again(&mut self) -> Result<(), WatchError> {
        let read = |error| WatchError::Read {
            topic: self.name.clone(),
            error,
        };
        let mut list = TopicPartitionList::new();
        for (partition, next) in (0..).zip(&self.next) {
            let offset = if *next == 0 {
                Offset::Beginning
            } else {
                Offset::Offset(*next)
            };
            list.add_partition_offset(&self.name, partition, offset)
                .map_err(read)?;
        }
        self.consumer.unassign().map_err(read)?;
        self.consumer.assign(&list).map_err(read)?;
        self.ended = vec![false; self.next.len()];
        Ok(())
    }

    fn at_end(&self) -> bool {
        self.ended.iter().all(|ended| *ended)
    }

    /// Hands over what there is, up to a turn's worth.
    fn turn(&mut self, mut take: impl FnMut(&BorrowedMessage<'_>)) -> Result<(), WatchError> {
        for _ in 0..TURN_RECORDS {
            match self.consumer.poll(POLL) {
                None => break,
                Some(Ok(message)) => {
                    take(&message);
                    self.records += 1;
                    let next = usize::try_from(message.partition()).ok();
                    if let Some(next) = next.and_then(|index| self.next.get_mut(index)) {
                        *next = message.offset() + 1;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    let ended = usize::try_from(partition).ok();
                    if let Some(ended) = ended.and_then(|index| self.ended.get_mut(index)) {
                        *ended = true;
                    }
                }
                Some(Err(error)) if is_passing(&error) => break,
                Some(Err(error)) => {
                    return Err(WatchError::Read {
                        topic: self.name.clone(),
                        error,
                    });
                }
            }
        }
        Ok(())
    }

    /// True once the worker has committed the end of every partition.
    fn is_committed(&self) -> Result<bool, WatchError> {
        let mut asked = TopicPartitionList::new();
        for (partition, _) in (0..).zip(&self.next) {
            asked.add_partition(&self.name, partition);
        }
        let committed = self
            .consumer
            .committed_offsets(asked, ANSWER_MAX)
            .map_err(WatchError::Committed)?;
        for element in committed.elements() {
            let (_, end) = self
                .consumer
                .fetch_watermarks(&self.name, element.partition(), ANSWER_MAX)
                .map_err(WatchError::Committed)?;
            let reached = match element.offset() {
                Offset::Offset(offset) => offset >= end,
                // Nothing is committed of an empty partition.
                Offset::Invalid
                | Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::OffsetTail(_) => end == 0,
            };
            if !reached {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
