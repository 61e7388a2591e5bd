//! A short form of the fault campaign, which `make chaos` runs whole: one strike of what is quick and of every kind on
//! one node, and brokers and workers that are killed on three.

use anyhow::{Result, ensure};
use integration_tests::campaign::{self, Options, Row};

const FAULTS: [&str; 7] = [
    // On one node.
    "kill-end-txn-answer-lost",
    "end-txn-late",
    "kill-before-snapshot",
    "model-panics",
    // On three.
    "kill-on-three-nodes",
    "leader-killed",
    "group-coordinator-killed",
];

/// One test, as two cores have enough with one cluster at a time.
#[test]
fn a_strike_of_each_of_these_faults_changes_no_output() -> Result<()> {
    let options = Options {
        faults: FAULTS.map(str::to_owned).to_vec(),
        rounds: 1,
        strikes_max: 1,
        seed: 1,
    };
    let mut rows: Vec<Row> = Vec::new();
    campaign::run(&options, |_| {}, |row| rows.push(row.clone()))?;
    for row in &rows {
        let is_told = row.accounts.recomputed > 0 && row.counted.records > 0;
        ensure!(row.strikes.len() == 1 && is_told, "{row:?}");
    }
    ensure!(rows.len() == FAULTS.len(), "{rows:?}");
    Ok(())
}
