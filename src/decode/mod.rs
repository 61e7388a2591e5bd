//! From a record's bytes to what it says: series, time and features, out of any writer schema.
//!
//! The partition room calls [`Decoder::decode`] for every record; start-up loads a [`SchemaFolder`]
//! once, or the partition room teaches the decoder what a registry says. Decoding is a function of the
//! bytes and the schemas alone, allocates nothing for a good record, and is bounded in time and memory
//! for any bytes. It judges no value: a time in the far future or a NaN passes, the window decides. Why
//! `serde_avro_fast`: `docs/adr/0001-avro-decoder.md`.

mod bounds;
mod decoder;
mod failure;
mod learned;
mod plan;
mod schema;
mod seed;

pub use bounds::{
    LimitError, SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX, SCHEMA_FIELDS_MAX, SCHEMA_NODES_MAX,
};
pub use decoder::{Decoder, DecoderConfig, DecoderError, VALUE_BYTES_MAX, WireFormat};
pub use failure::{Detail, Undecodable};
pub use learned::{LEARNED_SCHEMAS_MAX, RegisteredSchema, SchemaAnswer};
pub use plan::{Coverage, Fault, Projection, Role, TimeUnit, Unusable};
pub use schema::{
    BaseType, Field, FieldType, Fingerprint, SCHEMA_FILES_MAX, SchemaError, SchemaFault,
    SchemaFolder, WriterSchema,
};
pub use seed::RECORD_VALUES_MAX;
