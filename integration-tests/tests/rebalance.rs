//! Partitions that come and go: starts, and workers that join and leave under load.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use integration_tests::accounts::{Deleted, Expected};
use integration_tests::cluster::Progress;
use integration_tests::process::Signal;
use integration_tests::read::{read_committed, values_by_key};
use integration_tests::scenario::{Scenario, stop};
use integration_tests::worker::{Job, WINDOW, Worker};
use integration_tests::{kafka, wait};

/// Enough starts of enough partitions to meet what happens to one partition in three hundred.
const STARTS: u32 = 8;
/// For a worker to end, or for others to take over what it had: longer than a session and a transaction.
const TAKEN_OVER: Duration = Duration::from_mins(1);
/// Partitions of the group that workers join and leave.
const PARTITIONS: usize = 16;
/// Steps of load that it is given at most.
const STEPS_MAX: u32 = 5_000;

#[test]
fn every_partition_is_read_from_where_it_was_committed() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "starts", 64, |job| job)?;
    for _ in 0..STARTS {
        scenario.burst(20)?;
        scenario.run_to_end()?;
    }
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn a_log_that_has_lost_its_beginning_is_read_from_what_is_left() -> Result<()> {
    const LOST: u32 = 20;
    let mut scenario = Scenario::new(kafka::shared()?, "cut", 64, |job| job)?;
    scenario.burst(LOST)?;
    scenario.cluster.delete_records(scenario.input())?;
    for _ in 0..3 {
        // Windows fill, and there is more than one forecast of each series.
        scenario.burst(30)?;
        scenario.run_to_end()?;
    }
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    ensure!(letters.is_empty(), "{} dead letters", letters.len());
    let forecasts = read_committed(&scenario.cluster, &scenario.job.forecasts())?;
    ensure!(!forecasts.is_empty(), "no forecast was due");
    scenario.ensure_complete_since(LOST, &values_by_key(&forecasts)?)
}

#[test]
fn records_deleted_before_they_were_read_end_a_worker_that_starts() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "gap-at-start", 1, |job| job)?;
    scenario.burst(5)?;
    scenario.run_to_end()?;
    let before = scenario.progress.committed()?;
    scenario.burst(5)?;
    scenario.cluster.delete_records(scenario.input())?;
    scenario.burst(5)?;
    let worker = scenario.job.start("a")?;
    ends_and_says(worker, "outside of the log")?;
    ensure!(
        scenario.progress.committed()? == before,
        "records were skipped"
    );
    Ok(())
}

#[test]
fn records_deleted_before_they_were_read_end_a_worker_that_runs() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "gap-at-work", 1, |job| job)?;
    scenario.burst(5)?;
    let mut workers = [scenario.job.start_ready("a")?];
    scenario.catch_up(&mut workers)?;
    let [worker] = workers;
    worker.signal(Signal::Stop)?;
    // The answer to a question that is under way already; what comes after it was not asked for.
    scenario.burst(1)?;
    let answered = scenario.progress.end()?;
    scenario.burst(5)?;
    scenario.cluster.delete_records(scenario.input())?;
    scenario.burst(5)?;
    worker.signal(Signal::Continue)?;
    ends_and_says(worker, "no longer in the log")?;
    ensure!(
        scenario.progress.committed()? <= answered,
        "records were skipped"
    );
    Ok(())
}

#[test]
fn records_deleted_before_they_were_read_are_skipped_where_that_is_asked_for_and_recorded()
-> Result<()> {
    let skip = |job: Job| job.set("INPUT__ON_GAP", "skip");
    let mut scenario = Scenario::new(kafka::shared()?, "gap-skipped", 1, skip)?;
    // Windows are whole, so that there are forecasts that nobody can check any more.
    scenario.burst(WINDOW + 5)?;
    scenario.run_to_end()?;
    let from = scenario.progress.committed()?;
    scenario.burst(5)?;
    let to = scenario.progress.end()?;
    scenario.cluster.delete_records(scenario.input())?;
    scenario.burst(30)?;
    let mut worker = [scenario.job.start_ready("a")?];
    scenario.catch_up(&mut worker)?;
    let skipped = worker[0].metric("foretell_skipped_offsets_total")?;
    let missing = i32::try_from(to - from)?;
    ensure!(
        (skipped - f64::from(missing)).abs() < 0.5,
        "{skipped} offsets are counted, not {missing}"
    );
    worker.into_iter().try_for_each(stop)?;
    for _ in 0..2 {
        // The state that a restart proves is the one that began after the gap.
        scenario.burst(WINDOW / 2)?;
        scenario.run_to_end()?;
    }
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    let [letter] = &letters[..] else {
        bail!("{} dead letters", letters.len());
    };
    for (name, expected) in [
        ("foretell.reason", "gap"),
        ("foretell.source.topic", scenario.input()),
        ("foretell.source.partition", "0"),
        ("foretell.source.offset", &from.to_string()),
        ("foretell.gap.end", &to.to_string()),
    ] {
        let found = letter.header(name)?;
        ensure!(found == expected, "{name} is {found}, not {expected}");
    }
    adds_up_around_a_gap(&scenario, (from, to))?;
    let listed = scenario
        .job
        .command(&["dead-letters", "list", "--reason", "gap"])?
        .output()?;
    let shown = String::from_utf8_lossy(&listed.stdout);
    ensure!(
        shown.contains("were deleted before they were read"),
        "{shown}"
    );
    Ok(())
}

#[test]
fn a_worker_that_runs_skips_what_was_deleted_and_records_it_where_that_is_asked_for() -> Result<()>
{
    let skip = |job: Job| job.set("INPUT__ON_GAP", "skip");
    let mut scenario = Scenario::new(kafka::shared()?, "gap-skipped-at-work", 1, skip)?;
    scenario.burst(WINDOW + 5)?;
    let mut workers = [scenario.job.start_ready("a")?];
    scenario.catch_up(&mut workers)?;
    let committed = scenario.progress.committed()?;
    workers[0].signal(Signal::Stop)?;
    // The answer to a question that is under way already; what comes after it was not asked for.
    scenario.burst(1)?;
    let answered = scenario.progress.end()?;
    scenario.burst(5)?;
    let to = scenario.progress.end()?;
    scenario.cluster.delete_records(scenario.input())?;
    scenario.burst(WINDOW + 30)?;
    workers[0].signal(Signal::Continue)?;
    scenario.catch_up(&mut workers)?;
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    let [letter] = &letters[..] else {
        bail!("{} dead letters", letters.len());
    };
    let from: i64 = letter.header("foretell.source.offset")?.parse()?;
    let end: i64 = letter.header("foretell.gap.end")?.parse()?;
    ensure!(
        from <= answered && end == to,
        "[{from}, {end}), not to {to}"
    );
    let [worker] = workers;
    let skipped = worker.metric("foretell_skipped_offsets_total")?;
    ensure!(
        (skipped - f64::from(i32::try_from(end - from)?)).abs() < 0.5,
        "{skipped} were counted"
    );
    stop(worker)?;
    adds_up_around_a_gap(&scenario, (committed, to))
}

/// Everything behind the gap is recomputed and as it should be, what lies before it is there and cannot be
/// checked, and nothing was made of what is between.
fn adds_up_around_a_gap(scenario: &Scenario, (committed, until): (i64, i64)) -> Result<()> {
    let deleted = Deleted {
        partition: 0,
        committed,
        until,
    };
    let accounts = scenario.accounts_of(&Expected {
        deleted: vec![deleted],
        ..Expected::default()
    })?;
    ensure!(accounts.recomputed > 0, "{accounts:?}");
    let verified = scenario.job.command(&["verify"])?.output()?;
    let said = String::from_utf8_lossy(&verified.stdout);
    for words in [
        "cannot be checked any more",
        &format!("to below {until} were deleted before they were read and skipped"),
        "Everything that can be checked is as it should be.",
    ] {
        ensure!(said.contains(words), "no {words:?}: {said}");
    }
    Ok(())
}

fn ends_and_says(mut worker: Worker, sentence: &str) -> Result<()> {
    let status = worker.wait_for_end(TAKEN_OVER)?;
    let said = worker.log()?;
    ensure!(!status.success(), "it ended well:\n{said}");
    ensure!(said.contains(sentence), "no {sentence:?}:\n{said}");
    ensure!(!said.contains("panicked"), "it panicked:\n{said}");
    Ok(())
}

#[test]
fn workers_that_join_and_leave_under_load_lose_and_double_nothing() -> Result<()> {
    // Small rounds and no pause between commits: every change meets work that is not committed.
    let mut scenario = Scenario::new(kafka::shared()?, "rebalanced", PARTITIONS, |job| {
        job.set("COMMIT__INTERVAL_MIN", "0ms")
            .set("WORKER__BATCH_MAX", "4")
            .set("WORKER__LANES", "2")
    })?;
    let mut first = scenario.job.start_ready("a")?;
    let mut workers = scenario.under_load(STEPS_MAX, |job, progress| {
        at_work(progress)?;
        // A second one joins while the first is at work, and the first leaves while the second is.
        let mut second = job.start_ready("b")?;
        first.ensure_alive()?;
        at_work(progress)?;
        stop(first)?;
        at_work(progress)?;
        let third = job.start_ready("c")?;
        at_work(progress)?;
        let fourth = job.start_ready("d")?;
        second.ensure_alive()?;
        // One dies: the broker gives its partitions away after the session timeout.
        at_work(progress)?;
        second.kill()?;
        at_work(progress)?;
        stop(third)?;
        at_work(progress)?;
        let fifth = job.start_ready("e")?;
        at_work(progress)?;
        silent_for_longer_than_its_session(fourth, fifth)
    })?;
    scenario.catch_up(&mut workers)?;
    for worker in workers {
        stop(worker)?;
    }
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn what_comes_back_to_a_worker_goes_on_from_what_it_held() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "back", 4, |job| job)?;
    scenario.burst(40)?;
    let mut first = [scenario.job.start_ready("a")?];
    scenario.catch_up(&mut first)?;
    let second = scenario.job.start_ready("b")?;
    // The other one is further on by now.
    scenario.burst(40)?;
    scenario.catch_up(&mut first)?;
    stop(second)?;
    scenario.burst(40)?;
    scenario.catch_up(&mut first)?;
    let [worker] = first;
    let kept = worker.metric(r#"foretell_restores_total{source="kept"}"#)?;
    ensure!(
        kept > 0.0,
        "nothing was gone on with: {}",
        worker.log_tail()
    );
    let agreed = worker.metric(r#"foretell_restore_attempts_total{result="agreed"}"#)?;
    ensure!(agreed >= kept, "{agreed} of {kept} agreed");
    stop(worker)?;
    scenario.ensure_output_as_undisturbed()
}

/// Waits until the group is in the middle of its input.
fn at_work(progress: &Progress) -> Result<()> {
    let begun = progress.committed()?;
    wait::until_true("the group is at work", TAKEN_OVER, || {
        let committed = progress.committed()?;
        Ok(committed > begun && committed < progress.end()?)
    })
}

/// One is stopped until the other has all partitions, and goes on with a commit of its old generation.
/// It finds itself out of the group and rejoins.
fn silent_for_longer_than_its_session(
    mut silent: Worker,
    mut other: Worker,
) -> Result<[Worker; 2]> {
    silent.signal(Signal::Stop)?;
    wait::until_true("the other has taken over", TAKEN_OVER, || {
        other.ensure_alive()?;
        Ok(serving(&other)? == PARTITIONS)
    })?;
    silent.signal(Signal::Continue)?;
    wait::until_true("both have partitions again", TAKEN_OVER, || {
        other.ensure_alive()?;
        silent.ensure_alive()?;
        Ok(serving(&other)? < PARTITIONS
            && serving(&silent).is_ok_and(|count| count > 0 && count < PARTITIONS))
    })?;
    Ok([silent, other])
}

/// How many partitions a worker serves, as it says itself.
fn serving(worker: &Worker) -> Result<usize> {
    let (_, metrics) = worker.get("/metrics")?;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"foretell_partitions{state="serving"} "#));
    Ok(line.context("no such metric")?.parse()?)
}
