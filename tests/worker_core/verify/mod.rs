//! The judge of `foretell verify`, given what a real lane published: nothing is found where nothing was
//! done to it, and every damage that is done is found and named.

mod damage;
mod gaps;
mod in_force;
mod limits;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use foretell::cli::verify::evidence::{FoundForecast, InForce, Subject};
use foretell::cli::verify::finding::{Finding, Weight};
use foretell::cli::verify::judge::{Judge, WAITING_BYTES_MAX};
use foretell::cli::verify::letters::{FoundLetter, Judgement, Letters};
use foretell::cli::verify::plan::{Folding, Planned, plan};
use foretell::cli::verify::recompute::{Model, Recompute};
use foretell::cli::verify::scope::StateProof;
use foretell::consume::Committed;
use foretell::domain::{NextOffset, Offset, OutcomeCounts, PartitionId, RecordBatch, partition_of};
use foretell::partition::{Lineage, RUNTIME_HEADER, ServingModel, Step};
use foretell::produce::readback::{Forecast, ForecastReader};
use foretell::produce::{
    DETAIL_HEADER, Destination, ForecastEncoder, GAP_END_HEADER, REASON_HEADER,
    SOURCE_OFFSET_HEADER, SOURCE_PARTITION_HEADER, SOURCE_TOPIC_HEADER,
};
use foretell::window::WindowConfig;

use crate::hostile::Generator;
use crate::rig::{self, CONFIG_HASH, Input, Partition, Random, TOPIC, next};

const PARTITION: PartitionId = PartitionId(0);
/// Partitions of the topic of forecasts.
const HOMES: NonZeroU32 = NonZeroU32::new(3).unwrap();
const RECORDS: usize = 3_000;
/// Its forecast is NaN or infinite where a value is not above zero.
const NOT_FINITE: &str = "tests/models/not_finite.onnx";
/// What [`rig::model`] says of the runtime.
const RUNTIME: &str = "runtime of the tests";

/// A record of an output topic.
#[derive(Clone, Debug, PartialEq)]
struct Output {
    partition: i32,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    headers: BTreeMap<String, Vec<u8>>,
}

impl Output {
    fn read(&self) -> Forecast {
        let reader = ForecastReader::new(false).unwrap();
        reader.read(Some(&self.value)).unwrap()
    }

    /// The same record with another forecast.
    fn change(&mut self, change: impl FnOnce(&mut Forecast)) {
        let mut forecast = self.read();
        change(&mut forecast);
        self.value = encode(&forecast);
    }

    fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?;
        Some(str::from_utf8(value).unwrap())
    }

    /// The offset of the record that a dead letter is of.
    fn source(&self) -> i64 {
        self.header(SOURCE_OFFSET_HEADER).unwrap().parse().unwrap()
    }
}

fn encode(forecast: &Forecast) -> Vec<u8> {
    use foretell::domain;
    let quantiles: Vec<Vec<_>> = forecast
        .targets
        .iter()
        .map(|target| {
            let all = target.quantiles.iter();
            all.map(|one| domain::Quantile {
                level: one.level,
                values: &one.values,
            })
            .collect()
        })
        .collect();
    let targets: Vec<_> = forecast
        .targets
        .iter()
        .zip(&quantiles)
        .map(|(target, quantiles)| domain::Target {
            name: &target.name,
            mean: &target.mean,
            quantiles,
        })
        .collect();
    let mut value = Vec::new();
    ForecastEncoder::default().encode(
        &domain::Forecast {
            series: &forecast.series,
            origin: domain::Timestamp(forecast.origin),
            step_ms: forecast.step_ms,
            targets: &targets,
            model: domain::ModelName {
                name: &forecast.model.name,
                version: &forecast.model.version,
                digest: &forecast.model.digest,
            },
            source: domain::Source {
                topic: &forecast.source.topic,
                partition: PartitionId(forecast.source.partition),
                offset: Offset::new(forecast.source.offset).unwrap(),
            },
            imputed: forecast.imputed.cast_unsigned(),
            partial: forecast.partial,
            window_hash: forecast.window_hash,
        },
        &mut value,
    );
    value
}

/// What lies on a cluster after a worker has run.
#[derive(Clone, Debug)]
struct Cluster {
    inputs: Vec<Input>,
    windows: WindowConfig,
    forecasts: Vec<Output>,
    letters: Vec<Output>,
    committed: NextOffset,
    metadata: String,
    outcomes: OutcomeCounts,
    /// The first record that is still in the input.
    log_start: NextOffset,
    /// Partitions whose first records are gone, of the forecasts and of the dead letters.
    trimmed: (Vec<i32>, Vec<i32>),
    models: Vec<&'static str>,
    in_force: Option<InForce>,
    /// What the check's own runtime says of itself.
    runtime: &'static str,
    asked: Option<(NextOffset, NextOffset)>,
    waiting_bytes_max: usize,
}

fn windows(length: usize) -> WindowConfig {
    let mut settings = rig::settings(length, 2);
    settings.series_max = 8;
    WindowConfig::new(settings).unwrap()
}

impl Cluster {
    /// After a worker with this model has run over hostile input, from the start on.
    fn new(path: &'static str, length: usize) -> Self {
        Self::with_lineage(path, length, rig::lineage())
    }

    fn with_lineage(path: &'static str, length: usize, lineage: Lineage) -> Self {
        let made = Generator::new(5, true).make(RECORDS);
        let inputs = made.into_iter().map(|made| made.input).collect();
        let step = rig::step(windows(length)).with_lineage(lineage);
        Self::served(path, step, (NextOffset::ZERO, inputs))
    }

    /// After a worker with this model has gone on from this state over these records.
    fn served(path: &'static str, step: Step, (from, inputs): (NextOffset, Vec<Input>)) -> Self {
        let windows = *step.windows().config();
        let length = windows.length();
        let batches = rig::chunks(&inputs, 100, &mut Random(3));
        let partition = Partition {
            step,
            from,
            ..Partition::fresh(PARTITION.0, windows, batches)
        };
        let model = rig::model(path, length);
        let settings = rig::lane_settings(64, None);
        let whole = rig::whole(&rig::run(model, settings, vec![partition], 3), PARTITION.0);
        let (mut forecasts, mut letters) = (Vec::new(), Vec::new());
        for sent in whole.sent {
            let key = sent.key.clone().unwrap_or_default();
            let headers = sent.headers.into_iter();
            let output = |home| Output {
                partition: home,
                key: sent.key,
                value: sent.value.unwrap(),
                headers: headers
                    .map(|(name, value)| (name, value.unwrap_or_default()))
                    .collect(),
            };
            match sent.destination {
                Destination::Forecasts => forecasts.push(output(partition_of(&key, HOMES).0)),
                Destination::DeadLetters => letters.push(output(0)),
            }
        }
        Self {
            inputs,
            windows,
            forecasts,
            letters,
            committed: whole.to,
            metadata: whole.metadata,
            outcomes: whole.outcomes,
            log_start: NextOffset::ZERO,
            trimmed: (Vec::new(), Vec::new()),
            models: vec![path],
            in_force: None,
            runtime: RUNTIME,
            asked: None,
            waiting_bytes_max: WAITING_BYTES_MAX,
        }
    }

    fn planned(&self) -> Planned {
        let decoder = rig::decoder();
        let folding = Folding {
            windows: self.windows,
            decoder: &decoder,
            config_hash: CONFIG_HASH,
        };
        let log = Committed {
            stable: Some((self.committed, self.metadata.clone())),
            log_start: self.log_start,
            log_end: self.committed,
            topic_id: None,
        };
        let planned = plan(folding, (TOPIC, PARTITION), &log, self.asked);
        planned.unwrap().unwrap()
    }

    fn loaded(&self) -> Vec<Model> {
        let model = |path: &&'static str| {
            let ServingModel {
                package,
                forecaster,
                binding,
                runtime: _,
            } = rig::model(path, self.windows.length());
            Model {
                package,
                binding,
                forecaster,
            }
        };
        self.models.iter().map(model).collect()
    }

    /// Checks it, folding so many records ahead of what is read.
    fn check_ahead(&self, ahead: usize) -> Checked {
        let mut planned = self.planned();
        let runtime: Arc<str> = self.runtime.into();
        let models = self.loaded();
        let subject = Subject {
            observations: TOPIC.to_owned(),
            forecasts: "forecasts".to_owned(),
            dead_letters: "dead-letters".to_owned(),
            homes: HOMES,
            runtime: Arc::clone(&runtime),
            models: models.iter().map(|one| Arc::clone(&one.package)).collect(),
            in_force: self.in_force.clone(),
        };
        let bounds = (usize::MAX, self.waiting_bytes_max);
        let mut judge = Judge::new(subject, [planned.scope], bounds).unwrap();
        for home in &self.trimmed.0 {
            judge.forecasts_trimmed(PartitionId(*home));
        }
        for partition in &self.trimmed.1 {
            judge.letters_trimmed(PartitionId(*partition));
        }
        self.give_gaps(&mut judge);
        let mut recompute = Recompute::new(models, &runtime, (TOPIC, rig::STEP_MS), false);
        let end = planned.scope.judged().1;
        let records: RecordBatch = rig::batch(&self.inputs);
        let mut left = records.iter().filter(|record| {
            !planned.scope.first.is_past(record.offset) && end.is_past(record.offset)
        });
        let mut found = self.forecasts.iter().enumerate().peekable();
        loop {
            let mut more = false;
            for record in left.by_ref().take(ahead) {
                recompute
                    .take(&mut planned.fold, &record, &mut judge)
                    .unwrap();
                more = true;
            }
            recompute.run(PARTITION, &mut judge).unwrap();
            let position = planned.fold.position;
            let is_folded = |output: &Output| {
                let reader = ForecastReader::new(false).unwrap();
                let is_past = |forecast: Forecast| {
                    position.is_past(Offset::new(forecast.source.offset).unwrap())
                };
                !more || reader.read(Some(&output.value)).map_or(true, is_past)
            };
            while let Some((offset, output)) = found.next_if(|(_, output)| is_folded(output)) {
                give(&mut judge, offset, output);
            }
            if !more {
                break;
            }
        }
        let state = planned.state();
        judge.state(PARTITION, &state);
        Checked {
            judgement: self.check_letters(judge.letters()),
            state,
        }
    }

    fn check_letters(&self, mut letters: Letters) -> Judgement {
        for (offset, output) in self.letters.iter().enumerate() {
            if output.header(GAP_END_HEADER).is_some() {
                continue;
            }
            let number = |name| output.header(name).unwrap().parse::<i64>().unwrap();
            let partition = i32::try_from(number(SOURCE_PARTITION_HEADER)).unwrap();
            letters.letter(&FoundLetter {
                at: (PartitionId(output.partition), at(offset)),
                reason: output.header(REASON_HEADER).unwrap(),
                detail: output.header(DETAIL_HEADER).unwrap_or_default(),
                topic: output.header(SOURCE_TOPIC_HEADER).unwrap(),
                source: (
                    PartitionId(partition),
                    Offset::new(output.source()).unwrap(),
                ),
            });
        }
        letters.finish()
    }

    fn check(&self) -> Checked {
        self.check_ahead(97)
    }
}

fn give(judge: &mut Judge, offset: usize, output: &Output) {
    let reader = ForecastReader::new(false).unwrap();
    let read = reader.read(Some(&output.value));
    let read = read.map_err(|error| error.to_string());
    judge.forecast(&FoundForecast {
        at: (PartitionId(output.partition), at(offset)),
        key: output.key.as_deref(),
        read: read.as_ref().map_err(String::as_str),
        datum: reader.datum(&output.value),
        runtime: output.headers.get(RUNTIME_HEADER).map(Vec::as_slice),
    });
}

fn at(index: usize) -> Offset {
    Offset::new(i64::try_from(index).unwrap()).unwrap()
}

/// What a check told.
#[derive(Debug)]
struct Checked {
    judgement: Judgement,
    state: StateProof,
}

impl Checked {
    fn get(&self, finding: Finding) -> u64 {
        self.judgement.findings.get(finding)
    }

    /// What is wrong or was not checked.
    fn bad(&self) -> Vec<(Finding, u64)> {
        let counts = self.judgement.findings.counts();
        let is_bad =
            |finding: Finding| matches!(finding.weight(), Weight::Wrong | Weight::Unchecked);
        counts.filter(|(finding, _)| is_bad(*finding)).collect()
    }

    /// The sources and words of one kind.
    fn told(&self, finding: Finding) -> Vec<(Option<i64>, String)> {
        let all = self.judgement.findings.differences();
        let matching = all.filter(|one| one.finding == finding);
        matching
            .map(|one| {
                (
                    one.source.as_ref().map(|source| source.offset),
                    one.what.clone(),
                )
            })
            .collect()
    }
}
