//! A run of values as one line of blocks.

use std::collections::VecDeque;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Where all values are one.
const LEVEL: char = '▄';
/// A value that is no number.
const NONE: char = '·';

/// The lowest value is the lowest block, the highest the highest.
pub(super) fn sparkline(values: &VecDeque<f64>) -> String {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    // Halves, because the difference of two finite numbers may not be one.
    let range = high / 2.0 - low / 2.0;
    let block = |value: &f64| {
        if !value.is_finite() {
            return NONE;
        }
        if range <= 0.0 {
            return LEVEL;
        }
        let share = (value / 2.0 - low / 2.0) / range;
        // As many thresholds as lie below the share.
        let steps = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875];
        BLOCKS[steps.iter().filter(|step| share >= **step).count()]
    };
    values.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_blocks_between_their_lowest_and_their_highest() {
        for (values, line) in [
            (
                &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0][..],
                "▁▂▃▄▅▆▇██",
            ),
            (&[-1.0, 1.0], "▁█"),
            (&[5.0, 5.0, 5.0], "▄▄▄"),
            (&[7.0], "▄"),
            (&[], ""),
            (&[1.0, f64::NAN, 2.0, f64::INFINITY], "▁·█·"),
            (&[f64::NAN], "·"),
            (&[-f64::MAX, 0.0, f64::MAX], "▁▅█"),
        ] {
            let values = values.iter().copied().collect();
            assert_eq!(sparkline(&values), line, "{values:?}");
        }
    }
}
