//! The check of a cluster: what is to be checked is fixed at its start, then folded and read in step.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use super::evidence::{InForce, Subject};
use super::in_force::{self, Known};
use super::judge::{Judge, WAITING_BYTES_MAX};
use super::letters::Judgement;
use super::outputs::{Outputs, OutputsError};
use super::packages::Packages;
use super::plan::{Folding, PlanError, Planned, plan};
use super::recompute::{Model, Recompute};
use super::scope::{Lies, StateProof};
use super::walk::{LETTER_HEADERS, Walk};
use crate::app::{client_settings, decoder, fold_hash, registry_settings, runtime_text, windows};
use crate::cli::Failure;
use crate::cli::backtest::models::{self, Derived, Models, ModelsError};
use crate::cli::clients::Connection;
use crate::cli::ends::{Ends, stable_ends};
use crate::cli::forecasts::Reader;
use crate::cli::registry::RegistryClient;
use crate::config::{Config, Environment, WireFormat};
use crate::consume::{ClientSettings, ReplayError, Replayer};
use crate::domain::{NextOffset, Offset, PartitionId};
use crate::infer::{ForeignBatch, Package};
use crate::partition::DEADLINE_HEADER;
use crate::produce::readback::{Forecast, NoForecast};
use crate::registry::Trouble;

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

/// What a check reads with.
struct Reading<'a> {
    config: &'a Config,
    client: ClientSettings,
    connection: Connection,
}

impl<'a> Reading<'a> {
    fn of(config: &'a Config) -> Self {
        Self {
            config,
            client: ClientSettings {
                client_id: "foretell-cli".to_owned(),
                ..client_settings(config)
            },
            connection: Connection::configured(&config.kafka),
        }
    }

    fn replayer(&self, topic: &str) -> Result<Replayer, ReplayError> {
        Replayer::new(&self.client, &self.config.kafka.group_id, topic)
    }

    fn outputs(&self, found: &Found) -> Result<Outputs, Failure> {
        let config = self.config;
        let is_framed = config.forecast.wire_format == WireFormat::Confluent;
        let settings = is_framed.then(|| registry_settings(&config.registry));
        let is_datum = config.forecast.wire_format == WireFormat::Datum;
        let reader = Reader::new(is_datum, settings.as_ref())?;
        let replayer = self.replayer(&config.topics.forecasts)?;
        Ok(Outputs::new(replayer, reader, &found.forecasts))
    }
}

/// Checks what the group has committed. The packages that were `given` are there, others may be found.
pub(super) fn check(
    config: &Config,
    given: Packages,
    asked: Asked,
    environment: &Environment,
) -> Result<Told, Failure> {
    let reading = Reading::of(config);
    let topics = &config.topics;
    let input = reading.replayer(&topics.observations)?;
    let input = input.with_headers(&[DEADLINE_HEADER]);
    let connection = &reading.connection;
    let count = stable_ends(connection, &topics.observations)?.len();
    let (mut planned, uncommitted) = plan_all(config, (&input, count), asked)?;
    // In this order: what was committed by then is in the topics by their ends.
    let found = Found {
        forecasts: stable_ends(connection, &topics.forecasts)?,
        letters: stable_ends(connection, &topics.dead_letters)?,
    };
    for (partition, one) in &mut planned {
        let later = input.committed(*partition, &|| true)?.stable;
        let later = later.map_or(one.scope.committed, |(later, _)| later);
        one.scope.newer_until = later.max(one.scope.committed);
    }
    let mut notes = trimmed_notes(config, &found);
    // Later than that: whatever has made a forecast was activated before.
    let initial = given.digests();
    let in_force = match in_force::read(config, (&reading.client, connection), initial)? {
        Known::Nothing => None,
        Known::Trimmed(note) => {
            notes.push(note);
            None
        }
        Known::All(in_force) => Some(in_force),
    };
    let mut packages = given;
    packages.add_kept(
        config,
        || reading.outputs(&found),
        |forecast| is_judged(&planned, forecast),
    )?;
    let (packages, about_packages) = packages.into_parts();
    notes.extend(about_packages);
    let loaded = load(config, packages, environment)?;
    let runtime = runtime_text(&loaded.runtime);
    let (models, subject) = subject(config, &found, (loaded, &runtime), in_force);
    let scopes = planned.values().map(|one| one.scope);
    let judge =
        Judge::new(subject, scopes, (asked.show, WAITING_BYTES_MAX)).map_err(CheckError::Schema)?;
    let step = (&*topics.observations, config.window.grid.step_ms());
    let recompute = Recompute::new(models, &runtime, step, config.forecast.max_age.is_some());
    let registry = RegistryClient::of(config)?;
    let walk = Walk::new((input, &registry), planned, (recompute, judge), &found);
    let outputs = reading.outputs(&found)?;
    let letters = reading.replayer(&topics.dead_letters)?;
    let letters = letters.with_headers(&LETTER_HEADERS);
    let (judgement, partitions) = walk.run(outputs, &letters, &found)?;
    Ok(Told {
        judgement,
        partitions,
        uncommitted,
        notes,
    })
}

/// Whether a forecast's source is among the records to be judged.
fn is_judged(planned: &BTreeMap<PartitionId, Planned>, forecast: &Forecast) -> bool {
    let one = planned.get(&PartitionId(forecast.source.partition));
    let offset = Offset::new(forecast.source.offset);
    one.zip(offset)
        .is_some_and(|(one, offset)| one.scope.lies(offset) == Lies::Judged)
}

/// The configuration has the windows: nothing is derived from the models.
fn load(
    config: &Config,
    packages: Vec<(PathBuf, Arc<Package>)>,
    environment: &Environment,
) -> Result<Models, ModelsError> {
    let derived = Derived {
        phase_ms: 0,
        gap_max: 0,
    };
    models::prepare(packages, Some(config), derived, environment)
}

/// What the check is of, and the models apart.
fn subject(
    config: &Config,
    found: &Found,
    (loaded, runtime): (Models, &Arc<str>),
    in_force: Option<InForce>,
) -> (Vec<Model>, Subject) {
    let models = loaded.list.into_iter().map(|model| Model {
        package: model.package,
        binding: model.binding,
        forecaster: model.forecaster,
    });
    let models: Vec<_> = models.collect();
    let packages = models.iter().map(|model| Arc::clone(&model.package));
    let topics = &config.topics;
    let homes = u32::try_from(found.forecasts.len()).ok();
    let subject = Subject {
        observations: topics.observations.clone(),
        forecasts: topics.forecasts.clone(),
        dead_letters: topics.dead_letters.clone(),
        homes: homes.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
        runtime: Arc::clone(runtime),
        models: packages.collect(),
        in_force,
    };
    (models, subject)
}

type Plans = (BTreeMap<PartitionId, Planned>, Vec<PartitionId>);

/// Plans every partition that was asked for, and names those in which nothing is committed.
fn plan_all(
    config: &Config,
    (input, partitions): (&Replayer, usize),
    asked: Asked,
) -> Result<Plans, Failure> {
    let topic = &config.topics.observations;
    let decoder = decoder(config)?;
    let folding = Folding {
        windows: windows(config)?,
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
