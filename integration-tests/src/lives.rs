//! Which steps of the load a group has read: all of them, or what is left where records were deleted before
//! they were read. Behind such a gap every series begins anew.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, ensure};

use crate::observation::{Load, START_MS, STEP_MS};
use crate::read::{Seen, read_committed};
use crate::scenario::Scenario;
use crate::worker::GAP_MAX;

/// Offsets of a partition that a group has skipped, as the record among its dead letters says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    pub partition: i32,
    pub from: i64,
    /// The first that was not.
    pub to: i64,
}

impl Skipped {
    /// What a dead letter with the reason `gap` says.
    pub fn read(letter: &Seen) -> Result<Self> {
        Ok(Self {
            partition: letter.header("foretell.source.partition")?.parse()?,
            from: letter.header("foretell.source.offset")?.parse()?,
            to: letter.header("foretell.gap.end")?.parse()?,
        })
    }
}

/// The steps of each series between the gaps, by the series' number.
#[derive(Clone, Debug)]
pub struct Lives(BTreeMap<u32, Vec<Range<u32>>>);

/// Where the load puts a series: in each step it is the record of this rank among so many of a partition.
#[derive(Clone, Copy, Debug)]
struct Lane {
    partition: i32,
    rank: i64,
    of: i64,
}

impl Scenario {
    /// The lives of all series of a load that is alone in its input, of a group that has skipped these.
    pub fn lives(&self, gaps: &[Skipped]) -> Result<Lives> {
        let steps = self.steps();
        if gaps.is_empty() {
            let whole = |series| (series, std::iter::once(0..steps).collect());
            return Ok(Lives((0..self.series()).map(whole).collect()));
        }
        let lanes = lanes(&read_committed(&self.cluster, self.input())?)?;
        ensure!(lanes.len() == usize::try_from(self.series())?, "{lanes:?}");
        let mut lives = BTreeMap::new();
        for (series, lane) in lanes {
            let mut own: Vec<_> = gaps
                .iter()
                .filter(|gap| gap.partition == lane.partition)
                .collect();
            own.sort();
            let mut list = Vec::new();
            let mut start = 0;
            for gap in own {
                list.push(start..lane.first_step(gap.from)?);
                start = lane.first_step(gap.to)?;
            }
            list.push(start..steps);
            lives.insert(series, list);
        }
        Ok(Lives(lives))
    }
}

impl Lives {
    /// Records that were read.
    pub fn read(&self) -> u64 {
        let all = self.0.values().flatten();
        all.map(|life| u64::from(life.end - life.start)).sum()
    }

    /// Records behind the last gap of their partition.
    pub fn read_last(&self) -> u64 {
        let last = self.0.values().filter_map(|lives| lives.last());
        last.map(|life| u64::from(life.end - life.start)).sum()
    }

    /// How many forecasts each series is due, of a model that asks for `window` slots: before the last gap of
    /// its partition, and behind it.
    pub fn due(&self, window: u32) -> BTreeMap<String, (usize, usize)> {
        let due = |(series, lives): (&u32, &Vec<Range<u32>>)| {
            let of = |life| Load::due_within(life, *series, window, GAP_MAX);
            let all: usize = lives.iter().map(of).sum();
            let last = lives.last().map_or(0, of);
            (Load::name(*series), (all - last, last))
        };
        self.0.iter().map(due).collect()
    }
}

impl Lane {
    /// The first step whose record is not below this offset.
    fn first_step(self, offset: i64) -> Result<u32> {
        let step = (offset - self.rank + self.of - 1).div_euclid(self.of);
        Ok(u32::try_from(step)?)
    }
}

/// Where the series are, by what is left of the input. The load is written step by step, each in the order of
/// the series.
fn lanes(input: &[Seen]) -> Result<BTreeMap<u32, Lane>> {
    let mut partitions: BTreeMap<u32, i32> = BTreeMap::new();
    let mut seen = Vec::new();
    for record in input {
        let key = record.key_text()?;
        let number = key.strip_prefix(Load::PREFIX).context("no series")?;
        let series = number.parse()?;
        partitions.insert(series, record.partition);
        let step = (record.timestamp - START_MS) / STEP_MS;
        seen.push((series, step, record.offset));
    }
    let lanes: BTreeMap<u32, Lane> = partitions
        .iter()
        .map(|(series, partition)| {
            let is_here = |(_, other): &(&u32, &i32)| *other == partition;
            let here = partitions.iter().filter(is_here);
            let (before, all) = here.fold((0, 0), |(before, all), (other, _)| {
                (before + i64::from(other < series), all + 1)
            });
            let lane = Lane {
                partition: *partition,
                rank: before,
                of: all,
            };
            (*series, lane)
        })
        .collect();
    for (series, step, offset) in seen {
        let lane = lanes.get(&series).context("it was seen")?;
        ensure!(
            offset == step * lane.of + lane.rank,
            "step {step} of series {series} is at {offset}, {lane:?}: the load is not alone in its input"
        );
    }
    Ok(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_ends_a_life_before_its_first_record_and_begins_one_behind_its_last() -> Result<()> {
        let lane = Lane {
            partition: 0,
            rank: 2,
            of: 5,
        };
        // Its offsets are 2, 7, 12, ...
        for (offset, step) in [(0, 0), (2, 0), (3, 1), (7, 1), (8, 2), (12, 2)] {
            ensure!(lane.first_step(offset)? == step, "{offset}");
        }
        Ok(())
    }
}
