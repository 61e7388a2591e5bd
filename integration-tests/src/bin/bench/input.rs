//! The input: observations of 1,000 series that lie in the topic before anything is measured.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use integration_tests::cluster::{Cluster, NewRecord};
use integration_tests::observation::{Cells, FEATURES, Observations, STEP_MS};
use integration_tests::tools::in_repository;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

/// Series of the workload, spread over the partitions by their names.
pub(crate) const SERIES: u32 = 1000;
/// Partitions of the input.
pub(crate) const PARTITIONS: i32 = 4;
/// The features of the wide input: all of the sample data's.
pub(crate) const WIDE: [&str; 11] = [
    "down",
    "up",
    "rnti_count",
    "mcs_down",
    "mcs_down_var",
    "mcs_up",
    "mcs_up_var",
    "rb_down",
    "rb_down_var",
    "rb_up",
    "rb_up_var",
];

const ANSWER: Duration = Duration::from_secs(30);

/// How many numbers an observation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Three,
    Eleven,
}

impl Width {
    pub(crate) fn features(self) -> &'static [&'static str] {
        match self {
            Self::Three => &FEATURES,
            Self::Eleven => &WIDE,
        }
    }
}

/// A topic with `rounds` observations of every series, one round after the other.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) topic: String,
    pub(crate) rounds: u32,
    /// Mean bytes of a key and value.
    pub(crate) record_bytes: usize,
}

/// Creates the topic and writes everything.
pub(crate) fn preload(cluster: &Cluster, rounds: u32, width: Width) -> Result<Input> {
    let topic = format!("observations-{}", width.features().len());
    create(cluster, &topic)?;
    let writer = cluster.writer()?;
    let encoder = Encoder::new(width)?;
    // The last round is now, so that neither retention nor the worker finds anything odd.
    #[expect(
        clippy::disallowed_methods,
        reason = "the benchmark is a shell: it makes times"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let last = i64::try_from(now.as_millis())? / STEP_MS * STEP_MS;
    let mut bytes = 0;
    for round in 0..rounds {
        let time = last - i64::from(rounds - 1 - round) * STEP_MS;
        for series in 0..SERIES {
            let record = encoder.record(series, round, time)?;
            bytes += size(record.key.as_deref()) + size(record.value.as_deref());
            writer.send(&topic, &record)?;
        }
    }
    writer.flush()?;
    let records = usize::try_from(rounds)? * usize::try_from(SERIES)?;
    Ok(Input {
        topic,
        rounds,
        record_bytes: bytes / records,
    })
}

fn size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}

/// Creates a topic of [`PARTITIONS`] that keeps everything.
pub(crate) fn create(cluster: &Cluster, name: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = cluster.client().create()?;
    let topic =
        NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let options = AdminOptions::new().operation_timeout(Some(ANSWER));
    let created = runtime.block_on(admin.create_topics([&topic], &options))?;
    ensure!(created.len() == 1, "no answer for {name}");
    for answer in created {
        answer.map_err(|(failed, error)| anyhow!("cannot create {failed}: {error}"))?;
    }
    Ok(())
}

/// Encodes by `apache-avro`, which shares nothing with the worker.
pub(crate) enum Encoder {
    Three(Observations),
    Eleven(Schema, Vec<u8>),
}

/// The type of the time in schemas/observation.avsc.
const TIME: &str = r#"{"type": "long", "logicalType": "timestamp-millis"}"#;

impl Encoder {
    pub(crate) fn new(width: Width) -> Result<Self> {
        Ok(match width {
            Width::Three => Self::Three(Observations::new()?),
            Width::Eleven => {
                let schema = in_repository("schemas/observation.avsc")?;
                let text = std::fs::read_to_string(schema)?;
                // As in `Observations`: apache-avro's canonical form of a logical type is wrong.
                let plain = Schema::parse_str(&text.replace(TIME, r#""long""#))?;
                let fingerprint = plain.fingerprint::<Rabin>().bytes;
                Self::Eleven(Schema::parse_str(&text)?, fingerprint)
            }
        })
    }

    pub(crate) fn record(&self, series: u32, round: u32, time_ms: i64) -> Result<NewRecord> {
        let name = format!("cell-{series}");
        let mut cells = Cells::of(series, round);
        // A cell is missing now and then, but never so many in a row that a window is incomplete:
        // each observation after the first 63 has a forecast.
        if cells.down.is_none() && round % 4 != 2 {
            cells.down = Some(f64::from(round));
        }
        match self {
            Self::Three(observations) => observations.record(&name, time_ms, cells),
            Self::Eleven(schema, fingerprint) => Ok(NewRecord {
                key: Some(name.as_bytes().to_vec()),
                value: Some(
                    [
                        &[0xC3, 0x01][..],
                        &fingerprint[..],
                        &eleven(schema, name, time_ms, cells)?[..],
                    ]
                    .concat(),
                ),
                timestamp_ms: time_ms,
            }),
        }
    }
}

fn eleven(schema: &Schema, name: String, time_ms: i64, cells: Cells) -> Result<Vec<u8>> {
    let mut fields = vec![
        ("series".to_owned(), Value::String(name)),
        ("time".to_owned(), Value::TimestampMillis(time_ms)),
    ];
    let base = cells.down.unwrap_or(1.0e9);
    for (place, feature) in (1_i32..).zip(WIDE) {
        let value = Value::Double(base / f64::from(place));
        fields.push((feature.to_owned(), Value::Union(1, Box::new(value))));
    }
    let writer = GenericDatumWriter::builder(schema).build()?;
    let datum = writer.write_value_to_vec(Value::Record(fields));
    datum.context("the observation schema has changed")
}
