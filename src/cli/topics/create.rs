//! `foretell topics create`: makes the topics that are missing.

use std::io::Write;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::cli::clients::{self, Connection, Troubles, Unreachable};
use crate::cli::{ConfigFile, Failure, output};
use crate::config::{Config, Environment, Topics};
use crate::control::topic;

/// How long the cluster may take to create topics.
const CREATE_MAX: Duration = Duration::from_secs(15);

/// Create the topics of a configuration
///
/// Creates what is missing and leaves alone what is there. Observations, forecasts and dead letters get
/// cleanup.policy=delete: windows are rebuilt from the records of a series, which compaction would remove.
/// The topics of commands and of what workers say have one partition, and settings of their own.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell topics create -c foretell.toml --partitions 16 --replication 3")]
pub(in crate::cli) struct CreateArguments {
    #[command(flatten)]
    config: ConfigFile,

    /// Partitions of each topic for data; a series stays in one, so this bounds the number of workers
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,

    /// Copies of each record [default: the cluster's own default]
    #[arg(long, default_value_t = -1, hide_default_value = true, allow_negative_numbers = true)]
    replication: i32,

    /// Days that data is kept; -1 keeps them for ever
    #[arg(long, value_name = "DAYS", default_value_t = 7, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=36_500))]
    retention: i64,
}

/// How topics are made.
#[derive(Clone, Copy, Debug)]
pub struct NewTopics {
    pub partitions: i32,
    /// -1 for the cluster's default.
    pub replication: i32,
    /// -1 for ever.
    pub retention_ms: i64,
}

/// Why topics are not there now.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error("topic {topic} was not created: {reason}")]
    Refused { topic: String, reason: String },
    #[error("the cluster did not create topics: {0}; librdkafka's mock cluster cannot")]
    Admin(KafkaError),
}

/// What became of a topic that was to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    Now,
    /// It was there before and was left alone.
    Before,
}

pub(super) fn run(arguments: &CreateArguments, environment: &Environment) -> Result<(), Failure> {
    let mut out = output::stdout();
    let config = Config::load(&arguments.config.path, environment)?;
    let wanted = NewTopics {
        partitions: arguments.partitions,
        replication: arguments.replication,
        retention_ms: match arguments.retention {
            -1 => -1,
            days => days * 86_400_000,
        },
    };
    let connection = Connection::configured(&config.kafka);
    let plans = plans(&config.topics, wanted);
    for (plan, created) in plans.iter().zip(create(&connection, &plans)?) {
        let Plan {
            name, partitions, ..
        } = plan;
        match created {
            Created::Now if *partitions == 1 => writeln!(out, "{name}: created, 1 partition")?,
            Created::Now => writeln!(out, "{name}: created, {partitions} partitions")?,
            Created::Before => writeln!(out, "{name}: is there already, left as it is")?,
        }
    }
    out.flush()?;
    Ok(())
}

/// A topic that is to be there.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    pub name: &'a str,
    pub partitions: i32,
    replication: i32,
    settings: Vec<(&'static str, String)>,
}

impl Plan<'_> {
    fn topic(&self) -> NewTopic<'_> {
        let replication = TopicReplication::Fixed(self.replication);
        let topic = NewTopic::new(self.name, self.partitions, replication);
        let settings = self.settings.iter();
        settings.fold(topic, |topic, (name, value)| topic.set(name, value))
    }
}

/// The topics of a configuration, those for data as `wanted`.
pub fn plans(topics: &Topics, wanted: NewTopics) -> Vec<Plan<'_>> {
    let Topics {
        observations,
        forecasts,
        dead_letters,
        control,
        status,
    } = topics;
    let NewTopics {
        partitions,
        replication,
        retention_ms,
    } = wanted;
    let data = [observations, forecasts, dead_letters].map(|name| Plan {
        name,
        partitions,
        replication,
        settings: vec![
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", retention_ms.to_string()),
        ],
    });
    let one = |name, settings| Plan {
        name,
        partitions: 1,
        replication,
        settings,
    };
    let commands = topic::NEEDS.map(|need| (need.setting, need.wanted.to_owned()));
    let control = control.as_deref().map(|name| one(name, commands.to_vec()));
    let words = [
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "86400000"),
        // A day's words of a fleet are few: without this they stay for a week, in one open segment.
        ("segment.ms", "3600000"),
    ];
    let words = words.map(|(setting, value)| (setting, value.to_owned()));
    let status = status.as_deref().map(|name| one(name, words.to_vec()));
    data.into_iter().chain(control).chain(status).collect()
}

/// Creates the topics that are missing.
pub fn create(connection: &Connection, plans: &[Plan<'_>]) -> Result<Vec<Created>, CreateError> {
    let troubles = Troubles::default();
    let admin: AdminClient<Troubles> = connection
        .client()
        .create_with_context(troubles.clone())
        .map_err(Unreachable::Config)?;
    // First, so that an unreachable broker is told from one that refuses.
    clients::metadata(admin.inner(), (connection, &troubles), || {})?;
    let topics: Vec<_> = plans.iter().map(Plan::topic).collect();
    let options = AdminOptions::new()
        .request_timeout(Some(CREATE_MAX))
        .operation_timeout(Some(CREATE_MAX));
    let results =
        clients::block_on(admin.create_topics(&topics, &options)).map_err(CreateError::Admin)?;
    results
        .into_iter()
        .map(|result| match result {
            Ok(_) => Ok(Created::Now),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(Created::Before),
            Err((topic, code)) => Err(CreateError::Refused {
                topic,
                reason: code.to_string(),
            }),
        })
        .collect()
}
