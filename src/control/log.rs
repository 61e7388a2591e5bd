//! The fold of the control topic's log.
//!
//! What a record does depends on the records before it and on the configured keys, on nothing else. A record that is
//! no command, or a command that is refused, changes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::command::{Command, CommandCodec, Order, Unreadable};
use super::keys::{Keys, Unsigned};
use super::schedule::{Entry, Schedule};
use crate::domain::{Digest, NextOffset, Offset, Timestamp};

/// Most slots.
const SLOTS_MAX: usize = 16;
/// Most packages that a slot has staged and not retired. One more retires the oldest that is not needed.
const STAGED_MAX: usize = 64;
/// Most entries of a schedule.
const ENTRIES_MAX: usize = 64;
/// How many ids of commands are remembered, the newest of the log.
const IDS_MAX: usize = 4096;
/// How many packages a slot remembers to go back to.
const BEFORE_MAX: usize = 16;

/// A record of the control topic.
#[derive(Clone, Copy, Debug)]
pub struct CommandRecord<'a> {
    pub offset: Offset,
    /// When the broker appended it.
    pub appended: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// What a record has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was folded before, or a command of its id was.
    Repeated,
    Staged {
        slot: String,
        digest: Digest,
    },
    Activated {
        slot: String,
        digest: Digest,
    },
    Retired {
        slot: String,
        digest: Digest,
    },
}

/// Why a record changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("it is no command: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("it cannot be encoded again to check its signature: {0}")]
    Unsignable(#[source] serde_avro_fast::ser::SerError),
    #[error("{0}")]
    Unsigned(#[from] Unsigned),
    #[error("there are {SLOTS_MAX} slots already")]
    TooManySlots,
    #[error(
        "the schedule names all of the slot's {STAGED_MAX} packages; activate one for every origin first"
    )]
    TooManyStaged,
    #[error("the schedule has {ENTRIES_MAX} entries already; activate one for every origin first")]
    TooManyEntries,
    #[error("{digest} was not staged in this slot")]
    NotStaged { digest: Digest },
    #[error("{digest} is in the schedule; activate another one for every origin first")]
    InUse { digest: Digest },
}

/// A package that is to be at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    pub uri: String,
    /// The command's id.
    pub id: String,
    /// Where the command is in the log.
    pub at: Offset,
}

/// What the log says about a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    staged: BTreeMap<Digest, Staged>,
    schedule: Schedule,
    /// What was activated before the last one, the newest last.
    before: VecDeque<Digest>,
    /// The highest sequence of a signed command.
    sequence: Option<i64>,
}

impl Slot {
    pub fn staged(&self) -> &BTreeMap<Digest, Staged> {
        &self.staged
    }

    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The package that was staged first, of those that the schedule does not name and a rollback does not go to.
    fn oldest_idle(&self) -> Option<Digest> {
        let previous = self.previous();
        let idle = self
            .staged
            .iter()
            .filter(|(digest, _)| !self.schedule.names(**digest) && previous != Some(**digest));
        let oldest = idle.min_by_key(|(_, staged)| staged.at)?;
        Some(*oldest.0)
    }

    /// The highest sequence of a signed command.
    pub fn sequence(&self) -> Option<i64> {
        self.sequence
    }

    /// The package that was activated before the last one and is still staged.
    pub fn previous(&self) -> Option<Digest> {
        let newest = self.schedule.entries().last()?.digest;
        let other = |digest: &&Digest| **digest != newest && self.staged.contains_key(digest);
        self.before.iter().rev().find(other).copied()
    }

    /// The staged packages, those first that were staged last.
    pub fn newest_staged(&self) -> Vec<Digest> {
        let mut all: Vec<_> = self
            .staged
            .iter()
            .map(|(digest, staged)| (staged.at, *digest))
            .collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        all.into_iter().map(|(_, digest)| digest).collect()
    }

    fn obey(&self, command: &Command, at: Offset) -> Result<(Self, Effect), Refusal> {
        let slot = command.slot.clone();
        let mut next = self.clone();
        let effect = match &command.order {
            Order::Stage {
                uri,
                sha256: digest,
            } => {
                if self.staged.len() >= STAGED_MAX && !self.staged.contains_key(digest) {
                    let oldest = self.oldest_idle().ok_or(Refusal::TooManyStaged)?;
                    next.staged.remove(&oldest);
                }
                let staged = Staged {
                    uri: uri.clone(),
                    id: command.id.clone(),
                    at,
                };
                next.staged.insert(*digest, staged);
                Effect::Staged {
                    slot,
                    digest: *digest,
                }
            }
            Order::Activate {
                sha256: digest,
                effective_from,
            } => {
                if !self.staged.contains_key(digest) {
                    return Err(Refusal::NotStaged { digest: *digest });
                }
                let entry = Entry {
                    digest: *digest,
                    effective_from: effective_from.map(Timestamp),
                };
                next.schedule = self.schedule.with(entry);
                if next.schedule.entries().len() > ENTRIES_MAX {
                    return Err(Refusal::TooManyEntries);
                }
                next.before
                    .extend(self.schedule.entries().last().map(|last| last.digest));
                while next.before.len() > BEFORE_MAX {
                    next.before.pop_front();
                }
                Effect::Activated {
                    slot,
                    digest: *digest,
                }
            }
            Order::Retire { sha256: digest } => {
                if self.schedule.names(*digest) {
                    return Err(Refusal::InUse { digest: *digest });
                }
                if next.staged.remove(digest).is_none() {
                    return Err(Refusal::NotStaged { digest: *digest });
                }
                Effect::Retired {
                    slot,
                    digest: *digest,
                }
            }
        };
        Ok((next, effect))
    }
}

/// The log up to a position.
#[derive(Debug)]
pub struct Log {
    codec: CommandCodec,
    keys: Keys,
    slots: BTreeMap<String, Slot>,
    /// Of the commands that changed something, the newest last.
    ids: VecDeque<String>,
    known: BTreeSet<String>,
    position: NextOffset,
}

impl Log {
    /// The empty log.
    pub fn new(codec: CommandCodec, keys: Keys) -> Self {
        Self {
            codec,
            keys,
            slots: BTreeMap::new(),
            ids: VecDeque::new(),
            known: BTreeSet::new(),
            position: NextOffset::ZERO,
        }
    }

    /// The slots that commands were given to.
    pub fn slots(&self) -> &BTreeMap<String, Slot> {
        &self.slots
    }

    /// The offset after the last record folded.
    pub fn position(&self) -> NextOffset {
        self.position
    }

    /// Folds the next record. One that was folded before changes nothing.
    ///
    /// # Errors
    /// Why it changes nothing, though it is new.
    pub fn fold(&mut self, record: CommandRecord<'_>) -> Result<Effect, Refusal> {
        if self.position.is_past(record.offset) {
            return Ok(Effect::Repeated);
        }
        self.position = record.offset.next();
        let command = self.codec.read(record.key, record.value)?;
        let known = self.slots.get(&command.slot);
        if known.is_none() && self.slots.len() >= SLOTS_MAX {
            return Err(Refusal::TooManySlots);
        }
        let mut slot = known.cloned().unwrap_or_default();
        if self.known.contains(&command.id) {
            return Ok(Effect::Repeated);
        }
        if self.keys.are_asked_for() {
            let signed = self.codec.signed_part(&command);
            let signed = signed.map_err(Refusal::Unsignable)?;
            let sequence = self
                .keys
                .check(&command, &signed, (record.appended, slot.sequence))?;
            slot.sequence = Some(sequence);
        }
        let obeyed = slot.obey(&command, record.offset);
        // A signed command that is refused has used its sequence up.
        let (slot, effect) = match obeyed {
            Ok((next, effect)) => {
                self.remember(command.id);
                (next, Ok(effect))
            }
            Err(refusal) => (slot, Err(refusal)),
        };
        if effect.is_ok() || slot.sequence.is_some() {
            self.slots.insert(command.slot, slot);
        }
        effect
    }

    fn remember(&mut self, id: String) {
        self.known.insert(id.clone());
        self.ids.push_back(id);
        if self.ids.len() > IDS_MAX
            && let Some(oldest) = self.ids.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
