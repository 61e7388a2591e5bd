//! `[kafka.properties]`: what is passed on to librdkafka as it is, secrets among it.
//!
//! The properties that the exactly-once protocol rests on are foretell's own and refused here, each
//! with the reason.

use std::collections::BTreeMap;

use super::reader::{Reader, Section};
use super::secret::Secret;
use super::tree::{Node, Table, Value};

/// librdkafka properties by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties(BTreeMap<String, PropertyValue>);

#[derive(Clone, Debug, PartialEq)]
enum PropertyValue {
    Plain(String),
    Secret(Secret),
}

/// Names that hold secrets even when they are written in plain text.
const SECRET_NAMES: [&str; 6] = [
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

const PROTOCOL: &str = "exactly once rests on it and foretell sets it";

/// Properties that are not the operator's, and why or what to use instead.
const OWNED: [(&str, &str); 29] = [
    ("acks", PROTOCOL),
    (
        "allow.auto.create.topics",
        "a missing topic is an error; `foretell topics create` creates them",
    ),
    (
        "auto.offset.reset",
        "a position out of range stops the partition; set input.start for the first start",
    ),
    ("bootstrap.servers", "set kafka.brokers"),
    (
        "check.crcs",
        "damaged records must not become observations; foretell sets it",
    ),
    ("enable.auto.commit", PROTOCOL),
    ("enable.auto.offset.store", PROTOCOL),
    ("enable.gapless.guarantee", PROTOCOL),
    ("enable.idempotence", PROTOCOL),
    (
        "enable.partition.eof",
        "foretell sets it where it reads to the end",
    ),
    ("group.id", "set kafka.group_id"),
    (
        "group.instance.id",
        "set kafka.static_membership and worker.id",
    ),
    (
        "group.protocol",
        "the classic protocol is the one that is tested; foretell sets it",
    ),
    ("heartbeat.interval.ms", "it follows kafka.session_timeout"),
    ("isolation.level", PROTOCOL),
    ("max.in.flight", PROTOCOL),
    ("max.in.flight.requests.per.connection", PROTOCOL),
    ("max.poll.interval.ms", "set kafka.max_poll_interval"),
    (
        "message.timeout.ms",
        "it follows commit.transaction_timeout",
    ),
    (
        "delivery.timeout.ms",
        "it follows commit.transaction_timeout",
    ),
    ("metadata.broker.list", "set kafka.brokers"),
    (
        "partition.assignment.strategy",
        "cooperative-sticky, never mixed with an eager one; foretell sets it",
    ),
    (
        "partitioner",
        "murmur2_random, the placement of the Java client; foretell sets it",
    ),
    ("plugin.library.paths", "foretell loads no plugins"),
    ("request.required.acks", PROTOCOL),
    ("session.timeout.ms", "set kafka.session_timeout"),
    ("statistics.interval.ms", "foretell exports its own metrics"),
    ("transaction.timeout.ms", "set commit.transaction_timeout"),
    (
        "transactional.id",
        "set commit.transactional_id_prefix and worker.id",
    ),
];

/// Longest value, which leaves room for a chain of PEM certificates.
const VALUE_BYTES_MAX: u64 = 64 * 1024;

impl Properties {
    /// Names and values, secrets in the clear: for the client's configuration and nothing else.
    pub fn expose(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| match value {
            PropertyValue::Plain(value) => (name.as_str(), value.as_str()),
            PropertyValue::Secret(value) => (name.as_str(), value.expose()),
        })
    }

    /// The value of a property that is no secret.
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            PropertyValue::Plain(value) => Some(value),
            PropertyValue::Secret(_) => None,
        }
    }

    pub(super) fn dump(&self) -> toml::Table {
        self.0
            .iter()
            .map(|(name, value)| {
                let shown = match value {
                    PropertyValue::Plain(value) => value.clone(),
                    PropertyValue::Secret(_) => Secret::REDACTED.to_owned(),
                };
                (name.clone(), shown.into())
            })
            .collect()
    }
}

pub(super) fn read(section: &mut Section<'_>) -> Option<Properties> {
    let entries = section.table("properties")?;
    let reader = section.reader();
    let mut properties = BTreeMap::new();
    let mut complete = true;
    flatten("", entries, &mut |name, node| {
        if let Some(value) = property(reader, &name, &node) {
            properties.insert(name, value);
        } else {
            complete = false;
        }
    });
    complete.then_some(Properties(properties))
}

/// `security.protocol = "ssl"` and `"security.protocol" = "ssl"` mean the same; TOML reads the first
/// as nested tables.
fn flatten(prefix: &str, entries: Table, visit: &mut impl FnMut(String, Node)) {
    for (key, node) in entries {
        let name = if prefix.is_empty() {
            key
        } else {
            format!("{prefix}.{key}")
        };
        match node.value {
            Value::Table(inner) if source(&inner).is_none() => flatten(&name, inner, visit),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Bool(_)
            | Value::List(_)
            | Value::Table(_)
            | Value::Variable(_)
            | Value::Other(_) => visit(name, node),
        }
    }
}

/// Where a secret is to be taken from.
enum SecretSource<'s> {
    Variable(&'s str),
    File(&'s str),
}

/// Reads `{ env = "NAME" }` and `{ file = "path" }`.
fn source(table: &Table) -> Option<SecretSource<'_>> {
    let (key, node) = table.first_key_value().filter(|_| table.len() == 1)?;
    match (key.as_str(), &node.value) {
        ("env", Value::Text(name)) => Some(SecretSource::Variable(name)),
        ("file", Value::Text(path)) => Some(SecretSource::File(path)),
        _ => None,
    }
}

fn property(reader: &mut Reader, name: &str, node: &Node) -> Option<PropertyValue> {
    let key = format!("kafka.properties.{name}");
    let value = owned(name).map_or_else(|| value(reader, name, &node.value), Err);
    match value {
        Ok(value) => {
            if let PropertyValue::Plain(text) = &value {
                reader.remember(key, node.origin.clone(), format!("{text:?}"));
            }
            Some(value)
        }
        Err(problem) => {
            reader.push(node.origin.clone(), key, None, problem);
            None
        }
    }
}

fn owned(name: &str) -> Option<String> {
    let (_, reason) = OWNED.iter().find(|(owned, _)| *owned == name)?;
    Some(format!("cannot be set here: {reason}"))
}

fn value(reader: &Reader, name: &str, value: &Value) -> Result<PropertyValue, String> {
    let text = match value {
        Value::Text(text) | Value::Variable(text) | Value::Other(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Table(table) => {
            return match source(table) {
                Some(source) => secret(reader, &source).map(PropertyValue::Secret),
                None => Err(VALUE_FORMS.to_owned()),
            };
        }
        Value::List(_) => return Err(VALUE_FORMS.to_owned()),
    };
    bounded(&text)?;
    Ok(if SECRET_NAMES.contains(&name) {
        PropertyValue::Secret(Secret::new(text))
    } else {
        PropertyValue::Plain(text)
    })
}

/// A secret of another section: its text, or where it is to be taken from.
pub(super) fn secret_of(reader: &Reader, value: &Value) -> Result<Secret, String> {
    const FORMS: &str = "must be { env = \"NAME\" }, { file = \"path\" }, or a string, which everybody who sees the file can read";
    match value {
        Value::Text(text) | Value::Variable(text) => {
            bounded(text)?;
            Ok(Secret::new(text.clone()))
        }
        Value::Table(table) => match source(table) {
            Some(source) => secret(reader, &source),
            None => Err(FORMS.to_owned()),
        },
        Value::Integer(_) | Value::Bool(_) | Value::List(_) | Value::Other(_) => {
            Err(FORMS.to_owned())
        }
    }
}

const VALUE_FORMS: &str = "must be a string, a number, true, false, or for a secret { env = \"NAME\" } or { file = \"path\" }";

fn secret(reader: &Reader, source: &SecretSource<'_>) -> Result<Secret, String> {
    let text = match source {
        SecretSource::Variable(name) => reader
            .variable(name)
            .ok_or_else(|| format!("the environment variable {name} is not set"))?
            .to_owned(),
        SecretSource::File(path) => {
            let path = reader.base().join(path);
            super::read_bounded(&path, VALUE_BYTES_MAX)
                .map_err(|error| format!("cannot read the file {}: {error}", path.display()))?
                .trim_end_matches(['\r', '\n'])
                .to_owned()
        }
    };
    bounded(&text)?;
    Ok(Secret::new(text))
}

fn bounded(text: &str) -> Result<(), String> {
    let fits = u64::try_from(text.len()).is_ok_and(|bytes| (1..=VALUE_BYTES_MAX).contains(&bytes));
    if !fits || text.contains('\0') {
        return Err(format!(
            "must have 1 to {VALUE_BYTES_MAX} bytes and no zero byte"
        ));
    }
    Ok(())
}
