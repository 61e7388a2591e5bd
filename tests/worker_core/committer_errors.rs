//! What comes of each error of the broker: the same bytes again, or the end of the worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foretell::domain::PartitionId;
use foretell::produce::{CommitError, Destination, Guarantee, OutputBatch};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

use crate::committer_rig::{Mock, batch, forecasts_of, start, start_at, start_every, wait_until};
use crate::rig::{Clock, next};

/// What must come of an error.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Committed by the first attempt or a later one, which sends the same bytes.
    Committed,
    /// No result: another producer is initialised, and the committed offsets decide.
    Settled,
    /// The process ends.
    Ends,
}

/// Errors of the broker, each given once.
const FATES: [(Api, Code, Fate); 24] = [
    (
        Api::Produce,
        Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Fate::Committed,
    ),
    (
        Api::Produce,
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        Fate::Committed,
    ),
    (
        Api::Produce,
        Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        Fate::Settled,
    ),
    (
        Api::AddPartitionsToTxn,
        Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
        Fate::Committed,
    ),
    (
        Api::AddPartitionsToTxn,
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        Fate::Committed,
    ),
    (
        Api::AddPartitionsToTxn,
        Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        Fate::Settled,
    ),
    (
        Api::AddOffsetsToTxn,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        Fate::Committed,
    ),
    (
        Api::AddOffsetsToTxn,
        Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        Fate::Committed,
    ),
    (
        Api::AddOffsetsToTxn,
        Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
        Fate::Committed,
    ),
    (
        Api::AddOffsetsToTxn,
        Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING,
        Fate::Committed,
    ),
    (
        Api::AddOffsetsToTxn,
        Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE,
        Fate::Settled,
    ),
    (
        Api::TxnOffsetCommit,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        Fate::Committed,
    ),
    (
        Api::TxnOffsetCommit,
        Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        Fate::Committed,
    ),
    (
        Api::TxnOffsetCommit,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
        Fate::Committed,
    ),
    (
        Api::TxnOffsetCommit,
        Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
        Fate::Committed,
    ),
    (
        Api::TxnOffsetCommit,
        Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        Fate::Ends,
    ),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        Fate::Committed,
    ),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        Fate::Committed,
    ),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR__TRANSPORT,
        Fate::Committed,
    ),
    // librdkafka would have these aborted, but the coordinator may have committed.
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Fate::Settled,
    ),
    (Api::EndTxn, Code::RD_KAFKA_RESP_ERR_UNKNOWN, Fate::Settled),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE,
        Fate::Settled,
    ),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        Fate::Settled,
    ),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        Fate::Settled,
    ),
];

#[test]
fn an_error_that_decides_nothing_is_settled_and_any_other_is_followed_by_the_same_bytes() {
    std::thread::scope(|scope| {
        for (api, code, fate) in FATES {
            for committed in [0, 5] {
                scope.spawn(move || check_fate((api, code), fate, committed));
            }
        }
    });
}

/// The batch goes from 0 to 5, and the group says that `committed` is where it stands.
fn check_fate((api, code): (Api, Code), fate: Fate, committed: i64) {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    running.has_committed(committed);
    let group = Arc::clone(&running.group);
    let epoch = running.ownership.acquire(PartitionId(0));
    mock.cluster.request_errors(api, &[code]);
    let one = batch(0, epoch, (0, 5), 5);
    running.send(one.clone());
    let ended = running.finish();
    let expected = forecasts_of(&[&one]);
    let found = mock.forecasts();
    let attempts: Vec<_> = found.chunks(expected.len()).collect();
    let context = format!("{api:?} {code:?}, committed {committed}: {ended:?}");
    // librdkafka may give up what is in flight when the transaction fails.
    let is_whole = |attempt: &&[_]| *attempt == &expected[..attempt.len()];
    assert!(attempts.iter().all(is_whole), "other bytes, {context}");
    let asked = group.lock().unwrap().asked;
    match (fate, &ended) {
        (Fate::Committed, Ok(())) => assert!(!attempts.is_empty() && asked == 0, "{context}"),
        (Fate::Settled, Ok(())) => {
            assert_eq!(asked, 1, "{context}");
            // Sent once more where it was not committed, and never where it was.
            let last = attempts.last().map_or(0, |attempt| attempt.len());
            assert!(committed == 5 || last == expected.len(), "{context}");
            assert!(
                attempts.len() <= 2 - usize::from(committed == 5),
                "{context}"
            );
        }
        (Fate::Ends, Err(CommitError::ForbiddenId { .. })) => {
            let refused = Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
            assert_eq!(code, refused, "{context}");
            assert!(attempts.len() <= 1, "{context}");
        }
        (Fate::Committed | Fate::Settled | Fate::Ends, _) => panic!("{context}"),
    }
    if ended.is_ok() {
        assert_eq!(one.progress.committed(), 5, "{context}");
    }
    assert_eq!(group.lock().unwrap().reassigned, [], "{context}");
}

#[test]
fn an_output_that_its_topic_does_not_take_ends_the_worker_and_says_where_it_came_from() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let mock = Mock::start();
        let running = start(&mock, guarantee).unwrap();
        let epoch = running.ownership.acquire(PartitionId(3));
        let too_large = [Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 1_000];
        mock.cluster.request_errors(Api::Produce, &too_large);
        let mut one = OutputBatch::new(PartitionId(3), epoch, next(40));
        one.to = next(45);
        one.push(Destination::Forecasts, Some(b"key"), |out| {
            out.extend_from_slice(&[7; 500]);
        });
        running.send(one);
        let error = running.finish().unwrap_err();
        let said = error.to_string();
        for expected in [
            "503 bytes for forecasts",
            "observations/3 offsets 40 to below 45",
            "raise the topic's max.message.bytes",
        ] {
            assert!(said.contains(expected), "{guarantee:?}: {said}");
        }
        assert!(matches!(error, CommitError::TooLarge { .. }), "{error:?}");
    }
}

#[test]
fn permissions_that_stay_missing_end_the_worker_and_a_moment_without_them_does_not() {
    let group = Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    let topic = Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    for (guarantee, api, code, step) in [
        (
            Guarantee::AtLeastOnce,
            Api::OffsetCommit,
            group,
            "committing the offsets",
        ),
        (Guarantee::AtLeastOnce, Api::Produce, topic, "producing "),
        (Guarantee::ExactlyOnce, Api::Produce, topic, "producing "),
    ] {
        for (refusals, is_committed) in [(1, true), (1_000, false)] {
            let mock = Mock::start();
            // librdkafka takes some real time to ask again whether it may.
            let clock = if is_committed {
                Clock::Real
            } else {
                Clock::Jumping
            };
            let running = start_at(&mock, guarantee, clock).unwrap();
            let epoch = running.ownership.acquire(PartitionId(0));
            mock.cluster.request_errors(api, &vec![code; refusals]);
            let one = batch(0, epoch, (0, 5), 1);
            running.send(one.clone());
            match running.finish() {
                Ok(()) => assert!(is_committed, "{api:?} {refusals}"),
                Err(CommitError::Forbidden {
                    step: at, waited, ..
                }) => {
                    assert!(!is_committed, "{api:?} {refusals}");
                    assert!(at.starts_with(step), "{at}");
                    assert!(waited >= Duration::from_mins(1), "{waited:?}");
                }
                Err(error) => panic!("{api:?} {refusals}: {error:?}"),
            }
            let end = if is_committed { 5 } else { 0 };
            assert_eq!(one.progress.committed(), end);
        }
    }
}

#[test]
fn what_failed_at_once_is_committed_in_parts() {
    let mock = Mock::start();
    // Long enough for the batches of the second commit to come together.
    let interval = Duration::from_secs(3);
    let running = start_every(&mock, Guarantee::ExactlyOnce, Clock::Real, interval).unwrap();
    let epoch = running.ownership.acquire(PartitionId(0));
    let batches: Vec<_> = (0..9).map(|at| batch(0, epoch, (at, at + 1), 2)).collect();
    running.send(batches[0].clone());
    wait_until(|| batches[0].progress.committed() == 1);
    let failure = Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    mock.cluster
        .request_errors(Api::AddOffsetsToTxn, &[failure]);
    for batch in &batches[1..] {
        running.send(batch.clone());
    }
    let asked = Arc::clone(&running.asked);
    running.finish().unwrap();
    assert_eq!(batches[8].progress.committed(), 9);
    // The first alone, eight that fail, four of them, the other four.
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[test]
fn a_commit_outside_of_a_transaction_that_a_rebalance_decides_is_made_again() {
    let again = [
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
        Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
    ];
    let mock = Mock::start();
    let running = start(&mock, Guarantee::AtLeastOnce).unwrap();
    let epoch = running.ownership.acquire(PartitionId(0));
    mock.cluster.request_errors(Api::OffsetCommit, &again);
    let one = batch(0, epoch, (0, 5), 1);
    running.send(one.clone());
    running.finish().unwrap();
    assert_eq!(one.progress.committed(), 5);
}

#[test]
fn a_producer_that_may_not_use_its_transactional_id_does_not_start() {
    let mock = Mock::start();
    let passing = Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    mock.cluster.request_errors(Api::InitProducerId, &[passing]);
    drop(start(&mock, Guarantee::ExactlyOnce).unwrap());
    let forbidden = Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    mock.cluster
        .request_errors(Api::InitProducerId, &[forbidden]);
    let error = start(&mock, Guarantee::ExactlyOnce).err();
    assert!(
        matches!(&error, Some(CommitError::Init { transactional_id, .. }) if transactional_id == "worker"),
        "{error:?}"
    );
}
