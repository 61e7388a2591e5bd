//! The check of a cluster: what is to be checked is fixed at its start, then folded and read in step.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::evidence::Subject;
use super::judge::{Judge, WAITING_BYTES_MAX};
use super::letters::Judgement;
use super::outputs::{Outputs, OutputsError};
use super::plan::{Folding, PlanError, Planned, plan};
use super::recompute::{Model, Recompute};
use super::scope::StateProof;
use super::walk::{LETTER_HEADERS, Walk};
use crate::app::{client_settings, decoder, fold_hash, registry_settings};
use crate::cli::Failure;
use crate::cli::clients::Connection;
use crate::cli::ends::{Ends, stable_ends};
use crate::cli::forecasts::Reader;
use crate::cli::registry::RegistryClient;
use crate::config::{Config, WireFormat};
use crate::consume::{ClientSettings, ReplayError, Replayer};
use crate::domain::{NextOffset, PartitionId};
use crate::infer::ForeignBatch;
use crate::partition::DEADLINE_HEADER;
use crate::produce::readback::NoForecast;
use crate::registry::Trouble;
use crate::window::WindowConfig;

/// Why a check ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error(
        "group {group} has committed nothing in {topic}: there is nothing to check. Start a worker, or see to kafka.group_id and topics.observations"
    )]
    NothingCommitted { group: String, topic: String },
    #[error("{topic} has {partitions} partitions, from 0 on; there is no partition {partition}")]
    NoPartition {
        topic: String,
        partitions: usize,
        partition: PartitionId,
    },
    #[error(
        "{topic}/{partition}: offset {from} is not committed yet, the committed offset is {committed}"
    )]
    NotCommitted {
        topic: String,
        partition: PartitionId,
        from: NextOffset,
        committed: NextOffset,
    },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Read(#[from] ReplayError),
    #[error(transparent)]
    Outputs(#[from] OutputsError),
    #[error(transparent)]
    Registry(#[from] Trouble),
    #[error(transparent)]
    ForeignBatch(#[from] ForeignBatch),
    #[error(transparent)]
    Schema(#[from] NoForecast),
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// One partition.
    pub(super) partition: Option<PartitionId>,
    /// Some of its records.
    pub(super) range: Option<(NextOffset, NextOffset)>,
    /// Differences of each kind to keep.
    pub(super) show: usize,
}

/// A partition once it is checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) planned: Planned,
    pub(super) state: StateProof,
}

/// What a check tells.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) judgement: Judgement,
    pub(super) partitions: Vec<Checked>,
    /// Partitions in which the group has committed nothing.
    pub(super) uncommitted: Vec<PartitionId>,
    pub(super) notes: Vec<String>,
}

/// Where the output topics begin and end.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) forecasts: Vec<Ends>,
    pub(super) letters: Vec<Ends>,
}

/// Checks what the group has committed.
pub(super) fn check(
    config: &Config,
    windows: WindowConfig,
    (models, runtime): (Vec<Model>, &Arc<str>),
    asked: Asked,
) -> Result<Told, Failure> {
    let client = ClientSettings {
        client_id: "foretell-cli".to_owned(),
        ..client_settings(config)
    };
    let topics = &config.topics;
    let replayer = |topic: &str| Replayer::new(&client, &config.kafka.group_id, topic);
    let input = replayer(&topics.observations)?.with_headers(&[DEADLINE_HEADER]);
    let connection = Connection::configured(&config.kafka);
    let count = stable_ends(&connection, &topics.observations)?.len();
    let (mut planned, uncommitted) = plan_all(config, windows, (&input, count), asked)?;
    // In this order: what was committed by then is in the topics by their ends.
    let found = Found {
        forecasts: stable_ends(&connection, &topics.forecasts)?,
        letters: stable_ends(&connection, &topics.dead_letters)?,
    };
    for (partition, one) in &mut planned {
        let later = input.committed(*partition, &|| true)?.stable;
        let later = later.map_or(one.scope.committed, |(later, _)| later);
        one.scope.newer_until = later.max(one.scope.committed);
    }
    let packages = models
        .iter()
        .map(|model| Arc::clone(&model.package))
        .collect();
    let homes = u32::try_from(found.forecasts.len()).ok();
    let subject = Subject {
        observations: topics.observations.clone(),
        forecasts: topics.forecasts.clone(),
        dead_letters: topics.dead_letters.clone(),
        homes: homes.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
        runtime: Arc::clone(runtime),
        models: packages,
    };
    let scopes = planned.values().map(|one| one.scope);
    let judge =
        Judge::new(subject, scopes, (asked.show, WAITING_BYTES_MAX)).map_err(CheckError::Schema)?;
    let step_ms = config.window.grid.step_ms();
    let has_max_age = config.forecast.max_age.is_some();
    let recompute = Recompute::new(
        models,
        runtime,
        (&topics.observations, step_ms),
        has_max_age,
    );
    let registry = RegistryClient::of(config)?;
    let walk = Walk::new((input, &registry), planned, (recompute, judge), &found);
    let is_framed = config.forecast.wire_format == WireFormat::Confluent;
    let settings = is_framed.then(|| registry_settings(&config.registry));
    let is_datum = config.forecast.wire_format == WireFormat::Datum;
    let reader = Reader::new(is_datum, settings.as_ref())?;
    let outputs = Outputs::new(replayer(&topics.forecasts)?, reader, &found.forecasts);
    let letters = replayer(&topics.dead_letters)?.with_headers(&LETTER_HEADERS);
    let (judgement, partitions) = walk.run(outputs, &letters, &found)?;
    Ok(Told {
        judgement,
        partitions,
        uncommitted,
        notes: trimmed_notes(config, &found),
    })
}

type Plans = (BTreeMap<PartitionId, Planned>, Vec<PartitionId>);

/// Plans every partition that was asked for, and names those in which nothing is committed.
fn plan_all(
    config: &Config,
    windows: WindowConfig,
    (input, partitions): (&Replayer, usize),
    asked: Asked,
) -> Result<Plans, Failure> {
    let topic = &config.topics.observations;
    let decoder = decoder(config)?;
    let folding = Folding {
        windows,
        decoder: &decoder,
        config_hash: fold_hash(config)?,
    };
    let count = i32::try_from(partitions).unwrap_or(i32::MAX);
    let all = (0..count).map(PartitionId);
    let wanted: Vec<_> = all
        .filter(|one| asked.partition.is_none_or(|wanted| wanted == *one))
        .collect();
    if let (Some(partition), true) = (asked.partition, wanted.is_empty()) {
        return Err(Failure::usage(CheckError::NoPartition {
            topic: topic.clone(),
            partitions,
            partition,
        }));
    }
    let mut planned = BTreeMap::new();
    let mut uncommitted = Vec::new();
    for partition in wanted {
        let log = input.committed(partition, &|| true)?;
        match plan(folding, (topic, partition), &log, asked.range).map_err(refused)? {
            Some(one) => drop(planned.insert(partition, one)),
            None => uncommitted.push(partition),
        }
    }
    if planned.is_empty() {
        return Err(CheckError::NothingCommitted {
            group: config.kafka.group_id.clone(),
            topic: topic.clone(),
        }
        .into());
    }
    if let (Some((from, _)), Some(one)) = (asked.range, planned.values().next())
        && from >= one.scope.committed
    {
        return Err(Failure::usage(CheckError::NotCommitted {
            topic: topic.clone(),
            partition: one.scope.partition,
            from,
            committed: one.scope.committed,
        }));
    }
    Ok((planned, uncommitted))
}

/// Another configuration is the caller's to give.
fn refused(error: PlanError) -> Failure {
    match error {
        PlanError::OtherFold { .. } => Failure::usage(error),
        PlanError::Remade { .. } | PlanError::OtherTopic { .. } => error.into(),
    }
}

/// What retention has taken from the output topics, in a sentence each.
fn trimmed_notes(config: &Config, found: &Found) -> Vec<String> {
    let note = |topic: &str, ends: &[Ends], what: &str| {
        let cut = (0_i32..)
            .zip(ends)
            .filter(|(_, (start, _))| *start > NextOffset::ZERO);
        let cut: Vec<_> = cut
            .map(|(number, (start, _))| format!("{number} at {start}"))
            .collect();
        (!cut.is_empty()).then(|| {
            let cut = cut.join(", ");
            format!("{topic} does not begin at offset 0 any more (partition {cut}): {what} of records before the first that is left there cannot be missed")
        })
    };
    let topics = &config.topics;
    let forecasts = note(&topics.forecasts, &found.forecasts, "forecasts");
    let letters = note(&topics.dead_letters, &found.letters, "dead letters");
    forecasts.into_iter().chain(letters).collect()
}
