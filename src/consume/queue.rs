//! The bounded queue between the poll thread and the lane that owns a partition.
//!
//! The bound is kept by pausing the partition, never by waiting: the poll thread must go on polling.
//! Marks are in records and bytes; the gap between high and low is the hysteresis, as every pause
//! makes librdkafka throw away what it has prefetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

use crate::domain::RecordBatch;

/// When a partition is paused, and when it may go on.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Pause at this many records.
    pub records_high: usize,
    /// Go on at this many records or fewer, if the bytes are low too.
    pub records_low: usize,
    /// Pause at this many bytes.
    pub bytes_high: usize,
    /// Go on at this many bytes or fewer, if the records are low too.
    pub bytes_low: usize,
}

impl QueueLimits {
    /// Batches in one queue. The poll thread pauses one short of it, so a send always finds room.
    const BATCHES_MAX: usize = 4096;
}

#[derive(Debug, Default)]
struct Depth {
    records: AtomicUsize,
    bytes: AtomicUsize,
    batches: AtomicUsize,
}

/// The poll thread's end.
#[derive(Debug)]
pub struct QueueSender {
    batches: mpsc::Sender<RecordBatch>,
    depth: Arc<Depth>,
    wake: Arc<Notify>,
    limits: QueueLimits,
}

/// The lane's end.
#[derive(Debug)]
pub struct QueueReceiver {
    batches: mpsc::Receiver<RecordBatch>,
    depth: Arc<Depth>,
}

/// A queue whose sends wake the lane that sleeps on `wake`.
pub fn queue(limits: QueueLimits, wake: Arc<Notify>) -> (QueueSender, QueueReceiver) {
    let (sender, receiver) = mpsc::channel(QueueLimits::BATCHES_MAX);
    let depth = Arc::new(Depth::default());
    (
        QueueSender {
            batches: sender,
            depth: Arc::clone(&depth),
            wake,
            limits,
        },
        QueueReceiver {
            batches: receiver,
            depth,
        },
    )
}

impl QueueSender {
    /// Hands a batch over. `false` when the receiver is gone: the partition is being given up.
    pub fn send(&self, batch: RecordBatch) -> bool {
        let (records, bytes) = (batch.len(), batch.byte_len());
        self.depth.records.fetch_add(records, Ordering::Relaxed);
        self.depth.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.depth.batches.fetch_add(1, Ordering::Relaxed);
        match self.batches.try_send(batch) {
            Ok(()) => {
                self.wake.notify_one();
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                unreachable!("the poll thread pauses a partition before its queue is full")
            }
        }
    }

    /// True when, with `waiting` more records and bytes, the partition must be paused.
    pub fn is_full(&self, waiting: (usize, usize)) -> bool {
        self.depth.records.load(Ordering::Relaxed) + waiting.0 >= self.limits.records_high
            || self.depth.bytes.load(Ordering::Relaxed) + waiting.1 >= self.limits.bytes_high
            || self.depth.batches.load(Ordering::Relaxed) + 2 >= QueueLimits::BATCHES_MAX
    }

    /// True when a paused partition may go on.
    pub fn is_low(&self) -> bool {
        self.depth.records.load(Ordering::Relaxed) <= self.limits.records_low
            && self.depth.bytes.load(Ordering::Relaxed) <= self.limits.bytes_low
            && self.depth.batches.load(Ordering::Relaxed) <= QueueLimits::BATCHES_MAX / 4
    }

    /// Records waiting in the queue.
    pub fn depth(&self) -> usize {
        self.depth.records.load(Ordering::Relaxed)
    }

    /// Bytes of the records waiting in the queue.
    pub fn bytes(&self) -> usize {
        self.depth.bytes.load(Ordering::Relaxed)
    }
}

impl QueueReceiver {
    /// The next batch, if one waits.
    pub fn take(&mut self) -> Option<RecordBatch> {
        let batch = self.batches.try_recv().ok()?;
        self.depth.records.fetch_sub(batch.len(), Ordering::Relaxed);
        self.depth
            .bytes
            .fetch_sub(batch.byte_len(), Ordering::Relaxed);
        self.depth.batches.fetch_sub(1, Ordering::Relaxed);
        Some(batch)
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Offset;

    fn batch(first: i64, records: i64) -> RecordBatch {
        let mut batch = RecordBatch::default();
        for n in first..first + records {
            batch.push((Offset::new(n).unwrap(), None), None, Some(b"12345678"), []);
        }
        batch
    }

    #[test]
    fn a_full_queue_is_low_again_only_after_most_of_it_was_taken() {
        let limits = QueueLimits {
            records_high: 100,
            records_low: 25,
            bytes_high: 1 << 20,
            bytes_low: 1 << 18,
        };
        let (sender, mut receiver) = queue(limits, Arc::new(Notify::new()));
        for n in 0..9 {
            assert!(sender.send(batch(n * 10, 10)));
        }
        assert!(!sender.is_full((0, 0)) && sender.is_full((10, 0)));
        assert!(sender.is_full((0, 1 << 20)));
        assert!(sender.send(batch(90, 10)));
        assert!(sender.is_full((0, 0)) && !sender.is_low());
        for _ in 0..7 {
            assert!(receiver.take().is_some());
        }
        assert!(!sender.is_low());
        assert!(receiver.take().is_some());
        assert!(sender.is_low());
        drop(receiver);
        assert!(!sender.send(batch(100, 1)));
    }
}
