//! The commands that speak to a registry: `publish` frames and registers what Confluent's deserializer reads.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use integration_tests::kafka;
use integration_tests::process::output;
use integration_tests::read::read_committed;
use integration_tests::registry::{Mood, TestRegistry};
use integration_tests::tools::{Tools, in_repository};
use integration_tests::worker::{Job, binary};
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

/// Exit code and everything that `topics check` says.
fn checked(job: &Job) -> Result<(Option<i32>, String)> {
    let output = job.command(&["topics", "check"])?.output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(said)?))
}

#[test]
fn topics_check_looks_at_the_subjects_of_both_topics() -> Result<()> {
    let cluster = kafka::shared()?;
    let mut registry = TestRegistry::start()?;
    cluster.create_topic("subjects-observations", 1)?;
    let job = Job::new(&cluster, "subjects", "subjects-observations")?.confluent(&registry.url());
    let ours = fs::read_to_string(in_repository("schemas/observation.avsc")?)?;
    let forecasts = fs::read_to_string(in_repository("schemas/forecast.avsc")?)?;
    let output = format!("{}-value", job.forecasts());
    let ensure_said = |checking: &Job, code: i32, parts: &[&str]| -> Result<()> {
        let (found, said) = checked(checking)?;
        ensure!(found == Some(code), "{found:?}: {said}");
        for part in parts {
            ensure!(said.contains(part), "no {part:?} in\n{said}");
        }
        Ok(())
    };

    let free = format!("note: subject {output}: is free");
    let none = "note: subject subjects-observations-value: there is none";
    ensure_said(&job, 0, &[none, &free])?;
    let looked_up = job.clone().set("REGISTRY__REGISTER", "false");
    ensure_said(
        &looked_up,
        1,
        &["lacks the schema of forecasts", "would not start"],
    )?;

    let other = r#"{"type":"record","name":"Other","fields":[{"name":"x","type":"bytes"}]}"#;
    registry.register("subjects-observations-value", other)?;
    registry.register(&output, other)?;
    ensure_said(
        &job,
        1,
        &["no schema serves", "takes the schema of forecasts beside"],
    )?;
    registry.freeze(&output);
    ensure_said(
        &job,
        1,
        &[
            "refuses the schema of forecasts",
            "incompatible with an earlier",
        ],
    )?;

    registry.register("subjects-observations-value", &ours)?;
    let job = job.set("TOPICS__FORECASTS", "subjects-forecasts-again");
    cluster.create_topic("subjects-forecasts-again", 1)?;
    registry.register("subjects-forecasts-again-value", &forecasts)?;
    let there = "note: subject subjects-forecasts-again-value: has the schema of forecasts, id ";
    ensure_said(&job, 0, &["serves, with all", there])?;

    registry.stop();
    ensure_said(&job, 1, &["error: subject", &registry.url()])
}
