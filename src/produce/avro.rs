//! Avro's binary encoding, as far as we write it: appended to a buffer that the caller reuses.

use crate::domain::SchemaId;

/// The ten bytes before a datum in single-object encoding.
pub(super) fn single_object(out: &mut Vec<u8>, fingerprint: u64) {
    out.extend_from_slice(&[0xc3, 0x01]);
    out.extend_from_slice(&fingerprint.to_le_bytes());
}

/// The five bytes before a datum in Confluent framing.
pub(super) fn confluent(out: &mut Vec<u8>, schema: SchemaId) {
    out.push(0);
    out.extend_from_slice(&schema.get().to_be_bytes());
}

/// An `int` or a `long`, zigzag and of variable length. Also a branch of a union.
pub(super) fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

pub(super) fn double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// An array in one block, then the empty block that ends it.
pub(super) fn array<T>(out: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    if !items.is_empty() {
        count(out, items.len());
        for each in items {
            item(out, each);
        }
    }
    out.push(0);
}

/// An array of doubles.
pub(super) fn doubles(out: &mut Vec<u8>, values: &[f64]) {
    array(out, values, |buffer, &value| double(buffer, value));
}

/// A length. No slice is longer than `isize::MAX` bytes, so nothing is ever cut.
fn count(out: &mut Vec<u8>, items: usize) {
    long(out, i64::try_from(items).unwrap_or(i64::MAX));
}
