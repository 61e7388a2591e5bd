//! What the demo's worker stands on: a broker, topics, a model, schemas and a configuration.
//!
//! Without `--brokers` the broker is librdkafka's mock cluster in this process. It has no real
//! transactions, so the worker is told at-least-once. Files that the program brings with it are laid
//! out in a temporary folder, because a worker is configured with paths.

use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tempfile::TempDir;

use crate::cli::clients::{Connection, Unreachable};
use crate::cli::topics::{self, NewTopics};
use crate::config::{Config, ConfigErrors, Environment, Topics};

pub const SAMPLE: &[u8] = include_bytes!("../../../demo/sample.parquet");
const MODEL: &[u8] = include_bytes!("../../../demo/last_value.onnx");
const SECOND_MODEL: &[u8] = include_bytes!("../../../demo/gru.onnx");
const OBSERVATION: &str = crate::cli::publish::BUILT_IN;

const SECOND_MODEL_FILE: &str = "second.onnx";

/// Where everything is. Dropping it ends the mock cluster and removes the files.
pub struct Stage {
    pub config: Config,
    pub connection: Connection,
    /// Kept alive, and `None` on a real Kafka.
    pub embedded: Option<MockCluster<'static, DefaultProducerContext>>,
    files: TempDir,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("the embedded broker does not start: {0}")]
    Embedded(KafkaError),
    #[error("cannot lay out the demo's files in the temporary folder")]
    Files(#[from] std::io::Error),
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(transparent)]
    Topics(#[from] topics::CreateError),
}

/// What the stage is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// A real Kafka, or none for the mock cluster.
    pub kafka: Option<&'a Connection>,
    pub partitions: i32,
    /// Address of the admin endpoints.
    pub listen: &'a str,
    pub log_level: &'a str,
}

impl Stage {
    pub fn set(wanted: Wanted<'_>, environment: &Environment) -> Result<Self, StageError> {
        let files = tempfile::Builder::new()
            .prefix("foretell-demo-")
            .tempdir()?;
        lay_out(files.path())?;
        let (embedded, connection, prefix) = if let Some(kafka) = wanted.kafka {
            (
                None,
                kafka.clone(),
                format!("foretell-demo-{:08x}.", random()),
            )
        } else {
            let cluster = MockCluster::new(1).map_err(StageError::Embedded)?;
            let connection = Connection::plain(cluster.bootstrap_servers());
            (Some(cluster), connection, String::new())
        };
        let text = configuration(wanted, &connection, (&prefix, embedded.is_some()));
        let mut config = Config::parse(&files.path().join("foretell.toml"), &text, environment)?;
        config.kafka.properties = connection.properties().clone();
        create_topics(
            &connection,
            embedded.as_ref(),
            &config.topics,
            wanted.partitions,
        )?;
        Ok(Self {
            config,
            connection,
            embedded,
            files,
        })
    }
}

impl Stage {
    /// The model that can be promoted.
    pub fn second_model(&self) -> PathBuf {
        self.files.path().join(SECOND_MODEL_FILE)
    }
}

fn lay_out(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir(folder.join("schemas"))?;
    std::fs::write(folder.join("schemas/observation.avsc"), OBSERVATION)?;
    std::fs::write(folder.join("model.onnx"), MODEL)?;
    std::fs::write(folder.join(SECOND_MODEL_FILE), SECOND_MODEL)
}

fn configuration(
    wanted: Wanted<'_>,
    connection: &Connection,
    (prefix, embedded): (&str, bool),
) -> String {
    let brokers: Vec<_> = connection
        .brokers()
        .split(',')
        .map(|broker| format!("{broker:?}"))
        .collect();
    let brokers = brokers.join(", ");
    let guarantee = if embedded {
        "at_least_once"
    } else {
        "exactly_once"
    };
    let Wanted {
        listen, log_level, ..
    } = wanted;
    format!(
        r#"
[kafka]
brokers = [{brokers}]
group_id = "{prefix}worker"
allow_insecure = true

[worker]
id = "{prefix}demo"
log_level = "{log_level}"

[topics]
observations = "{prefix}observations"
forecasts = "{prefix}forecasts"
dead_letters = "{prefix}foretell.dead-letters"
control = "{prefix}foretell.control"
status = "{prefix}foretell.status"

[input]
schema_folder = "schemas"

[window]
step = "2m"
length = 64
gap_max = 3
features = [
  "down", "up", "rnti_count", "mcs_down", "mcs_down_var", "mcs_up", "mcs_up_var", "rb_down",
  "rb_down_var", "rb_up", "rb_up_var",
]

[model]
initial = "model.onnx"

[promotion]
file_roots = ["."]

[commit]
guarantee = "{guarantee}"

[admin]
listen = "{listen}"
"#
    )
}

fn create_topics(
    connection: &Connection,
    embedded: Option<&MockCluster<'static, DefaultProducerContext>>,
    names: &Topics,
    partitions: i32,
) -> Result<(), StageError> {
    // The sample is of 2018 and 2019: any retention by time would delete it at once.
    let wanted = NewTopics {
        partitions,
        replication: -1,
        retention_ms: -1,
    };
    let plans = topics::plans(names, wanted);
    match embedded {
        None => topics::create(connection, &plans).map(drop)?,
        Some(cluster) => {
            for plan in plans {
                cluster
                    .create_topic(plan.name, plan.partitions, 1)
                    .map_err(StageError::Embedded)?;
            }
        }
    }
    Ok(())
}

/// Tells the topics of two demos on one Kafka apart.
fn random() -> u32 {
    let hash = std::hash::RandomState::new().hash_one(std::process::id());
    u32::try_from(hash >> 32).unwrap_or_default()
}
