//! Client configuration that every Kafka client of the worker shares, and the first contact.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;

use crate::permission::is_refusal;

/// What every client needs: where the brokers are and how to be let in.
#[derive(Clone)]
pub struct ClientSettings {
    /// `bootstrap.servers`.
    pub brokers: String,
    /// `client.id`.
    pub client_id: String,
    /// librdkafka properties of the user (security, sockets). May hold secrets.
    pub properties: BTreeMap<String, String>,
}

// The properties hold passwords: only their names are printed.
impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl ClientSettings {
    /// The user's properties first: what the worker sets itself comes after and wins.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id);
        config
    }
}

/// Why the brokers could not be used at start.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "the Kafka client refuses its configuration: {reason}; look at [kafka] and [kafka.properties]"
    )]
    Configuration { reason: String },
    #[error(
        "no broker of {brokers} answered within {waited:?}{last}; check kafka.brokers, the network and that the broker runs"
    )]
    Unreachable {
        brokers: String,
        waited: Duration,
        last: LastError,
    },
    #[error(
        "the brokers at {brokers} refused the login{last}; check sasl.username, sasl.password and security.protocol in [kafka.properties]"
    )]
    Authentication { brokers: String, last: LastError },
    #[error("topic {topic} does not exist on {brokers}; create it with `foretell topics create`")]
    MissingTopic { topic: String, brokers: String },
    #[error("topic {topic} on {brokers} cannot be used yet: {reason}; are its brokers up?")]
    TopicUnavailable {
        topic: String,
        brokers: String,
        reason: RDKafkaErrorCode,
    },
    #[error(
        "topic {topic} has cleanup.policy={policy}: compaction removes records from the middle of the log, and windows could not be rebuilt; set cleanup.policy=delete"
    )]
    Compacted { topic: String, policy: String },
    #[error(
        "no access to topic {topic}: {reason}; grant the worker's principal the ACLs that docs/runbook.md lists"
    )]
    Forbidden {
        topic: String,
        reason: RDKafkaErrorCode,
    },
}

/// What librdkafka said last, where it said anything.
#[derive(Clone, Debug, Default)]
pub struct LastError(Option<String>);

impl fmt::Display for LastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .as_ref()
            .map_or(Ok(()), |text| write!(f, " (last error: {text})"))
    }
}

/// A topic that was found, with its partitions.
#[derive(Clone, Debug)]
pub struct Reachable {
    pub partitions: NonZeroU32,
}

/// Looks for `topics` and gives up after `timeout`.
///
/// # Errors
/// A sentence for each way in which a cluster cannot be used: unreachable, login refused, topic
/// missing or forbidden.
pub fn probe(
    client: &ClientSettings,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<Reachable>, ConnectError> {
    let consumer: BaseConsumer<Listener> = client
        .config()
        .create_with_context(Listener::default())
        .map_err(|error| ConnectError::Configuration {
            reason: error.to_string(),
        })?;
    topics
        .iter()
        .map(|topic| probe_topic(&consumer, client, topic, timeout))
        .collect()
}

/// Error events looked through for the reason of a failed contact.
const EVENTS_MAX: usize = 100;
/// Wait before a topic that has no leader yet is looked for again.
const LEADER_WAIT: Duration = Duration::from_millis(100);

fn probe_topic(
    consumer: &BaseConsumer<Listener>,
    client: &ClientSettings,
    topic: &str,
    timeout: Duration,
) -> Result<Reachable, ConnectError> {
    let (name, brokers) = (topic.to_owned(), client.brokers.clone());
    let began = Instant::now();
    loop {
        let metadata = consumer
            .fetch_metadata(Some(topic), timeout)
            .map_err(|error| {
                // The reasons arrive as events of their own.
                for _ in 0..EVENTS_MAX {
                    match consumer.poll(Duration::ZERO) {
                        Some(Err(event)) => consumer.context().note_error(&event),
                        Some(Ok(_)) | None => break,
                    }
                }
                consumer.context().explain(&error, &client.brokers, timeout)
            })?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let count = found.map_or(0, |found| found.partitions().len());
        let partitions = NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX));
        let error = found
            .and_then(rdkafka::metadata::MetadataTopic::error)
            .map(RDKafkaErrorCode::from);
        match (error, partitions) {
            (None, Some(partitions)) => return Ok(Reachable { partitions }),
            (Some(reason), _) if is_refusal(reason) => {
                return Err(ConnectError::Forbidden {
                    topic: name,
                    reason,
                });
            }
            (None, None)
            | (
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownPartition,
                ),
                _,
            ) => {
                return Err(ConnectError::MissingTopic {
                    topic: name,
                    brokers,
                });
            }
            // A topic made a moment ago has no leader yet.
            (Some(reason), _) if began.elapsed() > timeout => {
                return Err(ConnectError::TopicUnavailable {
                    topic: name,
                    brokers,
                    reason,
                });
            }
            (Some(_), _) => std::thread::park_timeout(LEADER_WAIT),
        }
    }
}

/// Remembers the last error event, which is where librdkafka explains a login that failed.
#[derive(Clone, Debug, Default)]
struct Listener {
    last: Arc<Mutex<Option<(bool, String)>>>,
}

impl Listener {
    fn note(&self, authentication: bool, text: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // A refused login is followed by "all brokers down": keep the cause, not the effect.
        if !last
            .as_ref()
            .is_some_and(|(was_authentication, _)| *was_authentication)
        {
            *last = Some((authentication, text.to_owned()));
        }
    }

    fn note_error(&self, error: &KafkaError) {
        let authentication = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
        );
        self.note(authentication, &error.to_string());
    }

    fn explain(&self, error: &KafkaError, brokers: &str, waited: Duration) -> ConnectError {
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let brokers = brokers.to_owned();
        match last {
            Some((true, text)) => ConnectError::Authentication {
                brokers,
                last: LastError(Some(text)),
            },
            Some((false, text)) => ConnectError::Unreachable {
                brokers,
                waited,
                last: LastError(Some(text)),
            },
            None => ConnectError::Unreachable {
                brokers,
                waited,
                last: LastError(Some(error.to_string())),
            },
        }
    }
}

impl ClientContext for Listener {
    fn error(&self, error: KafkaError, _reason: &str) {
        self.note_error(&error);
    }

    fn log(&self, _level: rdkafka::config::RDKafkaLogLevel, _fac: &str, message: &str) {
        let authentication = message.to_ascii_lowercase().contains("authentication");
        if authentication {
            self.note(true, message);
        }
    }
}

impl ConsumerContext for Listener {}
