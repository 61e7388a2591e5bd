//! Keys go where Kafka's Java producer puts them, whoever writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroU32;

use anyhow::{Context, Result, ensure};
use foretell::domain::{PartitionId, partition_of};
use integration_tests::process::output;
use integration_tests::read::read_committed;
use integration_tests::scenario::{CATCH_UP, stop};
use integration_tests::tools::Tools;
use integration_tests::worker::Job;
use integration_tests::{kafka, scratch};

/// Keys of every length from none to many bytes, ASCII and not.
fn keys() -> Vec<String> {
    let mut keys: Vec<String> = (0..2_000).map(|n| format!("cell-{n}")).collect();
    keys.extend((1..64).map(|length| "k".repeat(length)));
    keys.extend((1..64).map(|length| "größe-東京-".repeat(length)));
    keys
}

#[test]
fn the_worker_knows_where_the_java_client_puts_a_key() -> Result<()> {
    for partitions in [1, 3, 64, 1_000] {
        let count = NonZeroU32::new(partitions).context("not zero")?;
        for (key, java) in placed_by_java(partitions)? {
            let ours = partition_of(key.as_bytes(), count);
            assert_eq!(ours, PartitionId(java), "{key} of {partitions} partitions");
        }
    }
    Ok(())
}

#[test]
fn the_worker_and_publish_place_keys_as_the_java_client_does() -> Result<()> {
    const PARTITIONS: u32 = 7;
    let cluster = kafka::shared()?;
    let names = [
        "placed-observations",
        "placed-forecasts",
        "placed-dead-letters",
    ];
    for name in names {
        cluster.create_topic(name, usize::try_from(PARTITIONS)?)?;
    }
    // A window of one slot: every observation makes a forecast due.
    let job = Job::without_topics(&cluster, "placed", "placed-observations")?
        .set("WINDOW__LENGTH", "1")
        .set("WINDOW__FEATURES", "a")
        .model("tests/models/fails_on_some.onnx")?;
    let java = placed_by_java(PARTITIONS)?;
    let csv = scratch::folder("placed")?.join("placed.csv");
    let mut rows = "series,time,a\n".to_owned();
    for (index, key) in keys().iter().enumerate() {
        // The model has no forecast for a value of 400 or more, and the worker a dead letter.
        let value = if index.is_multiple_of(4) { 900 } else { 50 };
        writeln!(rows, "{key},2019-01-01T00:00:00Z,{value}")?;
    }
    fs::write(&csv, rows)?;
    fs::write(job.schemas().join("placed.avsc"), SCHEMA)?;
    let mut publish = job.command(&["publish", "--topic", "placed-observations"])?;
    publish
        .arg("--schema")
        .arg(job.schemas().join("placed.avsc"));
    output(publish.arg(csv), b"")?;

    let mut worker = job.start_ready("a")?;
    job.progress()?
        .wait_for_end(CATCH_UP, || worker.ensure_alive())?;
    stop(worker)?;
    let [observations, forecasts, dead_letters] = names.map(|name| read_committed(&cluster, name));
    let (forecasts, dead_letters) = (forecasts?, dead_letters?);
    ensure!(!dead_letters.is_empty() && forecasts.len() > dead_letters.len());
    for seen in [observations?, [forecasts, dead_letters].concat()] {
        assert_eq!(seen.len(), java.len());
        for record in seen {
            let expected = java.get(record.key_text()?);
            assert_eq!(Some(&record.partition), expected, "{record:?}");
        }
    }
    Ok(())
}

/// An observation with the feature of the model.
const SCHEMA: &str = r#"{
  "type": "record", "name": "Placed", "namespace": "tests",
  "fields": [
    {"name": "series", "type": "string"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "a", "type": "double"}
  ]
}"#;

fn placed_by_java(partitions: u32) -> Result<BTreeMap<String, i32>> {
    let mut java = Tools::get()?.java("Placement", "128m");
    java.arg(partitions.to_string());
    let answers = String::from_utf8(output(&java, keys().join("\n").as_bytes())?)?;
    let parsed = answers
        .lines()
        .map(str::parse)
        .collect::<Result<Vec<i32>, _>>()?;
    Ok(keys().into_iter().zip(parsed).collect())
}
