//! What a transaction sends, request by request, as librdkafka does.

use std::collections::{BTreeMap, VecDeque};

use broker_model::{Committed, Member, Producer};
use foretell::produce::OutputBatch;

use crate::commit::Standing;
use crate::input::{OUTPUTS, index, kept, place};
use crate::network::Body;
use crate::records::Random;

/// A producer instance, and how far it has come.
pub(crate) struct Client {
    pub(crate) producer: Producer,
    /// Numbers of its next records.
    pub(crate) sequences: [i32; OUTPUTS],
    /// I8: nothing is called any more.
    pub(crate) spent: bool,
    /// A request of it may have been sent twice.
    pub(crate) disturbed: bool,
}

/// One transaction.
pub(crate) struct Transaction {
    pub(crate) batches: Vec<OutputBatch>,
    /// What is still to be sent.
    pub(crate) todo: VecDeque<Stage>,
    /// The first of these was sent, and not answered.
    pub(crate) tried: bool,
    pub(crate) standing: Standing,
    pub(crate) member: Member,
    /// Since when it is open.
    pub(crate) began_ms: u64,
    /// Something else than its own requests took time: an answer that did not come or said to ask again, a
    /// process or a broker that stood still.
    pub(crate) is_held: bool,
    /// When it was last gone on with.
    pub(crate) asked_ms: u64,
    /// By a mistake the model is run in it, until then.
    pub(crate) computes_until_ms: u64,
    /// Which straight run each partition's part is of.
    pub(crate) runs: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Add,
    Produce(usize),
    AddOffsets,
    Offsets,
    End { commit: bool },
}

/// The requests of a transaction, in one of their orders: records and offsets are on their way at the same
/// time.
pub(crate) fn requests(
    batches: &[OutputBatch],
    has_offsets: bool,
    random: &mut Random,
) -> VecDeque<Stage> {
    let mut places = [false; OUTPUTS];
    for output in batches.iter().flat_map(OutputBatch::iter) {
        places[place(output.destination, output.value)] = true;
    }
    let mut outputs: VecDeque<Stage> = VecDeque::new();
    if places.contains(&true) {
        outputs.push_back(Stage::Add);
        let used = (0..OUTPUTS).filter(|place| places[*place]);
        outputs.extend(used.map(Stage::Produce));
    }
    let mut offsets = VecDeque::from([Stage::AddOffsets, Stage::Offsets]);
    if !has_offsets && !outputs.is_empty() {
        offsets.clear();
    }
    let mut todo = VecDeque::new();
    while !(outputs.is_empty() && offsets.is_empty()) {
        let first = random.one_in(2);
        let from = if first { &mut outputs } else { &mut offsets };
        todo.extend(from.pop_front());
    }
    todo.push_back(Stage::End { commit: true });
    todo
}

impl Transaction {
    fn values(&self, wanted: usize) -> impl Iterator<Item = Box<[u8]>> {
        let outputs = self.batches.iter().flat_map(OutputBatch::iter);
        let there = outputs.filter(move |output| place(output.destination, output.value) == wanted);
        there.map(|output| kept(&output))
    }

    pub(crate) fn count(&self, place: usize) -> i32 {
        i32::try_from(self.values(place).count()).unwrap()
    }

    pub(crate) fn body(&self, stage: Stage, client: &Client) -> Body {
        match stage {
            Stage::Add => Body::Add(
                (0..OUTPUTS)
                    .filter(|place| self.values(*place).next().is_some())
                    .collect(),
            ),
            Stage::Produce(place) => Body::Produce {
                place,
                sequence: client.sequences[place],
                values: self.values(place).collect(),
            },
            Stage::AddOffsets => Body::AddOffsets,
            Stage::Offsets => {
                let batches = self.batches.iter();
                let offsets: BTreeMap<usize, Committed> = batches
                    .map(|batch| {
                        let committed = Committed {
                            offset: batch.to.get(),
                            metadata: batch.metadata.clone(),
                        };
                        (index(batch.partition), committed)
                    })
                    .collect();
                Body::Offsets {
                    member: self.member,
                    offsets: offsets.into_iter().collect(),
                    runs: self.runs.clone(),
                }
            }
            Stage::End { commit } => Body::End { commit },
        }
    }
}
