//! The partitions of the topic of forecasts: their order, and what retention has taken from them.

use std::collections::{BTreeSet, HashMap};

use crate::domain::{Offset, PartitionId};

/// What is known of each.
#[derive(Debug, Default)]
pub struct Homes {
    /// Those whose first records are gone.
    trimmed: BTreeSet<PartitionId>,
    sources: HashMap<(PartitionId, PartitionId), Sources>,
}

/// How a forecast stands behind the one before it of its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Right,
    /// It is of the same source.
    Again,
    /// And why.
    Wrong(String),
}

/// The sources of one input partition that were found in one output partition.
#[derive(Debug)]
struct Sources {
    first: Offset,
    /// The last of each series.
    last: HashMap<Box<str>, Offset>,
}

impl Homes {
    /// Retention has deleted the first records of this one.
    pub fn trimmed(&mut self, home: PartitionId) {
        self.trimmed.insert(home);
    }

    /// True when the forecast of a record, if there was one, may have been deleted.
    pub fn may_have_lost(
        &self,
        home: PartitionId,
        (partition, offset): (PartitionId, Offset),
    ) -> bool {
        let sources = self.sources.get(&(home, partition));
        self.trimmed.contains(&home) && sources.is_none_or(|sources| sources.first > offset)
    }

    /// Remembers a forecast's source, and tells how it stands behind that of its series before.
    pub fn note(
        &mut self,
        home: PartitionId,
        (partition, offset): (PartitionId, Offset),
        series: &str,
    ) -> Order {
        let sources = self.sources.entry((home, partition));
        let sources = sources.or_insert_with(|| Sources {
            first: offset,
            last: HashMap::new(),
        });
        match sources.last.get_mut(series) {
            None => {
                sources.last.insert(series.into(), offset);
                Order::Right
            }
            Some(last) if *last < offset => {
                *last = offset;
                Order::Right
            }
            Some(last) if *last == offset => Order::Again,
            Some(last) => Order::Wrong(format!(
                "in its partition it stands behind the forecast for offset {last} of its series"
            )),
        }
    }
}
