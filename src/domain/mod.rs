//! The words of the product as types: positions, times, observations, outcomes, forecasts.
//!
//! Everything here is plain data: no I/O, no clock, no lock. Every other room may import this one;
//! this one imports none. Beyond the standard library it has thiserror, base64 for the commit
//! metadata and for topic ids as people read them, and serde for what others write as JSON or Avro.

mod arena;
mod commit_metadata;
mod digest;
mod forecast;
mod observation;
mod outcome;
mod placement;
mod position;
mod record;
mod run_deadline;
mod time;
mod topic_id;
mod verdict;
mod window_bounds;

pub use arena::{Headers, RecordArena, Stored};
pub use commit_metadata::{CommitMetadata, CommitMetadataError, RebuildPoint};
pub use digest::{Digest, NoDigest, PACKAGE_BYTES_MAX};
pub use forecast::{Forecast, ModelName, Quantile, Source, Target};
pub use observation::Reading;
pub use outcome::{DeadLetterReason, Outcome, OutcomeCounts, Rejection};
pub use placement::{murmur2, partition_of};
pub use position::{Epoch, NextOffset, Offset, PartitionId};
pub use record::{Record, RecordBatch};
pub use run_deadline::{RUN_ROWS_MAX, RunDeadline};
pub use time::{Grid, GridError, Slot, Timestamp};
pub use topic_id::TopicId;
pub use verdict::{SchemaId, Verdict, Verdicts};
pub use window_bounds::{
    WINDOW_FEATURES_MAX, WINDOW_GAP_MAX, WINDOW_LENGTH_MAX, WINDOW_SERIES_MAX, WindowBounds,
};
