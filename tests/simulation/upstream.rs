//! Who writes the input: alone, or in a transaction that is committed or aborted.

use broker_model::Producer;

use crate::checks::Violation;
use crate::hits::Hit;
use crate::input::{PARTITIONS, Rec, input};
use crate::shared::{Shared, say};

/// Its transactional id.
const UPSTREAM: &str = "upstream";

/// Its producer.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    producer: Producer,
    /// Numbers of its next records.
    sequences: [i32; PARTITIONS],
    is_open: bool,
}

impl Shared {
    fn upstream_is_open(&self) -> bool {
        self.upstream
            .as_ref()
            .is_some_and(|upstream| upstream.is_open)
    }

    /// Writes some records, alone or in a transaction, begins or ends one.
    pub(crate) fn write_input(&mut self) -> Result<bool, Violation> {
        self.touched = true;
        match self.random.below(8) {
            0 if !self.upstream_is_open() => self.begin_upstream()?,
            0 | 1 if self.upstream_is_open() => {
                let commit = self.random.one_in(2);
                self.end_upstream(commit)?;
            }
            2 => {
                let partition = self.random.index(PARTITIONS);
                self.broker.log_mut(input(partition))?.append_hole();
            }
            _ => {
                let partition = self.random.index(PARTITIONS);
                return self.write_some(partition);
            }
        }
        Ok(true)
    }

    fn write_some(&mut self, partition: usize) -> Result<bool, Violation> {
        let in_transaction = self.upstream_is_open() && self.random.one_in(2);
        let count = 1 + self.random.index(4);
        let first = self.written[partition];
        let last = (first + count).min(self.setup.items[partition].len());
        self.written[partition] = last;
        for item in first..last {
            if let (true, Some(upstream)) = (in_transaction, &mut self.upstream) {
                let at = (input(partition), upstream.sequences[partition]);
                upstream.sequences[partition] += 1;
                self.broker
                    .produce(UPSTREAM, upstream.producer, at, [Rec::In(item)])?;
            } else {
                let log = self.broker.log_mut(input(partition))?;
                log.append(Rec::In(item));
            }
        }
        say!(
            self,
            "input {partition}: items {first}..{last}, in a transaction: {in_transaction}"
        );
        Ok(first < last)
    }

    fn begin_upstream(&mut self) -> Result<(), Violation> {
        let mut upstream = match self.upstream.take() {
            Some(upstream) => upstream,
            None => Upstream {
                producer: self.broker.init_producer(UPSTREAM, u64::MAX / 2)?,
                sequences: [0; PARTITIONS],
                is_open: false,
            },
        };
        let all = (0..PARTITIONS).map(input);
        let begun = self.broker.add_partitions(UPSTREAM, upstream.producer, all);
        // Its last transaction may still be ending.
        upstream.is_open = begun.is_ok();
        self.upstream = Some(upstream);
        Ok(())
    }

    pub(crate) fn end_upstream(&mut self, commit: bool) -> Result<(), Violation> {
        let Some(upstream) = self.upstream.as_mut().filter(|upstream| upstream.is_open) else {
            return Ok(());
        };
        upstream.is_open = false;
        self.broker
            .end_transaction(UPSTREAM, upstream.producer, commit)?;
        if !commit {
            self.hit(Hit::UpstreamAborted);
        }
        Ok(())
    }
}
