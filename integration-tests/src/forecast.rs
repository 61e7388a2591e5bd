//! Forecasts decoded with `apache-avro`, for tests that compare what they say.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;

use crate::cluster::Cluster;
use crate::read::read_committed;
use crate::tools::in_repository;

/// Length of the marker and the fingerprint before the datum.
const PREFIX: usize = 10;

/// What each series' forecasts say in order, without where in the input they come from.
pub fn without_source(cluster: &Cluster, topic: &str) -> Result<BTreeMap<String, Vec<Value>>> {
    let schema = Schema::parse_str(&fs::read_to_string(in_repository(
        "schemas/forecast.avsc",
    )?)?)?;
    let reader = GenericDatumReader::builder(&schema).build()?;
    let mut forecasts: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in read_committed(cluster, topic)? {
        let value = record
            .value
            .as_deref()
            .context("a forecast without a value")?;
        let mut datum = value.get(PREFIX..).context("a forecast without a prefix")?;
        let Value::Record(mut fields) = reader.read_value(&mut datum)? else {
            bail!("a forecast that is no record");
        };
        fields.retain(|(name, _)| name != "source");
        let forecast = Value::Record(fields);
        forecasts
            .entry(record.key_text()?.to_owned())
            .or_default()
            .push(forecast);
    }
    Ok(forecasts)
}
