//! What a lane sent: output by output, and of a partition as a whole.

use foretell::domain::{NextOffset, OutcomeCounts, PartitionId};
use foretell::produce::{Destination, OutputBatch};

/// One output record by itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) destination: Destination,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Sent {
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| std::str::from_utf8(value.as_deref().unwrap()).unwrap())
    }
}

pub(crate) fn sent(batch: &OutputBatch) -> Vec<Sent> {
    let outputs = batch.iter().map(|output| Sent {
        destination: output.destination,
        key: output.key.map(<[u8]>::to_vec),
        value: Some(output.value.to_vec()),
        headers: output
            .headers()
            .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
            .collect(),
    });
    outputs.collect()
}

/// Everything that a partition led to, whatever batches it came in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Whole {
    pub(crate) to: NextOffset,
    pub(crate) metadata: String,
    pub(crate) outcomes: OutcomeCounts,
    pub(crate) sent: Vec<Sent>,
}

/// Joins the output batches of one partition, which must lie end to end.
pub(crate) fn whole(batches: &[OutputBatch], partition: i32) -> Whole {
    let mut batches = batches
        .iter()
        .filter(|batch| batch.partition == PartitionId(partition));
    let first = batches.next().unwrap();
    let mut whole = Whole {
        to: first.to,
        metadata: first.metadata.clone(),
        outcomes: first.outcomes,
        sent: sent(first),
    };
    for batch in batches {
        assert_eq!(batch.from, whole.to, "a gap between two output batches");
        whole.to = batch.to;
        whole.metadata.clone_from(&batch.metadata);
        whole.outcomes.merge(&batch.outcomes);
        whole.sent.extend(sent(batch));
    }
    whole
}
