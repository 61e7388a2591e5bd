//! The worker's core in memory: lanes, restores, the committer and the assigner, in one process and
//! without Kafka. Input is Avro as apache-avro writes it, output is read back with apache-avro, and
//! the oracle of the forecasts is tests/oracle/stream.py. The committer speaks to librdkafka's own
//! mock cluster, which can be told to answer with errors.

#[cfg(test)]
mod assigner;
#[cfg(test)]
mod avro;
#[cfg(test)]
mod chunking;
#[cfg(test)]
mod committer;
#[cfg(test)]
mod committer_core;
#[cfg(test)]
mod committer_errors;
#[cfg(test)]
mod committer_rig;
#[cfg(test)]
mod committer_settle;
#[cfg(test)]
mod framed;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod lane;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod page;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod reassign;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod schema_lane;
#[cfg(test)]
mod schema_verdicts;
#[cfg(test)]
mod sent;
#[cfg(test)]
mod slow_store;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod swap;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod watchdog;
