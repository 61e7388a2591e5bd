//! The bytes that are hashed, and nothing else: what proves that a rebuilt state is the old one.
//!
//! All hashes are xxh3-64 with seed 0; all numbers are little-endian. A cell is the eight bytes of
//! its f64, a missing one is [`MISSING`] (`0x7ff8000000000000`), and -0.0 is written as 0.0.
//!
//! | item | bytes |
//! |---|---|
//! | row hash | slot (i64), then the cells in the order of the features |
//! | `window_hash` of a series | no hash: the wrapping sum of its row hashes, every kept row once |
//! | series hash | length of the name (u64), name (UTF-8), newest slot (i64), held record, stream time of the last change (i64), `window_hash` (u64) |
//! | held record | 0 (u8) when there is none; else 1 (u8), slot (i64), cells |
//! | state checksum | no hash: the wrapping sum of the series hashes; 0 for no series |
//!
//! Offsets are in no hash: they say where a row came from, not what the next record meets.

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{Slot, Timestamp};

/// The value of a missing cell. Compare bits or ask `is_nan`.
pub const MISSING: f64 = f64::from_bits(0x7ff8_0000_0000_0000);

/// A cell as it is stored: [`MISSING`] for none, 0.0 for -0.0.
///
/// The sign of a zero is dropped here and not only in the hash: else two states could have one
/// checksum and give a model different bits.
pub(super) fn stored(cell: Option<f64>) -> f64 {
    // In the default rounding -0.0 + 0.0 is 0.0, and every other number stays what it is.
    cell.map_or(MISSING, |value| value + 0.0)
}

/// Hashes rows and series through memory of its own.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    row: Box<[u8]>,
    series: Vec<u8>,
}

/// The parts of a series hash.
pub(super) struct SeriesParts<'a> {
    pub(super) name: &'a str,
    pub(super) newest: Slot,
    pub(super) held: Option<(Slot, &'a [f64])>,
    pub(super) last_change: Timestamp,
    pub(super) window_hash: u64,
}

impl Hasher {
    /// `features`: the cells of one slot.
    pub(super) fn new(features: usize) -> Self {
        Self {
            row: vec![0; 8 * (1 + features)].into_boxed_slice(),
            series: Vec::new(),
        }
    }

    /// Hash of a row whose cells are as [`stored`] gives them.
    pub(super) fn row(&mut self, slot: Slot, cells: &[f64]) -> u64 {
        debug_assert_eq!(self.row.len(), 8 * (1 + cells.len()));
        let (slot_bytes, cell_bytes) = self.row.split_at_mut(8);
        slot_bytes.copy_from_slice(&slot.0.to_le_bytes());
        for (bytes, cell) in cell_bytes.chunks_exact_mut(8).zip(cells) {
            bytes.copy_from_slice(&cell.to_bits().to_le_bytes());
        }
        xxh3_64(&self.row)
    }

    /// Hash of a series: its contribution to the state checksum.
    pub(super) fn series(&mut self, parts: &SeriesParts<'_>) -> u64 {
        let SeriesParts {
            name,
            newest,
            held,
            last_change,
            window_hash,
        } = parts;
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX);
        self.series.clear();
        self.series.extend_from_slice(&length.to_le_bytes());
        self.series.extend_from_slice(name.as_bytes());
        self.series.extend_from_slice(&newest.0.to_le_bytes());
        match held {
            None => self.series.push(0),
            Some((slot, cells)) => {
                self.series.push(1);
                self.series.extend_from_slice(&slot.0.to_le_bytes());
                for cell in *cells {
                    self.series.extend_from_slice(&cell.to_bits().to_le_bytes());
                }
            }
        }
        self.series.extend_from_slice(&last_change.0.to_le_bytes());
        self.series.extend_from_slice(&window_hash.to_le_bytes());
        xxh3_64(&self.series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected numbers come from Python's `xxhash` 4.1.0 (the C library 0.8.4), which hashed
    /// the bytes that `struct.pack` made from the table at the top of this file.
    #[test]
    fn hashes_are_those_of_the_c_library() {
        let slot = Slot(14_000_123);
        let cells = [Some(1.5), None, Some(-0.0)].map(stored);
        let mut hasher = Hasher::new(3);
        let row = hasher.row(slot, &cells);
        assert_eq!(row, 0x46a0_e54d_5ad3_ecf4);
        let aside = [Some(-2.0), None, Some(1e300)].map(stored);
        for (held, expected) in [
            (None, 0x290a_8313_c390_ae9d),
            (Some((Slot(14_000_130), &aside[..])), 0xb0cc_eafb_00c4_5781),
        ] {
            let parts = SeriesParts {
                name: "cell-\u{e4}",
                newest: slot,
                held,
                last_change: Timestamp(1_700_000_000_000),
                window_hash: row,
            };
            assert_eq!(hasher.series(&parts), expected);
        }
        let wide: Vec<f64> = (0..40).map(|cell| f64::from(cell) / 4.0).collect();
        assert_eq!(Hasher::new(40).row(Slot(7), &wide), 0x4404_9139_1bba_6d23);
    }

    #[test]
    fn only_the_missing_and_the_negative_zero_are_changed_when_stored() {
        assert_eq!(stored(None).to_bits(), 0x7ff8_0000_0000_0000);
        assert_eq!(stored(Some(-0.0)).to_bits(), 0);
        for value in [1.5, -1.5, f64::MIN_POSITIVE / 2.0, -f64::MAX, f64::MAX] {
            assert_eq!(stored(Some(value)).to_bits(), value.to_bits());
        }
    }
}
