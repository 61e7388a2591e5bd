//! The control topic: what its log of commands says about every slot's models.
//!
//! `command` is a record's value, `keys` says who may give one, `log` folds one record after the other into the
//! slots' schedules, `history` is all that they ever were; `status` is what workers say of themselves. Every worker folds the whole log and comes to the same schedules, whenever it does: nothing
//! here reads a clock, fetches anything or knows what this worker serves.

mod command;
mod history;
mod keys;
mod log;
mod schedule;
mod signer;
mod status;
pub mod topic;

pub use command::{COMMAND_SCHEMA, Command, CommandCodec, Order, Signature, Unreadable};
pub use history::History;
pub use keys::{Key, KeyError, Keys, Unsigned};
pub use log::{CommandRecord, Effect, Log, Refusal, Slot, Staged};
pub use schedule::{Entry, Schedule};
pub use signer::{Signer, SignerError};
pub use status::{
    CommandState, CommandStatus, ModelStatus, PartitionStatus, STATUS_AGE_MAX, STATUS_EVERY,
    STATUS_SCHEMA, ScheduleEntry, SlotStatus, StatusCodec, WorkerStatus,
};
