//! The commands on a real Kafka, and the settings of a worker that no other test has: what each says it
//! did is held against what Kafka's Java client reads.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use apache_avro::types::Value as Avro;
use integration_tests::cluster::{Cluster, NewRecord};
use integration_tests::forecast::{Fields, PREFIX, decode, without_source};
use integration_tests::observation::Load;
use integration_tests::process::{Process, output};
use integration_tests::read::{Seen, read_committed, values_by_key};
use integration_tests::scenario::{CATCH_UP, Scenario, stop};
use integration_tests::tools::in_repository;
use integration_tests::worker::{Job, WINDOW, binary};
use integration_tests::{kafka, scratch, wait};
use serde_json::Value as Json;

/// For a command to end that has a few thousand records to handle.
const COMMAND: Duration = Duration::from_secs(90);

#[test]
fn what_is_published_is_forecast_and_tailed() -> Result<()> {
    const ROWS: usize = 150;
    let cluster = kafka::shared()?;
    let job = Job::without_topics(&cluster, "chain", "chain-observations")?;
    let (absent, missing) = run(&job.command(&["topics", "check"])?)?;
    ensure!(
        absent == 1 && missing.contains("chain-forecasts: is missing"),
        "{missing}"
    );
    let create = ["topics", "create", "--partitions", "3", "--retention", "-1"];
    let created = ok(&job.command(&create)?)?;
    ensure!(created.contains("chain-observations: created, 3 partitions"));
    let (code, said) = run(&job.command(&["topics", "check"])?)?;
    ensure!(code == 0 && said.contains("kept for ever"), "{said}");
    let again = ok(&job.command(&create)?)?;
    ensure!(again.contains("is there already"), "{again}");

    let csv = in_repository("integration-tests/data/ElBorn_test.csv")?;
    let mut publish = job.command(&["publish", "--series", "ElBorn", "--assume-utc"])?;
    publish.args([
        "--topic",
        "chain-observations",
        "--limit",
        &ROWS.to_string(),
    ]);
    ok(publish.arg(csv))?;
    ensure!(read_committed(&cluster, "chain-observations")?.len() == ROWS);
    run_to_end(&job)?;

    let seen = read_committed(&cluster, &job.forecasts())?;
    let expected = decode(&seen, PREFIX)?;
    let due = ROWS + 1 - usize::try_from(WINDOW)?;
    ensure!(seen.len() == due, "{} forecasts of {due}", seen.len());
    let tail = ["tail", "--from", "beginning", "--exit", "--json"];
    ensure_tailed(&ok(&job.command(&tail)?)?, &expected)?;
    ensure_live_view(&job, &expected)
}

/// A terminal gets a line per series, renewed in place; a pipe a line per forecast, or that view at the end.
fn ensure_live_view(job: &Job, forecasts: &BTreeMap<String, Vec<Fields>>) -> Result<()> {
    let newest = forecasts
        .get("ElBorn")
        .and_then(|list| list.last())
        .context("no forecast")?;
    let origin = number(newest, "origin")? / 1_000;
    let date = Command::new("date")
        .args(["--utc", "+from %Y-%m-%dT%H:%M:%SZ  last-value 1", "--date"])
        .arg(format!("@{origin}"))
        .output()?;
    let end = String::from_utf8(date.stdout)?.trim().to_owned();

    let tail = ["tail", "--from", "beginning", "--exit"];
    let command = job.command(&tail)?;
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<_> = words
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command"]);
    let line = format!("stty cols 150 rows 40; exec {}", quoted.join(" "));
    let seen = ok(terminal.arg(line).arg("/dev/null").env("TERM", "xterm"))?;
    let is_block = |character: char| ('▁'..='█').contains(&character);
    let last = seen
        .rsplit("ElBorn")
        .next()
        .context("the terminal shows no ElBorn")?;
    ensure!(
        last.chars().filter(|it| is_block(*it)).count() == 32,
        "{last:?}"
    );
    ensure!(last.contains(&end), "{end:?} is not in {last:?}");

    let piped = ok(&job.command(&tail)?)?;
    let count: usize = forecasts.values().map(Vec::len).sum();
    ensure!(
        piped.lines().count() == count && !piped.contains(is_block),
        "{piped}"
    );
    let forced = ok(&job.command(&[&tail[..], &["--sparkline"]].concat())?)?;
    ensure!(
        forced.lines().count() == forecasts.len() && forced.contains(&end),
        "{forced}"
    );
    Ok(())
}

#[test]
fn the_demo_on_a_real_kafka_forecasts_everything_once() -> Result<()> {
    let cluster = kafka::shared()?;
    let log = scratch::folder("demo")?.join("demo.log");
    let mut demo = Command::new(binary()?);
    demo.args(["demo", "--speed", "max", "--brokers", cluster.brokers()]);
    let mut demo = Process::start(&demo, &log)?;
    let status = demo.wait_for_end(COMMAND)?;
    let said = std::fs::read_to_string(&log)?;
    ensure!(status.success(), "{status}\n{said}");
    ensure!(said.contains("exactly once"), "{said}");
    ensure!(
        said.contains("6,754 observations, 6,565 forecasts"),
        "{said}"
    );
    let topic = said
        .split_whitespace()
        .skip_while(|word| *word != "--topic")
        .nth(1)
        .context("it names no topic")?;
    let forecasts = decode(&read_committed(&cluster, topic)?, PREFIX)?;
    let mut origins = BTreeSet::new();
    for fields in forecasts.values().flatten() {
        let one = (text(fields, "series")?, number(fields, "origin")?);
        ensure!(origins.insert(one), "{one:?} was forecast twice");
    }
    ensure!(forecasts.len() == 3 && origins.len() == 6_565);
    let observations = topic.replace(".forecasts", ".observations");
    let sources: BTreeSet<_> = read_committed(&cluster, &observations)?
        .into_iter()
        .map(|record| (record.key, record.timestamp))
        .collect();
    ensure!(sources.len() == 6_754);
    for (series, origin) in origins {
        let source = (Some(series.as_bytes().to_vec()), origin);
        ensure!(
            sources.contains(&source),
            "no observation of {series} at {origin}"
        );
    }
    Ok(())
}

#[test]
fn at_least_once_loses_nothing_when_the_worker_is_killed() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "at-least-once", 4, |job| {
        job.set("COMMIT__GUARANTEE", "at_least_once")
            .set("COMMIT__INTERVAL_MIN", "0ms")
            .set("WORKER__BATCH_MAX", "4")
    })?;
    let before = scenario.progress.committed()?;
    let mut worker = scenario.job.start_ready("a")?;
    scenario.burst(150)?;
    wait::until_true("some of the load is committed", COMMAND, || {
        worker.ensure_alive()?;
        Ok(scenario.progress.committed()? > before)
    })?;
    worker.kill()?;
    scenario.run_to_end()?;

    let seen = read_committed(&scenario.cluster, &scenario.job.forecasts())?;
    ensure_no_transactions(&seen)?;
    // A forecast that is written again has the same bytes, its source among them.
    let mut once = values_by_key(&seen)?;
    for values in once.values_mut() {
        let mut known = BTreeSet::new();
        values.retain(|value| known.insert(*value));
    }
    scenario.ensure_complete(&once)
}

/// The end of a transaction is a record of its own, which readers see as an offset that is not there.
fn ensure_no_transactions(seen: &[Seen]) -> Result<()> {
    let mut next = BTreeMap::new();
    for record in seen {
        let next = next.entry(record.partition).or_insert(0);
        ensure!(record.offset == *next, "a gap before {record:?}");
        *next += 1;
    }
    Ok(())
}

#[test]
fn bare_datums_in_and_out_say_the_same_as_single_objects() -> Result<()> {
    const STEPS: u32 = 80;
    let mut scenario = Scenario::new(kafka::shared()?, "single-objects", 4, |job| job)?;
    scenario.burst(STEPS)?;
    scenario.run_to_end()?;

    let cluster = kafka::shared()?;
    cluster.create_topic("datums-observations", 4)?;
    write_datums(&cluster, "datums-observations", STEPS)?;
    let job = Job::new(&cluster, "datums", "datums-observations")?.datum();
    run_to_end(&job)?;
    ensure!(read_committed(&cluster, &job.dead_letters())?.is_empty());

    let forecasts = decode(&read_committed(&cluster, &job.forecasts())?, 0)?;
    let tail = ["tail", "--from", "beginning", "--exit", "--json", "--datum"];
    ensure_tailed(&ok(&job.command(&tail)?)?, &forecasts)?;
    let mut plain = BTreeMap::new();
    for (series, list) in forecasts {
        let list = list.into_iter().map(|mut fields| {
            fields.retain(|(name, _)| name != "source");
            Avro::Record(fields)
        });
        plain.insert(series, list.collect::<Vec<_>>());
    }
    let expected = without_source(&scenario.cluster, &scenario.job.forecasts())?;
    ensure!(expected.len() == 40 && plain == expected);
    Ok(())
}

/// The load of a scenario without the marker and the fingerprint.
fn write_datums(cluster: &Cluster, topic: &str, steps: u32) -> Result<()> {
    let mut load = Load::new(40)?;
    let writer = cluster.writer()?;
    for _ in 0..steps {
        for record in load.next_step()? {
            let value = record.value.context("an observation has a value")?;
            let value = value.get(PREFIX..).context("it has a prefix")?.to_vec();
            let value = Some(value);
            writer.send(topic, &NewRecord { value, ..record })?;
        }
    }
    writer.flush()
}

/// Starts a worker, waits until all of the input is processed, and ends it.
fn run_to_end(job: &Job) -> Result<()> {
    let mut worker = job.start_ready("a")?;
    job.progress()?
        .wait_for_end(CATCH_UP, || worker.ensure_alive())?;
    stop(worker)
}

/// What `tail --json` printed are these forecasts and no others, those of a series in their order.
fn ensure_tailed(printed: &str, expected: &BTreeMap<String, Vec<Fields>>) -> Result<()> {
    let mut tailed: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for line in printed.lines() {
        let forecast: Json = serde_json::from_str(line)?;
        let series = forecast["series"].as_str().context("no series")?;
        tailed.entry(series.to_owned()).or_default().push(forecast);
    }
    ensure!(tailed.keys().eq(expected.keys()), "{:?}", tailed.keys());
    for (series, list) in &tailed {
        let expected = expected.get(series).context("keys are equal")?;
        ensure!(list.len() == expected.len(), "{series}: {}", list.len());
        for (forecast, fields) in list.iter().zip(expected) {
            let fields = Avro::Record(fields.clone());
            ensure!(same(forecast, &fields), "{forecast} is not {fields:?}");
        }
    }
    Ok(())
}

/// Whether JSON and Avro say the same, every field of it. The JSON reader of this test may miss a
/// double by the last bit.
fn same(json: &Json, avro: &Avro) -> bool {
    match (json, avro) {
        (Json::Object(json), Avro::Record(fields)) => {
            json.len() == fields.len()
                && fields
                    .iter()
                    .all(|(name, value)| json.get(name).is_some_and(|json| same(json, value)))
        }
        (Json::Array(json), Avro::Array(items)) => {
            json.len() == items.len() && json.iter().zip(items).all(|(json, item)| same(json, item))
        }
        (json, Avro::String(text)) => json.as_str() == Some(text),
        (json, Avro::Boolean(value)) => json.as_bool() == Some(*value),
        (json, Avro::Int(value)) => json.as_i64() == Some(i64::from(*value)),
        (json, Avro::Long(value) | Avro::TimestampMillis(value)) => json.as_i64() == Some(*value),
        (json, Avro::Double(value)) => json
            .as_f64()
            .is_some_and(|json| json.to_bits().abs_diff(value.to_bits()) <= 1),
        _ => false,
    }
}

fn text<'a>(fields: &'a Fields, name: &str) -> Result<&'a str> {
    let found = fields.iter().find(|(field, _)| field == name);
    match found {
        Some((_, Avro::String(text))) => Ok(text),
        _ => Err(anyhow::anyhow!("no text {name} in {fields:?}")),
    }
}

fn number(fields: &Fields, name: &str) -> Result<i64> {
    let found = fields.iter().find(|(field, _)| field == name);
    match found {
        Some((_, Avro::Long(number) | Avro::TimestampMillis(number))) => Ok(*number),
        _ => Err(anyhow::anyhow!("no number {name} in {fields:?}")),
    }
}

/// Standard output of a command that must succeed.
fn ok(command: &Command) -> Result<String> {
    Ok(String::from_utf8(output(command, b"")?)?)
}

/// Exit code and everything said.
fn run(command: &Command) -> Result<(i32, String)> {
    let log = scratch::folder("command")?.join("command.log");
    let mut process = Process::start(command, &log)?;
    let status = process.wait_for_end(COMMAND)?;
    let code = status.code().context("ended by a signal")?;
    Ok((code, std::fs::read_to_string(log)?))
}
