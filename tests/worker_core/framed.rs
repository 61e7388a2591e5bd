//! Records framed for a registry, and the one schema that all of them are written with.

use std::path::Path;

use foretell::decode::{Decoder, RegisteredSchema, WireFormat, WriterSchema};

use crate::rig::{self, Input};

/// The writer schema of the observations.
pub(crate) fn observation_schema() -> RegisteredSchema {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/observation.avsc");
    RegisteredSchema::Usable(WriterSchema::load(&file).unwrap())
}

/// A decoder that knows no schema yet.
pub(crate) fn decoder() -> Decoder {
    rig::decoder_of(WireFormat::Confluent)
}

/// The same record as if it had been framed for a registry.
pub(crate) fn framed(mut input: Input, schema: u32) -> Input {
    if let Some(value) = &mut input.value
        && value.starts_with(&[0xc3, 0x01])
        && value.len() >= 10
    {
        let frame = [&[0][..], &schema.to_be_bytes()].concat();
        value.splice(..10, frame);
    }
    input
}
