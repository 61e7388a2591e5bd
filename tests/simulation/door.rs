//! The way from the lanes to the committer, with what it takes at most, and who may come through.

use std::collections::{BTreeMap, VecDeque};

use foretell::domain::{Epoch, NextOffset, PartitionId};
use foretell::produce::{CommitterInput, OutputBatch, Room, Taken};
use futures_util::FutureExt as _;

use crate::checks::{Violation, ensure};

/// Inputs that wait for the committer.
const INPUTS_MAX: usize = 6;
/// Bytes of outputs on their way.
const ROOM_BYTES: usize = 4 << 10;

pub(crate) struct Door {
    pub(crate) inbox: VecDeque<CommitterInput>,
    room: Room,
    /// Where each assignment was gone on from, and which straight run it is of.
    begun: BTreeMap<(PartitionId, Epoch), (NextOffset, usize)>,
    /// Rooms that are never given back, by a mistake.
    lost: Vec<Taken>,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            inbox: VecDeque::new(),
            room: Room::of(ROOM_BYTES),
            begun: BTreeMap::new(),
            lost: Vec::new(),
        }
    }
}

impl Door {
    /// An assignment is restored, and goes on from here.
    pub(crate) fn begin(&mut self, assigned: (PartitionId, Epoch), (at, run): (NextOffset, usize)) {
        self.begun.insert(assigned, (at, run));
    }

    /// The straight run that an assignment is of.
    pub(crate) fn run_of(&self, assigned: (PartitionId, Epoch)) -> Option<usize> {
        Some(self.begun.get(&assigned)?.1)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.inbox.len() >= INPUTS_MAX
    }

    /// Takes a batch in; gives it back where there is no room for it now.
    pub(crate) fn offer(
        &mut self,
        batch: OutputBatch,
        loses: bool,
    ) -> Result<Option<OutputBatch>, Violation> {
        if self.is_full() {
            return Ok(Some(batch));
        }
        let Some(taken) = self.room.take(batch.byte_len()).now_or_never() else {
            return Ok(Some(batch));
        };
        let taken = if loses {
            self.lost.push(taken);
            Taken::default()
        } else {
            taken
        };
        self.admit(batch, taken)?;
        Ok(None)
    }

    /// Takes the first batch of an assignment in, which no lane made.
    pub(crate) fn admit_opening(&mut self, batch: OutputBatch) -> Result<(), Violation> {
        self.admit(batch, Taken::default())
    }

    /// I10: nothing of an assignment comes before its restore has ended, and nothing of what lies below.
    fn admit(&mut self, batch: OutputBatch, taken: Taken) -> Result<(), Violation> {
        let begun = self.begun.get(&(batch.partition, batch.epoch));
        let begun = begun.map(|(at, _)| *at);
        let from = if batch.skipped > 0 {
            batch.to
        } else {
            batch.from
        };
        ensure(begun.is_some_and(|at| at <= from), "I10", || {
            format!(
                "outputs of {} from {from} on are handed over, it is gone on with from {begun:?}",
                batch.partition
            )
        })?;
        self.inbox
            .push_back(CommitterInput::Batch(Box::new(batch), taken));
        Ok(())
    }

    /// I15: what is on its way, here and in the hands of the committer, fits into the room, and once nothing
    /// is all of the room is free.
    pub(crate) fn look(&self, gathered: &[OutputBatch]) -> Result<(), Violation> {
        let waiting = self.inbox.iter().filter_map(|input| match input {
            CommitterInput::Batch(batch, _) => Some(&**batch),
            CommitterInput::Released { .. } => None,
        });
        // No lane made what skips a gap.
        let made = waiting.chain(gathered).filter(|batch| batch.skipped == 0);
        let bytes: Vec<usize> = made.map(OutputBatch::byte_len).collect();
        let (all, free) = (bytes.iter().sum::<usize>(), self.room.free());
        let fits = all <= ROOM_BYTES.saturating_sub(free) || bytes.len() == 1;
        ensure(fits, "I15", || {
            format!("{all} bytes of outputs are on their way, {free} of {ROOM_BYTES} are free")
        })
    }

    /// I15: nothing is on its way.
    pub(crate) fn look_idle(&self) -> Result<(), Violation> {
        let free = self.room.free();
        ensure(!self.inbox.is_empty() || free == ROOM_BYTES, "I15", || {
            format!("{free} bytes of {ROOM_BYTES} are free, and nothing is on its way")
        })
    }
}
