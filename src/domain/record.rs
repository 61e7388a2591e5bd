//! Records as they come from Kafka: bytes and positions, copied out of the client's buffers once.

use super::{Offset, Timestamp};

/// A run of records of one partition in offset order, in one piece of memory.
///
/// The poll thread fills one per partition and hands it over whole: one allocation and one queue
/// operation for hundreds of records.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<HeaderEntry>,
}

#[derive(Clone, Debug)]
struct Entry {
    offset: Offset,
    timestamp: Option<Timestamp>,
    start: usize,
    key: Option<usize>,
    value: Option<usize>,
    headers: (usize, usize),
}

#[derive(Clone, Debug)]
struct HeaderEntry {
    start: usize,
    name: usize,
    value: Option<usize>,
}

/// One record of a [`RecordBatch`].
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub offset: Offset,
    /// The record timestamp, `CreateTime` or `LogAppendTime`; `None` where the producer set none.
    pub timestamp: Option<Timestamp>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    batch: &'a RecordBatch,
    headers: (usize, usize),
}

impl<'a> Record<'a> {
    /// The headers that were copied, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let batch = self.batch;
        batch.headers[self.headers.0..self.headers.1]
            .iter()
            .map(|header| {
                let value_at = header.start + header.name;
                let name =
                    std::str::from_utf8(&batch.bytes[header.start..value_at]).unwrap_or_default();
                (
                    name,
                    header
                        .value
                        .map(|len| &batch.bytes[value_at..value_at + len]),
                )
            })
    }
}

impl RecordBatch {
    /// Copies a record in. Offsets must rise.
    pub fn push<'h>(
        &mut self,
        (offset, timestamp): (Offset, Option<Timestamp>),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) {
        assert!(
            self.last_offset().is_none_or(|last| last < offset),
            "record {offset} pushed after {:?}",
            self.last_offset()
        );
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let first_header = self.headers.len();
        for (name, header_value) in headers {
            let header_start = self.bytes.len();
            self.bytes.extend_from_slice(name.as_bytes());
            self.bytes
                .extend_from_slice(header_value.unwrap_or_default());
            self.headers.push(HeaderEntry {
                start: header_start,
                name: name.len(),
                value: header_value.map(<[u8]>::len),
            });
        }
        self.entries.push(Entry {
            offset,
            timestamp,
            start,
            key: key.map(<[u8]>::len),
            value: value.map(<[u8]>::len),
            headers: (first_header, self.headers.len()),
        });
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys, values and headers.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub fn last_offset(&self) -> Option<Offset> {
        self.entries.last().map(|entry| entry.offset)
    }

    /// The record at `index`, which is below [`RecordBatch::len`].
    pub fn get(&self, index: usize) -> Record<'_> {
        let entry = &self.entries[index];
        let value_at = entry.start + entry.key.unwrap_or_default();
        Record {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: entry
                .key
                .map(|len| &self.bytes[entry.start..entry.start + len]),
            value: entry.value.map(|len| &self.bytes[value_at..value_at + len]),
            batch: self,
            headers: entry.headers,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in() {
        let offset = |n| Offset::new(n).unwrap();
        let mut batch = RecordBatch::default();
        batch.push(
            (offset(3), Some(Timestamp(7))),
            Some(b"k"),
            Some(b"value"),
            [("a", Some(&b"1"[..])), ("b", None)],
        );
        batch.push((offset(9), None), None, None, []);
        batch.push(
            (offset(10), None),
            Some(b""),
            Some(b""),
            [("c", Some(&b""[..]))],
        );

        let first = batch.get(0);
        assert_eq!(
            (first.offset, first.timestamp),
            (offset(3), Some(Timestamp(7)))
        );
        assert_eq!(
            (first.key, first.value),
            (Some(&b"k"[..]), Some(&b"value"[..]))
        );
        assert_eq!(
            first.headers().collect::<Vec<_>>(),
            [("a", Some(&b"1"[..])), ("b", None)]
        );
        let second = batch.get(1);
        assert_eq!(
            (second.key, second.value, second.headers().count()),
            (None, None, 0)
        );
        let third = batch.get(2);
        assert_eq!((third.key, third.value), (Some(&b""[..]), Some(&b""[..])));
        assert_eq!(third.headers().collect::<Vec<_>>(), [("c", Some(&b""[..]))]);
    }
}
