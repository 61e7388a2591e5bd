//! Kafka clients of the commands: how they connect, and how they say why they could not.
//!
//! A [`Connection`] is the part of librdkafka's configuration that every client shares. These clients
//! never belong to a consumer group and never open a transaction.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;

use crate::config::{Config, ConfigErrors, Environment, Kafka, Properties, Topics};
use crate::consume::contact;
pub use crate::consume::contact::{SERVE, Troubles, Unreachable};

/// How long a command waits for a broker before it gives up.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long a broker may take to tell its settings.
const SETTINGS_MAX: Duration = Duration::from_secs(3);

/// How to reach a cluster.
#[derive(Clone)]
pub struct Connection {
    brokers: String,
    properties: Properties,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The properties may hold secrets.
        f.debug_struct("Connection")
            .field("brokers", &self.brokers)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Plain connections to `host:port,host:port`.
    pub fn plain(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            properties: Properties::default(),
        }
    }

    /// As the worker of this configuration connects.
    pub fn configured(kafka: &Kafka) -> Self {
        Self {
            brokers: kafka.brokers.join(","),
            properties: kafka.properties.clone(),
        }
    }

    /// The same connection to other brokers.
    #[must_use]
    pub fn to(self, brokers: &str) -> Self {
        let brokers = brokers.to_owned();
        Self { brokers, ..self }
    }

    /// Security settings and the like.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The configuration of a producer.
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            // The Java client's placement: a series has one partition, whoever publishes it.
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("queue.buffering.max.kbytes", "65536")
            .set("message.timeout.ms", "30000");
        config
    }

    /// The configuration of a reader that chooses its own positions.
    pub fn reader(&self) -> ClientConfig {
        let mut config = self.client();
        config
            // Required by librdkafka for offset requests; nothing is ever committed.
            .set("group.id", "foretell-cli")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "50");
        config
    }

    /// The configuration of an administrator.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in self.properties.expose() {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "foretell-cli")
            .set("socket.connection.setup.timeout.ms", "5000")
            .set("reconnect.backoff.max.ms", "1000");
        config
    }
}

/// How a command reaches Kafka.
#[derive(clap::Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct ConnectionArgs {
    /// Kafka brokers, as host:port,host:port
    #[arg(short, long, value_name = "BROKERS")]
    brokers: Option<String>,

    /// Take the brokers and the security settings from a worker's configuration
    #[arg(short, long, value_name = "TOML")]
    config: Option<PathBuf>,
}

impl ConnectionArgs {
    /// The connection of the configuration; brokers that are given as well go first.
    pub fn connection(&self, environment: &Environment) -> Result<Connection, ConfigErrors> {
        let mut connection = match &self.config {
            None => Connection::plain(String::new()),
            Some(path) => Connection::configured(&Config::load(path, environment)?.kafka),
        };
        if let Some(brokers) = &self.brokers {
            connection.brokers.clone_from(brokers);
        }
        Ok(connection)
    }
}

impl ConnectionArgs {
    /// The configuration, if one is given.
    pub fn configuration(&self, environment: &Environment) -> Result<Option<Config>, ConfigErrors> {
        let load = |path: &PathBuf| Config::load(path, environment);
        self.config.as_ref().map(load).transpose()
    }

    /// The topics of the configuration, if one is given.
    pub fn topics(&self, environment: &Environment) -> Result<Option<Topics>, ConfigErrors> {
        let load = |path: &PathBuf| Ok(Config::load(path, environment)?.topics);
        self.config.as_ref().map(load).transpose()
    }
}

/// A reader that chooses its own positions, and the troubles that it will report.
pub fn reader(connection: &Connection) -> Result<(BaseConsumer<Troubles>, Troubles), KafkaError> {
    let troubles = Troubles::default();
    let consumer = connection.reader().create_with_context(troubles.clone())?;
    Ok((consumer, troubles))
}

/// Asks for all topics, which unlike asking for one never creates it. `serve` lets the client hand
/// over its reports.
pub fn metadata<C: ClientContext>(
    client: &Client<C>,
    (connection, troubles): (&Connection, &Troubles),
    serve: impl Fn(),
) -> Result<Metadata, Unreachable> {
    let asked = (connection.brokers(), troubles);
    contact::ask(client, None, asked, CONNECT_MAX, serve)
}

/// Partitions of a topic, or `None` if there is no such topic.
pub fn partitions(metadata: &Metadata, topic: &str) -> Option<i32> {
    let topic = metadata
        .topics()
        .iter()
        .find(|found| found.name() == topic)?;
    let count = topic.partitions().len();
    // An unknown topic may be listed without partitions.
    i32::try_from(count).ok().filter(|count| *count > 0)
}

/// Settings of a topic by name.
///
/// # Errors
/// Where the broker does not tell, which the mock cluster never does.
pub fn topic_settings(
    connection: &Connection,
    topic: &str,
) -> Result<HashMap<String, String>, KafkaError> {
    let admin: AdminClient<Troubles> = connection
        .client()
        .create_with_context(Troubles::default())?;
    let options = AdminOptions::new().request_timeout(Some(SETTINGS_MAX));
    let asked = [ResourceSpecifier::Topic(topic)];
    let answer = block_on(admin.describe_configs(&asked, &options))?;
    let mut settings = HashMap::new();
    for resource in answer {
        let resource = resource.map_err(KafkaError::AdminOp)?;
        for entry in resource.entries {
            settings.extend(entry.value.map(|value| (entry.name, value)));
        }
    }
    Ok(settings)
}

/// Waits for a future of the administration client, which its own thread completes.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// One setting of a topic, or `None` where the broker does not tell it in time.
pub fn topic_setting(connection: &Connection, topic: &str, name: &str) -> Option<String> {
    topic_settings(connection, topic).ok()?.remove(name)
}

#[cfg(test)]
pub mod test_reader {
    //! Reads a whole topic, for tests that look at what was published.

    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Message;
    use rdkafka::{Offset, TopicPartitionList};
    use tokio::time::Instant;

    use super::*;

    #[derive(Debug)]
    pub struct Found {
        pub partition: i32,
        pub timestamp: Option<i64>,
        pub key: Vec<u8>,
        pub value: Vec<u8>,
    }

    pub fn drain(brokers: &str, topic: &str, partitions: i32) -> Vec<Found> {
        let reader: BaseConsumer = Connection::plain(brokers).reader().create().unwrap();
        let mut from = TopicPartitionList::new();
        for partition in 0..partitions {
            from.add_partition_offset(topic, partition, Offset::Beginning)
                .unwrap();
        }
        reader.assign(&from).unwrap();
        let (mut found, mut ends) = (Vec::new(), 0);
        let give_up = Instant::now() + Duration::from_secs(30);
        while ends < partitions {
            assert!(Instant::now() < give_up, "{} records in 30 s", found.len());
            match reader.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => found.push(Found {
                    partition: message.partition(),
                    timestamp: message.timestamp().to_millis(),
                    key: message.key().unwrap_or_default().to_vec(),
                    value: message.payload().unwrap_or_default().to_vec(),
                }),
                Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        found
    }
}
