//! `foretell topics check`: whether a worker could run on the topics that there are.

use super::facts::{self, Facts};
use super::judge::judge;
use super::{sample, subjects};
use crate::cli::clients::{Connection, Unreachable};
use crate::cli::config_check;
use crate::cli::findings::{Findings, chain};
use crate::cli::registry::RegistryClient;
use crate::cli::{ConfigFile, Failure, output};
use crate::config::{Config, Environment};

/// Check that the topics of a configuration are there and fit
///
/// Compares the settings of topics and brokers, and the offsets of the group, with the configuration and
/// the model's contract, and the schemas of both topics' subjects where a registry has them, and says
/// everything that will not work at once. Joins no group, registers and changes nothing. What the broker does not tell is said to be unchecked.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell topics check -c foretell.toml

  Also decode the newest 1,000 observations of each partition, and say what a worker would make of them:
  foretell topics check -c foretell.toml --sample 1000

Exits with 0 if it will work, warnings or not; with 1 if something must be changed.")]
pub(in crate::cli) struct CheckArguments {
    #[command(flatten)]
    config: ConfigFile,

    /// Decode the newest N observations of each partition and count what becomes of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sample: Option<u32>,
}

pub(super) fn run(arguments: &CheckArguments, environment: &Environment) -> Result<(), Failure> {
    let config = Config::load(&arguments.config.path, environment)?;
    let connection = Connection::configured(&config.kafka);
    let findings = check(&connection, &config, arguments.sample)?;
    let mut out = output::stdout();
    findings.write(&mut out, format_args!("topics at {}", connection.brokers()))?;
    drop(out);
    findings.verdict()?;
    Ok(())
}

fn check(
    connection: &Connection,
    config: &Config,
    newest: Option<u32>,
) -> Result<Findings, Unreachable> {
    let mut findings = Findings::default();
    let package = config_check::contract(config);
    if let Err(error) = &package {
        let text = format!(
            "the size of forecasts is unchecked: {}; `foretell config check` says more",
            chain(error)
        );
        findings.warning("model.initial", text);
    }
    let facts: Facts = facts::gather(connection, config)?;
    let contract = package.as_ref().ok().map(|package| package.contract());
    judge(&facts, config, contract, &mut findings);
    match RegistryClient::of(config) {
        Ok(registry) => {
            subjects::check(&registry, config, &mut findings);
            if let Some(newest) = newest {
                let what = (&facts, newest, &registry);
                sample::check(connection, config, what, &mut findings);
            }
        }
        Err(error) => findings.error("[registry]", chain(&error)),
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::cli::findings::Weight::{Error, Note};
    use crate::cli::findings::tests::assert_found;

    #[test]
    fn the_mock_cluster_tells_which_topics_there_are_and_nothing_more() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("in", 3, 1).unwrap();
        let text = format!(
            "kafka.brokers = [\"{}\"]\ninput.schema_folder = \"schemas\"\n\
             topics = {{ observations = \"in\", forecasts = \"out\", dead_letters = \"dead\" }}\n\
             model.initial = \"demo/last_value.onnx\"\nwindow = {{ step = \"2m\", length = 64, \
             features = [\"down\", \"up\", \"rnti_count\"] }}",
            cluster.bootstrap_servers()
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("foretell.toml");
        let config = Config::parse(&path, &text, &Environment::of([])).unwrap();
        let connection = Connection::configured(&config.kafka);
        let findings = check(&connection, &config, Some(10)).unwrap();
        assert_found(&findings, Note, "in", &["3 partitions; unchecked"]);
        assert_found(&findings, Error, "out", &["is missing; create it"]);
        assert_found(&findings, Note, "in, newest records", &["none yet"]);
    }
}
