//! Confluent framing end to end: records of Confluent's serializer are forecast and read back by its
//! deserializer; a registry that is away holds partitions and costs nothing; an id that nobody knows is
//! refused, the same records in every restart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::forecast::{CONFLUENT_PREFIX, without_source_after};
use integration_tests::observation::{Frame, Load, Observations, START_MS, STEP_MS};
use integration_tests::process::output;
use integration_tests::read::{Seen, read_committed};
use integration_tests::registry::{Registered, TestRegistry};
use integration_tests::scenario::{CATCH_UP, END, Scenario, WORKER, stop};
use integration_tests::tools::{Tools, in_repository};
use integration_tests::worker::{Job, WINDOW, Worker};
use integration_tests::{kafka, wait};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_mins(1);
/// Schema ids of the load.
const KNOWN: u32 = 1;
const NEW: u32 = 2;
const NOBODYS: u32 = 99;
/// The series whose records name another schema than the others.
const ODD: u32 = 0;

fn registry() -> Result<TestRegistry> {
    let registry = TestRegistry::start()?;
    registry.put(KNOWN, Registered::avro(Observations::schema()));
    Ok(registry)
}

fn scenario(name: &str, partitions: usize, registry: &TestRegistry) -> Result<Scenario> {
    let url = registry.url();
    scenario_of(name, partitions, |job| job.confluent(&url))
}

fn scenario_of(name: &str, partitions: usize, shape: impl FnOnce(Job) -> Job) -> Result<Scenario> {
    let mut scenario = Scenario::new(kafka::shared()?, name, partitions, |job| {
        shape(job)
            .set("REGISTRY__UNKNOWN_SCHEMA_GRACE", "1s")
            .set("KAFKA__STATIC_MEMBERSHIP", "true")
    })?;
    scenario.load().frame(Frame::Confluent(KNOWN));
    Ok(scenario)
}

/// The worker again, once all of the input is committed.
fn caught_up(scenario: &Scenario, worker: Worker) -> Result<Worker> {
    let mut workers = [worker];
    scenario.catch_up(&mut workers)?;
    let [it] = workers;
    Ok(it)
}

fn wait_until_held(worker: &mut Worker) -> Result<()> {
    wait::until_true(
        "the worker says that it waits for the registry",
        WAIT,
        || {
            worker.ensure_alive()?;
            Ok(readiness(worker).is_ok_and(|said| said.contains("schema_registry")))
        },
    )
}

fn readiness(worker: &Worker) -> Result<String> {
    Ok(worker.get("/readyz")?.1)
}

const STEPS: u32 = WINDOW + 8;
/// From this step on observations have another writer schema.
const EVOLVED_FROM: u32 = WINDOW + 3;
const FIRST: &str = r#"{"type": "record", "name": "Load", "fields": [
    {"name": "series", "type": "string"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "down", "type": "double"}, {"name": "up", "type": "double"},
    {"name": "rnti_count", "type": "long"}]}"#;
/// Other places, other types, one field more.
const EVOLVED: &str = r#"{"type": "record", "name": "Load", "fields": [
    {"name": "site", "type": ["null", "string"], "default": null},
    {"name": "rnti_count", "type": ["null", "int"]}, {"name": "up", "type": ["null", "double"]},
    {"name": "down", "type": ["null", "double"]}, {"name": "series", "type": "string"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;

/// Of the size that the model's scale is made for: it computes in single precision.
fn down(series: u32, step: u32) -> f64 {
    1e7 * f64::from(1 + series * 1_000 + step)
}

fn time(step: u32) -> i64 {
    START_MS + i64::from(step) * STEP_MS
}

/// What `registry.py` is to publish: three series, a line each.
fn lines() -> Result<String> {
    let mut lines = String::new();
    writeln!(lines, "{}", json!({ "schema": FIRST }))?;
    for step in 0..STEPS {
        if step == EVOLVED_FROM {
            writeln!(lines, "{}", json!({ "schema": EVOLVED }))?;
        }
        for series in 0..3 {
            let value = json!({ "series": Load::name(series), "time": time(step), "site": null,
                "down": down(series, step), "up": 1.5, "rnti_count": step });
            writeln!(lines, "{value}")?;
        }
    }
    Ok(lines)
}

/// First means of `down` by series and origin, as Confluent's deserializer reads them.
fn forecasts(
    brokers: &str,
    topic: &str,
    registry: &TestRegistry,
) -> Result<BTreeMap<(String, i64), f64>> {
    let mut python = Tools::get()?.python("registry.py");
    python.args(["read", brokers, topic, &registry.url()]);
    let mut found = BTreeMap::new();
    for line in String::from_utf8(output(&python, b"")?)?.lines() {
        let forecast: Value = serde_json::from_str(line)?;
        let series = forecast["series"].as_str().context("no series")?;
        let origin = forecast["origin"].as_i64().context("no origin")?;
        let targets = forecast["targets"].as_array().context("no targets")?;
        let target = targets.iter().find(|target| target["name"] == "down");
        let mean = target.context("no down")?["mean"][0].as_f64();
        let twice = found.insert((series.to_owned(), origin), mean.context("no mean")?);
        ensure!(twice.is_none(), "two forecasts: {line}");
    }
    Ok(found)
}

#[test]
fn what_confluents_client_writes_is_forecast_and_read_back_by_it() -> Result<()> {
    let cluster = kafka::shared()?;
    let registry = TestRegistry::start()?;
    let input = "confluent-observations";
    cluster.create_topic(input, 2)?;
    let job = Job::new(&cluster, "confluent", input)?.confluent(&registry.url());
    let mut python = Tools::get()?.python("registry.py");
    python.args(["publish", cluster.brokers(), input, &registry.url()]);
    output(&python, lines()?.as_bytes())?;
    let mut worker = job.start_ready(WORKER)?;
    let progress = job.progress()?;
    progress.wait_for_end(CATCH_UP, || worker.ensure_alive())?;
    stop(worker)?;

    let subject = registry.latest(&format!("{}-value", job.forecasts()));
    let registered = subject.context("no schema was registered")?;
    let file = in_repository("schemas/forecast.avsc")?;
    let ours: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
    let text = registered["schema"].as_str().context("no text")?;
    ensure!(serde_json::from_str::<Value>(text)? == ours, "{registered}");

    let found = forecasts(cluster.brokers(), &job.forecasts(), &registry)?;
    let mut expected = BTreeMap::new();
    for step in WINDOW - 1..STEPS {
        for series in 0..3 {
            expected.insert((Load::name(series), time(step)), down(series, step));
        }
    }
    ensure!(found.keys().eq(expected.keys()), "{:?}", found.keys());
    for (key, value) in &expected {
        let last = found.get(key).context("the keys are equal")?;
        let near = (last - value).abs() <= value * 1e-6;
        ensure!(near, "{key:?}: {last}, expected {value}");
    }
    let letters = read_committed(&cluster, &job.dead_letters())?;
    ensure!(letters.is_empty(), "{} dead letters", letters.len());

    // The package for Python reads the same, by the writer schema and by that of its release.
    let mut table = Tools::get()?.python("registry.py");
    let topic = job.forecasts();
    table.args(["table", cluster.brokers(), &topic, &registry.url()]);
    table.env("PYTHONPATH", in_repository("python/src")?);
    let rows: usize = String::from_utf8(output(&table, b"")?)?.trim().parse()?;
    ensure!(rows >= expected.len(), "{rows} rows");

    // And so does `foretell tail`.
    let mut tail = job.command(&["tail", "--from", "beginning", "--exit", "--json"])?;
    tail.args(["--registry", &registry.url()]);
    let shown = String::from_utf8(output(&tail, b"")?)?;
    ensure!(shown.lines().count() == expected.len(), "{shown}");
    Ok(())
}

#[test]
fn a_registry_that_is_away_holds_what_it_must_and_nothing_is_rejected() -> Result<()> {
    let mut registry = registry()?;
    let url = registry.url();
    let mut scenario = scenario_of("held", 4, |job| job.confluent_input(&url))?;
    scenario.burst(WINDOW + 10)?;
    let mut worker = caught_up(&scenario, scenario.job.start_ready(WORKER)?)?;

    // A new writer schema for one series while the registry is away.
    registry.stop();
    registry.put(NEW, Registered::avro(Observations::schema()));
    scenario.load().frame_one(ODD, Frame::Confluent(NEW));
    scenario.burst(5)?;
    wait::until_true("all partitions but one are at their end", CATCH_UP, || {
        worker.ensure_alive()?;
        // Told once the client knows the end of the log.
        let lag = |partition| {
            let name = format!("foretell_lag_records{{partition=\"{partition}\"}}");
            worker.metric(&name).unwrap_or(f64::INFINITY)
        };
        let held = worker.metric("foretell_schema_held_partitions")?;
        let behind = (0..4).filter(|partition| lag(*partition) > 0.0).count();
        Ok(held > 0.5 && behind == 1)
    })?;
    wait::until_true("the worker says why it is not ready", WAIT, || {
        let said = readiness(&worker)?;
        Ok(said.contains("schema_registry") && said.contains(&registry.url()))
    })?;
    let log = worker.log()?;
    let told = log.matches("no schema for a record").count();
    ensure!(told == 1, "{told} lines about one id:\n{log}");

    // Another worker comes while it is held, and the first one goes: it does not wait for the registry.
    let mut second = scenario.job.start("b")?;
    wait::until_true("the second worker owns a partition", WAIT, || {
        second.ensure_alive()?;
        Ok(["restoring", "serving"].into_iter().any(|state| {
            let name = format!("foretell_partitions{{state=\"{state}\"}}");
            second.metric(&name).is_ok_and(|count| count > 0.5)
        }))
    })?;
    stop(worker)?;
    // What the second one restores needs the registry too.
    wait_until_held(&mut second)?;
    stop(second)?;

    let mut third = scenario.job.start(WORKER)?;
    wait_until_held(&mut third)?;
    registry.restart()?;
    third.wait_ready()?;
    scenario.burst(5)?;
    third = caught_up(&scenario, third)?;
    ensure!(third.metric("foretell_schema_held_partitions")? < 0.5);
    stop(third)?;
    scenario.ensure_output_as_undisturbed()
}

/// Offsets of the dead letters, each for an unknown schema.
fn refused(job: &Job) -> Result<Vec<i64>> {
    let letters = read_committed(&kafka::shared()?, &job.dead_letters())?;
    let offset = |letter: &Seen| -> Result<i64> {
        let reason = letter.header("foretell.reason")?;
        ensure!(reason == "unknown_schema", "{letter:?}");
        Ok(letter.header("foretell.source.offset")?.parse()?)
    };
    letters.iter().map(offset).collect()
}

/// Kills the worker, and starts it again: every partition must be proven.
fn restarted(scenario: &Scenario, worker: Worker) -> Result<Worker> {
    const ATTEMPTS: &str = "foretell_restore_attempts_total";
    worker.kill()?;
    let again = scenario.job.start_ready(WORKER)?;
    let count = |result: &str| again.metric(&format!("{ATTEMPTS}{{result=\"{result}\"}}"));
    let counts = (count("agreed")?, count("never_agreed")?, count("unproven")?);
    ensure!(counts.0 > 1.5 && counts.1 + counts.2 < 0.5, "{counts:?}");
    Ok(again)
}

#[test]
fn an_unknown_id_is_refused_the_same_in_every_restart_until_it_resolves() -> Result<()> {
    let registry = registry()?;
    let mut tested = scenario("unknown", 2, &registry)?;
    tested.burst(WINDOW + 5)?;
    let mut worker = caught_up(&tested, tested.job.start_ready(WORKER)?)?;

    // Three records that name a schema which nobody has registered.
    tested.load().frame_one(ODD, Frame::Confluent(NOBODYS));
    tested.burst(3)?;
    worker = caught_up(&tested, worker)?;
    let first = refused(&tested.job)?;
    ensure!(first.len() == 3, "{first:?}");

    // A restart does not ask whether they are refused: its state must be the very same.
    worker = restarted(&tested, worker)?;
    tested.burst(2)?;
    worker = caught_up(&tested, worker)?;
    let more = refused(&tested.job)?;
    ensure!(more.len() == 5, "{more:?}");

    // It resolves: the worker finds out by itself, and records flow again.
    registry.put(NOBODYS, Registered::avro(Observations::schema()));
    wait::until_true("the worker has found the schema", WAIT, || {
        worker.ensure_alive()?;
        Ok(worker.log()?.contains("the registry gave the schema"))
    })?;
    tested.burst(3)?;
    worker = caught_up(&tested, worker)?;
    worker = restarted(&tested, worker)?;
    tested.burst(WINDOW)?;
    stop(caught_up(&tested, worker)?)?;
    let mut all = refused(&tested.job)?;
    all.dedup();
    ensure!(all.len() == 5, "each once: {all:?}");
    ensure_as_without_them(&tested, &registry)
}

/// The forecasts are those of a worker that never saw the five records.
fn ensure_as_without_them(tested: &Scenario, registry: &TestRegistry) -> Result<()> {
    let mut clean = scenario("unknown-clean", 2, registry)?;
    clean.burst(WINDOW + 5)?;
    clean.load().frame_one(ODD, Frame::LeftOut);
    clean.burst(5)?;
    clean.load().frame(Frame::Confluent(KNOWN));
    clean.burst(3 + WINDOW)?;
    clean.run_to_end()?;
    let said =
        |of: &Scenario| without_source_after(&of.cluster, &of.job.forecasts(), CONFLUENT_PREFIX);
    let (found, expected) = (said(tested)?, said(&clean)?);
    ensure!(expected.len() == 40, "{} series", expected.len());
    let after = expected.get(&Load::name(ODD)).map_or(0, Vec::len);
    ensure!(after > 5, "{after} forecasts of the odd series");
    let same = found == expected;
    ensure!(same, "other forecasts than without the refused records");
    Ok(())
}

#[test]
fn a_worker_waits_for_the_registry_to_start() -> Result<()> {
    let mut registry = registry()?;
    let scenario = scenario("starting", 1, &registry)?;
    registry.stop();
    let mut worker = scenario.job.start(WORKER)?;
    wait_until_held(&mut worker)?;
    registry.restart()?;
    worker.wait_ready()?;
    stop(worker)
}

#[test]
fn a_worker_repeats_the_registrys_refusal_and_ends() -> Result<()> {
    let registry = registry()?;
    let job = scenario("declined", 1, &registry)?.job;
    let subject = format!("{}-value", job.forecasts());
    registry.register(
        &subject,
        r#"{"type": "record", "name": "Other", "fields": []}"#,
    )?;
    registry.freeze(&subject);
    let looking = job.clone().set("REGISTRY__REGISTER", "false");
    for (which, said) in [
        (job, "incompatible with an earlier schema"),
        (looking, "registry.register = true"),
    ] {
        let mut worker = which.start(WORKER)?;
        let status = worker.wait_for_end(END)?;
        let log = worker.log()?;
        ensure!(!status.success() && log.contains(said), "{status}\n{log}");
    }
    Ok(())
}
