//! The newest observations, read without a group and judged by a worker's own rules from empty windows.
//!
//! What a record says for itself (its bytes, series, time and cells) is judged exactly as a worker does;
//! what depends on older records (late, duplicate, held) as if the sample were the whole log.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use tokio::time::Instant;

use super::facts::{Facts, Role, Standing};
use crate::app;
use crate::cli::clients::{self, CONNECT_MAX, Connection, Troubles};
use crate::cli::findings::{Findings, chain};
use crate::cli::registry::RegistryClient;
use crate::cli::tail::is_passing;
use crate::config::Config;
use crate::domain::{
    NextOffset, Offset, Outcome, OutcomeCounts, PartitionId, RecordBatch, Rejection, Timestamp,
};
use crate::partition::{End, Lineage, Placed, Step};
use crate::registry::Trouble;
use crate::window::Table;

/// Longest wait for the next record.
const SILENCE_MAX: Duration = CONNECT_MAX;
const POLL: Duration = Duration::from_millis(200);
/// Different sentences about records that could not be decoded; the rest is counted.
const DETAILS_MAX: usize = 5;

/// What became of the records.
#[derive(Debug, Default)]
struct Sampled {
    outcomes: OutcomeCounts,
    misplaced: u64,
    collapsed: u64,
    /// Why values could not be decoded, in the decoder's words.
    details: BTreeMap<String, u64>,
    details_left_out: u64,
}

/// Why the newest records could not be read.
#[derive(Debug, thiserror::Error)]
enum SampleError {
    #[error("no record and no end of a partition came for {} s; are all brokers up?", SILENCE_MAX.as_secs())]
    Silent,
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Registry(#[from] Trouble),
}

/// Reads and says what was found.
pub(super) fn check(
    connection: &Connection,
    config: &Config,
    (facts, newest, registry): (&Facts, u32, &RegistryClient),
    findings: &mut Findings,
) {
    let place = format!("{}, newest records", config.topics.observations);
    let Ok(standings) = &facts.group else {
        return findings.warning(
            place,
            "could not be read, as the ends of the log are not known",
        );
    };
    let step = match fresh(config) {
        Ok(step) => step,
        Err(reason) => {
            let text = format!("could not be decoded: {reason}; `foretell config check` says more");
            return findings.error(place, text);
        }
    };
    let partitions = facts
        .topics
        .iter()
        .find(|topic| topic.role == Role::Observations)
        .and_then(|topic| u32::try_from(topic.shape?.partitions).ok())
        .and_then(NonZeroU32::new);
    let Some(partitions) = partitions else {
        return;
    };
    let topic = &config.topics.observations;
    let fold = (&step, partitions, registry);
    match read(connection, topic, (standings, newest), fold) {
        Ok(sampled) => sampled.tell(&place, findings),
        Err(error) => findings.error(place, format!("could not be read: {}", chain(&error))),
    }
}

/// The fold of a worker that has seen nothing.
fn fresh(config: &Config) -> Result<Step, String> {
    let decoder = app::decoder(config).map_err(|error| chain(&error))?;
    let windows = app::windows(config).map_err(|error| chain(&error))?;
    let lineage = Lineage::beginning_at(NextOffset::ZERO, 0);
    Ok(Step::new(decoder, Table::new(windows), lineage))
}

fn read(
    connection: &Connection,
    topic: &str,
    (standings, newest): (&[Standing], u32),
    (fresh, partitions, registry): (&Step, NonZeroU32, &RegistryClient),
) -> Result<Sampled, SampleError> {
    let (reader, _troubles): (BaseConsumer<Troubles>, _) = clients::reader(connection)?;
    let mut steps = BTreeMap::new();
    let mut from = TopicPartitionList::new();
    for standing in standings.iter().filter(|it| it.log_start < it.log_end) {
        let start = standing.log_start.max(standing.log_end - i64::from(newest));
        from.add_partition_offset(topic, standing.partition, rdkafka::Offset::Offset(start))?;
        steps.insert(standing.partition, fresh.clone());
    }
    let mut sampled = Sampled::default();
    if steps.is_empty() {
        return Ok(sampled);
    }
    reader.assign(&from)?;
    let mut heard = Instant::now();
    while !steps.is_empty() {
        match reader.poll(POLL) {
            None if heard.elapsed() > SILENCE_MAX => {
                return Err(SampleError::Silent);
            }
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                steps.remove(&partition);
            }
            Some(Err(error)) if is_passing(&error) => {}
            Some(message) => {
                heard = Instant::now();
                let message = message?;
                if let Some(step) = steps.get_mut(&message.partition()) {
                    sampled.take(step, &message, (partitions, registry))?;
                }
            }
        }
    }
    Ok(sampled)
}

impl Sampled {
    fn take(
        &mut self,
        step: &mut Step,
        message: &BorrowedMessage<'_>,
        (partitions, registry): (NonZeroU32, &RegistryClient),
    ) -> Result<(), Trouble> {
        let Some(offset) = Offset::new(message.offset()) else {
            return Ok(());
        };
        let timestamp = message.timestamp().to_millis().map(Timestamp);
        let mut batch = RecordBatch::default();
        batch.push((offset, timestamp), message.key(), message.payload(), []);
        let placed = Placed {
            partition: PartitionId(message.partition()),
            partitions,
        };
        let record = batch.get(0);
        registry.learn(step, &record)?;
        let stepped = step.fold(&record, Some(placed));
        self.misplaced += u64::from(stepped.misplaced);
        self.collapsed += u64::from(stepped.collapsed);
        let outcome = match stepped.end {
            End::Tombstone => Outcome::Tombstone,
            End::Undecodable(undecodable) => {
                self.undecodable(undecodable.to_string());
                Outcome::Rejected(undecodable.rejection())
            }
            End::Rejected(rejection) => Outcome::Rejected(rejection),
            End::Folded(_) => Outcome::Folded,
            End::LateFilled => Outcome::LateFilled,
            End::Duplicate => Outcome::Duplicate,
            End::Held => Outcome::Held,
            // Only without a registry, and then no value is framed for one.
            End::AwaitsSchema(_) | End::Stopped => Outcome::Rejected(Rejection::UnknownSchema),
        };
        self.outcomes.add(outcome);
        Ok(())
    }

    fn undecodable(&mut self, detail: String) {
        if let Some(count) = self.details.get_mut(&detail) {
            *count += 1;
        } else if self.details.len() < DETAILS_MAX {
            self.details.insert(detail, 1);
        } else {
            self.details_left_out += 1;
        }
    }

    fn tell(&self, place: &str, findings: &mut Findings) {
        let total = self.outcomes.total();
        if total == 0 {
            return findings.note(place, "there are none yet");
        }
        let (mut accepted, mut refused) = (0, 0);
        let mut parts = Vec::new();
        for (outcome, count) in self.outcomes.iter().filter(|(_, count)| *count > 0) {
            if let Outcome::Rejected(rejection) = outcome {
                refused += count;
                parts.push(format!("rejected as {rejection} {count}"));
            } else {
                accepted += count;
                parts.push(format!("{} {count}", outcome.label()));
            }
        }
        let text = format!("of {total}: {}", parts.join(", "));
        match (accepted, refused) {
            (_, 0) => findings.note(place, text),
            (0, _) => findings.error(
                place,
                format!("{text}; a worker would dead-letter all of them"),
            ),
            _ => findings.warning(
                place,
                format!("{text}; docs/observation.md says what each reason asks for"),
            ),
        }
        self.tell_defects(place, findings);
    }

    /// What is wrong with records beyond their outcomes.
    fn tell_defects(&self, place: &str, findings: &mut Findings) {
        let total = self.outcomes.total();
        for (detail, count) in &self.details {
            findings.warning(place, format!("{count} of {total}: {detail}"));
        }
        if self.details_left_out > 0 {
            let more = format!("{} more that cannot be decoded", self.details_left_out);
            findings.warning(place, more);
        }
        if self.misplaced > 0 {
            let split = format!(
                "{} of {total} lie in another partition than their series' name hashes to: a producer with \
                 another partitioner splits series over partitions, and each part forecasts from half the \
                 window; have every producer use the Java client's (librdkafka: partitioner=murmur2_random) \
                 and the series as the key",
                self.misplaced
            );
            findings.warning(place, split);
        }
        if self.collapsed > 0 {
            let text = "several different observations of a series claim the same time: its timestamps have \
                        collapsed upstream";
            findings.warning(place, text);
        }
    }
}
