//! A lane of a process: rounds over its partitions with the real fold, and the copying of snapshots.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;

use foretell::consume::QueueReceiver;
use foretell::domain::{
    Epoch, NextOffset, Outcome, OutcomeCounts, PartitionId, RecordBatch, Timestamp,
};
use foretell::partition::{Step, deadline};
use foretell::produce::{CommitterInput, OutputBatch};
use foretell::snapshot::About;
use foretell::telemetry::Progress;
use foretell::window::{ImageHead, SeriesColumns, Table};

use crate::bugs::Bug;
use crate::checks::{Violation, ensure};
use crate::door::Door;
use crate::hits::Hit;
use crate::input::{index, input, make};
use crate::models::Models;
use crate::rounds::{is_next, is_straight};
use crate::shared::{GROUP, Shared, say};
use crate::store::{Object, Stored};

/// What a lane is told to do.
pub(crate) enum LaneCommand {
    Serve(Box<Serving>),
    Release(PartitionId, SyncSender<()>),
    Discard(PartitionId),
}

/// The windows of a partition that was served until it was revoked.
pub(crate) struct Kept {
    pub(crate) partition: PartitionId,
    pub(crate) position: NextOffset,
    pub(crate) windows: Table,
}

pub(crate) struct Serving {
    pub(crate) partition: PartitionId,
    pub(crate) epoch: Epoch,
    pub(crate) step: Step,
    pub(crate) position: NextOffset,
    /// The straight run that this is.
    pub(crate) run: usize,
    queue: QueueReceiver,
    current: Option<(RecordBatch, usize)>,
    progress: Progress,
    cut: Cut,
    cut_at: NextOffset,
}

/// What came of a partition's part in a round.
enum Part {
    Nothing,
    Made(Box<OutputBatch>),
    /// A bug: its state may be anything.
    Panicked,
}

enum Cut {
    None,
    /// Its position is not committed yet.
    Waiting(Box<Image>),
    Copying(Box<Image>),
}

/// A snapshot that is being made.
pub(crate) struct Image {
    about: About,
    run: usize,
    head: ImageHead,
    columns: Vec<SeriesColumns>,
}

#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) inbox: VecDeque<LaneCommand>,
    pub(crate) servings: Vec<Serving>,
    /// On their way to the assigner.
    pub(crate) kept: Vec<Kept>,
    /// Handed over to be stored.
    pub(crate) uploads: VecDeque<Image>,
    /// Partitions whose work has panicked, on their way to be assigned anew.
    pub(crate) fallen: Vec<(PartitionId, Epoch)>,
    /// What the last round made and there was no room for yet; nothing else is done meanwhile.
    outbox: VecDeque<OutputBatch>,
}

/// Bytes that are copied between two rounds: a series or two.
const PIECE_BYTES: usize = 128;

impl Serving {
    pub(crate) fn new(
        (partition, epoch): (PartitionId, Epoch),
        (step, position, run): (Step, NextOffset, usize),
        queue: QueueReceiver,
        progress: Progress,
    ) -> Self {
        Self {
            partition,
            epoch,
            step,
            position,
            run,
            queue,
            current: None,
            progress,
            cut: Cut::None,
            cut_at: position,
        }
    }

    fn next(&mut self) -> Option<(RecordBatch, usize)> {
        match self.current.take() {
            Some(current) => Some(current),
            None => Some((self.queue.take()?, 0)),
        }
    }
}

impl Lane {
    /// Handles one command, or makes one round.
    pub(crate) fn work(
        &mut self,
        door: &mut Door,
        models: Option<&Models>,
        shared: &mut Shared,
    ) -> Result<bool, Violation> {
        if let Some(batch) = self.outbox.pop_front() {
            let back = door.offer(batch, shared.has(Bug::KeepsRoom))?;
            let is_through = back.is_none();
            if let Some(waits) = back {
                self.outbox.push_front(waits);
                shared.hits.add(Hit::NoRoom);
            }
            return Ok(is_through);
        }
        if let Some(command) = self.inbox.pop_front() {
            match command {
                LaneCommand::Serve(serving) => self.servings.push(*serving),
                LaneCommand::Release(partition, released) => {
                    if let Some(serving) = self.forget(partition) {
                        let mut windows = serving.step.windows().clone();
                        windows.end_cut();
                        self.kept.push(Kept {
                            partition,
                            position: serving.position,
                            windows,
                        });
                    }
                    // There is always room for it: it has no bytes.
                    door.inbox.push_back(CommitterInput::Released {
                        partition,
                        released,
                    });
                }
                LaneCommand::Discard(partition) => drop(self.forget(partition)),
            }
            return Ok(true);
        }
        for serving in &mut self.servings {
            match round(serving, models, shared)? {
                Part::Nothing => {}
                Part::Made(batch) => self.outbox.push_back(*batch),
                Part::Panicked => self.fallen.push((serving.partition, serving.epoch)),
            }
        }
        for (partition, _) in self.fallen.clone() {
            drop(self.forget(partition));
        }
        Ok(!self.outbox.is_empty() || !self.fallen.is_empty())
    }

    pub(crate) fn serves(&self, partition: PartitionId, epoch: Epoch) -> bool {
        let mut servings = self.servings.iter();
        servings.any(|one| (one.partition, one.epoch) == (partition, epoch))
    }

    /// Nothing waits in it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && self.outbox.is_empty()
    }

    fn forget(&mut self, partition: PartitionId) -> Option<Serving> {
        let is_it = |serving: &Serving| serving.partition == partition;
        let index = self.servings.iter().position(is_it)?;
        Some(self.servings.remove(index))
    }

    /// True when a cut of it is committed and not stored yet.
    pub(crate) fn has_committed_cut(&self) -> bool {
        self.servings.iter().any(|serving| match &serving.cut {
            Cut::None => false,
            Cut::Waiting(image) => serving.progress.committed() >= image.head.position.get(),
            Cut::Copying(_) => true,
        })
    }

    /// Does what is next for a snapshot of one of its partitions.
    pub(crate) fn snapshot(&mut self, shared: &mut Shared) -> bool {
        if self.servings.is_empty() {
            return false;
        }
        let at = shared.random.index(self.servings.len());
        let serving = &mut self.servings[at];
        let Serving { step, cut, .. } = serving;
        match std::mem::replace(cut, Cut::None) {
            Cut::None => {
                if serving.position == serving.cut_at {
                    return false;
                }
                serving.cut_at = serving.position;
                let metadata = step.metadata(serving.position);
                serving.cut = Cut::Waiting(Box::new(Image {
                    about: About {
                        topic: "in".to_owned(),
                        partition: serving.partition,
                        metadata,
                    },
                    run: serving.run,
                    head: step.begin_cut(serving.position),
                    columns: Vec::new(),
                }));
                say!(
                    shared,
                    "cut of {} at {}",
                    serving.partition,
                    serving.position
                );
            }
            Cut::Waiting(image) => {
                let committed = serving.progress.committed() >= image.head.position.get();
                if !committed && !shared.has(Bug::SnapshotBeforeCommit) {
                    serving.cut = Cut::Waiting(image);
                    return false;
                }
                serving.cut = Cut::Copying(image);
            }
            Cut::Copying(mut image) => {
                let all = step.copy_cut(PIECE_BYTES);
                image.columns.push(step.take_copied());
                if all {
                    step.end_cut();
                    self.uploads.push_back(*image);
                } else {
                    serving.cut = Cut::Copying(image);
                }
            }
        }
        true
    }

    /// Stores a snapshot.
    pub(crate) fn upload(&mut self, shared: &mut Shared) -> Result<bool, Violation> {
        let Some(Image {
            about,
            run,
            head,
            columns,
        }) = self.uploads.pop_front()
        else {
            return Ok(false);
        };
        let chance = shared.profile.snapshots * 2;
        if shared.fault(chance) {
            shared.hit(Hit::SnapshotFailed);
            return Ok(true);
        }
        let partition = index(about.partition);
        let position = head.position;
        let decided = shared.broker.decided(GROUP, input(partition));
        let committed = decided.map_or(0, |decided| decided.offset);
        ensure(position.get() <= committed, "I6", || {
            format!("a snapshot of {partition} at {position} is stored, committed is {committed}")
        })?;
        let copied: usize = columns.iter().map(|piece| piece.last_change.len()).sum();
        ensure(copied == head.series, "I15", || {
            format!(
                "{copied} series were copied of the {} of {partition}",
                head.series
            )
        })?;
        let expected = shared.straight[partition].get(run).state_at(position);
        ensure(
            expected == Some((head.checksum, head.stream_time)),
            "I6",
            || {
                format!(
                    "a snapshot of {partition} at {position} is of another state than the straight run's"
                )
            },
        )?;
        let encoded = shared.profile.encoded;
        let object = Object::new(&about, (head, columns), (&shared.setup.windows, encoded));
        ensure(object.load(shared.setup.windows).is_some(), "I6", || {
            format!("a snapshot of {partition} at {position} cannot be read back")
        })?;
        let position = position.get();
        shared.store.put(partition, Stored { position, object });
        shared.hit(Hit::SnapshotStored);
        Ok(true)
    }
}

/// Takes some records of a partition and makes an output batch of them.
fn round(
    serving: &mut Serving,
    models: Option<&Models>,
    shared: &mut Shared,
) -> Result<Part, Violation> {
    let partition = index(serving.partition);
    let most = 1 + shared.random.index(8);
    let from = serving.position;
    let now = shared.wall_ms();
    let mut batch = OutputBatch::new(serving.partition, serving.epoch, from);
    let mut counts = OutcomeCounts::default();
    let mut taken = 0;
    while taken < most {
        let Some((records, at)) = serving.next() else {
            break;
        };
        let record = records.get(at);
        is_next(serving, &record, shared)?;
        if let (Some(models), Some(origin)) = (models, record.timestamp)
            && !models.may_fold(origin, shared)?
        {
            serving.current = Some((records, at));
            break;
        }
        taken += 1;
        serving.position = record.offset.next();
        batch.newest = batch.newest.max(record.timestamp);
        let expired = || deadline(&record).is_some_and(|deadline| deadline < Timestamp(now));
        if shared.panics(partition, record.offset.get()) {
            shared.hit(Hit::Panicked);
            if !shared.has(Bug::SurvivesPanic) {
                return Ok(Part::Panicked);
            }
        } else if shared.has(Bug::ExpiryTouchesState) && expired() {
            counts.add(Outcome::Expired);
        } else {
            let stepped = serving.step.fold(&record, None);
            if shared.has(Bug::FoldsTwice) && shared.random.one_in(20) {
                serving.step.fold(&record, None);
            }
            let made = make((&serving.step, &stepped), &record, partition, Some(now));
            counts.add(made.outcome);
            if made.outcome == Outcome::Expired {
                shared.hit(Hit::NotEmitted);
            }
            if let Some((destination, value)) = made.output {
                batch.push(destination, None, |out| out.extend_from_slice(&value));
            }
        }
        if at + 1 < records.len() {
            serving.current = Some((records, at + 1));
        }
    }
    if taken == 0 {
        return Ok(Part::Nothing);
    }
    shared.hits.records += counts.total();
    batch.to = serving.position;
    batch.metadata = serving.step.metadata(serving.position).encode();
    batch.outcomes = counts;
    batch.progress = serving.progress.clone();
    is_straight(serving, (from, &batch), shared)?;
    Ok(Part::Made(Box::new(batch)))
}
