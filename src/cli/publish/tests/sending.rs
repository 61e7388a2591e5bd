//! The order in which records are sent, and how they arrive.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Parser;
use rdkafka::mocking::MockCluster;

use super::super::*;
use super::{Command, SAMPLE, args, read};

fn published(args: &Arguments) -> Result<Published, PublishError> {
    publish_file(
        args,
        &args.connection.connection(&Environment::of([])).unwrap(),
        None,
    )
}

#[test]
fn all_series_start_at_once_whatever_the_order_of_the_file_and_the_size_of_the_runs() {
    let args = args(&[SAMPLE, "--speed", "600"]);
    let schema = args.schema(None).unwrap();
    let table = args.table(&schema).unwrap();
    let survey = Survey::of(&mut table.rows().unwrap(), &schema, u64::MAX).unwrap();
    assert_eq!(
        (survey.rows, survey.series(), survey.in_order),
        (6_754, 3, false)
    );
    assert_eq!(survey.span_ms, 3_981 * 120_000);
    // Independent of the code under test: rows as they are read, sorted by a stable sort.
    let mut first = BTreeMap::new();
    let mut wanted: Vec<_> = read(Path::new(SAMPLE), &[])
        .unwrap()
        .into_iter()
        .map(|row| {
            (
                row.time.0 - *first.entry(row.series.clone()).or_insert(row.time.0),
                row.series,
                row.time.0,
            )
        })
        .collect();
    wanted.sort_by_key(|(due, _, _)| *due);
    for run_bytes in [20_000, RUN_BYTES] {
        let mut feed =
            Feed::in_due_order(table.rows().unwrap(), &schema, &survey, run_bytes).unwrap();
        let mut encoded = Encoded::default();
        let mut found = Vec::new();
        while feed.next(&schema, &mut encoded).unwrap() {
            found.push((encoded.due_ms, encoded.series.clone(), encoded.time_ms));
        }
        assert!(
            found == wanted,
            "order differs with runs of {run_bytes} bytes"
        );
    }
}

#[test]
fn published_rows_arrive_with_key_time_and_value() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 4, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let command = |line: &[&str]| {
        let fixed = ["foretell", "--topic", "t", "--brokers", &brokers, SAMPLE];
        Command::try_parse_from(fixed.iter().chain(line))
            .unwrap()
            .args
    };
    published(&command(&["--speed", "1000000000", "--limit", "30"])).unwrap();
    published(&command(&[])).unwrap();
    let missing =
        Command::try_parse_from(["foretell", "-t", "nope", "-b", &brokers, SAMPLE]).unwrap();
    let error = published(&missing.args).unwrap_err().to_string();
    assert!(
        error.contains("no topic `nope`") && error.contains("topics create"),
        "{error}"
    );

    let rows = read(Path::new(SAMPLE), &[]).unwrap();
    let found = crate::cli::clients::test_reader::drain(&brokers, "t", 4);
    assert_eq!(found.len(), rows.len() + 30);
    // What the Java client's BuiltInPartitioner.partitionForKey gives, run with kafka-clients 4.1.1.
    let placed = BTreeMap::from([("ElBorn", 1), ("LesCorts", 2), ("PobleSec", 0)]);
    for record in &found {
        let key = std::str::from_utf8(&record.key).unwrap();
        let row = rows
            .iter()
            .find(|row| row.series == key && Some(row.time.0) == record.timestamp);
        assert!(row.is_some(), "{key} at {:?}", record.timestamp);
        assert_eq!(record.value[..2], [0xC3, 0x01]);
        assert_eq!(record.partition, placed[key]);
    }
}
