//! A dead letter as it is read back: what a worker wrote, or what somebody else left in the topic.

use std::fmt;

use rdkafka::message::{BorrowedMessage, Message};

use crate::cli::output::printable;
use crate::consume::all_headers;
use crate::produce::{
    DETAIL_HEADER, KEY_BYTES_MAX, REASON_HEADER, RECEIPT_HEADER, REPLAYED_FROM_HEADER,
    REPLAYED_TIMES_HEADER, SOURCE_OFFSET_HEADER, SOURCE_PARTITION_HEADER, SOURCE_TIMESTAMP_HEADER,
    SOURCE_TOPIC_HEADER, VALUE_BYTES_HEADER, VALUE_SHA256_HEADER,
};

/// Headers that begin with this are ours: they say where a letter came from and are not sent again.
const OURS: &str = "foretell.";

/// Where a letter lies in the topic of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct At {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

/// A record of the topic.
#[derive(Debug)]
pub(super) enum Entry {
    Letter(Box<Letter>),
    /// A replay sent this letter.
    Receipt(At),
}

/// A record that was refused.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) at: At,
    /// When it was written, milliseconds since the epoch.
    pub(super) written: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// `None` where no worker wrote it.
    pub(super) reason: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) source: Option<Source>,
    /// Present where the value was cut.
    pub(super) cut: Option<Cut>,
    /// Present where the record had been sent again before it was refused.
    pub(super) replayed_from: Option<String>,
    pub(super) replayed_times: u32,
    /// Headers that are not ours.
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Where the record was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Its record timestamp.
    pub(super) timestamp: Option<i64>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}[{}]@{}",
            printable(&self.topic),
            self.partition,
            self.offset
        )
    }
}

/// What is known of a value that was too long to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Entry {
    pub(super) fn read(message: &BorrowedMessage<'_>) -> Self {
        let at = At {
            partition: message.partition(),
            offset: message.offset(),
        };
        let headers: Vec<_> = all_headers(message).collect();
        let get = |name: &str| header(&headers, name);
        if let Some(letter) = get(RECEIPT_HEADER).and_then(|text| receipt(&text)) {
            return Self::Receipt(letter);
        }
        let source = || {
            Some(Source {
                topic: get(SOURCE_TOPIC_HEADER)?,
                partition: get(SOURCE_PARTITION_HEADER)?.parse().ok()?,
                offset: get(SOURCE_OFFSET_HEADER)?.parse().ok()?,
                timestamp: get(SOURCE_TIMESTAMP_HEADER).and_then(|text| text.parse().ok()),
            })
        };
        let cut = || {
            Some(Cut {
                bytes: get(VALUE_BYTES_HEADER)?.parse().ok()?,
                sha256: get(VALUE_SHA256_HEADER).unwrap_or_default(),
            })
        };
        let foreign = headers
            .iter()
            .filter(|(name, _)| !name.starts_with(OURS.as_bytes()))
            .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)));
        Self::Letter(Box::new(Letter {
            at,
            written: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            reason: get(REASON_HEADER),
            detail: get(DETAIL_HEADER),
            source: source(),
            cut: cut(),
            replayed_from: get(REPLAYED_FROM_HEADER),
            replayed_times: get(REPLAYED_TIMES_HEADER)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            headers: foreign.collect(),
        }))
    }
}

impl Letter {
    /// True where the key is as long as the longest that is kept: it may have been cut.
    pub(super) fn key_may_be_cut(&self) -> bool {
        self.key
            .as_ref()
            .is_some_and(|key| key.len() >= KEY_BYTES_MAX)
    }

    /// The reason as it is shown and counted.
    pub(super) fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or(NO_REASON)
    }

    /// The key as people read it; bytes that are no text are written out.
    pub(super) fn key_text(&self) -> Option<String> {
        let key = self.key.as_ref()?;
        Some(match str::from_utf8(key) {
            Ok(text) => text.to_owned(),
            Err(_no_text) => key.escape_ascii().to_string(),
        })
    }
}

/// Shown for a record that no worker wrote.
pub(super) const NO_REASON: &str = "none";

/// The text of the first header of this name.
fn header(headers: &[(&[u8], Option<&[u8]>)], wanted: &str) -> Option<String> {
    let found = headers.iter().find(|(name, _)| *name == wanted.as_bytes());
    let value = found.and_then(|(_, value)| *value)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// `partition/offset`.
fn receipt(text: &str) -> Option<At> {
    let (partition, offset) = text.split_once('/')?;
    Some(At {
        partition: partition.parse().ok()?,
        offset: offset.parse().ok()?,
    })
}
