//! The last outcomes of each series, for people who ask why: beside the windows, and no part of the state.
//!
//! Nothing is decided by them and nothing proves them. A series has [`KEPT`] in 48 bytes. Records that name
//! no series of the table, such as undecodable ones, are kept by their key, for the [`STRAYS_MAX`] keys that
//! came last.

use std::collections::{HashMap, VecDeque};

use crate::domain::{Offset, Outcome};
use crate::window::{SERIES_BYTES_MAX, SeriesKey};

/// Outcomes kept of a series.
pub(super) const KEPT: usize = 8;
/// Keys that have outcomes and no series.
const STRAYS_MAX: usize = 1_024;

/// The last outcomes of a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    of_series: Vec<Ring>,
    strays: HashMap<Box<[u8]>, Ring>,
    /// The keys of the strays, the first to be dropped first.
    order: VecDeque<Box<[u8]>>,
}

/// The last outcomes of one series, newest first.
#[derive(Clone, Copy, Debug)]
struct Ring {
    newest: i64,
    /// How far each offset lies below the one before it.
    below: [u32; KEPT - 1],
    outcomes: [Outcome; KEPT],
    len: u8,
}

impl Ring {
    const EMPTY: Self = Self {
        newest: 0,
        below: [0; KEPT - 1],
        outcomes: [Outcome::Folded; KEPT],
        len: 0,
    };

    fn push(&mut self, offset: Offset, outcome: Outcome) {
        let below = offset.get().saturating_sub(self.newest);
        self.below.copy_within(..KEPT - 2, 1);
        self.below[0] = u32::try_from(below).unwrap_or(u32::MAX);
        self.outcomes.copy_within(..KEPT - 1, 1);
        self.outcomes[0] = outcome;
        self.newest = offset.get();
        if usize::from(self.len) < KEPT {
            self.len += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (Offset, Outcome)> {
        let below = self.below.iter();
        let offsets = below.scan(Some(self.newest), |offset, below| {
            let this = (*offset)?;
            // Farther apart than is kept: where the older ones were is not known.
            *offset = (*below < u32::MAX).then(|| this - i64::from(*below));
            *offset
        });
        std::iter::once(self.newest)
            .chain(offsets)
            .zip(self.outcomes)
            .take(usize::from(self.len))
            .filter_map(|(offset, outcome)| Some((Offset::new(offset)?, outcome)))
    }

    /// Puts another outcome in the place of that at `offset`, if it is kept.
    fn correct(&mut self, offset: Offset, outcome: Outcome) {
        let place = self.iter().position(|(at, _)| at == offset);
        if let Some(place) = place {
            self.outcomes[place] = outcome;
        }
    }
}

impl Recent {
    /// Notes the outcome of a record of a series.
    pub(super) fn note(&mut self, series: SeriesKey, at: (Offset, Outcome)) {
        if let Some(ring) = self.of_series.get_mut(series.index()) {
            ring.push(at.0, at.1);
        }
    }

    /// Notes the outcome of the first record of a series, whose number may have been another one's.
    pub(super) fn note_first(&mut self, series: SeriesKey, at: (Offset, Outcome)) {
        let index = series.index();
        if index >= self.of_series.len() {
            self.of_series.resize(index + 1, Ring::EMPTY);
        }
        self.of_series[index] = Ring::EMPTY;
        self.of_series[index].push(at.0, at.1);
    }

    /// Notes the outcome of a record that is of no series of the table.
    pub(super) fn note_stray(&mut self, name: &[u8], at: (Offset, Outcome)) {
        if name.len() > SERIES_BYTES_MAX {
            return;
        }
        if let Some(ring) = self.strays.get_mut(name) {
            ring.push(at.0, at.1);
            return;
        }
        if self.order.len() >= STRAYS_MAX
            && let Some(dropped) = self.order.pop_front()
        {
            self.strays.remove(&dropped);
        }
        let mut ring = Ring::EMPTY;
        ring.push(at.0, at.1);
        self.strays.insert(name.into(), ring);
        self.order.push_back(name.into());
    }

    /// Puts another outcome in the place of the one at this offset.
    pub(super) fn correct(&mut self, series: SeriesKey, at: (Offset, Outcome)) {
        if let Some(ring) = self.of_series.get_mut(series.index()) {
            ring.correct(at.0, at.1);
        }
    }

    /// The last outcomes of records of this name, newest first; `series` is its number in the table.
    pub(super) fn of(&self, name: &str, series: Option<SeriesKey>) -> Vec<(Offset, Outcome)> {
        let known = series.and_then(|series| self.of_series.get(series.index()));
        let stray = self.strays.get(name.as_bytes());
        let rings = known.into_iter().chain(stray);
        let mut found: Vec<_> = rings.flat_map(Ring::iter).collect();
        found.sort_by_key(|(offset, _)| std::cmp::Reverse(*offset));
        found.truncate(KEPT);
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(offset: i64) -> Offset {
        Offset::new(offset).unwrap()
    }

    #[test]
    fn a_ring_is_small() {
        assert_eq!(size_of::<Ring>(), 48);
    }

    proptest! {
        #[test]
        fn a_ring_keeps_the_last_outcomes(
            steps in proptest::collection::vec((1..1_000_000_i64, 0..Outcome::COUNT), 0..40),
        ) {
            let mut ring = Ring::EMPTY;
            let mut all = Vec::new();
            let mut offset = 0;
            for (step, outcome) in steps {
                offset += step;
                let outcome = Outcome::all().nth(outcome).unwrap();
                ring.push(at(offset), outcome);
                all.push((at(offset), outcome));
            }
            let last: Vec<_> = all.into_iter().rev().take(KEPT).collect();
            prop_assert_eq!(ring.iter().collect::<Vec<_>>(), last);
        }
    }

    #[test]
    fn what_lies_too_far_back_is_not_told_at_a_wrong_place() {
        let mut ring = Ring::EMPTY;
        ring.push(at(5), Outcome::Held);
        let far = 5 + i64::from(u32::MAX);
        ring.push(at(far), Outcome::Folded);
        ring.push(at(far + 1), Outcome::Forecast);
        let found: Vec<_> = ring.iter().collect();
        assert_eq!(
            found,
            [(at(far + 1), Outcome::Forecast), (at(far), Outcome::Folded)]
        );
    }

    #[test]
    fn an_outcome_is_corrected_where_it_is_kept_and_nowhere_else() {
        let mut ring = Ring::EMPTY;
        for offset in 0..10 {
            ring.push(at(offset), Outcome::Forecast);
        }
        ring.correct(at(7), Outcome::Expired);
        ring.correct(at(0), Outcome::ForecastFailed);
        let expired: Vec<_> = ring
            .iter()
            .filter(|(_, it)| *it != Outcome::Forecast)
            .collect();
        assert_eq!(expired, [(at(7), Outcome::Expired)]);
    }

    #[test]
    fn keys_without_a_series_are_bounded_and_the_oldest_goes_first() {
        let mut recent = Recent::default();
        for number in 0..=i64::try_from(STRAYS_MAX).unwrap() {
            let at = (at(number), Outcome::Tombstone);
            recent.note_stray(format!("key-{number}").as_bytes(), at);
        }
        recent.note_stray(
            &[b'x'; SERIES_BYTES_MAX + 1],
            (at(9_999), Outcome::Tombstone),
        );
        assert_eq!(
            (recent.strays.len(), recent.order.len()),
            (STRAYS_MAX, STRAYS_MAX)
        );
        assert!(recent.of("key-0", None).is_empty());
        assert_eq!(recent.of("key-1", None).len(), 1);
    }
}
