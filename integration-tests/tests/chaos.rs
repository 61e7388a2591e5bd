//! A short form of the fault campaign, which `make chaos` runs whole: brokers and workers that are killed on three
//! nodes.

use anyhow::{Result, ensure};
use integration_tests::campaign::{self, Options, Row};

const FAULTS: [&str; 4] = [
    "kill-on-three-nodes",
    "leader-killed",
    "transaction-coordinator-killed",
    "group-coordinator-killed",
];

#[test]
fn what_is_killed_on_three_nodes_changes_no_output() -> Result<()> {
    let options = Options {
        faults: FAULTS.map(str::to_owned).to_vec(),
        rounds: 1,
        strikes_max: 1,
        seed: 1,
    };
    let mut rows: Vec<Row> = Vec::new();
    campaign::run(&options, |_| {}, |row| rows.push(row.clone()))?;
    for row in &rows {
        let compared = row.accounts.is_some_and(|it| it.forecasts > 0);
        ensure!(row.strikes.len() == 1 && compared, "{row:?}");
    }
    ensure!(rows.len() == FAULTS.len(), "{rows:?}");
    Ok(())
}
