//! A partition that stands still with far more before it than its worker has memory for.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::accounts::Due;
use crate::campaign::rig::PARTITIONS;
use crate::campaign::workers::REGULARS;
use crate::campaign::{Fault, Strike};
use crate::observation::{Cells, Observations, START_MS, STEP_MS};
use crate::wait;
use crate::worker::Job;

/// It loops while a window's last value is [`MARK`], and asks for two slots.
const LOOPS: &str = "tests/models/hangs_on_some.onnx";
const SLOTS: u32 = 2;
const MARK: f64 = 1e15;

/// What each worker may use, of which it uses a good half before a strike.
const MEMORY: u64 = 384 << 20;
/// What is written to one partition while it stands still.
const BACKLOG: u64 = MEMORY + (16 << 20);
const RECORD: usize = 64 << 10;
/// One run of a window that hangs; there are two. Both together are far longer than it takes to write the backlog,
/// and than a busy machine takes for that.
const HANGS: &str = "40s";
/// Records of each other partition meanwhile.
const GO_ON: i64 = 100;
const SOON: Duration = Duration::from_mins(1);

pub(super) const SLOW_PARTITION: Fault = Fault::new(
    "slow-partition-with-little-memory",
    "a partition stands still before a backlog that is more than its worker has memory for",
    slow_partition,
)
.model(LOOPS)
.shape(with_little_memory)
.strikes(1);

/// A lane for each partition, whoever joins first: the one that stands still has none beside it in its lane.
fn with_little_memory(job: Job) -> Job {
    job.data_bytes_max(MEMORY)
        .set("WORKER__LANES", &PARTITIONS.to_string())
        .set("WORKER__RUN_DEADLINE", HANGS)
        .set("WORKER__HUNG_AFTER", "2m")
        .set("WORKER__HUNG_MAX", "30m")
}

fn slow_partition(strike: &mut Strike<'_>) -> Result<()> {
    let series = format!("slow-{}", strike.round);
    let start = START_MS + i64::from(strike.steps) * STEP_MS;
    let observations = Observations::new()?;
    let writer = strike.cluster().writer()?;
    let input = strike.job.observations();
    let cells = |down| Cells {
        down: Some(down),
        ..Cells::of(1, 1)
    };
    for (time, down) in [(start, 1e8), (start + STEP_MS, MARK)] {
        writer.send(input, &observations.record(&series, time, cells(down))?)?;
    }
    writer.flush()?;
    strike.now()?;
    let ends = strike.progress.end_each()?;
    // They say again what the window that hangs has already: the work for them is to take them in.
    let note = "x".repeat(RECORD);
    let again = observations.record_noted((&series, start + STEP_MS), cells(MARK), &note)?;
    let count = BACKLOG / u64::try_from(RECORD)?;
    for _ in 0..count {
        writer.send(input, &again)?;
    }
    writer.flush()?;
    let due = Due {
        records: 2 + count,
        forecasts: 0,
    };
    strike.expected.window = SLOTS;
    strike.expected.others.insert(series, due);
    let letters = &mut strike.expected.letters;
    *letters
        .entry("model_output_invalid".to_owned())
        .or_default() += 1;
    stands_still(strike, &ends, i64::try_from(count)?)
}

/// Of the partitions, one has got so many records since the ends were these; it stands still, paused, and its
/// neighbours go on.
fn stands_still(strike: &mut Strike<'_>, ends: &[(i32, i64)], count: i64) -> Result<()> {
    let grown = strike.progress.end_each()?;
    let mut both = ends.iter().zip(&grown);
    let slow = both.position(|((_, then), (_, now))| now - then >= count);
    let slow = slow.context("no partition has the backlog")?;
    wait::until_true("the others go on beside it", SOON, || {
        strike.workers.ensure_alive()?;
        let mut paused = 0;
        for id in REGULARS {
            let worker = strike.workers.get(id)?;
            paused += worker.count::<u8>("foretell_paused_partitions")?;
        }
        let committed = strike.progress.committed_each()?;
        let mut moved = committed.iter().zip(ends).map(|((_, offset), (_, then))| {
            let offset = offset.unwrap_or(0);
            offset - then
        });
        let is_slow = moved.clone().nth(slow).is_some_and(|by| by <= 0);
        ensure!(is_slow, "partition {slow} goes on: {committed:?}, {ends:?}");
        let others = moved
            .by_ref()
            .enumerate()
            .all(|(place, by)| place == slow || by > GO_ON);
        Ok(others && paused > 0)
    })
}
