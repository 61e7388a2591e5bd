//! What a worker leaves in the metadata of a committed offset, so that its successor can come back
//! to the same state and prove it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{NextOffset, Offset, SchemaId, Timestamp, TopicId, Verdict, Verdicts};

/// Where a replay starts that makes every row that is still kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildPoint {
    /// Lowest offset of any record still inside a live window; the committed offset when none is.
    pub offset: NextOffset,
    /// Stream time just before that record was folded; `None` when it was the first one accepted.
    pub stream_time: Option<Timestamp>,
}

/// The proof that travels with a committed offset.
///
/// As text: base64 without padding of these bytes, numbers little-endian, times with a first byte
/// that is 1 when there is one and 0 (and eight zero bytes) when there is none:
///
/// | bytes | item |
/// |---|---|
/// | 1 | [`CommitMetadata::FORMAT`] |
/// | 4 | `fold_version` |
/// | 8 | `config_hash` |
/// | 8 | `start` |
/// | 8 + 9 | `rebuild`: offset, stream time |
/// | 9 | `stream_time` |
/// | 8 | `checksum` |
/// | 8 | `whole_from` |
/// | 16 | `topic_id`, zeros where there is none |
///
/// There follow the verdicts until the end, the oldest first:
///
/// | bytes | item |
/// |---|---|
/// | 4 | schema id |
/// | 8 | `from` |
/// | 7 | `to` less `from`; all bits set when it is open |
///
/// Two formats without `topic_id` are read too: [`CommitMetadata::FORMAT_WITHOUT_VERDICTS`] ends before it, and
/// in [`CommitMetadata::FORMAT_WITHOUT_ID`] one byte with the number of verdicts stands in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitMetadata {
    /// `window::FOLD_VERSION` of the worker.
    pub fold_version: u32,
    /// Hash of the configuration keys that the fold reads.
    pub config_hash: u64,
    /// Where this application began to read the partition: no restore reads below it.
    pub start: NextOffset,
    pub rebuild: RebuildPoint,
    /// Stream time at the committed offset; `None` while no record was accepted.
    pub stream_time: Option<Timestamp>,
    /// State checksum at the committed offset.
    pub checksum: u64,
    /// Forecasts whose window holds a row from below this are partial.
    pub whole_from: NextOffset,
    /// Which records a replay refuses without asking a registry.
    pub verdicts: Verdicts,
    /// Of the topic whose log the offset lies in; `None` where the brokers or an earlier release told none.
    pub topic_id: Option<TopicId>,
}

/// Why the metadata of a committed offset says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitMetadataError {
    #[error(
        "the committed offset has no metadata: it was set by an operator or by another program"
    )]
    Missing,
    #[error("the metadata of the committed offset is not base64: another program wrote it")]
    NotBase64 {
        #[source]
        source: base64::DecodeError,
    },
    #[error(
        "the metadata of the committed offset has format {format}, this release reads {}: another \
         release or another program wrote it",
        CommitMetadata::FORMAT
    )]
    UnknownFormat { format: u8 },
    #[error("the metadata of the committed offset has {found} bytes, its format has {expected}")]
    Length { found: usize, expected: usize },
    #[error("{item} in the metadata of the committed offset is not valid: {value}")]
    Invalid { item: &'static str, value: i64 },
}

impl CommitMetadata {
    /// First byte of the encoding. A release that does not know it treats the metadata as missing.
    pub const FORMAT: u8 = 3;
    /// That of earlier releases when there are verdicts, and when there are none.
    pub const FORMAT_WITHOUT_ID: u8 = 2;
    pub const FORMAT_WITHOUT_VERDICTS: u8 = 1;

    const BYTES_WITHOUT_ID: usize = 63;
    const BYTES: usize = Self::BYTES_WITHOUT_ID + TopicId::BYTES;
    const VERDICT_BYTES: usize = 19;

    /// The text for Kafka: 106 characters, with [`Verdicts::MAX`] verdicts 511.
    pub fn encode(&self) -> String {
        let Self {
            fold_version,
            config_hash,
            start,
            rebuild,
            stream_time,
            checksum,
            whole_from,
            verdicts,
            topic_id,
        } = self;
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.push(Self::FORMAT);
        bytes.extend_from_slice(&fold_version.to_le_bytes());
        bytes.extend_from_slice(&config_hash.to_le_bytes());
        bytes.extend_from_slice(&start.get().to_le_bytes());
        bytes.extend_from_slice(&rebuild.offset.get().to_le_bytes());
        push_time(&mut bytes, rebuild.stream_time);
        push_time(&mut bytes, *stream_time);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&whole_from.get().to_le_bytes());
        bytes.extend_from_slice(&topic_id.map_or([0; TopicId::BYTES], TopicId::bytes));
        push_verdicts(&mut bytes, verdicts);
        STANDARD_NO_PAD.encode(bytes)
    }

    /// # Errors
    /// When the text is not what [`CommitMetadata::encode`] of this release or of an earlier one writes.
    pub fn decode(text: &str) -> Result<Self, CommitMetadataError> {
        if text.is_empty() {
            return Err(CommitMetadataError::Missing);
        }
        let bytes = STANDARD_NO_PAD
            .decode(text)
            .map_err(|source| CommitMetadataError::NotBase64 { source })?;
        let format = bytes.first().copied().unwrap_or_default();
        if !(Self::FORMAT_WITHOUT_VERDICTS..=Self::FORMAT).contains(&format) {
            return Err(CommitMetadataError::UnknownFormat { format });
        }
        let has_id = format == Self::FORMAT;
        let mut fields = Fields {
            rest: bytes.get(1..).unwrap_or_default(),
            found: bytes.len(),
            expected: if has_id {
                Self::BYTES
            } else {
                Self::BYTES_WITHOUT_ID
            },
        };
        let mut metadata = Self {
            fold_version: u32::from_le_bytes(fields.take()?),
            config_hash: u64::from_le_bytes(fields.take()?),
            start: fields.offset("start")?,
            rebuild: RebuildPoint {
                offset: fields.offset("rebuild offset")?,
                stream_time: fields.time("rebuild stream time")?,
            },
            stream_time: fields.time("stream time")?,
            checksum: u64::from_le_bytes(fields.take()?),
            whole_from: fields.offset("whole_from")?,
            verdicts: Verdicts::default(),
            topic_id: None,
        };
        if has_id {
            metadata.topic_id = TopicId::new(fields.take()?);
            metadata.verdicts = fields.remaining_verdicts()?;
        } else if format == Self::FORMAT_WITHOUT_ID {
            metadata.verdicts = fields.counted_verdicts()?;
        }
        if fields.rest.is_empty() {
            Ok(metadata)
        } else {
            Err(fields.wrong_length())
        }
    }
}

fn push_time(bytes: &mut Vec<u8>, time: Option<Timestamp>) {
    bytes.push(u8::from(time.is_some()));
    bytes.extend_from_slice(&time.map_or(0, |time| time.0).to_le_bytes());
}

/// The span of an open verdict, and the longest of a closed one: more records than any partition holds.
const OPEN: u64 = (1 << 56) - 1;

fn push_verdicts(bytes: &mut Vec<u8>, verdicts: &Verdicts) {
    for Verdict { schema, from, to } in verdicts.iter() {
        bytes.extend_from_slice(&schema.get().to_le_bytes());
        bytes.extend_from_slice(&from.get().to_le_bytes());
        let span = to.map_or(OPEN, |to| {
            let span = to.get().saturating_sub(from.get());
            u64::try_from(span).unwrap_or_default().min(OPEN - 1)
        });
        bytes.extend(span.to_le_bytes().into_iter().take(7));
    }
}

const VERDICT_COUNT: &str = "number of schema verdicts";

/// Reads the fields in their order.
struct Fields<'a> {
    rest: &'a [u8],
    found: usize,
    expected: usize,
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CommitMetadataError> {
        let (field, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.wrong_length())?;
        self.rest = rest;
        Ok(*field)
    }

    fn offset(&mut self, item: &'static str) -> Result<NextOffset, CommitMetadataError> {
        let value = i64::from_le_bytes(self.take()?);
        NextOffset::new(value).ok_or(CommitMetadataError::Invalid { item, value })
    }

    fn time(&mut self, item: &'static str) -> Result<Option<Timestamp>, CommitMetadataError> {
        let [there] = self.take()?;
        let value = i64::from_le_bytes(self.take()?);
        match (there, value) {
            (0, 0) => Ok(None),
            (1, _) => Ok(Some(Timestamp(value))),
            (_, _) => Err(CommitMetadataError::Invalid { item, value }),
        }
    }

    /// As many as there are bytes for.
    fn remaining_verdicts(&mut self) -> Result<Verdicts, CommitMetadataError> {
        self.verdicts(self.rest.len().div_ceil(CommitMetadata::VERDICT_BYTES))
    }

    fn counted_verdicts(&mut self) -> Result<Verdicts, CommitMetadataError> {
        let [count] = self.take()?;
        self.expected += 1;
        match usize::from(count) {
            0 => Err(CommitMetadataError::Invalid {
                item: VERDICT_COUNT,
                value: 0,
            }),
            count => self.verdicts(count),
        }
    }

    fn verdicts(&mut self, count: usize) -> Result<Verdicts, CommitMetadataError> {
        let invalid = |item, value| CommitMetadataError::Invalid { item, value };
        if count > Verdicts::MAX {
            let value = i64::try_from(count).unwrap_or(i64::MAX);
            return Err(invalid(VERDICT_COUNT, value));
        }
        self.expected += count * CommitMetadata::VERDICT_BYTES;
        let mut verdicts = Verdicts::default();
        for _ in 0..count {
            let id = u32::from_le_bytes(self.take()?);
            let start = i64::from_le_bytes(self.take()?);
            let mut span = [0; 8];
            let bytes: [u8; 7] = self.take()?;
            span[..7].copy_from_slice(&bytes);
            let span = u64::from_le_bytes(span);
            let end = |first: Offset| {
                let to = first.get().checked_add(i64::try_from(span).ok()?)?;
                NextOffset::new(to)
            };
            let schema =
                SchemaId::new(id).ok_or_else(|| invalid("a verdict's schema id", i64::from(id)))?;
            let from = Offset::new(start).ok_or_else(|| invalid("a verdict's start", start))?;
            let to = match span {
                OPEN => None,
                _ => Some(end(from).ok_or_else(|| invalid("a verdict's end", start))?),
            };
            verdicts.push(Verdict { schema, from, to });
        }
        Ok(verdicts)
    }

    const fn wrong_length(&self) -> CommitMetadataError {
        CommitMetadataError::Length {
            found: self.found,
            expected: self.expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> CommitMetadata {
        let offset = |offset| NextOffset::new(offset).unwrap();
        CommitMetadata {
            fold_version: 7,
            config_hash: u64::MAX - 1,
            start: offset(0),
            rebuild: RebuildPoint {
                offset: offset(i64::MAX),
                stream_time: None,
            },
            stream_time: Some(Timestamp(i64::MIN)),
            checksum: 0x0123_4567_89ab_cdef,
            whole_from: offset(1 << 40),
            verdicts: Verdicts::default(),
            topic_id: TopicId::new([7; TopicId::BYTES]),
        }
    }

    /// As an earlier release left it.
    fn without_id() -> CommitMetadata {
        CommitMetadata {
            topic_id: None,
            ..metadata()
        }
    }

    fn verdict(schema: u32, from: i64, to: Option<i64>) -> Verdict {
        Verdict {
            schema: SchemaId::new(schema).unwrap(),
            from: Offset::new(from).unwrap(),
            to: to.map(|to| NextOffset::new(to).unwrap()),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut metadata = metadata();
        for stream_time in [None, Some(Timestamp(0)), Some(Timestamp(i64::MAX))] {
            metadata.rebuild.stream_time = stream_time;
            metadata.stream_time = stream_time;
            let text = metadata.encode();
            assert_eq!(text.len(), 106);
            assert!(text.is_ascii());
            assert_eq!(CommitMetadata::decode(&text), Ok(metadata.clone()));
        }
        let without = without_id();
        assert_eq!(CommitMetadata::decode(&without.encode()), Ok(without));
    }

    #[test]
    fn as_many_verdicts_as_there_may_be_fit_and_are_read() {
        for count in 1..=Verdicts::MAX {
            let mut metadata = metadata();
            for index in 0..u32::try_from(count).unwrap() {
                let to = [None, Some(i64::MAX), Some(i64::MAX - 1)];
                let to = to[usize::try_from(index).unwrap() % 3];
                let from = i64::MAX - 1 - i64::from(index) * 1_000_000_000;
                metadata
                    .verdicts
                    .push(verdict(SchemaId::MAX - index, from, to));
            }
            let text = metadata.encode();
            assert!(text.len() < 512, "{} characters", text.len());
            assert_eq!(CommitMetadata::decode(&text), Ok(metadata));
        }
    }

    fn with_verdicts(mut metadata: CommitMetadata) -> CommitMetadata {
        metadata.verdicts.push(verdict(258, 1000, Some(1005)));
        metadata.verdicts.push(verdict(3, 17, None));
        metadata
    }

    /// By Python: `base64.b64encode(struct.pack("<BIQqqBqBqQq", 3, 7, 2**64 - 2, 0, 2**63 - 1, 0, 0, 1,
    /// -2**63, 0x0123456789abcdef, 2**40) + b"\7" * 16)` without the padding; then
    /// `struct.pack("<Iq", 258, 1000)`, 5 in seven bytes, `struct.pack("<Iq", 3, 17)` and seven bytes 0xff.
    #[test]
    fn the_layout_is_the_documented_one() {
        assert_eq!(
            metadata().encode(),
            "AwcAAAD+/////////wAAAAAAAAAA/////////38AAAAAAAAAAAABAAAAAAAAAIDvzauJZ0UjAQAAAAAAAQAABwcHBwcHBwcHBwcHBwcHBw"
        );
        assert_eq!(
            with_verdicts(metadata()).encode(),
            "AwcAAAD+/////////wAAAAAAAAAA/////////38AAAAAAAAAAAABAAAAAAAAAIDvzauJZ0UjAQAAAAAAAQAABwcHBwcHBwcHBwcHBwcHBwIBAADoAwAAAAAAAAUAAAAAAAADAAAAEQAAAAAAAAD/////////"
        );
    }

    /// The same fields, with 1 and 2 in front, without the id, and with `b"\2"` before the verdicts.
    #[test]
    fn what_earlier_releases_left_is_read() {
        let plain =
            "AQcAAAD+/////////wAAAAAAAAAA/////////38AAAAAAAAAAAABAAAAAAAAAIDvzauJZ0UjAQAAAAAAAQAA";
        assert_eq!(CommitMetadata::decode(plain), Ok(without_id()));
        let refusing = "AgcAAAD+/////////wAAAAAAAAAA/////////38AAAAAAAAAAAABAAAAAAAAAIDvzauJZ0UjAQAAAAAAAQAAAgIBAADoAwAAAAAAAAUAAAAAAAADAAAAEQAAAAAAAAD/////////";
        let expected = with_verdicts(without_id());
        assert_eq!(CommitMetadata::decode(refusing), Ok(expected));
        let mut bytes = STANDARD_NO_PAD.decode(refusing).unwrap();
        for (count, said) in [
            (0, "number of schema"),
            (17, "number of schema"),
            (3, "the metadata"),
        ] {
            bytes[63] = count;
            let error = CommitMetadata::decode(&STANDARD_NO_PAD.encode(&bytes)).unwrap_err();
            assert!(error.to_string().starts_with(said), "{error}");
        }
    }

    #[test]
    fn verdicts_that_say_nothing_are_refused() {
        let bytes = STANDARD_NO_PAD
            .decode(with_verdicts(metadata()).encode())
            .unwrap();
        let decode = |raw: &[u8]| CommitMetadata::decode(&STANDARD_NO_PAD.encode(raw));
        for (place, item) in [(82, "a verdict's schema id"), (90, "a verdict's start")] {
            let mut wrong = bytes.clone();
            wrong[place] = 0x80;
            let error = decode(&wrong).unwrap_err();
            assert!(error.to_string().starts_with(item), "{error}");
        }
        let longer = [&bytes[..], &[0]].concat();
        let expected = CommitMetadataError::Length {
            found: 118,
            expected: 136,
        };
        assert_eq!(decode(&longer), Err(expected));
        let many = [&bytes[..], &[0; 15 * CommitMetadata::VERDICT_BYTES]].concat();
        let error = decode(&many).unwrap_err();
        assert!(error.to_string().starts_with(VERDICT_COUNT), "{error}");
    }

    #[test]
    fn what_another_program_wrote_is_refused_by_name() {
        type Error = CommitMetadataError;
        assert_eq!(CommitMetadata::decode(""), Err(Error::Missing));
        assert!(matches!(
            CommitMetadata::decode("consumer at 17"),
            Err(Error::NotBase64 { .. })
        ));
        let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
        let bytes = STANDARD_NO_PAD.decode(metadata().encode()).unwrap();
        for format in [0, 4] {
            let mut other = bytes.clone();
            other[0] = format;
            assert_eq!(
                CommitMetadata::decode(&encode(&other)),
                Err(Error::UnknownFormat { format })
            );
        }
        for length in 1..bytes.len() {
            assert_eq!(
                CommitMetadata::decode(&encode(&bytes[..length])),
                Err(Error::Length {
                    found: length,
                    expected: 79
                })
            );
        }
        for (place, item) in [
            (20, "start"),
            (28, "rebuild offset"),
            (29, "rebuild stream time"),
        ] {
            let mut wrong = bytes.clone();
            wrong[place] = 0xff;
            let error = CommitMetadata::decode(&encode(&wrong)).unwrap_err();
            assert!(error.to_string().starts_with(item), "{error}");
        }
    }
}
