//! `foretell verify` on a real Kafka: clean behind a worker that was killed among poison, beside one that
//! works; damage in the topics is found, and what has been trimmed is said.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::NewRecord;
use integration_tests::observation::{Cells, Frame, Observations, START_MS, STEP_MS};
use integration_tests::read::{Seen, read_committed};
use integration_tests::registry::{Registered, TestRegistry};
use integration_tests::scenario::{BURST, Scenario, WORKER, stop};
use integration_tests::worker::{GAP_MAX, WINDOW};
use integration_tests::{kafka, wait};
use serde_json::Value;

const STRIKE: Duration = Duration::from_mins(1);
/// More load than is written while a check runs.
const STEPS_MAX: u32 = 20_000;
/// So many steps that windows are whole, and some more.
const STEPS: u32 = WINDOW + GAP_MAX + 10;

/// What a check said.
struct Ran {
    code: Option<i32>,
    shown: String,
    said: String,
}

impl Ran {
    fn of(command: &mut Command) -> Result<Self> {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output()?;
        Ok(Self {
            code: status.code(),
            shown: String::from_utf8(stdout)?,
            said: String::from_utf8(stderr)?,
        })
    }

    fn ensure(&self, code: i32, parts: &[&str]) -> Result<()> {
        let Self { shown, said, .. } = self;
        ensure!(self.code == Some(code), "{:?}\n{shown}{said}", self.code);
        for part in parts {
            let is_there = shown.contains(part) || said.contains(part);
            ensure!(is_there, "{shown}{said}\nlacks {part:?}");
        }
        Ok(())
    }
}

fn verify(scenario: &Scenario, more: &[&str]) -> Result<Ran> {
    Ran::of(scenario.job.command(&["verify"])?.args(more))
}

/// While the worker works.
fn is_clean_beside_a_worker(scenario: &mut Scenario) -> Result<()> {
    scenario.under_load(STEPS_MAX, |job, progress| {
        for _ in 0..3 {
            let before = progress.committed()?;
            let ran = Ran::of(&mut job.command(&["verify"])?)?;
            ran.ensure(0, &["Everything that can be checked is as it should be."])?;
            let after = progress.committed()?;
            ensure!(after > before, "nothing was committed meanwhile");
        }
        Ok(())
    })
}

/// The counts that are not zero, of a report for programs.
fn counts(report: &Value) -> Result<BTreeMap<String, u64>> {
    let counts = report["counts"].as_object().context("no counts")?;
    let counts = counts.iter().filter_map(|(name, count)| {
        let count = count.as_u64().filter(|count| *count > 0)?;
        Some((name.clone(), count))
    });
    Ok(counts.collect())
}

fn report(scenario: &Scenario, code: i32, more: &[&str]) -> Result<Value> {
    let ran = verify(scenario, &[more, &["--json"]].concat())?;
    ran.ensure(code, &[])?;
    Ok(serde_json::from_str(&ran.shown)?)
}

/// Records that are refused, each for another reason, and some that say nothing new.
fn poison(scenario: &Scenario, step: u32) -> Result<()> {
    let observations = Observations::new()?;
    let time = START_MS + i64::from(step) * STEP_MS;
    let sound = observations.record("cell-1", time, Cells::of(1, step))?;
    let other = Cells {
        up: 17.0,
        ..Cells::of(1, step)
    };
    let infinite = Cells {
        down: Some(f64::INFINITY),
        ..other
    };
    let undecodable = NewRecord {
        value: Some(b"no avro".to_vec()),
        ..sound.clone()
    };
    let tombstone = NewRecord {
        value: None,
        ..sound.clone()
    };
    let poisoned = [
        sound,
        undecodable,
        tombstone,
        observations.record("cell-1", time, other)?,
        observations.record("cell-1", time + STEP_MS / 3, other)?,
        observations.record("cell-2", time, infinite)?,
        observations.record("cell-3", time - 200 * STEP_MS, other)?,
    ];
    poisoned.iter().try_for_each(|record| scenario.send(record))
}

fn kill_at_work(scenario: &mut Scenario) -> Result<()> {
    let before = scenario.progress.committed()?;
    let mut worker = scenario.job.start(WORKER)?;
    scenario.burst(BURST)?;
    wait::until_true("some of the load is committed", STRIKE, || {
        worker.ensure_alive()?;
        Ok(scenario.progress.committed()? > before + 150)
    })?;
    worker.kill()
}

#[test]
fn what_killed_workers_left_is_clean_and_what_is_done_to_it_is_found() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "verified", 2, |job| {
        job.set("KAFKA__STATIC_MEMBERSHIP", "true")
            .set("COMMIT__INTERVAL_MIN", "0ms")
            .set("WORKER__BATCH_MAX", "16")
    })?;
    let nothing = verify(&scenario, &[])?;
    nothing.ensure(1, &["has committed nothing in verified-observations"])?;
    scenario.burst(STEPS)?;
    for kill in 0..4 {
        poison(&scenario, STEPS - 3 + kill * BURST)?;
        kill_at_work(&mut scenario)?;
    }
    poison(&scenario, STEPS + 2 * BURST)?;
    let mut workers = [scenario.job.start_ready(WORKER)?];
    is_clean_beside_a_worker(&mut scenario)?;
    scenario.catch_up(&mut workers)?;
    let whole = report(&scenario, 0, &[])?;
    ensure!(whole["clean"] == true, "{whole}");
    for partition in whole["partitions"].as_array().context("no partitions")? {
        ensure!(partition["windows"] == "agree", "{whole}");
    }
    let forecasts = read_committed(&scenario.cluster, &scenario.job.forecasts())?;
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    let expected = [
        ("equal".to_owned(), u64::try_from(forecasts.len())?),
        ("letter_equal".to_owned(), u64::try_from(letters.len())?),
    ];
    ensure!(letters.len() >= 20, "{} dead letters", letters.len());
    ensure!(counts(&whole)? == BTreeMap::from(expected), "{whole}");

    parts_are_checked_alone(&scenario)?;
    what_cannot_be_checked_so_is_refused(&scenario)?;
    damage_is_found(&scenario, &forecasts)?;
    trimmed_topics_are_said_to_be(&mut scenario, &mut workers)?;
    let [worker] = workers;
    stop(worker)
}

/// Where the record is that made the first forecast due, `partition/offset`.
fn some_source(scenario: &Scenario) -> Result<(i64, i64)> {
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    let late = letters.iter().find(|letter| {
        let reason = letter.header("foretell.reason");
        reason.is_ok_and(|reason| reason == "off_grid")
    });
    let late = late.context("no letter")?;
    let number = |name: &str| -> Result<i64> { Ok(late.header(name)?.parse()?) };
    Ok((
        number("foretell.source.partition")?,
        number("foretell.source.offset")?,
    ))
}

fn parts_are_checked_alone(scenario: &Scenario) -> Result<()> {
    let (partition, offset) = some_source(scenario)?;
    let place = format!("{}/{partition}/{offset}", scenario.input());
    let one = report(scenario, 0, &[&place])?;
    ensure!(counts(&one)?.get("letter_equal") == Some(&1), "{one}");
    ensure!(!counts(&one)?.contains_key("equal"), "{one}");
    let number = partition.to_string();
    let (from, to) = ((offset - 50).to_string(), (offset + 1).to_string());
    let range = ["--partition", &number, "--from", &from, "--to", &to];
    let some = report(scenario, 0, &range)?;
    let equal = counts(&some)?.get("equal").copied().unwrap_or(0);
    ensure!((1..=50).contains(&equal), "{some}");
    let text = verify(scenario, &range)?;
    text.ensure(0, &["ends before the committed offset"])
}

fn what_cannot_be_checked_so_is_refused(scenario: &Scenario) -> Result<()> {
    verify(scenario, &["elsewhere/0/7"])?.ensure(2, &["is not the input topic"])?;
    verify(scenario, &["seven"])?.ensure(2, &["observations/3/121417"])?;
    let far = format!("{}/0/1000000", scenario.input());
    verify(scenario, &[&far])?.ensure(2, &["is not committed yet"])?;
    verify(scenario, &["--partition", "9"])?.ensure(2, &["there is no partition 9"])?;
    let range = ["--partition", "0", "--from", "5", "--to", "5"];
    verify(scenario, &range)?.ensure(2, &["nothing between"])?;
    let with = |name: &str, value: &str, more: &[&str]| {
        let mut command = scenario.job.command(&["verify"])?;
        Ran::of(command.env(name, value).args(more))
    };
    with("FORETELL__WINDOW__GAP_MAX", "4", &[])?.ensure(2, &["another configuration"])?;
    // The model that made the forecasts is no longer the configuration's.
    let gru = integration_tests::tools::in_repository("demo/gru.onnx")?;
    let gru = gru.to_str().context("no text")?;
    let model = scenario.job.model_file();
    let model = model.to_str().context("no text")?;
    with("FORETELL__MODEL__INITIAL", gru, &[])?
        .ensure(1, &["name its file with --model", "were not checked"])?;
    with("FORETELL__MODEL__INITIAL", gru, &["--model", model])?.ensure(0, &[])
}

/// The forecasts as they are in a topic of their own, but for some.
fn damage_is_found(scenario: &Scenario, forecasts: &[Seen]) -> Result<()> {
    const DAMAGED: &str = "verified-damaged";
    scenario.cluster.create_topic(DAMAGED, 4)?;
    let writer = scenario.cluster.writer()?;
    let (missing, differing, doubled) = (10, 20, 30);
    for (place, seen) in forecasts.iter().enumerate() {
        let mut record = NewRecord {
            key: seen.key.clone(),
            value: seen.value.clone(),
            timestamp_ms: seen.timestamp,
        };
        if place == differing {
            // The last bits of the last field, the hash of the window.
            let value = record.value.as_mut().and_then(|value| value.last_mut());
            *value.context("no value")? ^= 1;
        }
        let times = match place {
            _ if place == missing => 0,
            _ if place == doubled => 2,
            _ => 1,
        };
        for _ in 0..times {
            writer.send(DAMAGED, &record)?;
        }
    }
    writer.flush()?;
    let mut command = scenario.job.command(&["verify"])?;
    command.env("FORETELL__TOPICS__FORECASTS", DAMAGED);
    Ran::of(&mut command)?.ensure(
        1,
        &[
            "3 differences.",
            "window_hash is",
            "neither one nor a dead letter",
            "published again by intent",
        ],
    )?;
    let ran = Ran::of(command.arg("--json"))?;
    ran.ensure(1, &[])?;
    let damaged: Value = serde_json::from_str(&ran.shown)?;
    let found = counts(&damaged)?;
    for kind in ["missing", "differing", "doubled"] {
        ensure!(found.get(kind) == Some(&1), "{damaged}");
    }
    let differences = damaged["differences"].as_array().context("none")?;
    for one in differences {
        ensure!(one["source"]["topic"] == scenario.input(), "{one}");
        let has_output = one["finding"] != "missing";
        ensure!(one["output"].is_null() != has_output, "{one}");
    }
    ensure!(differences.len() == 3, "{damaged}");
    Ok(())
}

fn trimmed_topics_are_said_to_be(
    scenario: &mut Scenario,
    workers: &mut [integration_tests::worker::Worker],
) -> Result<()> {
    let forecasts = scenario.job.forecasts();
    scenario.cluster.delete_records(scenario.input())?;
    verify(scenario, &[])?.ensure(0, &["cannot be checked any more", "the log begins at"])?;
    // The windows that are folded from here on become whole after a while.
    scenario.burst(2 * STEPS)?;
    scenario.catch_up(workers)?;
    let later = report(scenario, 0, &[])?;
    let found = counts(&later)?;
    let count = |name: &str| found.get(name).copied().unwrap_or(0);
    ensure!(
        count("equal") > 100 && count("unverifiable") > 100,
        "{later}"
    );
    scenario.cluster.delete_records(&forecasts)?;
    let gone = verify(scenario, &[])?;
    gone.ensure(0, &["does not begin at offset 0 any more"])?;
    scenario.burst(1)?;
    scenario.catch_up(workers)?;
    let last = read_committed(&scenario.cluster, &forecasts)?;
    let last = last.first().context("no forecast")?;
    let writer = scenario.cluster.writer()?;
    let again = NewRecord {
        key: last.key.clone(),
        value: last.value.clone(),
        timestamp_ms: last.timestamp,
    };
    writer.send(&forecasts, &again)?;
    writer.flush()?;
    verify(scenario, &[])?.ensure(1, &["1 differences."])
}

#[test]
fn records_that_a_registry_did_not_know_are_refused_again_where_they_were() -> Result<()> {
    const KNOWN: u32 = 1;
    const LATER: u32 = 77;
    let registry = TestRegistry::start()?;
    registry.put(KNOWN, Registered::avro(Observations::schema()));
    let url = registry.url();
    let mut scenario = Scenario::new(kafka::shared()?, "verified-framed", 2, |job| {
        job.confluent(&url)
            .set("REGISTRY__UNKNOWN_SCHEMA_GRACE", "1s")
    })?;
    scenario.load().frame(Frame::Confluent(KNOWN));
    scenario.burst(WINDOW)?;
    scenario.load().frame_one(0, Frame::Confluent(LATER));
    scenario.burst(5)?;
    let mut workers = [scenario.job.start_ready(WORKER)?];
    scenario.catch_up(&mut workers)?;
    // From here on it is known, and what was refused before stays so.
    registry.put(LATER, Registered::avro(Observations::schema()));
    let refused = read_committed(&scenario.cluster, &scenario.job.dead_letters())?.len();
    ensure!(refused == 5, "{refused} dead letters");
    scenario.burst(20)?;
    scenario.catch_up(&mut workers)?;
    let whole = report(&scenario, 0, &[])?;
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    let found = counts(&whole)?;
    let count = |name: &str| found.get(name).copied().unwrap_or(0);
    ensure!(
        count("letter_equal") == u64::try_from(letters.len())?,
        "{whole}"
    );
    ensure!(count("equal") > 500, "{whole}");
    for partition in whole["partitions"].as_array().context("no partitions")? {
        ensure!(partition["windows"] == "agree", "{whole}");
    }
    let [worker] = workers;
    stop(worker)?;
    Ok(())
}
