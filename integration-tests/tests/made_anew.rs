//! Topics that are deleted and made anew, that have lost their end, and groups that have nothing committed yet.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::cluster::Commit;
use integration_tests::process::Signal;
use integration_tests::read::{read_committed, values_by_key};
use integration_tests::scenario::{Scenario, stop};
use integration_tests::worker::{WINDOW, Worker};
use integration_tests::{kafka, wait};

/// For a worker to end: longer than its session and than a client takes to look at a topic again.
const ENDS: Duration = Duration::from_mins(1);
const MADE_ANEW: &str = "was deleted and made anew while it was read";

#[test]
fn a_topic_made_anew_while_it_is_read_ends_the_worker_before_its_records_are_processed()
-> Result<()> {
    for (name, on_gap) in [("anew-at-work", "stop"), ("anew-at-work-skipped", "skip")] {
        let mut scenario = scenario(name, on_gap)?;
        scenario.burst(WINDOW + 5)?;
        let mut workers = [scenario.job.start_ready("a")?];
        scenario.catch_up(&mut workers)?;
        let [worker] = workers;
        // It comes back to a topic that has all the offsets that it knows, and more.
        worker.signal(Signal::Stop)?;
        make_anew(&mut scenario)?;
        worker.signal(Signal::Continue)?;
        let said = ends(worker)?;
        ensure!(said.contains(MADE_ANEW), "it says something else:\n{said}");
        nothing_of_the_new_topic(&scenario)?;
    }
    Ok(())
}

#[test]
fn a_topic_made_anew_beside_a_worker_that_polls_ends_it_too() -> Result<()> {
    let mut scenario = scenario("anew-beside", "stop")?;
    scenario.burst(WINDOW + 5)?;
    let mut workers = [scenario.job.start_ready("a")?];
    scenario.catch_up(&mut workers)?;
    let [worker] = workers;
    make_anew(&mut scenario)?;
    let said = ends(worker)?;
    ensure!(said.contains(MADE_ANEW), "it says something else:\n{said}");
    nothing_of_the_new_topic(&scenario)
}

#[test]
fn an_offset_that_was_committed_in_a_topic_before_this_one_is_not_gone_on_from() -> Result<()> {
    let mut scenario = scenario("anew-at-start", "stop")?;
    scenario.burst(WINDOW + 5)?;
    scenario.run_to_end()?;
    let old = scenario.progress.commit_of(0)?;
    make_anew(&mut scenario)?;
    wait::until_true("Kafka has deleted it with the topic", ENDS, || {
        Ok(scenario.progress.committed_each()? == [(0, None)])
    })?;
    // A worker that is committing meanwhile leaves one there, or whoever puts a group's offsets back.
    scenario.progress.commit(0, &old)?;
    for on_gap in ["stop", "skip"] {
        let job = scenario.job.clone().set("INPUT__ON_GAP", on_gap);
        let said = ends(job.start("a")?)?;
        for words in ["and made anew", "kafka.group_id", "--reset-offsets"] {
            ensure!(said.contains(words), "no {words:?}:\n{said}");
        }
    }
    ensure!(
        scenario.progress.commit_of(0)? == old,
        "another offset is committed"
    );
    nothing_of_the_new_topic(&scenario)?;
    for command in [
        &["verify"][..],
        &["topics", "check"],
        &["explain", "--series", "cell-1"],
    ] {
        let answer = scenario.job.command(command)?.output()?;
        let said = [answer.stdout, answer.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(!answer.status.success(), "{command:?} is content:\n{said}");
        ensure!(said.contains("made anew"), "{command:?}:\n{said}");
    }
    goes_on_once_an_operator_has_said_where(&scenario)
}

/// All of the new topic is processed then, and its id is committed: what is proven next time is proven.
fn goes_on_once_an_operator_has_said_where(scenario: &Scenario) -> Result<()> {
    let from_the_start = Commit {
        offset: 0,
        metadata: String::new(),
    };
    scenario.progress.commit(0, &from_the_start)?;
    scenario.run_to_end()?;
    let worker = scenario.job.start_ready("a")?;
    let agreed = worker.metric(r#"foretell_restore_attempts_total{result="agreed"}"#)?;
    ensure!(agreed > 0.5, "{}", worker.log_tail());
    stop(worker)
}

#[test]
fn an_offset_beyond_the_end_of_the_log_is_not_gone_on_from() -> Result<()> {
    let mut scenario = scenario("cut-off", "stop")?;
    scenario.burst(WINDOW + 5)?;
    scenario.run_to_end()?;
    let committed = scenario.progress.commit_of(0)?;
    // As after the log has lost its end: no topic can be made to on one broker.
    let beyond = Commit {
        offset: committed.offset + 10,
        ..committed
    };
    scenario.progress.commit(0, &beyond)?;
    for on_gap in ["stop", "skip"] {
        let job = scenario.job.clone().set("INPUT__ON_GAP", on_gap);
        let said = ends(job.start("a")?)?;
        ensure!(said.contains("outside of the log"), "{on_gap}:\n{said}");
    }
    ensure!(
        scenario.progress.commit_of(0)? == beyond,
        "another offset is committed"
    );
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    ensure!(letters.is_empty(), "{} dead letters", letters.len());
    Ok(())
}

/// Steps before a group begins, and the time of the first one behind them.
const BEFORE: u32 = 128;
const BEHIND: &str = "2018-04-03T15:56:00Z";

#[test]
fn where_a_group_starts_is_committed_before_its_first_record() -> Result<()> {
    for (name, start) in [("starts-latest", "latest"), ("starts-behind", BEHIND)] {
        let mut scenario = begins_at(name, start)?;
        scenario.burst(BEFORE)?;
        let end = scenario.progress.end()?;
        let worker = scenario.job.start_ready("a")?;
        wait::until_true("its start is committed", ENDS, || {
            Ok(scenario.progress.committed_each()? == [(0, Some(end))])
        })?;
        worker.kill()?;
        // Resolved once more, "latest" would be behind these.
        scenario.burst(WINDOW + 5)?;
        begins_behind(&scenario)?;
    }
    Ok(())
}

#[test]
fn a_group_starts_at_the_first_record_of_a_time() -> Result<()> {
    let mut scenario = begins_at("starts-between", BEHIND)?;
    scenario.burst(BEFORE + WINDOW + 5)?;
    begins_behind(&scenario)
}

fn begins_at(name: &str, start: &str) -> Result<Scenario> {
    Scenario::new(kafka::shared()?, name, 1, |job| {
        job.set("INPUT__START", start)
    })
}

/// Runs a worker, and fails unless there is what is due of the steps behind, and no more.
fn begins_behind(scenario: &Scenario) -> Result<()> {
    scenario.run_to_end()?;
    let forecasts = read_committed(&scenario.cluster, &scenario.job.forecasts())?;
    ensure!(!forecasts.is_empty(), "none was due");
    scenario.ensure_complete_since(BEFORE, &values_by_key(&forecasts)?)
}

fn scenario(name: &str, on_gap: &str) -> Result<Scenario> {
    Scenario::new(kafka::shared()?, name, 1, |job| {
        job.set("INPUT__ON_GAP", on_gap)
    })
}

/// Deletes the input topic and makes it again, with more records than it had.
fn make_anew(scenario: &mut Scenario) -> Result<()> {
    let had = scenario.progress.end()?;
    scenario.cluster.make_topic_anew(scenario.input(), 1)?;
    scenario.burst(2 * (WINDOW + 5))?;
    let has = scenario.progress.end()?;
    ensure!(has > had, "{has} records, {had} before");
    Ok(())
}

/// What is there was made of the topic before: one forecast of each series for each step behind its window.
fn nothing_of_the_new_topic(scenario: &Scenario) -> Result<()> {
    let forecasts = read_committed(&scenario.cluster, &scenario.job.forecasts())?;
    let series = usize::try_from(scenario.series())?;
    let most = 6 * series;
    ensure!(
        (series..=most).contains(&forecasts.len()),
        "{} forecasts of {series} series",
        forecasts.len()
    );
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    ensure!(letters.is_empty(), "{} dead letters", letters.len());
    Ok(())
}

fn ends(mut worker: Worker) -> Result<String> {
    let status = worker.wait_for_end(ENDS)?;
    let said = worker.log()?;
    ensure!(!status.success(), "it ended well:\n{said}");
    ensure!(!said.contains("panicked"), "it panicked:\n{said}");
    Ok(said)
}
