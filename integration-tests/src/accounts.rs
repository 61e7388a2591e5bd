//! Does everything add up? What was written, what was recomputed and what is read must be the same number
//! of things.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, bail, ensure};
use apache_avro::types::Value;
use serde::Deserialize;

use crate::forecast::{PREFIX, decode};
use crate::lives::Skipped;
use crate::outcomes::Told;
use crate::read::{Seen, ValuesByKey, read_committed, values_by_key};
use crate::scenario::Scenario;
use crate::worker::WINDOW;

/// Of a group that has committed all of its input: what was found to agree, each counted by somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Observations that were written and not deleted unread: as many as were folded, by `foretell verify`.
    pub records: u64,
    /// Forecasts that the load makes due.
    pub due: u64,
    /// Forecasts that the Java client has read, each series' in order.
    pub read: u64,
    /// Forecasts that `foretell verify` has made anew and found equal: all, but for those before a gap.
    pub recomputed: u64,
    /// Dead letters that the Java client has read, by their reason, but for gaps.
    pub letters: BTreeMap<String, u64>,
}

impl Accounts {
    /// What is to be found in the counts of workers.
    pub fn told(&self) -> Told {
        Told {
            records: self.records,
            forecasts: self.read,
            letters: self.letters.clone(),
        }
    }
}

/// What is to be expected of a group that is not that every step of the load is in the input, and a forecast of
/// every whole window in the output.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Slots that the model asks for.
    pub window: u32,
    /// Series beside the load, with the records that each has and the forecasts that are due of them.
    pub others: BTreeMap<String, Due>,
    /// Dead letters by their reason, but for gaps.
    pub letters: BTreeMap<String, u64>,
    /// Kafka forgets with a broker's death what a producer has written whose records are older than a day, as
    /// those of the load are (docs/kafka.md, finding 15): what it sends again is there twice.
    pub may_be_doubled: bool,
    /// Records that were deleted before they were read, each time that they were.
    pub deleted: Vec<Deleted>,
}

/// What was deleted of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    pub partition: i32,
    /// What was committed at least.
    pub committed: i64,
    /// Where the log begins now.
    pub until: i64,
}

impl Deleted {
    fn is_skipped_by(&self, gap: &Skipped) -> bool {
        let same = gap.partition == self.partition && gap.to == self.until;
        same && (self.committed..self.until).contains(&gap.from)
    }
}

/// What a series is to have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
    pub records: u64,
    pub forecasts: usize,
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            window: WINDOW,
            others: BTreeMap::new(),
            letters: BTreeMap::new(),
            may_be_doubled: false,
            deleted: Vec::new(),
        }
    }
}

/// What `foretell verify --json` says.
#[derive(Debug, Deserialize)]
pub struct Verified {
    clean: bool,
    counts: BTreeMap<String, u64>,
    partitions: Vec<Partition>,
    /// For people.
    #[serde(skip)]
    said: String,
}

impl Verified {
    /// How often this was found.
    pub fn count(&self, finding: &str) -> u64 {
        self.counts.get(finding).copied().unwrap_or(0)
    }

    /// Fails unless everything that can be checked is as it should be.
    pub fn ensure_clean(&self) -> Result<()> {
        let windows_agree = self.partitions.iter().all(|it| it.windows == "agree");
        ensure!(self.clean && windows_agree, "verify: {}", self.said);
        Ok(())
    }

    /// Fails unless it says the same of gaps as their records do.
    fn ensure_skipped(&self, gaps: &[Skipped]) -> Result<()> {
        let mut said = Vec::new();
        for partition in &self.partitions {
            for Gap { from, to, offsets } in &partition.skipped {
                ensure!(*offsets == to - from, "verify: {}", self.said);
                said.push(Skipped {
                    partition: partition.number,
                    from: *from,
                    to: *to,
                });
            }
        }
        let mut recorded = gaps.to_vec();
        recorded.sort();
        said.sort();
        ensure!(said == recorded, "{gaps:?}, and verify: {}", self.said);
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
struct Partition {
    #[serde(rename = "partition")]
    number: i32,
    records: u64,
    windows: String,
    skipped: Vec<Gap>,
}

#[derive(Debug, Deserialize)]
struct Gap {
    from: i64,
    to: i64,
    offsets: i64,
}

impl Scenario {
    /// Recomputes all that was committed, reads it by the Java client, counts what was due, and fails
    /// where anything is missing, doubled or otherwise.
    pub fn accounts(&self) -> Result<Accounts> {
        self.accounts_of(&Expected::default())
    }

    /// The same where something else is to be expected.
    pub fn accounts_of(&self, expected: &Expected) -> Result<Accounts> {
        let verified = self.verify()?;
        verified.ensure_clean()?;
        let forecasts = read_committed(&self.cluster, &self.job.forecasts())?;
        let letters = read_committed(&self.cluster, &self.job.dead_letters())?;
        let (reasons, gaps) = ensure_letters(&letters, expected)?;
        verified.ensure_skipped(&gaps)?;
        let lives = self.lives(&gaps)?;
        let due = lives.due(expected.window);
        let due_count = ensure_due(expected, &due, &values_by_key(&forecasts)?)?;
        ensure_in_order(&forecasts)?;

        let count = |name: &str| verified.count(name);
        let before: usize = due.values().map(|(before, _)| before).sum();
        let (read, before) = (u64::try_from(forecasts.len())?, u64::try_from(before)?);
        let others: u64 = expected.others.values().map(|it| it.records).sum();
        let doubled = if expected.may_be_doubled {
            self.doubled()?
        } else {
            0
        };
        let folded: u64 = verified.partitions.iter().map(|it| it.records).sum();
        let behind = lives.read_last() + others + doubled;
        // Forecasts of records before a gap are there and nobody can say what they should be.
        ensure!(
            count("unverifiable") == before && count("equal") + before == read && folded == behind,
            "{behind} observations are behind the last gap, {doubled} of them twice, {folded} were folded; of {read} forecasts {before} are from before it: {}",
            verified.said
        );
        Ok(Accounts {
            records: lives.read() + others + doubled,
            due: due_count,
            read,
            recomputed: count("equal"),
            letters: reasons,
        })
    }

    /// Recomputes all that was committed.
    pub fn verify(&self) -> Result<Verified> {
        // Past any proxy.
        let direct = self.job.clone().brokers(self.cluster.brokers());
        let ran = direct.command(&["verify", "--json"])?.output()?;
        let (shown, said) = (
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr),
        );
        let mut verified: Verified = serde_json::from_str(&shown)
            .with_context(|| format!("verify: {}\n{said}", ran.status))?;
        ensure!(
            ran.status.success() == verified.clean,
            "verify says {shown} and ended with {}",
            ran.status
        );
        verified.said = format!("{}\n{said}\n{shown}", ran.status);
        Ok(verified)
    }

    /// How many observations are in the input that were there before.
    fn doubled(&self) -> Result<u64> {
        let input = read_committed(&self.cluster, self.job.observations())?;
        let each = input.iter().map(|it| (it.partition, &it.key, &it.value));
        let distinct: HashSet<_> = each.collect();
        Ok(u64::try_from(input.len() - distinct.len())?)
    }
}

/// Fails unless there are the dead letters that are to be expected; answers how many of which reason, and the gaps
/// among them.
fn ensure_letters(
    letters: &[Seen],
    expected: &Expected,
) -> Result<(BTreeMap<String, u64>, Vec<Skipped>)> {
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let mut gaps = Vec::new();
    for letter in letters {
        match letter.header("foretell.reason")? {
            "gap" => gaps.push(Skipped::read(letter)?),
            reason => *reasons.entry(reason.to_owned()).or_default() += 1,
        }
    }
    ensure!(
        reasons == expected.letters,
        "dead letters: {reasons:?}, expected {:?}",
        expected.letters
    );
    let deleted = &expected.deleted;
    let is_skipped = |it: &Deleted| gaps.iter().any(|gap| it.is_skipped_by(gap));
    ensure!(
        gaps.len() == deleted.len() && deleted.iter().all(is_skipped),
        "deleted were {deleted:?}, skipped {gaps:?}"
    );
    Ok((reasons, gaps))
}

/// Fails unless every series has as many forecasts as are due; answers how many that is.
fn ensure_due(
    expected: &Expected,
    lives: &BTreeMap<String, (usize, usize)>,
    forecasts: &ValuesByKey<'_>,
) -> Result<u64> {
    let of_load = lives
        .iter()
        .map(|(series, (before, behind))| (series, before + behind));
    let others = expected
        .others
        .iter()
        .map(|(series, due)| (series, due.forecasts));
    let all: Vec<_> = of_load.chain(others).collect();
    let due: usize = all.iter().map(|(_, due)| due).sum();
    ensure_counts(forecasts, all.into_iter())?;
    Ok(u64::try_from(due)?)
}

/// Fails unless these series have so many forecasts, each in one partition, and no other series has any.
pub(crate) fn ensure_counts<'a>(
    forecasts: &ValuesByKey<'_>,
    expected: impl Iterator<Item = (&'a String, usize)>,
) -> Result<()> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for ((_, key), values) in forecasts {
        let other = counts.insert(key, values.len());
        ensure!(other.is_none(), "{key} is in two partitions");
    }
    for (series, due) in expected {
        let found = counts.remove(series.as_str()).unwrap_or(0);
        ensure!(found == due, "{series}: {found} forecasts, {due} were due");
    }
    ensure!(
        counts.is_empty(),
        "forecasts for series that do not exist: {counts:?}"
    );
    Ok(())
}

/// Fails unless the forecasts of every series come from ever later records of one partition: none is there
/// twice, and none before its predecessor.
fn ensure_in_order(forecasts: &[Seen]) -> Result<()> {
    for (series, list) in decode(forecasts, PREFIX)? {
        let mut last = None;
        for fields in list {
            let source = fields.into_iter().find(|(name, _)| name == "source");
            let Some((_, Value::Record(source))) = source else {
                bail!("{series} has a forecast without a source");
            };
            let [(_, topic), (_, partition), (_, offset)] = &source[..] else {
                bail!("{series} has a forecast from {source:?}");
            };
            let (Value::Int(partition), Value::Long(offset)) = (partition, offset) else {
                bail!("{series} has a forecast from {topic:?}, {partition:?}, {offset:?}");
            };
            let at = (*partition, *offset);
            ensure!(
                last.is_none_or(|(home, before)| home == at.0 && before < at.1),
                "{series}: a forecast of {at:?} after one of {last:?}"
            );
            last = Some(at);
        }
    }
    Ok(())
}
