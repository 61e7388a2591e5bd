//! A partition taken over from Kafka: what ends a restore, and how soon it notices that it is in vain.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use foretell::consume::{Assigned, ClientSettings, Replayer, StartPosition};
use foretell::domain::PartitionId;
use foretell::ownership::Ownership;
use foretell::partition::{RestoreError, RestoreJob, RestoreSettings, Restored, Restorer};
use foretell::permission::FORBIDDEN_MAX;
use foretell::registry::Schemas;
use foretell::window::WindowConfig;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};
use tokio::time::Instant;

use crate::committer_rig::Mock;
use crate::rig::{self, CONFIG_HASH, TOPIC, next};

const PARTITION: PartitionId = PartitionId(0);

fn replayer(mock: &Mock) -> Replayer {
    let client = ClientSettings {
        brokers: mock.cluster.bootstrap_servers(),
        client_id: "tests".to_owned(),
        properties: BTreeMap::new(),
    };
    Replayer::new(&client, "workers", TOPIC).unwrap()
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

/// Restores after this many refusals, while a minute passes in a moment.
fn restore_refused(refusals: usize) -> Result<Option<Restored>, RestoreError> {
    let mock = Mock::start();
    let forbidden = vec![Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; refusals];
    mock.cluster.request_errors(Api::OffsetFetch, &forbidden);
    let ownership = Ownership::default();
    let epoch = ownership.acquire(PARTITION);
    let restorer = restorer(&mock, ownership);
    let partition = PARTITION;
    let clock = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    thread::scope(|scope| {
        let handle = clock.handle().clone();
        let restoring = scope.spawn(move || {
            let _its_clock = handle.enter();
            let assigned = Assigned { partition, epoch };
            restorer.restore(RestoreJob {
                assigned,
                kept: None,
            })
        });
        clock.block_on(async {
            while !restoring.is_finished() {
                // Slow beside an answer, or a question would seem to have waited for too long.
                thread::park_timeout(Duration::from_millis(10));
                tokio::time::advance(Duration::from_millis(200)).await;
            }
        });
        restoring.join().unwrap()
    })
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
    assert!(restore_refused(2).unwrap().is_some());
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
