//! The store of snapshots, and what may happen to one.

use bytes::Bytes;
use foretell::partition::AtHand;
use foretell::snapshot::{About, Encoder, read};
use foretell::window::{ImageHead, Refill, SeriesColumns, WindowConfig};

use crate::input::PARTITIONS;

/// A snapshot as it is stored.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    /// The bytes that the worker writes.
    Bytes(Vec<u8>),
    /// The columns that it writes them from, which costs less.
    Columns(Box<(ImageHead, Vec<SeriesColumns>)>),
}

/// Where it is from, by its name.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) position: i64,
    pub(crate) object: Object,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) partitions: [Vec<Stored>; PARTITIONS],
}

/// Snapshots that a restore tries.
const TRIES_MAX: usize = 3;
/// Snapshots of a partition that are kept.
const KEPT: usize = 4;

impl Store {
    pub(crate) fn put(&mut self, partition: usize, stored: Stored) {
        let kept = &mut self.partitions[partition];
        kept.push(stored);
        kept.sort_by_key(|one| one.position);
        if kept.len() > KEPT {
            kept.remove(0);
        }
    }

    /// What a restore finds between two positions, the newest last.
    pub(crate) fn find(&self, partition: usize, (from, to): (i64, i64)) -> Vec<Stored> {
        let kept = self.partitions[partition].iter();
        let mut found: Vec<Stored> = kept
            .filter(|one| (from..=to).contains(&one.position))
            .cloned()
            .collect();
        found.drain(..found.len().saturating_sub(TRIES_MAX));
        found
    }
}

impl Object {
    pub(crate) fn new(
        about: &About,
        (head, columns): (ImageHead, Vec<SeriesColumns>),
        (windows, encoded): (&WindowConfig, bool),
    ) -> Self {
        if !encoded {
            return Self::Columns(Box::new((head, columns)));
        }
        let (mut writing, first) = Encoder::new(about, &head, windows).unwrap();
        let mut bytes = first.to_vec();
        for piece in columns {
            bytes.extend_from_slice(&writing.write(piece).unwrap());
        }
        bytes.extend_from_slice(&writing.finish().unwrap());
        Self::Bytes(bytes)
    }

    /// The windows, where there are any to be had.
    pub(crate) fn load(&self, windows: WindowConfig) -> Option<AtHand> {
        match self {
            Self::Bytes(bytes) => {
                let source = futures_util::stream::iter([Ok(Bytes::from(bytes.clone()))]);
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                let loaded = runtime.block_on(read(source, windows, &|| true)).ok()?;
                Some(AtHand {
                    position: loaded.position,
                    windows: loaded.windows,
                })
            }
            Self::Columns(image) => {
                let (head, columns) = &**image;
                let mut refill = Refill::new(windows, head).ok()?;
                columns
                    .iter()
                    .try_for_each(|piece| refill.add(piece))
                    .ok()?;
                Some(AtHand {
                    position: head.position,
                    windows: refill.finish().ok()?,
                })
            }
        }
    }

    /// A disk or somebody changes a bit of it, or its end is cut off.
    pub(crate) fn damage(&mut self, place: usize) {
        match self {
            // Cut off at its beginning before.
            Self::Bytes(bytes) if bytes.is_empty() => {}
            Self::Bytes(bytes) if place.is_multiple_of(4) => bytes.truncate(place % bytes.len()),
            Self::Bytes(bytes) => {
                let at = place % bytes.len();
                bytes[at] ^= 1;
            }
            Self::Columns(image) => {
                let (head, columns) = &mut **image;
                match columns.iter_mut().find(|piece| !piece.is_empty()) {
                    Some(piece) if place.is_multiple_of(3) => {
                        let at = place % piece.last_change.len();
                        piece.last_change[at] -= 1;
                    }
                    Some(piece) if place.is_multiple_of(2) => {
                        let at = place % piece.cells.len();
                        piece.cells[at] = 1.0 - piece.cells[at];
                    }
                    Some(_) | None => head.checksum ^= 1,
                }
            }
        }
    }
}
