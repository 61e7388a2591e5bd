//! Records as they come from Kafka: bytes and positions, copied out of the client's buffers once.

use super::{Headers, Offset, RecordArena, Timestamp};

/// A run of records of one partition in offset order, in one piece of memory.
///
/// The poll thread fills one per partition and hands it over whole: one allocation and one queue
/// operation for hundreds of records.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    records: RecordArena<(Offset, Option<Timestamp>)>,
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
    headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// The headers that were copied, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        self.headers.iter()
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
        let copy = value.map(|value| |out: &mut Vec<u8>| out.extend_from_slice(value));
        self.records.push((offset, timestamp), key, copy);
        for (name, header_value) in headers {
            self.records.header(name, header_value);
        }
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of keys, values and headers.
    pub fn byte_len(&self) -> usize {
        self.records.byte_len()
    }

    pub fn last_offset(&self) -> Option<Offset> {
        self.records.last().map(|(offset, _)| *offset)
    }

    /// The record at `index`, which is below [`RecordBatch::len`].
    pub fn get(&self, index: usize) -> Record<'_> {
        let stored = self.records.get(index);
        let (offset, timestamp) = *stored.about;
        Record {
            offset,
            timestamp,
            key: stored.key,
            value: stored.value,
            headers: stored.headers,
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
