//! Models that hang, run by a real ONNX Runtime: runs are stopped, rows fail alone, and a lane shows where
//! it is while it cannot answer. And what the watchdog decides, look by look, without a clock.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use foretell::app::stop_overdue;
use foretell::domain::{Epoch, Outcome, PartitionId, RunDeadline, Timestamp};
use foretell::infer::{Batch, Forecaster, RowFailure, RunUnderWay, RunWatch};
use foretell::partition::{
    Lane, LaneCommand, LaneHealth, LaneWatch, Look, Pulse, Seen, Serving, WatchLimits,
};
use foretell::produce::{CommitterInput, DETAIL_HEADER, Destination};
use foretell::window::WindowConfig;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::avro::Observations;
use crate::rig::{self, Input, LIMITS, NOW, STEP_MS, next};

/// Loops for ever while a row of its run has the value [`MARK`].
const HANGS: &str = "tests/models/hangs_on_some.onnx";
const MARK: f64 = 1e15;
/// For what comes in no time unless it never comes.
const PATIENCE: Duration = Duration::from_mins(1);
const DEADLINE: RunDeadline = RunDeadline(Duration::from_millis(100));

/// A model whose runs have a deadline, and a watchdog that sees to it.
fn watched() -> Forecaster {
    let mut forecaster = rig::model(HANGS, 24).forecaster;
    stop_overdue(forecaster.watch(DEADLINE), DEADLINE).unwrap();
    forecaster
}

/// Windows of the model, of which some are marked.
fn batch(forecaster: &Forecaster, marked: &[bool]) -> Batch {
    let mut batch = Batch::new(forecaster.package(), marked.len());
    for is_marked in marked {
        let down = if *is_marked { MARK } else { 2e8 };
        batch.push(&[1e8, 1e6, 1e3, down, 2e6, 2e3], Timestamp(0));
    }
    batch
}

/// Waits until `found` gives something.
fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} never came");
        thread::yield_now();
    }
}

#[track_caller]
fn assert_rows(forecaster: &mut Forecaster, marked: &[bool], stopped: u32) {
    let batch = batch(forecaster, marked);
    let outputs = forecaster.run(&batch).unwrap();
    assert_eq!(outputs.len(), marked.len());
    for (row, is_marked) in marked.iter().enumerate() {
        let failure = outputs.row(row).err();
        assert_eq!(failure, is_marked.then_some(&RowFailure::Stopped), "{row}");
    }
    assert_eq!(outputs.stopped_runs(), stopped);
}

#[test]
fn a_run_that_hangs_is_stopped_and_only_its_own_row_fails() {
    let mut forecaster = watched();
    // Together, then alone.
    assert_rows(&mut forecaster, &[false, false, true, false], 2);
    // The brake is off again.
    assert_rows(&mut forecaster, &[false; 4], 0);
    // Alone twice: once may have been the machine.
    assert_rows(&mut forecaster, &[true], 2);
    assert_rows(&mut forecaster, &[false], 0);
}

#[test]
fn a_model_that_hangs_on_every_row_cannot_hold_a_batch_for_ever() {
    let mut forecaster = watched();
    // One of all, and one each: those that share the mark have been stopped once before.
    assert_rows(&mut forecaster, &[true; 30], 31);
}

/// A lane with one partition whose model hangs, and nobody who stops it but the test.
struct HangingLane {
    pulse: Pulse,
    runs: RunWatch,
    outputs: mpsc::Receiver<CommitterInput>,
    commands: mpsc::Sender<LaneCommand>,
    thread: thread::JoinHandle<()>,
}

fn hanging_lane() -> HangingLane {
    let observations = Observations::new();
    let input = |offset: i64, series: &str, down: f64| {
        let time = NOW.0 - NOW.0 % STEP_MS + offset / 2 * STEP_MS;
        let cells = [1.0, down, 1e6, 1e3].map(Some);
        Input {
            offset,
            timestamp: Some(time),
            key: Some(series.into()),
            value: Some(observations.encode(series, time, &cells)),
            headers: Vec::new(),
        }
    };
    let inputs: Vec<_> = (0..4)
        .map(|offset| match offset % 2 {
            0 => input(offset, "sound", 2e8),
            _ => input(offset, "marked", MARK),
        })
        .collect();
    let (commands, lane_commands) = mpsc::channel(4);
    let (to_committer, outputs) = mpsc::channel(16);
    let mut model = rig::model(HANGS, 24);
    let runs = model.forecaster.watch(RunDeadline(PATIENCE));
    let settings = rig::lane_settings(8, None);
    let pulse = settings.pulse.clone();
    let wake = Arc::new(Notify::new());
    let lane = Lane::new(
        settings,
        lane_commands,
        Arc::clone(&wake),
        to_committer,
        rig::alone(model),
    );
    let (feed, receiver) = foretell::consume::queue(LIMITS, wake);
    assert!(feed.send(rig::batch(&inputs)));
    let step = rig::step(WindowConfig::new(rig::settings(24, 3)).unwrap());
    let serving = Serving::new((PartitionId(7), Epoch(1)), step, next(0), receiver);
    let serve = LaneCommand::Serve(Box::new(serving));
    commands.try_send(serve).unwrap();
    HangingLane {
        pulse,
        runs,
        outputs,
        commands,
        thread: thread::spawn(move || rig::block_on(lane.run()).unwrap()),
    }
}

#[test]
fn a_lane_that_hangs_shows_where_it_is_and_goes_on_once_its_run_is_stopped() {
    let mut lane = hanging_lane();
    let together = wait_for("the run", || lane.runs.under_way());
    let round = lane.pulse.round();
    assert!(round.is_some());
    assert_eq!(lane.pulse.partitions(), [PartitionId(7)]);
    lane.runs.stop(together.number);
    // The row that is sound may be seen on its way.
    let alone = wait_for("the run of the marked row", || {
        let run = lane.runs.under_way()?;
        (run.number == together.number + 2).then_some(run)
    });
    assert_eq!(lane.pulse.round(), round);
    // Neither a run that has ended nor one that is still to come.
    lane.runs.stop(together.number);
    lane.runs.stop(alone.number + 1);
    assert_eq!(lane.runs.under_way(), Some(alone));
    lane.runs.stop(alone.number);
    let Some(CommitterInput::Batch(output, _)) = lane.outputs.blocking_recv() else {
        panic!("no output");
    };
    let ends = [Outcome::Folded, Outcome::Forecast, Outcome::ForecastFailed];
    assert_eq!(ends.map(|end| output.outcomes.get(end)), [2, 1, 1]);
    let sent = rig::sent(&output);
    assert_eq!(sent[0].destination, Destination::Forecasts);
    assert_eq!(sent[1].key.as_deref(), Some(b"marked".as_slice()));
    let stopped = RowFailure::Stopped.to_string();
    assert_eq!(sent[1].header(DETAIL_HEADER), Some(&*stopped));
    assert_eq!((lane.pulse.round(), lane.runs.under_way()), (None, None));
    drop(lane.commands);
    lane.thread.join().unwrap();
    assert!(lane.pulse.is_alone() && lane.runs.is_alone());
}

const SECOND: Duration = Duration::from_secs(1);
const LOOKS: WatchLimits = WatchLimits {
    hung_after: Duration::from_secs(10),
    hung_max: Duration::from_secs(30),
    look_max: Duration::from_secs(4),
};

fn look(round: u64, run: Option<(u64, u64)>) -> Look {
    Look {
        round: Some(round),
        run: run.map(|(number, seconds)| RunUnderWay {
            number,
            allowed: Duration::from_secs(seconds),
            stopped: false,
        }),
    }
}

/// What is seen last, after so many looks a second apart.
fn after(watch: &mut LaneWatch, seconds: u32, what: Look) -> Seen {
    let mut looks = (0..seconds).map(|_| watch.look(what, SECOND, &LOOKS));
    looks.by_ref().last().unwrap()
}

#[test]
fn a_run_is_stopped_once_it_was_seen_for_longer_than_it_may_take() {
    let mut watch = LaneWatch::default();
    assert_eq!(after(&mut watch, 3, look(1, Some((1, 2)))).stop, None);
    assert_eq!(after(&mut watch, 1, look(1, Some((1, 2)))).stop, Some(1));
    // The next run of the same round begins anew, and may take less.
    assert_eq!(after(&mut watch, 2, look(1, Some((2, 1)))).stop, None);
    assert_eq!(after(&mut watch, 1, look(1, Some((2, 1)))).stop, Some(2));
    // Once is enough.
    let mut heedless = look(1, Some((2, 1)));
    heedless.run.as_mut().unwrap().stopped = true;
    assert_eq!(after(&mut watch, 5, heedless).stop, None);
    // Between two runs nothing ages.
    assert_eq!(after(&mut watch, 5, look(1, None)).stop, None);
    assert_eq!(after(&mut watch, 3, look(1, Some((3, 2)))).stop, None);
}

#[test]
fn a_lane_hangs_when_one_round_lasts_and_not_when_many_follow_each_other() {
    let mut watch = LaneWatch::default();
    for round in 0..100 {
        let seen = after(&mut watch, 3, look(round, None));
        assert_eq!(
            (seen.age, seen.health),
            (2 * SECOND, LaneHealth::Works),
            "{round}"
        );
    }
    for (seconds, health) in [
        (11, LaneHealth::Works),
        (1, LaneHealth::Hangs),
        (19, LaneHealth::Hangs),
        (1, LaneHealth::HangsForGood),
    ] {
        let seen = after(&mut watch, seconds, look(100, None));
        assert_eq!(seen.health, health, "{seen:?}");
    }
    let idle = after(&mut watch, 1, Look::default());
    assert_eq!((idle.age, idle.health), (Duration::ZERO, LaneHealth::Works));
}

#[test]
fn time_in_which_the_whole_process_stood_still_is_nobodys() {
    let mut watch = LaneWatch::default();
    let run = look(1, Some((1, 5)));
    after(&mut watch, 1, run);
    let hour = Duration::from_hours(1);
    assert_eq!(watch.look(run, hour, &LOOKS).age, LOOKS.look_max);
    assert_eq!(watch.look(run, SECOND, &LOOKS).stop, None);
    assert_eq!(watch.look(run, SECOND, &LOOKS).stop, Some(1));
}
