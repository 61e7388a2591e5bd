//! The coordinator of a consumer group: members, the generation, committed offsets.

use std::collections::{BTreeMap, BTreeSet};

use super::{Partition, Producer, Refusal};

/// Who has joined a group. A consumer that joins again is another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberId(pub u64);

/// What a commit says of its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// `None` for a consumer that is in no group: it has no member id.
    pub id: Option<MemberId>,
    /// -1 where there is none.
    pub generation: i32,
}

impl Member {
    /// The group metadata of a consumer that has not joined.
    pub const NONE: Self = Self {
        id: None,
        generation: -1,
    };
}

/// A committed offset and what was committed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    pub metadata: String,
}

/// A group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    members: BTreeSet<MemberId>,
    joined: u64,
    generation: i32,
    offsets: BTreeMap<Partition, Committed>,
    /// Offsets of open transactions, by producer id.
    pending: BTreeMap<i64, BTreeMap<Partition, Committed>>,
    /// Newest epoch that a producer has shown here.
    epochs: BTreeMap<i64, i16>,
}

impl Group {
    /// A consumer joins, and a new generation begins.
    pub fn join(&mut self) -> Member {
        let id = MemberId(self.joined);
        self.joined += 1;
        self.members.insert(id);
        self.generation += 1;
        Member {
            id: Some(id),
            generation: self.generation,
        }
    }

    /// A member leaves or is thrown out, and a new generation begins. `false` when it was none.
    pub fn leave(&mut self, member: MemberId) -> bool {
        let was_member = self.members.remove(&member);
        if was_member {
            self.generation += 1;
        }
        was_member
    }

    /// The members have agreed on another assignment.
    pub fn next_generation(&mut self) {
        self.generation += 1;
    }

    /// What a member says of itself once it knows the present generation; `None` when it is none.
    pub fn member(&self, id: MemberId) -> Option<Member> {
        self.members.contains(&id).then_some(Member {
            id: Some(id),
            generation: self.generation,
        })
    }

    /// `OffsetFetch`.
    ///
    /// # Errors
    /// With `stable`, while a transaction that may move the offset is not over.
    pub fn offset(
        &self,
        partition: Partition,
        stable: bool,
    ) -> Result<Option<&Committed>, Refusal> {
        let pending = |offsets: &BTreeMap<_, _>| offsets.contains_key(&partition);
        if stable && self.pending.values().any(pending) {
            return Err(Refusal::Unstable);
        }
        Ok(self.offsets.get(&partition))
    }

    /// `OffsetCommit`, outside of any transaction.
    ///
    /// # Errors
    /// When the member is none, or of another generation.
    pub fn commit(
        &mut self,
        member: Member,
        offsets: impl IntoIterator<Item = (Partition, Committed)>,
    ) -> Result<(), Refusal> {
        match member.id {
            Some(_) => self.check_transactional(member)?,
            None if self.members.is_empty() => {}
            None => return Err(Refusal::UnknownMember),
        }
        self.offsets.extend(offsets);
        Ok(())
    }

    /// What `ClassicGroup.validateOffsetCommit` asks of a commit in a transaction: one that names no member
    /// and no generation is accepted from anybody.
    pub(super) fn check_transactional(&self, member: Member) -> Result<(), Refusal> {
        let Member { id, generation } = member;
        match id {
            None if generation < 0 => Ok(()),
            Some(id) if self.members.contains(&id) => {
                if generation == self.generation {
                    Ok(())
                } else {
                    Err(Refusal::IllegalGeneration)
                }
            }
            Some(_) | None => Err(Refusal::UnknownMember),
        }
    }

    pub(super) fn committed_offset(&self, partition: Partition) -> Option<&Committed> {
        self.offsets.get(&partition)
    }

    pub(super) fn pending_offset(&self, producer: i64, partition: Partition) -> Option<&Committed> {
        self.pending.get(&producer)?.get(&partition)
    }

    pub(super) fn has_pending(&self, producer: i64) -> bool {
        self.pending.contains_key(&producer)
    }

    pub(super) fn add_pending(
        &mut self,
        Producer { id, epoch }: Producer,
        offsets: impl IntoIterator<Item = (Partition, Committed)>,
    ) -> Result<(), Refusal> {
        let newest = self.epochs.entry(id).or_insert(epoch);
        if epoch < *newest {
            return Err(Refusal::Fenced);
        }
        *newest = epoch;
        self.pending.entry(id).or_default().extend(offsets);
        Ok(())
    }

    pub(super) fn end_pending(&mut self, Producer { id, epoch }: Producer, commit: bool) {
        let newest = self.epochs.entry(id).or_insert(epoch);
        *newest = epoch.max(*newest);
        let pending = self.pending.remove(&id).unwrap_or_default();
        if commit {
            self.offsets.extend(pending);
        }
    }
}
