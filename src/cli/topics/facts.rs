//! What a cluster says of the topics, the brokers and the group of a configuration.
//!
//! Nothing is joined, committed or created. What a broker does not tell, for want of permission or of
//! the API, is `None` and said to be unchecked.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::metadata::{Metadata, MetadataBroker};
use rdkafka::topic_partition_list::Offset;

use crate::cli::clients::{self, CONNECT_MAX, Connection, Troubles, Unreachable};
use crate::config::Config;
use crate::consume::topic_id;
use crate::domain::{CommitMetadata, CommitMetadataError, PartitionId, TopicId};

/// How long a broker may take to tell its settings.
const SETTINGS_MAX: Duration = Duration::from_secs(3);

/// Settings by name.
pub(super) type Settings = HashMap<String, String>;

/// What the worker does with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Observations,
    Forecasts,
    DeadLetters,
    /// Commands to model slots.
    Control,
    /// What workers say of themselves.
    Status,
}

/// One of the topics.
#[derive(Clone, Debug)]
pub(super) struct TopicFacts {
    pub(super) role: Role,
    pub(super) name: String,
    /// `None` where there is no such topic.
    pub(super) shape: Option<Shape>,
    pub(super) settings: Option<Settings>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) partitions: i32,
    /// Copies of the partition that has fewest.
    pub(super) replicas: usize,
}

/// A partition of the observations, and where the group stands in it.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) partition: i32,
    pub(super) log_start: i64,
    pub(super) log_end: i64,
    /// Of the topic, where the brokers tell one.
    pub(super) topic_id: Option<TopicId>,
    pub(super) committed: Option<CommittedAt>,
}

/// A committed offset and what its metadata says.
#[derive(Clone, Debug)]
pub(super) struct CommittedAt {
    pub(super) offset: i64,
    pub(super) metadata: Result<CommitMetadata, CommitMetadataError>,
}

/// Everything that was asked.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) topics: Vec<TopicFacts>,
    /// Settings of one of the brokers.
    pub(super) broker: Option<Settings>,
    /// Per partition of the observations, or why that is not known.
    pub(super) group: Result<Vec<Standing>, String>,
}

/// Asks the cluster.
pub(super) fn gather(connection: &Connection, config: &Config) -> Result<Facts, Unreachable> {
    let (reader, troubles) = group_reader(connection, &config.kafka.group_id)?;
    let serve = || drop(reader.poll(clients::SERVE));
    let metadata = clients::metadata(reader.client(), (connection, &troubles), serve)?;
    let control = config
        .topics
        .control
        .iter()
        .map(|name| (Role::Control, name));
    let status = config.topics.status.iter().map(|name| (Role::Status, name));
    let mut topics: Vec<_> = [
        (Role::Observations, &config.topics.observations),
        (Role::Forecasts, &config.topics.forecasts),
        (Role::DeadLetters, &config.topics.dead_letters),
    ]
    .into_iter()
    .chain(control)
    .chain(status)
    .map(|(role, name)| TopicFacts {
        role,
        name: name.clone(),
        shape: shape(&metadata, name),
        settings: None,
    })
    .collect();
    let broker = metadata.brokers().first().map(MetadataBroker::id);
    let broker = tell_settings(connection, &mut topics, broker);
    let group = match topics.first().and_then(|topic| topic.shape) {
        None => Ok(Vec::new()),
        Some(shape) => standing(&reader, &config.topics.observations, shape.partitions)
            .map_err(|error| error.to_string()),
    };
    Ok(Facts {
        topics,
        broker,
        group,
    })
}

/// A reader that asks for the offsets of the group and never joins it.
fn group_reader(
    connection: &Connection,
    group_id: &str,
) -> Result<(BaseConsumer<Troubles>, Troubles), Unreachable> {
    let troubles = Troubles::default();
    let mut client = connection.reader();
    client.set("group.id", group_id);
    let reader = client
        .create_with_context(troubles.clone())
        .map_err(Unreachable::Config)?;
    Ok((reader, troubles))
}

fn shape(metadata: &Metadata, name: &str) -> Option<Shape> {
    let partitions = clients::partitions(metadata, name)?;
    let topic = metadata.topics().iter().find(|it| it.name() == name)?;
    let replicas = topic.partitions().iter().map(|it| it.replicas().len());
    Some(Shape {
        partitions,
        replicas: replicas.min().unwrap_or_default(),
    })
}

/// Fills in the settings of the topics there are, and answers those of the broker. A cluster that does
/// not tell is not asked, and waited for, a second time.
fn tell_settings(
    connection: &Connection,
    topics: &mut [TopicFacts],
    broker: Option<i32>,
) -> Option<Settings> {
    let admin: AdminClient<Troubles> = connection
        .client()
        .create_with_context(Troubles::default())
        .ok()?;
    let describe = |resource: ResourceSpecifier<'_>| -> Option<Settings> {
        let options = AdminOptions::new().request_timeout(Some(SETTINGS_MAX));
        let answer = clients::block_on(admin.describe_configs([&resource], &options)).ok()?;
        let mut settings = Settings::new();
        for described in answer {
            for entry in described.ok()?.entries {
                settings.extend(entry.value.map(|value| (entry.name, value)));
            }
        }
        Some(settings)
    };
    for topic in topics.iter_mut().filter(|topic| topic.shape.is_some()) {
        topic.settings = Some(describe(ResourceSpecifier::Topic(&topic.name))?);
    }
    describe(ResourceSpecifier::Broker(broker?))
}

fn standing(
    reader: &BaseConsumer<Troubles>,
    topic: &str,
    partitions: i32,
) -> Result<Vec<Standing>, KafkaError> {
    let mut asked = TopicPartitionList::new();
    for partition in 0..partitions {
        asked.add_partition(topic, partition);
    }
    let answer = reader.committed_offsets(asked, CONNECT_MAX)?;
    let topic_id = topic_id(reader, (topic, PartitionId(0)), CONNECT_MAX)?;
    let mut standings = Vec::new();
    for partition in 0..partitions {
        let (log_start, log_end) = reader.fetch_watermarks(topic, partition, CONNECT_MAX)?;
        let found = answer.find_partition(topic, partition);
        let committed = found.and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(CommittedAt {
                offset,
                metadata: CommitMetadata::decode(element.metadata()),
            }),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        });
        standings.push(Standing {
            partition,
            log_start,
            log_end,
            topic_id,
            committed,
        });
    }
    Ok(standings)
}
