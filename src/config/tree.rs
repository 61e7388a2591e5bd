//! The configuration as it was written: the file's TOML with the overrides laid over it, each value
//! with the place it came from.
//!
//! Knows nothing of keys and their meaning; `reader` does.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Environment;
use super::error::{ConfigError, ConfigErrors, Origin};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Bool(bool),
    List(Vec<Node>),
    Table(Table),
    /// The text of a variable: its type is the type of the key that it overrides.
    Variable(String),
    /// A float, a date, a number beyond 64 bits: nothing that any key takes.
    Other(String),
}

pub(super) type Table = BTreeMap<String, Node>;

/// The part of `kafka.properties` in a variable's name; the rest is the property with `_` for `.`.
const PROPERTIES_PART: &str = "KAFKA__PROPERTIES__";

/// Parses `text`.
///
/// # Errors
/// All syntax errors. What could be read around them is dropped: keys that they hide would be
/// reported as missing.
pub(super) fn parse(path: &Path, text: &str) -> Result<Table, ConfigErrors> {
    let source = Source { path, text };
    let (document, errors) = DeTable::parse_recoverable(text);
    let errors = errors
        .iter()
        .map(|error| ConfigError {
            origin: source.origin(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            value: None,
            problem: format!("not valid TOML: {}", error.message().replace('\n', ", ")),
        })
        .collect();
    match ConfigErrors::of(errors) {
        Some(errors) => Err(errors),
        None => Ok(source.table(document.get_ref())),
    }
}

/// Lays the variables `FORETELL__SECTION__KEY` over the file's values.
pub(super) fn overlay(root: &mut Table, environment: &Environment) {
    for (name, text) in environment.overrides() {
        let Some(rest) = name.strip_prefix(Environment::OVERRIDE_PREFIX) else {
            continue;
        };
        let origin = Origin::Variable(name.to_owned());
        let node = Node {
            value: Value::Variable(text.to_owned()),
            origin: origin.clone(),
        };
        let path: Vec<String> = match rest.strip_prefix(PROPERTIES_PART) {
            Some(property) => vec![
                "kafka".to_owned(),
                "properties".to_owned(),
                property.to_lowercase().replace('_', "."),
            ],
            None => rest.split("__").map(str::to_lowercase).collect(),
        };
        insert(root, &path, node, &origin);
    }
}

fn insert(table: &mut Table, path: &[String], node: Node, origin: &Origin) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        table.insert(first.clone(), node);
        return;
    }
    let entry = table.entry(first.clone()).or_insert_with(|| Node {
        value: Value::Table(Table::new()),
        origin: origin.clone(),
    });
    // Where the file has something that is no table, the file's own error stands.
    if let Value::Table(inner) = &mut entry.value {
        insert(inner, rest, node, origin);
    }
}

struct Source<'s> {
    path: &'s Path,
    text: &'s str,
}

impl Source<'_> {
    fn origin(&self, at: usize) -> Origin {
        let newlines = self.text.bytes().take(at).filter(|byte| *byte == b'\n');
        Origin::File {
            path: self.path.to_owned(),
            line: Some(1 + newlines.count()),
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(key, value)| {
                let node = Node {
                    value: self.value(value.get_ref()),
                    origin: self.origin(key.span().start),
                };
                (key.get_ref().clone().into_owned(), node)
            })
            .collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Value::Other(number.to_string()), Value::Integer),
            DeValue::Float(number) => Value::Other(number.to_string()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(time) => Value::Other(time.to_string()),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.item(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }

    fn item(&self, item: &Spanned<DeValue<'_>>) -> Node {
        Node {
            value: self.value(item.get_ref()),
            origin: self.origin(item.span().start),
        }
    }
}

impl Value {
    /// As it would stand in the file.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Text(text) | Self::Variable(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Bool(flag) => flag.to_string(),
            Self::Other(text) => text.clone(),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.value.written()).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Table(table) => {
                let entries: Vec<_> = table
                    .iter()
                    .map(|(key, node)| format!("{key} = {}", node.value.written()))
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }
        }
    }
}
