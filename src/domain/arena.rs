//! Records in one piece of memory: what batches of input records and of outputs have in common.

/// Keys, values and headers of records, one behind the other, with a `T` about each record.
///
/// A push allocates nothing unless a buffer grows.
#[derive(Clone, Debug)]
pub struct RecordArena<T> {
    entries: Vec<Entry<T>>,
    contents: Contents,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    bytes: Vec<u8>,
    headers: Vec<HeaderEntry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    about: T,
    start: usize,
    key: Option<usize>,
    value: Option<usize>,
    headers: (usize, usize),
}

#[derive(Clone, Copy, Debug)]
struct HeaderEntry {
    start: usize,
    name: usize,
    value: Option<usize>,
}

/// One record of a [`RecordArena`].
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a, T> {
    pub about: &'a T,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// The headers of one record, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    contents: &'a Contents,
    /// Looked up only when asked for: most records are read without their headers.
    range: (usize, usize),
}

impl<T> Default for RecordArena<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            contents: Contents::default(),
        }
    }
}

impl<T> RecordArena<T> {
    /// Makes room for `records` of about `bytes` each and one header.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.entries.reserve(records);
        self.contents.headers.reserve(records);
        self.contents.bytes.reserve(records.saturating_mul(bytes));
    }

    /// Appends a record without headers. `value` appends the value to the buffer it is given.
    pub fn push(&mut self, about: T, key: Option<&[u8]>, value: Option<impl FnOnce(&mut Vec<u8>)>) {
        let Contents { bytes, headers } = &mut self.contents;
        let start = bytes.len();
        bytes.extend_from_slice(key.unwrap_or_default());
        let value_at = bytes.len();
        let value = value.map(|write| {
            write(bytes);
            bytes.len() - value_at
        });
        self.entries.push(Entry {
            about,
            start,
            key: key.map(<[u8]>::len),
            value,
            headers: (headers.len(), headers.len()),
        });
    }

    /// Adds a header to the record pushed last; nothing happens before the first.
    pub fn header(&mut self, name: &str, value: Option<&[u8]>) {
        let Some(last) = self.entries.last_mut() else {
            return;
        };
        let Contents { bytes, headers } = &mut self.contents;
        let start = bytes.len();
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(value.unwrap_or_default());
        headers.push(HeaderEntry {
            start,
            name: name.len(),
            value: value.map(<[u8]>::len),
        });
        last.headers.1 = headers.len();
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys, values and headers.
    pub fn byte_len(&self) -> usize {
        self.contents.bytes.len()
    }

    /// What is known about the record pushed last.
    pub fn last(&self) -> Option<&T> {
        self.entries.last().map(|entry| &entry.about)
    }

    /// The record at `index`, which is below [`RecordArena::len`].
    pub fn get(&self, index: usize) -> Stored<'_, T> {
        let entry = &self.entries[index];
        let bytes = &self.contents.bytes;
        let value_at = entry.start + entry.key.unwrap_or_default();
        Stored {
            about: &entry.about,
            key: entry.key.map(|len| &bytes[entry.start..entry.start + len]),
            value: entry.value.map(|len| &bytes[value_at..value_at + len]),
            headers: Headers {
                contents: &self.contents,
                range: entry.headers,
            },
        }
    }
}

impl<'a> Headers<'a> {
    pub fn len(&self) -> usize {
        self.range.1 - self.range.0
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let Contents { bytes, headers } = self.contents;
        headers[self.range.0..self.range.1].iter().map(|header| {
            let value_at = header.start + header.name;
            let name = std::str::from_utf8(&bytes[header.start..value_at]).unwrap_or_default();
            let value = header.value.map(|len| &bytes[value_at..value_at + len]);
            (name, value)
        })
    }
}
