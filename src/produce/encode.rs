//! Forecasts as Avro, by `schemas/forecast.avsc`.
//!
//! The schema is ours and fixed, so its fields are written one after the other; a test reads them
//! back with Avro's own implementation. The committer's side calls this once per forecast: it
//! appends to a buffer and allocates nothing once the buffer has grown.

use super::avro::{array, boolean, double, doubles, long, single_object, string};
use crate::domain::{Forecast, ModelName, Quantile, Source, Target};

/// The schema of every forecast, as JSON.
pub const FORECAST_SCHEMA: &str = include_str!("../../schemas/forecast.avsc");

/// CRC-64-AVRO of [`FORECAST_SCHEMA`].
const FORECAST_FINGERPRINT: u64 = 0x9edf_b16c_81d1_d24f;

/// How a forecast says which schema wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForecastFormat {
    /// Avro single-object encoding: `C3 01`, the fingerprint, the datum.
    #[default]
    SingleObject,
    /// Nothing but the datum: readers must know the schema.
    Datum,
}

/// Encodes forecasts.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForecastEncoder {
    format: ForecastFormat,
}

impl ForecastEncoder {
    pub const fn new(format: ForecastFormat) -> Self {
        Self { format }
    }

    /// Appends one forecast to `out`.
    pub fn encode(self, forecast: &Forecast<'_>, out: &mut Vec<u8>) {
        let Forecast {
            series,
            origin,
            step_ms,
            targets,
            model,
            source,
            imputed,
            partial,
            window_hash,
        } = *forecast;
        match self.format {
            ForecastFormat::SingleObject => single_object(out, FORECAST_FINGERPRINT),
            ForecastFormat::Datum => {}
        }
        string(out, series);
        long(out, origin.0);
        long(out, step_ms);
        array(out, targets, write_target);
        let ModelName {
            name,
            version,
            digest,
        } = model;
        string(out, name);
        string(out, version);
        string(out, digest);
        let Source {
            topic,
            partition,
            offset,
        } = source;
        string(out, topic);
        long(out, partition.0.into());
        long(out, offset.get());
        // An Avro int is signed; a window with 2^31 cells is far beyond every limit.
        long(out, i32::try_from(imputed).unwrap_or(i32::MAX).into());
        boolean(out, partial);
        long(out, window_hash);
    }
}

fn write_target(out: &mut Vec<u8>, target: &Target<'_>) {
    let Target {
        name,
        mean,
        quantiles,
    } = *target;
    string(out, name);
    doubles(out, mean);
    array(out, quantiles, |buffer, &Quantile { level, values }| {
        double(buffer, level);
        doubles(buffer, values);
    });
}
