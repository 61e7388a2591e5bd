//! The model package beside `[window]`: whether the windows hold what the contract needs.

use std::sync::Arc;

use crate::app::{check_in_time, onnxruntime_places};
use crate::cli::findings::{Findings, chain};
use crate::config::{Config, Environment};
use crate::domain::RunDeadline;
use crate::infer::{Batching, Contract, Package, PackageError, Runtime, WindowFeatures};

/// The package that the configuration names, without loading the model.
pub(in crate::cli) fn contract(config: &Config) -> Result<Arc<Package>, PackageError> {
    Package::read(&config.model.initial)
}

/// Reads the contract and binds it to the windows.
pub(super) fn check(config: &Config, findings: &mut Findings) -> Option<Arc<Package>> {
    let place = format!("model.initial, {}", config.model.initial.display());
    let package = match contract(config) {
        Ok(package) => package,
        Err(error) => {
            findings.error(place, chain(&error));
            return None;
        }
    };
    bind(config, package.contract(), &place, findings);
    Some(package)
}

fn bind(config: &Config, contract: &Contract, place: &str, findings: &mut Findings) {
    let kept = &config.window;
    let windows = WindowFeatures {
        step_ms: kept.grid.step_ms(),
        length: kept.length.get(),
        features: &kept.features,
    };
    if let Err(error) = contract.bind(&windows) {
        let model = &error.model;
        for misfit in &error.misfits {
            findings.error(place, format!("{model}: {misfit}"));
        }
    }
    if contract.window() < kept.length.get() {
        let text = format!(
            "{} slots are kept and the model sees {}: a smaller one saves memory, if no other model \
             needs them",
            kept.length,
            contract.window()
        );
        findings.note("window.length", text);
    }
    let idle: Vec<_> = kept
        .features
        .iter()
        .filter(|name| !contract.features().any(|feature| feature == **name))
        .map(String::as_str)
        .collect();
    if !idle.is_empty() {
        let text = format!(
            "{} are kept and the model does not use them: they take memory, and under window.missing and \
             window.on_conflict they can refuse an observation",
            idle.join(", ")
        );
        findings.note("window.features", text);
    }
}

/// Does what a worker does before it serves: loads the model and recomputes its examples.
pub(super) fn run(
    package: &Arc<Package>,
    config: &Config,
    environment: &Environment,
    findings: &mut Findings,
) {
    let place = config.model.initial.display();
    let runtime = match Runtime::load(&onnxruntime_places(environment).candidates()) {
        Ok(runtime) => runtime,
        Err(error) => return findings.error("ONNX Runtime", chain(&error)),
    };
    let deadline = RunDeadline(config.worker.run_deadline);
    let proven = match check_in_time(&runtime, package, deadline) {
        Ok(proven) => proven,
        Err(error) => return findings.error(&place, chain(&error)),
    };
    match proven {
        Ok(proven) => {
            let examples = proven.examples.len();
            findings.note(
                &place,
                format!("loads, and its {examples} examples give what they should"),
            );
            if proven.batching == Batching::RowByRow {
                let text = "its rows cannot share a run, so each costs one of its own: `foretell model check` \
                            shows why and what it costs";
                findings.warning(place, text);
            }
        }
        Err(error) => findings.error(place, chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::findings::Weight::{Error, Note};
    use crate::cli::findings::tests::assert_found;

    /// The findings about `demo/last_value.onnx`, which wants 64 slots of 120 s of `down`, `up` and
    /// `rnti_count`.
    fn found(window: &str, model: &str) -> Findings {
        let text = format!(
            "kafka.brokers = [\"a:1\"]\ninput.schema_folder = \"schemas\"\nmodel.initial = \"{model}\"\n\
             window = {{ {window} }}"
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("foretell.toml");
        let config = Config::parse(&path, &text, &Environment::of([])).unwrap();
        let mut findings = Findings::default();
        check(&config, &mut findings);
        findings
    }

    #[test]
    fn everything_that_does_not_fit_is_told_at_once() {
        let window = "step = \"60s\", length = 12, features = [\"down\"]";
        let findings = found(window, "demo/last_value.onnx");
        for part in [
            "steps of 120000 ms",
            "at least 64",
            "feature \"up\"",
            "feature \"rnti_count\"",
        ] {
            assert_found(&findings, Error, "last_value.onnx", &[part]);
        }
        assert_eq!(findings.count(Error), 4);
    }

    #[test]
    fn what_the_model_does_not_need_is_noted() {
        let window =
            "step = \"2m\", length = 70, features = [\"down\", \"up\", \"rnti_count\", \"x\"]";
        let findings = found(window, "demo/last_value.onnx");
        assert_found(&findings, Note, "window.length", &["70 slots", "sees 64"]);
        assert_found(&findings, Note, "window.features", &["x are kept"]);
        assert_eq!(findings.count(Error), 0);
    }

    #[test]
    fn a_file_that_is_no_package_is_named() {
        let window = "step = \"2m\", length = 64, features = [\"down\"]";
        for (model, part) in [
            ("nowhere.onnx", "cannot read"),
            ("Cargo.toml", "not an ONNX file"),
        ] {
            assert_found(&found(window, model), Error, model, &[part]);
        }
    }
}
