//! The Schema Registry as the commands ask it: once, and what does not answer is said.

use crate::app::registry_settings;
use crate::config::{Config, InputFormat, WireFormat};
use crate::decode::SchemaAnswer;
use crate::domain::{Record, SchemaId};
use crate::partition::Step;
use crate::registry::{BlockingClient, Fetched, SubjectError, Trouble};

/// A client where the configuration has something to ask a registry.
#[derive(Debug)]
pub struct RegistryClient(Option<BlockingClient>);

impl RegistryClient {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When a file for TLS or an address cannot be used.
    pub fn of(config: &Config) -> Result<Self, SubjectError> {
        let is_asked = config.input.format == InputFormat::Confluent
            || config.forecast.wire_format == WireFormat::Confluent;
        let client = is_asked.then(|| BlockingClient::new(&registry_settings(&config.registry)));
        Ok(Self(client.transpose()?))
    }

    /// For records that name no schema of a registry.
    pub const fn none() -> Self {
        Self(None)
    }

    pub const fn get(&self) -> Option<&BlockingClient> {
        self.0.as_ref()
    }

    /// What the registry says of a schema, asked once. What it does not know now is unknown, as a command
    /// does not wait as a worker does; and so is what nobody can be asked about.
    ///
    /// # Errors
    /// When the registry gave no answer that counts.
    pub fn answer(&self, schema: SchemaId) -> Result<SchemaAnswer, Trouble> {
        let Some(client) = &self.0 else {
            return Ok(SchemaAnswer::Unknown);
        };
        Ok(match client.fetch(schema)? {
            Fetched::Known(known) => SchemaAnswer::Known(known),
            Fetched::Absent { message: _ } => SchemaAnswer::Unknown,
        })
    }

    /// Asks for the schema that a record names, if it is not known yet.
    ///
    /// # Errors
    /// As [`RegistryClient::answer`].
    pub fn learn(&self, step: &mut Step, record: &Record<'_>) -> Result<(), Trouble> {
        if let Some(schema) = step.awaited(record) {
            step.answer(schema, &self.answer(schema)?, record.offset);
        }
        Ok(())
    }
}
