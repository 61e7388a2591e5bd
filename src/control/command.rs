//! The value of a record of the control topic: `schemas/model_command.avsc` in single-object encoding.

use serde::{Deserialize, Serialize};
use serde_avro_fast::Schema;

use crate::domain::Digest;

/// What workers and the command line write and read.
pub const COMMAND_SCHEMA: &str = include_str!("../../schemas/model_command.avsc");

/// Most bytes of a command's value: a URI, a reason and a signature are far below.
const BYTES_MAX: usize = 16 * 1024;
/// Most bytes of an id, and of a slot's name.
const NAME_MAX: usize = 128;

/// A command to a model slot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Command {
    /// Unique: the second command of an id changes nothing.
    pub id: String,
    pub slot: String,
    #[serde(rename = "command")]
    pub order: Order,
    pub issuer: String,
    /// Milliseconds since the epoch, by the issuer's clock. For people: nothing is decided by it.
    pub time: i64,
    pub reason: String,
    pub sequence: Option<i64>,
    /// Milliseconds since the epoch.
    pub not_after: Option<i64>,
    pub signature: Option<Signature>,
}

/// What is to be done. Named like the records of the schema's union.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Order {
    /// Fetch, verify and warm a package.
    #[serde(rename = "foretell.Stage")]
    Stage { uri: String, sha256: Digest },
    /// Put a staged package into the slot's schedule.
    #[serde(rename = "foretell.Activate")]
    Activate {
        sha256: Digest,
        /// First origin that it serves, in milliseconds since the epoch; `None` for every origin.
        effective_from: Option<i64>,
    },
    /// Unload a package that no schedule entry names.
    #[serde(rename = "foretell.Retire")]
    Retire { sha256: Digest },
}

/// An ed25519 signature over the command's datum without one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Signature {
    pub key_id: String,
    #[serde(with = "serde_bytes_of_avro")]
    pub bytes: Vec<u8>,
}

/// Avro's `bytes`: serde takes a vector for an array of numbers.
mod serde_bytes_of_avro {
    use std::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

/// Why a record is no command.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it has no value")]
    Null,
    #[error("it has {bytes} bytes, and a command has at most {BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("it is not a ModelCommand in single-object encoding: {0}")]
    Value(#[source] serde_avro_fast::de::DeError),
    #[error(
        "it is not encoded as it would be here: there are bytes behind it, or numbers too long"
    )]
    Other,
    #[error("its {field} is empty, longer than {NAME_MAX} bytes or has control characters")]
    Name { field: &'static str },
    #[error("its key is not its slot, {slot:?}")]
    Key { slot: String },
}

/// Reads and writes commands.
#[derive(Debug)]
pub struct CommandCodec {
    schema: Schema,
}

impl CommandCodec {
    /// # Errors
    /// When the schema of this release cannot be read.
    pub fn new() -> Result<Self, serde_avro_fast::schema::SchemaError> {
        Ok(Self {
            schema: COMMAND_SCHEMA.parse()?,
        })
    }

    /// # Errors
    /// What the record is instead of a command.
    pub fn read(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Command, Unreadable> {
        let value = value.ok_or(Unreadable::Null)?;
        if value.len() > BYTES_MAX {
            return Err(Unreadable::TooLong { bytes: value.len() });
        }
        let read = serde_avro_fast::from_single_object_slice(value, &self.schema);
        let command: Command = read.map_err(Unreadable::Value)?;
        if self.write(&command).ok().as_deref() != Some(value) {
            return Err(Unreadable::Other);
        }
        for (field, text) in [("id", &command.id), ("slot", &command.slot)] {
            let fits = (1..=NAME_MAX).contains(&text.len());
            if !fits || text.chars().any(char::is_control) {
                return Err(Unreadable::Name { field });
            }
        }
        if key != Some(command.slot.as_bytes()) {
            return Err(Unreadable::Key { slot: command.slot });
        }
        Ok(command)
    }

    /// The value of a record; its key is the slot.
    ///
    /// # Errors
    /// When the command cannot be encoded.
    pub fn write(&self, command: &Command) -> Result<Vec<u8>, serde_avro_fast::ser::SerError> {
        let mut config = serde_avro_fast::ser::SerializerConfig::new(&self.schema);
        serde_avro_fast::to_single_object_vec(command, &mut config)
    }

    /// What is signed: the datum with a null signature.
    ///
    /// # Errors
    /// When the command cannot be encoded.
    pub fn signed_part(
        &self,
        command: &Command,
    ) -> Result<Vec<u8>, serde_avro_fast::ser::SerError> {
        let unsigned = Command {
            signature: None,
            ..command.clone()
        };
        let mut config = serde_avro_fast::ser::SerializerConfig::new(&self.schema);
        serde_avro_fast::to_datum_vec(&unsigned, &mut config)
    }
}
