//! Observations made up for load, written with `apache-avro` so that no code of ours encodes what
//! our code decodes.
//!
//! They have a writer schema of their own: the worker must find the fields in it by their names.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

use crate::cluster::NewRecord;

const SCHEMA: &str = r#"{
  "type": "record", "name": "CellLoad", "namespace": "tests",
  "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "note", "type": ["null", "string"], "default": null},
    {"name": "down", "type": ["null", "double"]},
    {"name": "up", "type": "float"},
    {"name": "rnti_count", "type": "long"},
    {"name": "series", "type": "string"}
  ]
}"#;

/// The type of its time.
const TIME: &str = r#"{"type": "long", "logicalType": "timestamp-micros"}"#;

/// Distance between two observations of a series, as `config/foretell.toml` has it.
pub const STEP_MS: i64 = 120_000;
/// The numeric fields of an observation that the load has.
pub const FEATURES: [&str; 3] = ["down", "up", "rnti_count"];
/// On the grid; 2018-04-03 11:40:00 UTC.
pub const START_MS: i64 = 1_522_755_600_000;

/// Encodes observations in Avro single-object encoding.
#[derive(Debug)]
pub struct Observations {
    schema: Schema,
    fingerprint: Vec<u8>,
}

impl Observations {
    pub fn new() -> Result<Self> {
        let schema = Schema::parse_str(SCHEMA)?;
        // The canonical form has no logical types, but apache-avro 0.22 leaves {"type":"long"} where
        // the specification and fastavro say "long"; without the logical type it agrees with them.
        let plain = Schema::parse_str(&SCHEMA.replace(TIME, r#""long""#))?;
        let fingerprint = plain.fingerprint::<Rabin>().bytes;
        Ok(Self {
            schema,
            fingerprint,
        })
    }

    /// The writer schema, for a registry.
    pub fn schema() -> &'static str {
        SCHEMA
    }

    /// Writes the schema into a worker's schema folder.
    pub fn publish_schema(folder: &Path) -> Result<()> {
        fs::write(folder.join("cell_load.avsc"), SCHEMA)?;
        Ok(())
    }

    /// The bytes of one observation.
    pub fn encode(&self, series: &str, time_ms: i64, cells: Cells) -> Result<Vec<u8>> {
        self.encode_noted((series, time_ms), cells, None)
    }

    fn encode_noted(
        &self,
        (series, time_ms): (&str, i64),
        cells: Cells,
        note: Option<&str>,
    ) -> Result<Vec<u8>> {
        let note = match note {
            Some(note) => Value::Union(1, Box::new(Value::String(note.to_owned()))),
            None => Value::Union(0, Box::new(Value::Null)),
        };
        let down = match cells.down {
            Some(down) => Value::Union(1, Box::new(Value::Double(down))),
            None => Value::Union(0, Box::new(Value::Null)),
        };
        let record = Value::Record(vec![
            ("time".to_owned(), Value::TimestampMicros(time_ms * 1000)),
            ("note".to_owned(), note),
            ("down".to_owned(), down),
            ("up".to_owned(), Value::Float(cells.up)),
            ("rnti_count".to_owned(), Value::Long(cells.rnti_count)),
            ("series".to_owned(), Value::String(series.to_owned())),
        ]);
        let mut bytes = vec![0xC3, 0x01];
        bytes.extend_from_slice(&self.fingerprint);
        let datum = GenericDatumWriter::builder(&self.schema).build()?;
        bytes.extend(datum.write_value_to_vec(record)?);
        Ok(bytes)
    }

    /// The record of one observation, keyed by its series, its timestamp the observation's time.
    pub fn record(&self, series: &str, time_ms: i64, cells: Cells) -> Result<NewRecord> {
        Ok(NewRecord {
            key: Some(series.as_bytes().to_vec()),
            value: Some(self.encode(series, time_ms, cells)?),
            timestamp_ms: time_ms,
        })
    }

    /// The same with a note in it, which no worker reads: it makes the record long.
    pub fn record_noted(
        &self,
        (series, time_ms): (&str, i64),
        cells: Cells,
        note: &str,
    ) -> Result<NewRecord> {
        let value = self.encode_noted((series, time_ms), cells, Some(note))?;
        Ok(NewRecord {
            value: Some(value),
            ..self.record(series, time_ms, cells)?
        })
    }
}

/// The values of one observation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cells {
    pub down: Option<f64>,
    pub up: f32,
    pub rnti_count: i64,
}

impl Cells {
    /// Values that differ for every series and step, so that a mix-up shows.
    pub fn of(series: u32, step: u32) -> Self {
        let mixed = (series.wrapping_mul(2_654_435_761) ^ step.wrapping_mul(40_503)) % 100_003;
        // Now and then a missing value: imputation is part of what must not differ.
        let missing = mixed.is_multiple_of(53);
        Self {
            down: (!missing).then(|| 1.0e6 * f64::from(mixed)),
            up: f32::from(u16::try_from(mixed % 60_000).unwrap_or(0)) * 100.0,
            rnti_count: i64::from(mixed % 9_000),
        }
    }
}

/// What stands before a datum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frame {
    #[default]
    SingleObject,
    /// A zero byte and this schema id.
    Confluent(u32),
    /// There is no record.
    LeftOut,
}

impl Frame {
    fn put(self, mut record: NewRecord) -> Option<NewRecord> {
        match self {
            Self::SingleObject => Some(record),
            Self::Confluent(id) => {
                let frame = [&[0][..], &id.to_be_bytes()].concat();
                record.value.as_mut()?.splice(..10, frame);
                Some(record)
            }
            Self::LeftOut => None,
        }
    }
}

/// Steps of load for a number of series, in order.
#[derive(Debug)]
pub struct Load {
    observations: Observations,
    series: u32,
    steps: u32,
    frame: Frame,
    /// Series whose records are framed in another way.
    other_frames: BTreeMap<u32, Frame>,
}

impl Load {
    pub fn new(series: u32) -> Result<Self> {
        Ok(Self {
            observations: Observations::new()?,
            series,
            steps: 0,
            frame: Frame::default(),
            other_frames: BTreeMap::new(),
        })
    }

    /// Frames the records of all series so from the next step on.
    pub fn frame(&mut self, frame: Frame) {
        self.frame = frame;
        self.other_frames.clear();
    }

    /// Frames the records of one series so from the next step on.
    pub fn frame_one(&mut self, series: u32, frame: Frame) {
        self.other_frames.insert(series, frame);
    }

    pub fn series(&self) -> u32 {
        self.series
    }

    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// Before the number of a series.
    pub const PREFIX: &str = "cell-";

    pub fn name(series: u32) -> String {
        format!("{}{series}", Self::PREFIX)
    }

    /// How many of the steps made so far complete a window of `length` slots, where a missing value
    /// may be taken from at most `gap_max` slots back.
    pub fn due(&self, series: u32, length: u32, gap_max: u32) -> usize {
        self.due_since(0, series, length, gap_max)
    }

    /// As [`Self::due`], where only the steps from `first` on are left.
    pub fn due_since(&self, first: u32, series: u32, length: u32, gap_max: u32) -> usize {
        Self::due_within(&(first..self.steps), series, length, gap_max)
    }

    /// As [`Self::due`], where these steps are all that there are.
    pub fn due_within(steps: &Range<u32>, series: u32, length: u32, gap_max: u32) -> usize {
        let present = |step: u32| step >= steps.start && Cells::of(series, step).down.is_some();
        let usable = |step: u32| (step.saturating_sub(gap_max)..=step).any(present);
        let newest = (steps.start + length).saturating_sub(1)..steps.end;
        newest
            .filter(|&step| (step + 1 - length..=step).all(usable))
            .count()
    }

    /// The next step of every series.
    pub fn next_step(&mut self) -> Result<Vec<NewRecord>> {
        let step = self.steps;
        self.steps += 1;
        let time = START_MS + i64::from(step) * STEP_MS;
        let records = (0..self.series).map(|series| {
            let name = Self::name(series);
            let record = self
                .observations
                .record(&name, time, Cells::of(series, step))?;
            let frame = self.other_frames.get(&series).unwrap_or(&self.frame);
            Ok(frame.put(record))
        });
        records.filter_map(Result::transpose).collect()
    }
}
