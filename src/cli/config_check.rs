//! `foretell config check`: all mistakes of a configuration, before anything is started.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{ConfigFile, Failure};
use crate::config::{Config, Environment, InputFormat, Registry};

/// Report every mistake of a configuration at once
///
/// Reads the file and the `FORETELL__SECTION__KEY` variables as `run` does, and looks whether the files
/// that they name are there. Connects to nothing. Each mistake is one line: place, key, value, and what
/// is allowed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  foretell config check -c config/foretell.toml
  FORETELL__KAFKA__BROKERS=kafka:9092 foretell config check -c foretell.toml

Exits with 0 if the configuration is good, with 2 if it is not.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
}

/// Files that the configuration names and that are not there.
#[derive(Debug)]
struct MissingFiles(Vec<(&'static str, PathBuf)>);

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let config = Config::load(&arguments.config.path, environment)?;
    let missing = missing_files(&config);
    if !missing.is_empty() {
        return Err(Failure::usage(MissingFiles(missing)));
    }
    writeln!(io::stdout(), "{}: OK", arguments.config.path.display())?;
    Ok(ExitCode::SUCCESS)
}

fn missing_files(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let schema: Option<(_, &Path)> = match &config.input.format {
        InputFormat::SingleObject { schema_folder } => Some(("input.schema_folder", schema_folder)),
        InputFormat::Datum { schema } => Some(("input.schema", schema)),
        InputFormat::Confluent => None,
    };
    let Registry {
        ca_file,
        client_files,
        ..
    } = &config.registry;
    let client = client_files.iter().flat_map(|(certificate, key)| {
        [
            ("registry.client_certificate_file", certificate.as_path()),
            ("registry.client_key_file", key.as_path()),
        ]
    });
    let authorities = ca_file
        .iter()
        .map(|file| ("registry.ca_file", file.as_path()));
    [("model.initial", config.model.initial.as_path())]
        .into_iter()
        .chain(schema)
        .chain(authorities)
        .chain(client)
        .filter(|(_, path)| !path.exists())
        .map(|(key, path)| (key, path.to_owned()))
        .collect()
}

impl std::error::Error for MissingFiles {}

impl fmt::Display for MissingFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, path)) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{key}: {} does not exist", path.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_there_are_named_with_their_keys() {
        let text = "kafka.brokers = [\"a:1\"]\ninput.schema_folder = \".\"\n\
                    model.initial = \"no.onnx\"\n\
                    window = { step = \"1m\", length = 2, features = [\"x\"] }";
        let path = std::env::temp_dir().join("foretell.toml");
        let config = Config::parse(&path, text, &Environment::of([])).unwrap();
        let missing = MissingFiles(missing_files(&config)).to_string();
        assert!(missing.starts_with("model.initial: "), "{missing}");
        assert!(missing.ends_with("no.onnx does not exist"), "{missing}");
    }
}
