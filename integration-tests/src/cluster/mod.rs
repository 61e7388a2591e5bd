//! What tests ask of a Kafka cluster as its clients: topics, offsets, writing.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::wait;

mod progress;

pub use progress::{Commit, Progress};

const ANSWER: Duration = Duration::from_secs(30);

/// A Kafka cluster by its address.
#[derive(Clone, Debug)]
pub struct Cluster {
    brokers: String,
    /// Of each partition that is created.
    replicas: i32,
}

/// A record to write. The key decides the partition, as Kafka's Java producer does it.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Record timestamp, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl Cluster {
    pub fn new(brokers: String) -> Self {
        Self::replicated(brokers, 1)
    }

    /// With so many replicas of every topic that is created.
    pub fn replicated(brokers: String, replicas: i32) -> Self {
        Self { brokers, replicas }
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Client configuration with nothing but the address, quiet about brokers that go away.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("log_level", "0");
        config
    }

    /// True when the broker answers and knows itself.
    pub fn answers(&self) -> bool {
        let consumer: Result<BaseConsumer, KafkaError> = self.client().create();
        consumer
            .and_then(|consumer| consumer.fetch_metadata(None, Duration::from_secs(1)))
            .is_ok_and(|metadata| !metadata.brokers().is_empty())
    }

    /// True when so many brokers are known, and every replica that there is has all that is committed.
    pub fn is_in_sync(&self, brokers: usize) -> bool {
        let consumer: Result<BaseConsumer, KafkaError> = self.client().create();
        consumer
            .and_then(|consumer| consumer.fetch_metadata(None, Duration::from_secs(1)))
            .is_ok_and(|metadata| {
                let mut partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
                metadata.brokers().len() == brokers
                    && partitions
                        .all(|it| it.leader() >= 0 && it.isr().len() == it.replicas().len())
            })
    }

    /// Creates a topic and waits until clients see its partitions.
    pub fn create_topic(&self, name: &str, partitions: usize) -> Result<()> {
        self.create_topic_with(name, partitions, ("cleanup.policy", "delete"))
    }

    /// As [`Self::create_topic`], with a configuration key of the topic and its value.
    pub fn create_topic_with(
        &self,
        name: &str,
        partitions: usize,
        (key, value): (&str, &str),
    ) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        // The sample data's timestamps are years old: with the default retention they would go.
        let replication = TopicReplication::Fixed(self.replicas);
        let topic = NewTopic::new(name, i32::try_from(partitions)?, replication)
            .set("retention.ms", "-1")
            .set(key, value);
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let created = runtime.block_on(admin.create_topics([&topic], &options))?;
        for answer in created {
            answer.map_err(|(failed, error)| anyhow!("cannot create {failed}: {error}"))?;
        }
        let consumer: BaseConsumer = self.client().create()?;
        wait::until_true(&format!("{name} has its partitions"), ANSWER, || {
            let metadata = consumer.fetch_metadata(Some(name), ANSWER)?;
            Ok(metadata.topics().iter().any(|found| {
                found.partitions().len() == partitions
                    && found
                        .partitions()
                        .iter()
                        .all(|partition| partition.leader() >= 0)
            }))
        })
    }

    /// Deletes a topic with all its records, and creates another one under its name.
    pub fn make_topic_anew(&self, name: &str, partitions: usize) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        for answer in runtime.block_on(admin.delete_topics(&[name], &options))? {
            answer.map_err(|(failed, error)| anyhow!("cannot delete {failed}: {error}"))?;
        }
        self.create_topic(name, partitions)
    }

    /// Deletes all records that a topic has now, as retention does.
    pub fn delete_records(&self, topic: &str) -> Result<()> {
        let all = (0..self.partitions(topic)?).map(|partition| (partition, Offset::End));
        self.delete(topic, all)
    }

    /// Deletes the records below an offset of each partition.
    pub fn delete_records_below(&self, topic: &str, offsets: &[(i32, i64)]) -> Result<()> {
        let offsets = offsets.iter();
        let below = offsets.map(|&(partition, offset)| (partition, Offset::Offset(offset)));
        self.delete(topic, below)
    }

    fn delete(&self, topic: &str, below: impl Iterator<Item = (i32, Offset)>) -> Result<()> {
        let mut all = TopicPartitionList::new();
        for (partition, offset) in below {
            all.add_partition_offset(topic, partition, offset)?;
        }
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let deleted = runtime.block_on(admin.delete_records(&all, &options))?;
        for element in deleted.elements() {
            element.error()?;
        }
        Ok(())
    }

    pub fn partitions(&self, topic: &str) -> Result<i32> {
        let consumer: BaseConsumer = self.client().create()?;
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
        let found = metadata.topics().first().context("no such topic")?;
        Ok(i32::try_from(found.partitions().len())?)
    }

    /// Watches how far a group has come in a topic.
    pub fn progress(&self, group: &str, topic: &str) -> Result<Progress> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .create()?;
        let partitions = 0..self.partitions(topic)?;
        Ok(Progress::new(consumer, topic, partitions.collect()))
    }

    /// A producer that places keys as Kafka's Java producer does.
    pub fn writer(&self) -> Result<Writer> {
        let producer = self
            .client()
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .create_with_context(Failures::default())?;
        Ok(Writer { producer })
    }
}

/// Writes records and knows that they arrived.
pub struct Writer {
    producer: ThreadedProducer<Failures>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Queues a record; [`Self::flush`] tells whether it arrived.
    pub fn send(&self, topic: &str, record: &NewRecord) -> Result<()> {
        wait::until_true("the producer's queue has room", ANSWER, || {
            let mut base: BaseRecord<'_, Vec<u8>, Vec<u8>> =
                BaseRecord::to(topic).timestamp(record.timestamp_ms);
            base.key = record.key.as_ref();
            base.payload = record.value.as_ref();
            match self.producer.send(base) {
                Ok(()) => Ok(true),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
                Err((error, _)) => Err(error.into()),
            }
        })
    }

    /// Waits until everything sent is written.
    pub fn flush(&self) -> Result<()> {
        self.flush_within(ANSWER)
    }

    /// The same for brokers that may take their time.
    pub fn flush_within(&self, deadline: Duration) -> Result<()> {
        self.producer.flush(deadline)?;
        let failed = self
            .producer
            .context()
            .first
            .lock()
            .map_err(|_poisoned| anyhow!("poisoned"))?;
        failed.as_ref().map_or(Ok(()), |error| {
            Err(anyhow!("a record was not written: {error}"))
        })
    }
}

/// The first record that did not arrive.
#[derive(Default)]
struct Failures {
    first: Mutex<Option<KafkaError>>,
}

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let (Err((error, _)), Ok(mut first)) = (result, self.first.lock()) {
            first.get_or_insert_with(|| error.clone());
        }
    }
}
