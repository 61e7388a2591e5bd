//! Where a partition's state comes from: what stays the same from commit to commit.

use crate::domain::{NextOffset, TopicId};

/// The part of the commit metadata that the fold does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// Hash of the configuration keys that the fold reads.
    pub config_hash: u64,
    /// Where the group started to read; no restore reads below it.
    pub start: NextOffset,
    /// Rows from below this offset may be incomplete; a forecast from them is `partial`.
    pub whole_from: NextOffset,
    /// Of the topic whose records are read; `None` where the brokers tell none.
    pub topic_id: Option<TopicId>,
}

impl Lineage {
    /// The lineage of windows that are empty at `start`, where nothing lies before.
    pub const fn beginning_at(start: NextOffset, config_hash: u64) -> Self {
        Self {
            config_hash,
            start,
            whole_from: start,
            topic_id: None,
        }
    }

    /// The same, of records of this topic.
    #[must_use]
    pub const fn of_topic(self, topic_id: Option<TopicId>) -> Self {
        Self { topic_id, ..self }
    }
}
