//! The schema that rows are published with: which fields take a number, and the encoder for it.
//!
//! Encoding itself is [`ObservationEncoder`]'s; this file finds what a person did not name, the
//! fields that a column of the file may fill.

use std::path::{Path, PathBuf};

use serde_avro_fast::schema::{RegularType, SchemaKey, SchemaMut};

use super::row::Row;
use crate::domain::Reading;
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
        let path = || path.to_owned();
        let unsuitable = |problem| SchemaError::Unsuitable {
            path: path(),
            problem,
        };
        let schema: SchemaMut = json
            .parse()
            .map_err(|error| unsuitable(ObservationSchemaError::Avro(error)))?;
        let RegularType::Record(record) = &schema.root().type_ else {
            return Err(unsuitable(ObservationSchemaError::NotARecord));
        };
        for (what, name, option) in [
            ("series", series, "--series-field"),
            ("time", time, "--time-field"),
        ] {
            if !record.fields.iter().any(|field| field.name == name) {
                let have = record.fields.iter().map(|field| field.name.as_str());
                return Err(SchemaError::NoField {
                    path: path(),
                    what,
                    name: name.to_owned(),
                    have: super::layout::list(have),
                    option,
                });
            }
        }
        let numbers: Vec<_> = record
            .fields
            .iter()
            .filter(|field| field.name != series && field.name != time)
            .filter_map(|field| number_field(&schema, &field.name, field.type_))
            .collect();
        let names: Vec<_> = numbers.iter().map(|field| field.name.clone()).collect();
        let encoder = ObservationEncoder::new(json, (series, time), &names).map_err(unsuitable)?;
        if numbers.is_empty() {
            return Err(SchemaError::NoNumbers { path: path() });
        }
        Ok(Self { encoder, numbers })
    }

    /// The fields that take a number, in the order of [`Row::cells`].
    pub fn numbers(&self) -> &[NumberField] {
        &self.numbers
    }

    /// Appends `row` to `out`, in single-object encoding.
    pub fn encode(&self, row: &Row, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let reading = Reading {
            series: &row.series,
            time: Some(row.time),
            cells: &row.cells,
        };
        self.encoder.encode(&reading, out)
    }
}

/// A field with a numeric branch; `None` for any other.
fn number_field(schema: &SchemaMut, name: &str, key: SchemaKey) -> Option<NumberField> {
    let branches = if let RegularType::Union(union) = &schema[key].type_ {
        union.variants.clone()
    } else {
        vec![key]
    };
    let is_number = |branch: &SchemaKey| {
        let node = &schema[*branch];
        let numeric = matches!(
            node.type_,
            RegularType::Int | RegularType::Long | RegularType::Float | RegularType::Double
        );
        // A date or another time is a number to Avro and none to a forecast.
        numeric && node.logical_type.is_none()
    };
    branches.iter().any(is_number).then(|| NumberField {
        name: name.to_owned(),
        nullable: branches
            .iter()
            .any(|branch| matches!(schema[*branch].type_, RegularType::Null)),
    })
}
