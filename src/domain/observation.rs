//! What one input record says.

use super::Timestamp;

/// What a record says, decoded but not judged yet.
///
/// It borrows from the record and from the decoder's scratch space, so decoding allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading<'a> {
    /// Empty when the record has none.
    pub series: &'a str,
    /// `None` when the record has no time.
    pub time: Option<Timestamp>,
    /// One entry per configured feature, in the order of the configuration; `None` where the value
    /// is null or the writer schema has no such field. A value may still be NaN or infinite.
    pub cells: &'a [Option<f64>],
}
