//! `foretell tail`: committed forecasts, as a live view, as lines for people or as JSON lines.
//!
//! `live` is the view, with a line per series; `spark` draws a run of values.

mod live;
mod spark;
mod view;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use view::{Shape, View};

use super::Failure;
use super::clients::{self, Connection, ConnectionArgs, Troubles, Unreachable};
use super::forecasts::Reader;
use super::moment::Moment;
use super::output;
use super::registry_args::RegistryArgs;
use crate::app::wall_clock;
use crate::config::Environment;

/// Longest wait for a record before output is flushed and the connection looked at.
const POLL: Duration = Duration::from_millis(200);
/// How long a broker may take to find the offsets of a time.
const OFFSETS_MAX: Duration = Duration::from_secs(10);

/// Show forecasts as they are committed
///
/// On a terminal each series has one line, renewed in place: its last 32 forecasts one step ahead as blocks
/// between the lowest and the highest, the newest one, its origin and the model. Elsewhere, or with --lines, each
/// forecast is a line.
///
/// Reads with `isolation.level=read_committed` and joins no group: nothing is committed, and a worker
/// or another tail is not disturbed. Ends with Ctrl-C, with --limit, or with --exit.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Topic with the forecasts [default: of the configuration, else forecasts]
    #[arg(short, long)]
    topic: Option<String>,

    #[command(flatten)]
    connection: ConnectionArgs,

    /// Where to begin: beginning, end, a time ago such as 90s, 15m, 24h, 7d, or an instant
    #[arg(long, value_name = "WHERE", default_value = "end")]
    from: Moment,

    /// Forecasts of this series only
    #[arg(long, value_name = "NAME")]
    series: Option<String>,

    /// End after so many forecasts
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// End once every partition was read to its end
    #[arg(short, long)]
    exit: bool,

    #[command(flatten)]
    shape: Shape,

    #[command(flatten)]
    registry: RegistryArgs,

    /// The worker writes plain Avro datums (`forecast.wire_format = "datum"`)
    #[arg(long)]
    datum: bool,
}

const EXAMPLES: &str = "\
Examples:
  foretell tail --brokers localhost:9092 --from beginning --limit 10

  Each series in a line, as of the last day:
  foretell tail -c foretell.toml --from 24h --exit --sparkline --target down

  Every field of one series' forecasts of the last day, for jq:
  foretell tail -c foretell.toml --from 24h --exit --series cell-17 --json | jq .targets";

/// Why forecasts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(
        "there is no topic `{topic}` at {brokers}; name it with --topic, or create it with `foretell topics create`"
    )]
    NoTopic { topic: String, brokers: String },
    #[error("{topic} cannot be read: {error}")]
    Read { topic: String, error: KafkaError },
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let connection = arguments.connection.connection(environment)?;
    let configured = arguments
        .connection
        .topics(environment)?
        .map(|topics| topics.forecasts);
    let topic = arguments.topic.clone().or(configured);
    let topic = topic.unwrap_or_else(|| "forecasts".to_owned());
    let config = arguments.connection.configuration(environment)?;
    let registry = config.as_ref().map(|config| &config.registry);
    let registry = arguments
        .registry
        .settings(registry)
        .map_err(Failure::usage)?;
    let mut reader = Reader::new(arguments.datum, registry.as_ref())?;
    let (consumer, partitions) = assign(&connection, &topic, arguments.from)?;
    let read = |error| TailError::Read {
        topic: topic.clone(),
        error,
    };
    let mut view = View::new(&arguments.shape);
    let mut shown = 0;
    let mut unfinished: BTreeSet<i32> = (0..partitions).collect();
    while arguments.limit.is_none_or(|limit| shown < limit)
        && !(arguments.exit && unfinished.is_empty())
    {
        let message = match consumer.poll(POLL) {
            None => {
                view.rest()?;
                continue;
            }
            // A partition that is written to reaches its end more than once.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unfinished.remove(&partition);
                view.rest()?;
                continue;
            }
            Some(Err(error)) if is_passing(&error) => continue,
            Some(message) => message.map_err(read)?,
        };
        if arguments
            .series
            .as_ref()
            .is_some_and(|series| message.key() != Some(series.as_bytes()))
        {
            continue;
        }
        match reader.read(message.payload()) {
            Ok(forecast) => {
                view.take(&forecast)?;
                shown += 1;
            }
            Err(error) => output::remark(format_args!(
                "{topic}, partition {}, offset {}: passed over: {error}",
                message.partition(),
                message.offset()
            )),
        }
    }
    view.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Errors after which librdkafka goes on by itself.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
        )
    )
}

fn assign(
    connection: &Connection,
    topic: &str,
    from: Moment,
) -> Result<(BaseConsumer<Troubles>, i32), TailError> {
    let (consumer, troubles) = clients::reader(connection).map_err(Unreachable::Config)?;
    let serve = || drop(consumer.poll(clients::SERVE));
    let metadata = clients::metadata(consumer.client(), (connection, &troubles), serve)?;
    let partitions = clients::partitions(&metadata, topic).ok_or_else(|| TailError::NoTopic {
        topic: topic.to_owned(),
        brokers: connection.brokers().to_owned(),
    })?;
    let read = |error| TailError::Read {
        topic: topic.to_owned(),
        error,
    };
    let time = from.time(wall_clock());
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        let offset = match (time, from) {
            (Some(time), _) => Offset::Offset(time.0),
            (None, Moment::Beginning) => Offset::Beginning,
            (None, Moment::End | Moment::Ago(_) | Moment::At(_)) => Offset::End,
        };
        list.add_partition_offset(topic, partition, offset)
            .map_err(read)?;
    }
    if time.is_some() {
        list = consumer
            .offsets_for_times(list, OFFSETS_MAX)
            .map_err(read)?;
    }
    consumer.assign(&list).map_err(read)?;
    Ok((consumer, partitions))
}

/// A number as a person reads it: four digits and a magnitude.
pub(super) fn short(value: f64) -> String {
    let magnitude = value.abs();
    let scaled = |by: f64, unit: &str| format!("{:.2}{unit}", value / by);
    if magnitude >= 1e15 || (magnitude > 0.0 && magnitude < 1e-3) {
        format!("{value:.3e}")
    } else if magnitude >= 1e12 {
        scaled(1e12, "T")
    } else if magnitude >= 1e9 {
        scaled(1e9, "G")
    } else if magnitude >= 1e6 {
        scaled(1e6, "M")
    } else if magnitude >= 1e3 {
        scaled(1e3, "k")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_at_every_magnitude() {
        for (value, shown) in [
            (0.0, "0.000"),
            (135_855_192.0, "135.86M"),
            (-8_196.0, "-8.20k"),
            (4.5e-8, "4.500e-8"),
            (14.955, "14.955"),
            (2e15, "2.000e15"),
        ] {
            assert_eq!(short(value), shown);
        }
    }
}
