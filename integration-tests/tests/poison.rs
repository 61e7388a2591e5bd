//! Records that cannot be used: each ends once in the dead-letter topic with its bytes and its reason,
//! and the forecasts of its neighbours are as if it had never been there.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use integration_tests::cluster::NewRecord;
use integration_tests::forecast::without_source;
use integration_tests::kafka;
use integration_tests::observation::{Cells, Load, Observations, START_MS, STEP_MS};
use integration_tests::process::output;
use integration_tests::read::{Seen, read_committed};
use integration_tests::scenario::Scenario;
use integration_tests::tools::Tools;
use integration_tests::worker::{GAP_MAX, WINDOW};
use serde_json::{Value, json};

/// Steps of good load before the poison and after it.
const BEFORE: u32 = 80;
const AFTER: u32 = 20;
/// Time of the newest good observation when the poison comes.
const NEWEST_MS: i64 = START_MS + 79 * STEP_MS;
/// A key that is not UTF-8.
const NO_TEXT: &[u8] = b"\xff\xfekey";
/// Values that are in no good observation.
const CELLS: Cells = Cells {
    down: Some(1.0),
    up: 2.0,
    rnti_count: 3,
};

#[test]
fn each_poison_record_is_dead_lettered_once_and_its_neighbours_are_untouched() -> Result<()> {
    assert_eq!(NEWEST_MS, START_MS + i64::from(BEFORE - 1) * STEP_MS);
    let poison = poison()?;
    let mut scenario = Scenario::new(kafka::shared()?, "poisoned", 4, |job| job)?;
    scenario.burst(BEFORE)?;
    for (_, record) in &poison {
        scenario.send(record)?;
    }
    for record in harmless()? {
        scenario.send(&record)?;
    }
    scenario.burst(AFTER)?;
    scenario.run_to_end()?;
    ensure_dead_letters(&scenario, &poison)?;
    ensure_a_backtest_counts_the_same(&scenario)?;

    let mut clean = Scenario::new(kafka::shared()?, "not-poisoned", 4, |job| job)?;
    clean.burst(BEFORE + AFTER)?;
    clean.run_to_end()?;
    let poisoned = without_source(&scenario.cluster, &scenario.job.forecasts())?;
    let expected = without_source(&clean.cluster, &clean.job.forecasts())?;
    ensure!(
        expected.len() == 40,
        "{} series have forecasts",
        expected.len()
    );
    ensure!(
        poisoned == expected,
        "the neighbours' forecasts differ from those without poison"
    );
    Ok(())
}

/// Every poison record is there exactly once, as it was, and nothing else is.
fn ensure_dead_letters(scenario: &Scenario, poison: &[(&str, NewRecord)]) -> Result<()> {
    let input = read_committed(&scenario.cluster, scenario.input())?;
    let mut at = BTreeMap::new();
    for record in &input {
        at.insert(
            record.value.as_deref(),
            (record.partition, record.offset, &record.key),
        );
    }
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    for (reason, record) in poison {
        let mut found = letters.iter().filter(|letter| letter.value == record.value);
        let letter = found
            .next()
            .with_context(|| format!("{reason}: no dead letter"))?;
        ensure!(found.next().is_none(), "{reason}: two dead letters");
        ensure!(
            letter.header("foretell.reason")? == *reason,
            "{reason}: {letter:?}"
        );
        let (partition, offset, key) = at
            .get(&record.value.as_deref())
            .context("not in the input")?;
        ensure!(letter.key == **key, "{reason}: the key is {:?}", letter.key);
        ensure!(
            letter.header("foretell.source.topic")? == scenario.input(),
            "{letter:?}"
        );
        let source = (partition.to_string(), offset.to_string());
        let said = (
            letter.header("foretell.source.partition")?,
            letter.header("foretell.source.offset")?,
        );
        ensure!(
            said == (&*source.0, &*source.1),
            "{reason}: {said:?}, must be {source:?}"
        );
    }
    ensure!(
        letters.len() == poison.len(),
        "{} dead letters",
        letters.len()
    );
    Ok(())
}

/// `foretell backtest` on the topic comes to the worker's outcomes: the forecasts and dead letters that
/// the worker wrote, and every record once.
fn ensure_a_backtest_counts_the_same(scenario: &Scenario) -> Result<()> {
    let topic = ["backtest", "--json", "--topic", scenario.input()];
    let mut backtest = scenario.job.command(&topic)?;
    backtest.arg("--model").arg(scenario.job.model_file());
    let report: Value = serde_json::from_slice(&output(&backtest, b"")?)?;
    let counted = report["models"][0]["outcomes"]
        .as_object()
        .context("no outcomes")?;
    let forecasts = read_committed(&scenario.cluster, &scenario.job.forecasts())?.len();
    ensure!(counted["forecast"] == forecasts, "{counted:?}");
    let mut letters: BTreeMap<String, u64> = BTreeMap::new();
    for letter in read_committed(&scenario.cluster, &scenario.job.dead_letters())? {
        let name = format!("rejected as {}", letter.header("foretell.reason")?);
        *letters.entry(name).or_default() += 1;
    }
    for (name, count) in &letters {
        ensure!(
            counted.get(name) == Some(&json!(count)),
            "{name} {count}: {counted:?}"
        );
    }
    let rejected = counted.keys().filter(|name| name.starts_with("rejected"));
    ensure!(rejected.count() == letters.len(), "{counted:?}");
    let total: u64 = counted.values().filter_map(Value::as_u64).sum();
    let records = read_committed(&scenario.cluster, scenario.input())?.len();
    ensure!(
        total == u64::try_from(records)?,
        "{total} of {records}: {counted:?}"
    );
    Ok(())
}

/// Every kind of bad record, all keyed as good series are so that they lie among good records.
fn poison() -> Result<Vec<(&'static str, NewRecord)>> {
    let mut poison = damaged()?;
    poison.extend(readable()?);
    let record = |(series, reason, value)| {
        let key = Some(Load::name(series).into_bytes());
        let timestamp_ms = NEWEST_MS + STEP_MS;
        (
            reason,
            NewRecord {
                key,
                value: Some(value),
                timestamp_ms,
            },
        )
    };
    let mut records: Vec<_> = poison.into_iter().map(record).collect();
    let no_text = NewRecord {
        key: Some(NO_TEXT.to_vec()),
        value: Some(b"no Avro, and its key is no text".to_vec()),
        timestamp_ms: NEWEST_MS,
    };
    records.push(("undecodable", no_text));
    Ok(records)
}

/// The series whose key it has, the reason for which it must be refused, and its bytes.
type Bad = (u32, &'static str, Vec<u8>);

/// Bytes that are no observation.
fn damaged() -> Result<Vec<Bad>> {
    let whole = Observations::new()?.encode(&Load::name(0), NEWEST_MS + STEP_MS, CELLS)?;
    let mut unknown = whole.clone();
    unknown.splice(2..10, [0; 8]);
    let mut long = whole.clone();
    long.push(0);
    let mut other = whole.clone();
    other[0] = 0;
    Ok(vec![
        (0, "undecodable", b"no Avro at all".to_vec()),
        (0, "undecodable", Vec::new()),
        (1, "undecodable", whole[..whole.len() - 3].to_vec()),
        (2, "undecodable", whole[..6].to_vec()),
        (3, "undecodable", long),
        (4, "undecodable", other),
        (5, "unknown_schema", unknown),
    ])
}

/// Observations that say something that cannot be. Where the series' window decides, the key is the
/// series', so that they meet in one partition.
fn readable() -> Result<Vec<Bad>> {
    let observations = Observations::new()?;
    let with = |series: &str, time: i64, cells| observations.encode(series, time, cells);
    let of = |series: u32, time: i64| with(&Load::name(series), time, CELLS);
    let next = NEWEST_MS + STEP_MS;
    let span = i64::from(WINDOW + GAP_MAX) * STEP_MS;
    let nan = Cells {
        down: Some(f64::NAN),
        ..CELLS
    };
    let infinite = Cells {
        up: f32::INFINITY,
        ..CELLS
    };
    Ok(vec![
        (6, "bad_series", with("", next, CELLS)?),
        (7, "bad_series", with(&"s".repeat(257), next, CELLS)?),
        (1, "not_finite", with(&Load::name(1), next, nan)?),
        (2, "not_finite", with(&Load::name(2), next, infinite)?),
        (3, "time_out_of_range", of(3, next + 2 * STEP_MS)?),
        (3, "time_out_of_range", of(3, next + 20_000 * STEP_MS)?),
        (4, "time_out_of_range", of(4, -STEP_MS)?),
        (5, "off_grid", of(5, next + STEP_MS / 3)?),
        (6, "late", of(6, NEWEST_MS - span)?),
        (7, "conflicting_duplicate", of(7, NEWEST_MS)?),
    ])
}

/// Records that are no news: neither a forecast nor a dead letter comes of them.
fn harmless() -> Result<[NewRecord; 3]> {
    let newest = Cells::of(9, BEFORE - 1);
    let duplicate = Observations::new()?.record(&Load::name(9), NEWEST_MS, newest)?;
    let key = Some(Load::name(8).into_bytes());
    // The series of an observation is in its value.
    let mut no_text = Observations::new()?.record("keyed by no text", NEWEST_MS, CELLS)?;
    no_text.key = Some(NO_TEXT.to_vec());
    Ok([
        NewRecord {
            key,
            value: None,
            timestamp_ms: NEWEST_MS,
        },
        duplicate,
        no_text,
    ])
}

#[test]
fn a_header_name_that_is_no_text_is_passed_over() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "raw-headers", 4, |job| {
        job.set("FORECAST__COPY_HEADERS", "traceparent")
    })?;
    scenario.burst(BEFORE)?;
    let time = NEWEST_MS + STEP_MS;
    let good = Observations::new()?.encode(&Load::name(1), time, CELLS)?;
    // The one makes a forecast due, the other is refused.
    for value in [good, b"no Avro".to_vec()] {
        let mut python = Tools::get()?.python("raw_header.py");
        python.args([scenario.cluster.brokers(), scenario.input()]);
        python.args([Load::name(1), time.to_string()]);
        output(&python, &value)?;
    }
    scenario.run_to_end()?;
    let forecasts = read_committed(&scenario.cluster, &scenario.job.forecasts())?;
    let kept = forecasts
        .iter()
        .filter(|forecast| forecast.header("traceparent").is_ok_and(|it| it == "kept"));
    let keys: Vec<_> = kept.map(Seen::key_text).collect::<Result<_>>()?;
    ensure!(keys == [Load::name(1)], "{keys:?}");
    let letters = letters(&scenario)?;
    ensure!(letters.len() == 1 && letters[0].header("foretell.reason")? == "undecodable");
    Ok(())
}

#[test]
fn a_value_that_is_too_long_is_cut_and_its_digest_kept() -> Result<()> {
    let scenario = Scenario::new(kafka::shared()?, "too-long", 1, |job| {
        job.set("INPUT__VALUE_BYTES_MAX", "600 KiB")
    })?;
    let value: Vec<u8> = (0..=u8::MAX).cycle().take(800 << 10).collect();
    scenario.send(&NewRecord {
        key: Some(b"long".to_vec()),
        value: Some(value.clone()),
        timestamp_ms: NEWEST_MS,
    })?;
    scenario.run_to_end()?;
    let letters = letters(&scenario)?;
    let [letter] = &*letters else {
        bail!("{} dead letters", letters.len());
    };
    ensure!(letter.header("foretell.reason")? == "undecodable");
    ensure!(letter.key.as_deref() == Some(&b"long"[..]));
    ensure!(letter.value.as_deref() == value.get(..512 << 10));
    ensure!(letter.header("foretell.value.bytes")? == value.len().to_string());
    let digest = String::from_utf8(output(&Command::new("sha256sum"), &value)?)?;
    ensure!(digest.starts_with(letter.header("foretell.value.sha256")?));
    Ok(())
}

#[test]
fn a_series_too_many_is_refused() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "too-many", 1, |job| {
        job.set("WINDOW__SERIES_MAX", "40")
    })?;
    scenario.burst(2)?;
    let one_more = Observations::new()?.record("one more", START_MS + STEP_MS, CELLS)?;
    scenario.send(&one_more)?;
    scenario.burst(1)?;
    scenario.run_to_end()?;
    let letters = letters(&scenario)?;
    ensure!(letters.len() == 1 && letters[0].value == one_more.value);
    ensure!(letters[0].header("foretell.reason")? == "too_many_series");
    Ok(())
}

#[test]
fn an_observation_that_lacks_a_value_is_refused_where_that_is_configured() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "missing", 4, |job| {
        job.set("WINDOW__MISSING", "reject")
    })?;
    scenario.burst(BEFORE)?;
    scenario.run_to_end()?;
    let observations = Observations::new()?;
    let mut expected = BTreeSet::new();
    for (series, step) in (0..40).flat_map(|series| (0..BEFORE).map(move |step| (series, step))) {
        let cells = Cells::of(series, step);
        if cells.down.is_none() {
            let time = START_MS + i64::from(step) * STEP_MS;
            expected.insert(Some(observations.encode(
                &Load::name(series),
                time,
                cells,
            )?));
        }
    }
    let letters = letters(&scenario)?;
    for letter in &letters {
        ensure!(letter.header("foretell.reason")? == "missing_value");
        ensure!(expected.remove(&letter.value), "{letter:?}");
    }
    ensure!(letters.len() > 10 && expected.is_empty(), "{expected:?}");
    Ok(())
}

#[test]
fn an_observation_of_which_the_model_makes_no_number_is_dead_lettered_alone() -> Result<()> {
    const STEPS: u32 = 12;
    let mut scenario = Scenario::new(kafka::shared()?, "no-number", 1, |job| job)?;
    // Logarithms of windows of two.
    scenario.job = scenario.job.model("tests/models/not_finite.onnx")?;
    scenario.burst(STEPS)?;
    let none = Cells { up: 0.0, ..CELLS };
    let time = START_MS + i64::from(STEPS) * STEP_MS;
    let bad = Observations::new()?.record(&Load::name(1), time, none)?;
    scenario.send(&bad)?;
    scenario.run_to_end()?;
    let mut letters = letters(&scenario)?;
    for letter in &letters {
        ensure!(letter.header("foretell.reason")? == "model_output_invalid");
    }
    let all = letters.len();
    letters.retain(|letter| letter.value == bad.value);
    ensure!(letters.len() == 1 && letters[0].key == bad.key);
    let forecasts = read_committed(&scenario.cluster, &scenario.job.forecasts())?.len();
    let mut load = Load::new(40)?;
    for _ in 0..STEPS {
        load.next_step()?;
    }
    let due: usize = (0..40).map(|series| load.due(series, 2, GAP_MAX)).sum();
    ensure!(
        forecasts > 400 && forecasts + all == due + 1,
        "{forecasts} forecasts and {all} dead letters, {due} and one were due"
    );
    Ok(())
}

fn letters(scenario: &Scenario) -> Result<Vec<Seen>> {
    read_committed(&scenario.cluster, &scenario.job.dead_letters())
}
