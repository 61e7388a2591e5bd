//! The harness itself: what the other tests rest on must be true of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::{Cluster, NewRecord};
use integration_tests::kafka::{self, Kafka};
use integration_tests::process::Process;
use integration_tests::read::read_committed;
use integration_tests::transactions::Transactions;
use integration_tests::{scratch, wait};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn readers_see_committed_records_only() -> Result<()> {
    let cluster = kafka::shared()?;
    cluster.create_topic("committed-only", 1)?;
    write_in_transaction(&cluster, "committed-only", "first", |producer| {
        producer.commit_transaction(DEADLINE)
    })?;
    write_in_transaction(&cluster, "committed-only", "aborted", |producer| {
        producer.abort_transaction(DEADLINE)
    })?;
    write_in_transaction(&cluster, "committed-only", "last", |producer| {
        producer.commit_transaction(DEADLINE)
    })?;
    let seen = read_committed(&cluster, "committed-only")?;
    let values: Vec<_> = seen.iter().map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [Some(&b"first"[..]), Some(&b"last"[..])]);
    Ok(())
}

#[test]
fn an_open_transaction_is_listed_until_it_ends() -> Result<()> {
    let cluster = kafka::shared()?;
    cluster.create_topic("open-transaction", 1)?;
    let mut transactions = Transactions::watch(&cluster)?;
    assert!(!transactions.is_open("open-transaction")?);
    write_in_transaction(&cluster, "open-transaction", "value", |producer| {
        wait::until_true("the transaction is listed", DEADLINE, || {
            transactions.is_open("open-transaction")
        })
        .map_err(|_late| rdkafka::error::KafkaError::Canceled)?;
        producer.commit_transaction(DEADLINE)
    })?;
    assert!(!transactions.is_open("open-transaction")?);
    Ok(())
}

#[test]
fn keys_nulls_and_timestamps_come_back_as_written() -> Result<()> {
    let cluster = kafka::shared()?;
    cluster.create_topic("as-written", 1)?;
    let records = [
        NewRecord {
            key: Some(b"key".to_vec()),
            value: Some(vec![0, 255]),
            timestamp_ms: 1,
        },
        NewRecord {
            key: Some(b"key".to_vec()),
            value: None,
            timestamp_ms: 2,
        },
        NewRecord {
            key: None,
            value: Some(Vec::new()),
            timestamp_ms: 3,
        },
    ];
    let writer = cluster.writer()?;
    for record in &records {
        writer.send("as-written", record)?;
    }
    writer.flush()?;
    let seen = read_committed(&cluster, "as-written")?;
    assert_eq!(seen.len(), records.len());
    for (found, written) in seen.iter().zip(&records) {
        assert_eq!((&found.key, &found.value), (&written.key, &written.value));
        assert_eq!(found.timestamp, written.timestamp_ms);
    }
    Ok(())
}

#[test]
fn a_broker_comes_back_with_its_records() -> Result<()> {
    let mut kafka = Kafka::start()?;
    let cluster = kafka.cluster();
    cluster.create_topic("kept", 1)?;
    let writer = cluster.writer()?;
    let record = NewRecord {
        key: None,
        value: Some(b"kept".to_vec()),
        timestamp_ms: 1,
    };
    writer.send("kept", &record)?;
    writer.flush()?;
    kafka.stop()?;
    assert!(!cluster.answers());
    kafka.resume()?;
    assert_eq!(read_committed(&cluster, "kept")?.len(), 1);
    kafka.kill()?;
    kafka.resume()?;
    assert_eq!(read_committed(&cluster, "kept")?.len(), 1);
    Ok(())
}

#[test]
fn a_dropped_process_is_gone() -> Result<()> {
    let log = scratch::folder("dropped")?.join("log");
    let mut command = Command::new("sleep");
    command.arg("1000");
    let process = Process::start(&command, &log)?;
    let folder = format!("/proc/{}", process.id());
    ensure!(Path::new(&folder).exists(), "it runs");
    drop(process);
    assert!(!Path::new(&folder).exists());
    Ok(())
}

/// The kernel's side of "never left behind": the process asks to be killed with its parent.
#[test]
fn a_process_is_bound_to_the_test_process_not_to_the_thread_of_a_test() -> Result<()> {
    let log = scratch::folder("bound")?.join("log");
    let process = std::thread::spawn(move || {
        let mut command = Command::new("sleep");
        command.arg("1000");
        Process::start(&command, &log)
    });
    let mut process = process.join().ok().context("the thread panicked")??;
    wait::until_true("setpriv has become sleep", DEADLINE, || {
        let line = fs::read(format!("/proc/{}/cmdline", process.id()))?;
        Ok(line.starts_with(b"sleep"))
    })?;
    // The thread that asked for it has ended.
    process.ensure_alive()
}

/// Writes one record in a transaction and ends it as the caller does.
fn write_in_transaction(
    cluster: &Cluster,
    topic: &str,
    value: &str,
    mut end: impl FnMut(&ThreadedProducer<DefaultProducerContext>) -> rdkafka::error::KafkaResult<()>,
) -> Result<()> {
    let producer: ThreadedProducer<DefaultProducerContext> =
        cluster.client().set("transactional.id", topic).create()?;
    producer.init_transactions(DEADLINE)?;
    producer.begin_transaction()?;
    let record = BaseRecord::<str, str>::to(topic).payload(value);
    producer.send(record).map_err(|(error, _)| error)?;
    producer.flush(DEADLINE)?;
    end(&producer)?;
    Ok(())
}
