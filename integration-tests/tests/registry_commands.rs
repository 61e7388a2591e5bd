//! The commands that speak to a registry: `publish` frames and registers what Confluent's deserializer reads.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use integration_tests::kafka;
use integration_tests::process::output;
use integration_tests::read::read_committed;
use integration_tests::registry::{Mood, TestRegistry};
use integration_tests::tools::{Tools, in_repository};
use integration_tests::worker::binary;
use serde_json::Value;

const ROWS: usize = 60;

/// `foretell publish` of the sample's first rows.
fn publish(brokers: &str, topic: &str, more: &[&str]) -> Result<Command> {
    let mut publish = Command::new(binary()?);
    publish
        .arg("publish")
        .arg(in_repository("demo/sample.parquet")?);
    publish.args(["--topic", topic, "--brokers", brokers, "--limit", "60"]);
    publish.args(more);
    Ok(publish)
}

/// What a command that fails says.
fn refusal(mut command: Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    Ok(said)
}

#[test]
fn publish_writes_what_confluents_deserializer_reads() -> Result<()> {
    let cluster = kafka::shared()?;
    let registry = TestRegistry::start()?;
    let topic = "published-framed";
    cluster.create_topic(topic, 2)?;
    let url = registry.url();
    let brokers = cluster.brokers();

    let missing = publish(brokers, topic, &["--registry", &url, "--no-register"])?;
    let said = refusal(missing)?;
    ensure!(said.contains("published-framed-value"), "{said}");
    ensure!(said.contains("without --no-register"), "{said}");
    registry.set(Mood::Says {
        status: 200,
        content_type: "text/html",
        body: "<html>log in</html>".to_owned(),
    });
    let page = refusal(publish(brokers, topic, &["--registry", &url])?)?;
    let whole = page.contains(&url) && page.contains("a page of HTML");
    ensure!(whole, "{page}");
    registry.set(Mood::Well);
    output(&publish(brokers, topic, &["--registry", &url])?, b"")?;
    // It is there now.
    let again = publish(brokers, topic, &["--registry", &url, "--no-register"])?;
    output(&again, b"")?;

    let subject = format!("{topic}-value");
    let registered = registry.latest(&subject).context("nothing registered")?;
    let text = registered["schema"].as_str().context("no text")?;
    let file = fs::read_to_string(in_repository("schemas/observation.avsc")?)?;
    let ours: Value = serde_json::from_str(&file)?;
    let same = ours == serde_json::from_str::<Value>(text)?;
    ensure!(same && registered["version"] == 1, "{registered}");
    let id = registered["id"].as_u64().context("no id")?;
    let frame = [&[0][..], &u32::try_from(id)?.to_be_bytes()].concat();
    let records = read_committed(&cluster, topic)?;
    ensure!(records.len() == 2 * ROWS, "{} records", records.len());
    for record in &records {
        let value = record.value.as_deref().context("no value")?;
        ensure!(value.starts_with(&frame), "{record:?}");
    }
    let mut python = Tools::get()?.python("registry.py");
    python.args(["read", brokers, topic, &url]);
    let read = String::from_utf8(output(&python, b"")?)?;
    ensure!(read.lines().count() == 2 * ROWS, "{read}");
    for line in read.lines() {
        let observation: Value = serde_json::from_str(line)?;
        let is_read = observation["series"].is_string() && observation["down"].is_number();
        ensure!(is_read, "{observation}");
    }
    Ok(())
}
