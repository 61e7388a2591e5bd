//! Recomputed forecasts that wait for theirs to be read, in bounded memory.
//!
//! Forecasts are read nearly in the order in which they were committed, and the fold goes no further than
//! they need, so little waits. What is over the bound is forgotten, the oldest first: a missing forecast
//! would wait for ever.

use std::collections::{HashMap, VecDeque};

use crate::domain::{Offset, PartitionId};

/// A record of the input.
pub type Source = (PartitionId, Offset);

/// What one model gives for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place among the models that were given.
    pub model: usize,
    /// The datum that it should have published; `None` where it gives no usable forecast.
    pub datum: Option<Box<[u8]>>,
}

/// Bytes that an entry takes besides its data, about.
const OVERHEAD: usize = 128;

#[derive(Debug)]
struct Waiter {
    /// Partition of the output topic that the forecast belongs in.
    home: PartitionId,
    rows: Vec<Row>,
}

impl Waiter {
    fn bytes(&self) -> usize {
        let data = self
            .rows
            .iter()
            .map(|row| row.datum.as_ref().map_or(0, |datum| datum.len()));
        data.sum::<usize>() + OVERHEAD
    }
}

/// Recomputed forecasts by the record that made them due.
#[derive(Debug)]
pub struct Waiting {
    waiters: HashMap<Source, Waiter>,
    /// In the order in which they came; those that have been taken are passed over.
    order: VecDeque<Source>,
    bytes: usize,
    bytes_max: usize,
}

impl Waiting {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            waiters: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    pub fn insert(&mut self, source: Source, home: PartitionId, rows: Vec<Row>) {
        let waiter = Waiter { home, rows };
        self.bytes += waiter.bytes();
        self.order.push_back(source);
        if let Some(before) = self.waiters.insert(source, waiter) {
            self.bytes -= before.bytes();
        }
        // Those that were taken are most of them.
        if self.order.len() > 2 * self.waiters.len() + 1_024 {
            self.order.retain(|one| self.waiters.contains_key(one));
        }
    }

    pub fn take(&mut self, source: Source) -> Option<Vec<Row>> {
        let waiter = self.waiters.remove(&source)?;
        self.bytes -= waiter.bytes();
        Some(waiter.rows)
    }

    /// The oldest that is too much, and where its forecast belongs.
    pub fn overflow(&mut self) -> Option<(Source, PartitionId)> {
        if self.bytes > self.bytes_max {
            self.pop()
        } else {
            None
        }
    }

    /// The oldest, and where its forecast belongs.
    pub fn pop(&mut self) -> Option<(Source, PartitionId)> {
        while let Some(source) = self.order.pop_front() {
            if let Some(waiter) = self.waiters.remove(&source) {
                self.bytes -= waiter.bytes();
                return Some((source, waiter.home));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(offset: i64) -> Source {
        (PartitionId(0), Offset::new(offset).unwrap())
    }

    fn rows(length: usize) -> Vec<Row> {
        vec![Row {
            model: 0,
            datum: Some(vec![0; length].into_boxed_slice()),
        }]
    }

    #[test]
    fn what_is_too_much_goes_oldest_first_and_what_was_taken_is_not_too_much() {
        let mut waiting = Waiting::new(3 * (100 + OVERHEAD));
        for offset in 0..4 {
            waiting.insert(source(offset), PartitionId(7), rows(100));
        }
        assert_eq!(waiting.take(source(0)), Some(rows(100)));
        assert_eq!(waiting.take(source(0)), None);
        assert_eq!(waiting.overflow(), None);
        waiting.insert(source(4), PartitionId(8), rows(100));
        assert_eq!(waiting.overflow(), Some((source(1), PartitionId(7))));
        assert_eq!(waiting.overflow(), None);
        let rest: Vec<_> = std::iter::from_fn(|| waiting.pop()).collect();
        assert_eq!(rest.len(), 3);
        assert_eq!((waiting.bytes, waiting.waiters.len()), (0, 0));
    }

    #[test]
    fn memory_follows_what_waits_and_not_what_has_waited() {
        let mut waiting = Waiting::new(1 << 30);
        for offset in 0..100_000 {
            waiting.insert(source(offset), PartitionId(0), rows(10));
            waiting.take(source(offset));
        }
        assert!(waiting.order.len() < 2_000, "{}", waiting.order.len());
        assert_eq!(waiting.bytes, 0);
    }
}
