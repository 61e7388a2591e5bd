//! `foretell verify`: what was published held against what should have been, record for record.
//!
//! The core is pure, so that a simulation can be its caller as well: [`recompute`] folds and forecasts
//! again through the worker's own code, [`judge`] and [`letters`] hold what was found against it with the
//! [`ledger`], [`homes`], [`runs`], [`waiting`] and [`gaps`], [`mod@compare`] names what differs, and [`finding`] is the closed set
//! of what there is to find. [`mod@plan`] decides from a commit what can be checked ([`scope`]). Around it,
//! `outputs` and `walk` read the topics in step, `check` fixes at its start where that ends, and `report` shows
//! it. No group is joined and nothing written.

mod arguments;
mod check;
pub mod compare;
pub mod evidence;
pub mod finding;
pub mod gaps;
pub mod homes;
pub mod judge;
pub mod ledger;
pub mod letters;
mod outputs;
pub mod plan;
pub mod recompute;
mod report;
pub mod runs;
pub mod scope;
pub mod waiting;
mod walk;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

pub use arguments::Arguments;
use ledger::MODELS_MAX;
use recompute::Model;
use report::Report;

use super::backtest::models::{self, Derived};
use super::{Failure, output};
use crate::app::runtime_text;
use crate::config::{Config, Environment};
use crate::infer::Package;

/// More models than records have room to tell apart.
#[derive(Debug, thiserror::Error)]
#[error(
    "--model: {given} different models, with the configuration's, are more than the {MODELS_MAX} that can be told apart: check parts of the log with --partition, --from and --to, each with the models that served it"
)]
struct TooManyModels {
    given: usize,
}

pub(super) fn run(args: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let config = Config::load(&args.config.path, environment)?;
    let asked = args
        .asked(&config.topics.observations)
        .map_err(Failure::usage)?;
    let files = different(&config, args)?;
    // The configuration has the windows: nothing is derived from the models.
    let derived = Derived {
        phase_ms: 0,
        gap_max: 0,
    };
    let loaded = models::load(&files, Some(&config), derived, environment)?;
    let runtime = runtime_text(&loaded.runtime);
    let models = loaded.list.into_iter().map(|model| Model {
        package: model.package,
        binding: model.binding,
        forecaster: model.forecaster,
    });
    let models = (models.collect(), &runtime);
    let told = check::check(&config, loaded.windows, models, asked)?;
    let report = Report::of(&config, &told);
    let mut out = output::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        report::text(&mut out, &report)?;
    }
    out.flush()?;
    Ok(if report.clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The configuration's model and those of the command line, each package once.
fn different(config: &Config, args: &Arguments) -> Result<Vec<PathBuf>, Failure> {
    let mut digests = Vec::new();
    let mut files = Vec::new();
    for file in [&config.model.initial].into_iter().chain(&args.models) {
        let package = Package::read(file)?;
        if !digests.iter().any(|digest| digest == package.digest()) {
            digests.push(package.digest().to_owned());
            files.push(file.clone());
        }
    }
    if files.len() > MODELS_MAX {
        return Err(Failure::usage(TooManyModels { given: files.len() }));
    }
    Ok(files)
}
