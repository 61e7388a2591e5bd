//! A panic in the work for a partition: its state is dropped and it is assigned anew, its neighbours go on,
//! and what comes out in the end is what would have come out without it. Not without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use foretell::consume::{PollCommand, QueueSender, queue};
use foretell::domain::{Epoch, PartitionId, Timestamp};
use foretell::partition::{
    Lane, LaneCommand, LaneError, LaneSettings, Panics, Pulse, Rescue, Serving,
};
use foretell::produce::{CommitterInput, OutputBatch};
use foretell::window::WindowConfig;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::rig::{self, Input, LIMITS, NOW, Partition, next};
use crate::stream::golden;

const MODEL: &str = "tests/models/gru_quantiles.onnx";

/// A real lane on its thread, and everybody it speaks to.
struct RunningLane {
    commands: mpsc::Sender<LaneCommand>,
    wake: Arc<Notify>,
    pulse: Pulse,
    poller: Receiver<PollCommand>,
    outputs: mpsc::Receiver<CommitterInput>,
    thread: JoinHandle<Result<(), LaneError>>,
}

fn start() -> RunningLane {
    let (lane, begin) = prepare(|_| {});
    begin.send(()).unwrap();
    lane
}

/// A lane that begins when it is told to.
fn prepare(shape: impl FnOnce(&mut LaneSettings)) -> (RunningLane, SyncSender<()>) {
    let (commands, lane_commands) = mpsc::channel(100);
    let (to_committer, outputs) = mpsc::channel(1_000);
    let (to_poller, poller) = sync_channel(100);
    let wake = Arc::new(Notify::new());
    let mut settings = rig::lane_settings(8, None);
    settings.rescue = Rescue::new(to_poller);
    shape(&mut settings);
    let pulse = settings.pulse.clone();
    let model = rig::model(MODEL, 24);
    let lane = Lane::new(
        settings,
        lane_commands,
        Arc::clone(&wake),
        to_committer,
        rig::alone(model),
    );
    let (begin, begins) = sync_channel(1);
    let thread = std::thread::spawn(move || {
        begins.recv().unwrap();
        rig::block_on(lane.run())
    });
    let running = RunningLane {
        commands,
        wake,
        pulse,
        poller,
        outputs,
        thread,
    };
    (running, begin)
}

fn windows() -> WindowConfig {
    WindowConfig::new(rig::settings(24, 3)).unwrap()
}

impl RunningLane {
    /// Gives the lane a partition that was restored at `from`, as the assigner does.
    fn serve(&self, (partition, epoch): (i32, u64), inputs: &[Input], from: i64) -> QueueSender {
        let mut step = rig::step(windows());
        for input in inputs.iter().filter(|input| input.offset < from) {
            let one = rig::batch(std::slice::from_ref(input));
            step.fold(&one.get(0), None);
        }
        let (feed, receiver) = queue(LIMITS, Arc::clone(&self.wake));
        let key = (PartitionId(partition), Epoch(epoch));
        let serving = Serving::new(key, step, next(from), receiver);
        let serve = LaneCommand::Serve(Box::new(serving));
        self.commands.blocking_send(serve).unwrap();
        feed
    }

    /// Output batches until this partition is done up to `end`.
    fn until(&mut self, partition: i32, end: usize) -> Vec<OutputBatch> {
        let mut batches = Vec::new();
        let end = i64::try_from(end).unwrap();
        loop {
            let Some(CommitterInput::Batch(batch, _)) = self.outputs.blocking_recv() else {
                panic!("the lane has ended");
            };
            let is_last = batch.partition == PartitionId(partition) && batch.to == next(end);
            batches.push(*batch);
            if is_last {
                return batches;
            }
        }
    }

    /// What the poll thread is told to assign anew.
    fn reassigned(&self) -> (PartitionId, Epoch) {
        match self.poller.recv() {
            Ok(PollCommand::Reassign { partition, epoch }) => (partition, epoch),
            other => panic!("{other:?}"),
        }
    }

    fn end(self) -> Result<(), LaneError> {
        drop(self.commands);
        self.thread.join().unwrap()
    }
}

/// A record that the poll thread never hands over: one that was folded already. It is a bug, and panics.
fn again(inputs: &[Input]) -> &[Input] {
    &inputs[..1]
}

fn undisturbed(inputs: &[Input], partition: i32) -> rig::Whole {
    let batches = vec![rig::batch(inputs)];
    let partitions = vec![Partition::fresh(partition, windows(), batches)];
    let settings = rig::lane_settings(8, None);
    let outputs = rig::run(rig::model(MODEL, 24), settings, partitions, 1);
    rig::whole(&outputs, partition)
}

#[test]
fn a_partition_that_panics_is_assigned_anew_and_its_neighbour_goes_on() {
    let inputs = golden("plain").1;
    let (first, rest) = inputs.split_at(200);
    let mut lane = start();
    let bad = lane.serve((0, 1), &inputs, 0);
    let good = lane.serve((1, 2), &inputs, 0);
    assert!(bad.send(rig::batch(first)));
    let mut batches = lane.until(0, first.len());
    assert!(bad.send(rig::batch(again(&inputs))));
    assert!(good.send(rig::batch(&inputs)));
    assert_eq!(lane.reassigned(), (PartitionId(0), Epoch(1)));
    batches.extend(lane.until(1, inputs.len()));
    assert_eq!(lane.pulse.partitions(), [PartitionId(1)]);
    // Its queue is gone with it.
    assert!(!bad.send(rig::batch(rest)));
    let anew = lane.serve((0, 3), &inputs, 200);
    assert!(anew.send(rig::batch(rest)));
    batches.extend(lane.until(0, inputs.len()));
    lane.end().unwrap();
    for partition in [0, 1] {
        let expected = undisturbed(&inputs, partition);
        assert_eq!(rig::whole(&batches, partition), expected);
    }
}

#[test]
fn a_panic_of_the_models_run_takes_every_partition_of_the_round() {
    /// The clock of the outputs stands for anything that runs for the whole round.
    static PANICS: AtomicBool = AtomicBool::new(true);
    fn wall_clock() -> Timestamp {
        assert!(!PANICS.swap(false, Ordering::SeqCst), "no time today");
        NOW
    }
    let inputs = golden("plain").1;
    let (mut lane, begin) = prepare(|settings| {
        settings.batch_max = 1_000;
        settings.wall_clock = wall_clock;
    });
    let feeds = [(0, 1), (1, 2), (2, 3)].map(|key| lane.serve(key, &inputs, 0));
    for feed in &feeds[..2] {
        assert!(feed.send(rig::batch(&inputs)));
    }
    begin.send(()).unwrap();
    let gone = [lane.reassigned(), lane.reassigned()];
    assert_eq!(
        gone,
        [(PartitionId(0), Epoch(1)), (PartitionId(1), Epoch(2))]
    );
    // The third had no part in the round.
    assert_eq!(lane.pulse.partitions(), [PartitionId(2)]);
    let mut batches = Vec::new();
    for (partition, epoch) in [(0, 4), (1, 5)] {
        let feed = lane.serve((partition, epoch), &inputs, 0);
        assert!(feed.send(rig::batch(&inputs)));
        batches.extend(lane.until(partition, inputs.len()));
    }
    for partition in [0, 1] {
        let expected = undisturbed(&inputs, partition);
        assert_eq!(rig::whole(&batches, partition), expected);
    }
    lane.end().unwrap();
}

#[test]
fn a_partition_that_panics_again_and_again_ends_the_worker() {
    let inputs = golden("plain").1;
    let mut lane = start();
    for epoch in 1..=4 {
        let feed = lane.serve((7, epoch), &inputs, 10);
        assert!(feed.send(rig::batch(again(&inputs))));
        if epoch < 4 {
            assert_eq!(lane.reassigned(), (PartitionId(7), Epoch(epoch)));
        }
    }
    assert!(lane.outputs.blocking_recv().is_none());
    let error = lane.thread.join().unwrap().unwrap_err().to_string();
    for part in [
        "partition 7 panicked 4 times within 600s",
        "record 0 of partition 7 after position 10",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn panics_that_are_far_apart_are_borne_for_ever() {
    let mut panics = Panics::default();
    let began = Instant::now();
    let at = |minutes| began + Duration::from_mins(minutes);
    for minutes in [0, 1, 2] {
        assert!(panics.bear(at(minutes)), "{minutes}");
    }
    assert!(!panics.bear(at(9)));
    let mut rare = Panics::default();
    for minutes in (0..1_000).step_by(4) {
        assert!(rare.bear(at(minutes)), "{minutes}");
    }
}
