//! Another model comes to a slot while its lane works: every forecast is the one that the model of its origin makes
//! when it serves alone, and where that model is not at hand the partition waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use foretell::consume::{QueueSender, queue};
use foretell::control::{Entry, Schedule};
use foretell::domain::{Digest, Epoch, NextOffset, PartitionId, Timestamp};
use foretell::models::{Plan, SlotOwner};
use foretell::partition::{Lane, LaneCommand, Serving, ServingModel};
use foretell::produce::{CommitterInput, Destination, OutputBatch};
use foretell::telemetry::{HoldCount, Holds, metrics};
use foretell::window::WindowConfig;
use tokio::sync::{Notify, mpsc, watch};

use crate::avro::{Forecast, Forecasts};
use crate::rig::{self, Input, LIMITS, Partition, Random, Sent, chunks};
use crate::stream::golden;

const LENGTH: usize = 24;

/// Models with windows of different lengths, so that they fall due at different records too.
fn old() -> ServingModel {
    rig::model("tests/models/linear_recursive.onnx", LENGTH)
}

fn new() -> ServingModel {
    rig::model("tests/models/gru_quantiles.onnx", LENGTH)
}

fn digest(model: &ServingModel) -> Digest {
    model.package.sha256()
}

fn windows() -> WindowConfig {
    WindowConfig::new(rig::settings(LENGTH, 3)).unwrap()
}

/// The plan in which the new model serves from an origin on.
fn plan(effective_from: Option<Timestamp>) -> Plan {
    let entry = Entry {
        digest: digest(&new()),
        effective_from,
    };
    Plan::new(digest(&old()), Schedule::default().with(entry))
}

fn forecasts(sent: Vec<Sent>) -> BTreeMap<i64, (Forecast, Sent)> {
    let reader = Forecasts::new();
    let is_forecast = |one: &Sent| one.destination == Destination::Forecasts;
    let read = sent.into_iter().filter(is_forecast).map(|one| {
        let forecast = reader.decode(one.value.as_deref().unwrap());
        (forecast.source.offset, (forecast, one))
    });
    read.collect()
}

/// What a model publishes by offset when nothing else serves.
fn alone(model: ServingModel, inputs: &[Input]) -> BTreeMap<i64, (Forecast, Sent)> {
    let partition = Partition::fresh(0, windows(), chunks(inputs, 7, &mut Random(1)));
    let batches = rig::run(model, rig::lane_settings(8, None), vec![partition], 1);
    forecasts(rig::whole(&batches, 0).sent)
}

/// A lane on its thread with the old model, and everybody it speaks to.
struct Running {
    commands: mpsc::Sender<LaneCommand>,
    outputs: mpsc::Receiver<CommitterInput>,
    holds: watch::Receiver<Holds>,
    feed: QueueSender,
    slot: SlotOwner,
    thread: JoinHandle<()>,
    sent: Vec<Sent>,
    position: NextOffset,
}

impl Running {
    fn start(plan: Plan) -> Self {
        let (commands, lane_commands) = mpsc::channel(100);
        let (to_committer, outputs) = mpsc::channel(1_000);
        let mut settings = rig::lane_settings(8, None);
        settings.model_holds = HoldCount::new(metrics::model_holds);
        let holds = settings.model_holds.watch();
        let slot = SlotOwner::new(plan);
        let wake = Arc::new(Notify::new());
        let lane = Lane::new(
            settings,
            lane_commands,
            Arc::clone(&wake),
            to_committer,
            (slot.slot(), old()),
        );
        let (feed, receiver) = queue(LIMITS, wake);
        let key = (PartitionId(0), Epoch(1));
        let serving = Serving::new(key, rig::step(windows()), NextOffset::ZERO, receiver);
        let serve = LaneCommand::Serve(Box::new(serving));
        commands.try_send(serve).unwrap();
        let thread = std::thread::spawn(move || rig::block_on(lane.run()).unwrap());
        Self {
            commands,
            outputs,
            holds,
            feed,
            slot,
            thread,
            sent: Vec::new(),
            position: NextOffset::ZERO,
        }
    }

    fn feed(&self, inputs: &[Input], seed: u64) {
        for batch in chunks(inputs, 9, &mut Random(seed)) {
            assert!(self.feed.send(batch));
        }
    }

    fn admit(&self, model: ServingModel) {
        let admit = LaneCommand::Admit(Box::new(model));
        self.commands.blocking_send(admit).unwrap();
    }

    fn take(&mut self) {
        let Some(CommitterInput::Batch(batch, _)) = self.outputs.blocking_recv() else {
            panic!("the lane has ended");
        };
        let batch: OutputBatch = *batch;
        assert_eq!(batch.from, self.position);
        self.position = batch.to;
        self.sent.extend(rig::sent(&batch));
    }

    fn until(&mut self, end: i64) {
        while self.position.get() < end {
            self.take();
        }
    }

    /// Waits until a partition is held, and takes what was made before.
    fn until_held(&mut self, end: i64) {
        rig::block_on(self.holds.wait_for(|holds| holds.partitions == 1)).unwrap();
        self.until(end);
        assert!(self.outputs.try_recv().is_err());
    }

    fn end(self) -> BTreeMap<i64, (Forecast, Sent)> {
        drop(self.commands);
        self.thread.join().unwrap();
        forecasts(self.sent)
    }
}

/// The forecasts of the old model below an origin and of the new one from there on.
fn expected(inputs: &[Input], from: i64) -> BTreeMap<i64, (Forecast, Sent)> {
    let old = alone(old(), inputs).into_iter();
    let new = alone(new(), inputs).into_iter();
    let before = old.filter(|(_, (forecast, _))| forecast.origin < from);
    let after = new.filter(|(_, (forecast, _))| forecast.origin >= from);
    before.chain(after).collect()
}

/// An origin in the middle of a stream, and the first offset whose record has a time from there on.
fn middle(inputs: &[Input]) -> (i64, i64) {
    let origins: Vec<i64> = alone(old(), inputs)
        .into_values()
        .map(|it| it.0.origin)
        .collect();
    let from = origins[origins.len() / 2];
    let first = inputs.iter().find(|input| input.timestamp.unwrap() >= from);
    (from, first.unwrap().offset)
}

#[test]
fn a_round_that_spans_the_switch_makes_a_run_of_each_model() {
    for stream in ["plain", "disturbed"] {
        let inputs = golden(stream).1;
        let (from, _) = middle(&inputs);
        for seed in 0..10 {
            let mut lane = Running::start(plan(Some(Timestamp(from))));
            lane.admit(new());
            lane.feed(&inputs, seed);
            lane.until(i64::try_from(inputs.len()).unwrap());
            assert_eq!(lane.end(), expected(&inputs, from), "{stream}, seed {seed}");
        }
    }
}

#[test]
fn a_partition_is_held_where_the_model_is_not_at_hand_and_never_served_by_the_other() {
    let inputs = golden("plain").1;
    let (from, first) = middle(&inputs);
    let mut lane = Running::start(plan(Some(Timestamp(from))));
    lane.feed(&inputs, 3);
    lane.until_held(first);
    assert_eq!(lane.position.get(), first);
    lane.admit(new());
    lane.until(i64::try_from(inputs.len()).unwrap());
    assert_eq!(lane.holds.borrow().partitions, 0);
    assert_eq!(lane.end(), expected(&inputs, from));
}

#[test]
fn another_plan_lets_a_held_partition_go_on() {
    let inputs = golden("plain").1;
    let (from, first) = middle(&inputs);
    let mut lane = Running::start(plan(Some(Timestamp(from))));
    lane.feed(&inputs, 4);
    lane.until_held(first);
    let back = Plan::new(digest(&old()), Schedule::default());
    lane.slot.replace(back);
    lane.until(i64::try_from(inputs.len()).unwrap());
    assert_eq!(lane.end(), alone(old(), &inputs));
}

#[test]
fn a_switch_without_an_origin_is_single_and_a_dismissed_session_comes_back() {
    let inputs = golden("plain").1;
    let end = i64::try_from(inputs.len()).unwrap();
    let mut lane = Running::start(Plan::new(digest(&old()), Schedule::default()));
    lane.admit(new());
    lane.feed(&inputs[..inputs.len() / 2], 5);
    lane.take();
    lane.slot.replace(plan(None));
    lane.feed(&inputs[inputs.len() / 2..], 6);
    lane.until(end);
    let (returned, mut back) = mpsc::channel(1);
    let dismiss = LaneCommand::Dismiss {
        digest: digest(&old()),
        returned,
    };
    lane.commands.blocking_send(dismiss).unwrap();
    assert_eq!(digest(&back.blocking_recv().unwrap()), digest(&old()));
    let found = lane.end();
    let is_new = |one: &(Forecast, Sent)| one.0.model.digest == digest(&new()).to_string();
    let switch = found
        .iter()
        .find(|(_, one)| is_new(one))
        .map(|(offset, _)| *offset);
    let switch = switch.unwrap();
    let mut expected = alone(old(), &inputs);
    expected.retain(|offset, _| *offset < switch);
    // Between the last round of the old model and the first forecast of the new one lie records that only the old
    // one would have forecast from.
    let last_old = found
        .range(..switch)
        .next_back()
        .map_or(-1, |(offset, _)| *offset);
    expected.retain(|offset, _| *offset <= last_old);
    expected.extend(
        alone(new(), &inputs)
            .into_iter()
            .filter(|(offset, _)| *offset >= switch),
    );
    assert_eq!(found, expected);
}
