//! `topics check` on a real Kafka: what will not work is said before a worker meets it, all of it at once.

use std::num::NonZeroU32;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foretell::domain::partition_of;
use integration_tests::cluster::NewRecord;
use integration_tests::observation::{Cells, Load, Observations, START_MS, STEP_MS};
use integration_tests::process::Process;
use integration_tests::scenario::Scenario;
use integration_tests::worker::Job;
use integration_tests::{kafka, scratch};

const COMMAND: Duration = Duration::from_secs(90);
const CELLS: Cells = Cells {
    down: Some(1.0),
    up: 2.0,
    rnti_count: 3,
};

#[test]
fn settings_that_do_not_fit_are_told_together() -> Result<()> {
    for (name, setting, parts) in [
        (
            "compacted",
            ("cleanup.policy", "compact"),
            &["error: compacted-observations: cleanup.policy=compact: compaction removes"][..],
        ),
        (
            "short",
            ("retention.ms", "3600000"),
            &["error: short-observations: retention.ms=3600000 (1h) is shorter than"],
        ),
        (
            "appended",
            ("message.timestamp.type", "LogAppendTime"),
            &["warning: appended-observations: message.timestamp.type=LogAppendTime"],
        ),
    ] {
        let cluster = kafka::shared()?;
        let input = format!("{name}-observations");
        cluster.create_topic_with(&input, 1, setting)?;
        let job = Job::without_topics(&cluster, name, &input)?;
        cluster.create_topic_with(&job.forecasts(), 4, ("max.message.bytes", "1000"))?;
        let job = job
            .set("WORKER__LANES", "2")
            .set("COMMIT__TRANSACTION_TIMEOUT", "14m")
            .set("WORKER__GRACE_PERIOD", "1h")
            .set("KAFKA__MAX_POLL_INTERVAL", "1h");
        let forecasts = format!("error: {}: max.message.bytes=1000", job.forecasts());
        let letters = format!("error: {}: is missing", job.dead_letters());
        let everywhere = [
            &*forecasts,
            &letters,
            "keep 1 of the 2 lanes of one worker busy",
            "has one copy of each record",
            "have no committed offset and begin at",
        ];
        let all: Vec<&str> = parts.iter().chain(&everywhere).copied().collect();
        ensure_said((&job, &[]), 1, &all)?;
    }
    Ok(())
}

#[test]
fn the_groups_place_in_the_log_is_looked_at() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "placed", 2, |job| job)?;
    scenario.burst(80)?;
    scenario.run_to_end()?;
    let job = &scenario.job;
    ensure_said(
        (job, &["--sample", "200"]),
        0,
        &[
            "note: group placed: 0 offsets behind the end of the log",
            "placed-observations, newest records: of 400: folded ",
        ],
    )?;
    let changed = job.clone().set("WINDOW__GAP_MAX", "4");
    let other = "was committed under another [window] or [input]";
    ensure_said((&changed, &[]), 0, &[other])?;

    // What retention does while no worker runs.
    scenario.burst(1)?;
    scenario.cluster.delete_records(scenario.input())?;
    let gone = ["is outside of the log [", "--reset-offsets"];
    ensure_said((&scenario.job, &[]), 1, &gone)
}

#[test]
fn a_sample_says_what_a_worker_would_make_of_the_newest_records() -> Result<()> {
    const STEPS: u32 = 3;
    let mut scenario = Scenario::new(kafka::shared()?, "sampled", 4, |job| job)?;
    scenario.burst(STEPS)?;
    let observations = Observations::new()?;
    let at = START_MS + i64::from(STEPS) * STEP_MS;
    let series = Load::name(0);
    let record = |time| observations.record(&series, time, CELLS);
    let mut unknown = record(at)?;
    if let Some(value) = &mut unknown.value {
        value[2..10].copy_from_slice(&[7; 8]);
    }
    let off_grid = record(at + STEP_MS / 3)?;
    let ahead = NewRecord {
        timestamp_ms: at,
        ..record(at + 10 * STEP_MS)?
    };
    let mut elsewhere = record(at)?;
    let four = NonZeroU32::new(4).context("it is not zero")?;
    let other = (1..40)
        .map(|number| Load::name(number).into_bytes())
        .find(|name| partition_of(name, four) != partition_of(series.as_bytes(), four));
    elsewhere.key = other;
    for bad in [&unknown, &off_grid, &ahead, &elsewhere] {
        scenario.send(bad)?;
    }

    ensure_said(
        (&scenario.job, &["--sample", "1000"]),
        0,
        &[
            "newest records: of 124: ",
            "rejected as unknown_schema 1",
            "rejected as time_out_of_range 1",
            "rejected as off_grid 1",
            "1 of 124: no schema with the fingerprint 0707070707070707 is known",
            "1 of 124 lie in another partition than their series' name hashes to",
        ],
    )
}

/// `topics check` ends with this code and says all of this.
fn ensure_said((job, more): (&Job, &[&str]), code: i32, parts: &[&str]) -> Result<()> {
    let (found, said) = run(&job.command(&[&["topics", "check"], more].concat())?)?;
    ensure!(found == code, "exit code {found}:\n{said}");
    for part in parts {
        ensure!(said.contains(part), "no {part:?} in\n{said}");
    }
    Ok(())
}

/// Exit code and everything said.
fn run(command: &Command) -> Result<(i32, String)> {
    let log = scratch::folder("command")?.join("command.log");
    let mut process = Process::start(command, &log)?;
    let status = process.wait_for_end(COMMAND)?;
    let code = status.code().context("ended by a signal")?;
    Ok((code, std::fs::read_to_string(log)?))
}
