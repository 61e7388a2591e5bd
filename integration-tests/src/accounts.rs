//! Does everything add up? What was written, what was recomputed and what is read must be the same number
//! of things.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::read::{read_committed, values_by_key};
use crate::scenario::Scenario;

/// Of a group that has committed all of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// Observations that were folded, each once.
    pub records: u64,
    /// Forecasts, as the Java client reads them.
    pub forecasts: u64,
    /// What `foretell verify` recomputed otherwise.
    pub differences: u64,
}

/// What `foretell verify --json` says.
#[derive(Debug, Deserialize)]
struct Verified {
    clean: bool,
    counts: BTreeMap<String, u64>,
    partitions: Vec<Partition>,
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
        // Past any proxy.
        let direct = self.job.clone().brokers(self.cluster.brokers());
        let ran = direct.command(&["verify", "--json"])?.output()?;
        let said = String::from_utf8_lossy(&ran.stderr);
        let verified: Verified = serde_json::from_slice(&ran.stdout)
            .with_context(|| format!("verify: {}\n{said}", ran.status))?;
        let windows_agree = verified.partitions.iter().all(|it| it.windows == "agree");
        ensure!(
            ran.status.success() && verified.clean && windows_agree,
            "verify: {}\n{said}\n{}",
            ran.status,
            String::from_utf8_lossy(&ran.stdout)
        );

        let forecasts = read_committed(&self.cluster, &self.job.forecasts())?;
        self.ensure_complete(&values_by_key(&forecasts)?)?;
        let letters = read_committed(&self.cluster, &self.job.dead_letters())?;
        ensure!(letters.is_empty(), "{} dead letters", letters.len());

        let count = |name: &str| verified.counts.get(name).copied().unwrap_or(0);
        let accounts = Accounts {
            records: verified.partitions.iter().map(|it| it.records).sum(),
            forecasts: u64::try_from(forecasts.len())?,
            differences: verified.counts.values().sum::<u64>() - count("equal"),
        };
        let written = self.written();
        ensure!(
            accounts.records == written && accounts.forecasts == count("equal"),
            "{written} observations were written, {} forecasts are as they should be: {accounts:?}",
            count("equal")
        );
        Ok(accounts)
    }
}
