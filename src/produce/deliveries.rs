//! What librdkafka tells the producer aside: failed deliveries, errors, log lines.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tracing::warn;

use crate::telemetry::librdkafka;

/// Remembers the failed delivery that says most, since it was last asked, and whether anything has ever
/// happened to a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Deliveries {
    failed: Arc<Mutex<Option<FailedDelivery>>>,
    disturbed: Arc<AtomicBool>,
    /// Calls of this context.
    heard: Arc<AtomicUsize>,
}

/// Facilities of the log lines that tell of a connection that broke, and of requests without an answer.
/// librdkafka sends such requests again, and says so nowhere else: the error callback is only called
/// where no broker is left, and a line like the one before it may be left out.
const BROKEN: [&str; 2] = ["FAIL", "REQTMOUT"];

/// An output that did not reach its topic.
#[derive(Clone, Debug)]
pub(super) struct FailedDelivery {
    pub(super) error: KafkaError,
    pub(super) topic: String,
    /// Of its key and value.
    pub(super) bytes: usize,
    /// Index of its output batch in the attempt.
    pub(super) batch: usize,
}

impl FailedDelivery {
    /// The broker will never take it.
    pub(super) fn is_too_large(&self) -> bool {
        self.error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
    }

    /// The first failure explains the later ones, but a record that is too large comes back with all
    /// that were sent along with it: the largest is the one.
    fn says_more_than(&self, known: &Self) -> bool {
        self.is_too_large() && (!known.is_too_large() || self.bytes > known.bytes)
    }
}

impl Deliveries {
    /// A call of an attempt is made again.
    pub(super) fn disturb(&self) {
        self.disturbed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_disturbed(&self) -> bool {
        self.disturbed.load(Ordering::Relaxed)
    }

    /// Grows whenever something was heard.
    pub(super) fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> Option<FailedDelivery> {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.hear();
        if BROKEN.contains(&facility) {
            self.disturb();
        }
        librdkafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(target: "librdkafka", %error, reason, "producer error");
        self.hear();
        self.disturb();
    }
}

impl ProducerContext for Deliveries {
    /// Index of the record's output batch.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: usize) {
        self.hear();
        if let Err((error, message)) = result {
            let found = FailedDelivery {
                error: error.clone(),
                topic: message.topic().to_owned(),
                bytes: message.payload_len() + message.key_len(),
                batch,
            };
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed
                .as_ref()
                .is_none_or(|known| found.says_more_than(known))
            {
                *failed = Some(found);
            }
        }
    }
}
