//! `foretell config show`: the values in force, without the secrets.

use std::io::{self, Write};
use std::process::ExitCode;

use super::{ConfigFile, Failure};
use crate::config::{Config, Environment};

/// Print every key with the value in force
///
/// Defaults, the file and the `FORETELL__SECTION__KEY` variables, as TOML that can be used as a file
/// again. Secrets are shown as ***.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  foretell config show -c config/foretell.toml
  foretell config show -c config/foretell.toml | grep timeout")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let config = Config::load(&arguments.config.path, environment)?;
    io::stdout().write_all(config.to_toml_redacted().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
