//! Sums of forecast errors, and the figures that are made of them: what `demo` and `backtest` share.
//!
//! Everything is a running sum, so memory does not grow with the number of forecasts.

/// Errors of one forecaster, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    count: u64,
    absolute: f64,
    squared: f64,
}

impl Sums {
    /// Adds a forecast value less what came.
    pub fn add(&mut self, error: f64) {
        self.count += 1;
        self.absolute += error.abs();
        self.squared += error * error;
    }

    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.absolute += other.absolute;
        self.squared += other.squared;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// MAE; NaN of no errors.
    pub fn mean_absolute(&self) -> f64 {
        self.absolute / float(self.count)
    }

    /// RMSE; NaN of no errors.
    pub fn root_mean_square(&self) -> f64 {
        (self.squared / float(self.count)).sqrt()
    }
}

/// Count, mean and spread of values, by Welford's method: values far from zero lose no digits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    count: u64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

impl Spread {
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / float(self.count);
        self.squares += before * (value - self.mean);
    }

    /// Chan's formula for two parts.
    pub fn merge(&mut self, other: &Self) {
        let (mine, theirs) = (float(self.count), float(other.count));
        let count = self.count + other.count;
        if count > 0 {
            let distance = other.mean - self.mean;
            self.squares += other.squares + distance * distance * mine * theirs / float(count);
            self.mean += distance * theirs / float(count);
            self.count = count;
        }
    }

    /// Standard deviation of the values themselves, not an estimate for more of them; NaN of none.
    pub fn deviation(&self) -> f64 {
        (self.squares / float(self.count)).sqrt()
    }
}

/// A count among measurements.
pub fn float(count: u64) -> f64 {
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "a count to divide by: the nearest double is meant"
    )]
    let nearest = count as f64;
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn sums_are_those_worked_out_by_hand_however_they_are_split() {
        let errors = [3.0, -1.0, 2.0, -4.0];
        for split in 0..=errors.len() {
            let (mut first, mut second) = (Sums::default(), Sums::default());
            errors[..split].iter().for_each(|error| first.add(*error));
            errors[split..].iter().for_each(|error| second.add(*error));
            first.merge(&second);
            assert_eq!(first.count(), 4);
            assert_near(first.mean_absolute(), 2.5);
            assert_near(first.root_mean_square(), 7.5_f64.sqrt());
        }
        assert!(Sums::default().mean_absolute().is_nan());
    }

    #[test]
    fn the_deviation_is_that_worked_out_by_hand_however_it_is_split() {
        // Far from zero, where a plain sum of squares would lose all digits.
        let values = [1e9 + 2.0, 1e9 + 4.0, 1e9 + 4.0, 1e9 + 6.0];
        for split in 0..=values.len() {
            let (mut first, mut second) = (Spread::default(), Spread::default());
            values[..split].iter().for_each(|value| first.add(*value));
            values[split..].iter().for_each(|value| second.add(*value));
            first.merge(&second);
            assert!((first.deviation() - 2.0_f64.sqrt()).abs() < 1e-6);
        }
        assert!(Spread::default().deviation().is_nan());
    }
}
