//! From a round's results to output batches: forecasts in offset order, dead letters among them.

use crate::domain::{DeadLetterReason, Outcome, Record, Source, Timestamp};
use crate::infer::Outputs;
use crate::produce::{DeadLetter, Destination, ForecastEncoder, OutputBatch};

use super::published::{About, ModelText};
use super::round::{DEADLINE_HEADER, Draft, Due, OutputSettings, Pending, PendingOutput};
use super::serving::Serving;

/// The header of a forecast that names ONNX Runtime's version and the instruction set.
pub const RUNTIME_HEADER: &str = "foretell.runtime";

/// The header of a forecast that counts the headers of its observation that were too large to copy.
pub const LEFT_OUT_HEADER: &str = "foretell.headers_left_out";

/// Bytes of copied headers in one forecast, names and values.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// A guess of a forecast's size, to make room once per round.
const OUTPUT_BYTES_GUESS: usize = 512;

/// What all output batches of a round have in common.
pub(super) struct Build<'a> {
    /// The models of the lane's lineup and their forecasts, row by row.
    pub(super) models: &'a [(&'a ModelText, Outputs<'a>)],
    pub(super) settings: &'a OutputSettings,
    pub(super) encoder: &'a ForecastEncoder,
    /// Series names of the round.
    pub(super) names: &'a str,
    /// The wall clock, read once for the round; it decides emission only.
    pub(super) now: Timestamp,
}

impl Build<'_> {
    /// The output batch of one partition's part of the round.
    pub(super) fn batch(
        &self,
        draft: &mut Draft,
        serving: &Serving,
        pending: &[Pending],
    ) -> OutputBatch {
        let mut batch = OutputBatch::new(serving.partition, serving.epoch, draft.from);
        batch.to = draft.to;
        batch.metadata = std::mem::take(&mut draft.metadata);
        batch.newest = draft.newest;
        batch.progress = serving.progress.clone();
        batch.outcomes = draft.outcomes;
        batch.reserve(pending.len(), OUTPUT_BYTES_GUESS);
        for item in pending {
            let record = item.batch.get(item.index);
            let outcome = match &item.output {
                PendingOutput::Due(due) => {
                    let outcome = self.forecast(&mut batch, due, &record);
                    if outcome != Outcome::Forecast {
                        draft.unpublished.push((due.key, (due.offset, outcome)));
                    }
                    outcome
                }
                PendingOutput::Refused { rejection, detail } => {
                    let text = detail.as_ref().map(ToString::to_string);
                    let reason = DeadLetterReason::Rejected(*rejection);
                    self.dead_letter(&mut batch, reason, text.as_deref(), &record);
                    Outcome::Rejected(*rejection)
                }
            };
            batch.outcomes.add(outcome);
        }
        batch
    }

    fn forecast(&self, batch: &mut OutputBatch, due: &Due, record: &Record<'_>) -> Outcome {
        if self.is_expired(record) {
            return Outcome::Expired;
        }
        let (model, outputs) = &self.models[due.model];
        let row = match outputs.row(due.row.row) {
            Ok(row) => row,
            Err(failure) => {
                let detail = failure.to_string();
                let reason = DeadLetterReason::ModelOutputInvalid;
                self.dead_letter(batch, reason, Some(&detail), record);
                return Outcome::ForecastFailed;
            }
        };
        let series = self
            .names
            .get(due.series.0..due.series.1)
            .unwrap_or_default();
        let about = About {
            series,
            step_ms: self.settings.step_ms,
            source: Source {
                topic: &self.settings.input_topic,
                partition: batch.partition,
                offset: due.offset,
            },
            row: due.row,
        };
        model.forecast(about, &row, |forecast| {
            batch.push(Destination::Forecasts, Some(series.as_bytes()), |out| {
                self.encoder.encode(forecast, out);
            });
        });
        batch.header(RUNTIME_HEADER, Some(model.runtime().as_bytes()));
        self.copy_headers(batch, record);
        Outcome::Forecast
    }

    /// What does not fit is left out and counted in a header: a forecast that is larger than the
    /// producer takes would end the worker, and again at each restart.
    fn copy_headers(&self, batch: &mut OutputBatch, record: &Record<'_>) {
        let is_wanted = |name: &str| self.settings.copy_headers.iter().any(|it| it == name);
        let mut room = COPIED_BYTES_MAX;
        let mut left_out: u32 = 0;
        for (name, value) in record.headers().filter(|(name, _)| is_wanted(name)) {
            match room.checked_sub(name.len() + value.map_or(0, <[u8]>::len)) {
                Some(rest) => {
                    room = rest;
                    batch.header(name, value);
                }
                None => left_out += 1,
            }
        }
        if left_out > 0 {
            batch.header(LEFT_OUT_HEADER, Some(left_out.to_string().as_bytes()));
        }
    }

    fn dead_letter(
        &self,
        batch: &mut OutputBatch,
        reason: DeadLetterReason,
        detail: Option<&str>,
        record: &Record<'_>,
    ) {
        let topic = &self.settings.input_topic;
        DeadLetter {
            reason,
            detail,
            topic,
            partition: batch.partition,
        }
        .push(batch, record);
    }

    /// Past the record's own deadline, or older than anybody wants.
    fn is_expired(&self, record: &Record<'_>) -> bool {
        let too_old = self.settings.max_age.is_some_and(|age| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            record
                .timestamp
                .is_some_and(|at| at.0.saturating_add(age) < self.now.0)
        });
        too_old || deadline(record).is_some_and(|deadline| deadline < self.now)
    }
}

/// When nobody wants the forecast any more, as the record's header says. One that is not a number is as
/// good as none: it says nothing about when to stop.
pub fn deadline(record: &Record<'_>) -> Option<Timestamp> {
    let (_, value) = record
        .headers()
        .find(|(name, _)| *name == DEADLINE_HEADER)?;
    std::str::from_utf8(value?)
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Timestamp)
}
