//! `foretell backtest` of a trivial model, over the input topic and over a CSV file of as many rows.
//!
//! The whole command is measured, as a person runs it: the check of the model is in it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use integration_tests::cluster::Cluster;
use integration_tests::observation::{Cells, FEATURES, Observations, STEP_MS};
use integration_tests::process::output;
use integration_tests::tools::in_repository;
use integration_tests::worker::{LAST_VALUE, binary};
use integration_tests::{scratch, wait};
use serde_json::Value;

use crate::cpu;
use crate::input::{Input, SERIES};
use crate::steady::Steady;

/// Rows per second and core that a trivial model must reach.
pub(crate) const GOAL: f64 = 200_000.0;

/// Over the records of the topic.
pub(crate) fn of_topic(cluster: &Cluster, input: &Input) -> Result<Steady> {
    let folder = scratch::folder("bench-backtest")?;
    Observations::publish_schema(&folder)?;
    let mut command = command()?;
    command.args(["--topic", &input.topic, "--brokers", cluster.brokers()]);
    command.arg("--schema").arg(folder.join("cell_load.avsc"));
    measure(&command, input.rounds)
}

/// Over a CSV file, written before anything is measured.
pub(crate) fn of_file(rounds: u32) -> Result<Steady> {
    let file = scratch::folder("bench-backtest")?.join("rows.csv");
    write(&file, rounds)?;
    let mut command = command()?;
    command.args(["--time-unit", "ms"]).arg(&file);
    measure(&command, rounds)
}

fn command() -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.arg("backtest").arg("--json");
    command.arg("--model").arg(in_repository(LAST_VALUE)?);
    Ok(command)
}

fn write(file: &Path, rounds: u32) -> Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    writeln!(out, "series,time,{}", FEATURES.join(","))?;
    let first = 1_700_000_000_000 / STEP_MS * STEP_MS;
    for round in 0..rounds {
        let time = first + i64::from(round) * STEP_MS;
        for series in 0..SERIES {
            let Cells {
                down,
                up,
                rnti_count,
            } = Cells::of(series, round);
            let down = down.map_or_else(String::new, |down| down.to_string());
            writeln!(out, "cell-{series},{time},{down},{up},{rnti_count}")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn measure(command: &Command, rounds: u32) -> Result<Steady> {
    let rows = u64::from(rounds) * u64::from(SERIES);
    let began = wait::now();
    let before = cpu::of_ended_children()?;
    let report: Value = serde_json::from_slice(&output(command, b"")?)?;
    let cpu = cpu::of_ended_children()?.saturating_sub(before);
    ensure!(report["records"] == rows, "{report}");
    ensure!(report["series"] == SERIES, "{report}");
    Ok(Steady {
        rows,
        wall: began.elapsed(),
        cpu,
    })
}
