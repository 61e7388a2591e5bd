//! What happens to snapshots, and to workers while they store them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::kills::small_rounds;
use crate::campaign::rig::PARTITIONS;
use crate::campaign::snapshots::{KEPT, Store, damage, stored};
use crate::campaign::workers::REGULARS;
use crate::campaign::{Fault, Strike};
use crate::proxy::{Action, Api};
use crate::wait;

/// For every partition to have new snapshots.
const SOON: Duration = Duration::from_mins(1);
/// A group has so many once every partition has all that are kept.
const ALL: u8 = PARTITIONS * KEPT;
const VICTIM: &str = "a";
/// Counted when the committer has the answer, before anybody is told that a snapshot may be stored.
const COMMITS: &str = "foretell_transactions_total{result=\"committed\"}";

pub(super) const BEFORE_SNAPSHOT: Fault = Fault::new(
    "kill-before-snapshot",
    "a worker is killed when it hears of a commit, a snapshot being due",
    before_snapshot,
)
.shape(small_rounds);

pub(super) const IN_SNAPSHOT: Fault = Fault::new(
    "kill-in-snapshot",
    "a worker is killed while it stores a snapshot in a bucket that does not answer",
    in_snapshot,
)
.shape(small_rounds)
.store(Store::Bucket);

pub(super) const DAMAGED: Fault = Fault::new(
    "snapshots-damaged",
    "all snapshots are damaged, and all workers killed",
    damaged,
);

pub(super) const FUTURE: Fault = Fault::new(
    "snapshots-of-the-future",
    "the workers are killed, and there are snapshots beyond what they have committed",
    future,
);

/// The answer to a commit is held for longer than from one snapshot to the next.
fn before_snapshot(strike: &mut Strike<'_>) -> Result<()> {
    const DUE: Duration = Duration::from_millis(1_100);
    let rule = strike.rule(VICTIM, Api::EndTxn, Action::HoldAnswer);
    let commit = strike.proxy()?.arm(rule.next(1));
    commit.wait_hits(1, || strike.workers.ensure_alive())?;
    let since = wait::now();
    wait::until_true("a snapshot is due", SOON, || Ok(since.elapsed() >= DUE))?;
    let before: u64 = strike.workers.get(VICTIM)?.count(COMMITS)?;
    strike.now()?;
    commit.release();
    wait::until_true("it has heard of its commit", SOON, || {
        Ok(strike.workers.get(VICTIM)?.count::<u64>(COMMITS)? > before)
    })?;
    strike.workers.kill(VICTIM)?;
    strike.workers.start(strike.job, VICTIM)
}

/// Half of a snapshot is on its way. Either the bucket answers again when the worker is dead, or it is silent while the
/// next one restores.
fn in_snapshot(strike: &mut Strike<'_>) -> Result<()> {
    let held = strike.snapshots.bucket()?.gate().hold();
    wait::until_true("a snapshot of its is under way", SOON, || {
        let own = strike.workers.partitions_of(VICTIM)?;
        let of_its = |path: &String| partition(path).is_some_and(|it| own.contains(&it));
        Ok(held.under_way().iter().any(of_its))
    })?;
    strike.now()?;
    strike.workers.kill(VICTIM)?;
    if strike.round.is_multiple_of(2) {
        drop(held);
        strike.workers.start(strike.job, VICTIM)
    } else {
        held.everything();
        strike.workers.start_ready(strike.job, VICTIM)?;
        drop(held);
        Ok(())
    }
}

/// Whose snapshot it is: the folder that it is in.
fn partition(path: &str) -> Option<i32> {
    path.rsplit('/').nth(1)?.parse().ok()
}

fn damaged(strike: &mut Strike<'_>) -> Result<()> {
    let folder = strike.snapshots.folder()?.to_owned();
    until_stored(strike, &folder)?;
    strike.now()?;
    for id in REGULARS {
        strike.workers.kill(id)?;
    }
    for (index, path) in stored(&folder)?.iter().enumerate() {
        damage(path, index)?;
    }
    for id in REGULARS {
        strike.workers.start_ready(strike.job, id)?;
    }
    strike.every_partition_moves()?;
    let unusable = sum(strike, "foretell_snapshots_unusable_total")?;
    ensure!(unusable > 0, "nobody has looked at a snapshot");
    // So that the next strike finds sound ones.
    for path in stored(&folder)? {
        if let Err(error) = fs::remove_file(&path) {
            // Its worker has removed it meanwhile.
            ensure!(error.kind() == std::io::ErrorKind::NotFound, "{error}");
        }
    }
    Ok(())
}

/// Another group over the same input is further on than the workers that are dead, and its snapshots are as good as theirs
/// would be.
fn future(strike: &mut Strike<'_>) -> Result<()> {
    let folder = strike.snapshots.folder()?.to_owned();
    until_stored(strike, &folder)?;
    strike.now()?;
    for id in REGULARS {
        strike.workers.kill(id)?;
    }
    let before: i64 = committed(strike)?.iter().sum();
    let name = format!("{}-ahead-{}", strike.job.group(), strike.round);
    let ahead = strike.job.clone().named(&name);
    strike.cluster().create_topic(&ahead.forecasts(), 4)?;
    strike.cluster().create_topic(&ahead.dead_letters(), 1)?;
    let mut worker = ahead.start_ready("ahead")?;
    let progress = ahead.progress()?;
    let ahead_of = folder.join(&name);
    wait::until_true("the other group has snapshots further on", SOON, || {
        worker.ensure_alive()?;
        Ok(progress.committed()? > before + 400 && stored(&ahead_of)?.len() >= ALL.into())
    })?;
    worker.kill()?;
    for path in stored(&ahead_of)? {
        let within = path.strip_prefix(&ahead_of)?;
        let place = folder.join(strike.job.group()).join(within);
        fs::create_dir_all(place.parent().context("no folder")?)?;
        fs::copy(&path, place)?;
    }
    ensure!(
        committed(strike)?.iter().sum::<i64>() == before,
        "the workers are not dead"
    );
    for id in REGULARS {
        strike.workers.start(strike.job, id)?;
    }
    Ok(())
}

fn committed(strike: &Strike<'_>) -> Result<Vec<i64>> {
    let each = strike.progress.committed_each()?;
    Ok(each.into_iter().filter_map(|(_, offset)| offset).collect())
}

fn until_stored(strike: &mut Strike<'_>, folder: &Path) -> Result<()> {
    wait::until_true("every partition has its snapshots", SOON, || {
        strike.workers.ensure_alive()?;
        Ok(stored(&folder.join(strike.job.group()))?.len() >= ALL.into())
    })
}

/// Of a counter, over the workers.
fn sum(strike: &mut Strike<'_>, metric: &str) -> Result<u64> {
    let mut sum = 0;
    for id in REGULARS {
        sum += strike.workers.get(id)?.count::<u64>(metric)?;
    }
    Ok(sum)
}
