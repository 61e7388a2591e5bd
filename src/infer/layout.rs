//! Where every number of a row stands, in the input tensor and in the outputs.
//!
//! Computed once per package and shared by its batches and forecasters, which so agree on it.

use super::calendar::Calendar;
use super::contract::{Contract, Strategy};
use super::scaling::Scaling;

/// The shapes of a contract and what is needed to fill them.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) strategy: Strategy,
    /// Slots of a window.
    pub(super) window: usize,
    pub(super) features: usize,
    /// Inputs per slot: features, then calendar.
    pub(super) width: usize,
    pub(super) horizon: usize,
    /// Output tensors: the means, then one per quantile.
    pub(super) outputs: usize,
    pub(super) step_ms: i64,
    /// Per feature.
    pub(super) scalings: Vec<Scaling>,
    /// The scalings again, once per value of a row: so that scaling a row is one loop over plain
    /// arrays, which the compiler turns into vector instructions.
    row_centers: Vec<f64>,
    row_scales: Vec<f64>,
    /// Per target, its feature.
    pub(super) targets: Vec<usize>,
    pub(super) calendar: Calendar,
}

impl Layout {
    pub(super) fn of(contract: &Contract) -> Self {
        let calendar = Calendar::new(contract.step_ms(), contract.calendar());
        let scalings: Vec<Scaling> = contract.scalings().collect();
        let per_value = || {
            let values = contract.window() * scalings.len();
            scalings.iter().cycle().take(values)
        };
        Self {
            row_centers: per_value().map(|scaling| scaling.center).collect(),
            row_scales: per_value().map(|scaling| scaling.scale).collect(),
            strategy: contract.strategy(),
            window: contract.window(),
            features: contract.features().len(),
            width: contract.features().len() + calendar.width(),
            horizon: contract.horizon(),
            outputs: 1 + contract.quantiles().len(),
            step_ms: contract.step_ms(),
            scalings,
            targets: contract.target_columns().to_vec(),
            calendar,
        }
    }

    /// Unscaled values of a row: window x features.
    pub(super) fn row_values(&self) -> usize {
        self.window * self.features
    }

    /// Inputs of a row: window x width.
    pub(super) fn row_inputs(&self) -> usize {
        self.window * self.width
    }

    /// Outputs of a row: targets x outputs x horizon.
    pub(super) fn row_outputs(&self) -> usize {
        self.targets.len() * self.outputs * self.horizon
    }

    /// Steps that one run gives.
    pub(super) fn steps_per_run(&self) -> usize {
        match self.strategy {
            Strategy::Direct => self.horizon,
            Strategy::Recursive => 1,
        }
    }

    /// Shape of the input tensor for `rows` rows.
    pub(super) fn input_shape(&self, rows: usize) -> [usize; 3] {
        [rows, self.window, self.width]
    }

    /// Shape of each output tensor for `rows` rows.
    pub(super) fn output_shape(&self, rows: usize) -> [usize; 3] {
        [rows, self.steps_per_run(), self.targets.len()]
    }

    /// Scales a row's values into `scaled`, both window x features. False when one of them does not
    /// fit a float32.
    pub(super) fn scale(&self, values: &[f64], scaled: &mut [f32]) -> bool {
        const INFINITE: u32 = f32::INFINITY.to_bits();
        let parameters = self.row_centers.iter().zip(&self.row_scales);
        for ((input, &value), (&center, &scale)) in scaled.iter_mut().zip(values).zip(parameters) {
            *input = Scaling { center, scale }.scaled(value);
        }
        // Without their sign, the bits of floats are ordered as the floats are, NaN above infinity.
        let largest = scaled
            .iter()
            .fold(0, |largest, value| value.abs().to_bits().max(largest));
        largest < INFINITE
    }

    /// Copies one output tensor of a run, `steps` from step `first` on, into rows of forecasts.
    ///
    /// A row of `forecasts` has per target the means, then the values of each quantile; `output` is
    /// 0 for the means and counts the quantiles from 1.
    pub(super) fn unscale(
        &self,
        tensor: &[f32],
        (output, first): (usize, usize),
        forecasts: &mut [f64],
    ) {
        let steps = self.steps_per_run();
        let row_tensor = steps * self.targets.len();
        let per_target = self.outputs * self.horizon;
        for (row, values) in tensor
            .chunks_exact(row_tensor)
            .zip(forecasts.chunks_exact_mut(self.row_outputs()))
        {
            for (target, &feature) in self.targets.iter().enumerate() {
                let scaling = self.scalings[feature];
                let at = target * per_target + output * self.horizon + first;
                let of_target = row.iter().skip(target).step_by(self.targets.len());
                for (value, &scaled) in values[at..at + steps].iter_mut().zip(of_target) {
                    *value = scaling.unscaled(scaled);
                }
            }
        }
    }
}
