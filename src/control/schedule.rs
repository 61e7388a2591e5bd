//! Which package serves which origin.

use crate::domain::{Digest, Timestamp};

/// A package in a slot's schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub digest: Digest,
    /// First origin that it serves; `None` for every origin.
    pub effective_from: Option<Timestamp>,
}

impl Entry {
    fn covers(&self, origin: Timestamp) -> bool {
        self.effective_from.is_none_or(|from| from <= origin)
    }
}

/// The entries of a slot in log order, each from a later origin on than the one before: an entry drops those
/// before it that it covers whole, as they serve nothing any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(Vec<Entry>);

impl Schedule {
    /// The last entry that covers the origin; `None` where the configured model serves.
    pub fn at(&self, origin: Timestamp) -> Option<Digest> {
        let covering = self.0.iter().rev().find(|entry| entry.covers(origin));
        covering.map(|entry| entry.digest)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub fn names(&self, digest: Digest) -> bool {
        self.0.iter().any(|entry| entry.digest == digest)
    }

    /// What it is after one more entry.
    #[must_use]
    pub fn with(&self, entry: Entry) -> Self {
        let stays = |before: &&Entry| before.effective_from < entry.effective_from;
        let before = self.0.iter().take_while(stays).copied();
        Self(before.chain([entry]).collect())
    }
}
