//! What workers have counted of the records that they committed, held against what is in the topics.
//!
//! A worker counts a record when it hears that it is committed. What it has counted is gone with its process. And it
//! may not hear: where a commit has no result, and another one has moved the offset since or has been given the
//! partition, it cannot tell and does not count. So the counts of a group are exact as long as neither has
//! happened, and else a part of what there is.

use std::collections::BTreeMap;
use std::error::Error;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

use crate::worker::Worker;

const RECORDS: &str = "foretell_records_total";
/// Partitions of commits without a result whose offset is that of another one.
const ELSEWHERE: &str = "foretell_settled_partitions_total{verdict=\"elsewhere\"}";
/// Commits without a result.
const INDEFINITE: &str = "foretell_transactions_total{result=\"indefinite\"}";
/// Batches of partitions that were taken away, those of such commits too.
const STALE: &str = "foretell_stale_batches_total";

/// What is in the topics of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Committed observations.
    pub records: u64,
    pub forecasts: u64,
    /// Dead letters of records, by their reason.
    pub letters: BTreeMap<String, u64>,
}

/// Committed records by their one outcome, of one worker or of some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    forecasts: u64,
    /// By the reason of their dead letter.
    letters: BTreeMap<String, u64>,
    /// With neither.
    others: u64,
    /// Whether a commit may have ended otherwise than its worker could tell.
    in_doubt: bool,
}

/// How far counts are to agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// Nobody who has counted is gone.
    #[default]
    Whole,
    /// Some of what was counted is lost.
    Part,
}

/// Records that workers have counted, and how many of those that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub records: u64,
    pub extent: Extent,
}

impl Worker {
    /// The value of a metric that is a number of things, named with its labels as /metrics prints it.
    pub fn count<T: FromStr<Err: Error + Send + Sync + 'static>>(&self, name: &str) -> Result<T> {
        let (_, text) = self.get("/metrics")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no {name}"))?.parse()?)
    }
}

impl Outcomes {
    /// What a worker has counted until now.
    pub fn of(worker: &Worker) -> Result<Self> {
        let (_, metrics) = worker.get("/metrics")?;
        Self::read(&metrics)
    }

    fn read(metrics: &str) -> Result<Self> {
        let mut found = Self::default();
        let (mut elsewhere, mut indefinite, mut stale) = (0_u64, 0_u64, 0_u64);
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            match name {
                ELSEWHERE => elsewhere = value.parse()?,
                INDEFINITE => indefinite = value.parse()?,
                STALE => stale = value.parse()?,
                _ => {}
            }
            let Some(labels) = name.strip_prefix(RECORDS) else {
                continue;
            };
            let value_of = |label: &str| {
                let (_, behind) = labels.split_once(&format!("{label}=\""))?;
                Some(behind.split_once('"')?.0)
            };
            let outcome = value_of("outcome").context("a record has an outcome")?;
            let reason = value_of("reason").context("an outcome has a reason")?;
            let count: u64 = value.parse()?;
            match (outcome, reason) {
                ("forecast", _) => found.forecasts += count,
                (_, "") => found.others += count,
                (_, reason) if count > 0 => {
                    *found.letters.entry(reason.to_owned()).or_default() += count;
                }
                _ => {}
            }
        }
        found.in_doubt = elsewhere > 0 || indefinite > 0 && stale > 0;
        Ok(found)
    }

    /// Takes in what another worker has counted.
    pub fn add(&mut self, other: &Self) {
        self.forecasts += other.forecasts;
        self.others += other.others;
        self.in_doubt |= other.in_doubt;
        for (reason, count) in &other.letters {
            *self.letters.entry(reason.clone()).or_default() += count;
        }
    }

    /// All of them.
    pub fn records(&self) -> u64 {
        self.forecasts + self.others + self.letters.values().sum::<u64>()
    }

    /// Of workers that all live and have lived since the first record, unless something is lost by `extent`.
    pub fn extent(&self, gone: Extent) -> Extent {
        if self.in_doubt { Extent::Part } else { gone }
    }

    /// Fails unless every record was counted, as what the topics tell; where a part of the counts is lost, unless
    /// none was counted beyond that.
    pub fn ensure_add_up(&self, told: &Told, extent: Extent) -> Result<()> {
        let agree = |counted: u64, there: u64| match extent {
            Extent::Whole => counted == there,
            Extent::Part => counted <= there,
        };
        let of = |letters: &BTreeMap<String, u64>, reason: &str| {
            letters.get(reason).copied().unwrap_or_default()
        };
        let mut reasons = self.letters.keys().chain(told.letters.keys());
        let letters = reasons.all(|it| agree(of(&self.letters, it), of(&told.letters, it)));
        let silent = told.forecasts + told.letters.values().sum::<u64>();
        ensure!(
            letters
                && agree(self.forecasts, told.forecasts)
                && agree(self.records(), told.records)
                && agree(self.others, told.records.saturating_sub(silent)),
            "the workers' counts ({extent:?}) are {self:?}, in the topics are {told:?}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# HELP foretell_records_total Committed input records
foretell_records_total{outcome=\"forecast\",reason=\"\"} 70
foretell_records_total{outcome=\"folded\",reason=\"\"} 20
foretell_records_total{outcome=\"duplicate\",reason=\"\"} 5
foretell_records_total{outcome=\"rejected\",reason=\"late\"} 3
foretell_records_total{outcome=\"rejected\",reason=\"off_grid\"} 0
foretell_records_total{outcome=\"forecast_failed\",reason=\"model_output_invalid\"} 2
foretell_settled_partitions_total{verdict=\"elsewhere\"} 0
foretell_transactions_total{result=\"indefinite\"} 0
foretell_stale_batches_total 4
foretell_forecasts_total 70
";

    fn told() -> Told {
        let letters = [("late", 3), ("model_output_invalid", 2)];
        Told {
            records: 100,
            forecasts: 70,
            letters: letters.map(|(it, count)| (it.to_owned(), count)).into(),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Told), whole: bool, part: bool) {
        let counted = Outcomes::read(METRICS).unwrap();
        let mut told = told();
        change(&mut told);
        let whole_found = counted.ensure_add_up(&told, Extent::Whole);
        assert_eq!(whole_found.is_ok(), whole, "{whole_found:?}");
        let part_found = counted.ensure_add_up(&told, Extent::Part);
        assert_eq!(part_found.is_ok(), part, "{part_found:?}");
    }

    #[test]
    fn counts_that_are_those_of_the_topics_add_up() {
        check(|_| {}, true, true);
    }

    #[test]
    fn a_record_that_nobody_has_counted_is_missed_where_nobody_is_gone() {
        check(|told| told.records += 1, false, true);
        let forecast = |told: &mut Told| {
            told.records += 1;
            told.forecasts += 1;
        };
        check(forecast, false, true);
        let letter = |told: &mut Told| {
            told.records += 1;
            *told.letters.entry("off_grid".to_owned()).or_default() += 1;
        };
        check(letter, false, true);
    }

    #[test]
    fn what_was_counted_twice_or_as_something_else_never_adds_up() {
        check(|told| told.records -= 1, false, false);
        check(|told| told.forecasts -= 1, false, false);
        check(
            |told| *told.letters.get_mut("late").unwrap() -= 1,
            false,
            false,
        );
        let otherwise = |told: &mut Told| told.letters.remove("late").map_or((), drop);
        check(otherwise, false, false);
    }

    #[test]
    fn counts_are_a_part_once_a_commit_is_in_doubt() {
        for what in ["elsewhere", "indefinite"] {
            let mut counted = Outcomes::read(METRICS).unwrap();
            assert_eq!(counted.extent(Extent::Whole), Extent::Whole);
            assert_eq!(counted.extent(Extent::Part), Extent::Part);
            let doubtful = METRICS.replace(&format!("{what}\"}} 0"), &format!("{what}\"}} 1"));
            counted.add(&Outcomes::read(&doubtful).unwrap());
            assert_eq!(counted.extent(Extent::Whole), Extent::Part, "{what}");
            assert_eq!(counted.records(), 200);
        }
    }
}
