//! A series as a model and an operator see it.

use super::config::WindowConfig;
use super::series::Series;
use crate::domain::{Offset, Slot, Timestamp};

/// The window of one series, as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    config: &'a WindowConfig,
    series: &'a Series,
    lowest: Offset,
}

impl<'a> Window<'a> {
    pub(super) const fn new(config: &'a WindowConfig, series: &'a Series, lowest: Offset) -> Self {
        Self {
            config,
            series,
            lowest,
        }
    }

    /// The name of the series.
    pub fn series(&self) -> &'a str {
        &self.series.name
    }

    /// The newest known slot: the origin of a forecast.
    pub fn newest(&self) -> Slot {
        self.series.rows.newest()
    }

    /// `window_hash`: wrapping sum of the hashes of every kept row, before imputation and scaling;
    /// see the table in `checksum`.
    pub fn hash(&self) -> u64 {
        self.series.rows.hash()
    }

    /// The lowest offset of the records that made the kept rows.
    pub const fn lowest_offset(&self) -> Offset {
        self.lowest
    }

    /// Stream time of the last fold or fill.
    pub fn last_change(&self) -> Timestamp {
        self.series.last_change
    }

    /// The known rows, oldest first: slot, lowest offset, and a cell per feature that is NaN where
    /// it is missing.
    pub fn rows(&self) -> impl Iterator<Item = (Slot, Offset, &'a [f64])> + use<'a> {
        let rows = self.series.rows.iter();
        rows.filter_map(|(slot, offset, cells)| Some((slot, Offset::new(offset)?, cells)))
    }

    /// A cell per feature of a kept slot, NaN where it is missing; `None` where no row is known.
    pub fn cells(&self, slot: Slot) -> Option<&'a [f64]> {
        self.series.rows.get(slot)
    }

    /// The record that is held aside: slot, offset, cells.
    pub fn held(&self) -> Option<(Slot, Offset, &'a [f64])> {
        self.series.held()
    }

    /// Copies the newest `length` slots of the chosen features to `out`, row-major, oldest first,
    /// unscaled, and answers how many cells were imputed. `None`, with `out` in any state, when
    /// more is missing than `gap_max` steps back can fill or than `imputed_max` allows.
    ///
    /// `length` is at most the configured one, `features` are below the configured number, and
    /// `out` has `length x features.len()` places.
    pub fn complete(
        &self,
        length: usize,
        features: &[usize],
        imputed_max: Option<u32>,
        out: &mut [f64],
    ) -> Option<u32> {
        assert!(
            length <= self.config.length() && out.len() == length * features.len(),
            "a window of {length} slots and {} features of windows of {} slots was asked for in \
             {} places",
            features.len(),
            self.config.length(),
            out.len()
        );
        self.copy(length, features, out);
        if !any_missing(out) {
            return Some(0);
        }
        let most = imputed_max.unwrap_or(u32::MAX);
        let mut imputed = 0_u32;
        for (index, cell) in out.iter_mut().enumerate() {
            if !cell.is_nan() {
                continue;
            }
            let back = length - 1 - index / features.len();
            *cell = self.last_value(back, features[index % features.len()])?;
            imputed = imputed.saturating_add(1);
            if imputed > most {
                return None;
            }
        }
        Some(imputed)
    }

    fn copy(&self, length: usize, features: &[usize], out: &mut [f64]) {
        let width = self.config.features();
        let (older, newer) = self.series.rows.newest_cells(length);
        let all_in_order = features.len() == width
            && features
                .iter()
                .enumerate()
                .all(|(place, feature)| place == *feature);
        if all_in_order {
            let (first, second) = out.split_at_mut(older.len());
            first.copy_from_slice(older);
            second.copy_from_slice(newer);
            return;
        }
        if features.is_empty() {
            return;
        }
        let rows = older.chunks_exact(width).chain(newer.chunks_exact(width));
        for (cells, row) in out.chunks_exact_mut(features.len()).zip(rows) {
            for (cell, feature) in cells.iter_mut().zip(features) {
                *cell = row[*feature];
            }
        }
    }

    /// The last value of a feature before the slot `back` steps before the newest, at most
    /// `gap_max` steps before that.
    fn last_value(&self, back: usize, feature: usize) -> Option<f64> {
        (1..=self.config.gap_max())
            .map(|step| self.series.rows.cell(back + step, feature))
            .find(|cell| !cell.is_nan())
    }
}

/// In blocks that the compiler turns into vector compares.
fn any_missing(cells: &[f64]) -> bool {
    const LANES: usize = 16;
    let blocks = cells.chunks_exact(LANES);
    let rest = blocks.remainder();
    let missing = |block: &[f64]| block.iter().fold(false, |any, cell| any | cell.is_nan());
    blocks.into_iter().any(missing) || missing(rest)
}
