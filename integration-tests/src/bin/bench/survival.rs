//! How long a worker with many series is away after it ended, what its snapshots cost, and how large it is.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::Cluster;
use integration_tests::observation::STEP_MS;
use integration_tests::worker::{GAP_MAX, Job, WINDOW, Worker};
use integration_tests::{scratch, wait};

use crate::cpu;
use crate::input::{Encoder, Width};
use crate::table::ratio;

const TOPIC: &str = "observations-survival";
const SERIES: u32 = 100_000;
const PARTITIONS: usize = 8;
/// Observations of each series before anything is measured: all that a window keeps, and one.
const ROUNDS: u32 = WINDOW + GAP_MAX + 1;
/// Rounds for what is measured, after those.
const MORE: i64 = 20;
/// Series that are observed to see whether a partition is forecast again: some of every partition.
const FEW: u32 = 1_000;
/// Processor time of the machine from one snapshot of a partition to its next, by the goal.
const CPU_BETWEEN_SNAPSHOTS: Duration = Duration::from_mins(2);
const DEADLINE: Duration = Duration::from_mins(5);
const STOP: Duration = Duration::from_secs(40);
const FORECASTS: &str = "foretell_forecasts_total";
const SERVING: &str = r#"foretell_partitions{state="serving"}"#;
const REPLAYED: &str = "foretell_replayed_records_total";
const STORED: &str = r#"foretell_snapshots_total{result="stored"}"#;
const PAUSE_BUCKET: &str = "foretell_snapshot_pause_seconds_bucket{le=\"";

/// The load, one round after the other.
struct Load {
    cluster: Cluster,
    encoder: Encoder,
    first_ms: i64,
    rounds: u32,
}

impl Load {
    fn new(cluster: &Cluster) -> Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the benchmark is a shell: it makes times"
        )]
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let last = i64::try_from(now.as_millis())? / STEP_MS * STEP_MS;
        Ok(Self {
            cluster: cluster.clone(),
            encoder: Encoder::new(Width::Eleven)?,
            first_ms: last - (i64::from(ROUNDS) + MORE) * STEP_MS,
            rounds: 0,
        })
    }

    /// One more observation of every series.
    fn round(&mut self) -> Result<()> {
        self.of(SERIES)
    }

    /// One more observation of the first series.
    fn of(&mut self, series_max: u32) -> Result<()> {
        let writer = self.cluster.writer()?;
        let time = self.first_ms + i64::from(self.rounds) * STEP_MS;
        for series in 0..series_max {
            let record = self.encoder.record(series, self.rounds, time)?;
            writer.send(TOPIC, &record)?;
        }
        self.rounds += 1;
        writer.flush()
    }
}

/// From the start of a process.
struct Away {
    /// To its first committed forecast.
    first: Duration,
    /// To all partitions being served.
    all: Duration,
    replayed: f64,
}

/// Measures, and prints what was found.
#[expect(clippy::print_stderr, reason = "progress of a command line tool")]
pub(crate) fn main(cluster: &Cluster) -> Result<()> {
    cluster.create_topic(TOPIC, PARTITIONS)?;
    let mut load = Load::new(cluster)?;
    eprintln!("survival: writing {ROUNDS} rounds of {SERIES} series");
    for _ in 0..ROUNDS {
        load.round()?;
    }
    let snapshots = scratch::folder("survival-snapshots")?;
    let location = snapshots.to_str().context("a folder that is no text")?;
    let job = Job::new(cluster, "survival", TOPIC)?
        .set("WORKER__LANES", "2")
        .set("WINDOW__FEATURES", &Width::Eleven.features().join(","))
        .set("SNAPSHOTS__LOCATION", location)
        .set("SNAPSHOTS__INTERVAL", "1h")
        .set("KAFKA__SESSION_TIMEOUT", "10s")
        .set("KAFKA__STATIC_MEMBERSHIP", "true");

    eprintln!("survival: filling the windows");
    let mut filling = job.start("a")?;
    job.progress()?
        .wait_for_end(DEADLINE, || filling.ensure_alive())?;
    let filled = memory(&filling, "VmRSS")?;
    let plain = cpu_of_a_round(&mut load, &job, &mut filling, None)?;
    end(&mut filling)?;

    eprintln!("survival: restart by replay");
    load.round()?;
    let often = job.clone().set("SNAPSHOTS__INTERVAL", "10s");
    let (mut worker, replay) = away(&often)?;
    let stored = wait_stored(&mut worker, 8.0)?;
    let with = cpu_of_a_round(&mut load, &job, &mut worker, Some(stored + 8.0))?;
    let snapping = memory(&worker, "VmHWM")?;
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
        snapping,
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

/// What was measured; memory in bytes.
struct Found {
    filled: u64,
    snapping: u64,
    pause: f64,
    /// Processor time of one snapshot of each partition.
    snapshots: Duration,
    replay: Away,
    snapshot: Away,
    graceful: Duration,
    killed: Duration,
}

impl Found {
    #[expect(clippy::print_stdout, reason = "a command line tool")]
    fn print(&self) {
        let slots = u64::from(WINDOW + GAP_MAX);
        let values = u64::from(SERIES) * slots * 11 * 8;
        let millions = ratio(values, 1_000_000);
        let seconds = Duration::as_secs_f64;
        let rate = self.replay.replayed / seconds(&self.replay.all);
        println!(
            "{SERIES} series of {slots} x 11 in {PARTITIONS} partitions, {millions:.0} MB of values"
        );
        for (name, value, goal) in [
            (
                "memory / values, windows full",
                ratio(self.filled, values),
                "",
            ),
            (
                "memory / values, at most, with snapshots",
                ratio(self.snapping, values),
                "<= 1.30",
            ),
            ("longest pause by a snapshot, s, at most", self.pause, ""),
            (
                "CPU of a snapshot of each partition, s",
                seconds(&self.snapshots),
                "",
            ),
            (
                "the same every 60 s / two cores",
                seconds(&self.snapshots) / seconds(&CPU_BETWEEN_SNAPSHOTS),
                "<= 0.03",
            ),
            (
                "restart to first forecast, snapshot, s",
                seconds(&self.snapshot.first),
                "<= 3.00",
            ),
            (
                "restart to all partitions, snapshot, s",
                seconds(&self.snapshot.all),
                "",
            ),
            (
                "restart to first forecast, replay, s",
                seconds(&self.replay.first),
                "",
            ),
            (
                "restart to all partitions, replay, s",
                seconds(&self.replay.all),
                "",
            ),
            ("replayed rows/s, from the start on", rate, ">= 500000"),
            (
                "SIGTERM to forecasts of its partitions, s",
                seconds(&self.graceful),
                "<= 3.00",
            ),
            (
                "kill -9 to forecasts of its partitions, s",
                seconds(&self.killed),
                "<= 13.00",
            ),
        ] {
            println!("{name:<45} {value:>12.3}   {goal}");
        }
    }
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
