//! The affine scaling of a contract: `(value - center) / scale` in float64, then float32.
//!
//! One form covers the standard, min-max, robust and max-abs scalers of scikit-learn. A scale of
//! zero, which those scalers give a constant feature, means 1, as it does there.

/// Scaling of one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scaling {
    pub(super) center: f64,
    /// Above zero.
    pub(super) scale: f64,
}

impl Scaling {
    pub(super) fn new(center: f64, scale: f64) -> Self {
        Self {
            center,
            scale: if scale == 0.0 { 1.0 } else { scale },
        }
    }

    /// What the model sees; infinite where it does not fit a float32.
    pub(super) fn scaled(self, value: f64) -> f32 {
        narrow((value - self.center) / self.scale)
    }

    /// The value that a model's output stands for.
    pub(super) fn unscaled(self, output: f32) -> f64 {
        f64::from(output) * self.scale + self.center
    }
}

/// Rounds to the nearest float32.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "rounding to float32 is what the tensor asks for, and the standard library has no other way"
)]
pub(super) fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_scale_means_one() {
        let scaling = Scaling::new(3.0, 0.0);
        assert!((scaling.scaled(5.0) - 2.0).abs() < f32::EPSILON);
        assert!((scaling.unscaled(2.0) - 5.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_value_beyond_float32_becomes_infinite() {
        assert!(Scaling::new(0.0, 1.0).scaled(1e300).is_infinite());
        assert!(Scaling::new(1e300, 1.0).scaled(1e300).abs() < f32::EPSILON);
    }
}
