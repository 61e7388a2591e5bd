//! What a campaign has come to, for people.

use std::fmt::{self, Write as _};

use crate::accounts::Accounts;
use crate::outcomes::{Counted, Extent};

/// A fault that was come through.
#[derive(Clone, Debug)]
pub struct Row {
    pub fault: &'static str,
    /// For each strike the seconds until every partition had a forecast of a record behind it.
    pub strikes: Vec<f64>,
    /// Of the group's whole input.
    pub accounts: Accounts,
    /// By the workers themselves.
    pub counted: Counted,
}

/// The table, with a line for the sums. Whatever did not agree has ended the campaign: every row is of numbers
/// that were found to add up.
pub fn print(rows: &[Row]) -> Result<String, fmt::Error> {
    let mut text = format!(
        "{:<34}{:>8}{:>10}{:>10}{:>10}{:>12}{:>12}{:>16}{:>8}\n",
        "fault",
        "strikes",
        "records",
        "due",
        "read",
        "recomputed",
        "counted",
        "median seconds",
        "worst"
    );
    let mut sums = [0; 5];
    for row in rows {
        let Accounts {
            records,
            due,
            read,
            recomputed,
            letters: _,
        } = row.accounts;
        let mut seconds = row.strikes.clone();
        seconds.sort_by(f64::total_cmp);
        let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
        let worst = seconds.last().copied().unwrap_or_default();
        let strikes = u64::try_from(seconds.len()).unwrap_or(u64::MAX);
        writeln!(
            text,
            "{:<34}{strikes:>8}{records:>10}{due:>10}{read:>10}{recomputed:>12}{:>12}{median:>16.1}{worst:>8.1}",
            row.fault,
            counted(row.counted),
        )?;
        for (sum, number) in sums
            .iter_mut()
            .zip([strikes, records, due, read, recomputed])
        {
            *sum += number;
        }
    }
    let [strikes, records, due, read, recomputed] = sums;
    writeln!(
        text,
        "{:<34}{strikes:>8}{records:>10}{due:>10}{read:>10}{recomputed:>12}",
        "all"
    )?;
    Ok(text)
}

/// Where workers are gone, there were as many at least.
fn counted(by_workers: Counted) -> String {
    match by_workers.extent {
        Extent::Whole => by_workers.records.to_string(),
        Extent::Part => format!(">= {}", by_workers.records),
    }
}
