//! The kept slots of one series: a ring of rows in two flat pieces of memory.
//!
//! A row is known or it is not; a known row may still have missing cells. The ring keeps the sum
//! of its row hashes up to date. It knows nothing of rules: [`super::series`] decides what is
//! written here.

use super::checksum::{Hasher, MISSING};
use super::row_offsets::RowOffsets;
use crate::domain::{Offset, Slot};

/// The rows of the slots `newest - rows + 1 ..= newest`. The row at `newest` is always known.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    newest: Slot,
    /// Where the row of the newest slot is; older rows stand before it, and around the end.
    head: usize,
    /// Newest slot that was filled behind the newest one, or `i64::MIN`. Once it has left the ring,
    /// offsets rise with slots and the oldest row has the lowest.
    filled_late: i64,
    /// Wrapping sum of the hashes of the known rows.
    hash: u64,
    features: usize,
    /// Row-major, one row per slot; an unknown row is all [`MISSING`].
    cells: Box<[f64]>,
    /// Lowest offset of the records that made each row; none where the slot has no row.
    offsets: RowOffsets,
}

/// How a new record's cells compare with those of its slot. A cell that the record lacks never
/// differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// A cell that both have differs.
    pub(super) conflicts: bool,
    /// The record has a cell that the slot lacks.
    pub(super) fills: bool,
}

pub(super) fn compare(known: &[f64], cells: &[f64]) -> Comparison {
    let mut comparison = Comparison {
        conflicts: false,
        fills: false,
    };
    for (old, cell) in known.iter().zip(cells) {
        let present = !cell.is_nan();
        comparison.fills |= old.is_nan() & present;
        // Stored zeros have no sign, so values are equal when their bits are.
        let differs = old.to_bits() != cell.to_bits();
        comparison.conflicts |= !old.is_nan() & present & differs;
    }
    comparison
}

/// Writes the cells that the new record has.
pub(super) fn overwrite(known: &mut [f64], cells: &[f64]) {
    for (old, cell) in known.iter_mut().zip(cells) {
        if !cell.is_nan() {
            *old = *cell;
        }
    }
}

impl Rows {
    /// A ring of `rows` slots with one row in it; `cells` has one entry per feature.
    pub(super) fn new(
        rows: usize,
        (slot, cells): (Slot, &[f64]),
        offset: Offset,
        hasher: &mut Hasher,
    ) -> Self {
        let mut ring = Self {
            newest: slot,
            head: 0,
            filled_late: i64::MIN,
            hash: 0,
            features: cells.len(),
            cells: vec![MISSING; rows * cells.len()].into_boxed_slice(),
            offsets: RowOffsets::new(rows, offset.get()),
        };
        ring.write(0, (slot, cells), offset, hasher);
        ring
    }

    pub(super) const fn newest(&self) -> Slot {
        self.newest
    }

    /// Wrapping sum of the row hashes.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Number of slots that are kept.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Bytes of the cells and offsets.
    pub(super) fn byte_len(&self) -> usize {
        size_of_val(&*self.cells) + self.offsets.byte_len()
    }

    /// True for the slots at or before the newest that are kept.
    pub(super) fn keeps(&self, slot: Slot) -> bool {
        self.place(slot).is_some()
    }

    /// The cells of a kept slot; `None` where its row is not known.
    pub(super) fn get(&self, slot: Slot) -> Option<&[f64]> {
        let place = self.place(slot)?;
        self.offsets.has(place).then(|| self.cells_at(place))
    }

    /// The cell of the slot `back` steps before the newest; `back` is below [`Rows::len`].
    pub(super) fn cell(&self, back: usize, feature: usize) -> f64 {
        self.cells_at(self.place_back(back))[feature]
    }

    /// The known rows, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, i64, &[f64])> + Clone {
        (0..self.len()).rev().filter_map(move |back| {
            let place = self.place_back(back);
            let offset = self.offsets.get(place)?;
            let slot = self.newest.plus(-steps(back));
            Some((slot, offset, self.cells_at(place)))
        })
    }

    /// The cells of the newest `length` slots, oldest first, as the two runs in which the ring
    /// holds them. Unknown rows are all missing.
    pub(super) fn newest_cells(&self, length: usize) -> (&[f64], &[f64]) {
        let end = self.head + 1;
        if length <= end {
            (
                &self.cells[(end - length) * self.features..end * self.features],
                &[],
            )
        } else {
            let first = self.len() - (length - end);
            (
                &self.cells[first * self.features..],
                &self.cells[..end * self.features],
            )
        }
    }

    /// The offset of each kept slot, oldest first; `None` where there is no row.
    pub(super) fn offsets_in_order(&self) -> impl Iterator<Item = Option<i64>> {
        let places = (self.head + 1..self.len()).chain(0..=self.head);
        places.map(|place| self.offsets.get(place))
    }

    /// The ring of these rows, oldest first. An offset below zero says that there is no row.
    pub(super) fn of_image(
        newest: Slot,
        offsets: &[i64],
        cells: &[f64],
        hasher: &mut Hasher,
    ) -> Self {
        let mut ring = Self {
            newest,
            head: offsets.len().saturating_sub(1),
            filled_late: i64::MIN,
            hash: 0,
            features: cells.len() / offsets.len().max(1),
            cells: cells.into(),
            offsets: RowOffsets::of(offsets),
        };
        let mut lowest_after = i64::MAX;
        for back in 0..ring.len() {
            let place = ring.place_back(back);
            let Some(offset) = ring.offsets.get(place) else {
                continue;
            };
            let slot = newest.plus(-steps(back));
            if offset > lowest_after {
                ring.filled_late = ring.filled_late.max(slot.0);
            }
            lowest_after = lowest_after.min(offset);
            let hash = hasher.row(slot, ring.cells_at(place));
            ring.hash = ring.hash.wrapping_add(hash);
        }
        ring
    }

    /// Moves the ring on to a slot after the newest and writes its row. What falls out at the far
    /// end is forgotten.
    pub(super) fn advance(
        &mut self,
        (slot, cells): (Slot, &[f64]),
        offset: Offset,
        hasher: &mut Hasher,
    ) {
        debug_assert!(slot > self.newest, "{slot:?} after {:?}", self.newest);
        let rows = self.len();
        match usize::try_from(slot.0.abs_diff(self.newest.0)) {
            Ok(steps_on) if steps_on < rows => {
                for step in 1..=steps_on {
                    self.move_head(hasher);
                    if step < steps_on {
                        self.cells_at_mut(self.head).fill(MISSING);
                    }
                }
            }
            Ok(_) | Err(_) => {
                self.cells.fill(MISSING);
                self.offsets.forget_all();
                self.hash = 0;
            }
        }
        self.newest = slot;
        self.write(self.head, (slot, cells), offset, hasher);
    }

    /// Writes the row of a kept slot that has none.
    pub(super) fn fill_slot(
        &mut self,
        (slot, cells): (Slot, &[f64]),
        offset: Offset,
        hasher: &mut Hasher,
    ) {
        debug_assert!(self.keeps(slot) && self.get(slot).is_none());
        if let Some(place) = self.place(slot) {
            self.filled_late = self.filled_late.max(slot.0);
            self.write(place, (slot, cells), offset, hasher);
        }
    }

    /// Writes the cells that the record has into the row of a known slot.
    pub(super) fn fill_cells(&mut self, (slot, cells): (Slot, &[f64]), hasher: &mut Hasher) {
        let Some(place) = self.place(slot) else {
            return;
        };
        let before = hasher.row(slot, self.cells_at(place));
        overwrite(self.cells_at_mut(place), cells);
        let after = hasher.row(slot, self.cells_at(place));
        self.hash = self.hash.wrapping_sub(before).wrapping_add(after);
    }

    /// The lowest offset of any row.
    pub(super) fn lowest_offset(&self) -> i64 {
        let oldest = self.newest.plus(1 - steps(self.len()));
        let lowest = if self.filled_late >= oldest.0 {
            self.offsets.lowest()
        } else {
            // Offsets rise with slots: the first one is the lowest, and it is nearly always next.
            self.offsets_in_order().flatten().next()
        };
        // The row of the newest slot has one.
        lowest.unwrap_or(i64::MAX)
    }

    fn write(
        &mut self,
        place: usize,
        (slot, cells): (Slot, &[f64]),
        offset: Offset,
        hasher: &mut Hasher,
    ) {
        self.offsets.set(place, offset.get());
        self.cells_at_mut(place).copy_from_slice(cells);
        self.hash = self.hash.wrapping_add(hasher.row(slot, cells));
    }

    /// Moves the newest slot on by one, to where the oldest row is, and takes that row out of the
    /// hash. Its cells are left to be overwritten.
    fn move_head(&mut self, hasher: &mut Hasher) {
        let place = self.place_back(self.len() - 1);
        if self.offsets.has(place) {
            let oldest = self.newest.plus(1 - steps(self.len()));
            let hash = hasher.row(oldest, self.cells_at(place));
            self.hash = self.hash.wrapping_sub(hash);
            self.offsets.forget(place);
        }
        self.newest = self.newest.plus(1);
        self.head = place;
    }

    /// Where the row of a slot is, if the ring keeps it.
    fn place(&self, slot: Slot) -> Option<usize> {
        let back = self.newest.0.checked_sub(slot.0)?;
        let back = usize::try_from(back).ok()?;
        (back < self.len()).then(|| self.place_back(back))
    }

    /// Where the row of the slot `back` steps before the newest is; `back` is below the ring's
    /// length.
    fn place_back(&self, back: usize) -> usize {
        if back <= self.head {
            self.head - back
        } else {
            self.head + self.len() - back
        }
    }

    fn cells_at(&self, place: usize) -> &[f64] {
        &self.cells[place * self.features..][..self.features]
    }

    fn cells_at_mut(&mut self, place: usize) -> &mut [f64] {
        &mut self.cells[place * self.features..][..self.features]
    }
}

/// A number of slots, which [`super::WindowConfig`] keeps small, for slot arithmetic.
fn steps(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
