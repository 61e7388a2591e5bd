//! What everything is compared with: uninterrupted runs over the same input.
//!
//! A partition has one, from its start on, until records are deleted. Where some were deleted before they
//! were read, another one begins behind them, with empty windows; where the log does not hold any more what
//! a proof takes, one begins with what is left. Which of them is committed the offset's metadata says.

use broker_model::{Broker, Refusal};
use foretell::domain::{CommitMetadata, NextOffset, RebuildPoint, Timestamp};
use foretell::partition::{Lineage, Step, deadline};
use foretell::produce::Destination;
use foretell::window::Table;

use crate::input::{OUTPUTS, Rec, Setup, gap_record, input, make, next, place};

/// An output of a straight run.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) offset: i64,
    pub(crate) value: Box<[u8]>,
    /// Its record says until when it is wanted.
    pub(crate) may_expire: bool,
    /// It stands for records that nobody can read any more.
    pub(crate) is_gap: bool,
}

/// What the windows of a run go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing, at an offset.
    Empty { start: i64 },
    /// What the log still has from `from` on, for a partition that began at `start` and was committed to
    /// `committed`.
    Remnant {
        start: i64,
        from: RebuildPoint,
        committed: i64,
    },
}

/// One uninterrupted run over a partition.
#[derive(Debug)]
pub(crate) struct Straight {
    origin: Origin,
    pub(crate) step: Step,
    pub(crate) position: i64,
    /// The state at each position from `base` on: checksum and stream time, and how many records lie before.
    states: Vec<(u64, Option<Timestamp>, u64)>,
    base: i64,
    /// What it makes; once it is what is committed, everything that is to be visible.
    pub(crate) outputs: [Vec<Expected>; OUTPUTS],
}

impl Straight {
    fn new(origin: Origin, setup: &Setup) -> Self {
        let (step, base) = match origin {
            Origin::Empty { start } => (setup.fresh_step(next(start)), start),
            Origin::Remnant {
                start,
                from,
                committed,
            } => {
                let windows = Table::resume_at(setup.windows, from);
                let lineage = Lineage {
                    config_hash: setup.config_hash,
                    start: next(start),
                    whole_from: next(committed),
                    topic_id: None,
                };
                let step = Step::new(setup.decoder.clone(), windows, lineage);
                (step, from.offset.get())
            }
        };
        let windows = step.windows();
        Self {
            states: vec![(windows.checksum(), windows.stream_time(), 0)],
            origin,
            step,
            position: base,
            base,
            outputs: Default::default(),
        }
    }

    /// Goes on over what has become visible.
    fn advance(
        &mut self,
        setup: &Setup,
        broker: &Broker<Rec>,
        partition: usize,
    ) -> Result<(), Refusal> {
        // Whoever has not come further never will.
        if broker.log(input(partition))?.start() > self.position {
            return Ok(());
        }
        let from = (self.position, usize::MAX);
        let (batch, end) = setup.read(broker, partition, from)?;
        let silent_below = match self.origin {
            Origin::Empty { .. } => 0,
            Origin::Remnant { committed, .. } => committed,
        };
        for record in batch.iter() {
            let offset = record.offset.get();
            self.fill(offset);
            let stepped = self.step.fold(&record, None);
            let made = make((&self.step, &stepped), &record, partition, None);
            if let Some((destination, value)) = made.output.filter(|_| offset >= silent_below) {
                let may_expire =
                    destination == Destination::Forecasts && deadline(&record).is_some();
                self.outputs[place(destination, &value)].push(Expected {
                    offset,
                    value: value.into(),
                    may_expire,
                    is_gap: false,
                });
            }
            let windows = self.step.windows();
            let records = self.states[self.states.len() - 1].2 + 1;
            self.states
                .push((windows.checksum(), windows.stream_time(), records));
        }
        self.fill(end);
        self.position = end;
        Ok(())
    }

    /// Nothing happens to the state where there is no record.
    fn fill(&mut self, position: i64) {
        let last = self.states[self.states.len() - 1];
        self.states
            .resize(usize::try_from(position - self.base).unwrap() + 1, last);
    }

    fn at(&self, position: NextOffset) -> Option<&(u64, Option<Timestamp>, u64)> {
        let place = usize::try_from(position.get() - self.base).ok()?;
        self.states.get(place)
    }

    /// Checksum and stream time at a position; `None` beyond what is stable.
    pub(crate) fn state_at(&self, position: NextOffset) -> Option<(u64, Option<Timestamp>)> {
        let (checksum, time, _) = self.at(position)?;
        Some((*checksum, *time))
    }

    /// Records below a position that it has been to.
    pub(crate) fn records_below(&self, position: NextOffset) -> u64 {
        self.at(position).unwrap().2
    }

    /// Whether this is what was committed with an offset.
    fn is_behind(&self, offset: i64, metadata: &CommitMetadata) -> bool {
        let (start, whole_from) = match self.origin {
            Origin::Empty { start } => (start, start),
            Origin::Remnant {
                start, committed, ..
            } => (start, committed),
        };
        (start, whole_from) == (metadata.start.get(), metadata.whole_from.get())
            && self.state_at(next(offset)) == Some((metadata.checksum, metadata.stream_time))
    }
}

/// The runs over one partition.
#[derive(Debug)]
pub(crate) struct Runs {
    all: Vec<Straight>,
    /// The one that is committed.
    current: usize,
}

impl Runs {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            all: vec![Straight::new(Origin::Empty { start: 0 }, setup)],
            current: 0,
        }
    }

    /// The number of the run that is committed.
    pub(crate) fn committed(&self) -> usize {
        self.current
    }

    pub(crate) fn current(&self) -> &Straight {
        &self.all[self.current]
    }

    pub(crate) fn get(&self, run: usize) -> &Straight {
        &self.all[run]
    }

    /// The number of the run that goes back to this, which begins if there is none.
    pub(crate) fn begin(
        &mut self,
        origin: Origin,
        (setup, broker): (&Setup, &Broker<Rec>),
        partition: usize,
    ) -> Result<usize, Refusal> {
        let known = self.all.iter().position(|run| run.origin == origin);
        if let Some(known) = known {
            return Ok(known);
        }
        let mut run = Straight::new(origin, setup);
        run.advance(setup, broker, partition)?;
        self.all.push(run);
        Ok(self.all.len() - 1)
    }

    /// All go on over what has become visible.
    pub(crate) fn advance(
        &mut self,
        setup: &Setup,
        broker: &Broker<Rec>,
        partition: usize,
    ) -> Result<(), Refusal> {
        let stable = broker.log(input(partition))?.last_stable();
        let mut behind = self.all.iter_mut().filter(|run| run.position < stable);
        behind.try_for_each(|run| run.advance(setup, broker, partition))
    }

    /// The run that was committed with an offset: the one that its worker says it is, or another one with
    /// that state.
    pub(crate) fn behind(
        &self,
        said: Option<usize>,
        (offset, metadata): (i64, &CommitMetadata),
    ) -> Option<usize> {
        let said = said.into_iter().chain([self.current]);
        let mut runs = said.chain(0..self.all.len());
        runs.find(|run| self.all[*run].is_behind(offset, metadata))
    }

    pub(crate) fn origin(&self, run: usize) -> Origin {
        self.all[run].origin
    }

    /// From `committed` on another run is committed; `gap` is where it begins if records before it were
    /// skipped.
    pub(crate) fn switch(
        &mut self,
        run: usize,
        (partition, committed): (usize, i64),
        gap: Option<i64>,
    ) {
        let mut before = std::mem::take(&mut self.all[self.current].outputs);
        for outputs in &mut before {
            outputs.retain(|one| one.offset < committed);
        }
        if let Some(to) = gap {
            before[OUTPUTS - 1].push(Expected {
                offset: committed,
                value: gap_record(partition, (committed, to)),
                may_expire: false,
                is_gap: true,
            });
        }
        let switched = &mut self.all[run];
        for (outputs, earlier) in switched.outputs.iter_mut().zip(before) {
            let later = std::mem::replace(outputs, earlier);
            outputs.extend(later);
        }
        self.current = run;
    }
}
