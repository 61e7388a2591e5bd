//! The bounds of the keys of `[window]`: `config` reads the keys by them, `window` checks its settings
//! by them, so that no configuration is accepted and refused later.

use super::Grid;

/// Most slots that a model may ask for.
pub const WINDOW_LENGTH_MAX: usize = 10_000;
/// Most slots kept beyond that.
pub const WINDOW_GAP_MAX: usize = 10_000;
/// Most features.
pub const WINDOW_FEATURES_MAX: usize = 256;
/// Highest `series_max` of a partition; the table numbers its series with 32 bits.
pub const WINDOW_SERIES_MAX: usize = 10_000_000;

/// The bounds that follow from the grid and from the number of slots that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the unit is part of each name")]
pub struct WindowBounds {
    /// Time that the kept slots of a series cover.
    pub span_ms: i64,
    /// Highest `future_max`: a quarter of the span.
    pub future_max_most_ms: i64,
    /// `future_max` unless configured: one step, where a quarter of the span is as long.
    pub future_max_default_ms: i64,
    /// Highest `grid_tolerance`: below half a step, where a time belongs to two slots.
    pub grid_tolerance_most_ms: i64,
    /// Lowest `series_idle`, and what it is unless configured: twice the span.
    pub series_idle_least_ms: i64,
}

impl WindowBounds {
    /// Of windows that keep `slots` slots.
    pub fn new(grid: Grid, slots: usize) -> Self {
        let step_ms = grid.step_ms();
        let span_ms = i64::try_from(slots)
            .unwrap_or(i64::MAX)
            .saturating_mul(step_ms);
        Self {
            span_ms,
            future_max_most_ms: span_ms / 4,
            future_max_default_ms: step_ms.min(span_ms / 4),
            grid_tolerance_most_ms: (step_ms - 1) / 2,
            series_idle_least_ms: span_ms.saturating_mul(2),
        }
    }
}
