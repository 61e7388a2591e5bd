//! Cells of Parquet columns as the texts and numbers that rows are made of.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::TimeUnit as ArrowUnit;

use super::time::TimeUnit;

/// The text of a cell; empty for a null and for what is no text.
pub(super) fn text(array: &ArrayRef, index: usize) -> &str {
    match array.as_string_opt::<i32>() {
        Some(strings) if strings.is_valid(index) => strings.value(index),
        _ => "",
    }
}

/// Appends text or a whole number.
pub(super) fn push_text(array: &ArrayRef, index: usize, out: &mut String) {
    match whole(array, index) {
        Some(number) => out.push_str(&number.to_string()),
        None => out.push_str(text(array, index)),
    }
}

/// A cell of any type of whole numbers that fits.
pub(super) fn whole(array: &ArrayRef, index: usize) -> Option<i64> {
    if array.is_null(index) {
        return None;
    }
    if let Some(array) = array.as_primitive_opt::<Int64Type>() {
        return Some(array.value(index));
    }
    if let Some(array) = array.as_primitive_opt::<Int32Type>() {
        return Some(i64::from(array.value(index)));
    }
    if let Some(array) = array.as_primitive_opt::<Int16Type>() {
        return Some(i64::from(array.value(index)));
    }
    if let Some(array) = array.as_primitive_opt::<Int8Type>() {
        return Some(i64::from(array.value(index)));
    }
    if let Some(array) = array.as_primitive_opt::<UInt64Type>() {
        return i64::try_from(array.value(index)).ok();
    }
    if let Some(array) = array.as_primitive_opt::<UInt32Type>() {
        return Some(i64::from(array.value(index)));
    }
    if let Some(array) = array.as_primitive_opt::<UInt16Type>() {
        return Some(i64::from(array.value(index)));
    }
    array
        .as_primitive_opt::<UInt8Type>()
        .map(|array| i64::from(array.value(index)))
}

/// A cell of any type of numbers.
pub(super) fn float(array: &ArrayRef, index: usize) -> Option<f64> {
    if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        return Some(array.value(index));
    }
    if let Some(array) = array.as_primitive_opt::<Float32Type>() {
        return Some(f64::from(array.value(index)));
    }
    whole(array, index).map(|number| {
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            reason = "a count as a measurement: the nearest double is meant"
        )]
        let nearest = number as f64;
        nearest
    })
}

/// A cell of a timestamp column and its unit.
pub(super) fn stamp(array: &ArrayRef, index: usize, unit: ArrowUnit) -> (i64, TimeUnit) {
    match unit {
        ArrowUnit::Second => (
            array.as_primitive::<TimestampSecondType>().value(index),
            TimeUnit::S,
        ),
        ArrowUnit::Millisecond => (
            array
                .as_primitive::<TimestampMillisecondType>()
                .value(index),
            TimeUnit::Ms,
        ),
        ArrowUnit::Microsecond => (
            array
                .as_primitive::<TimestampMicrosecondType>()
                .value(index),
            TimeUnit::Us,
        ),
        ArrowUnit::Nanosecond => (
            array.as_primitive::<TimestampNanosecondType>().value(index),
            TimeUnit::Ns,
        ),
    }
}
