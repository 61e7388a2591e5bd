//! The model of a cluster that the simulation runs on, held against a real Kafka: the same requests, one
//! after the other, the same answers, the same records and offsets visible.
//!
//! A history is a list of requests. Where a cluster asks to be asked again, both are; where it works on
//! after its answer, both are given the time.

#[cfg(test)]
mod histories;
#[cfg(test)]
mod model;
#[cfg(test)]
mod real;
#[cfg(test)]
mod step;
