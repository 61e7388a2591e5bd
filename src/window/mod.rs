//! (3) The rolling windows of one partition: a pure fold over its records in offset order.
//!
//! A [`Table`] belongs to exactly one partition task, so it is plain data: no lock, no clock, no
//! I/O. It judges each decoded record ([`Table::fold`]), keeps the newest `length + gap_max` slots
//! of every series, copies a complete model window out ([`Window::complete`]), and says from where
//! the same state can be rebuilt and how to prove that it was ([`Table::rebuild_point`],
//! [`Table::checksum`]). It depends on the records and on its [`WindowConfig`], on nothing else: any
//! chunking, machine or time of day gives the same state. Imputation is not state: it happens
//! while a window is copied out.
//!
//! `rules` and `series` are the table of outcomes, `rows` is the ring of one series, `checksum` says
//! which bytes are hashed, `image` and `refill` take the windows out and bring them back; `catalog`, `idle` and `rebuild` are the indexes that keep every fold at a
//! constant cost.

mod catalog;
mod checksum;
mod complete;
mod config;
mod idle;
mod image;
mod rebuild;
mod row_offsets;
mod rows;
mod rules;
mod refill;
mod series;
mod table;

pub use catalog::SeriesKey;
pub use checksum::MISSING;
pub use complete::Window;
pub use config::{ConflictPolicy, MissingPolicy, WindowConfig, WindowConfigError, WindowSettings};
pub use image::{ImageError, ImageHead, MovesImage, NO_ROW, SeriesColumns};
pub use refill::Refill;
pub use rules::{EARLIEST, SERIES_BYTES_MAX};
pub use table::{Folding, Table, Verdict, Whose};

/// Version of the rules of the fold and of the bytes that are hashed.
///
/// Raise it whenever the same records could lead to another state or checksum: a worker then does
/// not compare its state with one that an older release left behind.
pub const FOLD_VERSION: u32 = 1;
