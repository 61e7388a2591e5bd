//! `foretell rollback`: the model that served before serves again.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::fleet::giving::{Giving, GivingArgs};
use super::fleet::hearing::Hearing;
use super::promote::{confirm, duration};
use super::{ConfigFile, Failure, output};
use crate::app::CHAMPION;
use crate::config::{Config, Environment};
use crate::control::{Effect, Order, Slot};
use crate::domain::Digest;
use crate::infer::Package;
use crate::models::file_uri;

/// Go back to the model that served before, at once
///
/// Writes a command that activates the package that was activated before the last one, for every origin; before the
/// first one that is model.initial. Workers keep it warm, so that it serves from their next round on. Doing it twice
/// comes back to where it began.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell rollback -c foretell.toml --reason 'errors doubled since Monday'
  foretell rollback -c foretell.toml --wait

Exits with 0 if a model was activated; with 1 if there is none to go back to, or waiting took too long.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

    #[command(flatten)]
    giving: GivingArgs,

    /// Also wait until every live worker says that its schedule has the model
    #[arg(long)]
    wait: bool,

    /// How long workers may take
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    timeout: Duration,
}

/// Why there is nothing to go back to.
#[derive(Debug, thiserror::Error)]
#[error(
    "no model was activated in slot {slot} before the one that serves: there is nothing to go back to"
)]
struct Nothing {
    slot: String,
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let config = Config::load(&arguments.config.path, environment)?;
    let mut giving = Giving::begin(&config, &arguments.giving, environment)?;
    let slot = &arguments.giving.slot;
    let known = giving
        .slot()
        .filter(|known| !known.schedule().entries().is_empty());
    let known = known.ok_or_else(|| Nothing { slot: slot.clone() })?;
    let (sha256, what) = match known.previous() {
        Some(previous) => (previous, "the model before"),
        None if slot != CHAMPION => return Err(Nothing { slot: slot.clone() }.into()),
        None => (initial(&config, &mut giving)?, "model.initial"),
    };
    let mut hearing = if arguments.wait {
        Some(Hearing::begin(&config)?)
    } else {
        None
    };
    let given = giving.give(Order::Activate {
        sha256,
        effective_from: None,
    })?;
    let mut out = output::stdout();
    let offset = given.offset;
    writeln!(
        out,
        "activated: {what}, sha256 {sha256}, serves every origin in slot {slot} (command {offset} of the log)"
    )?;
    out.flush()?;
    if let Some(hearing) = &mut hearing {
        confirm(&given, hearing, arguments.timeout)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The configured package, which every worker has: staged, because only what was staged can be activated.
fn initial(config: &Config, giving: &mut Giving) -> Result<Digest, Failure> {
    let package = Package::read(&config.model.initial)?;
    let sha256 = package.sha256();
    let is_staged = |slot: &Slot| slot.staged().contains_key(&sha256);
    if !giving.slot().is_some_and(is_staged) {
        let path = std::path::absolute(&config.model.initial)?;
        let uri = file_uri(&path).unwrap_or_default();
        let staged = giving.give(Order::Stage { uri, sha256 })?;
        debug_assert!(matches!(staged.effect, Effect::Staged { .. }), "{staged:?}");
    }
    Ok(sha256)
}
