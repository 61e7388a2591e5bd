//! The schema that rows are published with: which fields take a number, and the encoder for it.
//!
//! Encoding itself is [`ObservationEncoder`]'s; this file finds what a person did not name, the
//! fields that a column of the file may fill.

use std::path::{Path, PathBuf};

use super::row::Row;
use crate::decode::{self, BaseType, Field, WriterSchema};
use crate::domain::{Reading, SchemaId};
use crate::produce::{EncodeError, ObservationEncoder, ObservationSchemaError};

/// The schema that `foretell publish` uses when it is given none.
pub const BUILT_IN: &str = include_str!("../../../schemas/observation.avsc");

/// A record schema, ready to encode rows.
#[derive(Debug)]
pub struct ObservationSchema {
    encoder: ObservationEncoder,
    /// The fields that take a number, in the order of [`Row::cells`].
    numbers: Vec<NumberField>,
}

/// A field that takes a number.
#[derive(Clone, Debug)]
pub struct NumberField {
    pub name: String,
    /// False when every row must have a value.
    pub nullable: bool,
}

/// Why a file is not a schema to publish with.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("cannot read the schema {}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Refused(#[from] decode::SchemaError),
    #[error("{}: {problem}", path.display())]
    Unsuitable {
        path: PathBuf,
        problem: ObservationSchemaError,
    },
    #[error(
        "{}: there is no field `{name}` for the {what}; the fields are {have}. Name it with {option}", path.display()
    )]
    NoField {
        path: PathBuf,
        what: &'static str,
        name: String,
        have: String,
        option: &'static str,
    },
    #[error("{}: no field of the schema takes a number, so there is nothing to publish", path.display())]
    NoNumbers { path: PathBuf },
}

impl ObservationSchema {
    /// Compiles `json`. `path` is for messages.
    pub fn parse(json: &str, path: &Path, series: &str, time: &str) -> Result<Self, SchemaError> {
        let schema = WriterSchema::parse(json, path)?;
        let fields = schema.fields();
        for (what, name, option) in [
            ("series", series, "--series-field"),
            ("time", time, "--time-field"),
        ] {
            if !fields.iter().any(|field| *field.name == *name) {
                let have = fields.iter().map(|field| &*field.name);
                return Err(SchemaError::NoField {
                    path: path.to_owned(),
                    what,
                    name: name.to_owned(),
                    have: super::layout::list(have),
                    option,
                });
            }
        }
        let numbers: Vec<_> = fields
            .iter()
            .filter(|field| *field.name != *series && *field.name != *time)
            .filter_map(number_field)
            .collect();
        let names: Vec<_> = numbers.iter().map(|field| field.name.clone()).collect();
        let encoder = ObservationEncoder::new(json, (series, time), &names).map_err(|problem| {
            SchemaError::Unsuitable {
                path: path.to_owned(),
                problem,
            }
        })?;
        if numbers.is_empty() {
            return Err(SchemaError::NoNumbers {
                path: path.to_owned(),
            });
        }
        Ok(Self { encoder, numbers })
    }

    /// The same in Confluent framing, with the id that a registry gave to the schema.
    #[must_use]
    pub fn registered_as(self, schema: SchemaId) -> Self {
        Self {
            encoder: self.encoder.registered_as(schema),
            ..self
        }
    }

    /// The fields that take a number, in the order of [`Row::cells`].
    pub fn numbers(&self) -> &[NumberField] {
        &self.numbers
    }

    /// Appends `row` to `out`.
    pub fn encode(&self, row: &Row, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let reading = Reading {
            series: &row.series,
            time: Some(row.time),
            cells: &row.cells,
        };
        self.encoder.encode(&reading, out)
    }
}

/// A field with a numeric branch; `None` for any other. A date or another time is a number to Avro
/// and none to a forecast.
fn number_field(field: &Field) -> Option<NumberField> {
    let is_number = |base: &BaseType| match base {
        BaseType::Int | BaseType::Long | BaseType::Float | BaseType::Double => true,
        BaseType::Null | BaseType::String | BaseType::Enum | BaseType::Other(_) => false,
    };
    let has_number = field
        .types
        .iter()
        .any(|kind| kind.logical.is_none() && is_number(&kind.base));
    has_number.then(|| NumberField {
        name: field.name.to_string(),
        nullable: field.types.iter().any(|kind| kind.base == BaseType::Null),
    })
}
