//! Dead letters: the original key and bytes of a record that was refused, with the reason in headers.
//!
//! Everything in one comes from the record, nothing from a clock, so a repeated attempt writes the
//! same bytes.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::failure::SourceRange;
use super::output::{Destination, OutputBatch};
use crate::domain::{DeadLetterReason, PartitionId, Record};

/// Longest key kept, in bytes.
pub const KEY_BYTES_MAX: usize = 16 << 10;
/// Longest value kept, in bytes: with headers well below Kafka's default `message.max.bytes`.
pub const VALUE_BYTES_MAX: usize = 512 << 10;
/// Longest detail, in bytes.
const DETAIL_BYTES_MAX: usize = 512;

/// Why a record is refused: one of the closed set of reasons.
pub const REASON_HEADER: &str = "foretell.reason";
/// A sentence for people, where there is more to say than the reason.
pub const DETAIL_HEADER: &str = "foretell.detail";
pub const SOURCE_TOPIC_HEADER: &str = "foretell.source.topic";
pub const SOURCE_PARTITION_HEADER: &str = "foretell.source.partition";
pub const SOURCE_OFFSET_HEADER: &str = "foretell.source.offset";
/// Record timestamp, milliseconds since the epoch; absent where the record has none.
pub const SOURCE_TIMESTAMP_HEADER: &str = "foretell.source.timestamp";
/// Length of the original value, present only where it was cut.
pub const VALUE_BYTES_HEADER: &str = "foretell.value.bytes";
/// SHA-256 of the original value in hexadecimal, present only where it was cut.
pub const VALUE_SHA256_HEADER: &str = "foretell.value.sha256";

/// On a record that a replay of dead letters sent: the letter, as topic/partition/offset. On the letter
/// of a record that was refused again: the letter before it.
pub const REPLAYED_FROM_HEADER: &str = "foretell.replayed.from";
/// Beside it: how many times the record has been sent again.
pub const REPLAYED_TIMES_HEADER: &str = "foretell.replayed.times";
/// On a receipt, which a replay leaves among the dead letters in the transaction that sends the records:
/// the letter that was sent again, as partition/offset. A receipt has no value.
pub const RECEIPT_HEADER: &str = "foretell.receipt.letter";
/// On a receipt: the topic that the record was sent to.
pub const RECEIPT_TOPIC_HEADER: &str = "foretell.receipt.topic";

/// Reason of an audit record, which stands for input records that were deleted before they were read, and
/// has no key and an empty value. Its source offset is the first of them.
pub const GAP_REASON: &str = "gap";
/// On an audit record: the offset after the last one that is missing.
pub const GAP_END_HEADER: &str = "foretell.gap.end";

/// Headers of a record that its letter has too, so that a record which goes in circles is found out.
pub const CARRIED_HEADERS: [&str; 2] = [REPLAYED_FROM_HEADER, REPLAYED_TIMES_HEADER];
/// Longest of them: a topic's name and two numbers.
const CARRIED_BYTES_MAX: usize = 300;

/// Why and where from.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    pub reason: DeadLetterReason,
    pub detail: Option<&'a str>,
    pub topic: &'a str,
    pub partition: PartitionId,
}

impl DeadLetter<'_> {
    /// Appends the letter for `record`.
    pub fn push(&self, batch: &mut OutputBatch, record: &Record<'_>) {
        let key = record.key.map(|key| &key[..key.len().min(KEY_BYTES_MAX)]);
        let value = record.value.unwrap_or_default();
        batch.push(Destination::DeadLetters, key, |out| {
            out.extend_from_slice(&value[..value.len().min(VALUE_BYTES_MAX)]);
        });
        batch.header(REASON_HEADER, Some(self.reason.label().as_bytes()));
        if let Some(detail) = self.detail {
            let end = detail.floor_char_boundary(DETAIL_BYTES_MAX);
            batch.header(DETAIL_HEADER, Some(&detail.as_bytes()[..end]));
        }
        batch.header(SOURCE_TOPIC_HEADER, Some(self.topic.as_bytes()));
        number(batch, SOURCE_PARTITION_HEADER, i64::from(self.partition.0));
        number(batch, SOURCE_OFFSET_HEADER, record.offset.get());
        if let Some(timestamp) = record.timestamp {
            number(batch, SOURCE_TIMESTAMP_HEADER, timestamp.0);
        }
        for (name, text) in record.headers() {
            if CARRIED_HEADERS.contains(&name)
                && text.is_none_or(|text| text.len() <= CARRIED_BYTES_MAX)
            {
                batch.header(name, text);
            }
        }
        if value.len() > VALUE_BYTES_MAX {
            batch.header(VALUE_BYTES_HEADER, Some(value.len().to_string().as_bytes()));
            let mut digest = String::with_capacity(64);
            for byte in Sha256::digest(value) {
                // Writing to a String cannot fail.
                let _written = write!(digest, "{byte:02x}");
            }
            batch.header(VALUE_SHA256_HEADER, Some(digest.as_bytes()));
        }
    }
}

/// Input records that nobody can read any more, and that nothing was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap(pub SourceRange);

impl Gap {
    /// How many offsets are missing; a log has holes, so there may have been fewer records.
    fn offsets(&self) -> u64 {
        u64::try_from(self.0.to.get().saturating_sub(self.0.from.get())).unwrap_or(0)
    }

    /// Has `batch`, which begins after the gap, begin at it, and appends its audit record.
    pub fn push(&self, batch: &mut OutputBatch) {
        let SourceRange {
            topic,
            partition,
            from,
            to,
        } = &self.0;
        batch.from = *from;
        batch.skipped = self.offsets();
        batch.push(Destination::DeadLetters, None, |_empty| {});
        batch.header(REASON_HEADER, Some(GAP_REASON.as_bytes()));
        let detail = format!("offsets {from} to below {to} were deleted before they were read");
        batch.header(DETAIL_HEADER, Some(detail.as_bytes()));
        batch.header(SOURCE_TOPIC_HEADER, Some(topic.as_bytes()));
        number(batch, SOURCE_PARTITION_HEADER, i64::from(partition.0));
        number(batch, SOURCE_OFFSET_HEADER, from.get());
        number(batch, GAP_END_HEADER, to.get());
    }
}

fn number(batch: &mut OutputBatch, name: &str, value: i64) {
    batch.header(name, Some(value.to_string().as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, NextOffset, Offset, RecordBatch, Rejection, Timestamp};

    #[test]
    fn a_letter_carries_the_original_and_says_what_was_cut() {
        let value = vec![7_u8; VALUE_BYTES_MAX + 1];
        let mut records = RecordBatch::default();
        let at = (Offset::new(41).unwrap(), Some(Timestamp(5)));
        let long = vec![b'x'; CARRIED_BYTES_MAX + 1];
        let given = [
            (REPLAYED_FROM_HEADER, Some(&b"dead/0/7"[..])),
            (REPLAYED_TIMES_HEADER, Some(&long)),
            ("other", Some(b"1")),
        ];
        records.push(at, Some(b"key"), Some(&value), given);
        let mut batch = OutputBatch::new(PartitionId(2), Epoch(1), NextOffset::ZERO);
        let letter = DeadLetter {
            reason: DeadLetterReason::Rejected(Rejection::Undecodable),
            detail: Some("what"),
            topic: "observations",
            partition: PartitionId(2),
        };
        letter.push(&mut batch, &records.get(0));

        let output = batch.iter().next().unwrap();
        assert_eq!(output.destination, Destination::DeadLetters);
        assert_eq!(output.key, Some(&b"key"[..]));
        assert_eq!(output.value.len(), VALUE_BYTES_MAX);
        let headers: Vec<(&str, String)> = output
            .headers()
            .map(|(name, text)| (name, String::from_utf8_lossy(text.unwrap()).into_owned()))
            .collect();
        let get = |wanted| {
            headers
                .iter()
                .find(|(name, _)| *name == wanted)
                .unwrap()
                .1
                .clone()
        };
        assert_eq!(get(REASON_HEADER), "undecodable");
        assert_eq!(get(SOURCE_OFFSET_HEADER), "41");
        assert_eq!(get(VALUE_BYTES_HEADER), (VALUE_BYTES_MAX + 1).to_string());
        assert_eq!(get(VALUE_SHA256_HEADER).len(), 64);
        assert_eq!(get(REPLAYED_FROM_HEADER), "dead/0/7");
        let carried = |name: &str| name == REPLAYED_TIMES_HEADER || name == "other";
        assert!(
            !headers.iter().any(|(name, _)| carried(name)),
            "{headers:?}"
        );
    }
}
