//! The producer of `publish`: sends rows, waits between them, and accounts for every delivery.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use tokio::time::Instant;

use crate::cli::clients::{self, Connection, Troubles, Unreachable};
use crate::domain::Timestamp;

/// How long the last rows may take to be delivered, librdkafka's own limit and some slack.
const FLUSH_MAX: Duration = Duration::from_secs(35);

/// How long one look at the delivery reports lasts while the queue is full or a row is not due.
const SERVE_SLICE: Duration = Duration::from_millis(20);

/// What a record's timestamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RecordTime {
    /// The observation's own time.
    Observation,
    /// When it is published.
    Now,
}

/// Sends to one topic.
pub struct Sender {
    producer: BaseProducer<Deliveries>,
    ledger: Arc<Ledger>,
    topic: String,
    record_time: RecordTime,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// What became of the records so far.
#[derive(Debug, Default)]
struct Ledger {
    troubles: Troubles,
    delivered: AtomicU64,
    failure: Mutex<Option<Failure>>,
}

#[derive(Clone, Debug)]
struct Failure {
    partition: i32,
    error: KafkaError,
}

/// Writes delivery reports into the ledger.
#[derive(Clone)]
struct Deliveries(Arc<Ledger>);

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.troubles.note(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.0.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, message)) => {
                let failure = Failure {
                    partition: message.partition(),
                    error: error.clone(),
                };
                let mut first = self
                    .0
                    .failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(failure);
            }
        }
    }
}

/// Why rows could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(
        "there is no topic `{topic}` at {brokers}; create it with `foretell topics create` or kafka-topics.sh"
    )]
    NoTopic { topic: String, brokers: String },
    #[error(
        "a row was not delivered to {topic}, partition {partition}: {error}. Delivered before that: {delivered} rows"
    )]
    NotDelivered {
        topic: String,
        partition: i32,
        error: KafkaError,
        delivered: u64,
    },
    #[error("a row cannot be sent to {topic}: {error}. Delivered before that: {delivered} rows")]
    NotSent {
        topic: String,
        error: KafkaError,
        delivered: u64,
    },
    #[error(
        "{missing} rows were not confirmed by {topic} within {} s; whether they are there is not known", FLUSH_MAX.as_secs()
    )]
    Unconfirmed { topic: String, missing: u64 },
}

impl Sender {
    /// Connects and makes sure that the topic exists.
    pub fn connect(
        connection: &Connection,
        topic: &str,
        record_time: RecordTime,
    ) -> Result<Self, SendError> {
        let ledger = Arc::new(Ledger::default());
        let producer: BaseProducer<Deliveries> = connection
            .producer()
            .create_with_context(Deliveries(Arc::clone(&ledger)))
            .map_err(Unreachable::Config)?;
        let serve = || producer.poll(clients::SERVE);
        let metadata = clients::metadata(producer.client(), (connection, &ledger.troubles), serve)?;
        if clients::partitions(&metadata, topic).is_none() {
            return Err(SendError::NoTopic {
                topic: topic.to_owned(),
                brokers: connection.brokers().to_owned(),
            });
        }
        Ok(Self {
            producer,
            ledger,
            topic: topic.to_owned(),
            record_time,
        })
    }

    /// Rows that Kafka has confirmed.
    pub fn delivered(&self) -> u64 {
        self.ledger.delivered.load(Ordering::Relaxed)
    }

    /// Sends one row, waiting while librdkafka's queue is full.
    pub fn send(&self, series: &str, time: Timestamp, value: &[u8]) -> Result<(), SendError> {
        let mut record = BaseRecord::to(&self.topic).key(series).payload(value);
        if self.record_time == RecordTime::Observation {
            record = record.timestamp(time.0);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(SERVE_SLICE);
                    self.check()?;
                }
                Err((error, _)) => {
                    let (topic, delivered) = (self.topic.clone(), self.delivered());
                    return Err(SendError::NotSent {
                        topic,
                        error,
                        delivered,
                    });
                }
            }
        }
        self.producer.poll(Duration::ZERO);
        self.check()
    }

    /// Waits until `due` or until `stop` says so, taking delivery reports meanwhile.
    pub fn wait_until(&self, due: Instant, stop: impl Fn() -> bool) -> Result<(), SendError> {
        while !stop() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.producer.poll(left.min(SERVE_SLICE));
            self.check()?;
        }
        Ok(())
    }

    /// Waits for the outstanding confirmations.
    pub fn finish(self, sent: u64) -> Result<u64, SendError> {
        let give_up = Instant::now() + FLUSH_MAX;
        while self.producer.in_flight_count() > 0 && Instant::now() < give_up {
            self.producer.poll(SERVE_SLICE);
            self.check()?;
        }
        self.check()?;
        let missing = sent - self.delivered();
        if missing > 0 {
            return Err(SendError::Unconfirmed {
                topic: self.topic,
                missing,
            });
        }
        Ok(sent)
    }

    fn check(&self) -> Result<(), SendError> {
        let failure = self
            .ledger
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(Failure { partition, error }) = failure.clone() else {
            return Ok(());
        };
        Err(SendError::NotDelivered {
            topic: self.topic.clone(),
            partition,
            error,
            delivered: self.delivered(),
        })
    }
}
