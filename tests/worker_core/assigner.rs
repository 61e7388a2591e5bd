//! Partitions on their way between the group, the restore threads and the lanes: none is served that
//! was taken away, and no rebalance hook waits for somebody who is gone.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use foretell::consume::{Assigned, PollCommand, RebalanceEvent};
use foretell::domain::{CommitMetadata, Epoch, PartitionId};
use foretell::partition::{
    Assigner, AssignerError, AssignerInput, AssignerSettings, CutSettings, HungLane, LaneCommand,
    LaneHandle, Opening, RestoreError, RestoreJob, Restored, Roster,
};
use foretell::produce::CommitterInput;
use foretell::snapshot::Order;
use foretell::window::WindowConfig;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::rig::{self, LIMITS, next};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// An assigner on its thread, with everybody it speaks to.
pub(crate) struct Running {
    inputs: SyncSender<AssignerInput>,
    pub(crate) restores: Receiver<RestoreJob>,
    lanes: Vec<mpsc::Receiver<LaneCommand>>,
    poller: Receiver<PollCommand>,
    committer: mpsc::Receiver<CommitterInput>,
    roster: watch::Receiver<Roster>,
    snapshots: mpsc::Receiver<Order>,
    hangs: watch::Sender<Vec<HungLane>>,
    thread: JoinHandle<Result<(), AssignerError>>,
}

pub(crate) fn start(lanes: usize) -> Running {
    let (inputs, assigner_inputs) = sync_channel(100);
    let (to_restorers, restores) = sync_channel(100);
    let (to_poller, poller) = sync_channel(100);
    let (to_committer, committer) = mpsc::channel(100);
    let (roster_sender, roster) = watch::channel(Roster::default());
    let (hangs, hung) = watch::channel(Vec::new());
    let (uploads, snapshots) = mpsc::channel(1);
    let (handles, lanes) = (0..lanes)
        .map(|_| {
            let (commands, lane) = mpsc::channel(100);
            let wake = Arc::new(Notify::new());
            (LaneHandle { commands, wake }, lane)
        })
        .unzip();
    let assigner = Assigner::new(AssignerSettings {
        inputs: assigner_inputs,
        restores: to_restorers,
        lanes: handles,
        poller: to_poller,
        committer: to_committer,
        roster: roster_sender,
        hung,
        queue: LIMITS,
        snapshots: Some(CutSettings {
            interval: DEADLINE,
            topic: rig::TOPIC.to_owned(),
            uploads,
            wall_clock: || rig::NOW,
        }),
    });
    Running {
        inputs,
        restores,
        lanes,
        poller,
        committer,
        roster,
        snapshots,
        hangs,
        thread: std::thread::spawn(move || assigner.run()),
    }
}

pub(crate) fn one(partition: i32, epoch: u64) -> Assigned {
    Assigned {
        partition: PartitionId(partition),
        epoch: Epoch(epoch),
    }
}

impl Running {
    pub(crate) fn assign(&self, assigned: &[Assigned]) {
        let event = RebalanceEvent::Assigned(assigned.to_vec());
        self.send(AssignerInput::Rebalance(event));
        for expected in assigned {
            let job = self.restores.recv_timeout(DEADLINE).unwrap();
            assert_eq!(job.assigned, *expected);
        }
    }

    pub(crate) fn restored(&self, assigned: Assigned, first_start: bool) {
        self.send(AssignerInput::Restored(Box::new(Restored {
            assigned,
            step: rig::step(WindowConfig::new(rig::settings(4, 2)).unwrap()),
            position: next(17),
            opening: first_start.then_some(Opening::FirstStart),
        })));
    }

    /// What the hook of a revocation waits on.
    pub(crate) fn revoke(&self, partitions: &[i32]) -> Receiver<()> {
        let (released, wait) = sync_channel(1);
        self.send(AssignerInput::Rebalance(RebalanceEvent::Revoked {
            partitions: partitions.iter().map(|id| PartitionId(*id)).collect(),
            released,
        }));
        wait
    }

    pub(crate) fn send(&self, input: AssignerInput) {
        self.inputs.send(input).unwrap();
    }

    /// Lets the assigner work off its inputs and end.
    pub(crate) fn stop(self) -> Ended {
        self.stop_since(Instant::now())
    }

    pub(crate) fn stop_since(mut self, since: Instant) -> Ended {
        let until = since + DEADLINE;
        self.send(AssignerInput::Stop { since, until });
        self.thread.join().unwrap().unwrap();
        Ended {
            lanes: self
                .lanes
                .iter_mut()
                .map(|lane| std::iter::from_fn(|| lane.try_recv().ok()).collect())
                .collect(),
            poller: self.poller.try_iter().collect(),
            committer: std::iter::from_fn(|| self.committer.try_recv().ok()).collect(),
            roster: self.roster.borrow().clone(),
            snapshots: self.snapshots.try_recv().ok(),
        }
    }
}

/// What everybody was told.
pub(crate) struct Ended {
    lanes: Vec<Vec<LaneCommand>>,
    poller: Vec<PollCommand>,
    committer: Vec<CommitterInput>,
    roster: Roster,
    pub(crate) snapshots: Option<Order>,
}

/// Epochs under which the poll thread was told to read partitions.
fn read(poller: &[PollCommand]) -> Vec<(i32, u64)> {
    let serve = |command: &PollCommand| match command {
        PollCommand::Serve {
            partition, epoch, ..
        } => (partition.0, epoch.0),
        PollCommand::Reassign { .. } | PollCommand::Close => panic!("not the assigner's to say"),
    };
    poller.iter().map(serve).collect()
}

const DISCONNECTED: Result<(), RecvTimeoutError> = Err(RecvTimeoutError::Disconnected);

#[test]
fn what_is_revoked_while_it_is_restored_is_released_at_once_and_never_served() {
    let running = start(2);
    running.assign(&[one(3, 1)]);
    assert_eq!(running.revoke(&[3]).recv_timeout(DEADLINE), DISCONNECTED);
    running.restored(one(3, 1), true);
    let ended = running.stop();
    assert!(ended.lanes.iter().all(Vec::is_empty));
    assert!(ended.poller.is_empty() && ended.committer.is_empty());
    let roster = Roster {
        joined: true,
        restoring: Vec::new(),
        serving: 0,
    };
    assert_eq!(ended.roster, roster);
}

#[test]
fn the_restore_of_an_earlier_assignment_is_dropped_and_that_of_the_present_one_is_served() {
    let running = start(1);
    running.assign(&[one(3, 1)]);
    drop(running.revoke(&[3]));
    running.assign(&[one(3, 2)]);
    running.restored(one(3, 1), false);
    running.restored(one(3, 2), false);
    // A second answer to the same assignment changes nothing.
    running.restored(one(3, 2), false);
    let ended = running.stop();
    assert_eq!(read(&ended.poller), [(3, 2)]);
    let [LaneCommand::Serve(serving)] = &ended.lanes[0][..] else {
        panic!("{:?}", ended.lanes);
    };
    assert_eq!(
        (serving.partition, serving.epoch),
        (PartitionId(3), Epoch(2))
    );
    assert_eq!((ended.roster.restoring.len(), ended.roster.serving), (0, 1));

    // What the lane's batches tell is what the poll thread reads, for this assignment.
    let [PollCommand::Serve { progress, .. }] = &ended.poller[..] else {
        panic!("{:?}", ended.poller);
    };
    assert_eq!(progress.committed(), 17);
    serving.progress.advance(next(20), None);
    assert_eq!(progress.committed(), 20);
}

#[test]
fn what_is_to_be_taken_over_anew_is_discarded_by_its_lane_and_restored_once_more() {
    let running = start(1);
    running.assign(&[one(3, 1)]);
    running.restored(one(3, 1), false);
    let again = RebalanceEvent::Reassigned(one(3, 2));
    running.send(AssignerInput::Rebalance(again));
    let job = running.restores.recv_timeout(DEADLINE).unwrap();
    assert_eq!((job.assigned, job.kept.is_none()), (one(3, 2), true));
    running.restored(one(3, 2), false);
    let ended = running.stop();
    assert_eq!(read(&ended.poller), [(3, 1), (3, 2)]);
    let [
        LaneCommand::Serve(first),
        LaneCommand::Discard { partition },
        LaneCommand::Serve(second),
    ] = &ended.lanes[0][..]
    else {
        panic!("{:?}", ended.lanes);
    };
    assert_eq!(
        (first.epoch, partition.0, second.epoch),
        (Epoch(1), 3, Epoch(2))
    );
}

#[test]
fn the_start_of_a_new_group_is_on_its_way_to_the_committer_before_the_partition_is_served() {
    let running = start(1);
    running.assign(&[one(0, 1), one(1, 2)]);
    running.restored(one(0, 1), true);
    running.restored(one(1, 2), false);
    let ended = running.stop();
    let [CommitterInput::Batch(start, _)] = &ended.committer[..] else {
        panic!("{:?}", ended.committer);
    };
    assert_eq!((start.partition, start.epoch), (PartitionId(0), Epoch(1)));
    assert_eq!((start.from, start.to, start.len()), (next(17), next(17), 0));
    let metadata = CommitMetadata::decode(&start.metadata).unwrap();
    assert_eq!((metadata.rebuild.offset, metadata.checksum), (next(17), 0));
    assert_eq!(ended.lanes[0].len(), 2);
}

#[test]
fn what_is_lost_is_discarded_and_what_is_revoked_is_released_by_its_lane() {
    let running = start(1);
    running.assign(&[one(0, 1), one(1, 2), one(2, 3)]);
    running.restored(one(0, 1), false);
    running.restored(one(1, 2), false);
    let lost = RebalanceEvent::Lost(vec![PartitionId(0), PartitionId(2)]);
    running.send(AssignerInput::Rebalance(lost));
    running.restored(one(2, 3), false);
    // One that is served, one that was lost, and one that was never here.
    let wait = running.revoke(&[1, 2, 9]);
    let mut ended = running.stop();
    assert_eq!(read(&ended.poller), [(0, 1), (1, 2)]);
    let commands = ended.lanes.remove(0);
    assert_eq!(wait.try_recv(), Err(TryRecvError::Empty));
    let [
        LaneCommand::Serve(_),
        LaneCommand::Serve(_),
        LaneCommand::Discard {
            partition: discarded,
        },
        LaneCommand::Release {
            partition: revoked, ..
        },
    ] = &commands[..]
    else {
        panic!("{commands:?}");
    };
    assert_eq!((discarded.0, revoked.0), (0, 1));
    drop(commands);
    assert_eq!(wait.recv_timeout(DEADLINE), DISCONNECTED);
}

#[test]
fn partitions_are_spread_over_the_lanes_also_after_some_have_gone() {
    let running = start(3);
    let assigned: Vec<_> = (0..6).map(|id| one(id, 1)).collect();
    running.assign(&assigned);
    for one in &assigned {
        running.restored(*one, false);
    }
    let lost = RebalanceEvent::Lost(vec![PartitionId(0), PartitionId(3)]);
    running.send(AssignerInput::Rebalance(lost));
    let more: Vec<_> = (6..8).map(|id| one(id, 2)).collect();
    running.assign(&more);
    for one in &more {
        running.restored(*one, false);
    }
    let ended = running.stop();
    let serves = |lane: &Vec<LaneCommand>| {
        let served = lane.iter();
        served
            .filter(|command| matches!(command, LaneCommand::Serve(_)))
            .count()
    };
    assert_eq!(
        ended.lanes.iter().map(serves).collect::<Vec<_>>(),
        [4, 2, 2]
    );
}

#[test]
fn no_hook_waits_for_a_lane_that_has_ended() {
    let mut running = start(1);
    running.assign(&[one(0, 1)]);
    running.restored(one(0, 1), false);
    running.lanes.clear();
    let wait = running.revoke(&[0]);
    assert_eq!(wait.recv_timeout(DEADLINE), DISCONNECTED);
    let ended = running.thread.join().unwrap();
    assert!(
        matches!(ended, Err(AssignerError::Gone("a lane"))),
        "{ended:?}"
    );
}

#[test]
fn no_hook_waits_for_an_assigner_that_has_ended() {
    let running = start(1);
    running.assign(&[one(0, 1)]);
    running.send(AssignerInput::Failed(RestoreError::OutOfRange {
        topic: rig::TOPIC.to_owned(),
        partition: PartitionId(0),
        committed: next(5),
        log_start: next(7),
        log_end: next(9),
    }));
    let (released, wait) = sync_channel(1);
    // Taken, or given back as an error when the assigner was quicker: neither may keep the sender.
    drop(
        running
            .inputs
            .send(AssignerInput::Rebalance(RebalanceEvent::Revoked {
                partitions: vec![PartitionId(0)],
                released,
            })),
    );
    let ended = running.thread.join().unwrap();
    assert!(matches!(ended, Err(AssignerError::Restore(_))), "{ended:?}");
    drop(running.inputs);
    assert_eq!(wait.recv_timeout(DEADLINE), DISCONNECTED);
}

#[test]
fn a_lane_that_hangs_takes_no_partition_while_another_one_can() {
    let running = start(2);
    let hung = |lane| HungLane {
        lane,
        partitions: Vec::new(),
        since: Instant::now(),
        in_run: true,
    };
    running.assign(&[one(1, 1), one(2, 1), one(3, 1)]);
    running.hangs.send_replace(vec![hung(0)]);
    running.restored(one(1, 1), false);
    running.restored(one(2, 1), false);
    // The roster says when both are served.
    let mut roster = running.roster.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let served = runtime.block_on(roster.wait_for(|it| it.serving == 2));
    drop(served.unwrap());
    running.hangs.send_replace(vec![hung(0), hung(1)]);
    running.restored(one(3, 1), false);
    let ended = running.stop();
    assert_eq!((ended.lanes[0].len(), ended.lanes[1].len()), (1, 2));
}
