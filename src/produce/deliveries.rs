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

/// Facility of log lines about requests without an answer.
const UNANSWERED: &str = "REQTMOUT";
/// What lines about a connection that broke say of it, if requests may have been on it.
const BROKEN: [&str; 2] = ["in state UP", "in state REAUTH"];

/// librdkafka sends requests again that were not answered, and tells of it in its log lines only: the error
/// callback is called where no broker is left, and a line like the one before it may be left out.
fn tells_of_a_break(facility: &str, message: &str) -> bool {
    facility == UNANSWERED || BROKEN.iter().any(|state| message.contains(state))
}

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
        if tells_of_a_break(facility, message) {
            self.disturb();
        }
        librdkafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(target: "librdkafka", %error, reason, "producer error");
        self.hear();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_were_in_use_and_requests_without_an_answer_are_breaks() {
        for (facility, message, expected) in [
            (
                "FAIL",
                "host:9092/1: Disconnected (after 1037ms in state UP)",
                true,
            ),
            (
                "FAIL",
                "host:9092/1: Disconnected (after 3ms in state REAUTH, 4 identical error(s) suppressed)",
                true,
            ),
            (
                "REQTMOUT",
                "Timed out EndTxnRequest in flight (after 6000ms, timeout #0)",
                true,
            ),
            (
                "FAIL",
                "host:9092/1: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
                false,
            ),
            (
                "FAIL",
                "host:9092/1: Disconnected: verify that security.protocol is correctly configured (after 9ms in state APIVERSION_QUERY)",
                false,
            ),
            ("GETPID", "Acquired ProducerId", false),
        ] {
            assert_eq!(tells_of_a_break(facility, message), expected, "{message}");
        }
    }
}
