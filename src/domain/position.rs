//! Where a record stands in the input topic, and who may speak for a partition.

use std::fmt;

/// A partition of the input topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub i32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position of a record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(i64);

impl Offset {
    /// `None` for the negative numbers that librdkafka uses for logical offsets, and for the one
    /// number that no position can follow.
    pub const fn new(offset: i64) -> Option<Self> {
        if offset < 0 || offset == i64::MAX {
            None
        } else {
            Some(Self(offset))
        }
    }

    pub const fn get(self) -> i64 {
        self.0
    }

    /// The position of a reader whose next record is this one.
    pub const fn here(self) -> NextOffset {
        NextOffset(self.0)
    }

    /// The position after this record: the only place where "plus one" is written.
    pub const fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position to read next: what Kafka calls the committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(i64);

impl NextOffset {
    pub const ZERO: Self = Self(0);

    /// `None` for the negative numbers that librdkafka uses for logical offsets.
    pub const fn new(offset: i64) -> Option<Self> {
        if offset < 0 { None } else { Some(Self(offset)) }
    }

    pub const fn get(self) -> i64 {
        self.0
    }

    /// True when a reader at this position will not see `offset` again.
    pub const fn is_past(self, offset: Offset) -> bool {
        offset.0 < self.0
    }
}

impl fmt::Display for NextOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the assignments of a partition to this worker; work tagged with an older one is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);
