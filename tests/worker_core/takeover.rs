//! A partition taken over from Kafka: what ends a restore, and how soon it notices that it is in vain.

use std::collections::BTreeMap;
use std::time::Duration;

use foretell::consume::{Assigned, ClientSettings, Replayer, StartPosition};
use foretell::domain::PartitionId;
use foretell::ownership::Ownership;
use foretell::partition::{RestoreError, RestoreSettings, Restorer};
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

#[test]
fn a_restore_that_is_not_permitted_fails_with_what_to_grant() {
    let mock = Mock::start();
    let forbidden = [Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 100];
    mock.cluster.request_errors(Api::OffsetFetch, &forbidden);
    let settings = RestoreSettings {
        topic: TOPIC.to_owned(),
        start: StartPosition::Earliest,
        lookback: None,
        windows: WindowConfig::new(rig::settings(4, 2)).unwrap(),
        decoder: rig::decoder(),
        config_hash: CONFIG_HASH,
    };
    let ownership = Ownership::default();
    let epoch = ownership.acquire(PARTITION);
    let restorer = Restorer::new(settings, replayer(&mock), ownership);
    let error = restorer
        .restore(Assigned {
            partition: PARTITION,
            epoch,
        })
        .unwrap_err();
    assert!(matches!(error, RestoreError::Forbidden { .. }), "{error:?}");
    let said = error.to_string();
    for expected in ["partition 0 may not be restored", "grant", "READ"] {
        assert!(said.contains(expected), "{said}");
    }
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
