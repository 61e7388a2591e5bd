//! The columns of a record batch, read from its bytes.
//!
//! Not by Arrow's own decoder: that one takes the lengths and offsets in a batch for granted and panics on
//! others, and a snapshot may have been written by anybody. The layout is the Arrow columnar format's
//! (buffers of every column depth first: validity, offsets, values), for just the columns that there are.

use arrow_ipc::RecordBatch;

use super::decode::Unreadable;
use crate::window::{MovesImage, SeriesColumns};

/// The nodes and buffers of one batch, in their order.
struct Parts<'a> {
    batch: RecordBatch<'a>,
    body: &'a [u8],
    node: usize,
    buffer: usize,
}

/// The entries of a column: how many, and which of them are there.
struct Entries<'a> {
    count: usize,
    /// A bit for each; empty where all are there.
    validity: &'a [u8],
}

fn refused(what: &str) -> Unreadable {
    Unreadable::Message(format!("a batch with {what}"))
}

impl<'a> Parts<'a> {
    fn new(batch: RecordBatch<'a>, body: &'a [u8]) -> Result<Self, Unreadable> {
        if batch.compression().is_some() || batch.variadicBufferCounts().is_some() {
            return Err(refused("features that are not used here"));
        }
        Ok(Self {
            batch,
            body,
            node: 0,
            buffer: 0,
        })
    }

    fn next_buffer(&mut self) -> Result<&'a [u8], Unreadable> {
        let buffers = self.batch.buffers();
        let buffer = buffers
            .filter(|buffers| self.buffer < buffers.len())
            .map(|buffers| *buffers.get(self.buffer))
            .ok_or_else(|| refused("too few buffers"))?;
        self.buffer += 1;
        let range = usize::try_from(buffer.offset())
            .ok()
            .zip(usize::try_from(buffer.length()).ok())
            .and_then(|(start, length)| Some(start..start.checked_add(length)?));
        range
            .and_then(|range| self.body.get(range))
            .ok_or_else(|| refused("a buffer outside of its body"))
    }

    /// The next column; `None` or so many entries as `expected`.
    fn entries(&mut self, expected: Option<usize>) -> Result<Entries<'a>, Unreadable> {
        let nodes = self.batch.nodes();
        let node = nodes
            .filter(|nodes| self.node < nodes.len())
            .map(|nodes| *nodes.get(self.node))
            .ok_or_else(|| refused("too few columns"))?;
        self.node += 1;
        let count = usize::try_from(node.length())
            .ok()
            .filter(|count| expected.is_none_or(|expected| *count == expected))
            // No column that is read here has entries of less than a byte.
            .filter(|count| *count <= self.body.len())
            .ok_or_else(|| refused("a column of another length"))?;
        let validity = self.next_buffer()?;
        if node.null_count() == 0 {
            return Ok(Entries {
                count,
                validity: &[],
            });
        }
        if validity.len() < count.div_ceil(8) {
            return Err(refused("a bitmap that is too short"));
        }
        Ok(Entries { count, validity })
    }

    /// A column of entries that are all there.
    fn required(&mut self, expected: Option<usize>) -> Result<usize, Unreadable> {
        let entries = self.entries(expected)?;
        if entries.validity.is_empty() {
            Ok(entries.count)
        } else {
            Err(refused("a gap where there can be none"))
        }
    }

    fn values<const BYTES: usize, T>(
        &mut self,
        count: usize,
        from: impl Fn([u8; BYTES]) -> T,
    ) -> Result<Vec<T>, Unreadable> {
        let bytes = self.next_buffer()?;
        let bytes = count
            .checked_mul(BYTES)
            .and_then(|length| bytes.get(..length))
            .ok_or_else(|| refused("a buffer that is too short"))?;
        let (values, _) = bytes.as_chunks();
        Ok(values.iter().map(|value| from(*value)).collect())
    }

    fn integers(&mut self, expected: Option<usize>) -> Result<Vec<i64>, Unreadable> {
        let count = self.required(expected)?;
        self.values(count, i64::from_le_bytes)
    }

    fn floats(&mut self, expected: Option<usize>) -> Result<Vec<f64>, Unreadable> {
        let count = self.required(expected)?;
        self.values(count, f64::from_le_bytes)
    }

    fn optional_integers(
        &mut self,
        expected: Option<usize>,
    ) -> Result<Vec<Option<i64>>, Unreadable> {
        let Entries { count, validity } = self.entries(expected)?;
        let values = self.values(count, i64::from_le_bytes)?;
        let is_there =
            |index: usize| validity.is_empty() || validity[index / 8] & (1 << (index % 8)) != 0;
        let values = values.into_iter().enumerate();
        Ok(values
            .map(|(index, value)| is_there(index).then_some(value))
            .collect())
    }

    /// Where each of `count` texts or lists ends; they begin at 0 and one behind the other.
    fn ends(&mut self, count: usize) -> Result<Vec<usize>, Unreadable> {
        if count == 0 {
            // The one offset of an empty column may be left out.
            self.next_buffer()?;
            return Ok(Vec::new());
        }
        let offsets = self.values(count + 1, i32::from_le_bytes)?;
        let rises = offsets.is_sorted() && offsets.first() == Some(&0);
        let ends: Option<Vec<usize>> = offsets
            .into_iter()
            .skip(1)
            .map(|end| usize::try_from(end).ok())
            .collect();
        ends.filter(|_| rises)
            .ok_or_else(|| refused("offsets that do not rise"))
    }
}

/// Appends a batch of the first stream.
pub(super) fn read_moves(
    (batch, body): (RecordBatch<'_>, &[u8]),
    moves: &mut MovesImage,
) -> Result<(), Unreadable> {
    let mut parts = Parts::new(batch, body)?;
    let offsets = parts.integers(None)?;
    let before = parts.optional_integers(Some(offsets.len()))?;
    moves.offsets.extend(offsets);
    moves.before.extend(before);
    Ok(())
}

/// A batch of the second stream. What does not fit together otherwise is found by who takes the columns.
pub(super) fn read_series(
    (batch, body): (RecordBatch<'_>, &[u8]),
) -> Result<SeriesColumns, Unreadable> {
    let mut parts = Parts::new(batch, body)?;
    let count = parts.required(None)?;
    let name_ends = parts.ends(count)?;
    let names = parts.next_buffer()?;
    let names = names
        .get(..name_ends.last().copied().unwrap_or_default())
        .and_then(|names| str::from_utf8(names).ok())
        .ok_or_else(|| refused("names that are no text"))?
        .to_owned();
    let newest = parts.integers(Some(count))?;
    let last_change = parts.integers(Some(count))?;
    let held_slots = parts.optional_integers(Some(count))?;
    let held_offsets = parts.optional_integers(Some(count))?;
    let lists = parts.required(Some(count))?;
    let cell_ends = parts.ends(lists)?;
    let held_cells = parts.floats(Some(cell_ends.last().copied().unwrap_or_default()))?;
    let held = held_slots.into_iter().zip(held_offsets);
    parts.required(Some(count))?;
    let offsets = parts.integers(None)?;
    parts.required(Some(count))?;
    let cells = parts.floats(None)?;
    Ok(SeriesColumns {
        names,
        name_ends,
        newest,
        last_change,
        held: held.map(|(slot, offset)| slot.zip(offset)).collect(),
        held_cells,
        offsets,
        cells,
    })
}
