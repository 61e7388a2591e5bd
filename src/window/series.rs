//! One series: its rows, the record held aside, and what a new record means to it.
//!
//! [`Series::judge`] is the second half of the table of outcomes (from `late` on) and changes
//! nothing; [`Series::apply`] makes the change it decided. Between the two the table moves stream
//! time, which the change is stamped with.

use super::checksum::{Hasher, SeriesParts};
use super::config::{ConflictPolicy, WindowConfig};
use super::rows::{Comparison, Rows, compare, overwrite};
use crate::domain::{Offset, Rejection, Slot, Timestamp};

/// What an accepted record does to its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Says nothing new.
    Duplicate,
    /// Fills or replaces cells of a known row.
    FillCells,
    /// Fills or replaces cells of the held record.
    FillHeld,
    /// Makes the row of an older slot.
    FillSlot,
    /// Is put aside; a record that was held before is discarded.
    Hold,
    /// Becomes the newest row; a held record is discarded.
    Fold,
    /// The held record becomes a row, then this one the newest.
    FoldWithHeld,
}

/// A record kept aside because it is too far ahead of the newest row.
#[derive(Clone, Debug)]
struct Held {
    slot: Slot,
    cells: Box<[f64]>,
    offset: Offset,
}

impl Held {
    fn new(slot: Slot, cells: &[f64], offset: Offset) -> Self {
        Self {
            slot,
            cells: cells.into(),
            offset,
        }
    }
}

/// Slot, offset and cells of the held record, where there is one.
pub(super) type HeldImage<'a> = Option<(Slot, Offset, &'a [f64])>;

/// One series of the partition.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: Box<str>,
    pub(super) rows: Rows,
    /// Apart, as few series have one.
    held: Option<Box<Held>>,
    /// Stream time of the last fold or fill.
    pub(super) last_change: Timestamp,
    /// The series hash: what the state checksum holds for this series.
    hash: u64,
    /// Conflicting duplicates since a record of the series was anything else.
    conflicts: u32,
}

impl Series {
    /// The series that its first record makes.
    pub(super) fn new(name: &str, rows: Rows, now: Timestamp, hasher: &mut Hasher) -> Self {
        let mut series = Self {
            name: name.into(),
            rows,
            held: None,
            last_change: now,
            hash: 0,
            conflicts: 0,
        };
        series.rehash(hasher);
        series
    }

    /// The series that an image holds.
    pub(super) fn of_image(
        name: &str,
        rows: Rows,
        (last_change, held): (Timestamp, HeldImage<'_>),
        hasher: &mut Hasher,
    ) -> Self {
        let held = held.map(|(slot, offset, cells)| Box::new(Held::new(slot, cells, offset)));
        let mut series = Self {
            held,
            ..Self::new(name, rows, last_change, hasher)
        };
        series.rehash(hasher);
        series
    }

    /// The series hash.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Bytes of the name, the rows and the held record.
    pub(super) fn byte_len(&self) -> usize {
        let held = self
            .held
            .as_ref()
            .map_or(0, |held| size_of::<Held>() + size_of_val(&*held.cells));
        self.name.len() + self.rows.byte_len() + held
    }

    /// Slot, offset and cells of the held record.
    pub(super) fn held(&self) -> Option<(Slot, Offset, &[f64])> {
        self.held
            .as_ref()
            .map(|held| (held.slot, held.offset, &*held.cells))
    }

    /// What a record at `slot` does, or why it is refused.
    pub(super) fn judge(
        &self,
        slot: Slot,
        cells: &[f64],
        config: &WindowConfig,
    ) -> Result<Decision, Rejection> {
        let newest = self.rows.newest();
        if slot > newest {
            return self.judge_newer(slot, cells, config);
        }
        if !self.rows.keeps(slot) {
            return Err(Rejection::Late);
        }
        match self.rows.get(slot) {
            None => Ok(Decision::FillSlot),
            Some(known) => against(compare(known, cells), Decision::FillCells, config),
        }
    }

    fn judge_newer(
        &self,
        slot: Slot,
        cells: &[f64],
        config: &WindowConfig,
    ) -> Result<Decision, Rejection> {
        let reach = u64::try_from(config.gap_max())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        if let Some(held) = &self.held {
            if slot == held.slot {
                return against(compare(&held.cells, cells), Decision::FillHeld, config);
            }
            if slot > held.slot && slot.0.abs_diff(held.slot.0) <= reach {
                return Ok(Decision::FoldWithHeld);
            }
        }
        if slot.0.abs_diff(self.rows.newest().0) > reach {
            Ok(Decision::Hold)
        } else {
            Ok(Decision::Fold)
        }
    }

    /// Makes the change, at stream time `now`. True when it threw a held record away.
    pub(super) fn apply(
        &mut self,
        decision: Decision,
        (slot, cells): (Slot, &[f64]),
        (offset, now): (Offset, Timestamp),
        hasher: &mut Hasher,
    ) -> bool {
        self.conflicts = 0;
        let mut discarded = false;
        match decision {
            Decision::Duplicate => return false,
            Decision::Hold => {
                discarded = self.held.is_some();
                self.held = Some(Box::new(Held::new(slot, cells, offset)));
                self.rehash(hasher);
                return discarded;
            }
            Decision::FillCells => self.rows.fill_cells((slot, cells), hasher),
            Decision::FillSlot => self.rows.fill_slot((slot, cells), offset, hasher),
            Decision::FillHeld => {
                if let Some(held) = &mut self.held {
                    overwrite(&mut held.cells, cells);
                }
            }
            Decision::Fold => {
                discarded = self.held.take().is_some();
                self.rows.advance((slot, cells), offset, hasher);
            }
            Decision::FoldWithHeld => {
                if let Some(held) = self.held.take() {
                    self.rows
                        .advance((held.slot, &held.cells), held.offset, hasher);
                }
                self.rows.advance((slot, cells), offset, hasher);
            }
        }
        self.last_change = now;
        self.rehash(hasher);
        discarded
    }

    /// Counts a rejection. True when it completes a run of `collapse_after` conflicts.
    pub(super) fn rejected(&mut self, rejection: Rejection, collapse_after: u32) -> bool {
        if rejection != Rejection::ConflictingDuplicate {
            self.conflicts = 0;
            return false;
        }
        self.conflicts = self.conflicts.saturating_add(1);
        self.conflicts == collapse_after
    }

    fn rehash(&mut self, hasher: &mut Hasher) {
        self.hash = hasher.series(&SeriesParts {
            name: &self.name,
            newest: self.rows.newest(),
            held: self.held.as_ref().map(|held| (held.slot, &*held.cells)),
            last_change: self.last_change,
            window_hash: self.rows.hash(),
        });
    }
}

/// What a record does whose slot is known.
fn against(
    comparison: Comparison,
    fill: Decision,
    config: &WindowConfig,
) -> Result<Decision, Rejection> {
    let Comparison { conflicts, fills } = comparison;
    match config.settings().on_conflict {
        ConflictPolicy::Keep if conflicts => Err(Rejection::ConflictingDuplicate),
        ConflictPolicy::Keep | ConflictPolicy::Replace if conflicts || fills => Ok(fill),
        ConflictPolicy::Keep | ConflictPolicy::Replace => Ok(Decision::Duplicate),
    }
}

/// Two series are equal when every later record meets the same in both. Where a row came from
/// (its offset) does not count, and neither does the run of conflicts, which only alarms.
impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            name,
            rows,
            held,
            last_change,
            hash: _,
            conflicts: _,
        } = self;
        let same_held = match (held, &other.held) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => {
                mine.slot == theirs.slot && same_bits(&mine.cells, &theirs.cells)
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        let same_rows = || {
            let mine = rows.iter().map(|(slot, _, cells)| (slot, cells));
            let theirs = other.rows.iter().map(|(slot, _, cells)| (slot, cells));
            mine.clone().count() == theirs.clone().count()
                && mine
                    .zip(theirs)
                    .all(|(a, b)| a.0 == b.0 && same_bits(a.1, b.1))
        };
        *name == other.name
            && rows.newest() == other.rows.newest()
            && *last_change == other.last_change
            && same_held
            && same_rows()
    }
}

fn same_bits(mine: &[f64], theirs: &[f64]) -> bool {
    mine.iter()
        .map(|cell| cell.to_bits())
        .eq(theirs.iter().map(|cell| cell.to_bits()))
}
