//! A lane that is given a partition and has it taken away: it ends behind a whole round, and nothing of
//! the first assignment comes after the second.

use std::sync::Arc;
use std::sync::mpsc::{TryRecvError, sync_channel};
use std::thread::JoinHandle;

use foretell::consume::{QueueReceiver, QueueSender, queue};
use foretell::domain::{Epoch, PartitionId};
use foretell::partition::{Lane, LaneCommand, Serving};
use foretell::produce::{CommitterInput, OutputBatch};
use foretell::telemetry::Progress;
use foretell::window::WindowConfig;
use tokio::sync::{Notify, mpsc};

use crate::rig::{self, LIMITS, next};
use crate::stream::golden;

const PARTITION: PartitionId = PartitionId(0);

/// A real lane on its thread, with one partition that has records.
struct RunningLane {
    commands: mpsc::Sender<LaneCommand>,
    feed: QueueSender,
    progress: Progress,
    outputs: mpsc::Receiver<CommitterInput>,
    thread: JoinHandle<()>,
}

fn start_lane() -> RunningLane {
    let (commands, lane_commands) = mpsc::channel(100);
    let (to_committer, outputs) = mpsc::channel(1_000);
    let wake = Arc::new(Notify::new());
    let model = rig::model("tests/models/gru_quantiles.onnx", 24);
    let settings = rig::lane_settings(8, None);
    let lane = Lane::new(
        settings,
        lane_commands,
        Arc::clone(&wake),
        to_committer,
        rig::alone(model),
    );
    let (feed, receiver) = queue(LIMITS, wake);
    let serving = serving(Epoch(1), 0, receiver);
    let progress = serving.progress.clone();
    let serve = LaneCommand::Serve(Box::new(serving));
    commands.try_send(serve).unwrap();
    let thread = std::thread::spawn(move || {
        rig::block_on(lane.run()).unwrap();
    });
    RunningLane {
        commands,
        feed,
        progress,
        outputs,
        thread,
    }
}

/// The partition as it is at its first start, to be served from an offset.
fn serving(epoch: Epoch, from: i64, receiver: QueueReceiver) -> Serving {
    let step = rig::step(WindowConfig::new(rig::settings(24, 3)).unwrap());
    Serving::new((PARTITION, epoch), step, next(from), receiver)
}

impl RunningLane {
    fn feed(&self) -> usize {
        let inputs = golden("plain").1;
        for chunk in inputs.chunks(5) {
            assert!(self.feed.send(rig::batch(chunk)));
        }
        inputs.len()
    }

    fn first_batch(&mut self) -> OutputBatch {
        match self.outputs.blocking_recv() {
            Some(CommitterInput::Batch(batch, _)) => *batch,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_lane_releases_a_partition_behind_its_last_whole_round() {
    let mut lane = start_lane();
    let records = lane.feed();
    let first = lane.first_batch();
    let mut end = first.to;
    assert_eq!(lane.progress.committed(), 0);
    first.progress.advance(first.to, None);
    assert_eq!(lane.progress.committed(), end.get());
    let (released, wait) = sync_channel(1);
    let release = LaneCommand::Release {
        partition: PARTITION,
        released,
    };
    lane.commands.blocking_send(release).unwrap();
    let held = loop {
        match lane.outputs.blocking_recv().unwrap() {
            CommitterInput::Batch(batch, _) => {
                assert_eq!(batch.from, end);
                end = batch.to;
            }
            CommitterInput::Released {
                partition,
                released: held,
            } => {
                assert_eq!(partition, PARTITION);
                break held;
            }
        }
    };
    assert!(usize::try_from(end.get()).unwrap() <= records);
    assert_eq!(wait.try_recv(), Err(TryRecvError::Empty));
    drop(held);
    assert_eq!(wait.try_recv(), Err(TryRecvError::Disconnected));
    // The queue is gone, and nothing more comes of what was in it.
    assert!(!lane.feed.send(rig::batch(&golden("plain").1[..1])));
    drop(lane.commands);
    lane.thread.join().unwrap();
    assert!(lane.outputs.blocking_recv().is_none());
}

#[test]
fn a_lane_forgets_a_partition_that_was_lost_and_serves_it_again_from_where_it_is_told() {
    let mut lane = start_lane();
    lane.feed();
    drop(lane.first_batch());
    let discard = LaneCommand::Discard {
        partition: PARTITION,
    };
    lane.commands.blocking_send(discard).unwrap();
    // The table's windows of the second assignment are its own.
    let (feed, receiver) = queue(LIMITS, Arc::new(Notify::new()));
    let inputs = golden("plain").1;
    assert!(feed.send(rig::batch(&inputs[10..])));
    let again = LaneCommand::Serve(Box::new(serving(Epoch(2), 10, receiver)));
    lane.commands.blocking_send(again).unwrap();
    let mut end = None;
    while end != Some(next(480)) {
        let batch = lane.first_batch();
        if batch.epoch == Epoch(2) {
            assert_eq!(batch.from, end.unwrap_or(next(10)));
            end = Some(batch.to);
        } else {
            assert_eq!(
                end, None,
                "a round of the first assignment after the second began"
            );
        }
    }
    drop(lane.commands);
    lane.thread.join().unwrap();
}
