//! A partition that the poll thread has taken over anew while the group still gives it to this worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use foretell::consume::{
    Assigned, ClientSettings, ConsumerSettings, Hooks, PollCommand, PollError, Poller,
    QueueReceiver, RebalanceEvent, queue,
};
use foretell::domain::{Epoch, PartitionId};
use foretell::ownership::Ownership;
use foretell::telemetry::Progress;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::sync::{Notify, watch};

use crate::committer_rig::{DEADLINE, Mock, wait_until};
use crate::rig::{LIMITS, TOPIC, next};

const PARTITION: PartitionId = PartitionId(1);
const RECORDS: usize = 10;

/// A poll thread with everybody it speaks to.
struct Running {
    ownership: Ownership,
    events: Receiver<RebalanceEvent>,
    commands: SyncSender<PollCommand>,
    thread: JoinHandle<Result<(), PollError>>,
}

fn start(mock: &Mock) -> Running {
    let (sink, events) = sync_channel(100);
    let (commands, inbox) = sync_channel(100);
    let ownership = Ownership::default();
    let hooks = Hooks::new(
        TOPIC,
        ownership.clone(),
        Box::new(move |event| sink.send(event).is_ok()),
        Duration::from_secs(1),
    );
    let settings = ConsumerSettings {
        client: ClientSettings {
            brokers: mock.cluster.bootstrap_servers(),
            client_id: "tests".to_owned(),
            properties: BTreeMap::new(),
        },
        topic: TOPIC.to_owned(),
        group_id: "workers".to_owned(),
        group_instance_id: None,
        session_timeout: Duration::from_secs(6),
        max_poll_interval: Duration::from_mins(5),
        skips_gaps: false,
        header_names: Vec::new(),
    };
    let poller = Poller::new(settings, hooks, (inbox, watch::Sender::default())).unwrap();
    Running {
        ownership,
        events,
        commands,
        thread: std::thread::spawn(move || poller.run()),
    }
}

impl Running {
    /// Lets the partition flow from `at`.
    fn serve(&self, epoch: Epoch, at: i64) -> QueueReceiver {
        let (sender, receiver) = queue(LIMITS, Arc::new(Notify::new()));
        let serve = PollCommand::Serve {
            partition: PARTITION,
            epoch,
            at: next(at),
            topic_id: None,
            queue: sender,
            progress: Progress::at(next(at)),
        };
        self.commands.send(serve).unwrap();
        receiver
    }

    fn reassign(&self, epoch: Epoch) {
        let partition = PARTITION;
        let command = PollCommand::Reassign { partition, epoch };
        self.commands.send(command).unwrap();
    }
}

fn publish(mock: &Mock) {
    let producer: BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", mock.cluster.bootstrap_servers())
        .create()
        .unwrap();
    for _ in 0..RECORDS {
        let record = BaseRecord::<(), [u8]>::to(TOPIC)
            .partition(PARTITION.0)
            .payload(b"value");
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(DEADLINE).unwrap();
}

/// Waits until so many records have come.
fn take(receiver: &mut QueueReceiver, expected: usize) {
    let mut found = 0;
    wait_until(|| {
        found += receiver.take().map_or(0, |batch| batch.len());
        found >= expected
    });
    assert_eq!(found, expected);
}

#[test]
fn a_partition_is_taken_over_anew_under_a_new_epoch_and_read_from_where_it_is_told() {
    let mock = Mock::start();
    publish(&mock);
    let running = start(&mock);
    let Ok(RebalanceEvent::Assigned(assigned)) = running.events.recv_timeout(DEADLINE) else {
        panic!("no assignment");
    };
    let first = assigned
        .iter()
        .find(|one| one.partition == PARTITION)
        .unwrap()
        .epoch;
    take(&mut running.serve(first, 0), RECORDS);

    running.reassign(first);
    let Ok(RebalanceEvent::Reassigned(Assigned { partition, epoch })) =
        running.events.recv_timeout(DEADLINE)
    else {
        panic!("nothing came of it");
    };
    assert_eq!(partition, PARTITION);
    assert!(epoch != first);
    assert!(running.ownership.holds(PARTITION, epoch));
    // Asked for again with the epoch that has ended: somebody saw it end too.
    running.reassign(first);
    take(&mut running.serve(epoch, 4), RECORDS - 4);
    assert!(running.ownership.holds(PARTITION, epoch));

    running.commands.send(PollCommand::Close).unwrap();
    // The hook of the revocation waits until it is answered.
    while let Ok(event) = running.events.recv_timeout(DEADLINE) {
        if let RebalanceEvent::Revoked { .. } = event {
            break;
        }
    }
    running.thread.join().unwrap().unwrap();
}
