//! Snapshots: the windows of one partition at one offset, as an immutable object in a folder or a bucket.
//!
//! They are an optimisation. A partition can always be rebuilt from its log, and whatever a snapshot
//! brings back is believed only after a replay from it has led to the committed checksum; so losing,
//! damaging or forging one costs time and never a forecast.
//!
//! An object is two Arrow IPC streams, one behind the other, and a seal (see `format`): any Arrow library
//! reads it. `encode` writes it piece by piece out of `columns`, `decode` and `batch` read one that anybody
//! may have written, `shelf` finds and fetches, `upload` is the thread that stores and tidies up,
//! `last` what it does when the worker stops.

mod batch;
mod columns;
mod decode;
mod encode;
mod format;
mod last;
mod location;
mod name;
mod shelf;
mod upload;

pub use crate::objects::Location;
pub use decode::{Loaded, Unreadable, read};
pub use encode::Encoder;
pub use format::About;
pub use last::{Last, LastWindows};
pub use location::StoreSettings;
pub use name::Name;
pub use shelf::{Shelf, ShelfError};
pub use upload::{Order, PIECE_BYTES, Piece, Upload, UploadError, Uploaded, Uploads};
