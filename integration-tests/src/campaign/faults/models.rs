//! A model that hangs, between two nodes of its graph or within one, and one that panics.

use std::time::Duration;

use anyhow::{Result, ensure};
use foretell::planted::{Bug, MARK as PANICS_AT};

use crate::accounts::Due;
use crate::campaign::workers::REGULARS;
use crate::campaign::{Fault, Prepared, Strike};
use crate::observation::{Cells, Observations, START_MS, STEP_MS};
use crate::wait;
use crate::worker::Job;

/// It loops while a window's last value is [`MARK`], and asks for two slots.
const LOOPS: &str = "tests/models/hangs_on_some.onnx";
/// The same within one node, which cannot be stopped, for some twenty seconds.
const STUCK: &str = "tests/models/hangs_for_a_while.onnx";
const SLOTS: u32 = 2;
const MARK: f64 = 1e15;
/// What a sound window ends with.
const SOUND: f64 = 1e8;
/// A series that is not part of the load.
const MARKED: &str = "marked";

pub(super) const HANGS: Fault = Fault::new(
    "model-hangs",
    "the model hangs on some windows, and is stopped",
    goes_on,
)
.model(LOOPS)
.shape(soon_stopped)
.strikes(1)
.prepare(hang);

pub(super) const HANGS_IN_A_NODE: Fault = Fault::new(
    "model-hangs-in-a-node",
    "the model hangs on a window and cannot be stopped: one worker after the other ends itself",
    stuck,
)
.model(STUCK)
.shape(patient)
.strikes(1);

pub(super) const PANICS: Fault = Fault::new(
    "model-panics",
    "the run of the model panics, a planted bug, for all partitions of a round",
    panics,
)
.model(LOOPS)
.shape(with_the_bug);

fn soon_stopped(job: Job) -> Job {
    job.set("WORKER__RUN_DEADLINE", "200ms")
}

/// Two of eight windows hang, among those of the load.
fn hang(prepared: &mut Prepared<'_>) -> Result<()> {
    const VALUES: [f64; 8] = [SOUND, SOUND, MARK, SOUND, SOUND, MARK, SOUND, SOUND];
    const HANGING: u8 = 2;
    let Prepared {
        scenario, expected, ..
    } = prepared;
    let observations = Observations::new()?;
    for down in VALUES {
        let time = START_MS + i64::from(scenario.steps()) * STEP_MS;
        scenario.send(&observations.record(MARKED, time, with(down))?)?;
        scenario.burst(1)?;
    }
    let due = Due {
        records: u64::try_from(VALUES.len())?,
        forecasts: VALUES.len() - 1 - usize::from(HANGING),
    };
    expected.window = SLOTS;
    expected.others.insert(MARKED.to_owned(), due);
    let reason = "model_output_invalid".to_owned();
    expected.letters.insert(reason, HANGING.into());
    Ok(())
}

fn goes_on(strike: &mut Strike<'_>) -> Result<()> {
    strike.now()
}

fn with(down: f64) -> Cells {
    Cells {
        down: Some(down),
        ..Cells::of(1, 1)
    }
}

/// Its workers wait for a run as long as it takes: the hang is over some time, and its window has a forecast.
fn patient(job: Job) -> Job {
    job.set("WORKER__BATCH_MAX", "16")
        .set("WORKER__RUN_DEADLINE", "5m")
        .set("WORKER__HUNG_AFTER", "10m")
        .set("WORKER__HUNG_MAX", "2h")
}

/// As an operator would have it. The least that is allowed beside so long a run.
fn impatient(job: &Job) -> Job {
    job.clone()
        .set("WORKER__RUN_DEADLINE", "300ms")
        .set("WORKER__HUNG_AFTER", "2s")
        .set("WORKER__HUNG_MAX", "6s")
}

/// Whoever has the window that hangs ends itself, nothing of it being committed, and then who takes over from it. What
/// decides is the input, so the same worker would meet it again: those that come in their place wait for longer.
fn stuck(strike: &mut Strike<'_>) -> Result<()> {
    /// For a partition to be taken over, and for the round with its hanging window to be as old as is allowed.
    const ENDS: Duration = Duration::from_mins(2);
    for id in REGULARS {
        strike.workers.stop(id)?;
    }
    let hasty = impatient(strike.job);
    let mut workers = Vec::new();
    for id in REGULARS {
        workers.push(hasty.start(id)?);
    }
    for worker in &mut workers {
        worker.wait_ready()?;
    }
    let series = format!("{MARKED}-{}", strike.round);
    strike.now()?;
    write(strike, &series, &[SOUND, MARK])?;
    let due = Due {
        records: 2,
        forecasts: 1,
    };
    strike.expected.window = SLOTS;
    strike.expected.others.insert(series, due);
    for worker in &mut workers {
        let status = worker.wait_for_end(ENDS)?;
        let said = worker.log()?;
        let is_told = said.contains("worker.hung_max (6s)");
        ensure!(status.code() == Some(1) && is_told, "{status}\n{said}");
    }
    for id in REGULARS {
        strike.workers.start(strike.job, id)?;
    }
    // Beyond that window too, not only up to it.
    strike.every_partition_moves()
}

fn with_the_bug(job: Job) -> Job {
    job.set("WORKER__BATCH_MAX", "16")
        .planted(Some(Bug::ModelPanics))
}

/// The record is read once more by whom its partition is restored to: the second time nothing panics.
fn panics(strike: &mut Strike<'_>) -> Result<()> {
    const SOON: Duration = Duration::from_mins(1);
    /// Panics of a partition that a worker bears within ten minutes.
    const BORNE: u32 = 3;
    if strike.round > 0 && strike.round.is_multiple_of(BORNE) {
        for id in REGULARS {
            strike.workers.stop(id)?;
            strike.workers.start_ready(strike.job, id)?;
        }
    }
    let before = panicked(strike)?;
    strike.now()?;
    write(strike, PANICS_AT, &[SOUND])?;
    let due = strike.expected.others.entry(PANICS_AT.to_owned());
    let due = due.or_default();
    // Its windows are whole from the second strike on, and in between lie more slots than may be empty.
    due.records += 1;
    strike.expected.window = SLOTS;
    wait::until_true("a run of the model panics", SOON, || {
        strike.workers.ensure_alive()?;
        Ok(panicked(strike)? > before)
    })
}

/// Partitions whose work has panicked.
fn panicked(strike: &mut Strike<'_>) -> Result<u32> {
    let mut sum = 0;
    for id in REGULARS {
        let worker = strike.workers.get(id)?;
        sum += worker.count::<u32>("foretell_partition_panics_total")?;
    }
    Ok(sum)
}

/// Writes observations of a series that is not part of the load, the last of them at the next step of the load.
fn write(strike: &Strike<'_>, series: &str, values: &[f64]) -> Result<()> {
    let observations = Observations::new()?;
    let writer = strike.cluster().writer()?;
    let mut time = START_MS + i64::from(strike.steps) * STEP_MS;
    for down in values {
        let record = observations.record(series, time, with(*down))?;
        writer.send(strike.job.observations(), &record)?;
        time += STEP_MS;
    }
    writer.flush()
}
