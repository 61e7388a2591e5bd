//! A lane whose records name schemas that are not known yet: it holds the one partition and serves the other,
//! and lets go of a partition that is held.

use std::sync::Arc;
use std::sync::mpsc::{TryRecvError, sync_channel};
use std::thread::JoinHandle;

use foretell::consume::{QueueSender, queue};
use foretell::decode::SchemaAnswer;
use foretell::domain::{Epoch, NextOffset, Outcome, PartitionId, Rejection, SchemaId};
use foretell::partition::{Lane, LaneCommand, Serving, Step};
use foretell::produce::{CommitterInput, OutputBatch};
use foretell::registry::{Book, Schemas};
use foretell::telemetry::{HoldCount, Holds, metrics};
use foretell::window::{Table, WindowConfig};
use tokio::sync::{Notify, mpsc, watch};

use crate::framed::{self, framed, observation_schema};
use crate::rig::{self, Input, LIMITS};
use crate::stream::golden;

const HELD: PartitionId = PartitionId(0);
const NEIGHBOUR: PartitionId = PartitionId(1);
const KNOWN: u32 = 1;
const ABSENT: u32 = 2;
/// The record of the held partition that names the schema.
const AT: usize = 100;

fn id(schema: u32) -> SchemaId {
    SchemaId::new(schema).unwrap()
}

/// A lane on its thread, and everything that is at its other ends.
struct Rig {
    commands: mpsc::Sender<LaneCommand>,
    outputs: mpsc::Receiver<CommitterInput>,
    feeds: Vec<QueueSender>,
    asks: mpsc::Receiver<SchemaId>,
    book: watch::Sender<Book>,
    holds: watch::Receiver<Holds>,
    thread: JoinHandle<()>,
}

impl Rig {
    fn start() -> Self {
        let (commands, lane_commands) = mpsc::channel(100);
        let (to_committer, outputs) = mpsc::channel(1_000);
        let (asks_sender, asks) = mpsc::channel(100);
        let (book, published) = watch::channel(Book::default());
        let holding = HoldCount::new(metrics::schema_holds);
        let holds = holding.watch();
        let mut settings = rig::lane_settings(8, None);
        settings.schemas = Schemas::new(asks_sender, published, holding);
        let wake = Arc::new(Notify::new());
        let model = rig::model("tests/models/gru_quantiles.onnx", 24);
        let lane = Lane::new(
            settings,
            lane_commands,
            Arc::clone(&wake),
            to_committer,
            rig::alone(model),
        );
        let mut feeds = Vec::new();
        for partition in [HELD, NEIGHBOUR] {
            let (feed, receiver) = queue(LIMITS, Arc::clone(&wake));
            let windows = Table::new(WindowConfig::new(rig::settings(24, 3)).unwrap());
            let decoder = framed::decoder();
            let step = Step::new(decoder, windows, rig::lineage());
            let key = (partition, Epoch(1));
            let serving = Serving::new(key, step, NextOffset::ZERO, receiver);
            let serve = LaneCommand::Serve(Box::new(serving));
            commands.try_send(serve).unwrap();
            feeds.push(feed);
        }
        let thread = std::thread::spawn(move || rig::block_on(lane.run()).unwrap());
        Self {
            commands,
            outputs,
            feeds,
            asks,
            book,
            holds,
            thread,
        }
    }

    fn publish(&self, schema: u32, answer: SchemaAnswer) {
        self.book.send_modify(|book| {
            Arc::make_mut(book).insert(id(schema), answer);
        });
    }

    /// Both partitions have the same records but for the one that names the other schema.
    fn feed(&self) -> Vec<Input> {
        let inputs: Vec<Input> = golden("plain")
            .1
            .into_iter()
            .map(|input| framed(input, KNOWN))
            .collect();
        for (feed, schema) in self.feeds.iter().zip([ABSENT, KNOWN]) {
            let mut records = inputs.clone();
            records[AT] = framed(golden("plain").1[AT].clone(), schema);
            for chunk in records.chunks(7) {
                assert!(feed.send(rig::batch(chunk)));
            }
        }
        inputs
    }

    fn batch(&mut self) -> OutputBatch {
        match self.outputs.blocking_recv() {
            Some(CommitterInput::Batch(batch, _)) => *batch,
            other => panic!("{other:?}"),
        }
    }

    /// Output batches until `partition` has come to `end`.
    fn until(&mut self, partition: PartitionId, end: usize) -> Vec<OutputBatch> {
        let mut batches: Vec<OutputBatch> = Vec::new();
        let is_last = |batch: &OutputBatch| {
            batch.partition == partition && batch.to.get() == i64::try_from(end).unwrap()
        };
        while !batches.last().is_some_and(is_last) {
            batches.push(self.batch());
        }
        batches
    }
}

#[test]
fn a_held_partition_waits_and_its_neighbour_does_not() {
    let mut rig = Rig::start();
    let known = SchemaAnswer::Known(observation_schema());
    let records = rig.feed().len();
    assert_eq!(rig.asks.blocking_recv(), Some(id(KNOWN)));
    rig.publish(KNOWN, known.clone());
    let mut batches = rig.until(NEIGHBOUR, records);
    while rig.asks.blocking_recv() != Some(id(ABSENT)) {}
    assert_eq!(rig.holds.borrow().partitions, 1);
    let reached = |all: &[OutputBatch]| {
        let held = all.iter().filter(|batch| batch.partition == HELD);
        held.map(|batch| batch.to.get()).max()
    };
    assert!(reached(&batches) <= Some(i64::try_from(AT).unwrap()));
    // It is asked for again, as the first ask may not have been heard.
    assert_eq!(rig.asks.blocking_recv(), Some(id(ABSENT)));

    rig.publish(ABSENT, known);
    batches.extend(rig.until(HELD, records));
    assert_eq!(rig.holds.borrow().partitions, 0);
    let held = rig::whole(&batches, HELD.0);
    let neighbour = rig::whole(&batches, NEIGHBOUR.0);
    assert_eq!(held.outcomes, neighbour.outcomes);
    assert_eq!(held.metadata, neighbour.metadata);
    drop(rig.commands);
    rig.thread.join().unwrap();
}

#[test]
fn records_of_an_unknown_schema_are_refused_until_it_is_known() {
    let mut rig = Rig::start();
    let known = SchemaAnswer::Known(observation_schema());
    rig.publish(KNOWN, known);
    rig.publish(ABSENT, SchemaAnswer::Unknown);
    let records = rig.feed().len();
    let batches = rig.until(HELD, records);
    let held = rig::whole(&batches, HELD.0);
    let refused = Outcome::Rejected(Rejection::UnknownSchema);
    assert_eq!(held.outcomes.get(refused), 1);
    let letter = held
        .sent
        .iter()
        .find_map(|sent| sent.header("foretell.detail"));
    let detail = "the registry knew no schema with the id 2; register the writer schema under it";
    assert_eq!(letter, Some(detail));
    // What is refused is asked for on and on.
    assert_eq!(rig.asks.blocking_recv(), Some(id(ABSENT)));
    drop(rig.commands);
    rig.thread.join().unwrap();
}

#[test]
fn a_held_partition_is_released_and_discarded_at_once() {
    let mut rig = Rig::start();
    rig.feed();
    // No schema at all is known.
    assert_eq!(rig.asks.blocking_recv(), Some(id(KNOWN)));
    assert!(rig.holds.borrow().partitions >= 1);
    let (released, wait) = sync_channel(1);
    let release = LaneCommand::Release {
        partition: HELD,
        released,
    };
    rig.commands.blocking_send(release).unwrap();
    let discard = LaneCommand::Discard {
        partition: NEIGHBOUR,
    };
    rig.commands.blocking_send(discard).unwrap();
    match rig.outputs.blocking_recv().unwrap() {
        CommitterInput::Released {
            partition,
            released: held,
        } => {
            assert_eq!(partition, HELD);
            drop(held);
        }
        CommitterInput::Batch(batch, _) => panic!("{batch:?}"),
    }
    assert_eq!(wait.try_recv(), Err(TryRecvError::Disconnected));
    drop(rig.commands);
    rig.thread.join().unwrap();
    assert_eq!(rig.holds.borrow().partitions, 0);
}
