//! Observations and forecasts through Avro's own implementation.

use apache_avro::{
    Schema, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use serde::Deserialize;

const OBSERVATION: &str = include_str!("../../schemas/observation.avsc");
const FORECAST: &str = include_str!("../../schemas/forecast.avsc");

/// What tests/oracle/fingerprint.py prints.
const OBSERVATION_FINGERPRINT: u64 = 0xcea6_584c_917a_b01d;
const FORECAST_FINGERPRINT: u64 = 0x9edf_b16c_81d1_d24f;

/// The features of the observation schema that the tests keep, in the order of the oracle.
pub(crate) const FEATURES: [&str; 4] = ["mcs_up", "down", "up", "rnti_count"];

/// Writes observations in single-object encoding.
pub(crate) struct Observations {
    schema: Schema,
    header: Vec<u8>,
}

impl Observations {
    pub(crate) fn new() -> Self {
        let schema = Schema::parse_str(OBSERVATION).unwrap();
        let mut header = vec![0xc3, 0x01];
        header.extend(OBSERVATION_FINGERPRINT.to_le_bytes());
        Self { schema, header }
    }

    /// `cells` are those of [`FEATURES`]; every other field is null.
    pub(crate) fn encode(&self, series: &str, time_ms: i64, cells: &[Option<f64>]) -> Vec<u8> {
        let Schema::Record(record) = &self.schema else {
            panic!("an observation is a record");
        };
        let field = |name: &str| match name {
            "series" => Value::String(series.to_owned()),
            "time" => Value::TimestampMillis(time_ms),
            feature => match FEATURES.iter().position(|kept| *kept == feature) {
                Some(place) if cells[place].is_some() => {
                    Value::Union(1, Box::new(Value::Double(cells[place].unwrap())))
                }
                Some(_) | None => Value::Union(0, Box::new(Value::Null)),
            },
        };
        let fields = record.fields.iter();
        let value = Value::Record(
            fields
                .map(|one| (one.name.clone(), field(&one.name)))
                .collect(),
        );
        let writer = GenericDatumWriter::builder(&self.schema).build().unwrap();
        let mut bytes = self.header.clone();
        writer.write_value(&mut bytes, value).unwrap();
        bytes
    }
}

/// A forecast as its readers see it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Forecast {
    pub(crate) series: String,
    pub(crate) origin: i64,
    pub(crate) step_ms: i64,
    pub(crate) targets: Vec<Target>,
    pub(crate) model: Model,
    pub(crate) source: Source,
    pub(crate) imputed: i32,
    pub(crate) partial: bool,
    pub(crate) window_hash: i64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) mean: Vec<f64>,
    pub(crate) quantiles: Vec<Quantile>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Quantile {
    pub(crate) level: f64,
    pub(crate) values: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) digest: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Source {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Forecast {
    /// Per target the mean, then the quantiles in their order.
    pub(crate) fn values(&self) -> Vec<f64> {
        let parts = self.targets.iter().flat_map(|target| {
            let quantiles = target.quantiles.iter().map(|quantile| &quantile.values);
            std::iter::once(&target.mean).chain(quantiles)
        });
        parts.flatten().copied().collect()
    }
}

/// Reads forecasts in single-object encoding.
pub(crate) struct Forecasts {
    schema: Schema,
}

impl Forecasts {
    pub(crate) fn new() -> Self {
        let schema = Schema::parse_str(FORECAST).unwrap();
        Self { schema }
    }

    pub(crate) fn decode(&self, value: &[u8]) -> Forecast {
        let (header, mut datum) = value.split_at(10);
        assert_eq!(&header[..2], &[0xc3, 0x01]);
        assert_eq!(&header[2..], &FORECAST_FINGERPRINT.to_le_bytes());
        let reader = GenericDatumReader::builder(&self.schema).build().unwrap();
        let read = reader.read_value(&mut datum).unwrap();
        assert!(datum.is_empty(), "{} bytes follow a forecast", datum.len());
        apache_avro::from_value(&read).unwrap()
    }
}
