//! Writes single records outside of any transaction: commands, and what a worker says of itself.

use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use crate::domain::Offset;
use crate::telemetry::librdkafka;

/// Only partition: topics that are written so have one, as their order matters.
const PARTITION: i32 = 0;
/// Records that wait to be sent.
const WAITING_MAX: &str = "1000";

/// Why a record is not in its topic, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the producer could not be created: {0}")]
    Create(#[source] KafkaError),
    #[error("a record was not written to {topic}: {error}")]
    Refused { topic: String, error: KafkaError },
    #[error("nobody says whether a record was written to {topic}")]
    Unknown { topic: String },
}

/// A producer that is not transactional. Its own thread serves it.
pub struct RecordWriter(ThreadedProducer<Reports>);

impl fmt::Debug for RecordWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordWriter").finish_non_exhaustive()
    }
}

type Report = Result<Offset, KafkaError>;

/// Passes each delivery report on to whoever waits for it.
struct Reports;

impl ClientContext for Reports {
    /// What goes wrong reaches whoever writes.
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        librdkafka::log(RDKafkaLogLevel::Debug, facility, message);
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        librdkafka::log(RDKafkaLogLevel::Debug, "ERROR", reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<oneshot::Sender<Report>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let report = match result {
            Ok(message) => Offset::new(message.offset()).ok_or(KafkaError::Canceled),
            Err((error, _message)) => Err(error.clone()),
        };
        // Nobody may wait any more.
        let _unless_gone = waiting.send(report);
    }
}

impl RecordWriter {
    /// A writer to the cluster of `client`; a record is given up after `timeout`.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(mut client: ClientConfig, timeout: Duration) -> Result<Self, WriteError> {
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("queue.buffering.max.messages", WAITING_MAX)
            .set("message.timeout.ms", timeout.as_millis().to_string());
        let created = client.create_with_context(Reports);
        Ok(Self(created.map_err(WriteError::Create)?))
    }

    /// Writes a record, without a value a tombstone, and answers its offset.
    ///
    /// # Errors
    /// When it was not written, or nobody says that it was.
    pub async fn write(
        &self,
        topic: &str,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<Offset, WriteError> {
        let refused = |error| WriteError::Refused {
            topic: topic.to_owned(),
            error,
        };
        let (says, reported) = oneshot::channel();
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(says))
            .partition(PARTITION)
            .key(key);
        if let Some(value) = value {
            record = record.payload(value);
        }
        self.0.send(record).map_err(|(error, _)| refused(error))?;
        match reported.await {
            Ok(report) => report.map_err(refused),
            Err(_gone) => Err(WriteError::Unknown {
                topic: topic.to_owned(),
            }),
        }
    }
}
