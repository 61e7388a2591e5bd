//! How long a worker with many series is away after it ended, what its snapshots cost, and how large it is.

mod found;
mod load;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::Cluster;
use integration_tests::wait;
use integration_tests::worker::{Job, Worker};

use self::found::{Away, Found};
use self::load::Load;
use crate::cpu;

/// The job and its topic.
const NAME: &str = "survival";
/// The same with one partition.
const ALONE: &str = "survival-alone";
const SERIES: u32 = 100_000;
const PARTITIONS: usize = 8;
/// Series that are observed to see whether a partition is forecast again: some of every partition.
const FEW: u32 = 1_000;
const DEADLINE: Duration = Duration::from_mins(5);
const STOP: Duration = Duration::from_secs(40);
const FORECASTS: &str = "foretell_forecasts_total";
const SERVING: &str = r#"foretell_partitions{state="serving"}"#;
const REPLAYED: &str = "foretell_replayed_records_total";
const STORED: &str = r#"foretell_snapshots_total{result="stored"}"#;
const PAUSE_BUCKET: &str = "foretell_snapshot_pause_seconds_bucket{le=\"";

/// Measures, and prints what was found.
#[expect(clippy::print_stderr, reason = "progress of a command line tool")]
pub(crate) fn main(cluster: &Cluster) -> Result<()> {
    let alone = alone(cluster)?;
    let mut load = Load::new(cluster, NAME, PARTITIONS)?;
    let job = load.job(NAME)?;

    eprintln!("survival: filling the windows");
    let mut filling = job.start("a")?;
    job.progress()?
        .wait_for_end(DEADLINE, || filling.ensure_alive())?;
    let filled = memory(&filling, "VmRSS")?;
    let plain = cpu_of_a_round(&mut load, &job, &mut filling, None)?;
    // One that is told to stop would store what the next one is to replay.
    filling.kill()?;

    eprintln!("survival: restart by replay");
    load.round()?;
    let often = job.clone().set("SNAPSHOTS__INTERVAL", "10s");
    let (mut worker, replay) = away(&often)?;
    let stored = wait_stored(&mut worker, 8.0)?;
    let with = cpu_of_a_round(&mut load, &job, &mut worker, Some(stored + 8.0))?;
    let (steady, at_once) = peaks(&mut load, &mut worker, 8.0)?;
    let pause = longest_pause(&worker)?;
    worker.kill()?;

    eprintln!("survival: restart from snapshots");
    load.round()?;
    let (mut back, snapshot) = away(&job)?;
    job.progress()?
        .wait_for_end(DEADLINE, || back.ensure_alive())?;
    end(&mut back)?;
    let dynamic = job.set("KAFKA__STATIC_MEMBERSHIP", "false");
    let (graceful, killed) = hand_over(&mut load, &dynamic)?;

    Found {
        filled,
        steady,
        at_once,
        alone,
        pause,
        snapshots: with.saturating_sub(plain),
        replay,
        snapshot,
        graceful,
        killed,
    }
    .print();
    Ok(())
}

/// Starts a worker, and waits until it does its work.
fn away(job: &Job) -> Result<(Worker, Away)> {
    let began = wait::now();
    let mut worker = job.start("a")?;
    let reached = |it: &mut Worker, name: &str, least: f64| {
        wait::until_true("the worker is back", DEADLINE, || {
            it.ensure_alive()?;
            Ok(it.metric(name).is_ok_and(|found| found >= least))
        })?;
        Ok::<_, anyhow::Error>(began.elapsed())
    };
    let first = reached(&mut worker, FORECASTS, 1.0)?;
    let all = reached(&mut worker, SERVING, 8.0)?;
    let replayed = worker.metric(REPLAYED)?;
    Ok((
        worker,
        Away {
            first,
            all,
            replayed,
        },
    ))
}

/// Processor time of a worker that takes in one round, until its snapshots are counted that many.
fn cpu_of_a_round(
    load: &mut Load,
    job: &Job,
    worker: &mut Worker,
    stored: Option<f64>,
) -> Result<Duration> {
    let process = worker.id().to_string();
    let before = cpu::of(&process)?;
    load.round()?;
    job.progress()?
        .wait_for_end(DEADLINE, || worker.ensure_alive())?;
    if let Some(stored) = stored {
        let _at = wait_stored(worker, stored)?;
    }
    Ok(cpu::of(&process)?.saturating_sub(before))
}

/// Waits for so many snapshots; answers how many there are.
fn wait_stored(worker: &mut Worker, least: f64) -> Result<f64> {
    let mut stored = 0.0;
    wait::until_true("snapshots are stored", DEADLINE, || {
        worker.ensure_alive()?;
        stored = worker.metric(STORED).unwrap_or(0.0);
        Ok(stored >= least)
    })?;
    Ok(stored)
}

/// The largest that a worker is whose one partition has all series, while its snapshot is made.
fn alone(cluster: &Cluster) -> Result<u64> {
    let mut load = Load::new(cluster, ALONE, 1)?;
    let job = load.job(ALONE)?;
    let mut worker = job.clone().set("SNAPSHOTS__INTERVAL", "10s").start("a")?;
    job.progress()?
        .wait_for_end(DEADLINE, || worker.ensure_alive())?;
    let _at = wait_stored(&mut worker, 1.0)?;
    let (steady, _at_once) = peaks(&mut load, &mut worker, 1.0)?;
    end(&mut worker)?;
    Ok(steady)
}

/// The largest that a worker is in bytes while it takes in rounds and makes a snapshot of each of its
/// partitions: at a steady load, and where everything comes at once.
fn peaks(load: &mut Load, worker: &mut Worker, partitions: f64) -> Result<(u64, u64)> {
    // Begins to measure the peak anew, see proc_pid_clear_refs(5).
    let forget = |it: &Worker| fs::write(format!("/proc/{}/clear_refs", it.id()), "5");
    let stored = worker.metric(STORED)?;
    load.steady_round()?;
    forget(worker)?;
    load.steady_round()?;
    let stored = wait_stored(worker, stored + 2.0 * partitions)?;
    let steady = memory(worker, "VmHWM")?;
    forget(worker)?;
    load.round()?;
    let _at = wait_stored(worker, stored + partitions)?;
    Ok((steady, memory(worker, "VmHWM")?))
}

/// How long it takes after one worker is told to end, and after one is killed, until the other has
/// committed forecasts of all partitions.
fn hand_over(load: &mut Load, job: &Job) -> Result<(Duration, Duration)> {
    let mut stays = job.start_ready("stays")?;
    let mut leaves = second(job, &mut stays)?;
    let began = wait::now();
    end(&mut leaves)?;
    load.of(FEW)?;
    let graceful = taken_over(job, &mut stays, began)?;
    let dies = second(job, &mut stays)?;
    let killed_at = wait::now();
    dies.kill()?;
    load.of(FEW)?;
    let killed = taken_over(job, &mut stays, killed_at)?;
    end(&mut stays)?;
    Ok((graceful, killed))
}

/// Another worker, once each of the two has half of the partitions.
fn second(job: &Job, first: &mut Worker) -> Result<Worker> {
    let worker = job.start_ready("second")?;
    wait::until_true("both serve", DEADLINE, || {
        first.ensure_alive()?;
        Ok(first.metric(SERVING)? + worker.metric(SERVING)? >= 8.0)
    })?;
    Ok(worker)
}

fn taken_over(job: &Job, worker: &mut Worker, since: Instant) -> Result<Duration> {
    job.progress()?
        .wait_for_end(DEADLINE, || worker.ensure_alive())?;
    Ok(since.elapsed())
}

fn end(worker: &mut Worker) -> Result<()> {
    let ended = worker.terminate(STOP)?;
    ensure!(ended.success(), "{ended}\n{}", worker.log_tail());
    Ok(())
}

/// Bytes, of a line of /proc/PID/status.
fn memory(worker: &Worker, line: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", worker.id()))?;
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let kilobytes = found.and_then(|text| text.trim_start_matches(':').split_whitespace().next());
    Ok(kilobytes.context("no such line")?.parse::<u64>()? * 1024)
}

/// The upper bound of the last bucket that has anything, in seconds.
fn longest_pause(worker: &Worker) -> Result<f64> {
    let (_, text) = worker.get("/metrics")?;
    let mut longest = 0.0;
    let mut before = 0.0;
    for line in text.lines() {
        let Some((bound, count)) = line
            .strip_prefix(PAUSE_BUCKET)
            .and_then(|rest| rest.split_once("\"} "))
        else {
            continue;
        };
        let count: f64 = count.parse()?;
        if count > before {
            before = count;
            longest = bound.parse()?;
        }
    }
    Ok(longest)
}
