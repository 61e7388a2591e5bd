//! Rebuilds a partition's windows beside the worker that has them, and asks them.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Arguments, Rebuild, Report};
use crate::app::{StartError, client_settings, decoder, restore_settings, windows};
use crate::cli::Failure;
use crate::cli::output::remark;
use crate::cli::progress::Progress;
use crate::cli::registry::RegistryClient;
use crate::config::Config;
use crate::consume::{ClientSettings, Replayer, probe};
use crate::domain::{NextOffset, Offset, Outcome, PartitionId, RebuildPoint, Slot, partition_of};
use crate::infer::{Package, WindowFeatures};
use crate::partition::explain::{InForce, Place, Question, RecentOutcome, State, explain};
use crate::partition::{
    DueRows, End, Finding, Fresh, Planned, Proof, RebuildPlan, Rebuilt, RestoreError,
    RestoreSettings, Watched, plan, rebuild_watched,
};
use crate::registry::Schemas;
use crate::window::WindowConfig;

/// How long the topic is looked for.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum ExplainError {
    #[error(
        "group {group} has committed nothing in {topic}/{partition}, where series {series} is: no worker has served it yet. Start one, or check kafka.group_id"
    )]
    NothingCommitted {
        group: String,
        topic: String,
        partition: PartitionId,
        series: String,
    },
    #[error("the replay was given up before its end; this is a bug")]
    GivenUp,
    #[error("{topic} has {partitions} partitions, from 0 on; there is no partition {partition}")]
    NoPartition {
        topic: String,
        partitions: NonZeroU32,
        partition: i32,
    },
}

/// What every partition is asked with.
struct Asker<'a> {
    arguments: &'a Arguments,
    replayer: Replayer,
    settings: RestoreSettings,
    model: InForce<'a>,
    package: &'a Package,
    partitions: NonZeroU32,
    /// Where schemas come from that are in a registry.
    registry: RegistryClient,
}

pub(super) fn report(arguments: &Arguments, config: &Config) -> Result<Report, Failure> {
    let file = arguments.model.as_ref().unwrap_or(&config.model.initial);
    let package = Package::read(file)?;
    let bound = package.contract().bind(&WindowFeatures {
        step_ms: config.window.grid.step_ms(),
        length: config.window.length.get(),
        features: &config.window.features,
    });
    let binding = bound.map_err(|error| StartError::Bind {
        path: file.clone(),
        error,
    })?;
    let client = ClientSettings {
        client_id: "foretell-cli".to_owned(),
        ..client_settings(config)
    };
    let topic = config.topics.observations.as_str();
    let group = &config.kafka.group_id;
    let found = probe(&client, group, &[topic], PROBE_TIMEOUT)?;
    let partitions = found.first().map_or(NonZeroU32::MIN, |one| one.partitions);
    let asker = Asker {
        arguments,
        replayer: Replayer::new(&client, group, topic)?,
        settings: restore_settings(config, windows(config)?, decoder(config)?, Schemas::none()),
        registry: RegistryClient::of(config)?,
        model: InForce {
            contract: package.contract(),
            digest: package.digest(),
            binding: &binding,
            features: &config.window.features,
        },
        package: &package,
        partitions,
    };
    let home = partition_of(arguments.series.as_bytes(), partitions);
    let first = arguments.partition.map_or(home, PartitionId);
    let count = i32::try_from(partitions.get()).unwrap_or(i32::MAX);
    if !(0..count).contains(&first.0) {
        return Err(Failure::usage(ExplainError::NoPartition {
            topic: topic.to_owned(),
            partitions,
            partition: first.0,
        }));
    }
    let nothing = || ExplainError::NothingCommitted {
        group: config.kafka.group_id.clone(),
        topic: topic.to_owned(),
        partition: first,
        series: arguments.series.clone(),
    };
    let answer = asker.ask(first)?.ok_or_else(nothing)?;
    if answer.is_about_the_series() || arguments.partition.is_some() {
        return Ok(answer);
    }
    for other in (0..count).map(PartitionId).filter(|other| *other != home) {
        remark(format_args!(
            "not in partition {home}, looking into partition {other}"
        ));
        let elsewhere = asker.ask(other)?.filter(Report::is_about_the_series);
        if let Some(answer_elsewhere) = elsewhere {
            return Ok(answer_elsewhere);
        }
    }
    Ok(answer)
}

impl Report {
    /// True unless nothing was ever heard of the series.
    fn is_about_the_series(&self) -> bool {
        self.explanation.window.is_some() || !self.explanation.outcomes.is_empty()
    }
}

impl Asker<'_> {
    /// `None` where the group has committed nothing.
    fn ask(&self, partition: PartitionId) -> Result<Option<Report>, Failure> {
        let log = self.replayer.committed(partition, &|| true)?;
        let planned = plan(&self.replayer, &self.settings, (partition, &log), &|| true)?;
        let Some(Planned { plan, unusable }) = planned else {
            return Ok(None);
        };
        let committed = plan.committed;
        let from_further_back = self.further_back(&plan);
        let is_another = from_further_back != plan;
        let (mut told, mut rebuilt) = self.rebuild(partition, from_further_back)?;
        // With the stream time that is known only where a worker would start.
        if rebuilt.finding != Finding::Agreed && is_another {
            (told, rebuilt) = self.rebuild(partition, plan)?;
        }
        let question = Question {
            series: &self.arguments.series,
            slots: self.arguments.slots,
        };
        let place = Place {
            topic: &self.settings.topic,
            partition,
            partitions: self.partitions,
            position: committed,
        };
        let state = State {
            windows: rebuilt.step.windows(),
            lineage: rebuilt.step.lineage(),
        };
        Ok(Some(Report {
            explanation: explain(question, place, state, self.model, told.outcomes),
            rebuild: Some(Rebuild {
                committed: committed.get(),
                attempts: rebuilt.attempts.iter().map(|from| from.get()).collect(),
                records: told.records,
                finding: match rebuilt.finding {
                    Finding::Agreed => "agreed",
                    Finding::NeverAgreed => "never_agreed",
                    Finding::Unproven => "unproven",
                },
                reason: unusable.map(|reason| reason.to_string()),
            }),
        }))
    }

    /// The plan, begun some slots earlier: the model's window must be whole at the first of the last
    /// outcomes, and a worker's replay makes it whole at the newest record only.
    fn further_back(&self, plan: &RebuildPlan) -> RebuildPlan {
        let Some(proof) = plan.proof else {
            return plan.clone();
        };
        let slots = i64::try_from(self.settings.windows.rows()).unwrap_or(i64::MAX);
        let more = i64::try_from(self.arguments.last)
            .unwrap_or(i64::MAX)
            .saturating_add(2);
        // As many records in a slot as on the way from there to here, and at most as far again.
        let distance = plan.committed.get().saturating_sub(plan.from.offset.get());
        let further = distance.saturating_mul(more.min(slots)) / slots.max(1);
        let from = NextOffset::new(plan.from.offset.get().saturating_sub(further));
        let from = from.unwrap_or(NextOffset::ZERO).max(proof.floor);
        if from >= plan.from.offset {
            return plan.clone();
        }
        RebuildPlan {
            from: RebuildPoint {
                offset: from,
                stream_time: None,
            },
            // One attempt: if it does not agree the plan itself is followed.
            proof: Some(Proof {
                floor: from,
                ..proof
            }),
            ..plan.clone()
        }
    }

    fn rebuild(
        &self,
        partition: PartitionId,
        plan: RebuildPlan,
    ) -> Result<(Told, Rebuilt), Failure> {
        let fresh = Fresh {
            windows: self.settings.windows,
            decoder: &self.settings.decoder,
        };
        let mut outcomes = Outcomes::new(self.package, self.model, self.arguments);
        let mut records = 0;
        let mut failed = None;
        let registry = &self.registry;
        let rebuilt = rebuild_watched::<RestoreError>(
            fresh,
            plan,
            // A verdict that a worker has passed comes before what the registry says now.
            &mut |schema| match registry.answer(schema) {
                Ok(known) => Some(known),
                Err(error) => {
                    failed = Some(error);
                    None
                }
            },
            &mut |range, fold| {
                let mut progress = Progress::new("replayed", length(range));
                let mut read = 0;
                records += self.replayer.replay(partition, range, &mut |batch| {
                    fold(batch);
                    read += u64::try_from(batch.len()).unwrap_or(0);
                    let next = batch.last_offset().map_or(range.0, Offset::next);
                    progress.at(length((range.0, next)), read);
                    true
                })?;
                progress.finish();
                Ok(true)
            },
            &mut |watched| outcomes.watch(watched),
        )?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let rebuilt = rebuilt.ok_or(ExplainError::GivenUp)?;
        let whole = rebuilt.attempts.last() == Some(&rebuilt.step.lineage().start);
        let told = Told {
            outcomes: outcomes.told(whole, &self.settings.windows),
            records,
        };
        Ok((told, rebuilt))
    }
}

/// What a rebuild told on its way.
struct Told {
    outcomes: Vec<RecentOutcome>,
    records: u64,
}

fn length((from, to): (NextOffset, NextOffset)) -> u64 {
    u64::try_from(to.get().saturating_sub(from.get())).unwrap_or(0)
}

/// The outcomes of the series, collected while its partition is rebuilt.
struct Outcomes<'a> {
    series: &'a str,
    most: usize,
    package: &'a Package,
    model: InForce<'a>,
    rows: DueRows,
    /// The first slot of the series that was folded.
    first: Option<Slot>,
    /// Newest first; the slot is that of a folded record.
    last: VecDeque<((Offset, Outcome), Option<Slot>)>,
}

impl<'a> Outcomes<'a> {
    fn new(package: &'a Package, model: InForce<'a>, arguments: &'a Arguments) -> Self {
        Self {
            series: &arguments.series,
            most: arguments.last,
            package,
            model,
            rows: DueRows::new(package, 1),
            first: None,
            last: VecDeque::new(),
        }
    }

    fn watch(&mut self, watched: Watched<'_>) {
        let (record, stepped, step) = match watched {
            Watched::Attempt => {
                self.first = None;
                self.last.clear();
                return;
            }
            Watched::Folded(record, stepped, step) => (record, stepped, step),
        };
        if !stepped.is_of(self.series, record, step.windows()) {
            return;
        }
        let Some(mut outcome) = stepped.end.outcome() else {
            return;
        };
        let mut slot = None;
        // Only folding makes a forecast due, and the model's window must be complete then.
        if let End::Folded(series) = &stepped.end
            && let Some(window) = step.window(*series)
        {
            self.rows.clear();
            let bound = (self.package, self.model.binding);
            if self.rows.take((step, &window), bound).is_some() {
                outcome = Outcome::Forecast;
            }
            slot = Some(window.newest());
            self.first = self.first.or(slot);
        }
        self.last.push_front(((record.offset, outcome), slot));
        self.last.truncate(self.most);
    }

    /// `whole`: nothing of the partition was before the first record that was read.
    fn told(self, whole: bool, windows: &WindowConfig) -> Vec<RecentOutcome> {
        let reach = self.package.contract().window() + windows.gap_max();
        let reach = i64::try_from(reach).unwrap_or(i64::MAX);
        let told = self.last.into_iter().map(|(at, slot)| {
            // What a window lacks in a replay may have been in it before.
            let seen_whole = || {
                slot.zip(self.first)
                    .is_none_or(|(slot, first)| slot.plus(-reach) >= first)
            };
            let certain = at.1 != Outcome::Folded || whole || seen_whole();
            RecentOutcome::new(at, certain)
        });
        told.collect()
    }
}
