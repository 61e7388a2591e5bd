//! What leaves: domain values as the bytes of Kafka records.

mod avro;
mod encode;
mod observation;

pub use encode::{FORECAST_SCHEMA, ForecastEncoder, ForecastFormat};
pub use observation::{
    EncodeError, ObservationEncoder, ObservationSchemaError, observation_schema,
};
