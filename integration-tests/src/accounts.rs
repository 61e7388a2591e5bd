//! Does everything add up? What was written, what was recomputed and what is read must be the same number
//! of things.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, bail, ensure};
use apache_avro::types::Value;
use serde::Deserialize;

use crate::forecast::{PREFIX, decode};
use crate::read::{Seen, ValuesByKey, read_committed, values_by_key};
use crate::scenario::Scenario;
use crate::worker::WINDOW;

/// Of a group that has committed all of its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Observations that were folded, each once.
    pub records: u64,
    /// Forecasts, as the Java client reads them.
    pub forecasts: u64,
    /// What `foretell verify` recomputed otherwise, of forecasts and of dead letters.
    pub differences: u64,
}

/// What is to be expected of a group that is not that every step of the load is in the input, and a forecast of
/// every whole window in the output.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Slots that the model asks for.
    pub window: u32,
    /// Series beside the load, with the records that each has and the forecasts that are due of them.
    pub others: BTreeMap<String, Due>,
    /// Dead letters by their reason.
    pub letters: BTreeMap<String, usize>,
    /// Kafka forgets with a broker's death what a producer has written whose records are older than a day, as
    /// those of the load are (docs/kafka.md, finding 15): what it sends again is there twice.
    pub may_be_doubled: bool,
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
}

#[derive(Debug, Deserialize)]
struct Partition {
    records: u64,
    windows: String,
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
        self.ensure_due(expected, &values_by_key(&forecasts)?)?;
        ensure_in_order(&forecasts)?;
        let letters = read_committed(&self.cluster, &self.job.dead_letters())?;
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for letter in &letters {
            let reason = letter.header("foretell.reason")?.to_owned();
            *reasons.entry(reason).or_default() += 1;
        }
        ensure!(
            reasons == expected.letters,
            "dead letters: {reasons:?}, expected {:?}",
            expected.letters
        );

        let count = |name: &str| verified.count(name);
        let accounts = Accounts {
            records: verified.partitions.iter().map(|it| it.records).sum(),
            forecasts: u64::try_from(forecasts.len())?,
            differences: verified.counts.values().sum::<u64>()
                - ["equal", "letter_equal", "letter_other"]
                    .map(count)
                    .iter()
                    .sum::<u64>(),
        };
        let others: u64 = expected.others.values().map(|due| due.records).sum();
        let written = self.written() + others;
        let doubled = if expected.may_be_doubled {
            self.doubled()?
        } else {
            0
        };
        ensure!(
            accounts.records == written + doubled && accounts.forecasts == count("equal"),
            "{written} observations were written, {doubled} of them twice, {} forecasts are as they should be: {accounts:?}",
            count("equal")
        );
        Ok(accounts)
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

    /// Fails unless every series has as many forecasts as are due.
    fn ensure_due(&self, expected: &Expected, forecasts: &ValuesByKey<'_>) -> Result<()> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for ((_, key), values) in forecasts {
            let other = counts.insert(key, values.len());
            ensure!(other.is_none(), "{key} is in two partitions");
        }
        let mut due = self.due(0, expected.window);
        for (series, other) in &expected.others {
            due.insert(series.clone(), other.forecasts);
        }
        for (series, count) in &due {
            let found = counts.remove(series.as_str()).unwrap_or(0);
            ensure!(
                found == *count,
                "{series}: {found} forecasts, {count} were due"
            );
        }
        ensure!(
            counts.is_empty(),
            "forecasts for series that do not exist: {counts:?}"
        );
        Ok(())
    }
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
