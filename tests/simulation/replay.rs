//! The replay of a restore: the real rebuild over the cluster's log, from what is at hand.

use broker_model::{Broker, Refusal};
use foretell::consume::Assigned;
use foretell::domain::{CommitMetadata, NextOffset, RebuildPoint, RecordBatch};
use foretell::partition::{
    AtHand, Finding, Fresh, RebuildPlan, Rebuilt, Restored, Sources, Watched, rebuild_from,
};
use foretell::produce::OutputBatch;
use foretell::window::WindowConfig;

use crate::bugs::Bug;
use crate::checks::{Violation, ensure, violation};
use crate::hits::Hit;
use crate::input::{Rec, index, input, make, next};
use crate::lane::Kept;
use crate::restore::{Found, Ready, begin_run};
use crate::shared::{Shared, say};
use crate::store::Stored;
use crate::straight::Origin;

/// What came of a replay.
pub(crate) struct Replayed {
    /// `None` where records are gone that it takes.
    pub(crate) ready: Option<Ready>,
    /// What comes of a mistake.
    pub(crate) emitted: Option<OutputBatch>,
}

/// Why a replay did not get to its end.
enum Unread {
    Refused(Refusal),
    Broken(Violation),
}

/// Windows that a replay may go on from.
struct Hand {
    kept: Option<Kept>,
    stored: Vec<Stored>,
    /// The last ones were still held.
    from_kept: bool,
    unreadable: usize,
}

impl Hand {
    fn next(&mut self, windows: WindowConfig) -> Option<AtHand> {
        self.from_kept = self.kept.is_some();
        if let Some(held) = self.kept.take() {
            return Some(AtHand {
                position: held.position,
                windows: held.windows,
            });
        }
        while let Some(one) = self.stored.pop() {
            let loaded = one.object.load(windows);
            match loaded.filter(|loaded| loaded.position.get() == one.position) {
                Some(loaded) => return Some(loaded),
                None => self.unreadable += 1,
            }
        }
        None
    }
}

/// Brings a partition's state back.
pub(crate) fn replay(
    (assigned, kept): (Assigned, Option<Kept>),
    found: &Found,
    shared: &mut Shared,
) -> Result<Replayed, Violation> {
    let partition = index(assigned.partition);
    let plan = plan(found, partition, shared)?;
    let range = (plan.from.offset.get(), plan.committed.get());
    let mut hand = Hand {
        kept: kept.filter(|kept| (range.0..=range.1).contains(&kept.position.get())),
        stored: shared.store.find(partition, range),
        from_kept: false,
        unreadable: 0,
    };
    let mut emitted = OutputBatch::new(assigned.partition, assigned.epoch, plan.from.offset);
    let rebuilt = rebuild(plan.clone(), (partition, &mut hand), &mut emitted, shared);
    (0..hand.unreadable).for_each(|_| shared.hit(Hit::SnapshotUnreadable));
    let emitted = (!emitted.is_empty()).then_some(emitted);
    let rebuilt = match rebuilt {
        Ok(Some(rebuilt)) => rebuilt,
        Ok(None) => {
            let what = "a restore ended without a state".to_owned();
            return Err(violation("I16", what));
        }
        Err(Unread::Refused(Refusal::OutOfRange)) => {
            let ready = None;
            return Ok(Replayed { ready, emitted });
        }
        Err(Unread::Refused(refusal)) => return Err(refusal.into()),
        Err(Unread::Broken(violation)) => return Err(violation),
    };
    report((partition, hand.from_kept), &rebuilt, found, shared)?;
    let run = match (rebuilt.finding, rebuilt.attempts.last()) {
        (Finding::NeverAgreed, Some(from)) => begin_run(remnant(*from, &plan), partition, shared)?,
        (Finding::Agreed | Finding::NeverAgreed | Finding::Unproven, _) => found.run,
    };
    let restored = Restored {
        assigned,
        step: rebuilt.step,
        position: plan.committed,
        opening: None,
    };
    let ready = Some(Ready { restored, run });
    Ok(Replayed { ready, emitted })
}

fn plan(found: &Found, partition: usize, shared: &Shared) -> Result<RebuildPlan, Violation> {
    let at = next(found.committed.offset);
    let hash = shared.setup.config_hash;
    let mut plan = RebuildPlan::proven(&found.committed.metadata, hash, at, found.log_start)
        .map_err(|error| violation("I5", error.to_string()))?;
    if shared.has(Bug::RestoresPastCommit) {
        let log = shared.broker.log(input(partition))?;
        plan.committed = next(log.last_stable());
        plan.proof = None;
    }
    Ok(plan)
}

/// The run that begins where the last attempt of a rebuild did, without a proof.
fn remnant(from: NextOffset, plan: &RebuildPlan) -> Origin {
    Origin::Remnant {
        start: plan.lineage.start.get(),
        from: RebuildPoint {
            offset: from,
            stream_time: plan.from.stream_time.filter(|_| from == plan.from.offset),
        },
        committed: plan.committed.get(),
    }
}

fn rebuild(
    plan: RebuildPlan,
    (partition, hand): (usize, &mut Hand),
    emitted: &mut OutputBatch,
    shared: &mut Shared,
) -> Result<Option<Rebuilt>, Unread> {
    let windows = shared.setup.windows;
    let chunk = 1 + shared.random.index(9);
    let emits = shared.has(Bug::ReplayEmits);
    let (setup, broker) = (&shared.setup, &shared.broker);
    let sources = Sources {
        ask: &mut |_schema| None,
        read: &mut |(from, to), fold| {
            let mut from = from.get();
            while from < to.get() {
                let read = setup.read(broker, partition, (from, chunk));
                let (batch, next) = read.map_err(Unread::Refused)?;
                let batch = below(batch, to);
                are_committed(&batch, partition, broker).map_err(Unread::Broken)?;
                fold(&batch);
                if next == from {
                    break;
                }
                from = next;
            }
            Ok(true)
        },
        at_hand: &mut || hand.next(windows),
    };
    let fresh = Fresh {
        windows,
        decoder: &setup.decoder,
    };
    rebuild_from(fresh, plan, sources, &mut |watched| {
        if let (true, Watched::Folded(record, stepped, step)) = (emits, watched) {
            let made = make((step, stepped), record, partition, None);
            emitted.to = record.offset.next();
            if let Some((destination, value)) = made.output {
                emitted.push(destination, None, |out| out.extend_from_slice(&value));
            }
        }
    })
}

/// I11: nobody folds a record that is not committed.
fn are_committed(
    batch: &RecordBatch,
    partition: usize,
    broker: &Broker<Rec>,
) -> Result<(), Violation> {
    let log = broker.log(input(partition))?;
    for record in batch.iter() {
        ensure(log.is_committed(record.offset.get()), "I11", || {
            format!(
                "record {partition}/{} is read and not committed",
                record.offset
            )
        })?;
    }
    Ok(())
}

fn report(
    (partition, from_kept): (usize, bool),
    rebuilt: &Rebuilt,
    found: &Found,
    shared: &mut Shared,
) -> Result<(), Violation> {
    let Rebuilt {
        step: _,
        finding,
        attempts,
        from_windows,
    } = rebuilt;
    say!(
        shared,
        "restore of {partition}: {finding:?} after {attempts:?}"
    );
    // Where the log has everything since the partition's start, there is a proof.
    let is_trimmed = || {
        let metadata = CommitMetadata::decode(&found.committed.metadata).ok();
        metadata.is_some_and(|metadata| metadata.start < found.log_start)
    };
    let allowed = match finding {
        Finding::Agreed => true,
        Finding::NeverAgreed => is_trimmed(),
        Finding::Unproven => shared.has(Bug::RestoresPastCommit),
    };
    ensure(allowed, "I5", || {
        format!("the restore of {partition} ended with {finding:?} after {attempts:?}")
    })?;
    if *finding == Finding::NeverAgreed {
        return Ok(());
    }
    if attempts.len() > 1 {
        shared.hit(Hit::RestoredFurtherBack);
    }
    shared.hit(if *from_windows && from_kept {
        Hit::RestoredFromKept
    } else if *from_windows {
        Hit::RestoredFromSnapshot
    } else {
        Hit::RestoredFromLog
    });
    Ok(())
}

/// The records of a batch below a position.
fn below(batch: RecordBatch, to: NextOffset) -> RecordBatch {
    if batch.last_offset().is_none_or(|last| to.is_past(last)) {
        return batch;
    }
    let mut kept = RecordBatch::default();
    for record in batch.iter().filter(|record| to.is_past(record.offset)) {
        let at = (record.offset, record.timestamp);
        kept.push(at, record.key, record.value, record.headers());
    }
    kept
}
