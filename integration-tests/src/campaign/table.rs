//! What a campaign has come to, for people.

use std::fmt::{self, Write as _};

use crate::accounts::Accounts;

/// A fault that was come through.
#[derive(Clone, Debug)]
pub struct Row {
    pub fault: &'static str,
    /// For each strike the seconds until every partition had a forecast of a record behind it.
    pub strikes: Vec<f64>,
    /// Of the group's whole input.
    pub accounts: Option<Accounts>,
}

impl Row {
    pub(super) const fn new(fault: &'static str) -> Self {
        Self {
            fault,
            strikes: Vec::new(),
            accounts: None,
        }
    }
}

/// The table, with a line for the sums.
pub fn print(rows: &[Row]) -> Result<String, fmt::Error> {
    let mut text = format!(
        "{:<34}{:>8}{:>10}{:>11}{:>13}{:>17}{:>8}\n",
        "fault", "strikes", "records", "forecasts", "differences", "median seconds", "worst"
    );
    let (mut strikes, mut records, mut forecasts, mut differences) = (0, 0, 0, 0);
    for row in rows {
        let accounts = row.accounts.unwrap_or_default();
        let mut seconds = row.strikes.clone();
        seconds.sort_by(f64::total_cmp);
        let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
        let worst = seconds.last().copied().unwrap_or_default();
        writeln!(
            text,
            "{:<34}{:>8}{:>10}{:>11}{:>13}{median:>17.1}{worst:>8.1}",
            row.fault,
            seconds.len(),
            accounts.records,
            accounts.forecasts,
            accounts.differences,
        )?;
        strikes += seconds.len();
        records += accounts.records;
        forecasts += accounts.forecasts;
        differences += accounts.differences;
    }
    writeln!(
        text,
        "{:<34}{strikes:>8}{records:>10}{forecasts:>11}{differences:>13}",
        "all"
    )?;
    Ok(text)
}
