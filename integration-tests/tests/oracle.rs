//! CSV to observations to forecasts, each held against an oracle that shares nothing with the worker.
//!
//! Python writes the observations (`confluent-kafka`, `fastavro`), Kafka's Java client reads the
//! forecasts back, and Python computes what they must be from the raw CSV (`numpy`, `xxhash`,
//! `onnxruntime`). Every forecast that is due must be there once, within 1e-6 relative.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use integration_tests::kafka;
use integration_tests::observation::FEATURES;
use integration_tests::process::output;
use integration_tests::scenario::{CATCH_UP, END};
use integration_tests::scratch;
use integration_tests::tools::{Tools, in_repository};
use integration_tests::worker::{GAP_MAX, Job, LAST_VALUE, WINDOW};
use serde_json::{Value, json};

/// What the oracle has agreed to: its command and file, and the forecasts as Java printed them.
struct Checked {
    oracle: Command,
    file: PathBuf,
    topic: String,
    forecasts: String,
}

/// One run of the oracle.
struct Case {
    name: &'static str,
    model: &'static str,
    partitions: usize,
    /// Rows of each CSV file, which has 400, and the series made of each.
    rows_max: u32,
    copies: u32,
}

#[test]
fn last_value_on_one_partition() -> Result<()> {
    check(&Case {
        name: "oracle-last-value-1",
        model: LAST_VALUE,
        partitions: 1,
        rows_max: 400,
        copies: 5,
    })?;
    Ok(())
}

#[test]
fn last_value_on_64_partitions() -> Result<()> {
    check(&Case {
        name: "oracle-last-value-64",
        model: LAST_VALUE,
        partitions: 64,
        rows_max: 300,
        copies: 20,
    })?;
    Ok(())
}

#[test]
fn gru_on_one_partition() -> Result<()> {
    check(&Case {
        name: "oracle-gru-1",
        model: "tests/models/gru64.onnx",
        partitions: 1,
        rows_max: 400,
        copies: 2,
    })?;
    Ok(())
}

#[test]
fn gru_on_64_partitions() -> Result<()> {
    check(&Case {
        name: "oracle-gru-64",
        model: "tests/models/gru64.onnx",
        partitions: 64,
        rows_max: 200,
        copies: 8,
    })?;
    Ok(())
}

#[test]
fn quantiles_with_calendar_and_a_limit_on_imputed_cells() -> Result<()> {
    let checked = check(&Case {
        name: "oracle-quantiles",
        model: "tests/models/gru_quantiles.onnx",
        partitions: 4,
        rows_max: 400,
        copies: 2,
    })?;
    ensure_it_notices(&checked)
}

#[test]
fn recursive_on_one_partition() -> Result<()> {
    check(&Case {
        name: "oracle-recursive-1",
        model: "tests/models/linear_recursive.onnx",
        partitions: 1,
        rows_max: 400,
        copies: 2,
    })?;
    Ok(())
}

#[test]
fn recursive_on_64_partitions() -> Result<()> {
    check(&Case {
        name: "oracle-recursive-64",
        model: "tests/models/linear_recursive.onnx",
        partitions: 64,
        rows_max: 100,
        copies: 20,
    })?;
    Ok(())
}

#[test]
fn the_trained_gru_gives_what_the_python_package_says() -> Result<()> {
    ensure_the_package_agrees(&check(&Case {
        name: "oracle-trained-gru",
        model: "demo/gru.onnx",
        partitions: 4,
        rows_max: 400,
        copies: 1,
    })?)
}

#[test]
fn the_trained_quantiles_are_what_the_python_package_says() -> Result<()> {
    ensure_the_package_agrees(&check(&Case {
        name: "oracle-trained-hits",
        model: "demo/hits.onnx",
        partitions: 4,
        rows_max: 400,
        copies: 1,
    })?)
}

#[track_caller]
fn check(case: &Case) -> Result<Checked> {
    let Case {
        name,
        model,
        partitions,
        rows_max,
        copies,
    } = *case;
    let cluster = kafka::shared()?;
    let observations = format!("{name}-observations");
    cluster.create_topic(&observations, partitions)?;
    let job = Job::new(&cluster, name, &observations)?.model(model)?;

    let csv = in_repository("integration-tests/data")?;
    let mut publish = Tools::get()?.python("publish.py");
    publish.args([cluster.brokers(), &observations]);
    publish
        .arg(in_repository("schemas/observation.avsc")?)
        .arg(&csv);
    publish.args([rows_max.to_string(), copies.to_string()]);
    let written = String::from_utf8(output(&publish, b"")?)?;
    let written: Vec<Value> = written
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;

    let mut worker = job.start("a")?;
    job.progress()?
        .wait_for_end(CATCH_UP, || worker.ensure_alive())?;
    let status = worker.terminate(END)?;
    ensure!(status.success(), "{status}\n{}", worker.log_tail());

    let file = scratch::folder("oracle")?.join("check.json");
    let check = json!({
        "model": job.model_file(), "csv": csv, "rows_max": rows_max, "copies": copies,
        "observations": observations, "written": written,
        "features": FEATURES, "length": WINDOW, "gap_max": GAP_MAX,
    });
    fs::write(&file, check.to_string())?;
    let mut java = Tools::get()?.java("ReadCommitted", "1g");
    java.args([cluster.brokers(), &job.forecasts()]);
    let forecasts = String::from_utf8(output(&java, b"")?)?;
    let mut oracle = Tools::get()?.python("oracle.py");
    oracle.arg(&file);
    let summary: Value = serde_json::from_slice(&output(&oracle, forecasts.as_bytes())?)?;
    // The comparison must have compared something, imputed values among it.
    let count = |what: &str| summary[what].as_u64().context("not a count");
    ensure!(
        count("forecasts")? > 100 && count("imputed")? > 10,
        "{name}: {summary}"
    );
    Ok(Checked {
        oracle,
        file,
        topic: job.forecasts(),
        forecasts,
    })
}

/// `foretell.read_forecasts` and `foretell.load` of the Python package, within 1e-6 relative.
fn ensure_the_package_agrees(checked: &Checked) -> Result<()> {
    let mut package = Tools::get()?.python("package_agrees.py");
    package.env("PYTHONPATH", in_repository("python/src")?);
    package.arg(&checked.file).arg(kafka::shared()?.brokers());
    package.arg(&checked.topic);
    let summary: Value = serde_json::from_slice(&output(&package, b"")?)?;
    let read = checked.forecasts.lines().count();
    ensure!(
        summary["forecasts"].as_u64() == Some(u64::try_from(read)?),
        "{read} forecasts were read back: {summary}"
    );
    Ok(())
}

/// An oracle that agrees to everything would pass every test above.
fn ensure_it_notices(checked: &Checked) -> Result<()> {
    let Checked {
        oracle, forecasts, ..
    } = checked;
    let (first, others) = forecasts.split_once('\n').context("no forecasts")?;
    let refuses = |altered: &str| output(oracle, altered.as_bytes()).is_err();
    ensure!(refuses(others), "a forecast that is missing went unnoticed");
    ensure!(
        refuses(&format!("{first}\n{forecasts}")),
        "a doubled forecast went unnoticed"
    );
    let mut record: Value = serde_json::from_str(first)?;
    let value = record["value"].as_str().context("no value")?;
    let mut bytes = STANDARD.decode(value)?;
    // A byte in the middle is one of the forecast's values.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    record["value"] = STANDARD.encode(bytes).into();
    ensure!(
        refuses(&format!("{record}\n{others}")),
        "another value went unnoticed"
    );
    Ok(())
}
