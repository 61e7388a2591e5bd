//! What the committer publishes, drops, acknowledges and refuses, as assignments come and go.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};

use foretell::domain::PartitionId;
use foretell::produce::{CommitterInput, Destination, Guarantee};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

use crate::committer_rig::{
    DEAD_LETTERS, DEADLINE, Mock, Running, batch, forecasts_of, start, start_at, wait_until,
};
use crate::rig::Clock;

const DISCONNECTED: RecvTimeoutError = RecvTimeoutError::Disconnected;

#[test]
fn a_commit_publishes_keys_values_and_headers_as_they_are() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let mock = Mock::start();
        let running = start(&mock, guarantee).unwrap();
        let epoch = running.ownership.acquire(PartitionId(1));
        let one = batch(1, epoch, (0, 7), 20);
        let two = batch(1, epoch, (7, 9), 20);
        running.send(one.clone());
        running.send(two.clone());
        running.finish().unwrap();
        assert_eq!(mock.forecasts(), forecasts_of(&[&one, &two]));
        assert_eq!((one.progress.committed(), two.progress.committed()), (7, 9));
        let letters = mock.records(DEAD_LETTERS, Destination::DeadLetters);
        assert_eq!(letters.len(), 2);
        assert_eq!(
            (&letters[0].key, &letters[0].value),
            (&None, &Some(b"bad".to_vec()))
        );
    }
}

#[test]
fn batches_of_an_assignment_that_has_ended_are_dropped() {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    let stale = running.ownership.acquire(PartitionId(0));
    let lost = running.ownership.acquire(PartitionId(1));
    running.ownership.release(PartitionId(0));
    running.ownership.release(PartitionId(1));
    let epoch = running.ownership.acquire(PartitionId(0));
    let dropped = batch(0, stale, (0, 5), 3);
    running.send(dropped.clone());
    running.send(batch(1, lost, (0, 5), 3));
    // The new owner of the partition began where the last commit ended, as the old one did.
    let kept = [batch(0, epoch, (0, 3), 3), batch(0, epoch, (3, 9), 3)];
    for one in &kept {
        running.send(one.clone());
    }
    running.send(batch(0, stale, (5, 8), 3));
    running.finish().unwrap();
    assert_eq!(mock.forecasts(), forecasts_of(&[&kept[0], &kept[1]]));
    assert_eq!(dropped.progress.committed(), 0);
}

/// A release on its way to the committer, and what its hook waits on.
fn release(running: &Running, partition: i32) -> Receiver<()> {
    let (released, wait) = sync_channel(1);
    let partition = PartitionId(partition);
    let input = CommitterInput::Released {
        partition,
        released,
    };
    running.inputs.try_send(input).unwrap();
    wait
}

#[test]
fn a_release_is_acknowledged_after_what_came_before_it_is_committed() {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    let epoch = running.ownership.acquire(PartitionId(2));
    let twice = [Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION; 2];
    mock.cluster.request_errors(Api::TxnOffsetCommit, &twice);
    let one = batch(2, epoch, (0, 5), 5);
    running.send(one.clone());
    let wait = release(&running, 2);
    assert_eq!(wait.recv_timeout(DEADLINE), Err(DISCONNECTED));
    let found = mock.forecasts();
    assert!(found.ends_with(&forecasts_of(&[&one])));
    // A release without anything to commit waits for nothing.
    assert_eq!(
        release(&running, 2).recv_timeout(DEADLINE),
        Err(DISCONNECTED)
    );
    running.finish().unwrap();
}

#[test]
fn who_is_no_member_commits_nothing_and_acknowledges_nothing_until_ownership_ends() {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    running.joined.store(false, Ordering::SeqCst);
    let epochs = [0, 1].map(|partition| running.ownership.acquire(PartitionId(partition)));
    let lost = batch(0, epochs[0], (0, 5), 2);
    let kept = batch(1, epochs[1], (0, 5), 2);
    running.send(lost);
    running.send(kept.clone());
    let wait = release(&running, 0);
    wait_until(|| running.asked.load(Ordering::SeqCst) >= 3);
    assert_eq!(wait.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(mock.forecasts(), []);

    // Another rebalance takes one of the two; the other one is committed once there is a member.
    running.ownership.release(PartitionId(0));
    running.joined.store(true, Ordering::SeqCst);
    assert_eq!(wait.recv_timeout(DEADLINE), Err(DISCONNECTED));
    assert_eq!(mock.forecasts(), forecasts_of(&[&kept]));
    running.finish().unwrap();
}

#[test]
fn commits_that_fail_for_long_are_told_until_one_succeeds() {
    let mock = Mock::start();
    let running = start_at(&mock, Guarantee::AtLeastOnce, Clock::Jumping).unwrap();
    let epoch = running.ownership.acquire(PartitionId(0));
    let health = running.health.clone();
    running.joined.store(false, Ordering::SeqCst);
    assert_eq!(*health.borrow(), None);
    running.send(batch(0, epoch, (0, 5), 1));
    wait_until(|| health.borrow().is_some());
    let reason = health.borrow().as_ref().unwrap().reason.clone();
    assert!(reason.contains("not a member"), "{reason}");
    // Attempts at 0, 20, 60, ... 2540 ms, and every 2 s from then on.
    assert!(running.asked.load(Ordering::SeqCst) >= 21);
    running.joined.store(true, Ordering::SeqCst);
    running.finish().unwrap();
    assert_eq!(*health.borrow(), None);
}

#[test]
fn a_gap_between_two_commits_of_an_assignment_ends_the_worker() {
    for from in [4, 6] {
        let mock = Mock::start();
        let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
        let epoch = running.ownership.acquire(PartitionId(0));
        running.send(batch(0, epoch, (0, 5), 1));
        running.send(batch(0, epoch, (from, 9), 1));
        wait_until(|| running.thread.is_finished());
        assert!(running.thread.join().is_err(), "a batch from {from}");
    }
}
