//! `foretell model show`: what a package says of itself, as a table or as JSON.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::Refused;
use crate::cli::output::{self, printable};
use crate::cli::{Failure, progress::grouped};
use crate::infer::{Contract, Graph, Package, PackageError, Port};

/// Show what a model package needs and gives
///
/// Reads the contract and the description of the graph out of the file: features and their scaling,
/// window, horizon, targets, quantiles, tensors, operators. Runs nothing and needs no ONNX Runtime; `model
/// check` finds out whether the model does what is shown here.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell model show demo/gru.onnx

  The features of a model, for a configuration's window.features:
  foretell model show model.onnx --json | jq -r '.features[].name'

Exits with 0 if the graph is what the contract says, with 1 if it is not or the file is no package.")]
pub(in crate::cli) struct Arguments {
    /// The package: an .onnx file with a contract in its metadata
    file: PathBuf,

    /// One JSON object, with everything but the examples' numbers
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, json } = arguments;
    let package = Package::read(file)?;
    let in_file = |error| PackageError::File {
        path: file.clone(),
        error: Box::new(PackageError::Onnx(error)),
    };
    let graph = package.graph().map_err(in_file)?;
    let mut out = output::stdout();
    if *json {
        writeln!(out, "{}", object(&package, &graph))?;
    } else {
        table(&mut out, arguments, &package, &graph)?;
    }
    out.flush()?;
    // Shown all the same: the table says what the tensors are.
    package.compare(&graph).map_err(|error| Refused {
        file: file.clone(),
        reason: error.to_string(),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn object(package: &Package, graph: &Graph) -> Json {
    let contract = package.contract();
    let features = contract.features().zip(contract.centers_and_scales());
    let features = features
        .map(|(name, (center, scale))| json!({ "name": name, "center": center, "scale": scale }));
    let calendar = contract.calendar().iter().map(|feature| feature.name());
    let ports = |ports: &[Port]| {
        let one =
            |port: &Port| json!({ "name": port.name, "type": port.kind, "shape": port.dimensions });
        ports.iter().map(one).collect::<Vec<_>>()
    };
    let sets = graph.operator_sets.iter();
    let sets = sets.map(|set| json!({ "domain": set.domain, "version": set.version }));
    json!({
        "name": contract.name(),
        "version": contract.version(),
        "digest": package.digest(),
        "bytes": package.bytes().len(),
        "step_ms": contract.step_ms(),
        "window": contract.window(),
        "horizon": contract.horizon(),
        "strategy": contract.strategy().name(),
        "imputed_max": contract.imputed_max(),
        "features": features.collect::<Vec<_>>(),
        "calendar": calendar.collect::<Vec<_>>(),
        "targets": contract.targets().collect::<Vec<_>>(),
        "quantiles": contract.quantiles(),
        "examples": contract.examples().iter().map(|example| example.origin_ms).collect::<Vec<_>>(),
        "onnx": {
            "ir_version": graph.ir_version,
            "producer": graph.producer,
            "producer_version": graph.producer_version,
            "operator_sets": sets.collect::<Vec<_>>(),
            "inputs": ports(&graph.inputs),
            "outputs": ports(&graph.outputs),
        },
    })
}

fn table(
    out: &mut impl Write,
    arguments: &Arguments,
    package: &Package,
    graph: &Graph,
) -> io::Result<()> {
    let contract = package.contract();
    let mut line = |name: &str, value: &dyn fmt::Display| writeln!(out, "  {name:<11} {value}");
    line(
        "model",
        &format_args!(
            "{} {}",
            printable(contract.name()),
            printable(contract.version())
        ),
    )?;
    line("file", &arguments.file.display())?;
    line("digest", &package.digest())?;
    let bytes = u64::try_from(package.bytes().len()).unwrap_or(u64::MAX);
    line("size", &format_args!("{} bytes", grouped(bytes)))?;
    let spans =
        |steps: usize, word: &str| format!("{steps} {word} ({})", span(contract.step_ms(), steps));
    line("step", &span(contract.step_ms(), 1))?;
    line("window", &spans(contract.window(), "slots"))?;
    line("horizon", &spans(contract.horizon(), "steps"))?;
    line("strategy", &contract.strategy().name())?;
    let imputed = contract.imputed_max().map_or_else(
        || "as many cells as the worker can fill".to_owned(),
        |cells| format!("at most {cells} cells of a window"),
    );
    line("imputed", &imputed)?;
    if !contract.quantiles().is_empty() {
        line("quantiles", &list(contract.quantiles().iter()))?;
    }
    if !contract.calendar().is_empty() {
        line(
            "calendar",
            &list(contract.calendar().iter().map(|feature| feature.name())),
        )?;
    }
    line("examples", &contract.examples().len())?;
    for port in &graph.inputs {
        line("input", &port_line(port))?;
    }
    for port in &graph.outputs {
        line("output", &port_line(port))?;
    }
    line("operators", &operators(graph))?;
    features(out, contract)
}

/// A row per feature, with its scaling and whether it is forecast.
fn features(out: &mut impl Write, contract: &Contract) -> io::Result<()> {
    let names: Vec<_> = contract.features().map(printable).collect();
    let longest = names.iter().map(|name| name.chars().count()).max();
    let width = longest.unwrap_or_default().max("feature".len());
    writeln!(
        out,
        "\n  {:<width$} {:>20} {:>20}  target",
        "feature", "center", "scale"
    )?;
    let rows = contract
        .features()
        .zip(&names)
        .zip(contract.centers_and_scales());
    for ((feature, name), (center, scale)) in rows {
        let target = contract.targets().any(|target| target == feature);
        let target = if target { "yes" } else { "" };
        let row = format!("  {name:<width$} {center:>20} {scale:>20}  {target}");
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}

fn port_line(port: &Port) -> String {
    format!("{} {}", printable(&port.name), printable(&port.kind))
}

fn operators(graph: &Graph) -> String {
    let set = |domain: &str| {
        if domain.is_empty() {
            "ONNX".to_owned()
        } else {
            printable(domain)
        }
    };
    let sets = graph.operator_sets.iter();
    let sets = list(sets.map(|it| format!("{} {}", set(&it.domain), it.version)));
    let by = [&graph.producer, &graph.producer_version].map(|text| printable(text));
    let by = by.join(" ");
    let by = if by.trim().is_empty() {
        String::new()
    } else {
        format!(", written by {}", by.trim())
    };
    format!("{sets}; file format {}{by}", graph.ir_version)
}

fn list<T: fmt::Display>(items: impl Iterator<Item = T>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// How long some steps are, in the largest unit that divides them.
fn span(step_ms: i64, steps: usize) -> String {
    let total = i64::try_from(steps)
        .unwrap_or(i64::MAX)
        .saturating_mul(step_ms);
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    let unit = units.into_iter().find(|(ms, _)| total % ms == 0);
    let (ms, name) = unit.unwrap_or((1, "ms"));
    format!("{} {name}", total / ms)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    fn shown(name: &str) -> String {
        let file = path(name);
        let package = Package::read(&file).unwrap();
        let graph = package.graph().unwrap();
        let mut out = Vec::new();
        let arguments = Arguments { file, json: false };
        table(&mut out, &arguments, &package, &graph).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_the_whole_contract() {
        let text = shown("tests/models/gru_quantiles.onnx");
        for part in [
            "model       gru-quantiles 1\n",
            "window      24 slots (48 min)",
            "horizon     6 steps (12 min)",
            "quantiles   0.1, 0.5, 0.9",
            "calendar    minute_of_day, day_of_week, day_of_year",
            "imputed     at most 4 cells",
            "Tensor<f32>(",
            "ONNX 17; file format 10, written by foretell-tests",
            "feature ",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert_eq!(text.matches("  output ").count(), 4, "{text}");
        assert_eq!(text.matches("  yes\n").count(), 2, "{text}");
    }

    #[test]
    fn an_object_has_what_the_contract_in_the_file_has() {
        let package = Package::read(&path("demo/gru.onnx")).unwrap();
        let shown = object(&package, &package.graph().unwrap());
        // The contract as it stands in the file, read without our parser.
        let bytes = package.bytes();
        let key = b"foretell.contract";
        let at = bytes
            .windows(key.len())
            .position(|part| part == key)
            .unwrap();
        let from = at + bytes[at..].iter().position(|byte| *byte == b'{').unwrap();
        let mut contracts =
            serde_json::Deserializer::from_slice(&bytes[from..]).into_iter::<Json>();
        let contract = contracts.next().unwrap().unwrap();
        for item in [
            "name", "version", "window", "horizon", "strategy", "targets", "calendar",
        ] {
            assert_eq!(shown[item], contract[item], "{item}");
        }
        for (mine, theirs) in shown["features"]
            .as_array()
            .unwrap()
            .iter()
            .zip(contract["features"].as_array().unwrap())
        {
            assert_eq!(mine["name"], theirs["name"]);
            for number in ["center", "scale"] {
                let difference = mine[number].as_f64().unwrap() - theirs[number].as_f64().unwrap();
                assert!(difference.abs() < 1e-12, "{mine} {theirs}");
            }
        }
        assert_eq!(shown["onnx"]["inputs"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn spans_have_the_largest_whole_unit() {
        for (step_ms, steps, shown) in [
            (120_000, 1, "2 min"),
            (120_000, 30, "1 h"),
            (90_000, 1, "90 s"),
            (1, 5, "5 ms"),
            (3_600_000, 48, "2 d"),
        ] {
            assert_eq!(span(step_ms, steps), shown);
        }
    }
}
