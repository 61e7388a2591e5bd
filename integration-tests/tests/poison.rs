//! Records that cannot be used: each ends once in the dead-letter topic with its bytes and its reason,
//! and the forecasts of its neighbours are as if it had never been there.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::NewRecord;
use integration_tests::forecast::without_source;
use integration_tests::kafka;
use integration_tests::observation::{Cells, Load, Observations, START_MS, STEP_MS};
use integration_tests::read::read_committed;
use integration_tests::scenario::Scenario;
use integration_tests::worker::{GAP_MAX, WINDOW};

/// Steps of good load before the poison and after it.
const BEFORE: u32 = 80;
const AFTER: u32 = 20;
/// Time of the newest good observation when the poison comes.
const NEWEST_MS: i64 = START_MS + 79 * STEP_MS;
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
    Ok(poison.into_iter().map(record).collect())
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
fn harmless() -> Result<[NewRecord; 2]> {
    let newest = Cells::of(9, BEFORE - 1);
    let duplicate = Observations::new()?.record(&Load::name(9), NEWEST_MS, newest)?;
    let key = Some(Load::name(8).into_bytes());
    Ok([
        NewRecord {
            key,
            value: None,
            timestamp_ms: NEWEST_MS,
        },
        duplicate,
    ])
}
