//! Reads a snapshot that anybody may have written.
//!
//! Every length that the bytes declare is held against a bound before memory is taken for it, and
//! against what the configured windows can need. Nothing is believed before the seal at the end.

use std::collections::HashMap;

use arrow_ipc::RecordBatch;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::root_as_message;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use xxhash_rust::xxh3::Xxh3;

use super::batch::{read_moves, read_series};
use super::format::{
    About, FORMAT, KEY_EXACT_FROM, KEY_FORMAT, KEY_LAST, KEY_METADATA, KEY_PARTITION, KEY_POSITION,
    KEY_SERIES, KEY_SKIPPED, KEY_STRIDE, KEY_TOPIC, SEAL, SEAL_BYTES, moves_schema, series_schema,
};
use crate::domain::{CommitMetadata, CommitMetadataError, NextOffset, PartitionId};
use crate::window::{ImageError, ImageHead, MovesImage, Refill, Table, WindowConfig};

/// Windows that a snapshot brought back, not proven yet.
#[derive(Debug)]
pub struct Loaded {
    pub about: About,
    pub position: NextOffset,
    pub windows: Table,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it ends too early")]
    Truncated,
    #[error("it does not end where its seal says")]
    Overlong,
    #[error("its seal says that it was damaged")]
    Damaged,
    #[error("it declares {what} of {bytes} bytes, more than the {most} that there can be")]
    TooLarge {
        what: &'static str,
        bytes: i64,
        most: usize,
    },
    #[error("it has format {found:?}, this release reads {FORMAT:?}: another release wrote it")]
    OtherFormat { found: String },
    #[error("its head has no valid {key}")]
    Head { key: &'static str },
    #[error("its commit metadata: {0}")]
    Metadata(#[from] CommitMetadataError),
    #[error("its columns are not those of windows of this configuration")]
    OtherColumns,
    #[error("a part of it is no message of Arrow: {0}")]
    Message(String),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("reading it failed: {0}")]
    Read(#[source] object_store::Error),
    #[error("it is not wanted any more")]
    Unwanted,
}

/// The head of a message is a few hundred bytes; that of the first schema holds a few thousand.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Least bound for the body of a message; the encoder makes batches of about a megabyte.
const BODY_BYTES_MAX: usize = 16 << 20;
/// What a series may need beside its rows: name, numbers, bitmaps, padding.
const SERIES_BYTES_MORE: usize = 4 << 10;

/// Reads all of `source`. `wanted` is asked before each message.
///
/// # Errors
/// When it is anything but a whole snapshot of windows of this configuration.
pub async fn read(
    source: impl Stream<Item = Result<Bytes, object_store::Error>> + Unpin,
    windows: WindowConfig,
    wanted: &dyn Fn() -> bool,
) -> Result<Loaded, Unreadable> {
    let mut bytes = Source::new(source);
    let series_bytes = windows.rows() * (windows.features() * 2 + 1) * 8 + SERIES_BYTES_MORE;
    let body_max = BODY_BYTES_MAX.max(series_bytes * 2);

    let mut moves = MovesImage::default();
    let mut messages = Messages::new(moves_schema(HashMap::new()), body_max);
    while let Some(message) = messages.next(&mut bytes, wanted).await? {
        read_moves(message.batch()?, &mut moves)?;
        if moves.offsets.len() > MOVES_MAX {
            return Err(ImageError::Moves("it has too many entries").into());
        }
    }
    let (about, mut head) = head(messages.schema()?.as_ref())?;
    moves.stride = head.moves.stride;
    moves.skipped = head.moves.skipped;
    moves.exact_from = head.moves.exact_from;
    moves.last = head.moves.last;
    head.moves = moves;

    let mut refill = Refill::new(windows, &head)?;
    let count = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    let columns = series_schema(count(windows.rows()), count(windows.features()));
    let mut series = Messages::new(columns, body_max);
    while let Some(message) = series.next(&mut bytes, wanted).await? {
        refill.add(&read_series(message.batch()?)?)?;
    }
    bytes.expect_seal().await?;
    Ok(Loaded {
        about,
        position: head.position,
        windows: refill.finish()?,
    })
}

/// Entries of a log of stream time; it has fewer.
const MOVES_MAX: usize = 1 << 17;

fn number<T: std::str::FromStr>(
    key: &'static str,
    text: Result<&str, Unreadable>,
) -> Result<T, Unreadable> {
    text?.parse().map_err(|_invalid| Unreadable::Head { key })
}

/// The head of a snapshot, without the entries of the log.
fn head(schema: &Schema) -> Result<(About, ImageHead), Unreadable> {
    let text = |key: &'static str| -> Result<&str, Unreadable> {
        let value = schema.metadata().get(key);
        value.map(String::as_str).ok_or(Unreadable::Head { key })
    };
    text(KEY_FORMAT)?;
    let metadata = CommitMetadata::decode(text(KEY_METADATA)?)?;
    let position = NextOffset::new(number(KEY_POSITION, text(KEY_POSITION))?)
        .ok_or(Unreadable::Head { key: KEY_POSITION })?;
    let head = ImageHead {
        position,
        stream_time: metadata.stream_time,
        checksum: metadata.checksum,
        series: number(KEY_SERIES, text(KEY_SERIES))?,
        moves: MovesImage {
            offsets: Vec::new(),
            before: Vec::new(),
            stride: number(KEY_STRIDE, text(KEY_STRIDE))?,
            skipped: number(KEY_SKIPPED, text(KEY_SKIPPED))?,
            exact_from: number(KEY_EXACT_FROM, text(KEY_EXACT_FROM))?,
            last: number(KEY_LAST, text(KEY_LAST))?,
        },
    };
    let about = About {
        topic: text(KEY_TOPIC)?.to_owned(),
        partition: PartitionId(number(KEY_PARTITION, text(KEY_PARTITION))?),
        metadata,
    };
    Ok((about, head))
}

/// The bytes of one message.
struct Message {
    bytes: Vec<u8>,
    /// Where its body begins.
    body: usize,
}

impl Message {
    /// The batch that it is, and its body.
    fn batch(&self) -> Result<(RecordBatch<'_>, &[u8]), Unreadable> {
        let (head, body) = self.bytes.split_at(self.body);
        let head = root_as_message(head).map_err(|error| Unreadable::Message(error.to_string()))?;
        let batch = head.header_as_record_batch();
        let no_batch = || Unreadable::Message("a schema where a batch belongs".to_owned());
        Ok((batch.ok_or_else(no_batch)?, body))
    }
}

/// The messages of one Arrow stream.
struct Messages {
    columns: SchemaRef,
    /// The columns that are there, with what is said of them.
    schema: Option<SchemaRef>,
    body_max: usize,
}

impl Messages {
    fn new(columns: SchemaRef, body_max: usize) -> Self {
        Self {
            columns,
            schema: None,
            body_max,
        }
    }

    fn schema(&self) -> Result<SchemaRef, Unreadable> {
        self.schema.clone().ok_or(Unreadable::OtherColumns)
    }

    /// The next batch; `None` at the end of the stream.
    async fn next<S: Stream<Item = Result<Bytes, object_store::Error>> + Unpin>(
        &mut self,
        source: &mut Source<S>,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Option<Message>, Unreadable> {
        if !wanted() {
            return Err(Unreadable::Unwanted);
        }
        if self.schema.is_none() && self.message(source).await?.is_none() {
            return Err(Unreadable::OtherColumns);
        }
        self.schema()?;
        self.message(source).await
    }

    /// Another version may have other columns, and says which it is.
    fn expect_columns(&mut self, found: Schema) -> Result<(), Unreadable> {
        match found.metadata().get(KEY_FORMAT) {
            Some(format) if format != FORMAT => Err(Unreadable::OtherFormat {
                found: format.chars().take(16).collect(),
            }),
            Some(_) | None if found.fields() == self.columns.fields() => {
                self.schema = Some(SchemaRef::new(found));
                Ok(())
            }
            Some(_) | None => Err(Unreadable::OtherColumns),
        }
    }

    /// The bytes of a message, after a look at what it declares; `None` at the end of the stream.
    async fn message<S: Stream<Item = Result<Bytes, object_store::Error>> + Unpin>(
        &mut self,
        source: &mut Source<S>,
    ) -> Result<Option<Message>, Unreadable> {
        let mut prefix = Vec::new();
        source.take(8, &mut prefix).await?;
        let [c0, c1, c2, c3, l0, l1, l2, l3] = prefix[..] else {
            return Err(Unreadable::Truncated);
        };
        if [c0, c1, c2, c3] != [0xff; 4] {
            return Err(Unreadable::Message("no continuation mark".to_owned()));
        }
        let declared = i32::from_le_bytes([l0, l1, l2, l3]);
        let length = bounded("the head of a message", i64::from(declared), HEAD_BYTES_MAX)?;
        if length == 0 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        source.take(length, &mut bytes).await?;
        let body = {
            let head =
                root_as_message(&bytes).map_err(|error| Unreadable::Message(error.to_string()))?;
            let body = bounded("the body of a message", head.bodyLength(), self.body_max)?;
            if let Some(schema) = head.header_as_schema() {
                self.expect_columns(try_fb_to_schema(schema)?)?;
            } else if head.header_as_record_batch().is_none() {
                let kind = head.header_type().variant_name().unwrap_or("unknown");
                return Err(Unreadable::Message(format!("an unexpected one, {kind}")));
            }
            body
        };
        source.take(body, &mut bytes).await?;
        Ok(Some(Message {
            bytes,
            body: length,
        }))
    }
}

fn bounded(what: &'static str, bytes: i64, most: usize) -> Result<usize, Unreadable> {
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= most)
        .ok_or(Unreadable::TooLarge { what, bytes, most })
}

/// The bytes as they come, hashed as they are taken.
struct Source<S> {
    stream: S,
    waiting: Bytes,
    hash: Xxh3,
}

impl<S: Stream<Item = Result<Bytes, object_store::Error>> + Unpin> Source<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            waiting: Bytes::new(),
            hash: Xxh3::new(),
        }
    }

    /// Appends the next `count` bytes to `to`.
    async fn take(&mut self, count: usize, to: &mut Vec<u8>) -> Result<(), Unreadable> {
        let start = to.len();
        to.reserve_exact(count);
        self.raw(count, to).await?;
        self.hash.update(&to[start..]);
        Ok(())
    }

    async fn raw(&mut self, mut count: usize, to: &mut Vec<u8>) -> Result<(), Unreadable> {
        while count > 0 {
            if self.waiting.is_empty() {
                let next = self.stream.next().await.ok_or(Unreadable::Truncated)?;
                self.waiting = next.map_err(Unreadable::Read)?;
            }
            let part = self.waiting.split_to(count.min(self.waiting.len()));
            to.extend_from_slice(&part);
            count -= part.len();
        }
        Ok(())
    }

    /// The seal, and nothing behind it.
    async fn expect_seal(mut self) -> Result<(), Unreadable> {
        let mut seal = Vec::with_capacity(SEAL_BYTES);
        self.raw(SEAL_BYTES, &mut seal).await?;
        let (mark, hash) = seal.split_at(SEAL.len());
        self.hash.update(mark);
        if mark != SEAL || hash != self.hash.digest128().to_le_bytes() {
            return Err(Unreadable::Damaged);
        }
        while self.waiting.is_empty() {
            match self.stream.next().await {
                None => return Ok(()),
                Some(more) => self.waiting = more.map_err(Unreadable::Read)?,
            }
        }
        Err(Unreadable::Overlong)
    }
}
