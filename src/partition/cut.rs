//! The snapshots of a lane's partitions: when one is due, what is copied when, and when to give up.
//!
//! One partition at a time. A cut is made between two rounds and waits until its position is committed;
//! then its series are copied, a piece between two rounds, and handed to the thread that stores them.
//! Where records change series faster than they are stored, the partition is held rather than its
//! windows copied a second time into memory. Whatever goes wrong, the records flow on without a snapshot.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::serving::Serving;
use crate::domain::{Epoch, NextOffset, PartitionId, Timestamp};
use crate::planted::{Bug, planted};
use crate::snapshot::{About, Order, PIECE_BYTES, Piece, Upload, UploadError, Uploaded};
use crate::telemetry::metrics::{self, SnapshotResult};
use crate::window::ImageHead;

/// How a lane makes snapshots.
#[derive(Clone, Debug)]
pub struct CutSettings {
    /// From one snapshot of a partition to its next.
    pub interval: Duration,
    pub topic: String,
    /// The thread that stores them.
    pub uploads: mpsc::Sender<Order>,
    /// To tell when the last one was stored.
    pub wall_clock: fn() -> Timestamp,
}

/// Pieces that wait to be stored.
const PIECES_MAX: usize = 4;
/// Copied bytes beyond which the partition is held until some are taken.
const COPIED_MAX: usize = 2 << 20;
/// Copied bytes beyond which a snapshot is given up whose position is not committed yet: much comes within a commit.
const COPIED_AHEAD_MAX: usize = 16 << 20;
/// A partition is not held for longer than this.
const HELD_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether a position is committed, or a snapshot stored.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// After failures the interval is doubled up to so many times.
const DOUBLED_MAX: u32 = 4;

/// The snapshots of a lane.
#[derive(Debug)]
pub(super) struct Cutter {
    settings: Option<CutSettings>,
    plans: BTreeMap<PartitionId, Plan>,
    state: State,
}

/// When a partition's next snapshot is due.
#[derive(Debug)]
struct Plan {
    due: Instant,
    /// Position of the last one: without a record since, the next would be the same.
    last: NextOffset,
    failures: u32,
}

#[derive(Debug)]
enum State {
    Resting,
    /// The cut is made, its position is not committed yet.
    Cut(Box<Waiting>),
    Copying(Copying),
    /// Everything is handed over.
    Storing(Storing),
}

#[derive(Debug)]
struct Waiting {
    partition: PartitionId,
    epoch: Epoch,
    about: About,
    head: ImageHead,
}

#[derive(Debug)]
struct Copying {
    partition: PartitionId,
    epoch: Epoch,
    pieces: mpsc::Sender<Piece>,
    /// Since when the partition is held.
    held: Option<Instant>,
    storing: Storing,
}

#[derive(Debug)]
struct Storing {
    partition: PartitionId,
    position: NextOffset,
    done: oneshot::Receiver<Result<Uploaded, UploadError>>,
}

/// What became of one look at a copy.
enum Copied {
    More,
    All,
    Failed(UploadError),
}

impl Cutter {
    pub(super) fn new(settings: Option<CutSettings>) -> Self {
        Self {
            settings,
            plans: BTreeMap::new(),
            state: State::Resting,
        }
    }

    /// A partition is served from now on.
    pub(super) fn serve(&mut self, partition: PartitionId, position: NextOffset, now: Instant) {
        let Some(settings) = &self.settings else {
            return;
        };
        // Spread evenly by the golden section, so that the partitions of all workers take turns.
        let turn = f64::from(partition.0) * 0.618_033_988_75;
        let plan = Plan {
            due: now + settings.interval.mul_f64(0.25 + 0.75 * turn.fract().abs()),
            last: position,
            failures: 0,
        };
        self.plans.insert(partition, plan);
        metrics::snapshot_awaited(partition, (settings.wall_clock)());
    }

    /// A partition is served no more. A cut of it is abandoned.
    pub(super) fn forget(&mut self, partition: PartitionId) {
        self.plans.remove(&partition);
        let abandoned = match &self.state {
            State::Cut(waiting) => waiting.partition == partition,
            State::Copying(copying) => copying.partition == partition,
            State::Resting | State::Storing(_) => false,
        };
        if abandoned {
            metrics::snapshot(SnapshotResult::Abandoned);
            self.state = State::Resting;
        }
    }

    /// Does what is to be done between two rounds.
    pub(super) fn attend(&mut self, servings: &mut [Serving], now: Instant) {
        if self.settings.is_none() {
            return;
        }
        self.state = match std::mem::replace(&mut self.state, State::Resting) {
            State::Resting => self.begin(servings, now),
            State::Cut(waiting) => self.start_copying(*waiting, servings, now),
            State::Copying(copying) => self.copy(copying, servings, now),
            State::Storing(storing) => self.look(storing, now),
        };
    }

    /// Ends when there is something to attend to.
    pub(super) async fn wait(&self) {
        match &self.state {
            State::Resting => match self.plans.values().map(|plan| plan.due).min() {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            },
            State::Cut(_) | State::Storing(_) => sleep(LOOK_EVERY).await,
            State::Copying(copying) => {
                // Ready too when the other end has gone.
                let room = copying.pieces.reserve();
                tokio::select! {
                    _room = room => {}
                    () = sleep(LOOK_EVERY) => {}
                }
            }
        }
    }

    fn begin(&mut self, servings: &mut [Serving], now: Instant) -> State {
        let Some(settings) = &self.settings else {
            return State::Resting;
        };
        for serving in servings {
            let Some(plan) = self.plans.get_mut(&serving.partition) else {
                continue;
            };
            if plan.due > now {
                continue;
            }
            if serving.position == plan.last {
                plan.due = now + settings.interval;
                continue;
            }
            let metadata = serving.step.metadata(serving.position);
            let head = serving.step.begin_cut(serving.position);
            debug!(partition = %serving.partition, position = %head.position, series = head.series, "snapshot cut");
            metrics::snapshot_pause(now.elapsed());
            return State::Cut(Box::new(Waiting {
                partition: serving.partition,
                epoch: serving.epoch,
                about: About {
                    topic: settings.topic.clone(),
                    partition: serving.partition,
                    metadata,
                },
                head,
            }));
        }
        State::Resting
    }

    fn start_copying(&mut self, waiting: Waiting, servings: &mut [Serving], now: Instant) -> State {
        let (partition, epoch, position) =
            (waiting.partition, waiting.epoch, waiting.head.position);
        let Some(serving) = find(servings, partition, epoch) else {
            return State::Resting;
        };
        let is_committed = serving.progress.committed() >= position.get();
        if !is_committed && !planted(Bug::SnapshotBeforeCommit) {
            if serving.step.copied_bytes() <= COPIED_AHEAD_MAX {
                return State::Cut(Box::new(waiting));
            }
            serving.step.end_cut();
            debug!(%partition, "snapshot abandoned: nothing is committed at the moment");
            return self.end(partition, SnapshotResult::Abandoned, now);
        }
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let (sender, done) = oneshot::channel();
        let Waiting { about, head, .. } = waiting;
        let upload = Upload {
            about,
            head,
            pieces: receiver,
            done: sender,
        };
        let sent = self
            .settings
            .as_ref()
            .map(|settings| settings.uploads.try_send(Order::Upload(Box::new(upload))));
        match sent {
            Some(Ok(())) => State::Copying(Copying {
                partition,
                epoch,
                pieces,
                held: None,
                storing: Storing {
                    partition,
                    position,
                    done,
                },
            }),
            Some(Err(TrySendError::Full(_) | TrySendError::Closed(_))) | None => {
                serving.step.end_cut();
                warn!(%partition, "snapshot abandoned: earlier ones are still being stored");
                self.end(partition, SnapshotResult::Abandoned, now)
            }
        }
    }

    fn copy(&mut self, mut copying: Copying, servings: &mut [Serving], now: Instant) -> State {
        let partition = copying.partition;
        let Some(serving) = find(servings, partition, copying.epoch) else {
            return State::Resting;
        };
        match copying.some(serving, now) {
            Copied::More => State::Copying(copying),
            Copied::All => {
                serving.step.end_cut();
                serving.waits_for_snapshot = false;
                State::Storing(copying.storing)
            }
            Copied::Failed(error) => {
                serving.step.end_cut();
                serving.waits_for_snapshot = false;
                self.failed(partition, &error, now)
            }
        }
    }

    fn look(&mut self, mut storing: Storing, now: Instant) -> State {
        match storing.done.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => State::Storing(storing),
            Err(oneshot::error::TryRecvError::Closed) => {
                self.failed(storing.partition, &UploadError::Abandoned, now)
            }
            Ok(Err(error)) => self.failed(storing.partition, &error, now),
            Ok(Ok(uploaded)) => {
                // Nothing is shown of a partition that has gone meanwhile.
                if let (Some(settings), Some(plan)) =
                    (&self.settings, self.plans.get_mut(&storing.partition))
                {
                    let (stored, at) = ((uploaded.bytes, uploaded.took), (settings.wall_clock)());
                    metrics::snapshot_stored(storing.partition, stored, at);
                    plan.last = storing.position;
                    plan.failures = 0;
                }
                self.end(storing.partition, SnapshotResult::Stored, now)
            }
        }
    }

    fn failed(&mut self, partition: PartitionId, error: &UploadError, now: Instant) -> State {
        if let Some(plan) = self.plans.get_mut(&partition) {
            plan.failures = (plan.failures + 1).min(DOUBLED_MAX);
        }
        let state = self.end(partition, SnapshotResult::Failed, now);
        let retry_in = self.plans.get(&partition).map(|plan| plan.due - now);
        warn!(%partition, %error, ?retry_in, "snapshot failed; forecasts go on, and a restore reads more of the log");
        state
    }

    fn end(&mut self, partition: PartitionId, result: SnapshotResult, now: Instant) -> State {
        metrics::snapshot(result);
        if let (Some(settings), Some(plan)) = (&self.settings, self.plans.get_mut(&partition)) {
            plan.due = now + settings.interval * (1 << plan.failures);
        }
        State::Resting
    }
}

impl Copying {
    /// Copies a piece and hands it over, if there is room for it.
    fn some(&mut self, serving: &mut Serving, now: Instant) -> Copied {
        let permit = match self.pieces.clone().try_reserve_owned() {
            Ok(permit) => permit,
            Err(TrySendError::Closed(_)) => {
                let result = self.storing.done.try_recv();
                return Copied::Failed(
                    result
                        .ok()
                        .and_then(Result::err)
                        .unwrap_or(UploadError::Abandoned),
                );
            }
            Err(TrySendError::Full(_)) => {
                serving.waits_for_snapshot = serving.step.copied_bytes() > COPIED_MAX;
                if !serving.waits_for_snapshot {
                    self.let_go(now);
                    return Copied::More;
                }
                let since = *self.held.get_or_insert(now);
                if now.duration_since(since) < HELD_MAX {
                    return Copied::More;
                }
                self.let_go(now);
                return Copied::Failed(UploadError::TooSlow(HELD_MAX));
            }
        };
        let began = Instant::now();
        let all = serving.step.copy_cut(PIECE_BYTES);
        let columns = serving.step.take_copied();
        serving.waits_for_snapshot = false;
        self.let_go(now);
        if !columns.is_empty() {
            permit.send(Piece::Series(columns));
            metrics::snapshot_pause(began.elapsed());
        } else if all {
            permit.send(Piece::End);
            return Copied::All;
        }
        Copied::More
    }

    /// The partition goes on with its records, if it was held.
    fn let_go(&mut self, now: Instant) {
        if let Some(since) = self.held.take() {
            metrics::snapshot_pause(now.duration_since(since));
        }
    }
}

fn find(servings: &mut [Serving], partition: PartitionId, epoch: Epoch) -> Option<&mut Serving> {
    servings
        .iter_mut()
        .find(|serving| serving.partition == partition && serving.epoch == epoch)
}
