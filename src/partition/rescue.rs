//! What becomes of a partition whose work panicked: its state is dropped, and it is assigned anew, so that it
//! is restored from what was committed. A panic is a bug, and one that comes again and again ends the worker.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use crate::consume::{PollCommand, reassign};
use crate::domain::{Epoch, PartitionId};
use crate::telemetry::metrics;

/// Panics of one partition that are borne within [`PANICS_WITHIN`].
const PANICS_MAX: usize = 3;
const PANICS_WITHIN: Duration = Duration::from_mins(10);

/// The way back of a partition that panicked; shared by the lanes, as it may be on another one next time.
#[derive(Clone, Debug)]
pub struct Rescue {
    panics: Arc<Mutex<BTreeMap<PartitionId, Panics>>>,
    poller: SyncSender<PollCommand>,
}

/// A partition has panicked too often.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "partition {partition} panicked {} times within {within:?}, at last with: {panic}; this is a bug. Nothing of it was committed, and a restart meets the same records",
    PANICS_MAX + 1,
    within = PANICS_WITHIN
)]
pub struct TooManyPanics {
    pub partition: PartitionId,
    pub panic: String,
}

/// The last panics of one partition.
#[derive(Debug, Default)]
pub struct Panics(Vec<Instant>);

impl Panics {
    /// Takes one more in; answers whether it can be borne.
    pub fn bear(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.duration_since(*at) < PANICS_WITHIN);
        self.0.push(now);
        self.0.len() <= PANICS_MAX
    }
}

impl Rescue {
    pub fn new(poller: SyncSender<PollCommand>) -> Self {
        Self {
            panics: Arc::default(),
            poller,
        }
    }

    /// Has a partition assigned anew that has panicked, and whose state has been dropped.
    ///
    /// # Errors
    /// When it has panicked too often.
    pub(super) fn assign_anew(
        &self,
        (partition, epoch): (PartitionId, Epoch),
        panic: &str,
    ) -> Result<(), TooManyPanics> {
        error!(%partition, panic, "the work for a partition panicked, which is a bug; it is assigned anew");
        metrics::partition_panicked();
        let mut panics = self.panics.lock().unwrap_or_else(PoisonError::into_inner);
        if !panics.entry(partition).or_default().bear(Instant::now()) {
            return Err(TooManyPanics {
                partition,
                panic: panic.to_owned(),
            });
        }
        reassign(&self.poller, partition, epoch);
        Ok(())
    }
}

/// What `work` gives, or what it panicked with. What it has changed until then is not to be used any more.
///
/// # Errors
/// The panic's message.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| text(&*panic).to_owned())
}

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
