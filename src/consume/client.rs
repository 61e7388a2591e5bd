//! Client configuration that every Kafka client of the worker shares, and the first contact.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{ClientConfig, TopicPartitionList};
use tokio::time::Instant;

use super::contact::{self, Troubles, Unreachable};
use crate::permission::{is_forbidden, is_refusal};

/// Milliseconds after which a client asks again for the leaders of its topics, though nothing seems wrong.
const METADATA_REFRESH_MS: &str = "10000";

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
        // Five minutes by default. A client that is given a partition while its last leader is gone keeps to
        // that leader until it looks again, and says nothing meanwhile.
        config.set("topic.metadata.refresh.interval.ms", METADATA_REFRESH_MS);
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
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
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
        "no access to {what}: {reason}; grant the worker's principal the ACLs that docs/runbook.md lists"
    )]
    Forbidden {
        what: String,
        reason: RDKafkaErrorCode,
    },
}

/// A topic that was found, with its partitions.
#[derive(Clone, Debug)]
pub struct Reachable {
    pub partitions: NonZeroU32,
}

/// Looks for `topics`, the input first, and whether the group may be used. Gives up after `timeout`.
///
/// # Errors
/// A sentence for each way in which a cluster cannot be used: unreachable, login refused, topic
/// missing or forbidden, group forbidden.
pub fn probe(
    client: &ClientSettings,
    group_id: &str,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<Reachable>, ConnectError> {
    let troubles = Troubles::default();
    let consumer: BaseConsumer<Troubles> = client
        .config()
        .set("group.id", group_id)
        // A predecessor's open transaction is for the restore to wait for.
        .set("isolation.level", "read_uncommitted")
        .create_with_context(troubles.clone())
        .map_err(Unreachable::Config)?;
    let probe = Probe {
        consumer,
        brokers: &client.brokers,
        troubles,
        refused: Cell::new(None),
        timeout,
    };
    let found = topics
        .iter()
        .map(|topic| probe.topic(topic))
        .collect::<Result<_, _>>()?;
    if let Some(input) = topics.first() {
        probe.group(group_id, input)?;
    }
    Ok(found)
}

/// Reports taken from the client in one go.
const EVENTS_MAX: usize = 100;
/// Wait before a topic that has no leader yet is looked for again.
const LEADER_WAIT: Duration = Duration::from_millis(100);
/// One question about the group, after which it is looked whether it was refused.
const GROUP_SLICE: Duration = Duration::from_millis(500);
/// How long the group's coordinator may take to say whether the group may be used. Where it does not,
/// joining the group will tell.
const GROUP_WAIT_MAX: Duration = Duration::from_secs(5);

struct Probe<'a> {
    consumer: BaseConsumer<Troubles>,
    brokers: &'a str,
    troubles: Troubles,
    /// The client tells once that the group is refused, and may do so before it is asked.
    refused: Cell<Option<RDKafkaErrorCode>>,
    timeout: Duration,
}

impl Probe<'_> {
    fn topic(&self, topic: &str) -> Result<Reachable, ConnectError> {
        let (name, brokers) = (topic.to_owned(), self.brokers.to_owned());
        let began = Instant::now();
        loop {
            let metadata = contact::ask(
                self.consumer.client(),
                Some(topic),
                (self.brokers, &self.troubles),
                self.timeout,
                || self.serve(),
            )?;
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
                        what: format!("topic {name}"),
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
                (Some(reason), _) if began.elapsed() > self.timeout => {
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

    /// Asks for a committed offset, which nobody needs: what matters is whether the answer is a refusal.
    fn group(&self, group_id: &str, topic: &str) -> Result<(), ConnectError> {
        let mut asked = TopicPartitionList::with_capacity(1);
        asked.add_partition(topic, 0);
        let began = Instant::now();
        while began.elapsed() < GROUP_WAIT_MAX {
            let answer = self.consumer.committed_offsets(asked.clone(), GROUP_SLICE);
            self.serve();
            let refused = match answer {
                Ok(_) => return Ok(()),
                Err(error) if is_forbidden(&error) => error.rdkafka_error_code(),
                Err(_) => self.refused.get(),
            };
            if let Some(reason) = refused {
                return Err(ConnectError::Forbidden {
                    what: format!("group {group_id}"),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// Takes the client's reports: causes go to the context, a refused group comes as an error.
    fn serve(&self) {
        let refused = (0..EVENTS_MAX)
            .map_while(|_| self.consumer.poll(contact::SERVE))
            .filter_map(|event| event.err()?.rdkafka_error_code())
            .filter(|code| is_refusal(*code))
            .last();
        self.refused.set(refused.or(self.refused.get()));
    }
}
