//! Random data of a type, in the binary encoding.

use super::types::Type;
use super::{Entropy, TIMES};

impl Type {
    pub(super) fn write(&self, entropy: &mut Entropy<'_>, is_time: bool, out: &mut Vec<u8>) {
        match self {
            Self::Plain("null") => {}
            Self::Plain("boolean") => out.push(entropy.below(2)),
            Self::Plain("int") | Self::Logical("int", _) => {
                long(
                    out,
                    i64::from(i32::try_from(entropy.long()).unwrap_or(i32::MIN)),
                );
            }
            Self::Plain("long") | Self::Logical("long", _) => long(out, entropy.long()),
            Self::Plain("float") => out.extend((0..4).map(|_| entropy.byte())),
            Self::Plain("double") => out.extend((0..8).map(|_| entropy.byte())),
            Self::Plain("string") if is_time && entropy.below(4) > 0 => {
                text(out, entropy.pick(&TIMES).0);
            }
            Self::Plain("string") | Self::Logical(..) => {
                text(
                    out,
                    entropy.pick(&["", "cell-17", "Žižkov", "no time at all"]),
                );
            }
            Self::Plain(_) | Self::Decimal => {
                let bytes: Vec<_> = (0..entropy.below(24)).map(|_| entropy.byte()).collect();
                long(out, i64::try_from(bytes.len()).unwrap());
                out.extend(bytes);
            }
            Self::Enum(_) => long(out, entropy.below(3).into()),
            Self::Fixed(_, size) => out.extend((0..*size).map(|_| entropy.byte())),
            Self::Array(items) => blocks(entropy, out, |entropy, block| {
                items.write(entropy, false, block);
            }),
            Self::Map(values) => blocks(entropy, out, |entropy, block| {
                text(block, entropy.pick(&["a", "b", "ü"]));
                values.write(entropy, false, block);
            }),
            Self::Union(branches) => {
                let branch = usize::from(entropy.byte()) % branches.len();
                long(out, i64::try_from(branch).unwrap());
                branches[branch].write(entropy, is_time, out);
            }
            Self::Record(_, fields) => {
                for (_, of) in fields {
                    of.write(entropy, false, out);
                }
            }
        }
    }
}

fn blocks(
    entropy: &mut Entropy<'_>,
    out: &mut Vec<u8>,
    mut item: impl FnMut(&mut Entropy<'_>, &mut Vec<u8>),
) {
    for _ in 0..entropy.below(3) {
        let count = i64::from(1 + entropy.below(3));
        let mut block = Vec::new();
        for _ in 0..count {
            item(entropy, &mut block);
        }
        if entropy.below(2) == 0 {
            long(out, count);
        } else {
            long(out, -count);
            long(out, i64::try_from(block.len()).unwrap());
        }
        out.extend(block);
    }
    out.push(0);
}

fn text(out: &mut Vec<u8>, text: &str) {
    long(out, i64::try_from(text.len()).unwrap());
    out.extend(text.bytes());
}

/// Zigzag and variable length, as the specification has it.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest > 0x7f {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}
