//! The offset of each row of a ring, in four bytes a row where they lie close enough.
//!
//! Offsets of one series' rows are far apart only where a partition has more than four thousand million records
//! within a window's span. Then, and for that series alone, each takes eight bytes.

/// In the place of a distance: there is no row.
const NO_ROW: u32 = u32::MAX;

/// In the place of an offset: there is no row. Above every offset, so that a minimum needs no test for it.
const NO_OFFSET: i64 = i64::MAX;

/// The offsets of a ring's rows by place; a place without a row has none.
#[derive(Clone, Debug)]
pub(super) enum RowOffsets {
    /// As distances from the base, which is at or below each of them.
    Near { base: i64, above: Box<[u32]> },
    /// As they are; [`NO_OFFSET`] without a row.
    Far(Box<[i64]>),
}

impl RowOffsets {
    /// No row in any of so many places; `base` is the lowest offset that is expected.
    pub(super) fn new(places: usize, base: i64) -> Self {
        Self::Near {
            base,
            above: vec![NO_ROW; places].into_boxed_slice(),
        }
    }

    /// These offsets; one below zero says that there is no row.
    pub(super) fn of(offsets: &[i64]) -> Self {
        let base = offsets.iter().copied().filter(|offset| *offset >= 0).min();
        let mut all = Self::new(offsets.len(), base.unwrap_or(0));
        for (place, offset) in offsets.iter().enumerate() {
            if *offset >= 0 {
                all.set(place, *offset);
            }
        }
        all
    }

    /// Number of places.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Near { above, .. } => above.len(),
            Self::Far(offsets) => offsets.len(),
        }
    }

    /// Bytes of the numbers.
    pub(super) fn byte_len(&self) -> usize {
        match self {
            Self::Near { above, .. } => size_of_val(&**above),
            Self::Far(offsets) => size_of_val(&**offsets),
        }
    }

    /// Whether there is a row.
    pub(super) fn has(&self, place: usize) -> bool {
        match self {
            Self::Near { above, .. } => above[place] != NO_ROW,
            Self::Far(offsets) => offsets[place] != NO_OFFSET,
        }
    }

    /// The offset of the row, if there is one.
    pub(super) fn get(&self, place: usize) -> Option<i64> {
        match self {
            Self::Near { base, above } => {
                let above = above[place];
                (above != NO_ROW).then(|| base + i64::from(above))
            }
            Self::Far(offsets) => {
                let offset = offsets[place];
                (offset != NO_OFFSET).then_some(offset)
            }
        }
    }

    /// Puts a row there.
    pub(super) fn set(&mut self, place: usize, offset: i64) {
        match self {
            Self::Near { base, above } => {
                if let Some(distance) = distance(*base, offset) {
                    above[place] = distance;
                } else {
                    self.set_with_another_base(place, offset);
                }
            }
            Self::Far(offsets) => offsets[place] = offset,
        }
    }

    /// Takes the row out.
    pub(super) fn forget(&mut self, place: usize) {
        match self {
            Self::Near { above, .. } => above[place] = NO_ROW,
            Self::Far(offsets) => offsets[place] = NO_OFFSET,
        }
    }

    /// Takes every row out.
    pub(super) fn forget_all(&mut self) {
        match self {
            Self::Near { above, .. } => above.fill(NO_ROW),
            Self::Far(offsets) => offsets.fill(NO_OFFSET),
        }
    }

    /// The lowest of all.
    pub(super) fn lowest(&self) -> Option<i64> {
        match self {
            Self::Near { base, above } => {
                let lowest = above.iter().copied().min()?;
                (lowest != NO_ROW).then(|| base + i64::from(lowest))
            }
            Self::Far(offsets) => {
                let lowest = offsets.iter().copied().min()?;
                (lowest != NO_OFFSET).then_some(lowest)
            }
        }
    }

    /// From the lowest offset on, now that this one is too far from the base. Once in so many records that
    /// it costs nothing.
    #[cold]
    fn set_with_another_base(&mut self, place: usize, offset: i64) {
        let others = (0..self.len()).filter(|other| *other != place);
        let known = others.filter_map(|other| Some((other, self.get(other)?)));
        let all: Vec<(usize, i64)> = known.chain([(place, offset)]).collect();
        let base = all.iter().map(|(_, one)| *one).min().unwrap_or(offset);
        let fits = all.iter().all(|(_, one)| distance(base, *one).is_some());
        let mut moved = if fits {
            Self::new(self.len(), base)
        } else {
            Self::Far(vec![NO_OFFSET; self.len()].into_boxed_slice())
        };
        for (at, one) in all {
            moved.set(at, one);
        }
        *self = moved;
    }
}

/// How far above the base the offset is, where four bytes can say it.
fn distance(base: i64, offset: i64) -> Option<u32> {
    let distance = u32::try_from(offset.checked_sub(base)?).ok()?;
    (distance != NO_ROW).then_some(distance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Change {
        Set(usize, i64),
        Forget(usize),
        ForgetAll,
    }

    const PLACES: usize = 5;

    fn change() -> impl Strategy<Value = Change> {
        let reach = i64::from(u32::MAX);
        let offset = prop_oneof![
            0..10_i64,
            reach - 3..reach + 3,
            3 * reach..3 * reach + 5,
            Just(i64::MAX - 1),
        ];
        prop_oneof![
            8 => (0..PLACES, offset).prop_map(|(place, offset)| Change::Set(place, offset)),
            4 => (0..PLACES).prop_map(Change::Forget),
            1 => Just(Change::ForgetAll),
        ]
    }

    proptest! {
        #[test]
        fn they_are_the_offsets_that_were_set(
            base in prop_oneof![0..5_i64, Just(i64::from(u32::MAX))],
            changes in proptest::collection::vec(change(), 0..40),
        ) {
            let mut offsets = RowOffsets::new(PLACES, base);
            let mut plain = [None; PLACES];
            for change in changes {
                match change {
                    Change::Set(place, offset) => {
                        offsets.set(place, offset);
                        plain[place] = Some(offset);
                    }
                    Change::Forget(place) => {
                        offsets.forget(place);
                        plain[place] = None;
                    }
                    Change::ForgetAll => {
                        offsets.forget_all();
                        plain = [None; PLACES];
                    }
                }
                let found: Vec<_> = (0..PLACES).map(|place| offsets.get(place)).collect();
                prop_assert_eq!(&found[..], &plain[..]);
                prop_assert_eq!(offsets.lowest(), plain.iter().flatten().copied().min());
            }
            let signed: Vec<i64> = plain.iter().map(|offset| offset.unwrap_or(-1)).collect();
            let again = RowOffsets::of(&signed);
            let found: Vec<_> = (0..PLACES).map(|place| again.get(place)).collect();
            prop_assert_eq!(&found[..], &plain[..]);
        }
    }

    #[test]
    fn a_row_takes_four_bytes_until_one_is_too_far_away() {
        let mut offsets = RowOffsets::new(3, 7);
        offsets.set(0, 7);
        offsets.set(1, 7 + i64::from(u32::MAX) - 1);
        assert_eq!(offsets.byte_len(), 12);
        // The lowest one is gone, so another base will do.
        offsets.forget(0);
        offsets.set(2, 7 + i64::from(u32::MAX));
        assert_eq!(offsets.byte_len(), 12);
        offsets.set(0, 1);
        assert_eq!(offsets.byte_len(), 24);
    }
}
