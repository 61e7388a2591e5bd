//! Forecasts decoded with `apache-avro`, for tests that compare what they say.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;

use crate::cluster::Cluster;
use crate::read::{Seen, read_committed};
use crate::tools::in_repository;

/// Length of the marker and the fingerprint before the datum.
pub const PREFIX: usize = 10;

/// Length of the zero byte and the schema id before the datum in Confluent framing.
pub const CONFLUENT_PREFIX: usize = 5;

/// What each series' forecasts say in order, without where in the input they come from.
pub fn without_source(cluster: &Cluster, topic: &str) -> Result<BTreeMap<String, Vec<Value>>> {
    without_source_after(cluster, topic, PREFIX)
}

/// The same with so many bytes before each datum.
pub fn without_source_after(
    cluster: &Cluster,
    topic: &str,
    prefix: usize,
) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut forecasts = decode(&read_committed(cluster, topic)?, prefix)?;
    for fields in forecasts.values_mut().flatten() {
        fields.retain(|(name, _)| name != "source");
    }
    let records = |list: Vec<Fields>| list.into_iter().map(Value::Record).collect();
    Ok(forecasts
        .into_iter()
        .map(|(series, list)| (series, records(list)))
        .collect())
}

/// The fields of a forecast in the order of the schema.
pub type Fields = Vec<(String, Value)>;

/// The forecasts of each key in their order; `prefix` bytes lie before each datum.
pub fn decode(records: &[Seen], prefix: usize) -> Result<BTreeMap<String, Vec<Fields>>> {
    let schema = Schema::parse_str(&fs::read_to_string(in_repository(
        "schemas/forecast.avsc",
    )?)?)?;
    let reader = GenericDatumReader::builder(&schema).build()?;
    let mut forecasts: BTreeMap<String, Vec<Fields>> = BTreeMap::new();
    for record in records {
        let value = record
            .value
            .as_deref()
            .context("a forecast without a value")?;
        let mut datum = value.get(prefix..).context("a forecast without a prefix")?;
        let Value::Record(fields) = reader.read_value(&mut datum)? else {
            bail!("a forecast that is no record");
        };
        ensure!(datum.is_empty(), "bytes after a forecast");
        forecasts
            .entry(record.key_text()?.to_owned())
            .or_default()
            .push(fields);
    }
    Ok(forecasts)
}
