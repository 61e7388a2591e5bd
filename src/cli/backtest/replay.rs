//! Records through the serving path: folded once, taken by every model, run in batches, judged.
//!
//! Decoder, windows, rows, scaling and inference are the worker's own code. What is not here is what
//! decides emission only: deadlines, `max_age`, transactions.

use std::collections::HashMap;

use super::models::Model;
use super::plot::Recorder;
use super::scope::Scope;
use super::track::{Ticket, Track};
use crate::domain::{Outcome, OutcomeCounts, Record, Rejection, Timestamp};
use crate::infer::ForeignBatch;
use crate::partition::{DueRows, Folded, Placed, Step};
use crate::window::{SeriesKey, Window};

/// Rows of a model's batch. Results do not depend on it: the check of a package saw to that.
pub const ROWS_MAX: usize = 256;

/// Records between two judgements where no batch fills up, as in the first rows of many series.
const RECORDS_MAX: usize = 4_096;

/// Records between two looks for series that are gone.
const SWEEP_EVERY: u64 = 65_536;

/// Series that are judged; further ones are counted.
const SERIES_MAX: usize = 1_000_000;

/// The models at work on a stream of records.
#[derive(Debug)]
pub struct Replay {
    pub scope: Scope,
    runners: Vec<Runner>,
    series: HashMap<String, usize>,
    tracks: Vec<Seen>,
    /// Series that have been observed since the last judgement.
    touched: Vec<usize>,
    drawn: Drawn,
    pub told: Told,
}

/// What becomes known on the way.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub records: u64,
    /// Outcomes that are the same for every model.
    pub outcomes: OutcomeCounts,
    /// Records that became the newest row of their series.
    pub newest: u64,
    pub misplaced: u64,
    pub held_discarded: u64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// Series beyond [`SERIES_MAX`].
    pub unjudged: u64,
    /// What ONNX Runtime said of the last run that failed.
    pub failed_run: Option<String>,
}

/// Which series are drawn, and how.
#[derive(Clone, Debug, Default)]
pub struct Drawn {
    /// By name; none means the first so many.
    pub names: Vec<String>,
    pub first: usize,
    /// What is drawn of each; `None` draws nothing.
    pub recorder: Option<Recorder>,
}

#[derive(Debug)]
struct Seen {
    track: Track,
    /// Stream time when it was last observed.
    at: Option<Timestamp>,
}

/// A model, its batch, and whose rows they are.
#[derive(Debug)]
struct Runner {
    model: Model,
    rows: DueRows,
    /// `None` for a series that is not judged: it is forecast all the same, as its outcomes count.
    due: Vec<Option<(usize, Ticket)>>,
    forecasts: u64,
    failed: u64,
}

impl Replay {
    pub fn new(models: Vec<Model>, scope: Scope, drawn: Drawn) -> Self {
        let runner = |model: Model| Runner {
            rows: DueRows::new(&model.package, ROWS_MAX),
            due: Vec::new(),
            forecasts: 0,
            failed: 0,
            model,
        };
        Self {
            scope,
            runners: models.into_iter().map(runner).collect(),
            series: HashMap::new(),
            tracks: Vec::new(),
            touched: Vec::new(),
            drawn,
            told: Told::default(),
        }
    }

    /// Takes one record, and says why it was refused if it was. Whoever has a registry has asked it before:
    /// a schema that is missing here is unknown.
    pub fn take(
        &mut self,
        step: &mut Step,
        record: &Record<'_>,
        placed: Option<Placed>,
    ) -> Result<Option<Rejection>, ForeignBatch> {
        let stepped = step.fold(record, placed);
        self.told.records += 1;
        self.told.misplaced += u64::from(stepped.misplaced);
        self.told.held_discarded += u64::from(stepped.held_discarded);
        let mut refused = None;
        let folded = Folded::of(stepped.end).unwrap_or(Folded::Refused {
            rejection: Rejection::UnknownSchema,
            detail: None,
        });
        match folded {
            Folded::Done(outcome) => self.told.outcomes.add(outcome),
            Folded::Refused { rejection, .. } => {
                self.told.outcomes.add(Outcome::Rejected(rejection));
                refused = Some(rejection);
            }
            Folded::Newest(series) => {
                self.told.newest += 1;
                self.fall_due(step, series)?;
            }
        }
        if self.told.records.is_multiple_of(SWEEP_EVERY) {
            self.sweep(step)?;
        }
        Ok(refused)
    }

    /// Takes the rows that the newest record of a series makes due.
    fn fall_due(&mut self, step: &Step, series: SeriesKey) -> Result<(), ForeignBatch> {
        let Some(window) = step.window(series) else {
            return Ok(());
        };
        let time = step.windows().config().grid().time(window.newest());
        self.told.first = Some(self.told.first.map_or(time, |first| first.min(time)));
        self.told.last = self.told.last.max(Some(time));
        let seen = self.seen(&window);
        let newest = window.newest();
        if let Some(seen) = seen
            && !self.tracks[seen].track.continues(&self.scope, newest)
        {
            self.run()?;
            self.tracks[seen].track.leave(&self.scope, newest);
        }
        let ticket = seen.map(|seen| {
            self.touched.push(seen);
            self.tracks[seen].at = step.windows().stream_time();
            (seen, self.tracks[seen].track.observe(&self.scope, &window))
        });
        let mut full = self.touched.len() >= RECORDS_MAX;
        for runner in &mut self.runners {
            let bound = (&*runner.model.package, &runner.model.binding);
            if runner.rows.take((step, &window), bound).is_some() {
                runner.due.push(ticket);
                full |= runner.rows.batch().is_full();
            }
        }
        if full { self.run() } else { Ok(()) }
    }

    /// The place of the window's series among those that are judged.
    fn seen(&mut self, window: &Window<'_>) -> Option<usize> {
        let name = window.series();
        if let Some(known) = self.series.get(name) {
            return Some(*known);
        }
        if self.tracks.len() >= SERIES_MAX {
            self.told.unjudged += 1;
            return None;
        }
        let place = self.tracks.len();
        let is_drawn = if self.drawn.names.is_empty() {
            place < self.drawn.first
        } else {
            self.drawn.names.iter().any(|wanted| wanted == name)
        };
        let recorder = self.drawn.recorder.clone().filter(|_| is_drawn);
        self.tracks.push(Seen {
            track: Track::new(name, recorder),
            at: None,
        });
        self.series.insert(name.to_owned(), place);
        Some(place)
    }

    /// Runs every model on the rows that wait, and judges what can be judged.
    fn run(&mut self) -> Result<(), ForeignBatch> {
        for (index, runner) in self.runners.iter_mut().enumerate() {
            let outputs = runner.model.forecaster.run(runner.rows.batch())?;
            for (row, waiting) in runner.due.drain(..).enumerate() {
                let Ok(forecast) = outputs.row(row) else {
                    runner.failed += 1;
                    continue;
                };
                runner.forecasts += 1;
                if let Some((seen, ticket)) = waiting {
                    let values = self.tracks[seen].track.values(&self.scope, ticket);
                    self.scope.store(index, &forecast, values);
                }
            }
            if let Some(failure) = outputs.failed_run() {
                self.told.failed_run = Some(failure.to_owned());
            }
            runner.rows.clear();
        }
        for seen in self.touched.drain(..) {
            self.tracks[seen].track.judge(&self.scope);
        }
        Ok(())
    }

    /// Closes the series that the windows have forgotten, so that memory follows theirs.
    fn sweep(&mut self, step: &Step) -> Result<(), ForeignBatch> {
        self.run()?;
        let idle = step.windows().config().settings().series_idle_ms;
        let now = step.windows().stream_time();
        for seen in &mut self.tracks {
            if let (Some(at), Some(now)) = (seen.at, now)
                && now.0.saturating_sub(at.0) > idle
            {
                seen.track.end(&self.scope, None);
                seen.at = None;
            }
        }
        Ok(())
    }

    /// The records of a partition end here.
    pub fn end(&mut self, step: &Step) -> Result<(), ForeignBatch> {
        self.run()?;
        for seen in &mut self.tracks {
            if seen.at.take().is_some() {
                let window = step.windows().window_of(&seen.track.name);
                seen.track.end(&self.scope, window.as_ref());
            }
        }
        Ok(())
    }

    /// The series in the order of their names.
    pub fn tracks(&self) -> Vec<&Track> {
        let mut tracks: Vec<_> = self.tracks.iter().map(|seen| &seen.track).collect();
        tracks.sort_by(|one, other| one.name.cmp(&other.name));
        tracks
    }

    /// Each model and how its records ended.
    pub fn served(&self) -> impl Iterator<Item = (&Model, OutcomeCounts)> {
        self.runners.iter().map(|runner| {
            let mut outcomes = self.told.outcomes;
            let folded = self.told.newest - runner.forecasts - runner.failed;
            outcomes.add_many(Outcome::Forecast, runner.forecasts);
            outcomes.add_many(Outcome::ForecastFailed, runner.failed);
            outcomes.add_many(Outcome::Folded, folded);
            (&runner.model, outcomes)
        })
    }
}
