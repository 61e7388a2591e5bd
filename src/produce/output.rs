//! Output batches: the serialised outputs of one round over one partition's records.
//!
//! A batch is a value: an aborted transaction sends the very same bytes again, without a rewind and
//! without a second inference.

use crate::domain::{
    Epoch, Headers, NextOffset, OutcomeCounts, PartitionId, RecordArena, Timestamp,
};
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
    /// Offsets before it whose records were deleted before they were read.
    pub skipped: u64,
    /// Told when the batch is committed.
    pub progress: Progress,
    outputs: RecordArena<Destination>,
}

/// One output record.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    pub destination: Destination,
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
    headers: Headers<'a>,
}

impl<'a> Output<'a> {
    pub fn header_count(&self) -> usize {
        self.headers.len()
    }

    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        self.headers.iter()
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
            skipped: 0,
            progress: Progress::at(from),
            outputs: RecordArena::default(),
        }
    }

    /// Makes room for `outputs` records of about `bytes` each, so that a round grows nothing twice.
    pub fn reserve(&mut self, outputs: usize, bytes: usize) {
        self.outputs.reserve(outputs, bytes);
    }

    /// Appends an output whose value `write` appends to the buffer.
    pub fn push(
        &mut self,
        destination: Destination,
        key: Option<&[u8]>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.outputs.push(destination, key, Some(write));
    }

    /// Adds a header to the output pushed last.
    pub fn header(&mut self, name: &str, value: Option<&[u8]>) {
        self.outputs.header(name, value);
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
        self.outputs.byte_len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Output<'_>> {
        (0..self.len()).map(|index| {
            let stored = self.outputs.get(index);
            Output {
                destination: *stored.about,
                key: stored.key,
                // Every output is pushed with a value.
                value: stored.value.unwrap_or_default(),
                headers: stored.headers,
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
