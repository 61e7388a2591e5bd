//! `foretell config check`: all mistakes of a configuration, before anything is started.
//!
//! The file's own mistakes come from `config`. What it names, schemas and the model package, is read
//! here and compared with it and with each other, one file of this room for each.

mod model;
mod relations;
mod schemas;

use std::process::ExitCode;

use super::findings::{Findings, chain};
use super::registry::RegistryClient;
use super::{ConfigFile, Failure, output};
use crate::config::{Config, Environment};

pub(super) use model::contract;
pub(super) use relations::kept_least;
pub(super) use schemas::covered;

/// Report every mistake of a configuration at once
///
/// Reads the file and the `FORETELL__SECTION__KEY` variables as `run` does, then the schemas and the
/// model package that they name, and compares them: which fields of which writer schema serve, what
/// the model needs and the windows keep, and what follows that may surprise. Connects to nothing:
/// `foretell topics check` looks at Kafka.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  foretell config check -c config/foretell.toml
  foretell config check -c foretell.toml --run-model
  FORETELL__KAFKA__BROKERS=kafka:9092 foretell config check -c foretell.toml

Exits with 0 if it will work, warnings or not; with 1 if schemas, model and configuration do not go
together; with 2 if the file or a variable itself is wrong.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

    /// Also load the model and recompute its examples, as `foretell model check` does
    #[arg(long)]
    run_model: bool,
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let config = Config::load(&arguments.config.path, environment)?;
    let mut findings = Findings::default();
    schemas::check(&config, &mut findings);
    if let Err(error) = RegistryClient::of(&config) {
        findings.error("[registry]", chain(&error));
    }
    let package = model::check(&config, &mut findings);
    relations::check(&config, environment, &mut findings);
    relations::tell(&config, package.as_deref(), &mut findings);
    if arguments.run_model
        && let Some(package) = &package
    {
        model::run(package, &config, environment, &mut findings);
    }
    let mut out = output::stdout();
    findings.write(&mut out, arguments.config.path.display())?;
    drop(out);
    findings.verdict()?;
    Ok(ExitCode::SUCCESS)
}
