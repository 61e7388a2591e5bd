//! A partition taken over from Kafka: what ends a restore, and how soon it notices that it is in vain.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use foretell::consume::{Assigned, ClientSettings, Replayer, StartPosition};
use foretell::domain::PartitionId;
use foretell::ownership::Ownership;
use foretell::partition::{
    RestoreError, RestoreJob, RestoreSettings, Restored, Restorer, restore_all,
};
use foretell::permission::FORBIDDEN_MAX;
use foretell::registry::Schemas;
use foretell::window::WindowConfig;
use rdkafka::mocking::MockCoordinator;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};
use tokio::time::Instant;

use crate::committer_rig::{GROUP, Mock};
use crate::rig::{self, CONFIG_HASH, TOPIC, next};

const PARTITION: PartitionId = PartitionId(0);

fn replayer(mock: &Mock) -> Replayer {
    let client = ClientSettings {
        brokers: mock.cluster.bootstrap_servers(),
        client_id: "tests".to_owned(),
        properties: BTreeMap::new(),
    };
    Replayer::new(&client, GROUP, TOPIC).unwrap()
}

fn restorer(mock: &Mock, ownership: Ownership) -> Restorer {
    let settings = RestoreSettings {
        topic: TOPIC.to_owned(),
        start: StartPosition::Earliest,
        skips_gaps: false,
        lookback: None,
        windows: WindowConfig::new(rig::settings(4, 2)).unwrap(),
        decoder: rig::decoder(),
        config_hash: CONFIG_HASH,
        schemas: Schemas::none(),
    };
    Restorer::new(settings, replayer(mock), ownership)
}

/// What comes first of restoring these partitions on one thread, while a minute passes in a moment.
fn first_of(
    restorer: Restorer,
    ownership: &Ownership,
    partitions: &[PartitionId],
) -> Result<Restored, RestoreError> {
    let (to_restore, jobs) = channel();
    for partition in partitions {
        let assigned = Assigned {
            partition: *partition,
            epoch: ownership.acquire(*partition),
        };
        let job = RestoreJob {
            assigned,
            kept: None,
        };
        to_restore.send(job).unwrap();
    }
    let clock = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let handle = clock.handle().clone();
    let restoring = thread::spawn(move || {
        let _its_clock = handle.enter();
        let mut first = None;
        restore_all(&restorer, &Mutex::new(jobs), |result| {
            first = Some(result);
            false
        });
        first.unwrap()
    });
    clock.block_on(async {
        while !restoring.is_finished() {
            // Slow beside an answer, or a question would seem to have waited for too long.
            thread::park_timeout(Duration::from_millis(10));
            tokio::time::advance(Duration::from_millis(200)).await;
        }
    });
    restoring.join().unwrap()
}

fn restore_refused(refusals: usize) -> Result<Restored, RestoreError> {
    let mock = Mock::start();
    let forbidden = vec![Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; refusals];
    mock.cluster.request_errors(Api::OffsetFetch, &forbidden);
    let ownership = Ownership::default();
    let restorer = restorer(&mock, ownership.clone());
    first_of(restorer, &ownership, &[PARTITION])
}

#[test]
fn a_partition_whose_leader_is_gone_keeps_no_other_one_waiting() {
    let mock = Mock::start_brokers(2);
    let lead = |partition, broker| {
        let led = mock
            .cluster
            .partition_leader(TOPIC, partition, Some(broker));
        led.unwrap();
    };
    lead(0, 2);
    lead(1, 1);
    let group = MockCoordinator::Group(GROUP.to_owned());
    mock.cluster.coordinator(group, 1).unwrap();
    mock.cluster.broker_down(2).unwrap();
    let ownership = Ownership::default();
    let restorer = restorer(&mock, ownership.clone());
    let other = PartitionId(1);
    let first = first_of(restorer, &ownership, &[PARTITION, other]).unwrap();
    assert_eq!(first.assigned.partition, other);
}

#[test]
fn a_restore_that_is_refused_for_a_minute_fails_with_what_to_grant() {
    let error = restore_refused(1_000).unwrap_err();
    let RestoreError::Forbidden { waited, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(*waited >= FORBIDDEN_MAX, "{waited:?}");
    let said = error.to_string();
    for expected in [
        "restoring partition 0 has been refused for",
        "grant",
        "READ",
    ] {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_restore_that_is_refused_for_a_moment_goes_on() {
    let restored = restore_refused(2).unwrap();
    assert_eq!(restored.assigned.partition, PARTITION);
}

#[test]
fn a_question_that_nobody_answers_ends_soon_after_the_partition_is_taken_away() {
    let mock = Mock::start();
    mock.cluster.broker_down(1).unwrap();
    let asked = Cell::new(0);
    let began = Instant::now();
    let answer = replayer(&mock).committed(PARTITION, &|| {
        asked.set(asked.get() + 1);
        asked.get() < 2
    });
    assert!(answer.is_err());
    assert_eq!(asked.get(), 2);
    // Far below the half minute after which it gives up by itself.
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_replay_to_which_nothing_comes_stops_soon_after_its_partition_is_taken_away() {
    let mock = Mock::start();
    mock.cluster.broker_down(1).unwrap();
    let mut asked = 0;
    let began = Instant::now();
    let read = replayer(&mock).replay(PARTITION, (next(0), next(10)), &mut |batch| {
        assert!(batch.is_empty());
        asked += 1;
        asked < 3
    });
    assert_eq!((read.unwrap(), asked), (0, 3));
    // Far below the minute after which it gives up by itself.
    assert!(began.elapsed() < Duration::from_secs(10));
}
