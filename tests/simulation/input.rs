//! The input of a seed, and what comes of its records.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use broker_model::{Broker, Partition, Refusal, Visible};
use foretell::decode::{
    Decoder, DecoderConfig, Projection, VALUE_BYTES_MAX, WireFormat, WriterSchema,
};
use foretell::domain::{NextOffset, Offset, Outcome, PartitionId, Record, RecordBatch, Timestamp};
use foretell::partition::{DEADLINE_HEADER, Folded, Lineage, Step, Stepped, deadline};
use foretell::produce::{
    Destination, GAP_END_HEADER, Output, SOURCE_OFFSET_HEADER, SOURCE_PARTITION_HEADER,
};
use foretell::window::{Table, WindowConfig};

use crate::records::{self, Mood, Random};

pub(crate) const PARTITIONS: usize = 3;
/// Partitions of the outputs: two of forecasts, one of dead letters.
pub(crate) const OUTPUTS: usize = 3;

/// What a record of the cluster is.
#[derive(Clone, Debug)]
pub(crate) enum Rec {
    /// An item of its partition's input.
    In(usize),
    /// The value of an output.
    Out(Box<[u8]>),
}

pub(crate) const fn input(partition: usize) -> Partition {
    Partition {
        topic: "in",
        index: [0, 1, 2][partition],
    }
}

pub(crate) const fn output(place: usize) -> Partition {
    Partition {
        topic: "out",
        index: [0, 1, 2][place],
    }
}

pub(crate) fn id(partition: usize) -> PartitionId {
    PartitionId(i32::try_from(partition).unwrap())
}

pub(crate) fn index(partition: PartitionId) -> usize {
    usize::try_from(partition.0).unwrap()
}

pub(crate) fn next(offset: i64) -> NextOffset {
    NextOffset::new(offset).unwrap()
}

/// A record as somebody would write it.
#[derive(Debug)]
pub(crate) struct Item {
    timestamp: Option<i64>,
    series: String,
    value: Option<Vec<u8>>,
    /// Nobody wants its forecast after this.
    deadline_ms: Option<i64>,
}

/// What a worker is configured by, and what its partitions will be told.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) windows: WindowConfig,
    pub(crate) decoder: Decoder,
    pub(crate) config_hash: u64,
    pub(crate) items: [Vec<Item>; PARTITIONS],
}

impl Setup {
    /// Records for each partition: mostly as they are on a bad day.
    pub(crate) fn new(random: &mut Random) -> Self {
        let (mood, settings) = if random.one_in(3) {
            (Mood::Usual, records::usual_settings(random))
        } else {
            (Mood::Hostile, records::settings(random))
        };
        let windows = WindowConfig::new(settings).unwrap();
        let expiring = random.one_in(3);
        let items = [(); PARTITIONS].map(|()| {
            let count = 24 + random.index(40);
            let ops = records::ops(random, mood, count);
            let steps = records::lower(&ops, &settings);
            let items = steps.into_iter();
            items.map(|step| item(step, expiring, random)).collect()
        });
        let decoder = decoder(settings.features);
        Self {
            config_hash: windows.config_hash(&decoder.config_keys()),
            windows,
            decoder,
            items,
        }
    }

    /// Empty windows that begin at an offset.
    pub(crate) fn fresh_step(&self, start: NextOffset) -> Step {
        let lineage = Lineage::beginning_at(start, self.config_hash);
        Step::new(self.decoder.clone(), Table::new(self.windows), lineage)
    }

    /// At most `most` committed records from a position on, as a reader gets them, and where it is then.
    pub(crate) fn read(
        &self,
        broker: &Broker<Rec>,
        partition: usize,
        (from, most): (i64, usize),
    ) -> Result<(RecordBatch, i64), Refusal> {
        let seen = broker.log(input(partition))?.read_committed(from, most)?;
        Ok(self.batch(partition, seen))
    }

    /// What a reader must not be given.
    pub(crate) fn read_uncommitted(
        &self,
        broker: &Broker<Rec>,
        partition: usize,
        (from, most): (i64, usize),
    ) -> Result<(RecordBatch, i64), Refusal> {
        let seen = broker.log(input(partition))?.read_uncommitted(from, most)?;
        Ok(self.batch(partition, seen))
    }

    fn batch(&self, partition: usize, seen: Visible<'_, Rec>) -> (RecordBatch, i64) {
        let mut batch = RecordBatch::default();
        for (offset, record) in seen.records {
            let Rec::In(item) = record else { continue };
            let item = &self.items[partition][*item];
            let at = (Offset::new(offset).unwrap(), item.timestamp.map(Timestamp));
            let text = item.deadline_ms.map(|deadline| deadline.to_string());
            let header = text
                .as_ref()
                .map(|text| (DEADLINE_HEADER, Some(text.as_bytes())));
            let key = Some(item.series.as_bytes());
            batch.push(at, key, item.value.as_deref(), header);
        }
        (batch, seen.next)
    }
}

fn item(step: records::Step, expiring: bool, random: &mut Random) -> Item {
    let value = match random.below(50) {
        0 => None,
        1 => Some(vec![0xff; 9]),
        _ => Some(encode(&step)),
    };
    let deadline_ms = (expiring && random.one_in(3)).then(|| random.int(0, 120_000));
    Item {
        timestamp: step.timestamp,
        series: step.series,
        value,
        deadline_ms,
    }
}

/// Avro, by hand: a text, a nullable time, nullable doubles.
fn encode(step: &records::Step) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48);
    long(i64::try_from(step.series.len()).unwrap(), &mut bytes);
    bytes.extend_from_slice(step.series.as_bytes());
    match step.time {
        None => bytes.push(0),
        Some(time) => {
            bytes.push(2);
            long(time, &mut bytes);
        }
    }
    for cell in &step.cells {
        match cell {
            None => bytes.push(0),
            Some(cell) => {
                bytes.push(2);
                bytes.extend_from_slice(&cell.to_le_bytes());
            }
        }
    }
    bytes
}

fn long(value: i64, bytes: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

const FEATURES: [&str; 3] = ["a", "b", "c"];

/// The decoder of records with so many features; parsing its schema would cost a seed's time.
fn decoder(features: usize) -> Decoder {
    static DECODERS: OnceLock<Vec<Decoder>> = OnceLock::new();
    let decoders = DECODERS.get_or_init(|| (1..=FEATURES.len()).map(new_decoder).collect());
    decoders[features - 1].clone()
}

fn new_decoder(features: usize) -> Decoder {
    let features = &FEATURES[..features];
    let mut fields = String::new();
    for name in features {
        write!(fields, r#",{{"name":"{name}","type":["null","double"]}}"#).unwrap();
    }
    let time = r#"["null",{"type":"long","logicalType":"timestamp-millis"}]"#;
    let text = format!(
        r#"{{"type":"record","name":"Observation","fields":[{{"name":"series","type":"string"}},{{"name":"time","type":{time}}}{fields}]}}"#
    );
    let schema = WriterSchema::parse(&text, Path::new("simulation.avsc")).unwrap();
    let projection = Projection {
        series: "series".to_owned(),
        time: "time".to_owned(),
        time_unit: None,
        features: features.iter().map(|&name| name.to_owned()).collect(),
    };
    let config = DecoderConfig {
        projection,
        value_bytes_max: VALUE_BYTES_MAX,
    };
    Decoder::new(config, WireFormat::Datum { schema }).unwrap()
}

/// What comes of a folded record: its outcome, and an output where it has one.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) outcome: Outcome,
    pub(crate) output: Option<(Destination, Vec<u8>)>,
}

/// Stands in for the model: the forecast is the window itself, so that any other window shows.
/// `now_ms` is the wall clock, `None` for the straight run, which emits everything.
pub(crate) fn make(
    (step, stepped): (&Step, &Stepped),
    record: &Record<'_>,
    partition: usize,
    now_ms: Option<i64>,
) -> Made {
    let mut value = Vec::with_capacity(64);
    value.push(u8::try_from(partition).unwrap());
    value.extend_from_slice(&record.offset.get().to_le_bytes());
    let done = |outcome| Made {
        outcome,
        output: None,
    };
    match Folded::of(stepped.end.clone()).unwrap() {
        Folded::Done(outcome) => done(outcome),
        Folded::Refused { rejection, .. } => {
            value.extend_from_slice(rejection.label().as_bytes());
            Made {
                outcome: Outcome::Rejected(rejection),
                output: Some((Destination::DeadLetters, value)),
            }
        }
        Folded::Newest(series) => {
            let Some(window) = step.window(series) else {
                return done(Outcome::Folded);
            };
            let config = step.windows().config();
            let length = config.settings().length;
            let features: Vec<usize> = (0..config.features()).collect();
            let mut cells = vec![0.0; length * features.len()];
            let Some(imputed) = window.complete(length, &features, None, &mut cells) else {
                return done(Outcome::Folded);
            };
            let late =
                deadline(record).is_some_and(|deadline| now_ms.is_some_and(|now| deadline.0 < now));
            if late {
                return done(Outcome::Expired);
            }
            value.extend_from_slice(&window.newest().0.to_le_bytes());
            value.extend_from_slice(&imputed.to_le_bytes());
            value.push(u8::from(step.is_partial(&window)));
            value.extend_from_slice(&window.hash().to_le_bytes());
            for cell in cells {
                value.extend_from_slice(&cell.to_bits().to_le_bytes());
            }
            value.extend_from_slice(window.series().as_bytes());
            Made {
                outcome: Outcome::Forecast,
                output: Some((Destination::Forecasts, value)),
            }
        }
    }
}

/// An output as the cluster keeps it. The record of a gap has no value, and says all in its headers.
pub(crate) fn kept(output: &Output<'_>) -> Box<[u8]> {
    if !output.value.is_empty() {
        return output.value.into();
    }
    let number = |wanted: &str| {
        let mut headers = output.headers();
        let (_, text) = headers.find(|(name, _)| *name == wanted).unwrap();
        std::str::from_utf8(text.unwrap()).unwrap().parse().unwrap()
    };
    let partition = usize::try_from(number(SOURCE_PARTITION_HEADER)).unwrap();
    gap_record(
        partition,
        (number(SOURCE_OFFSET_HEADER), number(GAP_END_HEADER)),
    )
}

/// What is kept of the record of a gap.
pub(crate) fn gap_record(partition: usize, (from, to): (i64, i64)) -> Box<[u8]> {
    let mut value = vec![u8::try_from(partition).unwrap()];
    value.extend_from_slice(&from.to_le_bytes());
    value.extend_from_slice(b"gap");
    value.extend_from_slice(&to.to_le_bytes());
    value.into()
}

/// Where an output goes: forecasts by their series, whose name ends the value.
pub(crate) fn place(destination: Destination, value: &[u8]) -> usize {
    match destination {
        Destination::Forecasts => usize::from(value.last().is_some_and(|last| last % 2 == 1)),
        Destination::DeadLetters => 2,
    }
}

/// Partition and offset of the record that an output came from.
pub(crate) fn source(value: &[u8]) -> (usize, i64) {
    let offset = value[1..9].try_into().unwrap();
    (usize::from(value[0]), i64::from_le_bytes(offset))
}
