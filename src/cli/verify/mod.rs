//! `foretell verify`: what was published held against what should have been, record for record.
//!
//! The core is pure, so that a simulation can be its caller as well: [`recompute`] folds and forecasts
//! again through the worker's own code, [`judge`] and [`letters`] hold what was found against it with the
//! [`ledger`], [`homes`], [`runs`], [`waiting`] and [`gaps`], [`mod@compare`] names what differs, and [`finding`] is the closed set
//! of what there is to find. [`mod@plan`] decides from a commit what can be checked ([`scope`]). Around it,
//! `outputs` and `walk` read the topics in step, `packages` finds the models, `in_force` reads which of them anybody had serve,
//! `check` fixes at its start where that ends, and `report` shows it. No group is joined and nothing written.

mod arguments;
mod check;
pub mod compare;
pub mod evidence;
pub mod finding;
pub mod gaps;
pub mod homes;
mod in_force;
pub mod judge;
pub mod ledger;
pub mod letters;
mod outputs;
mod packages;
pub mod plan;
pub mod recompute;
mod report;
pub mod runs;
pub mod scope;
pub mod waiting;
mod walk;

use std::io::Write;
use std::process::ExitCode;

pub use arguments::Arguments;
use packages::Packages;
use report::Report;

use super::{Failure, output};
use crate::config::{Config, Environment};

pub(super) fn run(args: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let config = Config::load(&args.config.path, environment)?;
    let asked = args
        .asked(&config.topics.observations)
        .map_err(Failure::usage)?;
    let given = Packages::given(&config, args)?;
    let told = check::check(&config, given, asked, environment)?;
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
