//! A partition that is being read: what waits to be handed over, and whether it flows. No consumer, no
//! clock; the simulation feeds its lanes by the same rules.

use crate::consume::queue::QueueSender;
use crate::domain::{NextOffset, Offset, RecordBatch, Timestamp};
use crate::telemetry::Progress;

/// A partition that is being read.
#[derive(Debug)]
pub struct Feed {
    queue: QueueSender,
    progress: Progress,
    batch: RecordBatch,
    expected: NextOffset,
    paused: bool,
}

/// A record came from below the offset that is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfOrder {
    pub expected: NextOffset,
}

impl Feed {
    /// Nothing is read yet of a partition that is gone on with at `at`.
    pub fn new(queue: QueueSender, progress: Progress, at: NextOffset) -> Self {
        Self {
            queue,
            progress,
            batch: RecordBatch::default(),
            expected: at,
            paused: false,
        }
    }

    /// Takes a record in; `true` when the partition is to be paused now, as its queue is full.
    ///
    /// # Errors
    /// When it is not the next one.
    pub fn take<'h>(
        &mut self,
        (offset, timestamp): (Offset, Option<Timestamp>),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) -> Result<bool, OutOfOrder> {
        let expected = self.expected;
        if expected.is_past(offset) {
            return Err(OutOfOrder { expected });
        }
        self.expected = offset.next();
        self.batch.push((offset, timestamp), key, value, headers);
        let waiting = (self.batch.len(), self.batch.byte_len());
        let pauses = !self.paused && self.queue.is_full(waiting);
        self.paused |= pauses;
        Ok(pauses)
    }

    /// Hands over what has been taken in.
    pub fn hand_over(&mut self) {
        if !self.batch.is_empty() {
            // A lane that is gone gives the partition up; the hook tells of it in a moment.
            let _taken = self.queue.send(std::mem::take(&mut self.batch));
        }
    }

    /// `true` when the partition is to flow again, as its queue has run low.
    pub fn resumes(&mut self) -> bool {
        let resumes = self.paused && self.queue.is_low();
        self.paused &= !resumes;
        resumes
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Records and bytes that wait for the lane.
    pub fn depth(&self) -> (usize, usize) {
        (self.queue.depth(), self.queue.bytes())
    }

    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}
