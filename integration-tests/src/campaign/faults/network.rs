//! What networks and standstills do to workers that live on.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::kills::small_rounds;
use crate::campaign::{Fault, Strike};
use crate::process::Signal;
use crate::proxy::{Action, Api};
use crate::wait;
use crate::worker::Worker;

/// The worker that it happens to, and the other one.
const VICTIM: &str = "a";
const OTHER: &str = "b";
/// For partitions to be taken over: longer than a session and a transaction.
const TAKEN_OVER: Duration = Duration::from_mins(1);

pub(super) const LATE_COMMIT: Fault = Fault::new(
    "end-txn-late",
    "an EndTxn arrives in a later transaction than its own",
    late_commit,
)
.shape(small_rounds);

pub(super) const LATE_OFFSETS: Fault = Fault::new(
    "send-offsets-late",
    "a TxnOffsetCommit arrives in a later transaction than its own",
    late_offsets,
)
.shape(small_rounds);

pub(super) const LOST: Fault = Fault::new(
    "requests-and-answers-lost",
    "a request of a transaction, or its answer, is lost with its connection",
    lost,
)
.shape(small_rounds)
.strikes(8);

pub(super) const CUT: Fault = Fault::new(
    "connections-cut",
    "every connection to the broker is cut",
    cut,
)
.shape(small_rounds)
.strikes(3);

pub(super) const TIMED_OUT: Fault = Fault::new(
    "transaction-timed-out",
    "the coordinator ends a transaction because it is open for too long",
    timed_out,
)
.shape(small_rounds);

pub(super) const ZOMBIE: Fault = Fault::new(
    "zombie",
    "a worker stands still in a transaction until the other has its partitions, and goes on",
    zombie,
)
.shape(small_rounds);

pub(super) const TWIN: Fault = Fault::new(
    "twin",
    "a second worker with the same worker.id is started: they fence each other until one ends",
    twin,
)
.shape(small_rounds)
.strikes(2);

/// It is delivered when the next transaction has records, and its offsets are under way.
fn late_commit(strike: &mut Strike<'_>) -> Result<()> {
    later(strike, Api::EndTxn, Api::TxnOffsetCommit)
}

/// It is delivered when the next transaction has its own offsets, and is to be committed.
fn late_offsets(strike: &mut Strike<'_>) -> Result<()> {
    later(strike, Api::TxnOffsetCommit, Api::EndTxn)
}

fn later(strike: &mut Strike<'_>, api: Api, until: Api) -> Result<()> {
    let late = strike.rule(VICTIM, api, Action::HoldRequest).next(1);
    let late = strike.proxy()?.arm(late);
    late.wait_hits(1, || strike.workers.ensure_alive())?;
    strike.now()?;
    // What the client gives up and aborts comes before the next transaction's.
    let given_up = u32::from(until == Api::EndTxn);
    let next = strike.rule(VICTIM, until, Action::HoldRequest);
    let next = strike.proxy()?.arm(next.after(given_up).next(1));
    next.wait_hits(1, || strike.workers.ensure_alive())?;
    late.release();
    late.wait_answers(1)
}

fn lost(strike: &mut Strike<'_>) -> Result<()> {
    const APIS: [Api; 4] = [
        Api::AddPartitionsToTxn,
        Api::Produce,
        Api::TxnOffsetCommit,
        Api::EndTxn,
    ];
    let round = usize::try_from(strike.round)?;
    let action = if round % 2 == 0 {
        Action::LoseRequest
    } else {
        Action::LoseAnswer
    };
    let rule = strike.rule(VICTIM, APIS[round / 2 % APIS.len()], action);
    strike.now()?;
    let fault = strike.proxy()?.arm(rule.next(1));
    fault.wait_hits(1, || strike.workers.ensure_alive())
}

fn cut(strike: &mut Strike<'_>) -> Result<()> {
    let records = i64::from(strike.random.below(200));
    strike.committed(records, TAKEN_OVER)?;
    strike.now()?;
    strike.proxy()?.cut();
    Ok(())
}

fn timed_out(strike: &mut Strike<'_>) -> Result<()> {
    let rule = strike.rule(VICTIM, Api::EndTxn, Action::LoseRequest);
    let commits = strike.proxy()?.arm(rule);
    commits.wait_hits(1, || strike.workers.ensure_alive())?;
    strike.now()?;
    let id = strike.job.transactional_id(VICTIM);
    wait::until_true("the coordinator has ended it", TAKEN_OVER, || {
        strike.workers.ensure_alive()?;
        Ok(!strike.transactions.is_open(&id)?)
    })
}

fn zombie(strike: &mut Strike<'_>) -> Result<()> {
    let held = strike.rule(VICTIM, Api::EndTxn, Action::HoldRequest);
    let held = strike.proxy()?.arm(held.next(1));
    held.wait_hits(1, || strike.workers.ensure_alive())?;
    strike.now()?;
    strike.workers.get(VICTIM)?.signal(Signal::Stop)?;
    strike.has_all(OTHER, TAKEN_OVER)?;
    held.release();
    strike.workers.get(VICTIM)?.signal(Signal::Continue)?;
    wait::until_true("both have partitions again", TAKEN_OVER, || {
        strike.workers.ensure_alive()?;
        let has_some = |worker: &Worker| Strike::serving(worker).is_ok_and(|count| count > 0);
        Ok(has_some(strike.workers.get(VICTIM)?) && has_some(strike.workers.get(OTHER)?))
    })
}

fn twin(strike: &mut Strike<'_>) -> Result<()> {
    strike.now()?;
    let mut twins = [strike.workers.take(VICTIM)?, strike.job.start(VICTIM)?];
    wait::until_true("one of the twins ends", TAKEN_OVER, || {
        strike.workers.ensure_alive()?;
        let ended: Vec<_> = twins.iter_mut().map(Worker::ended).collect::<Result<_>>()?;
        Ok(ended.iter().any(Option::is_some))
    })?;
    let mut survivor = None;
    for mut worker in twins {
        let Some(status) = worker.ended()? else {
            survivor = Some(worker);
            continue;
        };
        let said = worker.log()?;
        ensure!(!status.success(), "it ended well: {status}\n{said}");
        ensure!(said.contains("worker.id"), "it does not say why:\n{said}");
    }
    match survivor {
        Some(worker) => {
            strike.workers.add(VICTIM, worker);
            Ok(())
        }
        // Both were fenced as often.
        None => strike.workers.start(strike.job, VICTIM),
    }
}
