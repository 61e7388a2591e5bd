//! Forecasts as the commands read them back, whatever frames them.

use std::collections::BTreeMap;

use super::Failure;
use crate::decode::{RegisteredSchema, WriterSchema};
use crate::domain::SchemaId;
use crate::produce::readback::{Forecast, ForecastReader, NoForecast};
use crate::registry::{BlockingClient, Fetched, RegistrySettings, Trouble};

/// Reads forecasts, those in Confluent framing by their writer schema where there is a registry.
#[derive(Debug)]
pub struct Reader {
    forecasts: ForecastReader,
    registry: Option<BlockingClient>,
    /// `None` for what the registry does not know, or not as Avro.
    writers: BTreeMap<SchemaId, Option<WriterSchema>>,
}

impl Reader {
    /// Connects to nothing yet. `datum` reads values that are bare data.
    ///
    /// # Errors
    /// When a file for TLS or an address cannot be used.
    pub fn new(datum: bool, registry: Option<&RegistrySettings>) -> Result<Self, Failure> {
        Ok(Self {
            forecasts: ForecastReader::new(datum)?,
            registry: registry.map(BlockingClient::new).transpose()?,
            writers: BTreeMap::new(),
        })
    }

    /// The datum of a value, without what frames it.
    pub fn datum<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        self.forecasts.datum(value)
    }

    /// # Errors
    /// When the value is no forecast, or the registry gave no answer that counts.
    pub fn read(&mut self, value: Option<&[u8]>) -> Result<Forecast, ReadError> {
        let schema = self.forecasts.schema_id(value);
        if let (Some(schema), Some(registry)) = (schema, &self.registry)
            && !self.writers.contains_key(&schema)
        {
            let writer = match registry.fetch(schema)? {
                Fetched::Known(RegisteredSchema::Usable(writer)) => Some(writer),
                Fetched::Known(RegisteredSchema::Refused(_)) | Fetched::Absent { .. } => None,
            };
            self.writers.insert(schema, writer);
        }
        let writer = schema.and_then(|schema| self.writers.get(&schema)?.as_ref());
        let writer = writer.map(WriterSchema::reader);
        Ok(self.forecasts.read_by(value, writer)?)
    }
}

/// Why a value is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    NoForecast(#[from] NoForecast),
    #[error(transparent)]
    Registry(#[from] Trouble),
}
