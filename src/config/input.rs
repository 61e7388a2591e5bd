//! `[input]`: how a record becomes an observation, where the first start begins, and how much may
//! wait in memory.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::domain::Timestamp;

use super::reader::Section;
use super::{dump, kind};

/// How observations are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub format: InputFormat,
    /// Name of the record's field that holds the series.
    pub series_field: String,
    /// Name of the record's field that holds the time.
    pub time_field: String,
    /// Unit of a time that the schema declares as a plain long.
    pub time_unit: Option<TimeUnit>,
    /// Longer values are rejected unread.
    pub value_bytes_max: NonZeroUsize,
    /// Where a partition without a committed offset begins.
    pub start: Start,
    pub on_gap: OnGap,
    pub queue: Queue,
}

/// The framing of a value, and where its writer schema comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputFormat {
    /// Avro single-object encoding: `C3 01`, a fingerprint, the datum.
    SingleObject { schema_folder: PathBuf },
    /// A bare Avro datum, all of one schema.
    Datum { schema: PathBuf },
    /// A zero byte, a schema id, the datum; schemas are in the registry.
    Confluent,
}

/// Unit of a number of time units since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// Where the first start begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// The first record whose timestamp is not before this.
    At(Timestamp),
}

/// What is done where records were deleted before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGap {
    /// The worker ends, and nothing is skipped.
    Stop,
    /// The partition goes on at the start of the log, and the gap is recorded.
    Skip,
}

/// Bounds of the queue between the poll thread and a partition's lane. At a high mark the partition
/// is paused, below the low mark it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub records_high: NonZeroUsize,
    pub records_low: usize,
    pub bytes_high: NonZeroUsize,
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    SingleObject,
    Datum,
    Confluent,
}

const FORMATS: [(&str, Format); 3] = [
    ("single_object", Format::SingleObject),
    ("datum", Format::Datum),
    ("confluent", Format::Confluent),
];

const TIME_UNITS: [(&str, TimeUnit); 4] = [
    ("seconds", TimeUnit::Seconds),
    ("milliseconds", TimeUnit::Milliseconds),
    ("microseconds", TimeUnit::Microseconds),
    ("nanoseconds", TimeUnit::Nanoseconds),
];

const ON_GAP: [(&str, OnGap); 2] = [("stop", OnGap::Stop), ("skip", OnGap::Skip)];

impl Input {
    /// The default `message.max.bytes` of a Kafka broker, about, and so the most that most topics hold.
    const VALUE_BYTES: NonZeroUsize = NonZeroUsize::MIN.saturating_add((1 << 20) - 1);
    /// librdkafka refuses to fetch a larger message.
    const VALUE_BYTES_MAX: usize = 100 << 20;
    const FIELD_BYTES_MAX: usize = 256;

    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let format = format(section);
        let series_field = section.or("series_field", "series".to_owned(), &field());
        let time_field = section.or("time_field", "time".to_owned(), &field());
        let time_unit = section.optional("time_unit", &kind::choice(&TIME_UNITS));
        let value_bytes_max = section.or(
            "value_bytes_max",
            Self::VALUE_BYTES,
            &kind::size(64..=Self::VALUE_BYTES_MAX),
        );
        let start = section.or("start", Start::Earliest, &start());
        let on_gap = section.or("on_gap", OnGap::Stop, &kind::choice(&ON_GAP));
        let queue = Queue::read(section);
        if let (Some(series), Some(time)) = (&series_field, &time_field)
            && series == time
        {
            section
                .reader()
                .refuse("input.time_field", "must not be the series field");
        }
        if let (Some(value), Some(queue)) = (value_bytes_max, queue)
            && queue.bytes_high < value
        {
            section.reader().refuse(
                "input.queue_bytes_high",
                "must be at least input.value_bytes_max, or the largest value never fits",
            );
        }
        Some(Self {
            format: format?,
            series_field: series_field?,
            time_field: time_field?,
            time_unit: time_unit?,
            value_bytes_max: value_bytes_max?,
            start: start?,
            on_gap: on_gap?,
            queue: queue?,
        })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            format,
            series_field,
            time_field,
            time_unit,
            value_bytes_max,
            start,
            on_gap,
            queue,
        } = self;
        let (wire_format, schema) = match format {
            InputFormat::SingleObject { schema_folder } => {
                (Format::SingleObject, Some(("schema_folder", schema_folder)))
            }
            InputFormat::Datum { schema } => (Format::Datum, Some(("schema", schema))),
            InputFormat::Confluent => (Format::Confluent, None),
        };
        let mut table = dump::table([
            ("wire_format", dump::choice(&FORMATS, wire_format)),
            ("series_field", series_field.clone().into()),
            ("time_field", time_field.clone().into()),
            ("value_bytes_max", dump::size(value_bytes_max.get())),
            ("start", start.dump()),
            ("on_gap", dump::choice(&ON_GAP, *on_gap)),
            ("queue_records_high", dump::count(queue.records_high.get())),
            ("queue_records_low", dump::count(queue.records_low)),
            ("queue_bytes_high", dump::size(queue.bytes_high.get())),
        ]);
        if let Some((key, file)) = schema {
            table.insert(key.to_owned(), dump::path(file));
        }
        if let Some(unit) = time_unit {
            table.insert("time_unit".to_owned(), dump::choice(&TIME_UNITS, *unit));
        }
        table
    }
}

impl Queue {
    /// Well above what one fetch of a partition brings: a pause throws away what was fetched ahead, and
    /// the CPU that went into it.
    const RECORDS_HIGH: NonZeroUsize = NonZeroUsize::MIN.saturating_add((32 << 10) - 1);
    const RECORDS_LOW: usize = 8192;
    const RECORDS_MAX: usize = 1_000_000;
    const BYTES_HIGH: NonZeroUsize = NonZeroUsize::MIN.saturating_add((8 << 20) - 1);
    const BYTES_MAX: usize = 1 << 30;

    fn read(section: &mut Section<'_>) -> Option<Self> {
        let high = section.or(
            "queue_records_high",
            Self::RECORDS_HIGH,
            &kind::positive(Self::RECORDS_MAX),
        );
        let low = section.or(
            "queue_records_low",
            Self::RECORDS_LOW,
            &kind::count(0..=Self::RECORDS_MAX),
        );
        let bytes = section.or(
            "queue_bytes_high",
            Self::BYTES_HIGH,
            &kind::size(1024..=Self::BYTES_MAX),
        );
        if let (Some(high), Some(low)) = (high, low)
            && low >= high.get()
        {
            let problem = format!("must be below input.queue_records_high, which is {high}");
            section.reader().refuse("input.queue_records_low", problem);
        }
        Some(Self {
            records_high: high?,
            records_low: low?,
            bytes_high: bytes?,
        })
    }

    /// Bytes below which a partition that was paused for its bytes is resumed: the same share of the
    /// high mark as for records.
    pub fn bytes_low(&self) -> usize {
        let share = self.bytes_high.get() / self.records_high.get();
        share.saturating_mul(self.records_low)
    }
}

impl Start {
    fn dump(self) -> toml::Value {
        match self {
            Self::Earliest => "earliest".into(),
            Self::Latest => "latest".into(),
            Self::At(time) => jiff::Timestamp::from_millisecond(time.0)
                .map_or_else(|_| String::new(), |time| time.to_string())
                .into(),
        }
    }
}

fn start<'k>() -> kind::Kind<'k, Start> {
    let allowed =
        "\"earliest\", \"latest\" or an RFC 3339 time with offset such as \"2026-01-31T00:00:00Z\"";
    kind::Kind::new(allowed, |value| match kind::text_of(value)? {
        "earliest" => Some(Start::Earliest),
        "latest" => Some(Start::Latest),
        time => {
            let time: jiff::Timestamp = time.parse().ok()?;
            Some(Start::At(Timestamp(time.as_millisecond())))
        }
    })
}

fn format(section: &mut Section<'_>) -> Option<InputFormat> {
    let base = section.reader().base();
    let format = section.or("wire_format", Format::SingleObject, &kind::choice(&FORMATS));
    let folder = section.optional("schema_folder", &kind::path(&base));
    let schema = section.optional("schema", &kind::path(&base));
    let reader = section.reader();
    match (format?, folder?, schema?) {
        (Format::SingleObject, Some(schema_folder), None) => {
            Some(InputFormat::SingleObject { schema_folder })
        }
        (Format::Datum, None, Some(schema)) => Some(InputFormat::Datum { schema }),
        (Format::Confluent, None, None) => Some(InputFormat::Confluent),
        (Format::Confluent, folder, _) => {
            let key = match folder {
                Some(_) => "input.schema_folder",
                None => "input.schema",
            };
            let problem =
                "does not go with wire_format \"confluent\": its schemas are in the registry";
            reader.refuse(key, problem);
            None
        }
        (Format::SingleObject, None, None) => {
            let problem =
                "is missing: the folder of *.avsc files that observations are written with";
            reader.refuse("input.schema_folder", problem);
            None
        }
        (Format::Datum, None, None) => {
            let problem = "is missing: wire_format \"datum\" needs the one schema of all values";
            reader.refuse("input.schema", problem);
            None
        }
        (Format::SingleObject, _, Some(_)) => {
            let problem =
                "goes with wire_format \"datum\" only; \"single_object\" takes schema_folder";
            reader.refuse("input.schema", problem);
            None
        }
        (Format::Datum, Some(_), _) => {
            let problem = "goes with wire_format \"single_object\" only; \"datum\" takes schema";
            reader.refuse("input.schema_folder", problem);
            None
        }
    }
}

/// The name of a field of an Avro record.
pub(super) fn field<'k>() -> kind::Kind<'k, String> {
    kind::text(
        "a field name: letters, digits and '_', not first a digit",
        |text| {
            (1..=Input::FIELD_BYTES_MAX).contains(&text.len())
                && !text.starts_with(|c: char| c.is_ascii_digit())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        },
    )
}
