//! Forecasts read back: owned values out of the records that [`super::ForecastEncoder`] wrote.
//!
//! The commands that show and score forecasts use it; the worker never reads what it wrote.

use serde::{Deserialize, Serialize};
use serde_avro_fast::Schema;

use super::FORECAST_SCHEMA;
use crate::domain::SchemaId;

/// A forecast as `schemas/forecast.avsc` has it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Forecast {
    pub series: String,
    /// Milliseconds since the Unix epoch.
    pub origin: i64,
    pub step_ms: i64,
    pub targets: Vec<Target>,
    pub model: Model,
    pub source: Source,
    pub imputed: i32,
    pub partial: bool,
    pub window_hash: i64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Target {
    pub name: String,
    pub mean: Vec<f64>,
    pub quantiles: Vec<Quantile>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Quantile {
    pub level: f64,
    pub values: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Model {
    pub name: String,
    pub version: String,
    pub digest: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Source {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// Reads forecasts.
#[derive(Debug)]
pub struct ForecastReader {
    schema: Schema,
    plain_datum: bool,
}

/// Why a record's value is no forecast.
#[derive(Debug, thiserror::Error)]
pub enum NoForecast {
    #[error("it has no value")]
    Null,
    #[error("it is cut short: there is no schema id after its zero byte")]
    Cut,
    #[error(
        "it is not a forecast of this release: {0}. If the worker writes plain datums (forecast.wire_format), say --datum"
    )]
    Unreadable(#[from] serde_avro_fast::de::DeError),
    #[error("the forecast schema of this release cannot be read")]
    Schema(#[from] serde_avro_fast::schema::SchemaError),
}

impl ForecastReader {
    /// `plain_datum` reads values without the header of single-object encoding.
    pub fn new(plain_datum: bool) -> Result<Self, NoForecast> {
        let schema = FORECAST_SCHEMA.parse()?;
        Ok(Self {
            schema,
            plain_datum,
        })
    }

    /// Reads the value of a record. One in Confluent framing is taken for one of this release's schema.
    pub fn read(&self, value: Option<&[u8]>) -> Result<Forecast, NoForecast> {
        self.read_by(value, None)
    }

    /// The schema id of a value in Confluent framing, which it may have been written with.
    pub fn schema_id(&self, value: Option<&[u8]>) -> Option<SchemaId> {
        let rest = value.filter(|_| !self.plain_datum)?.strip_prefix(&[0])?;
        let id = rest.first_chunk()?;
        SchemaId::new(u32::from_be_bytes(*id))
    }

    /// The datum of a value, without what frames it.
    pub fn datum<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        match value {
            _ if self.plain_datum => Some(value),
            [0, ..] => value.get(5..),
            [0xc3, 0x01, ..] => value.get(10..),
            _ => None,
        }
    }

    /// Reads the value of a record in Confluent framing by its writer schema, where that is known.
    pub fn read_by(
        &self,
        value: Option<&[u8]>,
        writer: Option<&Schema>,
    ) -> Result<Forecast, NoForecast> {
        let value = value.ok_or(NoForecast::Null)?;
        Ok(match value.strip_prefix(&[0]) {
            _ if self.plain_datum => serde_avro_fast::from_datum_slice(value, &self.schema)?,
            None => serde_avro_fast::from_single_object_slice(value, &self.schema)?,
            Some(framed) => {
                let datum = framed.get(4..).ok_or(NoForecast::Cut)?;
                serde_avro_fast::from_datum_slice(datum, writer.unwrap_or(&self.schema))?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain;
    use crate::produce::{ForecastEncoder, ForecastFormat};

    #[test]
    fn a_forecast_is_read_as_it_was_written() {
        let mean = [1.5, -0.0, f64::MAX];
        let values = [0.25, 0.5, 0.75];
        let quantiles = [domain::Quantile {
            level: 0.9,
            values: &values,
        }];
        let targets = [domain::Target {
            name: "down",
            mean: &mean,
            quantiles: &quantiles,
        }];
        let forecast = domain::Forecast {
            series: "cell-17",
            origin: domain::Timestamp(1_522_252_560_000),
            step_ms: 120_000,
            targets: &targets,
            model: domain::ModelName {
                name: "last-value",
                version: "1",
                digest: "ab",
            },
            source: domain::Source {
                topic: "observations",
                partition: domain::PartitionId(3),
                offset: domain::Offset::new(7).unwrap(),
            },
            imputed: 2,
            partial: true,
            window_hash: -9,
        };
        for (format, plain) in [
            (ForecastFormat::SingleObject, false),
            (ForecastFormat::Datum, true),
            (ForecastFormat::Confluent(SchemaId::new(7).unwrap()), false),
        ] {
            let mut value = Vec::new();
            ForecastEncoder::new(format).encode(&forecast, &mut value);
            let reader = ForecastReader::new(plain).unwrap();
            let read = reader.read(Some(&value)).unwrap();
            assert_eq!(
                (read.series.as_str(), read.origin),
                ("cell-17", 1_522_252_560_000)
            );
            assert_eq!(read.targets[0].mean, mean);
            assert_eq!(read.targets[0].quantiles[0].values, values);
            assert_eq!((read.source.partition, read.source.offset), (3, 7));
            assert_eq!(
                (read.imputed, read.partial, read.window_hash),
                (2, true, -9)
            );
            assert!(reader.read(Some(&value[..value.len() - 1])).is_err());
            let mut datum = Vec::new();
            ForecastEncoder::new(ForecastFormat::Datum).encode(&forecast, &mut datum);
            assert_eq!(reader.datum(&value), Some(&*datum));
            assert!(reader.read(None).is_err());
            assert!(reader.read(Some(&[0, 0, 0])).is_err());
            let framed = matches!(format, ForecastFormat::Confluent(_));
            let id = reader.schema_id(Some(&value));
            assert_eq!(id, framed.then(|| SchemaId::new(7).unwrap()));
        }
    }
}
