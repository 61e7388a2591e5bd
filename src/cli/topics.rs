//! `foretell topics create|check`: the topics that a configuration names.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::clients::{self, Connection, Troubles, Unreachable};
use super::output;
use super::{ConfigFile, Failure};
use crate::config::{Config, Environment, Topics};

/// How long the cluster may take to create topics.
const CREATE_MAX: Duration = Duration::from_secs(15);

/// Smallest record that a topic must take: a dead letter carries the bytes of a large observation.
const MESSAGE_BYTES_MIN: u64 = 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Create(CreateArguments),
    Check(CheckArguments),
}

/// Create the topics of a configuration
///
/// Creates what is missing and leaves alone what is there. All get cleanup.policy=delete: windows
/// are rebuilt from the records of a series, which compaction would remove.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell topics create -c foretell.toml --partitions 16 --replication 3")]
pub(super) struct CreateArguments {
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

/// Check that the topics of a configuration are there and fit
///
/// Exits with 1 if something must be changed. What the broker does not tell is said to be unchecked.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell topics check -c foretell.toml")]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigFile,
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

/// What `check` found to be wrong; the findings are on standard output.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the topics must be changed before a worker can run")]
struct Unfit(usize);

/// What became of a topic that was to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    Now,
    /// It was there before and was left alone.
    Before,
}

pub(super) fn run(command: &Command, environment: &Environment) -> Result<ExitCode, Failure> {
    let mut out = output::stdout();
    match command {
        Command::Create(arguments) => {
            let config = Config::load(&arguments.config.path, environment)?;
            let Topics {
                observations,
                forecasts,
                dead_letters,
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
        }
        Command::Check(arguments) => {
            let config = Config::load(&arguments.config.path, environment)?;
            let findings = check(&Connection::configured(&config.kafka), &config.topics)?;
            for finding in &findings {
                writeln!(out, "{finding}")?;
            }
            out.flush()?;
            let unfit = findings
                .iter()
                .filter(|finding| finding.verdict.is_unfit())
                .count();
            if unfit > 0 {
                return Err(Unfit(unfit).into());
            }
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
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

/// What is to be said of one topic.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    topic: String,
    verdict: Verdict,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fit {
        partitions: i32,
        remarks: Vec<String>,
    },
    Missing,
    Unfit {
        reasons: Vec<String>,
    },
}

impl Verdict {
    fn is_unfit(&self) -> bool {
        match self {
            Self::Fit { .. } => false,
            Self::Missing | Self::Unfit { .. } => true,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, verdict } = self;
        match verdict {
            Verdict::Fit {
                partitions,
                remarks,
            } => {
                write!(f, "{topic}: fits, {partitions} partitions")?;
                remarks
                    .iter()
                    .try_for_each(|remark| write!(f, "; {remark}"))
            }
            Verdict::Missing => write!(
                f,
                "{topic}: is missing; create it with `foretell topics create`"
            ),
            Verdict::Unfit { reasons } => {
                write!(f, "{topic}: does not fit: {}", reasons.join("; "))
            }
        }
    }
}

fn check(connection: &Connection, topics: &Topics) -> Result<Vec<Finding>, Unreachable> {
    let (reader, troubles) = clients::reader(connection).map_err(Unreachable::Config)?;
    let serve = || drop(reader.poll(Duration::ZERO));
    let metadata = clients::metadata(reader.client(), (connection, &troubles), serve)?;
    let Topics {
        observations,
        forecasts,
        dead_letters,
    } = topics;
    let mut findings = Vec::new();
    // A broker that does not tell is not asked, and waited for, a second time.
    let mut tells = true;
    for (topic, is_input) in [
        (observations, true),
        (forecasts, false),
        (dead_letters, false),
    ] {
        let verdict = match clients::partitions(&metadata, topic) {
            None => Verdict::Missing,
            Some(partitions) => {
                let settings = tells
                    .then(|| clients::topic_settings(connection, topic).ok())
                    .flatten();
                tells = settings.is_some();
                judge(partitions, is_input, settings.as_ref())
            }
        };
        findings.push(Finding {
            topic: topic.clone(),
            verdict,
        });
    }
    Ok(findings)
}

/// Judges a topic by its settings; `None` where the broker does not tell them.
fn judge(partitions: i32, is_input: bool, settings: Option<&HashMap<String, String>>) -> Verdict {
    let Some(settings) = settings else {
        let unchecked = "unchecked, as the broker does not tell: cleanup.policy, retention.ms, max.message.bytes";
        return Verdict::Fit {
            partitions,
            remarks: vec![unchecked.to_owned()],
        };
    };
    let get = |name: &str| settings.get(name).map_or("", String::as_str);
    let (mut reasons, mut remarks) = (Vec::new(), Vec::new());
    if get("cleanup.policy").contains("compact") {
        let consequence = if is_input {
            "compaction removes the observations that windows are rebuilt from"
        } else {
            "compaction keeps one record per series"
        };
        reasons.push(format!(
            "cleanup.policy={}: {consequence}; set it to delete",
            get("cleanup.policy")
        ));
    }
    if get("message.timestamp.type") == "LogAppendTime" && is_input {
        remarks.push("message.timestamp.type=LogAppendTime: replays of old data will not follow their own time".to_owned());
    }
    if let Ok(bytes) = get("max.message.bytes").parse::<u64>()
        && bytes < MESSAGE_BYTES_MIN
    {
        reasons.push(format!("max.message.bytes={bytes} is below {MESSAGE_BYTES_MIN}: a large record or its dead letter would be refused"));
    }
    if let Ok(kept_ms) = get("retention.ms").parse::<i64>() {
        remarks.push(match u64::try_from(kept_ms) {
            Ok(kept_ms) => format!("kept for {} hours", kept_ms / 3_600_000),
            Err(_negative) => "kept for ever".to_owned(),
        });
    }
    if reasons.is_empty() {
        Verdict::Fit {
            partitions,
            remarks,
        }
    } else {
        Verdict::Unfit { reasons }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_compacted_or_narrow_topic_does_not_fit() {
        for (pairs, part) in [
            (
                [
                    ("cleanup.policy", "compact,delete"),
                    ("max.message.bytes", "1048588"),
                ],
                "cleanup.policy=compact,delete",
            ),
            (
                [("cleanup.policy", "delete"), ("max.message.bytes", "1000")],
                "max.message.bytes=1000",
            ),
        ] {
            let finding = Finding {
                topic: "t".into(),
                verdict: judge(4, true, Some(&settings(&pairs))),
            };
            assert!(
                finding.verdict.is_unfit() && finding.to_string().contains(part),
                "{finding}"
            );
        }
        let usual = settings(&[
            ("cleanup.policy", "delete"),
            ("max.message.bytes", "1048588"),
            ("retention.ms", "604800000"),
            ("message.timestamp.type", "CreateTime"),
        ]);
        let finding = Finding {
            topic: "t".into(),
            verdict: judge(4, true, Some(&usual)),
        };
        assert_eq!(
            finding.to_string(),
            "t: fits, 4 partitions; kept for 168 hours"
        );
    }

    #[test]
    fn the_mock_cluster_tells_which_topics_there_are_and_nothing_more() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("in", 3, 1).unwrap();
        let names = Topics {
            observations: "in".into(),
            forecasts: "out".into(),
            dead_letters: "dead".into(),
        };
        let connection = Connection::plain(cluster.bootstrap_servers());
        let findings = check(&connection, &names).unwrap();
        let shown: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(
            shown[0].starts_with("in: fits, 3 partitions; unchecked"),
            "{shown:?}"
        );
        assert_eq!(
            shown[1],
            "out: is missing; create it with `foretell topics create`"
        );
    }
}
