//! Stage 5: outputs to Kafka.
//!
//! Forecasts and dead letters are encoded into output batches; the committer sends them with the
//! input offsets that they cover. It is the only caller of the transaction API. No transaction is
//! open while anything is computed. `record_writer` writes what is in no transaction.

mod adding;
mod avro;
mod committer;
mod dead_letter;
mod deliveries;
mod encode;
mod failure;
mod observation;
mod output;
mod producer;
pub mod readback;
mod record_writer;
mod room;
mod settings;

pub use committer::{
    Action, Committer, CommitterInput, CommitterSettings, Core, DOUBT, Membership, Report,
    Settlement, Stable, Trouble,
};
pub use dead_letter::*;
pub use encode::{FORECAST_SCHEMA, ForecastEncoder, ForecastFormat};
pub use failure::{Attempt, CommitError, CommitsFailing, SizeLimit, SourceRange};
pub use observation::{
    EncodeError, ObservationEncoder, ObservationSchemaError, observation_schema,
};
pub use output::{Destination, Output, OutputBatch};
pub use record_writer::{RecordWriter, WriteError};
pub use room::{Room, Taken};
pub use settings::{Guarantee, ProducerSettings};
