//! `foretell topics create`: makes the topics that are missing.

use std::io::Write;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::cli::clients::{self, Connection, Troubles, Unreachable};
use crate::cli::{ConfigFile, Failure, output};
use crate::config::{Config, Environment, Topics};

/// How long the cluster may take to create topics.
const CREATE_MAX: Duration = Duration::from_secs(15);

/// Create the topics of a configuration
///
/// Creates what is missing and leaves alone what is there. All get cleanup.policy=delete: windows
/// are rebuilt from the records of a series, which compaction would remove.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell topics create -c foretell.toml --partitions 16 --replication 3")]
pub(in crate::cli) struct CreateArguments {
    #[command(flatten)]
    config: ConfigFile,

    /// Partitions of each topic; a series stays in one, so this bounds the number of workers
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,

    /// Copies of each record [default: the cluster's own default]
    #[arg(long, default_value_t = -1, hide_default_value = true, allow_negative_numbers = true)]
    replication: i32,

    /// Days that records are kept; -1 keeps them for ever
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
    let Topics {
        observations,
        forecasts,
        dead_letters,
        control: _,
    } = &config.topics;
    let names = [observations, forecasts, dead_letters];
    let wanted = NewTopics {
        partitions: arguments.partitions,
        replication: arguments.replication,
        retention_ms: match arguments.retention {
            -1 => -1,
            days => days * 86_400_000,
        },
    };
    let connection = Connection::configured(&config.kafka);
    for (name, created) in names.iter().zip(create(&connection, &names, wanted)?) {
        match created {
            Created::Now => {
                writeln!(out, "{name}: created, {} partitions", wanted.partitions)?;
            }
            Created::Before => writeln!(out, "{name}: is there already, left as it is")?,
        }
    }
    out.flush()?;
    Ok(())
}

/// Creates the topics that are missing.
pub fn create(
    connection: &Connection,
    names: &[&String],
    wanted: NewTopics,
) -> Result<Vec<Created>, CreateError> {
    let troubles = Troubles::default();
    let admin: AdminClient<Troubles> = connection
        .client()
        .create_with_context(troubles.clone())
        .map_err(Unreachable::Config)?;
    // First, so that an unreachable broker is told from one that refuses.
    clients::metadata(admin.inner(), (connection, &troubles), || {})?;
    let retention = wanted.retention_ms.to_string();
    let topics: Vec<_> = names
        .iter()
        .map(|name| {
            let replication = TopicReplication::Fixed(wanted.replication);
            NewTopic::new(name, wanted.partitions, replication)
                .set("cleanup.policy", "delete")
                .set("retention.ms", &retention)
        })
        .collect();
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
