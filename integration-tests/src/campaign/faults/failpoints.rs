//! `kill -9` at a certain point of a transaction, a rebalance or a restore, which the proxy holds open.

use anyhow::Result;

use super::kills::small_rounds;
use crate::campaign::{Fault, Strike};
use crate::proxy::{Action, Api, Rule};

/// The worker that is killed.
const VICTIM: &str = "a";
/// In which what was held of a dead worker goes on.
const WAYS: u32 = 3;

pub(super) const BEFORE_BEGIN: Fault = Fault::new(
    "kill-before-begin",
    "a worker is killed before its coordinator has heard of the transaction",
    before_begin,
)
.shape(small_rounds)
.strikes(WAYS);

pub(super) const IN_PRODUCE: Fault = Fault::new(
    "kill-in-produce",
    "a worker is killed before the broker has the records it produces",
    in_produce,
)
.shape(small_rounds)
.strikes(WAYS);

pub(super) const AFTER_PRODUCE: Fault = Fault::new(
    "kill-after-produce",
    "a worker is killed when the broker has its records",
    after_produce,
)
.shape(small_rounds)
.strikes(WAYS);

pub(super) const AFTER_OFFSETS: Fault = Fault::new(
    "kill-after-send-offsets",
    "a worker is killed when the group's coordinator has its offsets",
    after_offsets,
)
.shape(small_rounds)
.strikes(WAYS);

pub(super) const BEFORE_COMMIT: Fault = Fault::new(
    "kill-before-end-txn",
    "a worker is killed while its EndTxn is under way, which arrives at once, late or never",
    before_commit,
)
.shape(small_rounds)
.strikes(WAYS);

pub(super) const AFTER_COMMIT: Fault = Fault::new(
    "kill-end-txn-answer-lost",
    "a worker is killed when its transaction is committed and before it knows",
    after_commit,
)
.shape(small_rounds)
.strikes(WAYS);

pub(super) const IN_REVOKE: Fault = Fault::new(
    "kill-in-revoke",
    "a worker is killed in the rebalance hook that waits for its last commit",
    in_revoke,
)
.shape(small_rounds);

pub(super) const IN_REPLAY: Fault = Fault::new(
    "kill-in-replay",
    "a worker is killed, and its successor too while it reads what it restores from",
    in_replay,
)
.shape(small_rounds);

fn before_begin(strike: &mut Strike<'_>) -> Result<()> {
    kill_at(strike, Api::AddPartitionsToTxn, Action::HoldRequest)
}

fn in_produce(strike: &mut Strike<'_>) -> Result<()> {
    kill_at(strike, Api::Produce, Action::HoldRequest)
}

fn after_produce(strike: &mut Strike<'_>) -> Result<()> {
    kill_at(strike, Api::Produce, Action::HoldAnswer)
}

fn after_offsets(strike: &mut Strike<'_>) -> Result<()> {
    kill_at(strike, Api::TxnOffsetCommit, Action::HoldAnswer)
}

fn before_commit(strike: &mut Strike<'_>) -> Result<()> {
    kill_at(strike, Api::EndTxn, Action::HoldRequest)
}

fn after_commit(strike: &mut Strike<'_>) -> Result<()> {
    kill_at(strike, Api::EndTxn, Action::HoldAnswer)
}

/// What was held of the dead worker goes on at once, when its successor serves, or never.
fn kill_at(strike: &mut Strike<'_>, api: Api, action: Action) -> Result<()> {
    let rule = strike.rule(VICTIM, api, action).after(1).next(1);
    let held = strike.proxy()?.arm(rule);
    held.wait_hits(1, || strike.workers.ensure_alive())?;
    strike.now()?;
    strike.workers.kill(VICTIM)?;
    match strike.round % WAYS {
        0 => held.release(),
        1 => {
            strike.workers.start_ready(strike.job, VICTIM)?;
            held.release();
            return Ok(());
        }
        _ => {
            strike.proxy()?.cut();
            held.release();
        }
    }
    strike.workers.start(strike.job, VICTIM)
}

/// It has all partitions, and another worker joins while the coordinator's answer to a commit is held up, so that
/// the hook has to wait.
fn in_revoke(strike: &mut Strike<'_>) -> Result<()> {
    strike.leave_alone(VICTIM)?;
    let client = format!("foretell-{VICTIM}");
    let rebalanced = Rule::new(Api::SyncGroup, Action::HoldAnswer).of_client(&client);
    let rebalanced = strike.proxy()?.arm(rebalanced);
    strike.workers.start(strike.job, "c")?;
    rebalanced.wait_hits(1, || strike.workers.ensure_alive())?;
    let rule = strike.rule(VICTIM, Api::EndTxn, Action::HoldAnswer);
    let commit = strike.proxy()?.arm(rule.next(1));
    commit.wait_hits(1, || strike.workers.ensure_alive())?;
    rebalanced.release();
    strike.wait_for_hook(VICTIM)?;
    strike.now()?;
    strike.workers.kill(VICTIM)?;
    commit.release();
    strike.workers.start(strike.job, VICTIM)
}

/// The first records that a successor asks for are those it restores from.
fn in_replay(strike: &mut Strike<'_>) -> Result<()> {
    strike.now()?;
    strike.workers.kill(VICTIM)?;
    let client = format!("foretell-{VICTIM}");
    let replay = Rule::new(Api::Fetch, Action::HoldAnswer).of_client(&client);
    let replay = strike.proxy()?.arm(replay);
    strike.workers.start(strike.job, VICTIM)?;
    replay.wait_hits(1, || strike.workers.ensure_alive())?;
    strike.workers.kill(VICTIM)?;
    drop(replay);
    strike.workers.start(strike.job, VICTIM)
}
