//! Forecasts as Avro, by `schemas/forecast.avsc`.
//!
//! The schema is ours and fixed, so its fields are written one after the other; a test reads them
//! back with Avro's own implementation. The committer's side calls this once per forecast: it
//! appends to a buffer and allocates nothing once the buffer has grown.

use super::avro::{array, boolean, confluent, double, doubles, long, single_object, string};
use crate::domain::{Forecast, ModelName, Quantile, SchemaId, Source, Target};

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
    /// Confluent framing: a zero byte, the id that the registry gave to the schema, the datum.
    Confluent(SchemaId),
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
            ForecastFormat::Confluent(schema) => confluent(out, schema),
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

#[cfg(test)]
mod tests {
    use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
    use proptest::prelude::*;
    use serde_avro_fast::schema::SchemaMut;

    use super::*;
    use crate::domain::{Offset, PartitionId, Timestamp};

    #[test]
    fn the_fingerprint_is_the_schemas() {
        let schema: SchemaMut = FORECAST_SCHEMA.parse().unwrap();
        let fingerprint = schema.canonical_form_rabin_fingerprint().unwrap();
        assert_eq!(u64::from_le_bytes(fingerprint), FORECAST_FINGERPRINT);
    }

    fn value<T: Into<Value>>(name: &str, value: T) -> (String, Value) {
        (name.to_owned(), value.into())
    }

    fn doubles_value(values: &[f64]) -> Value {
        Value::Array(values.iter().copied().map(Value::Double).collect())
    }

    /// What Avro's own implementation must read.
    fn expected(forecast: &Forecast<'_>) -> Value {
        let targets = forecast.targets.iter().map(|target| {
            let quantiles = target.quantiles.iter().map(|quantile| {
                Value::Record(vec![
                    value("level", quantile.level),
                    value("values", doubles_value(quantile.values)),
                ])
            });
            Value::Record(vec![
                value("name", target.name),
                value("mean", doubles_value(target.mean)),
                value("quantiles", Value::Array(quantiles.collect())),
            ])
        });
        let model = Value::Record(vec![
            value("name", forecast.model.name),
            value("version", forecast.model.version),
            value("digest", forecast.model.digest),
        ]);
        let source = Value::Record(vec![
            value("topic", forecast.source.topic),
            value("partition", forecast.source.partition.0),
            value("offset", forecast.source.offset.get()),
        ]);
        Value::Record(vec![
            value("series", forecast.series),
            value("origin", Value::TimestampMillis(forecast.origin.0)),
            value("step_ms", forecast.step_ms),
            value("targets", Value::Array(targets.collect())),
            value("model", model),
            value("source", source),
            value("imputed", i32::try_from(forecast.imputed).unwrap()),
            value("partial", forecast.partial),
            value("window_hash", forecast.window_hash),
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn avro_reads_back_what_was_encoded(
            series in any::<String>(),
            longs in any::<[i64; 3]>(),
            values in proptest::collection::vec(-1e300..1e300_f64, 0..200),
            (quantiles, targets) in (0..4_usize, 0..4_usize),
            (partition, offset, imputed) in (0..i32::MAX, 0..i64::MAX, 0..i32::MAX.cast_unsigned()),
            partial in any::<bool>(),
        ) {
            let quantiles = vec![Quantile { level: 0.9, values: &values }; quantiles];
            let target = Target { name: &series, mean: &values, quantiles: &quantiles };
            let forecast = Forecast {
                series: &series,
                origin: Timestamp(longs[0]),
                step_ms: longs[1],
                targets: &vec![target; targets],
                model: ModelName { name: "traffic", version: "", digest: "00ff" },
                source: Source {
                    topic: "observations",
                    partition: PartitionId(partition),
                    offset: Offset::new(offset).unwrap(),
                },
                imputed,
                partial,
                window_hash: longs[2],
            };
            let mut out = vec![7];
            ForecastEncoder::new(ForecastFormat::Datum).encode(&forecast, &mut out);
            let start = out.len();
            ForecastEncoder::default().encode(&forecast, &mut out);
            let framed = out.len();
            let id = SchemaId::new(0x0102_0304).unwrap();
            ForecastEncoder::new(ForecastFormat::Confluent(id)).encode(&forecast, &mut out);
            let (datum, object) = (&out[1..start], &out[start..framed]);
            prop_assert_eq!(&out[framed..framed + 5], &[0, 1, 2, 3, 4]);
            prop_assert_eq!(&out[framed + 5..], datum);
            prop_assert_eq!(&object[..2], &[0xc3, 0x01]);
            prop_assert_eq!(&object[2..10], &FORECAST_FINGERPRINT.to_le_bytes());
            prop_assert_eq!(&object[10..], datum);

            let schema = Schema::parse_str(FORECAST_SCHEMA).unwrap();
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            let mut rest = datum;
            prop_assert_eq!(reader.read_value(&mut rest).unwrap(), expected(&forecast));
            prop_assert!(rest.is_empty());
        }
    }
}
