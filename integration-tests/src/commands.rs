//! Commands of the control topic, as a test gives them, and which model made which forecast.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use apache_avro::types::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use foretell::control::{Command, CommandCodec, Order, Signature};
use foretell::domain::Digest;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};

use crate::cluster::{Cluster, NewRecord, Writer};
use crate::forecast::decode;
use crate::read::read_committed;

/// The slot that publishes.
pub const CHAMPION: &str = "champion";
/// The key's id.
pub const KEY: &str = "ops";
/// When a signed command is void: not in these tests.
const NOT_AFTER: i64 = i64::MAX;

/// A control topic and whoever gives commands there.
#[derive(Debug)]
pub struct Commands {
    writer: Writer,
    topic: String,
    given: u32,
    signer: KeyPair,
}

impl Commands {
    /// Makes the topic.
    pub fn new(cluster: &Cluster, topic: &str) -> Result<Self> {
        let by_the_broker = ("message.timestamp.type", "LogAppendTime");
        cluster.create_topic_with(topic, 1, by_the_broker)?;
        Self::of(cluster, topic)
    }

    /// Of a topic that there is.
    pub fn of(cluster: &Cluster, topic: &str) -> Result<Self> {
        Ok(Self {
            writer: cluster.writer()?,
            topic: topic.to_owned(),
            given: 0,
            signer: KeyPair::generate_for(&PKCS_ED25519)?,
        })
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The public key, as the configuration has it.
    pub fn public_key(&self) -> String {
        BASE64.encode(self.signer.public_key_raw())
    }

    /// Gives a command without a signature.
    pub fn give(&mut self, slot: &str, order: Order) -> Result<()> {
        let command = self.command(slot, order);
        self.send(&command)
    }

    /// Gives a command with one.
    pub fn give_signed(&mut self, slot: &str, order: Order) -> Result<()> {
        let command = Command {
            sequence: Some(self.given.into()),
            not_after: Some(NOT_AFTER),
            ..self.command(slot, order)
        };
        let signed = CommandCodec::new()?.signed_part(&command)?;
        let signature = Signature {
            key_id: KEY.to_owned(),
            bytes: self.signer.sign(&signed)?,
        };
        self.send(&Command {
            signature: Some(signature),
            ..command
        })
    }

    /// A record that need not be a command.
    pub fn record(&self, value: Option<Vec<u8>>) -> Result<()> {
        self.write(CHAMPION, value)
    }

    fn command(&mut self, slot: &str, order: Order) -> Command {
        self.given += 1;
        Command {
            id: format!("command-{}", self.given),
            slot: slot.to_owned(),
            order,
            issuer: "a test".to_owned(),
            time: 0,
            reason: String::new(),
            sequence: None,
            not_after: None,
            signature: None,
        }
    }

    fn send(&self, command: &Command) -> Result<()> {
        let value = CommandCodec::new()?.write(command)?;
        self.write(&command.slot, Some(value))
    }

    fn write(&self, key: &str, value: Option<Vec<u8>>) -> Result<()> {
        self.writer.send(
            &self.topic,
            &NewRecord {
                key: Some(key.as_bytes().to_vec()),
                value,
                timestamp_ms: 0,
            },
        )?;
        self.writer.flush()
    }
}

/// To stage a file.
pub fn stage(file: &str, sha256: Digest) -> Order {
    let uri = format!("file://{file}");
    Order::Stage { uri, sha256 }
}

/// To activate a package for every origin.
pub fn activate(sha256: Digest) -> Order {
    Order::Activate {
        sha256,
        effective_from: None,
    }
}

/// The digests of the models that made the forecasts of a topic, by their origins; of all series.
pub fn models_by_origin(
    cluster: &Cluster,
    forecasts: &str,
) -> Result<BTreeMap<i64, BTreeSet<String>>> {
    let records = read_committed(cluster, forecasts)?;
    let mut found: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for fields in decode(&records, 10)?.values().flatten() {
        let field = |wanted: &str| {
            let named = fields.iter().find(|(name, _)| name == wanted);
            named.map(|(_, value)| value).context("no such field")
        };
        let (Value::TimestampMillis(origin), Value::Record(model)) =
            (field("origin")?, field("model")?)
        else {
            bail!("{fields:?}");
        };
        let digest = model.iter().find(|(name, _)| name == "digest");
        let Some((_, Value::String(digest))) = digest else {
            bail!("{model:?}");
        };
        found.entry(*origin).or_default().insert(digest.clone());
    }
    Ok(found)
}
