//! A store that takes a snapshot more slowly than records change series: the partition is held rather than
//! the copies grow, for five seconds at most, and what it makes of its records stays the same.

use std::sync::Arc;
use std::time::Duration;

use foretell::consume::{QueueSender, queue};
use foretell::domain::{Epoch, NextOffset, PartitionId};
use foretell::partition::{CutSettings, Lane, LaneCommand, Serving};
use foretell::produce::{CommitterInput, OutputBatch};
use foretell::snapshot::{Order, Piece, Upload};
use foretell::window::WindowConfig;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

use crate::avro::Observations;
use crate::rig::{self, Clock, Input, LIMITS, NOW, STEP_MS, TOPIC};

/// A series has 80 kB, so all of them far more than may be copied and not taken.
const SLOTS: usize = 2_000;
const SERIES: i64 = 200;
/// How long a partition is held at most.
const HELD_MAX: Duration = Duration::from_secs(5);

/// One record of each series.
fn round(number: i64) -> Vec<Input> {
    let observations = Observations::new();
    let cells = [Some(1.0), Some(2.0), Some(3.0), Some(4.0)];
    let records = (0..SERIES).map(|series| {
        let time = (NOW.0 / STEP_MS + number) * STEP_MS;
        Input {
            offset: number * SERIES + series,
            timestamp: Some(time),
            key: None,
            value: Some(observations.encode(&format!("series-{series}"), time, &cells)),
            headers: Vec::new(),
        }
    });
    records.collect()
}

/// What goes in and comes out of a lane with one partition.
struct Ends {
    feed: QueueSender,
    outputs: mpsc::Receiver<CommitterInput>,
    orders: mpsc::Receiver<Order>,
    position: NextOffset,
}

impl Ends {
    /// The next output batch, committed.
    async fn committed(&mut self) -> OutputBatch {
        let Some(CommitterInput::Batch(batch, _)) = self.outputs.recv().await else {
            panic!("the lane has ended");
        };
        assert_eq!(batch.from, self.position);
        self.position = batch.to;
        batch.progress.advance(batch.to, None);
        *batch
    }

    async fn until(&mut self, end: i64) {
        while self.position.get() < end {
            self.committed().await;
        }
    }

    async fn upload(&mut self) -> Upload {
        match self.orders.recv().await {
            Some(Order::Upload(upload)) => *upload,
            other => panic!("{other:?}"),
        }
    }
}

/// Has a lane work while `script` feeds it and reads what comes, on a clock that jumps over all waits.
fn with_a_lane<R>(script: impl AsyncFnOnce(&mut Ends) -> R) -> R {
    let (commands, lane_commands) = mpsc::channel(1);
    let (to_committer, outputs) = mpsc::channel(1_000);
    let (uploads, orders) = mpsc::channel(1);
    let mut settings = rig::lane_settings(64, None);
    settings.snapshots = Some(CutSettings {
        interval: Duration::from_secs(1),
        topic: TOPIC.to_owned(),
        uploads,
        wall_clock: || NOW,
    });
    let wake = Arc::new(Notify::new());
    let model = rig::model("tests/models/gru_quantiles.onnx", 24);
    rig::block_on_clock(Clock::Jumping, async {
        let lane = Lane::new(
            settings,
            lane_commands,
            Arc::clone(&wake),
            to_committer,
            rig::alone(model),
        );
        let (feed, receiver) = queue(LIMITS, wake);
        let step = rig::step(WindowConfig::new(rig::settings(SLOTS, 0)).unwrap());
        let key = (PartitionId(0), Epoch(1));
        let serving = Serving::new(key, step, NextOffset::ZERO, receiver);
        let serve = LaneCommand::Serve(Box::new(serving));
        commands.try_send(serve).unwrap();
        let mut ends = Ends {
            feed,
            outputs,
            orders,
            position: NextOffset::ZERO,
        };
        let scripted = async {
            let result = script(&mut ends).await;
            drop(commands);
            result
        };
        let (ended, result) = tokio::join!(lane.run(), scripted);
        ended.unwrap();
        result
    })
}

/// Feeds a round and waits for the cut behind it.
async fn cut(ends: &mut Ends) -> Upload {
    assert!(ends.feed.send(rig::batch(&round(0))));
    ends.until(SERIES).await;
    ends.upload().await
}

/// Changes every series, a few at a time as a partition is held between two rounds of its lane. How long it took.
async fn change_all(ends: &mut Ends) -> Duration {
    let since = Instant::now();
    for few in round(1).chunks(10) {
        assert!(ends.feed.send(rig::batch(few)));
        ends.until(few.last().unwrap().offset + 1).await;
    }
    since.elapsed()
}

#[test]
fn a_partition_is_held_while_the_store_is_slow_and_goes_on_when_it_takes() {
    let (held, series) = with_a_lane(async |ends| {
        let mut upload = cut(ends).await;
        let slow = async {
            sleep(HELD_MAX / 2).await;
            let mut series = 0;
            while let Some(Piece::Series(columns)) = upload.pieces.recv().await {
                series += columns.len();
            }
            series
        };
        let (series, held) = tokio::join!(slow, change_all(ends));
        (held, series)
    });
    assert!(held >= HELD_MAX / 2 && held < HELD_MAX, "{held:?}");
    assert_eq!(series, usize::try_from(SERIES).unwrap());
}

#[test]
fn a_store_that_takes_nothing_fails_the_snapshot_and_lets_the_partition_go_on() {
    let held = with_a_lane(async |ends| {
        let mut upload = cut(ends).await;
        let held = change_all(ends).await;
        while let Some(piece) = upload.pieces.recv().await {
            assert!(matches!(piece, Piece::Series(_)), "it was given up");
        }
        held
    });
    assert!(held >= HELD_MAX && held < 2 * HELD_MAX, "{held:?}");
}
