//! A JSON value that knows where it stands, so that every complaint names its key.
//!
//! `parse` reads contracts through it. serde's own errors give a line and a column, which say little
//! about JSON that a program wrote on one line.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::ContractError;

/// A value and its path, such as `features[2].scale`.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    path: String,
    value: &'a Value,
}

/// An object whose keys are all known.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    path: String,
    entries: &'a Map<String, Value>,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            path: String::new(),
            value,
        }
    }

    /// The error that this value is not what it must be.
    pub(super) fn invalid(&self, allowed: impl Into<String>) -> ContractError {
        /// Enough to recognise a value by.
        const SHOWN_CHARS_MAX: usize = 60;
        let text = self.value.to_string();
        let mut found: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        if found.len() < text.len() {
            found.push_str("...");
        }
        ContractError::Invalid {
            key: if self.path.is_empty() {
                "(the whole contract)".to_owned()
            } else {
                self.path.clone()
            },
            found,
            allowed: allowed.into(),
        }
    }

    /// Refuses keys that are not `known`.
    pub(super) fn object(self, known: &[&str]) -> Result<Object<'a>, ContractError> {
        let Value::Object(entries) = self.value else {
            return Err(self.invalid("an object"));
        };
        if let Some(key) = entries.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(ContractError::Unknown {
                key: join(&self.path, key),
                known: known.join(", "),
            });
        }
        Ok(Object {
            path: self.path,
            entries,
        })
    }

    pub(super) fn list(
        &self,
        lengths: RangeInclusive<usize>,
    ) -> Result<Vec<Node<'a>>, ContractError> {
        let allowed = || {
            if lengths.start() == lengths.end() {
                format!("a list of {}", lengths.start())
            } else {
                format!("a list of {} to {}", lengths.start(), lengths.end())
            }
        };
        let Value::Array(values) = self.value else {
            return Err(self.invalid(allowed()));
        };
        if !lengths.contains(&values.len()) {
            return Err(self.invalid(format!("{}, not of {}", allowed(), values.len())));
        }
        Ok(values
            .iter()
            .enumerate()
            .map(|(index, value)| Node {
                path: format!("{}[{index}]", self.path),
                value,
            })
            .collect())
    }

    /// A name: 1 to `bytes_max` bytes without control characters.
    pub(super) fn name(&self, bytes_max: usize) -> Result<&'a str, ContractError> {
        self.value
            .as_str()
            .filter(|text| {
                (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
            })
            .ok_or_else(|| {
                self.invalid(format!(
                    "text of 1 to {bytes_max} bytes without control characters"
                ))
            })
    }

    pub(super) fn number(&self) -> Result<f64, ContractError> {
        // serde_json reads no NaN and no infinity, and refuses numbers beyond float64.
        self.value
            .as_f64()
            .filter(|number| number.is_finite())
            .ok_or_else(|| self.invalid("a finite number"))
    }

    pub(super) fn integer(&self, range: RangeInclusive<i64>) -> Result<i64, ContractError> {
        self.value
            .as_i64()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                self.invalid(format!(
                    "a whole number from {} to {}",
                    range.start(),
                    range.end()
                ))
            })
    }

    pub(super) fn numbers(&self, length: usize) -> Result<Vec<f64>, ContractError> {
        self.list(length..=length)?
            .iter()
            .map(Node::number)
            .collect()
    }
}

impl<'a> Object<'a> {
    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        self.entries.get(key).map(|value| Node {
            path: join(&self.path, key),
            value,
        })
    }

    pub(super) fn required(&self, key: &str) -> Result<Node<'a>, ContractError> {
        self.get(key).ok_or_else(|| ContractError::Missing {
            key: join(&self.path, key),
        })
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
