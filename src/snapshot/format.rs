//! What a snapshot consists of.
//!
//! | part | what |
//! |---|---|
//! | Arrow IPC stream 1 | the log of stream time, and the head as metadata of its schema |
//! | Arrow IPC stream 2 | the series, some in each record batch |
//! | 8 bytes | [`SEAL`] |
//! | 16 bytes | xxh3-128 (seed 0, little-endian) of everything before it |
//!
//! The seal finds damage; it is no signature. What is trusted in the end is the state checksum in the
//! commit metadata of Kafka.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::domain::{CommitMetadata, PartitionId};

/// Version of everything on this page. A release ignores snapshots of another one, and replays.
pub(super) const FORMAT: &str = "1";
/// Marks the end of an object that was written to its end.
pub(super) const SEAL: [u8; 8] = *b"foretell";
/// The seal and the hash.
pub(super) const SEAL_BYTES: usize = 24;

pub(super) const KEY_FORMAT: &str = "foretell.format";
pub(super) const KEY_RELEASE: &str = "foretell.release";
pub(super) const KEY_TOPIC: &str = "foretell.topic";
pub(super) const KEY_PARTITION: &str = "foretell.partition";
pub(super) const KEY_POSITION: &str = "foretell.position";
pub(super) const KEY_METADATA: &str = "foretell.commit_metadata";
pub(super) const KEY_SERIES: &str = "foretell.series";
pub(super) const KEY_STRIDE: &str = "foretell.moves.stride";
pub(super) const KEY_SKIPPED: &str = "foretell.moves.skipped";
pub(super) const KEY_EXACT_FROM: &str = "foretell.moves.exact_from";
pub(super) const KEY_LAST: &str = "foretell.moves.last";

/// Whose windows, and the proof that was committed with their position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub topic: String,
    pub partition: PartitionId,
    pub metadata: CommitMetadata,
}

/// The columns of the first stream.
pub(super) fn moves_schema(metadata: HashMap<String, String>) -> SchemaRef {
    let fields = vec![
        Field::new("offset", DataType::Int64, false),
        Field::new("stream_time_before_ms", DataType::Int64, true),
    ];
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

/// The columns of the second stream; `rows` slots of `features` cells for each series, oldest first.
pub(super) fn series_schema(rows: i32, features: i32) -> SchemaRef {
    let list = |item: DataType, length: i32| {
        DataType::FixedSizeList(Arc::new(Field::new("item", item, false)), length)
    };
    let fields = vec![
        Field::new("series", DataType::Utf8, false),
        Field::new("newest_slot", DataType::Int64, false),
        Field::new("last_change_ms", DataType::Int64, false),
        Field::new("held_slot", DataType::Int64, true),
        Field::new("held_offset", DataType::Int64, true),
        Field::new(
            "held_cells",
            DataType::List(Arc::new(Field::new("item", DataType::Float64, false))),
            false,
        ),
        Field::new("offsets", list(DataType::Int64, rows), false),
        Field::new(
            "cells",
            list(DataType::Float64, rows.saturating_mul(features)),
            false,
        ),
    ];
    Arc::new(Schema::new(fields))
}
