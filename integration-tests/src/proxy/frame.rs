//! Frames of Kafka's protocol: a length, then a header. Of a body only the transactional id is read.

use std::io::{self, Read};

use anyhow::{Context, Result, ensure};

/// More than brokers take (`socket.request.max.bytes`) and than a fetch of the tests brings.
const BYTES_MAX: usize = 128 << 20;
const PREFIX: usize = 4;

/// Which request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Produce,
    Fetch,
    Metadata,
    OffsetFetch,
    FindCoordinator,
    JoinGroup,
    Heartbeat,
    LeaveGroup,
    SyncGroup,
    Versions,
    InitProducerId,
    AddPartitionsToTxn,
    AddOffsetsToTxn,
    EndTxn,
    TxnOffsetCommit,
    /// Any other, by its number.
    Other(i16),
}

impl Api {
    const fn of(key: i16) -> Self {
        match key {
            0 => Self::Produce,
            1 => Self::Fetch,
            3 => Self::Metadata,
            9 => Self::OffsetFetch,
            10 => Self::FindCoordinator,
            11 => Self::JoinGroup,
            12 => Self::Heartbeat,
            13 => Self::LeaveGroup,
            14 => Self::SyncGroup,
            18 => Self::Versions,
            22 => Self::InitProducerId,
            24 => Self::AddPartitionsToTxn,
            25 => Self::AddOffsetsToTxn,
            26 => Self::EndTxn,
            28 => Self::TxnOffsetCommit,
            other => Self::Other(other),
        }
    }

    /// For requests whose body begins with a transactional id: the first version with compact strings
    /// and tagged fields.
    const fn transactional_compact_from(self) -> Option<i16> {
        match self {
            Self::Produce => Some(9),
            Self::InitProducerId => Some(2),
            Self::AddPartitionsToTxn
            | Self::AddOffsetsToTxn
            | Self::EndTxn
            | Self::TxnOffsetCommit => Some(3),
            Self::Fetch
            | Self::Metadata
            | Self::OffsetFetch
            | Self::FindCoordinator
            | Self::JoinGroup
            | Self::Heartbeat
            | Self::LeaveGroup
            | Self::SyncGroup
            | Self::Versions
            | Self::Other(_) => None,
        }
    }
}

/// One request or answer, with its length in front.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    bytes: Vec<u8>,
}

/// What rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) api: Api,
    pub(super) correlation: i32,
    pub(super) client: Option<String>,
    pub(super) transaction: Option<String>,
}

impl Frame {
    /// The next frame; `None` where the stream ends between two.
    pub(super) fn read(stream: &mut impl Read) -> Result<Option<Self>> {
        let mut bytes = Vec::with_capacity(PREFIX);
        take(stream, PREFIX, &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let length = Reader(&bytes).i32().context("ends in a length")?;
        let length = usize::try_from(length)?;
        ensure!(length <= BYTES_MAX, "a frame of {length} bytes");
        // Grows with what comes, not with what was declared.
        take(stream, length, &mut bytes)?;
        ensure!(bytes.len() == PREFIX + length, "ends in a frame");
        Ok(Some(Self { bytes }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The frame as a request.
    pub(super) fn request(&self) -> Result<Request> {
        let mut reader = Reader(&self.bytes);
        reader.i32()?;
        let api = Api::of(reader.i16()?);
        let version = reader.i16()?;
        let correlation = reader.i32()?;
        let client = reader.string()?;
        let transaction = match api.transactional_compact_from() {
            Some(compact) if version >= compact => {
                reader.tagged_fields()?;
                reader.compact_string()?
            }
            // Before, a produce request had no transactional id.
            Some(_) if api == Api::Produce && version < 3 => None,
            Some(_) => reader.string()?,
            None => None,
        };
        Ok(Request {
            api,
            correlation,
            client,
            transaction,
        })
    }

    /// The correlation id of an answer.
    pub(super) fn correlation(&self) -> Result<i32> {
        let mut reader = Reader(&self.bytes);
        reader.i32()?;
        reader.i32()
    }
}

/// Appends `count` bytes, or what there is of them.
fn take(stream: &mut impl Read, count: usize, bytes: &mut Vec<u8>) -> io::Result<usize> {
    stream
        .take(u64::try_from(count).unwrap_or(u64::MAX))
        .read_to_end(bytes)
}

/// What is left to read of a frame.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("too short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.bytes(2)?.try_into()?))
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.bytes(4)?.try_into()?))
    }

    fn varint(&mut self) -> Result<usize> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = *self.bytes(1)?.first().context("too short")?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        anyhow::bail!("a number without an end")
    }

    fn string(&mut self) -> Result<Option<String>> {
        match self.i16()? {
            -1 => Ok(None),
            length => self.text(usize::try_from(length)?).map(Some),
        }
    }

    fn compact_string(&mut self) -> Result<Option<String>> {
        match self.varint()? {
            0 => Ok(None),
            length => self.text(length - 1).map(Some),
        }
    }

    fn text(&mut self, length: usize) -> Result<String> {
        Ok(str::from_utf8(self.bytes(length)?)?.to_owned())
    }

    fn tagged_fields(&mut self) -> Result<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.bytes(length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, as a slow network may.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let one = buffer.len().min(1);
            self.0.read(&mut buffer[..one])
        }
    }

    fn framed(parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let length = i32::try_from(body.len()).unwrap().to_be_bytes();
        [&length[..], &body].concat()
    }

    /// Version, correlation id 7, client "me".
    fn header(api: i16, version: i16) -> Vec<u8> {
        let (api, version) = (api.to_be_bytes(), version.to_be_bytes());
        [&api[..], &version, &[0, 0, 0, 7], &[0, 2], b"me"].concat()
    }

    fn request(bytes: &[u8]) -> Result<Request> {
        let mut stream = bytes;
        Frame::read(&mut stream)?.context("no frame")?.request()
    }

    #[test]
    fn frames_are_read_whole_however_they_arrive() {
        let bytes = [framed(&[b"one"]), framed(&[]), framed(&[b"three"])].concat();
        let mut stream = Dripping(&bytes);
        let mut found = Vec::new();
        while let Some(frame) = Frame::read(&mut stream).unwrap() {
            found.extend_from_slice(frame.bytes());
        }
        assert_eq!(found, bytes);
    }

    #[test]
    fn a_stream_may_end_between_frames_only() {
        let whole = framed(&[b"body"]);
        assert_eq!(Frame::read(&mut &whole[..0]).unwrap(), None);
        for end in 1..whole.len() {
            assert!(Frame::read(&mut &whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_unread() {
        for length in [-1, i32::MIN, i32::MAX] {
            let mut stream = &length.to_be_bytes()[..];
            assert!(Frame::read(&mut stream).is_err(), "{length}");
        }
    }

    #[test]
    fn a_request_tells_who_asks_for_what() {
        let found = request(&framed(&[&header(26, 1), &[0, 3], b"txn", &[1]])).unwrap();
        let expected = Request {
            api: Api::EndTxn,
            correlation: 7,
            client: Some("me".to_owned()),
            transaction: Some("txn".to_owned()),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn compact_transactional_ids_are_behind_the_tagged_fields() {
        let tagged = [1, 5, 2, 0xff, 0xff];
        let offsets = request(&framed(&[&header(28, 3), &tagged, &[4], b"txn"])).unwrap();
        assert_eq!(offsets.transaction.as_deref(), Some("txn"));
        let idempotent = request(&framed(&[&header(22, 4), &[0], &[0]])).unwrap();
        assert_eq!(idempotent.transaction, None);
        let produce = request(&framed(&[&header(0, 10), &[0], &[4], b"txn"])).unwrap();
        assert_eq!(produce.transaction.as_deref(), Some("txn"));
    }

    #[test]
    fn requests_without_a_transaction_or_a_client_have_none() {
        let metadata = request(&framed(&[&header(3, 12), b"anything"])).unwrap();
        assert_eq!((metadata.api, metadata.transaction), (Api::Metadata, None));
        let nameless = [0, 99, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
        let found = request(&framed(&[&nameless])).unwrap();
        assert_eq!((found.api, found.client), (Api::Other(99), None));
    }

    #[test]
    fn a_request_cut_short_is_an_error() {
        let whole = [&header(26, 1)[..], &[0, 3], b"txn"].concat();
        for end in 0..whole.len() {
            assert!(request(&framed(&[&whole[..end]])).is_err(), "{end}");
        }
    }

    #[test]
    fn an_answer_begins_with_its_correlation_id() {
        let bytes = framed(&[&[0, 0, 1, 2], b"body"]);
        let frame = Frame::read(&mut &bytes[..]).unwrap().unwrap();
        assert_eq!(frame.correlation().unwrap(), 258);
    }
}
