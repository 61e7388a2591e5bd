//! The wall clock: the one place that reads it.
//!
//! Forecasts that nobody wants any more are told by it, and nothing else of the worker's results.

use crate::domain::Timestamp;

#[expect(
    clippy::disallowed_methods,
    reason = "everybody else is given the clock"
)]
pub fn wall_clock() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}
