//! The committer's decisions by themselves, on a clock that is a number.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use foretell::domain::{Epoch, PartitionId};
use foretell::permission::FORBIDDEN_MAX;
use foretell::produce::{
    Action, Attempt, CommitError, CommitterInput, Core, DOUBT, Guarantee, Report, Settlement,
    Stable, Taken,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::committer_rig::batch;

const NOW: Duration = Duration::from_secs(100);
const EPOCH: Epoch = Epoch(7);
const STEP: &str = "committing the transaction";

fn holds_all(_: PartitionId, _: Epoch) -> bool {
    true
}

/// A core that has been given batches of one epoch, `(partition, from, to)`.
fn given(batches: &[(i32, i64, i64)]) -> Core {
    let mut core = Core::new(Guarantee::ExactlyOnce, Duration::ZERO);
    offer(&mut core, batches);
    core
}

fn offer(core: &mut Core, batches: &[(i32, i64, i64)]) {
    for (partition, from, to) in batches {
        let one = batch(*partition, EPOCH, (*from, *to), 1);
        core.offer(CommitterInput::Batch(Box::new(one), Taken::default()));
    }
}

fn lost() -> Attempt {
    failed_with(Code::OperationTimedOut)
}

fn failed_with(code: Code) -> Attempt {
    let error = KafkaError::MessageProduction(code);
    Attempt::Indefinite { step: STEP, error }
}

fn stable(offsets: &[(i32, Option<i64>)]) -> Stable {
    let offsets = offsets.iter().map(|(id, at)| (PartitionId(*id), *at));
    Stable {
        offsets: Ok(offsets.collect()),
        is_member: true,
    }
}

fn expect_transact(core: &mut Core, now: Duration, expected: usize) {
    let action = core.next(now, &holds_all);
    let Action::Transact { count } = action else {
        panic!("{action:?}");
    };
    assert_eq!(count, expected);
}

fn expect_reinitialise(core: &mut Core, now: Duration) {
    let action = core.next(now, &holds_all);
    assert!(matches!(action, Action::Reinitialise), "{action:?}");
}

/// Loses the result of an attempt and initialises another producer.
fn lose(core: &mut Core, now: Duration) -> Duration {
    let Action::Transact { .. } = core.next(now, &holds_all) else {
        panic!("nothing to commit");
    };
    core.on_attempt(Err(lost()), false, now);
    let later = now + Duration::from_secs(2);
    expect_reinitialise(core, later);
    core.on_reinitialised(Ok(()), later);
    later
}

fn settled(core: &mut Core) -> Vec<(i32, Settlement)> {
    let verdict = |report| {
        let Report::Settled(partition, verdict) = report else {
            return None;
        };
        Some((partition.0, verdict))
    };
    core.take_reports()
        .into_iter()
        .filter_map(verdict)
        .collect()
}

/// Seed 181 of the simulation: the partition was lost with the producer, and no other one came.
#[test]
fn commits_do_not_fail_any_more_once_what_failed_is_dropped_and_there_is_a_producer() {
    let mut core = given(&[(0, 0, 5)]);
    let Action::Transact { .. } = core.next(NOW, &holds_all) else {
        panic!("nothing to commit");
    };
    core.on_attempt(Err(failed_with(Code::Fenced)), false, NOW);
    let later = NOW + Duration::from_secs(40);
    assert!(core.trouble(later).is_some());
    let action = core.next(later, &|_, _| false);
    assert!(matches!(action, Action::Reinitialise), "{action:?}");
    // Without a producer no commit can be made.
    assert!(core.trouble(later).is_some());
    core.on_reinitialised(Ok(()), later);
    assert_eq!(core.trouble(later), None);
}

#[test]
fn offsets_that_contradict_each_other_are_doubted_and_then_end_the_worker() {
    let mut core = given(&[(0, 0, 5), (1, 0, 5)]);
    let now = lose(&mut core, NOW);
    let torn = stable(&[(0, Some(5)), (1, Some(0))]);
    core.on_stable(&torn, now);
    // Asked again meanwhile: a member that was put out hears of it.
    let later = doubt(&mut core, &torn, now);
    let ended = core.next(later, &holds_all);
    assert!(
        matches!(ended, Action::End(CommitError::Torn { .. })),
        "{ended:?}"
    );
}

/// Sees these offsets every two seconds until they are doubted for long enough.
fn doubt(core: &mut Core, offsets: &Stable, mut now: Duration) -> Duration {
    let end = now + DOUBT;
    while now < end {
        now += Duration::from_secs(2);
        expect_read_stable(core, now);
        core.on_stable(offsets, now);
    }
    now
}

fn expect_read_stable(core: &mut Core, now: Duration) {
    let action = core.next(now, &holds_all);
    assert!(
        matches!(&action, Action::ReadStable(asked) if asked.len() == 2),
        "{action:?}"
    );
}

/// Seed 4381 of the simulation: a worker that has stood still twice finds what another one committed in its
/// place, and has not heard that it was put out of its group.
#[test]
fn a_contradiction_is_doubted_no_less_by_a_worker_that_stood_still() {
    let mut core = given(&[(0, 0, 5), (1, 0, 5)]);
    let now = lose(&mut core, NOW);
    let torn = stable(&[(0, Some(5)), (1, Some(0))]);
    core.on_stable(&torn, now);
    let later = now + DOUBT * 2;
    expect_read_stable(&mut core, later);
    core.on_stable(&torn, later);
    // Its next heartbeat would tell.
    expect_read_stable(&mut core, later + Duration::from_secs(2));
}

#[test]
fn a_contradiction_by_somebody_who_is_put_out_of_the_group_is_none() {
    let mut core = given(&[(0, 0, 5), (1, 0, 5)]);
    let now = lose(&mut core, NOW);
    let torn = stable(&[(0, Some(5)), (1, Some(0))]);
    core.on_stable(&torn, now);
    let kept = |partition, _| partition == PartitionId(1);
    let later = now + Duration::from_secs(2);
    let Action::ReadStable(asked) = core.next(later, &kept) else {
        panic!("nothing is asked");
    };
    assert_eq!(asked, [PartitionId(1)]);
    core.on_stable(&stable(&[(1, Some(0))]), later + DOUBT);
    assert_eq!(settled(&mut core), [(1, Settlement::NotCommitted)]);
    expect_transact(&mut core, later + DOUBT, 1);
}

#[test]
fn a_commit_that_moves_nothing_contradicts_nothing() {
    let mut core = given(&[(0, 17, 17), (1, 0, 5)]);
    let now = lose(&mut core, NOW);
    core.on_stable(&stable(&[(0, Some(17)), (1, Some(0))]), now);
    let found = settled(&mut core);
    assert_eq!(
        found,
        [(0, Settlement::Silent), (1, Settlement::NotCommitted)]
    );
    expect_transact(&mut core, now, 2);
}

#[test]
fn a_group_without_an_offset_has_not_committed_its_start_and_one_that_lost_it_stands_elsewhere() {
    let mut core = given(&[(0, 17, 17), (0, 17, 20)]);
    let now = lose(&mut core, NOW);
    core.on_stable(&stable(&[(0, None)]), now);
    assert_eq!(settled(&mut core), [(0, Settlement::NotCommitted)]);
    expect_transact(&mut core, now, 2);
    core.on_attempt(Ok(()), false, now);

    assert!(matches!(
        core.next(now, &holds_all),
        Action::Receive { until: None }
    ));
    offer(&mut core, &[(0, 20, 25)]);
    let now = lose(&mut core, now);
    core.take_reports();
    core.on_stable(&stable(&[(0, None)]), now);
    let reports = core.take_reports();
    let [
        Report::Settled(_, verdict),
        Report::Reassign(partition, epoch),
    ] = &reports[..]
    else {
        panic!("{reports:?}");
    };
    assert_eq!(
        (*verdict, partition.0, *epoch),
        (Settlement::Elsewhere, 0, EPOCH)
    );
    assert!(matches!(
        core.next(now, &holds_all),
        Action::Receive { until: None }
    ));
}

#[test]
fn who_is_no_member_settles_nothing() {
    let mut core = given(&[(0, 0, 5)]);
    let mut now = lose(&mut core, NOW);
    for _ in 0..20 {
        now += Duration::from_secs(2);
        assert!(matches!(core.next(now, &holds_all), Action::ReadStable(_)));
        let offsets = BTreeMap::from([(PartitionId(0), Some(5))]);
        let stable = Stable {
            offsets: Ok(offsets),
            is_member: false,
        };
        core.on_stable(&stable, now);
    }
    assert_eq!(settled(&mut core), []);
    let trouble = core.trouble(now).unwrap();
    assert!(
        trouble.reason.contains("not a member"),
        "{}",
        trouble.reason
    );
}

#[test]
fn a_producer_whose_requests_may_have_been_sent_twice_is_not_used_again() {
    let mut core = given(&[(0, 0, 5)]);
    expect_transact(&mut core, NOW, 1);
    core.on_attempt(Ok(()), true, NOW);
    offer(&mut core, &[(0, 5, 9)]);
    expect_reinitialise(&mut core, NOW);
    core.on_reinitialised(Ok(()), NOW);
    // What was committed is known: nothing is asked.
    expect_transact(&mut core, NOW, 1);
}

#[test]
fn aborts_without_end_have_another_producer_tried() {
    let mut core = given(&[(0, 0, 5)]);
    let mut now = NOW;
    for _ in 0..20 {
        expect_transact(&mut core, now, 1);
        let error = KafkaError::MessageProduction(Code::MessageTimedOut);
        core.on_attempt(Err(Attempt::Again { step: STEP, error }), false, now);
        now += Duration::from_secs(2);
    }
    expect_reinitialise(&mut core, now);
    core.on_reinitialised(Ok(()), now);
    expect_transact(&mut core, now, 1);
}

#[test]
fn what_is_taken_away_while_there_is_no_producer_is_released_and_no_longer_asked_for() {
    let mut core = given(&[(0, 0, 5)]);
    let (released, wait) = sync_channel(1);
    core.offer(CommitterInput::Released {
        partition: PartitionId(0),
        released,
    });
    expect_transact(&mut core, NOW, 1);
    core.on_attempt(Err(lost()), false, NOW);
    let later = NOW + Duration::from_secs(2);
    // The hook gave up waiting.
    let action = core.next(later, &|_, _| false);
    assert!(matches!(action, Action::Reinitialise), "{action:?}");
    drop(core.take_reports());
    let timeout = Duration::ZERO;
    assert_eq!(
        wait.recv_timeout(timeout),
        Err(RecvTimeoutError::Disconnected)
    );
    core.on_reinitialised(Ok(()), later);
    let idle = core.next(later, &|_, _| false);
    assert!(matches!(idle, Action::Receive { until: None }), "{idle:?}");
}

#[test]
fn a_refusal_to_initialise_is_borne_for_a_minute() {
    let mut core = given(&[(0, 0, 5)]);
    expect_transact(&mut core, NOW, 1);
    core.on_attempt(Err(lost()), false, NOW);
    let refused = || CommitError::Init {
        transactional_id: "worker".to_owned(),
        error: KafkaError::MessageProduction(Code::TransactionalIdAuthorizationFailed),
    };
    let mut now = NOW + Duration::from_secs(2);
    let began = now;
    let error = loop {
        let action = core.next(now, &holds_all);
        if let Action::Reinitialise = action {
            core.on_reinitialised(Err(refused()), now);
        } else if let Action::Sleep { until } = action {
            now = until;
        } else if let Action::End(error) = action {
            break error;
        } else {
            panic!("{action:?}");
        }
    };
    assert!(
        matches!(error, CommitError::ForbiddenId { .. }),
        "{error:?}"
    );
    assert!((began + FORBIDDEN_MAX..began + FORBIDDEN_MAX * 2).contains(&now));
}

#[test]
fn fences_that_lie_far_apart_are_borne() {
    let mut now = NOW;
    let mut core = given(&[(0, 0, 5)]);
    for _ in 0..20 {
        expect_transact(&mut core, now, 1);
        core.on_attempt(Err(failed_with(Code::Fenced)), false, now);
        now += Duration::from_mins(4);
        expect_reinitialise(&mut core, now);
        core.on_reinitialised(Ok(()), now);
        core.on_stable(&stable(&[(0, Some(0))]), now);
    }
    // For so long that somebody should know.
    assert!(core.trouble(now).is_some());
}

#[test]
fn at_least_once_sends_again_and_asks_nobody() {
    let mut core = Core::new(Guarantee::AtLeastOnce, Duration::ZERO);
    offer(&mut core, &[(0, 0, 5)]);
    let now = lose(&mut core, NOW);
    expect_transact(&mut core, now, 1);
}
