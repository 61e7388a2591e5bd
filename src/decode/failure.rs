//! Why a value is refused: what goes into its dead letter.

use std::{fmt, sync::Arc};

use super::{plan::Unusable, schema::Fingerprint, seed::EXACT_INTEGER_MAX};
use crate::domain::{Rejection, SchemaId};

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    #[error(
        "no schema with the fingerprint {fingerprint} is known; put the writer schema into the \
         schema folder"
    )]
    UnknownSchema { fingerprint: Fingerprint },
    #[error("the registry knew no schema with the id {id}; register the writer schema under it")]
    UnknownSchemaId { id: SchemaId },
    #[error("the value cannot be decoded: {detail}")]
    Value { detail: Detail },
}

impl Undecodable {
    /// What the record is rejected as.
    pub const fn rejection(&self) -> Rejection {
        match self {
            Self::UnknownSchema { .. } | Self::UnknownSchemaId { .. } => Rejection::UnknownSchema,
            Self::Value { .. } => Rejection::Undecodable,
        }
    }
}

impl From<Detail> for Undecodable {
    fn from(detail: Detail) -> Self {
        Self::Value { detail }
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    TooLong {
        bytes: usize,
        bytes_max: usize,
    },
    NotSingleObject,
    NotConfluent,
    /// A number that no registry gives to a schema.
    NoSchemaId {
        id: u32,
    },
    /// The registry has a schema of that id, and it is none that can be read.
    SchemaRefused {
        id: SchemaId,
        reason: Arc<str>,
    },
    /// No record of its writer schema can be decoded.
    Unusable(Arc<Unusable>),
    /// The bytes are no datum of the schema; `field` is where that showed.
    Datum {
        field: Option<Arc<str>>,
        error: Box<str>,
    },
    Trailing {
        bytes: usize,
    },
    /// An integer too large for a double.
    NotExact {
        field: Arc<str>,
    },
    NotATime {
        field: Arc<str>,
    },
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, bytes_max } => {
                write!(f, "it has {bytes} bytes; at most {bytes_max} are accepted")
            }
            Self::NotSingleObject => f.write_str(
                "it does not start with C3 01 and a fingerprint (single-object encoding)",
            ),
            Self::NotConfluent => f.write_str(
                "it does not start with a zero byte and a schema id (Confluent framing)",
            ),
            Self::NoSchemaId { id } => write!(f, "{id} is not a schema id that a registry gives"),
            Self::SchemaRefused { id, reason } => {
                write!(
                    f,
                    "its schema, id {id} in the registry, cannot be used: {reason}"
                )
            }
            Self::Unusable(unusable) => unusable.fmt(f),
            Self::Datum {
                field: Some(field),
                error,
            } => write!(f, "at the field {field}: {error}"),
            Self::Datum { field: None, error } => write!(f, "{error}"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes follow the record"),
            Self::NotExact { field } => write!(
                f,
                "the field {field} is an integer beyond {EXACT_INTEGER_MAX}, which no double holds exactly"
            ),
            Self::NotATime { field } => {
                write!(
                    f,
                    "the field {field} is not a time in RFC 3339 with an offset"
                )
            }
        }
    }
}
