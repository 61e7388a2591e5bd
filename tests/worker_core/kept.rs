//! What lanes held of partitions that were taken away: it comes back with them, and is stored by a worker that
//! stops.

use foretell::consume::RebalanceEvent;
use foretell::domain::{Offset, PartitionId, Reading, Timestamp};
use foretell::partition::{AssignerInput, Kept};
use foretell::snapshot::{Last, Order};
use foretell::telemetry::Progress;
use foretell::window::{Table, WindowConfig};
use tokio::time::Instant;

use crate::assigner::{DEADLINE, one, start};
use crate::avro::FEATURES;
use crate::rig::{self, next};

/// Windows of one series that a lane has let go, committed up to `committed`.
fn kept(partition: i32, committed: i64) -> AssignerInput {
    let mut windows = Table::new(WindowConfig::new(rig::settings(4, 2)).unwrap());
    let time = Timestamp(13_000_000 * rig::STEP_MS);
    let reading = Reading {
        series: "a",
        time: Some(time),
        cells: &[Some(1.0); FEATURES.len()],
    };
    windows.fold((Offset::new(16).unwrap(), Some(time)), &reading);
    AssignerInput::Kept(Box::new(Kept {
        partition: PartitionId(partition),
        position: next(17),
        windows,
        metadata: rig::step(WindowConfig::new(rig::settings(4, 2)).unwrap()).metadata(next(17)),
        progress: Progress::at(next(committed)),
    }))
}

#[test]
fn what_a_lane_held_comes_back_with_its_partition_unless_that_is_there_already() {
    let running = start(1);
    running.assign(&[one(3, 1)]);
    // Too late for that restore, and memory for nothing afterwards.
    running.send(kept(3, 17));
    running.restored(one(3, 1), false);
    drop(running.revoke(&[3]));
    running.send(kept(4, 17));
    let both = vec![one(3, 2), one(4, 3)];
    running.send(AssignerInput::Rebalance(RebalanceEvent::Assigned(both)));
    let jobs = [(); 2].map(|()| running.restores.recv_timeout(DEADLINE).unwrap());
    let found = jobs.map(|job| (job.assigned, job.kept.map(|held| held.position)));
    assert_eq!(found, [(one(3, 2), None), (one(4, 3), Some(next(17)))]);
    running.stop();
}

#[test]
fn a_worker_that_stops_has_the_windows_stored_that_are_committed() {
    let running = start(1);
    running.send(kept(3, 17));
    // Its last commit was not made in time.
    running.send(kept(4, 16));
    let ended = running.stop_since(Instant::now().checked_sub(DEADLINE).unwrap());
    let Some(Order::Last(Last { all, .. })) = ended.snapshots else {
        panic!("{:?}", ended.snapshots);
    };
    let [last] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(
        (last.about.partition, last.position),
        (PartitionId(3), next(17))
    );
    assert_eq!(last.about.topic, rig::TOPIC);
    assert_eq!(last.windows.series_count(), 1);
}

#[test]
fn what_others_have_by_now_is_not_stored_by_a_worker_that_stops() {
    let running = start(1);
    running.send(kept(3, 17));
    // By the time it stops they were given up long ago.
    let ended = running.stop_since(Instant::now() + DEADLINE);
    assert!(ended.snapshots.is_none());
}
