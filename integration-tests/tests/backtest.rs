//! `foretell backtest` against numpy, and on a real topic against the same rows in a file.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::Cluster;
use integration_tests::process::output;
use integration_tests::read::read_committed;
use integration_tests::tools::{Tools, in_repository};
use integration_tests::worker::{GAP_MAX, Job, binary};
use integration_tests::{kafka, scratch};
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};

/// For the broker to answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Name of the group that the reader's configuration must have.
const READER: &str = "foretell-cli";

/// The models and the data that numpy judges too.
struct Case {
    data: &'static str,
    /// The whole file is this series.
    series: Option<&'static str>,
    season: (&'static str, usize),
    horizons: &'static [usize],
}

#[test]
fn the_figures_of_the_sample_are_those_of_numpy() -> Result<()> {
    check(&Case {
        data: "demo/sample.parquet",
        series: None,
        season: ("1d", 720),
        horizons: &[1, 6, 12],
    })
}

#[test]
fn the_figures_of_a_csv_file_of_local_times_are_those_of_numpy() -> Result<()> {
    check(&Case {
        data: "integration-tests/data/PobleSec_test.csv",
        series: Some("PobleSec"),
        // Shorter than the farthest horizon, where the season before last is the newest that is known.
        season: ("20m", 10),
        horizons: &[2, 11, 12],
    })
}

fn check(case: &Case) -> Result<()> {
    let models = [
        in_repository("demo/gru.onnx")?,
        in_repository("demo/hits.onnx")?,
    ];
    let data = in_repository(case.data)?;
    let folder = scratch::folder("backtest")?;
    let mut backtest = Command::new(binary()?);
    backtest.arg("backtest").arg(&data);
    backtest.args(
        models
            .iter()
            .flat_map(|model| [Path::new("--model"), model]),
    );
    let horizons: Vec<_> = case.horizons.iter().map(ToString::to_string).collect();
    backtest.args(["--season", case.season.0, "--horizons", &horizons.join(",")]);
    if let Some(series) = case.series {
        backtest.args(["--series", series, "--assume-utc"]);
    }
    backtest.args(["--per-series", "--json"]);
    let report = output(&backtest, b"")?;
    fs::write(folder.join("report.json"), &report)?;
    let asked = json!({
        "models": models, "data": data, "series": case.series, "season": case.season.1,
        "horizons": case.horizons, "gap_max": GAP_MAX,
    });
    fs::write(folder.join("case.json"), asked.to_string())?;
    let mut numpy = Tools::get()?.python("backtest_oracle.py");
    numpy
        .arg(folder.join("report.json"))
        .arg(folder.join("case.json"));
    let summary: Value = serde_json::from_slice(&output(&numpy, b"")?)?;
    let compared = summary["compared"].as_u64().context("no count")?;
    ensure!(compared > 300, "{compared} figures were compared");
    ensure_numpy_notices(&numpy, &folder, &report)
}

/// An oracle that agrees to everything would pass.
fn ensure_numpy_notices(numpy: &Command, folder: &Path, report: &[u8]) -> Result<()> {
    for (part, name) in [("rmse", 1.000_01), ("points", 2.0)] {
        let mut altered: Value = serde_json::from_slice(report)?;
        let errors = altered["errors"].as_array_mut().context("no errors")?;
        let last = errors.last_mut().context("no errors")?;
        let place = if part == "rmse" {
            &mut last["forecasters"][0][part]
        } else {
            &mut last[part]
        };
        let value = place.as_f64().context("no number")?;
        *place = json!(value * name);
        fs::write(folder.join("report.json"), altered.to_string())?;
        ensure!(output(numpy, b"").is_err(), "another {part} went unnoticed");
    }
    Ok(())
}

#[test]
fn a_topic_gives_what_the_same_rows_in_a_file_give_and_is_left_alone() -> Result<()> {
    const TOPIC: &str = "backtest-observations";
    let cluster = kafka::shared()?;
    cluster.create_topic(TOPIC, 4)?;
    let sample = in_repository("demo/sample.parquet")?;
    let brokers = ["--brokers", cluster.brokers()];
    let mut publish = Command::new(binary()?);
    publish.args(["publish", "--topic", TOPIC]).args(brokers);
    output(publish.arg(&sample), b"")?;

    let (topic, file) = (["--topic", TOPIC], sample.to_str().context("no text")?);
    let mut plain = backtest()?;
    let of_file = report(plain.arg(file))?;
    let of_topic = report(backtest()?.args(topic).args(brokers))?;
    ensure!(
        of_file["records"] == 6_754 && of_file["series"] == 3,
        "{of_file}"
    );
    ensure_same(&of_topic, &of_file)?;

    // As a worker that also keeps features which the models do not read.
    let job = Job::without_topics(&cluster, "backtest", TOPIC)?;
    let configured = job.command(&["backtest"])?;
    let with = |more: &[&str]| report(models(&mut again(&configured))?.args(more));
    ensure_same(&with(&[file])?, &of_file)?;
    ensure_same(&with(&topic)?, &of_file)?;

    // Record timestamps are the observations' times: the other two cells were measured before.
    let late = with(&[
        "--topic",
        TOPIC,
        "--from",
        "2019-01-01T00:00:00Z",
        "--per-series",
    ])?;
    ensure!(late["records"] == 1_723 && late["series"] == 1, "{late}");
    ensure!(late["errors"][9]["series"] == "LesCorts", "{late}");
    let none = with(&["--topic", TOPIC, "--from", "1h"])?;
    ensure!(
        none["records"] == 0 && none["errors"][0]["points"] == 0,
        "{none}"
    );

    ensure!(read_committed(&cluster, TOPIC)?.len() == 6_754);
    ensure_no_group(&cluster, TOPIC)
}

/// `foretell backtest` with the sample models, to a report for programs.
fn backtest() -> Result<Command> {
    let mut command = Command::new(binary()?);
    models(command.arg("backtest"))?;
    Ok(command)
}

fn models(command: &mut Command) -> Result<&mut Command> {
    for model in ["demo/gru.onnx", "demo/hits.onnx"] {
        command.arg("--model").arg(in_repository(model)?);
    }
    Ok(command.arg("--json"))
}

/// A command once more: [`Command`] is no value that can be copied.
fn again(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy
}

fn report(command: &Command) -> Result<Value> {
    Ok(serde_json::from_slice(&output(command, b"")?)?)
}

/// All that is told is the same but where it came from.
fn ensure_same(found: &Value, expected: &Value) -> Result<()> {
    let (mut found, mut expected) = (found.clone(), expected.clone());
    found["data"].take();
    expected["data"].take();
    ensure!(found == expected, "{found}\nis not\n{expected}");
    Ok(())
}

/// No member, no offset, nothing that the coordinator knows of.
fn ensure_no_group(cluster: &Cluster, topic: &str) -> Result<()> {
    let consumer: BaseConsumer = cluster.client().create()?;
    let groups = consumer.fetch_group_list(None, ANSWER)?;
    let known = groups.groups().iter().any(|group| group.name() == READER);
    ensure!(!known, "the group {READER} exists");
    let committed = cluster.progress(READER, topic)?.committed_each()?;
    ensure!(
        committed.iter().all(|(_, offset)| offset.is_none()),
        "{committed:?}"
    );
    Ok(())
}
