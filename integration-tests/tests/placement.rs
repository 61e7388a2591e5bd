//! Keys go where Kafka's Java producer puts them, whoever writes them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use anyhow::{Context, Result};
use foretell::domain::{PartitionId, partition_of};
use integration_tests::cluster::NewRecord;
use integration_tests::kafka;
use integration_tests::process::output;
use integration_tests::read::read_committed;
use integration_tests::tools::Tools;

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
fn our_producers_place_keys_as_the_java_client_does() -> Result<()> {
    let cluster = kafka::shared()?;
    cluster.create_topic("placed", 7)?;
    let writer = cluster.writer()?;
    for key in keys() {
        let key = Some(key.into_bytes());
        writer.send(
            "placed",
            &NewRecord {
                key,
                value: Some(vec![1]),
                timestamp_ms: 1,
            },
        )?;
    }
    writer.flush()?;
    let java = placed_by_java(7)?;
    let seen = read_committed(&cluster, "placed")?;
    assert_eq!(seen.len(), java.len());
    for record in seen {
        assert_eq!(
            Some(&record.partition),
            java.get(record.key_text()?),
            "{record:?}"
        );
    }
    Ok(())
}

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
