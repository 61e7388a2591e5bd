//! `dead-letters list` and `replay` on a real Kafka: refused records are sent again, all or none, once,
//! and end as they would have ended had the cause been mended before.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::NewRecord;
use integration_tests::observation::START_MS;
use integration_tests::process::output;
use integration_tests::read::{Seen, read_committed, values_by_key};
use integration_tests::scenario::Scenario;
use integration_tests::{kafka, scratch};
use serde_json::Value as Json;

/// Of load, so that every series has forecasts.
const STEPS: u32 = 70;

#[test]
fn records_refused_for_a_missing_schema_are_replayed_once_it_is_there() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "replayed", 4, |job| job)?;
    let schema = scenario.job.schemas().join("cell_load.avsc");
    let aside = scratch::folder("replayed-schema")?.join("cell_load.avsc");
    std::fs::rename(&schema, &aside)?;
    scenario.burst(STEPS)?;
    let poison = NewRecord {
        key: Some(b"cell-0".to_vec()),
        value: Some(b"no Avro at all".to_vec()),
        timestamp_ms: START_MS,
    };
    scenario.send(&poison)?;
    scenario.run_to_end()?;
    let original = read_committed(&scenario.cluster, scenario.input())?;
    let refused = original.len();
    let good = refused - 1;

    let counts = list_counts(&scenario)?;
    ensure!(
        counts["letters"] == refused && counts["replayed"] == 0,
        "{counts}"
    );
    ensure!(counts["reasons"]["unknown_schema"] == good, "{counts}");
    ensure!(counts["reasons"]["undecodable"] == 1, "{counts}");

    // A rehearsal, and a run that another one overtakes in the middle of nothing, send nothing.
    let rehearsed = command(&scenario, &["replay"])?;
    ensure!(rehearsed.contains("nothing was sent"), "{rehearsed}");
    ensure!(
        rehearsed.matches(" -> replayed-observations[").count() == refused,
        "{rehearsed}"
    );
    ensure!(read_committed(&scenario.cluster, scenario.input())?.len() == refused);

    std::fs::rename(&aside, &schema)?;
    let sent = command(&scenario, &["replay", "--execute"])?;
    ensure!(
        sent.contains(&format!("{} sent: ", grouped(refused))),
        "{sent}"
    );
    ensure_sent_as_they_were(&scenario, &original)?;

    // Of everything that was sent there is a receipt: nothing is sent twice.
    let again = command(&scenario, &["replay", "--execute"])?;
    ensure!(
        again.contains(&format!("0 sent; {} not", grouped(refused))),
        "{again}"
    );
    ensure!(again.contains("replayed already"), "{again}");
    let after = list_counts(&scenario)?;
    ensure!(
        after["letters"] == refused && after["replayed"] == refused,
        "{after}"
    );

    // The replay ended with a transaction's marker, behind which a worker's offset stays until a record.
    scenario.burst(1)?;
    scenario.run_to_end()?;
    let forecasts = read_committed(&scenario.cluster, &scenario.job.forecasts())?;
    scenario.ensure_complete(&values_by_key(&forecasts)?)?;
    ensure_no_circle(&scenario, refused)
}

/// The record that no replay helps has a new letter, which says so and is not sent again unless asked to.
fn ensure_no_circle(scenario: &Scenario, refused: usize) -> Result<()> {
    let listed = command(scenario, &["list", "--json", "--reason", "undecodable"])?;
    let letters: Vec<Json> = listed
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect::<Result<_>>()?;
    let fresh: Vec<_> = letters
        .iter()
        .filter(|letter| letter["replayed"] == false)
        .collect();
    ensure!(letters.len() == 2 && fresh.len() == 1, "{listed}");
    ensure!(fresh[0]["replayed_times"] == 1, "{listed}");
    let first = letters
        .iter()
        .find(|letter| letter["replayed"] == true)
        .context("the first")?;
    let from = format!(
        "{}/{}/{}",
        scenario.job.dead_letters(),
        first["partition"],
        first["offset"]
    );
    ensure!(
        fresh[0]["replayed_from"] == from.as_str(),
        "{listed} {from}"
    );

    let before = read_committed(&scenario.cluster, scenario.input())?.len();
    let kept = command(
        scenario,
        &["replay", "--execute", "--reason", "undecodable"],
    )?;
    ensure!(
        kept.contains("0 sent; 2 not") && kept.contains("refused again"),
        "{kept}"
    );
    ensure!(read_committed(&scenario.cluster, scenario.input())?.len() == before);
    // Twice, and the last step of the load.
    ensure!(before == 2 * refused + 40);

    let elsewhere = format!("{}-rescued", scenario.input());
    scenario.cluster.create_topic(&elsewhere, 1)?;
    let arguments = [
        "replay",
        "--execute",
        "--again",
        "--reason",
        "undecodable",
        "--to-topic",
        &elsewhere,
    ];
    let sent = command(scenario, &arguments)?;
    ensure!(sent.contains("2 sent: undecodable 2; 0 not"), "{sent}");
    let rescued = read_committed(&scenario.cluster, &elsewhere)?;
    let times: Vec<_> = rescued
        .iter()
        .map(|record| record.header("foretell.replayed.times"))
        .collect::<Result<_>>()?;
    ensure!(
        rescued
            .iter()
            .all(|record| record.value.as_deref() == Some(b"no Avro at all"))
    );
    ensure!(times == ["1", "2"] || times == ["2", "1"], "{times:?}");
    Ok(())
}

/// Keys, values, timestamps, partitions and the order of each series are those of the original.
fn ensure_sent_as_they_were(scenario: &Scenario, original: &[Seen]) -> Result<()> {
    let all = read_committed(&scenario.cluster, scenario.input())?;
    let first: BTreeMap<(i32, i64), &Seen> = original
        .iter()
        .map(|record| ((record.partition, record.offset), record))
        .collect();
    let (old, new): (Vec<&Seen>, Vec<&Seen>) = all
        .iter()
        .partition(|record| first.contains_key(&(record.partition, record.offset)));
    let by_key = |records: &[&Seen]| -> Vec<String> {
        let mut found = BTreeMap::new();
        for record in records {
            let of_key: &mut Vec<_> = found.entry((record.partition, &record.key)).or_default();
            of_key.push((&record.value, record.timestamp));
        }
        found
            .into_iter()
            .map(|entry| format!("{entry:?}"))
            .collect()
    };
    ensure!(new.len() == original.len(), "{} were sent", new.len());
    // Letters of one series come back in order; the poison's key is no series of the load.
    ensure!(by_key(&old) == by_key(&new), "what was sent differs");
    for record in new {
        ensure!(record.header("foretell.replayed.times")? == "1");
        let from = record.header("foretell.replayed.from")?;
        ensure!(
            from.starts_with(&format!("{}/", scenario.job.dead_letters())),
            "{from}"
        );
    }
    Ok(())
}

#[test]
fn a_replay_that_cannot_be_delivered_whole_sends_nothing() -> Result<()> {
    let scenario = Scenario::new(kafka::shared()?, "whole", 1, |job| job)?;
    for size in [100, 5_000] {
        scenario.send(&NewRecord {
            key: Some(b"k".to_vec()),
            // A batch is measured as it is compressed, and this does not compress.
            value: Some(noise(size)),
            timestamp_ms: START_MS,
        })?;
    }
    scenario.run_to_end()?;
    let narrow = "whole-narrow";
    scenario
        .cluster
        .create_topic_with(narrow, 1, ("max.message.bytes", "2000"))?;
    let log = scratch::folder("whole")?.join("replay.log");
    let (code, said) = fails(
        &scenario,
        &["replay", "--execute", "--to-topic", narrow],
        log,
    )?;
    ensure!(
        code == 1 && said.contains("nothing was sent"),
        "{code}: {said}"
    );
    ensure!(said.contains(narrow), "{said}");
    ensure!(read_committed(&scenario.cluster, narrow)?.is_empty());
    let counts = list_counts(&scenario)?;
    ensure!(
        counts["letters"] == 2 && counts["replayed"] == 0,
        "{counts}"
    );
    Ok(())
}

fn noise(size: usize) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let states = std::iter::successors(Some(7_u32), next);
    states
        .map(|state| state.to_be_bytes()[0])
        .take(size)
        .collect()
}

fn list_counts(scenario: &Scenario) -> Result<Json> {
    Ok(serde_json::from_str(&command(
        scenario,
        &["list", "--count", "--json"],
    )?)?)
}

/// Standard output of a subcommand that must succeed.
fn command(scenario: &Scenario, arguments: &[&str]) -> Result<String> {
    let all = [&["dead-letters"], arguments].concat();
    Ok(String::from_utf8(output(
        &scenario.job.command(&all)?,
        b"",
    )?)?)
}

/// Exit code and everything said.
fn fails(scenario: &Scenario, arguments: &[&str], log: PathBuf) -> Result<(i32, String)> {
    let all = [&["dead-letters"], arguments].concat();
    let command = scenario.job.command(&all)?;
    let mut process = integration_tests::process::Process::start(&command, &log)?;
    let status = process.wait_for_end(std::time::Duration::from_secs(90))?;
    let code = status.code().context("ended by a signal")?;
    Ok((code, std::fs::read_to_string(log)?))
}

/// A count of thousands as commands show it.
fn grouped(number: usize) -> String {
    format!("{},{:03}", number / 1_000, number % 1_000)
}
