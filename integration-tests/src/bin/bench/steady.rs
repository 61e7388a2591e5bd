//! The steady part of a process that eats a backlog: from the moment every window is full to the
//! last look before it is done.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::Cluster;
use integration_tests::wait;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::cpu;
use crate::input::{Input, PARTITIONS};
use crate::table::ratio;

const ANSWER: Duration = Duration::from_secs(30);
/// The whole of a run.
const DEADLINE: Duration = Duration::from_mins(5);
/// Rounds in which no window of 64 is complete yet, and one more.
const FILL_ROUNDS: u32 = 65;

/// Which part of a run is steady.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// From the moment the windows of every partition are full, while every partition has work: a
    /// worker shares it out over its lanes by partition.
    AllPartitions,
    /// As many records, of whichever partition: the copy has no windows and one thread, and
    /// librdkafka serves it one partition after the other.
    Records,
}

impl Span {
    fn has_begun(self, offsets: &[u64], filled: &[u64]) -> bool {
        match self {
            Self::AllPartitions => offsets.iter().zip(filled).all(|(at, from)| at >= from),
            Self::Records => offsets.iter().sum::<u64>() >= filled.iter().sum(),
        }
    }

    fn has_ended(self, offsets: &[u64], ends: &[u64]) -> bool {
        match self {
            // Towards the end some partitions are done and the others have less to share.
            Self::AllPartitions => offsets.iter().zip(ends).any(|(at, end)| at >= end),
            Self::Records => offsets.iter().zip(ends).all(|(at, end)| at >= end),
        }
    }
}

/// What happened between two looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    pub(crate) rows: u64,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Steady {
    pub(crate) fn rows_per_second(&self) -> f64 {
        ratio(self.rows, 1) / self.wall.as_secs_f64()
    }

    /// Microseconds of processor time per row.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / ratio(self.rows, 1)
    }
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    committed: u64,
    cpu: Duration,
}

/// A group's committed offsets in the input.
pub(crate) struct Watch<'a> {
    /// Not `read_committed`, or every look would wait for the transaction that is under way.
    consumer: BaseConsumer,
    input: &'a Input,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(cluster: &Cluster, group: &str, input: &'a Input) -> Result<Self> {
        let mut client = cluster.client();
        client.set("group.id", group);
        client.set("isolation.level", "read_uncommitted");
        Ok(Self {
            consumer: client.create()?,
            input,
        })
    }

    /// Per partition, in order, the committed offset; 0 where there is none yet.
    pub(crate) fn committed(&self) -> Result<Vec<u64>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.input.topic, 0, PARTITIONS - 1);
        let answer = self.consumer.committed_offsets(list, ANSWER)?;
        let mut offsets = Vec::new();
        for element in answer.elements() {
            element.error()?;
            offsets.push(match element.offset() {
                Offset::Offset(offset) => u64::try_from(offset)?,
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => 0,
            });
        }
        Ok(offsets)
    }

    /// Records in each partition.
    pub(crate) fn ends(&self) -> Result<Vec<u64>> {
        (0..PARTITIONS)
            .map(|partition| {
                let (_, end) =
                    self.consumer
                        .fetch_watermarks(&self.input.topic, partition, ANSWER)?;
                Ok(u64::try_from(end)?)
            })
            .collect()
    }

    /// Looks on until the input is consumed, or `rows_max` rows of the steady part are.
    pub(crate) fn measure(
        &self,
        process: u32,
        span: Span,
        rows_max: u64,
        mut alive: impl FnMut() -> Result<()>,
    ) -> Result<Steady> {
        let ends = self.ends()?;
        let rounds = u64::from(self.input.rounds);
        let filled: Vec<u64> = ends
            .iter()
            .map(|end| end / rounds * u64::from(FILL_ROUNDS))
            .collect();
        let total: u64 = ends.iter().sum();
        let process = process.to_string();
        let mut first: Option<Look> = None;
        let mut last: Option<Look> = None;
        wait::until_true("the backlog is consumed", DEADLINE, || {
            alive()?;
            // A group that is new has no coordinator yet.
            let Ok(offsets) = self.committed() else {
                return Ok(false);
            };
            let committed: u64 = offsets.iter().sum();
            let look = Look {
                at: wait::now(),
                committed,
                cpu: cpu::of(&process)?,
            };
            if first.is_none() && span.has_begun(&offsets, &filled) {
                first = Some(look);
            }
            if first.is_some() && !span.has_ended(&offsets, &ends) {
                last = Some(look);
            }
            let steady = first.map_or(0, |first| committed - first.committed);
            Ok(committed >= total || steady >= rows_max)
        })?;
        let (first, last) = first
            .zip(last)
            .context("the backlog was gone before it could be looked at: use more --rounds")?;
        ensure!(
            last.committed > first.committed,
            "the backlog was gone between two looks: use more --rounds"
        );
        Ok(Steady {
            rows: last.committed - first.committed,
            wall: last.at - first.at,
            cpu: last.cpu.saturating_sub(first.cpu),
        })
    }
}
