//! Commits without a result, against a coordinator that answers with errors.

use std::sync::Arc;

use foretell::domain::PartitionId;
use foretell::produce::{CommitError, Guarantee};
use rdkafka::mocking::MockCoordinator;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

use crate::committer_rig::{DEAD_LETTERS, GROUP, Mock, batch, forecasts_of, start, wait_until};

#[test]
fn where_the_group_stands_elsewhere_the_output_is_dropped_and_the_partition_taken_over_anew() {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    running.has_committed(3);
    running.group.lock().unwrap().failures = 2;
    let group = Arc::clone(&running.group);
    let epoch = running.ownership.acquire(PartitionId(0));
    let lost = [Code::RD_KAFKA_RESP_ERR_UNKNOWN];
    mock.cluster.request_errors(Api::EndTxn, &lost);
    let one = batch(0, epoch, (0, 5), 5);
    running.send(one.clone());
    wait_until(|| !group.lock().unwrap().reassigned.is_empty());
    // What the lane has computed on top of it is dropped as well, until the new epoch begins.
    running.send(batch(0, epoch, (5, 9), 5));
    running.ownership.release(PartitionId(0));
    let next_epoch = running.ownership.acquire(PartitionId(0));
    let again = batch(0, next_epoch, (3, 9), 5);
    running.send(again.clone());
    running.finish().unwrap();
    let group = group.lock().unwrap();
    assert_eq!(
        (group.asked, &group.reassigned[..]),
        (3, &[(PartitionId(0), epoch)][..])
    );
    assert_eq!(mock.forecasts(), forecasts_of(&[&one, &again]));
    assert_eq!(
        (one.progress.committed(), again.progress.committed()),
        (0, 9)
    );
}

#[test]
fn a_producer_that_is_fenced_again_and_again_ends_the_worker() {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    running.has_committed(0);
    let epoch = running.ownership.acquire(PartitionId(0));
    let fenced = [Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED; 10];
    mock.cluster.request_errors(Api::EndTxn, &fenced);
    running.send(batch(0, epoch, (0, 5), 1));
    let error = running.finish().unwrap_err();
    let said = error.to_string();
    assert!(
        matches!(error, CommitError::FencedOften { times: 4, .. }),
        "{said}"
    );
    assert!(
        said.contains("give every worker a worker.id of its own"),
        "{said}"
    );
}

#[test]
fn a_coordinator_that_is_away_for_long_is_waited_for_and_asked_what_was_committed() {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    let epoch = running.ownership.acquire(PartitionId(0));
    let unavailable = vec![Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 10_000];
    mock.cluster.request_errors(Api::EndTxn, &unavailable[..3]);
    running.send(batch(0, epoch, (0, 5), 5));
    wait_until(|| mock.forecasts().len() == 5);
    let second = batch(0, epoch, (5, 6), 1);
    running.send(second.clone());
    wait_until(|| second.progress.committed() == 6);
    // The transaction's timeout passes before the coordinator answers.
    mock.cluster.request_errors(Api::EndTxn, &unavailable);
    running.has_committed(7);
    let group = Arc::clone(&running.group);
    running.send(batch(0, epoch, (6, 7), 1));
    wait_until(|| group.lock().unwrap().asked == 1);
    running.finish().unwrap();
    assert_eq!(mock.forecasts().len(), 7);
}

#[test]
fn a_producer_that_waits_for_a_dead_coordinator_of_the_group_is_left_behind() {
    let mock = Mock::start_brokers(2);
    for topic in ["forecasts", DEAD_LETTERS] {
        mock.cluster.partition_leader(topic, 0, Some(1)).unwrap();
    }
    let transactions = MockCoordinator::Transaction("worker".to_owned());
    let group = MockCoordinator::Group(GROUP.to_owned());
    mock.cluster.coordinator(transactions, 1).unwrap();
    mock.cluster.coordinator(group, 2).unwrap();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    let epoch = running.ownership.acquire(PartitionId(0));
    let first = batch(0, epoch, (0, 5), 5);
    running.send(first.clone());
    wait_until(|| first.progress.committed() == 5);
    running.has_committed(5);
    mock.cluster.broker_down(2).unwrap();
    let second = batch(0, epoch, (5, 6), 1);
    running.send(second.clone());
    // Asked once there is another producer.
    wait_until(|| running.group.lock().unwrap().asked == 1);
    mock.cluster.broker_up(2).unwrap();
    wait_until(|| second.progress.committed() == 6);
    running.finish().unwrap();
    let visible = mock.forecasts();
    assert_eq!(visible, forecasts_of(&[&first, &second, &second]));
}
