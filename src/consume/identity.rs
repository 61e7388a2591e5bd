//! Which topic the worker's consumer reads: its id, and whether it is another one by now.
//!
//! A topic that is deleted and made anew while it is read goes unnoticed: librdkafka fetches from the new one at the
//! offset that the old one had come to (docs/kafka.md, finding 16). It does so only after it has written a line
//! about the new id, at debug level, which reaches the poll thread through the queue that the records come through,
//! and before them.

use std::sync::OnceLock;

use crate::domain::TopicId;

/// What librdkafka must be told to debug so that it writes the line.
pub(super) const DEBUG: &str = "metadata";
/// The facility of the line.
const FACILITY: &str = "METADATA";

/// The ids that a topic has had since the consumer was made.
#[derive(Debug)]
pub(super) struct Identity {
    /// How the line begins, behind the name of a thread.
    begins: String,
    first: OnceLock<TopicId>,
    other: OnceLock<TopicId>,
}

/// A topic was deleted and made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MadeAnew {
    pub(super) was: TopicId,
    pub(super) is: TopicId,
}

impl Identity {
    pub(super) fn of(topic: &str) -> Self {
        Self {
            begins: format!("Topic {topic} changed id from "),
            first: OnceLock::new(),
            other: OnceLock::new(),
        }
    }

    /// Takes a line of librdkafka's log in.
    pub(super) fn hear(&self, facility: &str, line: &str) {
        if facility != FACILITY {
            return;
        }
        let told = line.split_once(&self.begins);
        let told = told.and_then(|(_thread, ids)| ids.split_once(" to "));
        let Some(id) = told.and_then(|(_before, id)| TopicId::parse(id)) else {
            return;
        };
        if *self.first.get_or_init(|| id) != id {
            self.other.get_or_init(|| id);
        }
    }

    /// Once it is known; of the first topic that was there.
    pub(super) fn id(&self) -> Option<TopicId> {
        self.first.get().copied()
    }

    /// `Some` for good after the first other id.
    pub(super) fn made_anew(&self) -> Option<MadeAnew> {
        let (was, is) = (*self.first.get()?, *self.other.get()?);
        Some(MadeAnew { was, is })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    const OLD: &str = "BBBBBBBBBBBBBBBBBBBBBQ";
    const NEW: &str = "CCCCCCCCCCCCCCCCCCCCCQ";

    fn id(text: &str) -> TopicId {
        TopicId::parse(text).unwrap()
    }

    #[test]
    fn only_another_id_of_the_topic_makes_it_another_one() {
        let identity = Identity::of("load");
        let hear = |topic: &str, from: &str, to: &str| {
            let line = format!("[thrd:main]: Topic {topic} changed id from {from} to {to}");
            identity.hear("METADATA", &line);
        };
        identity.hear("METADATA", "[thrd:main]:   Topic load partition 0 Leader 1");
        assert_eq!(identity.id(), None);
        hear("load", NONE, OLD);
        assert_eq!(identity.id(), Some(id(OLD)));
        // Of another topic; one that is gone; the same again, as after it was not there for a while.
        hear("overload", OLD, NEW);
        hear("load", OLD, NONE);
        hear("load", NONE, OLD);
        identity.hear(
            "TOPIC",
            &format!("Topic load changed id from {OLD} to {NEW}"),
        );
        assert_eq!(identity.made_anew(), None);
        hear("load", OLD, NEW);
        let expected = MadeAnew {
            was: id(OLD),
            is: id(NEW),
        };
        assert_eq!(identity.made_anew(), Some(expected));
        hear("load", NEW, OLD);
        assert_eq!(identity.made_anew(), Some(expected));
    }
}
