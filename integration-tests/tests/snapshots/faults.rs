//! A full disk, and snapshots that are not what they seem.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use integration_tests::campaign::snapshots::stored;
use integration_tests::scenario::{BURST, Scenario, WORKER};
use integration_tests::snapshots::limit_files;
use integration_tests::{kafka, scratch};

use super::{FAILED, PARTITIONS, RESTORES, STORED, scenario, until_counted};

const STORED_AT: &str = "foretell_snapshot_timestamp_seconds{partition=\"0\"}";

#[test]
fn a_full_disk_keeps_no_forecast_back_and_is_told_until_there_is_room_again() -> Result<()> {
    /// Less than a snapshot of the load's 40 series, more than the worker's log.
    const ROOM: u64 = 48 << 10;
    let folder = scratch::folder("snapshots")?;
    let location = folder.display().to_string();
    let mut scenario = Scenario::new(kafka::shared()?, "snapshots-full", 1, |job| {
        job.set("SNAPSHOTS__LOCATION", &location)
            .set("SNAPSHOTS__INTERVAL", "1s")
    })?;
    scenario.burst(BURST)?;
    let mut worker = scenario.job.start_ready(WORKER)?;
    until_counted(&mut scenario, &mut worker, (STORED, 1.0))?;
    limit_files(&worker, Some(ROOM))?;
    until_counted(&mut scenario, &mut worker, (FAILED, 1.0))?;
    let (stored_before, at) = (worker.metric(STORED)?, worker.metric(STORED_AT)?);
    until_counted(&mut scenario, &mut worker, (FAILED, 2.0))?;
    let (stored_now, at_now) = (worker.metric(STORED)?, worker.metric(STORED_AT)?);
    ensure!(
        (stored_now - stored_before).abs() < 0.5 && (at_now - at).abs() < 1e-9,
        "stored on a full disk: {stored_now}, {stored_before} before; at {at_now}, {at} before"
    );
    let said = worker.log()?;
    for sentence in [
        "snapshot failed; forecasts go on, and a restore reads more of the log",
        "retry_in=Some(2s)",
        "retry_in=Some(4s)",
        "retry_in=Some(8s)",
    ] {
        ensure!(said.contains(sentence), "{sentence}\n{said}");
    }
    scenario.catch_up(std::slice::from_mut(&mut worker))?;
    let halves = unfinished(&folder)?;
    ensure!(halves.is_empty(), "left half written: {halves:?}");
    limit_files(&worker, None)?;
    until_counted(&mut scenario, &mut worker, (STORED, 1.0))?;
    ensure!(worker.metric(STORED_AT)? > at, "the age has not ended");
    worker.kill()?;
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}

/// Files below a folder that are no snapshots.
fn unfinished(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for snapshot in stored(folder)? {
        let beside = snapshot.parent().context("no folder")?;
        for entry in fs::read_dir(beside)? {
            let path = entry?.path();
            if path.extension().is_none_or(|it| it != "arrow") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The newest one of each partition under another position.
fn copy_as(snapshots: &[PathBuf], position: impl Fn(i32) -> Result<i64>) -> Result<()> {
    for snapshot in snapshots {
        let folder = snapshot.parent().context("no folder")?;
        let partition = folder.file_name().and_then(|name| name.to_str());
        let partition = partition.context("no partition")?.parse()?;
        let name = snapshot.file_name().and_then(|name| name.to_str());
        let (_, rest) = name
            .and_then(|name| name.split_once('-'))
            .context("no name")?;
        let position = position(partition)?;
        fs::copy(snapshot, folder.join(format!("{position:020}-{rest}")))?;
    }
    Ok(())
}

#[test]
fn snapshots_under_other_names_and_of_the_future_are_passed_over_for_a_sound_one() -> Result<()> {
    let folder = scratch::folder("snapshots")?;
    let mut scenario = scenario("snapshots-strange", &folder)?;
    scenario.burst(BURST)?;
    scenario.run_to_end()?;
    let sound = stored(&folder)?;
    ensure!(sound.len() >= PARTITIONS, "{sound:?}");
    let newest: Vec<_> = (0..PARTITIONS)
        .filter_map(|partition| {
            let part = format!("/{partition}/");
            let of = |path: &&PathBuf| path.display().to_string().contains(&part);
            sound.iter().rfind(of).cloned()
        })
        .collect();
    // Further on, without snapshots; killed, so that there is no last one.
    scenario.burst(2)?;
    let without = scenario.job.clone().set("SNAPSHOTS__LOCATION", "off");
    let mut worker = without.start_ready(WORKER)?;
    scenario.catch_up(std::slice::from_mut(&mut worker))?;
    worker.kill()?;
    let committed = scenario.progress.committed_each()?;
    let position = |partition: i32| {
        let found = committed.iter().find(|(number, _)| *number == partition);
        found
            .and_then(|(_, offset)| *offset)
            .context("not committed")
    };
    copy_as(&newest, position)?;
    copy_as(&newest, |partition| Ok(position(partition)? + 1_000))?;

    let successor = scenario.job.start_ready(WORKER)?;
    let (restored, unusable) = (
        successor.metric(RESTORES)?,
        successor.metric("foretell_snapshots_unusable_total")?,
    );
    let said = successor.log()?;
    ensure!(
        (restored - 3.0).abs() < 0.5 && (unusable - 3.0).abs() < 0.5,
        "{restored} restored from snapshots, {unusable} could not be used\n{said}"
    );
    ensure!(said.contains("is not what its name says"), "{said}");
    successor.kill()?;
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}
