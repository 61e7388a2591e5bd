//! Output batches: the serialised outputs of one round over one partition's records.
//!
//! A batch is a value: an aborted transaction sends the very same bytes again, without a rewind and
//! without a second inference.

use crate::domain::{Epoch, NextOffset, OutcomeCounts, PartitionId, Timestamp};
use crate::telemetry::Progress;

/// Which topic an output goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Forecasts,
    DeadLetters,
}

/// Everything that one input range `[from, to)` of one partition leads to.
#[derive(Clone, Debug)]
pub struct OutputBatch {
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub from: NextOffset,
    pub to: NextOffset,
    /// Commit metadata of `to`, base64.
    pub metadata: String,
    pub outcomes: OutcomeCounts,
    /// Record timestamp of the newest record, for the age of what is committed.
    pub newest: Option<Timestamp>,
    /// Told when the batch is committed.
    pub progress: Progress,
    bytes: Vec<u8>,
    outputs: Vec<Entry>,
    headers: Vec<HeaderEntry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    destination: Destination,
    start: usize,
    key: Option<usize>,
    value: usize,
    headers: (usize, usize),
}

#[derive(Clone, Copy, Debug)]
struct HeaderEntry {
    start: usize,
    name: usize,
    value: Option<usize>,
}

/// One output record.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    pub destination: Destination,
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
    batch: &'a OutputBatch,
    headers: (usize, usize),
}

impl<'a> Output<'a> {
    pub fn header_count(&self) -> usize {
        self.headers.1 - self.headers.0
    }

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

impl OutputBatch {
    /// An empty batch that starts and, so far, ends at `from`.
    pub fn new(partition: PartitionId, epoch: Epoch, from: NextOffset) -> Self {
        Self {
            partition,
            epoch,
            from,
            to: from,
            metadata: String::new(),
            outcomes: OutcomeCounts::default(),
            newest: None,
            progress: Progress::at(from),
            bytes: Vec::new(),
            outputs: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Makes room for `outputs` records of about `bytes` each, so that a round grows nothing twice.
    pub fn reserve(&mut self, outputs: usize, bytes: usize) {
        self.outputs.reserve(outputs);
        self.headers.reserve(outputs);
        self.bytes.reserve(outputs.saturating_mul(bytes));
    }

    /// Appends an output whose value `write` appends to the buffer.
    pub fn push(
        &mut self,
        destination: Destination,
        key: Option<&[u8]>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        let value_at = self.bytes.len();
        write(&mut self.bytes);
        let headers = (self.headers.len(), self.headers.len());
        let value = self.bytes.len() - value_at;
        self.outputs.push(Entry {
            destination,
            start,
            key: key.map(<[u8]>::len),
            value,
            headers,
        });
    }

    /// Adds a header to the output pushed last.
    pub fn header(&mut self, name: &str, value: Option<&[u8]>) {
        let Some(last) = self.outputs.last_mut() else {
            return;
        };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.headers.push(HeaderEntry {
            start,
            name: name.len(),
            value: value.map(<[u8]>::len),
        });
        last.headers.1 = self.headers.len();
    }

    /// Number of output records.
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Bytes of keys, values and headers.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Output<'_>> {
        self.outputs.iter().map(|entry| {
            let value_at = entry.start + entry.key.unwrap_or_default();
            Output {
                destination: entry.destination,
                key: entry
                    .key
                    .map(|len| &self.bytes[entry.start..entry.start + len]),
                value: &self.bytes[value_at..value_at + entry.value],
                batch: self,
                headers: entry.headers,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_come_out_as_they_went_in() {
        let mut batch = OutputBatch::new(PartitionId(0), Epoch(1), NextOffset::ZERO);
        batch.push(Destination::Forecasts, Some(b"a"), |out| {
            out.extend_from_slice(b"one");
        });
        batch.header("h", Some(b"v"));
        batch.header("n", None);
        batch.push(Destination::DeadLetters, None, |_| {});

        let outputs: Vec<_> = batch.iter().collect();
        assert_eq!(
            (outputs[0].key, outputs[0].value),
            (Some(&b"a"[..]), &b"one"[..])
        );
        assert_eq!(
            outputs[0].headers().collect::<Vec<_>>(),
            [("h", Some(&b"v"[..])), ("n", None)]
        );
        assert_eq!(outputs[0].destination, Destination::Forecasts);
        assert_eq!(
            (outputs[1].key, outputs[1].value, outputs[1].header_count()),
            (None, &b""[..], 0)
        );
        assert_eq!(outputs[1].destination, Destination::DeadLetters);
        assert_eq!(outputs.len(), 2);
    }
}
