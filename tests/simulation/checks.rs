//! The invariants of a run, held after every event. The numbers are those of docs/exactly-once-tests.md.

use std::fmt;

use broker_model::{Broker, Committed, Refusal};
use foretell::domain::CommitMetadata;

use crate::hits::Hit;
use crate::input::{OUTPUTS, PARTITIONS, Rec, input, output, source};
use crate::shared::GROUP;
use crate::straight::{Expected, Origin, Runs};

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

impl From<Refusal> for Violation {
    fn from(refusal: Refusal) -> Self {
        violation("simulation", format!("{refusal:?}"))
    }
}

pub(crate) fn violation(invariant: &'static str, what: String) -> Violation {
    Violation { invariant, what }
}

/// Fails with `what` unless `holds`.
pub(crate) fn ensure(
    holds: bool,
    invariant: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(violation(invariant, what()))
    }
}

/// What has been seen of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// Where each output partition was read to.
    read: [i64; OUTPUTS],
    /// How many of the straight run's outputs were met, by partition and place.
    met: [[usize; OUTPUTS]; PARTITIONS],
    /// How many of them were not published, and might expire.
    pub(crate) expired: u64,
    committed: [Option<Point>; PARTITIONS],
    /// Which run a worker took to be the one that it commits: two may have the same state.
    pub(crate) said: [Option<usize>; PARTITIONS],
    /// What has been found out, to be counted.
    pub(crate) hits: Vec<Hit>,
}

/// Where a partition is committed.
#[derive(Clone, Copy, Debug)]
struct Point {
    offset: i64,
    /// A replay from there proves what is committed.
    start: i64,
}

/// What is contradicted where this output is not as it should be: the record of a gap has a number of its
/// own.
fn invariant_of(one: Option<&Expected>, other: &'static str) -> &'static str {
    match one {
        Some(one) if one.is_gap => "I18",
        Some(_) | None => other,
    }
}

impl Checks {
    /// Looks at what is visible after an event.
    pub(crate) fn look(
        &mut self,
        broker: &mut Broker<Rec>,
        straight: &mut [Runs; PARTITIONS],
    ) -> Result<(), Violation> {
        for (partition, runs) in straight.iter_mut().enumerate() {
            self.look_at_offset(broker, runs, partition)?;
        }
        for place in 0..OUTPUTS {
            self.read_output(broker, straight, place)?;
        }
        // Behind an open transaction even committed outputs are not visible yet.
        let mut outputs = (0..OUTPUTS).filter_map(|place| broker.log(output(place)).ok());
        if !broker.has_markers() && outputs.all(|log| log.last_stable() == log.end()) {
            self.outputs_end_at_the_offset(straight)?;
        }
        Ok(())
    }

    /// I1: each output once, in order, the very bytes. I18: the record of a gap among them.
    fn read_output(
        &mut self,
        broker: &Broker<Rec>,
        straight: &[Runs; PARTITIONS],
        place: usize,
    ) -> Result<(), Violation> {
        let log = broker.log(output(place))?;
        if log.last_stable() == self.read[place] {
            return Ok(());
        }
        let seen = log.read_committed(self.read[place], usize::MAX)?;
        for (_, record) in &seen.records {
            let Rec::Out(value) = record else { continue };
            let (partition, offset) = source(value);
            let expected = &straight[partition].current().outputs[place];
            let met = &mut self.met[partition][place];
            while expected
                .get(*met)
                .is_some_and(|one| one.offset < offset && one.may_expire)
            {
                *met += 1;
                self.expired += 1;
            }
            let due = expected.get(*met);
            ensure(
                due.is_some_and(|due| due.offset == offset && *due.value == **value),
                invariant_of(due, "I1"),
                || {
                    let due = due.map(|due| due.offset);
                    format!(
                        "the output of {partition}/{offset} is visible, due is that of {due:?}, or its bytes differ"
                    )
                },
            )?;
            *met += 1;
        }
        self.read[place] = seen.next;
        Ok(())
    }

    /// I3 and I5: the committed offset never goes back, and says of the state what a straight run has.
    fn look_at_offset(
        &mut self,
        broker: &mut Broker<Rec>,
        runs: &mut Runs,
        partition: usize,
    ) -> Result<(), Violation> {
        let before = self.committed[partition];
        let decided = broker.decided(GROUP, input(partition));
        let news = decided.filter(|found| before.is_none_or(|at| at.offset != found.offset));
        let Some(Committed { offset, metadata }) = news.cloned() else {
            return Ok(());
        };
        let lowest = before.map_or(0, |before| before.offset);
        ensure(offset >= lowest, "I3", || {
            format!("partition {partition} went back from {lowest} to {offset}")
        })?;
        let metadata = CommitMetadata::decode(&metadata)
            .map_err(|error| violation("I5", error.to_string()))?;
        let Some(run) = runs.behind(self.said[partition], (offset, &metadata)) else {
            return Err(violation(
                "I5",
                format!(
                    "partition {partition} at {offset} was committed with {metadata:?}, which is no straight run's"
                ),
            ));
        };
        if run != runs.committed() {
            let log_start = broker.log(input(partition))?.start();
            self.switch(runs, run, (partition, log_start))?;
        }
        self.committed[partition] = Some(Point {
            offset,
            start: metadata.start.get(),
        });
        Ok(())
    }

    /// Another run is committed than before: records were deleted that it would have taken to go on.
    fn switch(
        &mut self,
        runs: &mut Runs,
        run: usize,
        (partition, log_start): (usize, i64),
    ) -> Result<(), Violation> {
        let before = self.committed[partition];
        let at = (partition, before.map_or(0, |before| before.offset));
        match (runs.origin(run), before) {
            (Origin::Empty { .. }, None) => runs.switch(run, at, None),
            // I18: nothing is skipped that can still be read, and its record is due from now on.
            (Origin::Empty { start }, Some(before)) => {
                ensure(start > before.offset && start <= log_start, "I18", || {
                    format!(
                        "partition {partition} went on from {} at {start}, its log begins at {log_start}",
                        before.offset
                    )
                })?;
                self.hits.push(Hit::GapSkipped);
                runs.switch(run, at, Some(start));
            }
            (Origin::Remnant { committed, .. }, before) => {
                let due = before
                    .is_some_and(|before| before.offset == committed && before.start < log_start);
                ensure(due, "I5", || {
                    format!(
                        "partition {partition} went on from {committed} without a proof, committed was {before:?}, its log begins at {log_start}"
                    )
                })?;
                self.hits.push(Hit::Unproven);
                runs.switch(run, at, None);
            }
        }
        Ok(())
    }

    /// I2 and I7: with no transaction on its way to its end, visible are the outputs of everything below
    /// the committed offsets, and of nothing beyond.
    fn outputs_end_at_the_offset(
        &mut self,
        straight: &[Runs; PARTITIONS],
    ) -> Result<(), Violation> {
        for (partition, runs) in straight.iter().enumerate() {
            let committed = self.committed(partition);
            for (place, expected) in runs.current().outputs.iter().enumerate() {
                let met = &mut self.met[partition][place];
                while expected
                    .get(*met)
                    .is_some_and(|one| one.offset < committed && one.may_expire)
                {
                    *met += 1;
                    self.expired += 1;
                }
                let missing = expected.get(*met).filter(|one| one.offset < committed);
                ensure(missing.is_none(), invariant_of(missing, "I2"), || {
                    format!(
                        "partition {partition} is committed to {committed} without the output of {:?}",
                        missing.map(|one| one.offset)
                    )
                })?;
                let last = met.checked_sub(1).and_then(|last| expected.get(last));
                let beyond = last.filter(|one| one.offset >= committed);
                ensure(beyond.is_none(), "I2", || {
                    format!(
                        "the output of {partition}/{:?} is visible, committed is {committed}",
                        beyond.map(|one| one.offset)
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Where a partition is committed, 0 where it is not.
    pub(crate) fn committed(&self, partition: usize) -> i64 {
        self.committed[partition].map_or(0, |at| at.offset)
    }

    pub(crate) fn met(&self) -> usize {
        self.met.iter().flatten().sum()
    }
}
