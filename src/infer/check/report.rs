//! A check as text, as `foretell model check` prints it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BitRow, Check, Contract};
use crate::infer::Batching;

/// A check as `foretell model check --json` prints it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct CheckReport {
    pub name: String,
    pub version: String,
    /// SHA-256 of the package, lower-case hexadecimal.
    pub digest: String,
    pub bytes: usize,
    /// Version of ONNX Runtime.
    pub runtime: String,
    pub instruction_set: String,
    /// How the worker runs it.
    pub batching: Batching,
    pub load_seconds: f64,
    /// The largest error of the examples, in the measure of [`super::TOLERANCE`].
    pub example_error: f64,
    /// Per batch size, how many forecasts had the bits of the same row run alone.
    pub bits: Vec<BitRow>,
    pub speed: Vec<RowSpeed>,
}

/// How long a run takes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct RowSpeed {
    pub rows: usize,
    pub seconds_per_row: f64,
}

impl From<&Check> for CheckReport {
    fn from(check: &Check) -> Self {
        let contract = check.package.contract();
        let errors = check.examples.iter().map(|example| example.error);
        let speed = check.speed.iter().map(|speed| RowSpeed {
            rows: speed.rows,
            seconds_per_row: speed.per_row.as_secs_f64(),
        });
        Self {
            name: contract.name().to_owned(),
            version: contract.version().to_owned(),
            digest: check.package.digest().to_owned(),
            bytes: check.package.bytes().len(),
            runtime: check.runtime.clone(),
            instruction_set: check.instruction_set.to_owned(),
            batching: check.batching,
            load_seconds: check.load.as_secs_f64(),
            example_error: errors.fold(0.0, f64::max),
            bits: check.bits.clone(),
            speed: speed.collect(),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.package.contract())?;
        writeln!(f, "  digest      {}", self.package.digest())?;
        let bytes = self.package.bytes().len();
        writeln!(
            f,
            "  size        {bytes} bytes, loaded in {:.1?}",
            self.load
        )?;
        writeln!(
            f,
            "  runtime     ONNX Runtime {}, {}",
            self.runtime, self.instruction_set
        )?;
        let worst = self
            .examples
            .iter()
            .max_by(|a, b| a.error.total_cmp(&b.error));
        if let Some(worst) = worst {
            writeln!(
                f,
                "  examples    {} recomputed, largest error {:.1e} ({} {} of step {}; at most {:.0e} is allowed)",
                self.examples.len(),
                worst.error,
                worst.target,
                output(worst.quantile),
                worst.step,
                super::TOLERANCE
            )?;
        }
        let batching = match self.batching {
            Batching::Together => "rows share a run: forecasts do not depend on the batch",
            Batching::RowByRow => "one row per run",
        };
        writeln!(f, "  batching    {batching}")?;
        for row in &self.bits {
            writeln!(f, "    {}", bit_line(row))?;
        }
        writeln!(f, "  time per row, by rows per run")?;
        for speed in &self.speed {
            writeln!(f, "    {:>4}  {:>10.2?}", speed.rows, speed.per_row)?;
        }
        Ok(())
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: Vec<&str>| names.join(", ");
        writeln!(f, "model {} {}", self.name(), self.version())?;
        writeln!(f, "  step        {} ms", self.step_ms())?;
        writeln!(
            f,
            "  window      {} slots, horizon {} steps, {}",
            self.window(),
            self.horizon(),
            self.strategy().name()
        )?;
        writeln!(f, "  features    {}", list(self.features().collect()))?;
        if !self.calendar().is_empty() {
            let names = self.calendar().iter().map(|feature| feature.name());
            writeln!(f, "  calendar    {}", list(names.collect()))?;
        }
        write!(f, "  targets     {}", list(self.targets().collect()))?;
        if !self.quantiles().is_empty() {
            write!(f, "\n  quantiles   {:?}", self.quantiles())?;
        }
        if let Some(cells) = self.imputed_max() {
            write!(f, "\n  imputed     at most {cells} cells")?;
        }
        Ok(())
    }
}

fn bit_line(row: &BitRow) -> String {
    let BitRow {
        rows,
        compared,
        differing,
        failure,
    } = row;
    match failure {
        Some(detail) => format!("{rows:>4} rows: the run fails: {detail}"),
        None => {
            format!("{rows:>4} rows: {differing} of {compared} forecasts differ from the row alone")
        }
    }
}

/// Names the mean or a quantile.
pub(super) fn output(quantile: Option<f64>) -> String {
    quantile.map_or_else(|| "mean".to_owned(), |level| format!("quantile {level}"))
}
