//! Limits on writer schemas, checked on the JSON before anything else looks at it.
//!
//! One pass, in the order in which Avro defines names. It refuses what would make later passes or
//! a record's decoding unbounded: schemas that are large, deep, recursive or that multiply through
//! named types, and arrays whose items take no bytes, since a count of 2^62 of them costs ten.
//! It decides nothing about validity: the Avro library does, afterwards.

use std::collections::HashMap;

use serde_json::Value;

/// Longest schema, in bytes of JSON.
pub const SCHEMA_BYTES_MAX: u64 = 256 * 1024;

/// Most record fields that one schema defines.
pub const SCHEMA_FIELDS_MAX: usize = 4_096;

/// Deepest nesting of records, unions, arrays and maps, named types followed. No schema is
/// recursive, so no record is deeper than its schema.
pub const SCHEMA_DEPTH_MAX: usize = 64;

/// Most types in a schema, a named type counted wherever it is used: a few levels of records that
/// each use the next one twice would otherwise take exponential time.
pub const SCHEMA_NODES_MAX: usize = 65_536;

/// How a schema breaks a limit.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    #[error("it is longer than {SCHEMA_BYTES_MAX} bytes")]
    Bytes,
    #[error("it defines more than {SCHEMA_FIELDS_MAX} fields")]
    Fields,
    #[error("it nests deeper than {SCHEMA_DEPTH_MAX} types")]
    Depth,
    #[error("it has more than {SCHEMA_NODES_MAX} types, named ones counted at each use")]
    Nodes,
    #[error("type {name} contains itself; recursive schemas are not read")]
    Recursive { name: String },
    #[error("it uses the type {name} before defining it; every file must define what it uses")]
    UnknownName { name: String },
    #[error("it has an array whose items take no bytes, so its length would cost nothing")]
    ZeroWidthItems,
}

/// Checks the limits on a schema.
pub(super) fn check(schema: &Value) -> Result<(), LimitError> {
    let mut walk = Walk {
        names: HashMap::new(),
        fields: 0,
    };
    walk.node(schema, "", SCHEMA_DEPTH_MAX).map(|_| ())
}

/// What is known about a type once it has been walked.
#[derive(Clone, Copy)]
struct Shape {
    depth: usize,
    nodes: usize,
    /// True if every value of it takes no bytes.
    zero_width: bool,
}

impl Shape {
    const SCALAR: Self = Self {
        depth: 0,
        nodes: 1,
        zero_width: false,
    };

    /// A type made of parts, before the first of them.
    const CONTAINER: Self = Self {
        depth: 1,
        nodes: 1,
        zero_width: true,
    };

    fn with(self, part: Self) -> Self {
        Self {
            depth: self.depth.max(part.depth + 1),
            nodes: self.nodes.saturating_add(part.nodes),
            zero_width: self.zero_width && part.zero_width,
        }
    }

    fn wide(self) -> Self {
        Self {
            zero_width: false,
            ..self
        }
    }
}

struct Walk {
    /// Full names, with no shape while their definition is still open.
    names: HashMap<String, Option<Shape>>,
    fields: usize,
}

impl Walk {
    fn node(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<Shape, LimitError> {
        let depth = depth.checked_sub(1).ok_or(LimitError::Depth)?;
        let shape = match json {
            Value::String(name) => self.named(name, namespace)?,
            Value::Array(branches) => {
                let mut union = Shape::CONTAINER;
                for branch in branches {
                    union = union.with(self.node(branch, namespace, depth)?);
                }
                union.wide()
            }
            Value::Object(_) => self.object(json, namespace, depth)?,
            Value::Null | Value::Bool(_) | Value::Number(_) => Shape::SCALAR,
        };
        if shape.depth > SCHEMA_DEPTH_MAX {
            return Err(LimitError::Depth);
        }
        if shape.nodes > SCHEMA_NODES_MAX {
            return Err(LimitError::Nodes);
        }
        Ok(shape)
    }

    fn object(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<Shape, LimitError> {
        let name = json["name"]
            .as_str()
            .map(|name| full_name(name, json["namespace"].as_str().unwrap_or(namespace)));
        match json["type"].as_str() {
            Some("record") => self.record(json, name.unwrap_or_default(), depth),
            Some("array") => {
                let items = self.node(&json["items"], namespace, depth)?;
                if items.zero_width {
                    return Err(LimitError::ZeroWidthItems);
                }
                Ok(Shape::CONTAINER.with(items).wide())
            }
            Some("map") => {
                let values = self.node(&json["values"], namespace, depth)?;
                Ok(Shape::CONTAINER.with(values).wide())
            }
            other => {
                let shape = Shape {
                    zero_width: other == Some("null") || json["size"].as_u64() == Some(0),
                    ..Shape::SCALAR
                };
                self.names
                    .extend(name.map(|full_name| (full_name, Some(shape))));
                Ok(shape)
            }
        }
    }

    fn record(&mut self, json: &Value, name: String, depth: usize) -> Result<Shape, LimitError> {
        self.names.insert(name.clone(), None);
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let mut record = Shape::CONTAINER;
        for field in json["fields"].as_array().into_iter().flatten() {
            self.fields += 1;
            if self.fields > SCHEMA_FIELDS_MAX {
                return Err(LimitError::Fields);
            }
            record = record.with(self.node(&field["type"], namespace, depth)?);
        }
        self.names.insert(name, Some(record));
        Ok(record)
    }

    fn named(&self, name: &str, namespace: &str) -> Result<Shape, LimitError> {
        match name {
            "null" => Ok(Shape {
                zero_width: true,
                ..Shape::SCALAR
            }),
            "boolean" | "int" | "long" | "float" | "double" | "bytes" | "string" => {
                Ok(Shape::SCALAR)
            }
            _ => {
                let name = full_name(name, namespace);
                match self.names.get(&name) {
                    Some(Some(shape)) => Ok(*shape),
                    Some(None) => Err(LimitError::Recursive { name }),
                    None => Err(LimitError::UnknownName { name }),
                }
            }
        }
    }
}

/// Avro's rule: a name with a dot is full already, another one is in the namespace around it.
fn full_name(name: &str, namespace: &str) -> String {
    match name.rsplit_once('.') {
        Some(("", bare)) => bare.to_owned(),
        Some(_) => name.to_owned(),
        None if namespace.is_empty() => name.to_owned(),
        None => format!("{namespace}.{name}"),
    }
}
