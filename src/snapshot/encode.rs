//! Writes a snapshot, piece by piece, as bytes.

use std::collections::HashMap;

use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use super::columns::{moves_batch, series_batch};
use super::format::{
    About, FORMAT, KEY_EXACT_FROM, KEY_FORMAT, KEY_LAST, KEY_METADATA, KEY_PARTITION, KEY_POSITION,
    KEY_RELEASE, KEY_SERIES, KEY_SKIPPED, KEY_STRIDE, KEY_TOPIC, SEAL, moves_schema, series_schema,
};
use crate::window::{ImageHead, SeriesColumns, WindowConfig};

/// A snapshot that is being written.
pub struct Encoder {
    schema: SchemaRef,
    series: StreamWriter<Vec<u8>>,
    hash: Box<Xxh3>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    /// Begins a snapshot; the bytes are its first ones.
    ///
    /// # Errors
    /// Those of Arrow, which an encoding into memory does not have.
    pub fn new(
        about: &About,
        head: &ImageHead,
        windows: &WindowConfig,
    ) -> Result<(Self, Bytes), ArrowError> {
        let of_moves = moves_schema(metadata(about, head));
        let mut moves = StreamWriter::try_new(Vec::new(), &of_moves)?;
        moves.write(&moves_batch(of_moves, &head.moves)?)?;
        let first = moves.into_inner()?;
        let schema = series_schema(count(windows.rows()), count(windows.features()));
        let mut encoder = Self {
            series: StreamWriter::try_new(first, &schema)?,
            schema,
            hash: Box::new(Xxh3::new()),
        };
        let written = encoder.take();
        Ok((encoder, written))
    }

    /// Some more series.
    ///
    /// # Errors
    /// When the columns do not fit together.
    pub fn write(&mut self, columns: SeriesColumns) -> Result<Bytes, ArrowError> {
        let batch = series_batch(SchemaRef::clone(&self.schema), columns)?;
        self.series.write(&batch)?;
        Ok(self.take())
    }

    /// The last bytes.
    ///
    /// # Errors
    /// Those of Arrow, which an encoding into memory does not have.
    pub fn finish(mut self) -> Result<Bytes, ArrowError> {
        self.series.finish()?;
        let mut last = Vec::from(self.take());
        last.extend_from_slice(&SEAL);
        self.hash.update(&SEAL);
        last.extend_from_slice(&self.hash.digest128().to_le_bytes());
        Ok(last.into())
    }

    fn take(&mut self) -> Bytes {
        let written = std::mem::take(self.series.get_mut());
        self.hash.update(&written);
        written.into()
    }
}

fn count(value: usize) -> i32 {
    // `WINDOW_LENGTH_MAX`, `WINDOW_GAP_MAX` and `WINDOW_FEATURES_MAX` are far below 2^31.
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn metadata(about: &About, head: &ImageHead) -> HashMap<String, String> {
    let About {
        topic,
        partition,
        metadata,
    } = about;
    [
        (KEY_FORMAT, FORMAT.to_owned()),
        (KEY_RELEASE, env!("CARGO_PKG_VERSION").to_owned()),
        (KEY_TOPIC, topic.clone()),
        (KEY_PARTITION, partition.to_string()),
        (KEY_POSITION, head.position.to_string()),
        (KEY_METADATA, metadata.encode()),
        (KEY_SERIES, head.series.to_string()),
        (KEY_STRIDE, head.moves.stride.to_string()),
        (KEY_SKIPPED, head.moves.skipped.to_string()),
        (KEY_EXACT_FROM, head.moves.exact_from.to_string()),
        (KEY_LAST, head.moves.last.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
