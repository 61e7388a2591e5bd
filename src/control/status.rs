//! The value of a record of the status topic: `schemas/worker_status.avsc` in single-object encoding.
//!
//! Its key is the worker's id. A worker that stops in order writes a tombstone; of another one nothing more comes, and
//! readers take it for gone after [`STATUS_AGE_MAX`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_avro_fast::Schema;

use crate::domain::Digest;

/// What workers write and the command line reads.
pub const STATUS_SCHEMA: &str = include_str!("../../schemas/worker_status.avsc");

/// How often a worker says how it is, besides whenever something changes.
pub const STATUS_EVERY: Duration = Duration::from_secs(5);
/// How old the last word of a live worker can be.
pub const STATUS_AGE_MAX: Duration = Duration::from_secs(15);

/// What a worker serves and how far it is. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct WorkerStatus {
    pub worker: String,
    pub time: i64,
    /// Release of the worker.
    pub version: String,
    /// ONNX Runtime's version and the instruction set.
    pub runtime: String,
    pub ready: bool,
    /// The configured package, which serves the origins that the champion's schedule does not cover.
    pub initial: Option<Digest>,
    pub slots: Vec<SlotStatus>,
    /// Packages that are loaded and warm.
    pub models: Vec<ModelStatus>,
    /// The newest commands, oldest first.
    pub commands: Vec<CommandStatus>,
    pub partitions: Vec<PartitionStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SlotStatus {
    pub slot: String,
    pub schedule: Vec<ScheduleEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ScheduleEntry {
    pub sha256: Digest,
    /// First origin that it serves; `None` for every origin.
    pub effective_from: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ModelStatus {
    pub sha256: Digest,
    pub name: String,
    pub version: String,
    /// False for a model that runs one row at a time.
    pub batched: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct CommandStatus {
    pub id: String,
    pub slot: String,
    pub state: CommandState,
    /// Why it is refused, or no further yet.
    pub reason: Option<String>,
}

/// How far a worker is with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CommandState {
    /// One of a newer release.
    Unknown,
    Fetching,
    Verifying,
    Warming,
    /// The package has a session on every lane.
    Warm,
    /// The package is in the schedule.
    Active,
    Retired,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PartitionStatus {
    pub partition: i32,
    /// Committed offset, the next to read.
    pub committed: Option<i64>,
    /// Records behind the end of the log.
    pub lag: Option<i64>,
    /// Series in the windows.
    pub series: i32,
    /// A window may lack something that was lost to a restore.
    pub partial: bool,
}

/// Reads and writes what workers say of themselves.
#[derive(Debug)]
pub struct StatusCodec {
    schema: Schema,
}

impl StatusCodec {
    /// # Errors
    /// When the schema of this release cannot be read.
    pub fn new() -> Result<Self, serde_avro_fast::schema::SchemaError> {
        Ok(Self {
            schema: STATUS_SCHEMA.parse()?,
        })
    }

    /// # Errors
    /// When it is something else.
    pub fn read(&self, value: &[u8]) -> Result<WorkerStatus, serde_avro_fast::de::DeError> {
        serde_avro_fast::from_single_object_slice(value, &self.schema)
    }

    /// The value of a record; its key is the worker's id.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn write(&self, status: &WorkerStatus) -> Result<Vec<u8>, serde_avro_fast::ser::SerError> {
        let mut config = serde_avro_fast::ser::SerializerConfig::new(&self.schema);
        serde_avro_fast::to_single_object_vec(status, &mut config)
    }
}
