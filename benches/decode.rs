//! Nanoseconds and allocations per record: our decoder, the libraries it was chosen from, and the
//! forecast encoder. `docs/adr/0001-avro-decoder.md` has the figures.
//!
//! Every case ends with the same projection: series, time and the wanted numbers as f64. The
//! divan columns are per batch of [`ROWS`] records; the items column is records per second.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a benchmark that cannot go on has no result"
)]

use std::{fmt::Write as _, path::Path};

use apache_avro::{
    reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use arrow_array::{
    Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow_avro::{
    reader::ReaderBuilder,
    schema::{AvroSchema, SchemaStore},
};
use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use foretell::decode::{
    Decoder, DecoderConfig, Projection, SchemaFolder, VALUE_BYTES_MAX, WireFormat, WriterSchema,
};
use foretell::{
    domain::{Forecast, ModelName, Offset, PartitionId, Quantile, Source, Target, Timestamp},
    produce::{ForecastEncoder, ForecastFormat},
};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Records per measured batch.
const ROWS: usize = 1_000;

const OBSERVATION: &str = include_str!("../schemas/observation.avsc");

const SAMPLE: [f64; 11] = [
    174_876_888.0,
    1_856_888.0,
    10_229.0,
    15.332_298_145_449_199,
    87.157_688_377_029_74,
    14.981_496_960_486_323,
    49.989_484_126_984_124,
    0.029_681_166_666_666_665,
    4.497_697_614_787_347_5e-8,
    0.000_540_666_666_666_666_7,
    3.143_297_486_772_487e-8,
];

/// A schema, which of its fields are wanted, and values in single-object encoding.
struct Case {
    schema: String,
    features: Vec<String>,
    values: Vec<Vec<u8>>,
}

fn main() {
    divan::main();
}

/// The sample data's observation, all 11 features.
fn observation() -> Case {
    let features: Vec<_> = fields(OBSERVATION).into_iter().skip(2).collect();
    let row = |row: usize| {
        let mut record = vec![series(row), time(row)];
        record.extend(
            features
                .iter()
                .zip(SAMPLE)
                .map(|(name, value)| (name.clone(), Value::Union(1, Value::Double(value).into()))),
        );
        record
    };
    Case {
        values: encode(OBSERVATION, row),
        schema: OBSERVATION.to_owned(),
        features,
    }
}

/// A record of 40 fields of several types, of which 3 are features that we want.
fn wide() -> Case {
    let mut text = r#"{"type":"record","name":"Wide","fields":[{"name":"series","type":"string"},
        {"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}}"#
        .to_owned();
    let types = [
        r#"["null","double"]"#,
        r#""string""#,
        r#""long""#,
        r#""double""#,
        r#""int""#,
    ];
    for field in 0..38 {
        write!(
            text,
            r#",{{"name":"f{field}","type":{}}}"#,
            types[field % types.len()]
        )
        .unwrap();
    }
    text.push_str("]}");
    let row = |row: usize| {
        let mut record = vec![series(row), time(row)];
        record.extend((0..38).map(|field| {
            let value = match field % types.len() {
                0 => Value::Union(1, Value::Double(SAMPLE[field % 11]).into()),
                1 => Value::String("a string of some length".to_owned()),
                2 => Value::Long(1_522_252_560_000),
                3 => Value::Double(SAMPLE[field % 11]),
                _ => Value::Int(10_229),
            };
            (format!("f{field}"), value)
        }));
        record
    };
    Case {
        values: encode(&text, row),
        features: ["f5", "f18", "f35"].map(str::to_owned).to_vec(),
        schema: text,
    }
}

fn parse(schema: &str) -> WriterSchema {
    WriterSchema::parse(schema, Path::new("bench")).unwrap()
}

fn fields(schema: &str) -> Vec<String> {
    parse(schema)
        .fields()
        .iter()
        .map(|field| field.name.to_string())
        .collect()
}

fn series(row: usize) -> (String, Value) {
    (
        "series".to_owned(),
        Value::String(format!("cell-{}", row % 100)),
    )
}

fn time(row: usize) -> (String, Value) {
    let time = 1_522_252_560_000 + 120_000 * i64::try_from(row).unwrap();
    ("time".to_owned(), Value::TimestampMillis(time))
}

fn encode(text: &str, row: impl Fn(usize) -> Vec<(String, Value)>) -> Vec<Vec<u8>> {
    let schema = apache_avro::Schema::parse_str(text).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    // Not apache-avro's own fingerprint, which is another one where there are logical types.
    let fingerprint = parse(text).fingerprint().0.to_le_bytes();
    (0..ROWS)
        .map(|index| {
            let mut value = [&[0xc3, 0x01], &fingerprint[..]].concat();
            writer
                .write_value(&mut value, Value::Record(row(index)))
                .unwrap();
            value
        })
        .collect()
}

fn ours(bencher: Bencher<'_, '_>, case: &Case) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("case.avsc"), &case.schema).unwrap();
    let config = DecoderConfig {
        projection: Projection {
            series: "series".to_owned(),
            time: "time".to_owned(),
            time_unit: None,
            features: case.features.clone(),
        },
        value_bytes_max: VALUE_BYTES_MAX,
    };
    let schemas = SchemaFolder::load(folder.path()).unwrap();
    let mut decoder = Decoder::new(config, WireFormat::SingleObject { schemas }).unwrap();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        for value in &case.values {
            let reading = decoder.decode(divan::black_box(value)).unwrap();
            divan::black_box(reading);
        }
    });
}

/// The generic value, then the projection.
fn apache(bencher: Bencher<'_, '_>, case: &Case) {
    let schema = apache_avro::Schema::parse_str(&case.schema).unwrap();
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let mut cells = vec![None; case.features.len()];
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        for value in &case.values {
            let Ok(Value::Record(record)) = reader.read_value(&mut divan::black_box(&value[10..]))
            else {
                panic!("not a record")
            };
            let (mut series, mut time) = (String::new(), None);
            for (name, field) in record {
                match (&*name, field) {
                    ("series", Value::String(text)) => series = text,
                    ("time", Value::TimestampMillis(millis)) => time = Some(millis),
                    (_, field) => {
                        let feature = case.features.iter().position(|feature| *feature == name);
                        if let Some(feature) = feature {
                            cells[feature] = number(field);
                        }
                    }
                }
            }
            divan::black_box((&cells, series, time));
        }
    });
}

fn number(value: Value) -> Option<f64> {
    match value {
        Value::Double(number) => Some(number),
        Value::Union(_, inner) => number(*inner),
        Value::Null => None,
        other => panic!("not a number: {other:?}"),
    }
}

/// A record batch of the wanted columns, then a walk over its rows.
fn arrow(bencher: Bencher<'_, '_>, case: &Case) {
    let mut store = SchemaStore::new();
    store
        .register(AvroSchema::new(case.schema.clone()))
        .unwrap();
    let names = fields(&case.schema);
    let wanted = ["series", "time"]
        .into_iter()
        .chain(case.features.iter().map(String::as_str));
    let columns = wanted.map(|field| names.iter().position(|name| name == field).unwrap());
    let mut decoder = ReaderBuilder::new()
        .with_batch_size(ROWS)
        .with_writer_schema_store(store)
        .with_projection(columns.collect())
        .build_decoder()
        .unwrap();
    let mut cells = vec![None; case.features.len()];
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        for value in &case.values {
            decoder.decode(divan::black_box(value)).unwrap();
        }
        let batch = decoder.flush().unwrap().unwrap();
        for row in 0..batch.num_rows() {
            divan::black_box(arrow_row(&batch, row, &mut cells));
            divan::black_box(&cells);
        }
    });
}

fn arrow_row<'b>(batch: &'b RecordBatch, row: usize, cells: &mut [Option<f64>]) -> (&'b str, i64) {
    for (cell, column) in cells.iter_mut().zip(&batch.columns()[2..]) {
        let column = column.as_any().downcast_ref::<Float64Array>().unwrap();
        *cell = column.is_valid(row).then(|| column.value(row));
    }
    let series = batch
        .column(0)
        .as_any()
        .downcast_ref::<StringArray>()
        .unwrap();
    let time = batch.column(1).as_any();
    let time = time
        .downcast_ref::<TimestampMillisecondArray>()
        .map_or_else(
            || time.downcast_ref::<Int64Array>().unwrap().value(row),
            |times| times.value(row),
        );
    (series.value(row), time)
}

/// How fast it could be: code for this one schema, which gives up at anything unusual.
#[divan::bench]
fn observation_floor(bencher: Bencher<'_, '_>) {
    let case = observation();
    let mut cells = [None; 11];
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        for value in &case.values {
            let reading = by_hand(divan::black_box(&value[10..]), &mut cells).unwrap();
            divan::black_box(reading);
            divan::black_box(&cells);
        }
    });
}

fn by_hand<'a>(mut datum: &'a [u8], cells: &mut [Option<f64>; 11]) -> Option<(&'a str, i64)> {
    let series = usize::try_from(long(&mut datum)?).ok()?;
    let series = std::str::from_utf8(datum.split_off(..series)?).ok()?;
    let time = long(&mut datum)?;
    for cell in cells {
        *cell = match long(&mut datum)? {
            0 => None,
            1 => {
                let (bytes, rest) = datum.split_first_chunk()?;
                datum = rest;
                Some(f64::from_le_bytes(*bytes))
            }
            _ => return None,
        };
    }
    datum.is_empty().then_some((series, time))
}

fn long(datum: &mut &[u8]) -> Option<i64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = datum.split_first()?;
        *datum = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
        shift += 7;
    }
}

#[divan::bench]
fn observation_ours(bencher: Bencher<'_, '_>) {
    ours(bencher, &observation());
}

#[divan::bench]
fn observation_apache_avro(bencher: Bencher<'_, '_>) {
    apache(bencher, &observation());
}

#[divan::bench]
fn observation_arrow_avro(bencher: Bencher<'_, '_>) {
    arrow(bencher, &observation());
}

#[divan::bench]
fn wide_ours(bencher: Bencher<'_, '_>) {
    ours(bencher, &wide());
}

#[divan::bench]
fn wide_apache_avro(bencher: Bencher<'_, '_>) {
    apache(bencher, &wide());
}

#[divan::bench]
fn wide_arrow_avro(bencher: Bencher<'_, '_>) {
    arrow(bencher, &wide());
}

/// A forecast of 12 steps for 3 targets, without and with 2 quantiles, appended to one buffer.
#[divan::bench(args = [0, 2])]
fn forecast_encode(bencher: Bencher<'_, '_>, quantiles: usize) {
    let values = [SAMPLE[3]; 12];
    let quantiles = vec![
        Quantile {
            level: 0.5,
            values: &values
        };
        quantiles
    ];
    let target = |name| Target {
        name,
        mean: &values,
        quantiles: &quantiles,
    };
    let forecast = Forecast {
        series: "cell-17",
        origin: Timestamp(1_522_252_560_000),
        step_ms: 120_000,
        targets: &["down", "up", "rnti_count"].map(target),
        model: ModelName {
            name: "traffic",
            version: "2026-11-23.1",
            digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        },
        source: Source {
            topic: "observations",
            partition: PartitionId(7),
            offset: Offset::new(123_456_789).unwrap(),
        },
        imputed: 3,
        partial: false,
        window_hash: -1_234_567_890_123_456_789,
    };
    let encoder = ForecastEncoder::new(ForecastFormat::SingleObject);
    let mut out = Vec::with_capacity(1 << 21);
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        out.clear();
        for _ in 0..ROWS {
            encoder.encode(divan::black_box(&forecast), &mut out);
        }
        divan::black_box(&out);
    });
}
