//! The recursive strategy: a one-step model run `horizon` times on its own outputs.
//!
//! After each run every window moves on by one slot, in float32 and scaled, as the model sees it:
//! the new slot has the outputs in the target columns, the last value of every other feature, and
//! the calendar one step later.

use crate::domain::Timestamp;

use super::batch::Row;
use super::layout::Layout;
use super::session::Session;

/// Memory of a recursion, kept from run to run.
#[derive(Debug, Default)]
pub(super) struct Recursion {
    /// A copy of the batch's inputs: the batch itself stays as it was, for a repeat row by row.
    inputs: Vec<f32>,
    /// The output of the last step, rows x 1 x targets.
    step: Vec<f32>,
}

impl Recursion {
    /// Forecasts the rows of `inputs` and writes their unscaled values.
    pub(super) fn run(
        &mut self,
        session: &mut Session,
        layout: &Layout,
        (inputs, rows): (&[f32], &[Row]),
        values: &mut [f64],
    ) -> Result<(), String> {
        self.inputs.clear();
        self.inputs.extend_from_slice(inputs);
        for step in 0..layout.horizon {
            if step > 0 {
                self.advance(layout, rows, step);
            }
            let Self {
                inputs: current,
                step: output,
            } = self;
            session.run(
                (current, layout.input_shape(rows.len())),
                layout.output_shape(rows.len()),
                |index, tensor| {
                    layout.unscale(tensor, (index, step), values);
                    output.clear();
                    output.extend_from_slice(tensor);
                },
            )?;
        }
        Ok(())
    }

    /// Moves every window on, to end `steps` after its origin.
    fn advance(&mut self, layout: &Layout, rows: &[Row], steps: usize) {
        let ahead_ms = i64::try_from(steps)
            .unwrap_or(i64::MAX)
            .saturating_mul(layout.step_ms);
        let last = layout.row_inputs() - layout.width;
        for ((window, outputs), row) in self
            .inputs
            .chunks_exact_mut(layout.row_inputs())
            .zip(self.step.chunks_exact(layout.targets.len()))
            .zip(rows)
        {
            // The last slot stays where it is, as the template of the new one.
            window.copy_within(layout.width.., 0);
            let slot = &mut window[last..];
            for (&feature, &output) in layout.targets.iter().zip(outputs) {
                slot[feature] = output;
            }
            let time = Timestamp(row.origin.0.saturating_add(ahead_ms));
            layout.calendar.fill(slot, layout.width, time);
        }
    }
}
