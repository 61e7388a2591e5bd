//! What a topic's `read_committed` readers see, by Kafka's own Java client.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

use crate::cluster::Cluster;
use crate::process::output;
use crate::tools::Tools;

/// One record as `java/ReadCommitted.java` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    #[serde(deserialize_with = "bytes")]
    pub key: Option<Vec<u8>>,
    #[serde(deserialize_with = "bytes")]
    pub value: Option<Vec<u8>>,
    headers: Vec<(String, HeaderValue)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct HeaderValue(#[serde(deserialize_with = "bytes")] Option<Vec<u8>>);

impl Seen {
    /// The value of the only header of that name, as text.
    pub fn header(&self, name: &str) -> Result<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        let value = found.next().and_then(|(_, value)| value.0.as_deref());
        let value = value.with_context(|| format!("no header {name} in {self:?}"))?;
        anyhow::ensure!(found.next().is_none(), "two headers {name} in {self:?}");
        Ok(str::from_utf8(value)?)
    }

    pub fn key_text(&self) -> Result<&str> {
        Ok(str::from_utf8(self.key.as_deref().context("no key")?)?)
    }
}

/// All committed records of a topic, partition by partition in offset order.
pub fn read_committed(cluster: &Cluster, topic: &str) -> Result<Vec<Seen>> {
    let mut java = Tools::get()?.java("ReadCommitted", "2g");
    java.args([cluster.brokers(), topic]);
    let lines = String::from_utf8(output(&java, b"")?)?;
    lines
        .lines()
        .map(|line| serde_json::from_str(line).context("not a record"))
        .collect()
}

/// Partition and key, to the values in the order in which they are read.
pub type ValuesByKey<'a> = BTreeMap<(i32, &'a str), Vec<&'a [u8]>>;

/// The values of each key in the order in which a reader of its partition gets them.
pub fn values_by_key(records: &[Seen]) -> Result<ValuesByKey<'_>> {
    let mut values = ValuesByKey::new();
    for record in records {
        let value = record
            .value
            .as_deref()
            .context("a record without a value")?;
        values
            .entry((record.partition, record.key_text()?))
            .or_default()
            .push(value);
    }
    Ok(values)
}

fn bytes<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text: Option<String> = Option::deserialize(source)?;
    text.map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom))
        .transpose()
}
