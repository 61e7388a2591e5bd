//! The table: what was measured, the ratios, and whether they meet the goals.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use integration_tests::tools::here;

use crate::steady::Steady;
use crate::{backtest, bare_model};

/// Processor time of the worker with a GRU against the model alone.
const GRU_GOAL: f64 = 1.15;
/// The same of an MLP against the model and the copy.
const MLP_GOAL: f64 = 1.3;
/// Rows per second with a trivial model against the copy's.
const LAST_GOAL: f64 = 0.60;

/// `a / b` of counts.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts here are far below 2^53"
)]
pub(crate) fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

/// A run of the worker and its model alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    pub(crate) worker: Steady,
    /// Mean rows of the worker's batches, and the rows of those of the model alone.
    pub(crate) batch_rows: u64,
    /// Microseconds of processor time per row.
    pub(crate) model_cpu_us: f64,
}

/// Everything once.
#[derive(Debug, Default)]
pub(crate) struct Repetition {
    pub(crate) gru: Option<Beside>,
    pub(crate) mlp: Option<Beside>,
    pub(crate) last: Option<Steady>,
    pub(crate) copy: Option<Steady>,
    pub(crate) wide_mlp: Option<Beside>,
    pub(crate) wide_last: Option<Steady>,
    pub(crate) wide_copy: Option<Steady>,
    pub(crate) backtest_topic: Option<Steady>,
    pub(crate) backtest_file: Option<Steady>,
}

/// What is the same for all repetitions.
pub(crate) struct Machine {
    pub(crate) lanes: usize,
    /// Mean bytes of the input records with 3 features.
    pub(crate) input: usize,
    /// The same with 11, where they were wanted.
    pub(crate) wide: Option<usize>,
    pub(crate) output: usize,
    pub(crate) rounds: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) repetitions: Vec<Repetition>,
}

/// A name, and its value in a repetition.
type Row = (&'static str, fn(&Repetition) -> Option<f64>);

const CPU: [Row; 11] = [
    ("GRU: worker, CPU us per forecast", |r| {
        Some(r.gru?.worker.cpu_us())
    }),
    ("GRU: ONNX Runtime alone, CPU us per row", |r| {
        Some(r.gru?.model_cpu_us)
    }),
    ("MLP: worker, CPU us per forecast", |r| {
        Some(r.mlp?.worker.cpu_us())
    }),
    ("MLP: ONNX Runtime alone, CPU us per row", |r| {
        Some(r.mlp?.model_cpu_us)
    }),
    ("MLP, 11 features: worker, CPU us per forecast", |r| {
        Some(r.wide_mlp?.worker.cpu_us())
    }),
    ("last value: worker, CPU us per forecast", |r| {
        Some(r.last?.cpu_us())
    }),
    ("last value, 11 features: worker, CPU us", |r| {
        Some(r.wide_last?.cpu_us())
    }),
    ("copy alone, CPU us per row", |r| Some(r.copy?.cpu_us())),
    ("copy alone, 11 features in, CPU us per row", |r| {
        Some(r.wide_copy?.cpu_us())
    }),
    ("backtest of the topic, CPU us per row", |r| {
        Some(r.backtest_topic?.cpu_us())
    }),
    ("backtest of a CSV file, CPU us per row", |r| {
        Some(r.backtest_file?.cpu_us())
    }),
];

const BATCHES: [Row; 3] = [
    ("GRU", |r| Some(ratio(r.gru?.batch_rows, 1))),
    ("MLP", |r| Some(ratio(r.mlp?.batch_rows, 1))),
    ("MLP, 11 features", |r| {
        Some(ratio(r.wide_mlp?.batch_rows, 1))
    }),
];

const RATES: [Row; 7] = [
    ("GRU: worker", |r| Some(r.gru?.worker.rows_per_second())),
    ("MLP: worker", |r| Some(r.mlp?.worker.rows_per_second())),
    ("MLP, 11 features: worker", |r| {
        Some(r.wide_mlp?.worker.rows_per_second())
    }),
    ("last value: worker", |r| Some(r.last?.rows_per_second())),
    ("last value, 11 features: worker", |r| {
        Some(r.wide_last?.rows_per_second())
    }),
    ("copy alone", |r| Some(r.copy?.rows_per_second())),
    ("copy alone, 11 features in", |r| {
        Some(r.wide_copy?.rows_per_second())
    }),
];

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    /// The goal, and whether the figure is there.
    pub(crate) fn judged(self, figure: f64) -> String {
        let verdict = if self.is_met(figure) { "met" } else { "MISSED" };
        format!("goal {self}: {verdict}")
    }

    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most:.2}"),
            Self::AtLeast(least) if *least >= 1_000.0 => write!(f, ">= {least:.0}"),
            Self::AtLeast(least) => write!(f, ">= {least:.2}"),
        }
    }
}

const RATIOS: [(Row, Goal); 7] = [
    (
        ("GRU: worker CPU / ONNX Runtime", |r| {
            let gru = r.gru?;
            Some(gru.worker.cpu_us() / gru.model_cpu_us)
        }),
        Goal::AtMost(GRU_GOAL),
    ),
    (
        ("MLP: worker CPU / (ONNX Runtime + copy)", |r| {
            let mlp = r.mlp?;
            Some(mlp.worker.cpu_us() / (mlp.model_cpu_us + r.copy?.cpu_us()))
        }),
        Goal::AtMost(MLP_GOAL),
    ),
    (
        ("last value: worker rows/s / copy rows/s", |r| {
            Some(r.last?.rows_per_second() / r.copy?.rows_per_second())
        }),
        Goal::AtLeast(LAST_GOAL),
    ),
    (
        ("MLP, 11 features: as above", |r| {
            let mlp = r.wide_mlp?;
            Some(mlp.worker.cpu_us() / (mlp.model_cpu_us + r.wide_copy?.cpu_us()))
        }),
        Goal::AtMost(MLP_GOAL),
    ),
    (
        ("last value, 11 features: as above", |r| {
            Some(r.wide_last?.rows_per_second() / r.wide_copy?.rows_per_second())
        }),
        Goal::AtLeast(LAST_GOAL),
    ),
    (
        ("backtest of the topic: rows/s a core / 200,000", |r| {
            Some(1e6 / r.backtest_topic?.cpu_us() / backtest::GOAL)
        }),
        Goal::AtLeast(1.0),
    ),
    (
        ("backtest of a CSV file: the same", |r| {
            Some(1e6 / r.backtest_file?.cpu_us() / backtest::GOAL)
        }),
        Goal::AtLeast(1.0),
    ),
];

/// One line of a repetition while it runs.
impl fmt::Display for Repetition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in CPU {
            if let Some(us) = value(self) {
                writeln!(f, "  {name}: {us:.2}")?;
            }
        }
        for (name, value) in RATES {
            if let Some(rate) = value(self) {
                writeln!(f, "  {name}: {rate:.0} rows/s")?;
            }
        }
        for ((name, value), _) in RATIOS {
            if let Some(ratio) = value(self) {
                writeln!(f, "  {name}: {ratio:.2}")?;
            }
        }
        Ok(())
    }
}

impl Table {
    #[expect(clippy::print_stdout, reason = "the result of a command line tool")]
    pub(crate) fn print(&self, machine: &Machine) -> Result<()> {
        println!("{}", self.text(machine)?);
        Ok(())
    }

    fn text(&self, machine: &Machine) -> Result<String> {
        let mut lines = heading(machine)?;
        lines.push(String::new());
        lines.push(format!(
            "{:<48}{:>10}   of {} repetitions",
            "",
            "median",
            self.repetitions.len()
        ));
        for (name, value) in CPU {
            lines.extend(self.line(name, value, 2));
        }
        lines.push("rows per batch, the worker's mean, also those of the model alone".to_owned());
        for (name, value) in BATCHES {
            lines.extend(self.line(name, value, 0));
        }
        lines.push("rows per second".to_owned());
        for (name, value) in RATES {
            lines.extend(self.line(name, value, 0));
        }
        lines.push("ratios".to_owned());
        for ((name, value), goal) in RATIOS {
            let (Some(line), Some(middle)) = (self.line(name, value, 2), self.median(value)) else {
                continue;
            };
            lines.push(format!("{line}   {}", goal.judged(middle)));
        }
        Ok(lines.join("\n"))
    }

    fn values(&self, value: fn(&Repetition) -> Option<f64>) -> Vec<f64> {
        self.repetitions.iter().filter_map(value).collect()
    }

    fn median(&self, value: fn(&Repetition) -> Option<f64>) -> Option<f64> {
        let mut values = self.values(value);
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn line(
        &self,
        name: &str,
        value: fn(&Repetition) -> Option<f64>,
        digits: usize,
    ) -> Option<String> {
        let middle = self.median(value)?;
        let all: Vec<String> = self
            .values(value)
            .iter()
            .map(|each| format!("{each:.digits$}"))
            .collect();
        Some(format!(
            "{name:<48}{middle:>10.digits$}   ({})",
            all.join(", ")
        ))
    }
}

fn heading(machine: &Machine) -> Result<Vec<String>> {
    let Machine {
        lanes,
        input,
        wide,
        output,
        rounds,
    } = machine;
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    let library = bare_model::library()?;
    let runtime = library
        .rsplit('/')
        .nth(1)
        .context("ONNX Runtime without a folder")?;
    Ok(vec![
        format!("{lanes} cores shared with the broker, {model}"),
        format!(
            "Linux {}, Kafka {}, librdkafka {librdkafka}, {runtime}",
            kernel.trim(),
            kafka_version()?
        ),
        format!("1,000 series, {rounds} rounds, 4 partitions, windows of 64; {lanes} lanes"),
        format!(
            "records of {input} bytes (3 features){} in, {output} bytes and the key out",
            wide.map_or(String::new(), |wide| format!(
                " or {wide} bytes (11 features)"
            ))
        ),
    ])
}

fn kafka_version() -> Result<String> {
    let pom = fs::read_to_string(here().join("pom.xml"))?;
    let rest = pom.split_once("<kafka.version>");
    let version = rest.and_then(|(_, rest)| rest.split_once("</kafka.version>"));
    let (version, _) = version.context("no version of Kafka in pom.xml")?;
    Ok(version.to_owned())
}
