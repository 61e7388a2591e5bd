//! `foretell publish`: rows of a CSV or Parquet file become Avro observations on a topic.
//!
//! The file is read a row at a time: [`rows`] reads it, [`schema`] encodes, [`order`] decides when a
//! row is due, [`mod@send`] delivers. Nothing here judges an observation; that is the worker's.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

mod arguments;
mod cells;
mod csv;
mod layout;
mod order;
mod parquet;
mod retention;
mod row;
mod rows;
mod schema;
mod send;
mod time;

pub use arguments::TableArgs;
pub use csv::Reading;
pub use layout::{LayoutError, SeriesFrom};
pub use order::{Encoded, Feed, OrderError, RUN_BYTES, Survey};
pub use row::{Place, Row, RowError};
pub use rows::{Extent, OpenError, Rows, Table};
pub use schema::{BUILT_IN, ObservationSchema, SchemaError};
pub use send::{RecordTime, SendError, Sender};
pub use time::{TimeReader, TimeUnit};

use super::Failure;
use super::clients::{Connection, ConnectionArgs};
use super::output;
use super::progress::{self, Progress};
use super::registry_args::{RegistryArgs, patience};
use crate::config::{Environment, InputFormat};
use crate::domain::Timestamp;
use crate::registry::{BlockingClient, RegistrySettings, Subject, SubjectError};

#[cfg(test)]
mod tests;

/// Publish the rows of a CSV or Parquet file as Avro observations
///
/// Each row becomes one record: key = series, value = Avro single-object encoding or, with a registry,
/// Confluent framing, on the partition where the Java client would put it. Columns fill the schema fields of the same name; an empty
/// cell is a missing value.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// File to publish: .csv (with a header line) or .parquet
    file: PathBuf,

    /// Topic to publish to; it must exist
    #[arg(short, long)]
    topic: String,

    #[command(flatten)]
    connection: ConnectionArgs,

    /// Avro schema of the records [default: the observation of the sample data]
    #[arg(long, value_name = "AVSC")]
    schema: Option<PathBuf>,

    #[command(flatten)]
    registry: RegistryArgs,

    /// Look the schema up under TOPIC-value and do not register it
    #[arg(long)]
    no_register: bool,

    #[command(flatten)]
    table: TableArgs,

    /// Field of the schema that takes the series
    #[arg(long, value_name = "FIELD", default_value = "series")]
    series_field: String,

    /// Field of the schema that takes the time
    #[arg(long, value_name = "FIELD", default_value = "time")]
    time_field: String,

    /// How fast: max, or how many times as fast as it was measured
    ///
    /// With a number, all series start at once, each from its own first time, and the file is read
    /// and checked once before anything is published. 1 is real time, 600 is ten minutes in a
    /// second. With max the rows go in the order of the file, as fast as Kafka takes them.
    #[arg(long, default_value = "max")]
    speed: Speed,

    /// Publish the first rows of the file only
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,

    /// What the record timestamp is
    ///
    /// A worker refuses an observation whose time is later than its record timestamp, and its
    /// stream time follows record timestamps. The observation's own time makes a replay look as
    /// the original did. But a topic that keeps records for a time counts it from that timestamp:
    /// publish old data to a topic with retention.ms=-1, or say now.
    #[arg(long, value_name = "WHICH", default_value = "observation")]
    record_time: RecordTime,
}

const EXAMPLES: &str = "\
Examples:
  foretell publish demo/sample.parquet --topic observations --brokers localhost:9092

  One series per file, local times that are UTC, ten minutes in a second:
  foretell publish ElBorn.csv -t observations -b localhost:9092 \\
      --series ElBorn --assume-utc --speed 600

  In Confluent framing, the schema registered under observations-value:
  foretell publish demo/sample.parquet -t observations -b localhost:9092 \\
      --registry http://localhost:8081

  Records of your own, security settings from a worker's configuration:
  foretell publish meters.csv -t meters -c foretell.toml --schema meter.avsc \\
      --series-field meter_id --time-field read_at";

/// How fast rows are published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    Max,
    /// Times as fast as real time; above 0.
    Times(f64),
}

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(times) if times.is_finite() && (1e-3..=1e9).contains(&times) => {
                Ok(Self::Times(times))
            }
            Ok(_) | Err(_) => Err("say max, or a number from 0.001 to 1000000000"),
        }
    }
}

impl Speed {
    /// When a row falls due that was measured `due_ms` after the first; at once for `Max`.
    pub fn delay(self, due_ms: i64) -> Duration {
        match self {
            Self::Max => Duration::ZERO,
            Self::Times(times) => {
                let millis = u64::try_from(due_ms).unwrap_or(0);
                // A time too far away for a clock never comes.
                let seconds = Duration::from_millis(millis).as_secs_f64() / times;
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            }
        }
    }
}

/// Why `publish` failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{}: nothing was published: {problem}", path.display())]
    Checked { path: PathBuf, problem: OrderError },
    #[error("{}: stopped after {sent} rows: {problem}", path.display())]
    Stopped {
        path: PathBuf,
        sent: u64,
        problem: OrderError,
    },
    #[error("{}: there are no rows in it", path.display())]
    NoRows { path: PathBuf },
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Registry(#[from] SubjectError),
}

/// Publishes the file.
pub(super) fn run(args: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let connection = args.connection.connection(environment)?;
    let config = args.connection.configuration(environment)?;
    let framed = config
        .as_ref()
        .is_some_and(|config| config.input.format == InputFormat::Confluent);
    let registry = if framed || args.registry.is_given() {
        let configured = config.as_ref().map(|config| &config.registry);
        args.registry.settings(configured).map_err(Failure::usage)?
    } else {
        None
    };
    let published = publish_file(args, &connection, registry.as_ref())?;
    let mut out = output::stdout();
    writeln!(
        out,
        "published {} observations to {} in {:.1} s ({}/s)",
        progress::grouped(published.rows),
        args.topic,
        published.took.as_secs_f64(),
        progress::rate(published.rows, published.took)
    )?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What was published.
#[derive(Debug)]
struct Published {
    rows: u64,
    took: Duration,
}

fn publish_file(
    args: &Arguments,
    connection: &Connection,
    registry: Option<&RegistrySettings>,
) -> Result<Published, PublishError> {
    let schema = args.schema(registry)?;
    let table = args.table(&schema)?;
    let ignored = &table.layout().ignored;
    if !ignored.is_empty() {
        let names = layout::list(ignored.iter().map(String::as_str));
        output::remark(format_args!(
            "left out, as no field of the schema has the name: {names}"
        ));
    }
    let limit = args.limit.unwrap_or(u64::MAX);
    let sender = Sender::connect(connection, &args.topic, args.record_time)?;
    let checked = |problem| PublishError::Checked {
        path: args.file.clone(),
        problem,
    };
    let (feed, total);
    let survey;
    if args.speed == Speed::Max {
        feed = Feed::in_file_order(table.rows()?, &schema, limit);
        total = match table.extent() {
            Extent::Rows(rows) => rows.min(limit),
            Extent::Bytes(bytes) => bytes,
        };
    } else {
        survey = Survey::of(&mut table.rows()?, &schema, limit).map_err(checked)?;
        feed = Feed::in_due_order(table.rows()?, &schema, &survey, RUN_BYTES).map_err(checked)?;
        total = survey.rows;
        let lasts = args.speed.delay(survey.span_ms);
        output::remark(format_args!(
            "{} rows of {} series, which takes {:.0?}",
            progress::grouped(survey.rows),
            survey.series(),
            lasts
        ));
    }
    send(args, &schema, connection, (feed, total, sender))
}

fn send(
    args: &Arguments,
    schema: &ObservationSchema,
    connection: &Connection,
    (mut feed, total, sender): (Feed<'_>, u64, Sender),
) -> Result<Published, PublishError> {
    let start = Instant::now();
    let mut progress = Progress::new("published", total);
    let (mut encoded, mut sent) = (Encoded::default(), 0);
    let stopped = |after, problem| PublishError::Stopped {
        path: args.file.clone(),
        sent: after,
        problem,
    };
    while feed
        .next(schema, &mut encoded)
        .map_err(|problem| stopped(sent, problem))?
    {
        if sent == 0 && args.record_time == RecordTime::Observation {
            retention::warn(connection, &args.topic, Timestamp(encoded.time_ms));
        }
        if let Some(due) = start.checked_add(args.speed.delay(encoded.due_ms)) {
            sender.wait_until(due, || false)?;
        }
        sender.send(&encoded.series, Timestamp(encoded.time_ms), &encoded.value)?;
        sent += 1;
        let position = match args.speed {
            Speed::Max => feed.position().unwrap_or(sent),
            Speed::Times(_) => sent,
        };
        progress.at(position, sender.delivered());
    }
    let delivered = sender.finish(sent)?;
    progress.finish();
    if delivered == 0 {
        return Err(PublishError::NoRows {
            path: args.file.clone(),
        });
    }
    let took = start.elapsed();
    Ok(Published {
        rows: delivered,
        took,
    })
}

impl Arguments {
    fn schema(
        &self,
        registry: Option<&RegistrySettings>,
    ) -> Result<ObservationSchema, PublishError> {
        let (json, path) = match &self.schema {
            None => (BUILT_IN.to_owned(), Path::new("the built-in schema")),
            Some(path) => {
                let json = std::fs::read_to_string(path).map_err(|source| SchemaError::Read {
                    path: path.clone(),
                    source,
                })?;
                (json, path.as_path())
            }
        };
        let schema = ObservationSchema::parse(&json, path, &self.series_field, &self.time_field)?;
        let Some(registry) = registry else {
            return Ok(schema);
        };
        let subject = Subject {
            name: &format!("{}-value", self.topic),
            schema: &json,
            register: !self.no_register,
        };
        let client = BlockingClient::new(registry)?;
        let id = client.schema_id(&subject, &mut patience())?;
        Ok(schema.registered_as(id))
    }

    fn table(&self, schema: &ObservationSchema) -> Result<Table, OpenError> {
        let fields = (&*self.series_field, &*self.time_field);
        self.table.open(&self.file, schema, fields)
    }
}
