//! The registry's subjects of the topics: whether the schemas there serve, and take what a worker writes.

use crate::app;
use crate::cli::config_check::covered;
use crate::cli::findings::{Findings, chain};
use crate::cli::registry::RegistryClient;
use crate::config::{Config, InputFormat, WireFormat};
use crate::decode::RegisteredSchema;
use crate::produce::FORECAST_SCHEMA;
use crate::registry::{BlockingClient, Compatibility, Fetched, Subject, SubjectError};

/// Asks the registry, if the configuration has one.
pub(super) fn check(registry: &RegistryClient, config: &Config, findings: &mut Findings) {
    let Some(client) = registry.get() else { return };
    if config.input.format == InputFormat::Confluent {
        let subject = format!("{}-value", config.topics.observations);
        if let Err(error) = observations(client, config, &subject, findings) {
            findings.error(format!("subject {subject}"), chain(&error));
        }
    }
    if config.forecast.wire_format == WireFormat::Confluent {
        let subject = format!("{}-value", config.topics.forecasts);
        if let Err(error) = forecasts(client, config, &subject, findings) {
            findings.error(format!("subject {subject}"), chain(&error));
        }
    }
}

/// The newest schema of the input's subject beside `[input]` and `[window]`.
fn observations(
    client: &BlockingClient,
    config: &Config,
    subject: &str,
    findings: &mut Findings,
) -> Result<(), SubjectError> {
    let place = format!("subject {subject}");
    let Some(id) = client.latest(subject)? else {
        let text = "there is none: nobody has registered a schema by the name of the topic. Records name \
                    their schema by id, so a subject of another name does; --sample looks at records";
        findings.note(place, text);
        return Ok(());
    };
    let usable = match client.fetch(id)? {
        Fetched::Known(RegisteredSchema::Usable(schema)) => schema,
        Fetched::Known(RegisteredSchema::Refused(reason)) => {
            let text = format!(
                "the records of its newest schema, id {id}, are rejected as undecodable: {reason}"
            );
            findings.error(place, text);
            return Ok(());
        }
        Fetched::Absent { message } => {
            let text = format!("its newest schema has the id {id}, which is unknown: {message}");
            findings.error(place, text);
            return Ok(());
        }
    };
    match app::decoder(config) {
        Ok(decoder) => covered(config, &[decoder.coverage_of(&usable)], findings),
        Err(error) => findings.error("[input] and window.features", chain(&error)),
    }
    Ok(())
}

/// Whether the subject of the output takes the schema of forecasts.
fn forecasts(
    client: &BlockingClient,
    config: &Config,
    subject: &str,
    findings: &mut Findings,
) -> Result<(), SubjectError> {
    let place = format!("subject {subject}");
    let asked = Subject {
        name: subject,
        schema: FORECAST_SCHEMA,
        register: false,
    };
    match client.schema_id(&asked, &mut |_trouble| false) {
        Ok(id) => {
            findings.note(place, format!("has the schema of forecasts, id {id}"));
            return Ok(());
        }
        Err(SubjectError::NotRegistered { .. }) => {}
        Err(error) => return Err(error),
    }
    if !config.registry.register {
        let text = "lacks the schema of forecasts, and registry.register = false: a worker would not start. \
                    Register schemas/forecast.avsc there, or leave it to the worker";
        findings.error(place, text);
        return Ok(());
    }
    match client.compatibility(&asked)? {
        Compatibility::Free => {
            findings.note(
                place,
                "is free: a worker registers the schema of forecasts at its start",
            );
        }
        Compatibility::Compatible => {
            let text = "takes the schema of forecasts beside what it has: a worker registers it at its start";
            findings.note(place, text);
        }
        Compatibility::Incompatible { messages } => {
            let text = format!(
                "refuses the schema of forecasts, so a worker would not start{messages}. Look at what is \
                 registered there and at the subject's compatibility level; or write to another topic"
            );
            findings.error(place, text);
        }
    }
    Ok(())
}
