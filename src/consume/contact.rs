//! First contact with a cluster: asks until it answers, and says in a sentence why it does not.
//!
//! librdkafka answers an unreachable broker with a time-out and reports the cause aside; [`Troubles`]
//! keeps it. The worker asks here at its start, and every command.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tokio::time::Instant;

use crate::telemetry::librdkafka;

/// One slice of the waiting, after which the cause of a failure is looked at.
const SLICE: Duration = Duration::from_millis(500);
/// How long a client is polled for its reports. A poll without a timeout takes one event, and librdkafka's log
/// lines are events too: with `debug` set the cause of a failure stands behind hundreds of them.
pub const SERVE: Duration = Duration::from_millis(50);
/// How long a trouble of one address is borne, because another one of the list may answer.
const OTHERS_MAY_ANSWER: Duration = Duration::from_secs(3);

/// The last trouble that a client reported aside.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<Option<Trouble>>>);

#[derive(Clone, Debug)]
struct Trouble {
    code: Option<RDKafkaErrorCode>,
    reason: String,
}

impl ClientContext for Troubles {
    /// The causes come as errors too, and whoever asks gets them in a sentence.
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        librdkafka::log(RDKafkaLogLevel::Debug, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(&error, reason);
    }
}

impl ConsumerContext for Troubles {}

impl Troubles {
    /// Keeps the cause. "All brokers down" says nothing beyond the cause that came before it.
    pub fn note(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if code == Some(RDKafkaErrorCode::AllBrokersDown) && last.is_some() {
            return;
        }
        *last = Some(Trouble {
            code,
            reason: reason.to_owned(),
        });
    }

    fn last(&self) -> Option<Trouble> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Why a cluster did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    #[error(
        "a Kafka client cannot be made of this configuration: {0}; look at [kafka] and [kafka.properties]"
    )]
    Config(KafkaError),
    #[error(
        "the broker {brokers} refused the user name, the password or the mechanism: {reason}. Check sasl.* in [kafka.properties]"
    )]
    Refused { brokers: String, reason: String },
    #[error(
        "no TLS connection to {brokers}: {reason}. Check security.protocol and ssl.* in [kafka.properties]"
    )]
    Tls { brokers: String, reason: String },
    #[error("the host name of {brokers} is not known: {reason}. Check kafka.brokers")]
    Host { brokers: String, reason: String },
    #[error(
        "no answer from Kafka at {brokers} within {} s: {reason}. Is it running, is that its address, and does security.protocol in [kafka.properties] fit?", waited.as_secs()
    )]
    NoAnswer {
        brokers: String,
        waited: Duration,
        reason: String,
    },
}

/// Asks a cluster for one topic, or for all, until it answers, for at most `wait_max`. `serve` lets the
/// client hand over its reports.
///
/// Asking for one topic creates it where the broker creates topics by itself and the client is a
/// producer or an administrator: those ask for all.
///
/// # Errors
/// Why there is no answer. What no other broker would answer otherwise is said at once.
pub fn ask<C: ClientContext>(
    client: &Client<C>,
    topic: Option<&str>,
    (brokers, troubles): (&str, &Troubles),
    wait_max: Duration,
    serve: impl Fn(),
) -> Result<Metadata, Unreachable> {
    let began = Instant::now();
    loop {
        let slice_end = Instant::now() + SLICE;
        let error = match client.fetch_metadata(topic, SLICE) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        serve();
        if let Some(unreachable) = troubles.explain(&error, brokers, (began.elapsed(), wait_max)) {
            return Err(unreachable);
        }
        // A refused connection answers at once; the slice keeps this from spinning.
        std::thread::park_timeout(slice_end.saturating_duration_since(Instant::now()));
    }
}

impl Troubles {
    /// `None` while it may still change.
    fn explain(
        &self,
        error: &KafkaError,
        brokers: &str,
        (waited, wait_max): (Duration, Duration),
    ) -> Option<Unreachable> {
        let trouble = self.last();
        let brokers = brokers.to_owned();
        let reason = trouble
            .as_ref()
            .map_or_else(|| error.to_string(), |it| it.reason.clone());
        let lasting = waited >= OTHERS_MAY_ANSWER.min(wait_max);
        match trouble.and_then(|trouble| trouble.code) {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                Some(Unreachable::Refused { brokers, reason })
            }
            Some(RDKafkaErrorCode::SSL) if lasting => Some(Unreachable::Tls { brokers, reason }),
            Some(RDKafkaErrorCode::Resolve) if lasting => {
                Some(Unreachable::Host { brokers, reason })
            }
            Some(_) | None => (waited >= wait_max).then_some(Unreachable::NoAnswer {
                brokers,
                waited: wait_max,
                reason,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT_MAX: Duration = Duration::from_secs(10);

    fn said(troubles: &Troubles, waited: Duration) -> Option<String> {
        let timed_out = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
        let unreachable = troubles.explain(&timed_out, "a:1,b:2", (waited, WAIT_MAX));
        unreachable.map(|unreachable| unreachable.to_string())
    }

    fn trouble(code: RDKafkaErrorCode, reason: &str) -> Troubles {
        let troubles = Troubles::default();
        troubles.note(&KafkaError::Global(code), reason);
        troubles.note(
            &KafkaError::Global(RDKafkaErrorCode::AllBrokersDown),
            "2/2 down",
        );
        troubles
    }

    #[test]
    fn a_refused_login_is_told_at_once_and_the_trouble_of_one_address_when_no_other_answers() {
        let refused = trouble(RDKafkaErrorCode::Authentication, "wrong password");
        assert!(said(&refused, Duration::ZERO).is_some_and(|it| it.contains("wrong password")));
        for code in [RDKafkaErrorCode::SSL, RDKafkaErrorCode::Resolve] {
            let one = trouble(code, "the cause");
            assert_eq!(said(&one, Duration::from_secs(1)), None, "{code:?}");
            let lasting = said(&one, Duration::from_secs(3));
            assert!(
                lasting.is_some_and(|it| it.contains("the cause")),
                "{code:?}"
            );
        }
    }

    #[test]
    fn what_may_pass_is_waited_for_to_the_end() {
        let down = trouble(
            RDKafkaErrorCode::BrokerTransportFailure,
            "connection refused",
        );
        assert_eq!(said(&down, Duration::from_secs(9)), None);
        assert!(said(&down, WAIT_MAX).is_some_and(|it| it.contains("connection refused")));
        assert!(said(&Troubles::default(), WAIT_MAX).is_some_and(|it| it.contains("a:1,b:2")));
    }
}
