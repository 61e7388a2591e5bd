//! What a record costs in the windows: judge and fold it, from its bytes or after they are decoded, copy a
//! model window out, find the rebuild offset of a commit. `cargo bench --bench window`; the allocations of each case are counted too.

#![expect(
    clippy::unwrap_used,
    reason = "a bench with settings that are not valid has to stop"
)]

use std::path::Path;

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use foretell::decode::{
    Decoder, DecoderConfig, Projection, VALUE_BYTES_MAX, WireFormat, WriterSchema,
};
use foretell::domain::{Grid, NextOffset, Offset, Reading, RecordBatch, Timestamp};
use foretell::partition::{Lineage, Step};
use foretell::window::{Table, WindowConfig, WindowSettings};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const STEP_MS: i64 = 120_000;
const LENGTH: usize = 64;
const GAP_MAX: usize = 3;
const FEATURES: usize = 11;
/// Records between two commits.
const BATCH: usize = 1_000;

fn main() {
    divan::main();
}

/// Series that report in turn, one step on with every round.
struct Feed {
    table: Table,
    names: Vec<String>,
    cells: Vec<Option<f64>>,
    offset: i64,
    turn: usize,
    time: i64,
}

impl Feed {
    /// A feed whose windows are full.
    fn new(series: usize) -> Self {
        let mut feed = Self::empty(series);
        feed.fold(series * (LENGTH + GAP_MAX + 1));
        feed
    }

    fn empty(series: usize) -> Self {
        let grid = Grid::new(STEP_MS, 0).unwrap();
        let mut settings = WindowSettings::new(grid, LENGTH, GAP_MAX, FEATURES);
        settings.series_max = series;
        Self {
            table: Table::new(WindowConfig::new(settings).unwrap()),
            names: (0..series).map(|number| format!("cell-{number}")).collect(),
            cells: (0..11).map(|cell| Some(f64::from(cell))).collect(),
            offset: 0,
            turn: 0,
            time: 1_700_000_000_000 / STEP_MS * STEP_MS,
        }
    }

    fn fold(&mut self, records: usize) {
        for _ in 0..records {
            let reading = Reading {
                series: &self.names[self.turn],
                time: Some(Timestamp(self.time)),
                cells: black_box(&self.cells),
            };
            let at = (Offset::new(self.offset).unwrap(), reading.time);
            black_box(self.table.fold(at, &reading));
            self.offset += 1;
            self.turn += 1;
            if self.turn == self.names.len() {
                self.turn = 0;
                self.time += STEP_MS;
            }
        }
    }
}

/// Records in order, every one of which becomes the newest row of its series.
#[divan::bench(args = [1_000, 100_000])]
fn fold(bencher: Bencher<'_, '_>, series: usize) {
    let mut feed = Feed::new(series);
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| feed.fold(BATCH));
}

/// The same with the rebuild point of a commit after every batch.
#[divan::bench(args = [1_000, 100_000])]
fn fold_and_find_the_rebuild_point(bencher: Bencher<'_, '_>, series: usize) {
    let mut feed = Feed::new(series);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        feed.fold(BATCH);
        let next = NextOffset::new(feed.offset).unwrap();
        black_box(feed.table.rebuild_point(next))
    });
}

/// Bare datums of a series, a time and eleven doubles, in batches as the poll thread hands them over.
struct Records {
    step: Step,
    feed: Feed,
    batch: RecordBatch,
}

impl Records {
    fn new(series: usize) -> Self {
        let feed = Feed::empty(series);
        let names: Vec<String> = (0..FEATURES).map(|number| format!("f{number}")).collect();
        let fields = names
            .iter()
            .map(|name| format!(r#"{{"name": "{name}", "type": "double"}}"#));
        let schema = format!(
            r#"{{"type": "record", "name": "Load", "fields": [{{"name": "series", "type": "string"}},
                {{"name": "time", "type": {{"type": "long", "logicalType": "timestamp-millis"}}}}, {}]}}"#,
            fields.collect::<Vec<_>>().join(", ")
        );
        let config = DecoderConfig {
            projection: Projection {
                series: "series".to_owned(),
                time: "time".to_owned(),
                time_unit: None,
                features: names,
            },
            value_bytes_max: VALUE_BYTES_MAX,
        };
        let schema = WriterSchema::parse(&schema, Path::new("bench.avsc")).unwrap();
        let lineage = Lineage::beginning_at(NextOffset::ZERO, 0);
        let windows = Table::new(*feed.table.config());
        let decoder = Decoder::new(config, WireFormat::Datum { schema }).unwrap();
        let mut records = Self {
            step: Step::new(decoder, windows, lineage),
            feed,
            batch: RecordBatch::default(),
        };
        for _ in 0..=LENGTH + GAP_MAX {
            records.write(series);
            records.fold();
        }
        records
    }

    /// The next records of the feed.
    fn write(&mut self, records: usize) {
        let feed = &mut self.feed;
        self.batch = RecordBatch::default();
        let mut value = Vec::new();
        for _ in 0..records {
            let name = feed.names[feed.turn].as_bytes();
            value.clear();
            long(&mut value, i64::try_from(name.len()).unwrap());
            value.extend_from_slice(name);
            long(&mut value, feed.time);
            for cell in feed.cells.iter().flatten() {
                value.extend_from_slice(&cell.to_le_bytes());
            }
            let at = (
                Offset::new(feed.offset).unwrap(),
                Some(Timestamp(feed.time)),
            );
            self.batch.push(at, Some(name), Some(&value), []);
            feed.offset += 1;
            feed.turn = (feed.turn + 1) % feed.names.len();
            feed.time += if feed.turn == 0 { STEP_MS } else { 0 };
        }
    }

    fn fold(&mut self) {
        for record in self.batch.iter() {
            black_box(self.step.fold(&record, None));
        }
    }
}

/// A long as Avro writes it: zigzag, then seven bits to a byte.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest > 0x7f {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// From the bytes to the windows, as a lane and a replay do it: decode, fold, remember the outcome.
#[divan::bench(args = [1_000, 100_000])]
fn step(bencher: Bencher<'_, '_>, series: usize) {
    let mut records = Records::new(series);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        records.write(BATCH);
        records.fold();
    });
}

/// What of that is the writing of the records.
#[divan::bench(args = [1_000, 100_000])]
fn step_without_folding(bencher: Bencher<'_, '_>, series: usize) {
    let mut records = Records::new(series);
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| records.write(BATCH));
}

/// The first record of every series: memory for its window.
#[divan::bench(args = [1_000])]
fn make_series(bencher: Bencher<'_, '_>, series: usize) {
    let feed = Feed::new(series);
    bencher
        .counter(ItemsCount::new(series))
        .with_inputs(|| Feed {
            table: Table::new(*feed.table.config()),
            names: feed.names.clone(),
            cells: feed.cells.clone(),
            ..feed
        })
        .bench_local_values(|mut empty| {
            empty.fold(series);
            empty
        });
}

/// A model window of all features, of three of them, and one with imputed cells.
#[divan::bench(args = ["all", "three", "imputed"])]
fn complete(bencher: Bencher<'_, '_>, case: &str) {
    let mut feed = Feed::new(1);
    if case == "imputed" {
        feed.cells[4] = None;
        feed.fold(1);
        feed.cells[4] = Some(4.0);
        feed.fold(LENGTH / 2);
    }
    let features: Vec<usize> = match case {
        "three" => vec![2, 5, 7],
        _ => (0..FEATURES).collect(),
    };
    let mut out = vec![0.0; LENGTH * features.len()];
    let window = feed.table.window_of("cell-0").unwrap();
    bencher
        .counter(BytesCount::of_slice(&out))
        .bench_local(|| black_box(window.complete(LENGTH, &features, None, &mut out)));
}
