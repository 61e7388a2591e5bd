//! What the fold of a partition is told: the grid, the size of the windows and the policies.
//!
//! [`WindowSettings`] is plain numbers that anyone may fill in; [`WindowConfig`] is the same after
//! every bound was checked, and the only form that a [`super::Table`] takes. Its hash goes into the
//! commit metadata, so that a state is never compared with one that other rules made.

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{
    Grid, WINDOW_FEATURES_MAX, WINDOW_GAP_MAX, WINDOW_LENGTH_MAX, WINDOW_SERIES_MAX, WindowBounds,
};

/// What becomes of a record that lacks a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingPolicy {
    /// Its cell is missing; forecasts impute it.
    Impute,
    /// The record is rejected as `missing_value`.
    Reject,
}

/// What becomes of a record that says something else about a known cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// The first value stays; the record is rejected as `conflicting_duplicate`.
    Keep,
    /// The cells that the record has are overwritten.
    Replace,
}

/// The keys that the fold reads, not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSettings {
    pub grid: Grid,
    /// Slots of the longest model window, at least 1.
    pub length: usize,
    /// Longest run of missing steps that imputation bridges. The table keeps `length + gap_max` slots.
    pub gap_max: usize,
    /// Number of features, at least 1: the cells of one slot.
    pub features: usize,
    /// How far an observation's time may lie after its record's timestamp.
    pub future_max_ms: i64,
    /// How far a time may lie off the grid, below half a step.
    pub grid_tolerance_ms: i64,
    /// Most series in one partition.
    pub series_max: usize,
    /// Stream time after the last change of a series until it is dropped.
    pub series_idle_ms: i64,
    pub missing: MissingPolicy,
    pub on_conflict: ConflictPolicy,
    /// Conflicting duplicates in a row of one series that raise the collapse alarm, at least 1.
    pub collapse_after: u32,
}

impl WindowSettings {
    /// Series of a partition unless the configuration says otherwise.
    pub const SERIES_MAX_DEFAULT: usize = 100_000;
    /// Conflicting duplicates in a row unless the configuration says otherwise.
    pub const COLLAPSE_AFTER_DEFAULT: u32 = 5;

    /// Settings with every default of the product.
    pub fn new(grid: Grid, length: usize, gap_max: usize, features: usize) -> Self {
        let bounds = WindowBounds::new(grid, length.saturating_add(gap_max));
        Self {
            grid,
            length,
            gap_max,
            features,
            future_max_ms: bounds.future_max_default_ms,
            grid_tolerance_ms: grid.step_ms() / 10,
            series_max: Self::SERIES_MAX_DEFAULT,
            series_idle_ms: bounds.series_idle_least_ms,
            missing: MissingPolicy::Impute,
            on_conflict: ConflictPolicy::Keep,
            collapse_after: Self::COLLAPSE_AFTER_DEFAULT,
        }
    }
}

/// Why settings do not make a [`WindowConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowConfigError {
    #[error("length is {length} steps; it must be from 1 to {WINDOW_LENGTH_MAX}")]
    Length { length: usize },
    #[error("gap_max is {gap_max} steps; it must be from 0 to {WINDOW_GAP_MAX}")]
    GapMax { gap_max: usize },
    #[error("{features} features are configured; name from 1 to {WINDOW_FEATURES_MAX}")]
    Features { features: usize },
    #[error(
        "future_max is {future_max_ms} ms; it must be from 0 to {most_ms} ms, a quarter of the \
         window"
    )]
    FutureMax { future_max_ms: i64, most_ms: i64 },
    #[error(
        "grid_tolerance is {grid_tolerance_ms} ms; it must be from 0 to {most_ms} ms, below half a step"
    )]
    GridTolerance {
        grid_tolerance_ms: i64,
        most_ms: i64,
    },
    #[error("series_max is {series_max}; it must be from 1 to {WINDOW_SERIES_MAX}")]
    SeriesMax { series_max: usize },
    #[error(
        "series_idle is {series_idle_ms} ms; it must be at least twice the window's span, {least_ms} ms"
    )]
    SeriesIdle { series_idle_ms: i64, least_ms: i64 },
    #[error("collapse_after is 0; it must be at least 1")]
    NoCollapseAfter,
}

/// The checked keys that the fold reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowConfig {
    settings: WindowSettings,
    /// `length + gap_max`.
    rows: usize,
}

impl WindowConfig {
    /// # Errors
    /// The first bound that does not hold.
    pub fn new(settings: WindowSettings) -> Result<Self, WindowConfigError> {
        let WindowSettings {
            grid,
            length,
            gap_max,
            features,
            future_max_ms,
            grid_tolerance_ms,
            series_max,
            series_idle_ms,
            missing: _,
            on_conflict: _,
            collapse_after,
        } = settings;
        let rows = checked_rows(length, gap_max, features)?;
        let bounds = WindowBounds::new(grid, rows);
        let future_most_ms = bounds.future_max_most_ms;
        if !(0..=future_most_ms).contains(&future_max_ms) {
            return Err(WindowConfigError::FutureMax {
                future_max_ms,
                most_ms: future_most_ms,
            });
        }
        let tolerance_most_ms = bounds.grid_tolerance_most_ms;
        if !(0..=tolerance_most_ms).contains(&grid_tolerance_ms) {
            return Err(WindowConfigError::GridTolerance {
                grid_tolerance_ms,
                most_ms: tolerance_most_ms,
            });
        }
        if !(1..=WINDOW_SERIES_MAX).contains(&series_max) {
            return Err(WindowConfigError::SeriesMax { series_max });
        }
        let least_ms = bounds.series_idle_least_ms;
        if series_idle_ms < least_ms {
            return Err(WindowConfigError::SeriesIdle {
                series_idle_ms,
                least_ms,
            });
        }
        if collapse_after == 0 {
            return Err(WindowConfigError::NoCollapseAfter);
        }
        Ok(Self { settings, rows })
    }

    pub const fn grid(&self) -> Grid {
        self.settings.grid
    }

    /// Slots of the longest model window.
    pub const fn length(&self) -> usize {
        self.settings.length
    }

    /// Most steps that imputation looks back.
    pub const fn gap_max(&self) -> usize {
        self.settings.gap_max
    }

    /// Cells of one slot.
    pub const fn features(&self) -> usize {
        self.settings.features
    }

    /// Slots kept for a series: `length + gap_max`.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The settings that were checked.
    pub const fn settings(&self) -> &WindowSettings {
        &self.settings
    }

    /// Hash of every key that the fold reads. `more` is what the fold reads from elsewhere: the
    /// names of features and fields and the limits of the decoder, in a layout of the caller's.
    ///
    /// xxh3-64, seed 0, of, little-endian: `step_ms`, `phase_ms` (i64), `length`, `gap_max`,
    /// `features` (u64), `future_max_ms`, `grid_tolerance_ms` (i64), `series_max` (u64),
    /// `series_idle_ms` (i64), `missing` (u8: 0 impute, 1 reject), `on_conflict` (u8: 0 keep,
    /// 1 replace), then `more`. `collapse_after` is left out: it raises an alarm and no more.
    pub fn config_hash(&self, more: &[u8]) -> u64 {
        let WindowSettings {
            grid,
            length,
            gap_max,
            features,
            future_max_ms,
            grid_tolerance_ms,
            series_max,
            series_idle_ms,
            missing,
            on_conflict,
            collapse_after: _,
        } = self.settings;
        let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX).to_le_bytes();
        let mut bytes = Vec::with_capacity(74 + more.len());
        bytes.extend_from_slice(&grid.step_ms().to_le_bytes());
        bytes.extend_from_slice(&grid.phase_ms().to_le_bytes());
        bytes.extend_from_slice(&count(length));
        bytes.extend_from_slice(&count(gap_max));
        bytes.extend_from_slice(&count(features));
        bytes.extend_from_slice(&future_max_ms.to_le_bytes());
        bytes.extend_from_slice(&grid_tolerance_ms.to_le_bytes());
        bytes.extend_from_slice(&count(series_max));
        bytes.extend_from_slice(&series_idle_ms.to_le_bytes());
        bytes.push(match missing {
            MissingPolicy::Impute => 0,
            MissingPolicy::Reject => 1,
        });
        bytes.push(match on_conflict {
            ConflictPolicy::Keep => 0,
            ConflictPolicy::Replace => 1,
        });
        bytes.extend_from_slice(more);
        xxh3_64(&bytes)
    }
}

fn checked_rows(
    length: usize,
    gap_max: usize,
    features: usize,
) -> Result<usize, WindowConfigError> {
    if !(1..=WINDOW_LENGTH_MAX).contains(&length) {
        return Err(WindowConfigError::Length { length });
    }
    if gap_max > WINDOW_GAP_MAX {
        return Err(WindowConfigError::GapMax { gap_max });
    }
    if !(1..=WINDOW_FEATURES_MAX).contains(&features) {
        return Err(WindowConfigError::Features { features });
    }
    Ok(length + gap_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> WindowSettings {
        WindowSettings::new(Grid::new(1_000, 0).unwrap(), 10, 2, 3)
    }

    #[test]
    fn defaults_are_valid_for_every_small_window() {
        for length in 1..6 {
            for gap_max in 0..6 {
                let grid = Grid::new(1_000, 999).unwrap();
                let config = WindowConfig::new(WindowSettings::new(grid, length, gap_max, 1));
                assert_eq!(config.unwrap().rows(), length + gap_max);
            }
        }
    }

    #[test]
    fn each_bound_is_held_at_its_edge() {
        type Change = fn(&mut WindowSettings);
        let good: [Change; 5] = [
            |s| s.future_max_ms = 3_000,
            |s| s.future_max_ms = 0,
            |s| s.grid_tolerance_ms = 499,
            |s| s.series_idle_ms = 24_000,
            |s| s.series_max = 1,
        ];
        for change in good {
            let mut settings = settings();
            change(&mut settings);
            assert!(WindowConfig::new(settings).is_ok(), "{settings:?}");
        }
        let bad: [(Change, &str); 10] = [
            (|s| s.length = 0, "from 1 to 10000"),
            (|s| s.gap_max = 10_001, "from 0 to 10000"),
            (|s| s.features = 0, "from 1 to 256"),
            (|s| s.features = 257, "from 1 to 256"),
            (|s| s.future_max_ms = 3_001, "from 0 to 3000 ms"),
            (|s| s.future_max_ms = -1, "from 0 to 3000 ms"),
            (|s| s.grid_tolerance_ms = 500, "499 ms, below half a step"),
            (|s| s.series_max = 0, "series_max is 0"),
            (|s| s.series_idle_ms = 23_999, "24000 ms"),
            (|s| s.collapse_after = 0, "at least 1"),
        ];
        for (change, message) in bad {
            let mut settings = settings();
            change(&mut settings);
            let error = WindowConfig::new(settings).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    /// Hashes of the documented bytes by Python's struct and xxhash. They are in the commit metadata
    /// of running workers: another hash for the same keys makes their next restore unproven.
    #[test]
    fn the_hash_of_a_configuration_is_the_one_that_it_always_had() {
        let hash = |settings, more| WindowConfig::new(settings).unwrap().config_hash(more);
        assert_eq!(hash(settings(), b"more"), 0xb9ad_220f_e38a_fbbc);
        let grid = Grid::new(120_000, 60_000).unwrap();
        let other = WindowSettings {
            grid_tolerance_ms: 12_000,
            series_max: 7,
            series_idle_ms: 99_999_999,
            missing: MissingPolicy::Reject,
            on_conflict: ConflictPolicy::Replace,
            ..WindowSettings::new(grid, 64, 4, 11)
        };
        assert_eq!(hash(other, b""), 0x9671_ce46_a432_a0a3);
    }

    #[test]
    fn the_hash_changes_with_every_key_of_the_fold_and_with_nothing_else() {
        type Change = fn(&mut WindowSettings);
        let of = |settings| WindowConfig::new(settings).unwrap().config_hash(b"more");
        let changes: [Change; 11] = [
            |s| s.grid = Grid::new(1_001, 0).unwrap(),
            |s| s.grid = Grid::new(1_000, 1).unwrap(),
            |s| s.length = 9,
            |s| s.gap_max = 1,
            |s| s.features = 4,
            |s| s.future_max_ms = 1,
            |s| s.grid_tolerance_ms = 1,
            |s| s.series_max = 7,
            |s| s.series_idle_ms = i64::MAX,
            |s| s.missing = MissingPolicy::Reject,
            |s| s.on_conflict = ConflictPolicy::Replace,
        ];
        let mut settings = settings();
        settings.series_idle_ms = 1_000_000;
        let mut seen = vec![of(settings)];
        for change in changes {
            let mut other = settings;
            change(&mut other);
            seen.push(of(other));
        }
        seen.push(WindowConfig::new(settings).unwrap().config_hash(b"other"));
        settings.collapse_after = 77;
        assert_eq!(of(settings), seen[0]);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 13);
    }
}
