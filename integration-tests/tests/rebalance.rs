//! Workers that join and leave under load.

use anyhow::{Result, ensure};
use integration_tests::kafka;
use integration_tests::scenario::{END, Scenario};

#[test]
fn one_worker_puts_out_what_is_due() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "one", 4, |job| job)?;
    scenario.burst(100)?;
    let mut workers = [scenario.job.start("a")?];
    scenario.catch_up(&mut workers)?;
    let [mut worker] = workers;
    let status = worker.terminate(END)?;
    ensure!(status.success(), "{status}\n{}", worker.log_tail());
    scenario.ensure_output_as_undisturbed()
}
