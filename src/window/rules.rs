//! The rules that need no state: the first half of the table of outcomes, in its order.
//!
//! Every "now" in them is the record's own timestamp. They allocate nothing and read no clock.

use super::checksum::stored;
use super::config::{MissingPolicy, WindowConfig};
use crate::domain::{Reading, Rejection, Slot, Timestamp};

/// Longest name of a series, in bytes.
pub const SERIES_BYTES_MAX: usize = 256;

/// Observations before 2000-01-01T00:00:00Z are refused: they are clocks that were never set, or
/// seconds taken for milliseconds.
pub const EARLIEST: Timestamp = Timestamp(946_684_800_000);

/// A name that a series can have.
pub(super) fn is_series(name: &str) -> bool {
    (1..=SERIES_BYTES_MAX).contains(&name.len())
}

/// A value as it is stored: finite and no negative zero, or missing.
pub(super) fn is_cell(cell: f64) -> bool {
    cell.to_bits() == stored(cell.is_finite().then_some(cell)).to_bits()
}

/// The observation's time and its record's timestamp, if both are there and agree.
pub(super) fn time(
    time: Option<Timestamp>,
    timestamp: Option<Timestamp>,
    config: &WindowConfig,
) -> Result<(Timestamp, Timestamp), Rejection> {
    let (Some(time), Some(timestamp)) = (time, timestamp) else {
        return Err(Rejection::TimeOutOfRange);
    };
    let latest = timestamp.0.saturating_add(config.settings().future_max_ms);
    if time < EARLIEST || time.0 > latest {
        return Err(Rejection::TimeOutOfRange);
    }
    Ok((time, timestamp))
}

/// Copies the cells into `cells` as they are stored.
pub(super) fn cells(
    reading: &Reading<'_>,
    config: &WindowConfig,
    cells: &mut [f64],
) -> Result<(), Rejection> {
    assert!(
        reading.cells.len() == cells.len(),
        "a reading has {} cells, the windows keep {} features",
        reading.cells.len(),
        cells.len()
    );
    let mut finite = true;
    let mut missing = false;
    for (cell, read) in cells.iter_mut().zip(reading.cells) {
        finite &= read.is_none_or(f64::is_finite);
        missing |= read.is_none();
        *cell = stored(*read);
    }
    if !finite {
        return Err(Rejection::NotFinite);
    }
    match config.settings().missing {
        MissingPolicy::Reject if missing => Err(Rejection::MissingValue),
        MissingPolicy::Reject | MissingPolicy::Impute => Ok(()),
    }
}

/// The slot that the time snaps to.
pub(super) fn slot(time: Timestamp, config: &WindowConfig) -> Result<Slot, Rejection> {
    let (slot, distance_ms) = config.grid().nearest(time);
    if distance_ms > config.settings().grid_tolerance_ms {
        return Err(Rejection::OffGrid);
    }
    Ok(slot)
}
