//! A real lane, fed through its queues and read where the committer would read.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use foretell::config::Environment;
use foretell::consume::{QueueLimits, QueueSender, queue};
use foretell::decode::{
    Decoder, DecoderConfig, Projection, SchemaFolder, VALUE_BYTES_MAX, WireFormat,
};
use foretell::domain::{Epoch, Grid, NextOffset, Offset, PartitionId, RecordBatch, Timestamp};
use foretell::infer::{Batching, Forecaster, Package, Places, Runtime, WindowFeatures, check};
use foretell::models::Slot;
use foretell::partition::{
    Lane, LaneCommand, LaneSettings, Lineage, OutputSettings, Pulse, Rescue, Serving, ServingModel,
    Step,
};
use foretell::produce::{CommitterInput, ForecastEncoder, OutputBatch, Room};
use foretell::registry::Schemas;
use foretell::telemetry::{HoldCount, metrics};
use foretell::window::{Table, WindowConfig, WindowSettings};
use tokio::sync::{Notify, mpsc};

use crate::avro::FEATURES;
pub(crate) use crate::sent::{Sent, Whole, sent, whole};

pub(crate) const TOPIC: &str = "observations";
pub(crate) const STEP_MS: i64 = 120_000;
/// The wall clock of every lane.
pub(crate) const NOW: Timestamp = Timestamp(1_600_000_000_000);
pub(crate) const CONFIG_HASH: u64 = 0x5eed;

/// The queues of the tests never pause anything.
pub(crate) const LIMITS: QueueLimits = QueueLimits {
    records_high: usize::MAX,
    records_low: usize::MAX,
    bytes_high: usize::MAX,
    bytes_low: usize::MAX,
};

pub(crate) fn next(offset: i64) -> NextOffset {
    NextOffset::new(offset).unwrap()
}

/// One record of the input topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
}

pub(crate) fn batch(inputs: &[Input]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for input in inputs {
        let at = (
            Offset::new(input.offset).unwrap(),
            input.timestamp.map(Timestamp),
        );
        let headers = input.headers.iter();
        let copied = headers.map(|(name, value)| (*name, Some(value.as_slice())));
        batch.push(at, input.key.as_deref(), input.value.as_deref(), copied);
    }
    batch
}

/// `SplitMix64` (Steele, Lea, Flood 2014): a seed gives the same records everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn int(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(usize::try_from(to - from + 1).unwrap())).unwrap()
    }
}

/// The inputs in record batches of random sizes.
pub(crate) fn chunks(inputs: &[Input], longest: usize, random: &mut Random) -> Vec<RecordBatch> {
    let mut rest = inputs;
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let (first, more) = rest.split_at((1 + random.below(longest)).min(rest.len()));
        batches.push(batch(first));
        rest = more;
    }
    batches
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn decoder() -> Decoder {
    let schemas = SchemaFolder::load(&project("schemas")).unwrap();
    decoder_of(WireFormat::SingleObject { schemas })
}

pub(crate) fn decoder_of(format: WireFormat) -> Decoder {
    let projection = Projection {
        series: "series".to_owned(),
        time: "time".to_owned(),
        time_unit: None,
        features: FEATURES.map(str::to_owned).to_vec(),
    };
    let config = DecoderConfig {
        projection,
        value_bytes_max: VALUE_BYTES_MAX,
    };
    Decoder::new(config, format).unwrap()
}

/// Windows of the sample's step that keep [`FEATURES`].
pub(crate) fn settings(length: usize, gap_max: usize) -> WindowSettings {
    let grid = Grid::new(STEP_MS, 0).unwrap();
    WindowSettings::new(grid, length, gap_max, FEATURES.len())
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let environment = Environment::process();
        let path = |name: &str| environment.get(name).map(PathBuf::from);
        let places = Places {
            ort_dylib_path: path("ORT_DYLIB_PATH"),
            executable: None,
            foretell_cache: path("FORETELL_CACHE"),
            xdg_cache_home: path("XDG_CACHE_HOME"),
            home: path("HOME"),
        };
        Runtime::load(&places.candidates()).unwrap()
    })
}

/// A package of this project and how its rows may be run, found out once as the worker does.
fn checked(path: &str) -> (Arc<Package>, Batching) {
    static CHECKED: Mutex<BTreeMap<String, (Arc<Package>, Batching)>> = Mutex::new(BTreeMap::new());
    let mut checked = CHECKED.lock().unwrap();
    let (package, batching) = checked.entry(path.to_owned()).or_insert_with(|| {
        let package = Package::read(&project(path)).unwrap();
        let now = || tokio::time::Instant::now().into_std();
        let found = check(runtime(), &package, now, |_| {}).unwrap();
        (package, found.batching)
    });
    (Arc::clone(package), *batching)
}

/// A model of this project, bound to windows of this length.
pub(crate) fn model(path: &str, length: usize) -> ServingModel {
    let (package, batching) = checked(path);
    let features = FEATURES.map(str::to_owned);
    let kept = WindowFeatures {
        step_ms: STEP_MS,
        length,
        features: &features,
    };
    ServingModel {
        binding: package.contract().bind(&kept).unwrap(),
        forecaster: Forecaster::new(runtime(), Arc::clone(&package), batching).unwrap(),
        package,
        runtime: "runtime of the tests".into(),
    }
}

/// A model that serves for ever.
pub(crate) fn alone(model: ServingModel) -> (Slot, ServingModel) {
    (Slot::fixed(model.package.sha256()), model)
}

/// A partition that a lane is to serve, and the records it finds there.
pub(crate) struct Partition {
    pub(crate) id: i32,
    pub(crate) step: Step,
    pub(crate) from: NextOffset,
    pub(crate) batches: Vec<RecordBatch>,
}

impl Partition {
    /// A partition at its first start.
    pub(crate) fn fresh(id: i32, windows: WindowConfig, batches: Vec<RecordBatch>) -> Self {
        Self {
            id,
            step: step(windows),
            from: NextOffset::ZERO,
            batches,
        }
    }
}

/// The state of a partition at its first start.
pub(crate) fn step(windows: WindowConfig) -> Step {
    Step::new(decoder(), Table::new(windows), lineage())
}

pub(crate) fn lineage() -> Lineage {
    Lineage::beginning_at(NextOffset::ZERO, CONFIG_HASH)
}

pub(crate) fn lane_settings(batch_max: usize, max_age: Option<Duration>) -> LaneSettings {
    LaneSettings {
        index: 0,
        batch_max,
        features: FEATURES.map(str::to_owned).to_vec(),
        outputs: OutputSettings {
            input_topic: TOPIC.to_owned(),
            step_ms: STEP_MS,
            partitions: 1.try_into().unwrap(),
            copy_headers: vec!["traceparent".to_owned()],
            max_age,
        },
        encoder: ForecastEncoder::default(),
        room: Room::default(),
        schemas: Schemas::none(),
        snapshots: None,
        pulse: Pulse::default(),
        keeper: None,
        rescue: Rescue::new(sync_channel(1).0),
        model_holds: HoldCount::new(metrics::model_holds),
        wall_clock: || NOW,
    }
}

/// Runs a lane until it has worked through everything, and returns its output batches in the order
/// in which it sent them. `seed` decides when which record batch arrives.
pub(crate) fn run(
    model: ServingModel,
    settings: LaneSettings,
    partitions: Vec<Partition>,
    seed: u64,
) -> Vec<OutputBatch> {
    let wake = Arc::new(Notify::new());
    let (commands, lane_commands) = mpsc::channel(partitions.len().max(1));
    let (to_committer, mut outputs) = mpsc::channel(1);
    let lane = Lane::new(
        settings,
        lane_commands,
        Arc::clone(&wake),
        to_committer,
        alone(model),
    );
    let mut feeds = Vec::new();
    for partition in partitions {
        let (sender, receiver) = queue(LIMITS, Arc::clone(&wake));
        let key = (PartitionId(partition.id), Epoch(1));
        let serving = Serving::new(key, partition.step, partition.from, receiver);
        commands
            .try_send(LaneCommand::Serve(Box::new(serving)))
            .unwrap();
        feeds.push((sender, partition.batches.into_iter()));
    }
    let collect = async {
        let mut batches = Vec::new();
        while let Some(input) = outputs.recv().await {
            let CommitterInput::Batch(one, _) = input else {
                panic!("nothing was to be released");
            };
            batches.push(*one);
        }
        batches
    };
    block_on(async {
        let (ended, (), batches) =
            tokio::join!(lane.run(), feed(feeds, commands, Random(seed)), collect);
        ended.unwrap();
        batches
    })
}

/// Runs a future as the worker's threads do: on a runtime of its own, with timers and nothing else.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    block_on_clock(Clock::Real, future)
}

/// What a future's waits are measured by.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Clock {
    Real,
    /// Stands while the future works and jumps over its waits.
    Jumping,
}

pub(crate) fn block_on_clock<F: Future>(clock: Clock, future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(clock == Clock::Jumping)
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Histograms and the like, for who reads the test's output. Not by the macros, whose output cargo
/// test keeps to itself.
pub(crate) fn show(line: std::fmt::Arguments<'_>) {
    std::io::stderr()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

/// Sends the record batches of all partitions in a random order, a few at a time; then lets the lane
/// end once it has taken them.
async fn feed(
    mut feeds: Vec<(QueueSender, std::vec::IntoIter<RecordBatch>)>,
    commands: mpsc::Sender<LaneCommand>,
    mut random: Random,
) {
    loop {
        let waiting: Vec<usize> = (0..feeds.len())
            .filter(|at| feeds[*at].1.len() > 0)
            .collect();
        if waiting.is_empty() {
            break;
        }
        let (sender, batches) = &mut feeds[waiting[random.below(waiting.len())]];
        if let Some(batch) = batches.next() {
            assert!(sender.send(batch));
        }
        if random.below(3) == 0 {
            tokio::task::yield_now().await;
        }
    }
    while feeds.iter().any(|(sender, _)| sender.depth() > 0) {
        tokio::task::yield_now().await;
    }
    drop(commands);
}
