//! Restarts at random cuts: the metadata of an output batch, a replay that proves itself by it, and
//! from there on the very bytes of the run that was never interrupted, or forecasts that say `partial`.

use std::convert::Infallible;

use foretell::domain::{CommitMetadata, NextOffset};
use foretell::partition::{Finding, Fresh, RebuildPlan, Rebuilt, Step, rebuild};
use foretell::produce::{Destination, OutputBatch};
use foretell::window::WindowConfig;

use crate::avro::{Forecast, Forecasts};
use crate::hostile::Generator;
use crate::rig::{self, CONFIG_HASH, Input, Partition, Random, Whole, next};
use crate::stream::golden;

/// A stream, the windows it is folded into, and the model that reads them.
struct Case {
    log: Vec<Input>,
    windows: WindowConfig,
    length: usize,
    model: &'static str,
}

fn hostile(seed: u64, series_max: usize) -> Case {
    let mut settings = rig::settings(4, 2);
    settings.series_max = series_max;
    let made = Generator::new(seed, true).make(1_500);
    Case {
        log: made.into_iter().map(|made| made.input).collect(),
        windows: WindowConfig::new(settings).unwrap(),
        length: 4,
        model: "tests/models/one_row.onnx",
    }
}

fn measured(stream: &str) -> Case {
    Case {
        log: golden(stream).1,
        windows: WindowConfig::new(rig::settings(24, 3)).unwrap(),
        length: 24,
        model: "tests/models/gru_quantiles.onnx",
    }
}

impl Case {
    /// Output batches of a lane that starts with this state.
    fn run(&self, step: Option<Step>, from: NextOffset, random: &mut Random) -> Vec<OutputBatch> {
        let rest: Vec<Input> = self
            .log
            .iter()
            .filter(|input| input.offset >= from.get())
            .cloned()
            .collect();
        let mut partition = Partition::fresh(0, self.windows, rig::chunks(&rest, 10, random));
        partition.from = from;
        if let Some(step) = step {
            partition.step = step;
        }
        let model = rig::model(self.model, self.length);
        rig::run(model, rig::lane_settings(8, None), vec![partition], 1)
    }

    /// Carries out a plan on this log, and counts the records that each attempt read.
    fn rebuild(&self, plan: RebuildPlan) -> (Rebuilt, Vec<usize>) {
        let decoder = rig::decoder();
        let fresh = Fresh {
            windows: self.windows,
            decoder: &decoder,
        };
        let mut attempts = Vec::new();
        let mut ask = |_| panic!("these schemas are in a folder");
        let rebuilt = rebuild(fresh, plan, &mut ask, &mut |(from, to), fold| {
            let range = from.get()..to.get();
            let read: Vec<Input> = self
                .log
                .iter()
                .filter(|input| range.contains(&input.offset))
                .cloned()
                .collect();
            attempts.push(read.len());
            for records in read.chunks(100) {
                fold(&rig::batch(records));
            }
            Ok::<_, Infallible>(true)
        });
        let Ok(rebuilt) = rebuilt;
        let rebuilt = rebuilt.unwrap();
        assert_eq!(rebuilt.attempts.len(), attempts.len());
        (rebuilt, attempts)
    }
}

/// The plan of a worker that finds this output batch committed last.
fn plan(committed: &OutputBatch, log_start: NextOffset) -> RebuildPlan {
    RebuildPlan::proven(&committed.metadata, CONFIG_HASH, committed.to, log_start).unwrap()
}

fn forecasts(whole: &Whole) -> Vec<Forecast> {
    let reader = Forecasts::new();
    whole
        .sent
        .iter()
        .filter(|sent| sent.destination == Destination::Forecasts)
        .map(|sent| reader.decode(sent.value.as_deref().unwrap()))
        .collect()
}

/// Restarts at `cuts` random cuts and compares all that follows. Answers the records that the last
/// attempt of each restart read, after the number of attempts.
fn restarts(case: &Case, cuts: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let batches = case.run(None, NextOffset::ZERO, random);
    let mut seen = Vec::new();
    for _ in 0..cuts {
        let at = random.below(batches.len() - 1);
        let committed = &batches[at];
        let (rebuilt, attempts) = case.rebuild(plan(committed, NextOffset::ZERO));
        assert_eq!(rebuilt.finding, Finding::Agreed);
        let mut step = rebuilt.step;
        let metadata = CommitMetadata::decode(&committed.metadata).unwrap();
        assert_eq!(step.windows().checksum(), metadata.checksum);
        assert_eq!(step.lineage(), rig::lineage());
        // Not only what is proven: what a second restart would need is the same too, or earlier.
        let again = step.metadata(committed.to).rebuild.offset;
        assert!(again <= metadata.rebuild.offset, "{again}");
        let rest = rig::whole(&case.run(Some(step), committed.to, random), 0);
        let expected = rig::whole(&batches[at + 1..], 0);
        assert_eq!(rest.outcomes, expected.outcomes);
        assert!(rest.sent == expected.sent, "outputs differ after {at}");
        let (rest, expected) = (rest.metadata, expected.metadata);
        assert_eq!(decoded(&rest).checksum, decoded(&expected).checksum);
        seen.push((attempts.len(), attempts[attempts.len() - 1]));
    }
    seen
}

fn decoded(metadata: &str) -> CommitMetadata {
    CommitMetadata::decode(metadata).unwrap()
}

#[test]
fn an_orderly_stream_is_proven_by_the_first_attempt_and_goes_on_with_the_same_bytes() {
    let case = measured("plain");
    for (attempts, records) in restarts(&case, 40, &mut Random(21)) {
        assert_eq!(attempts, 1);
        // Three series, a row of each a round.
        assert!(records <= 3 * (24 + 3), "{records} records were read");
    }
}

#[test]
fn a_disorderly_stream_is_proven_by_some_attempt_and_goes_on_with_the_same_bytes() {
    let mut random = Random(22);
    let mut seen = restarts(&measured("disturbed"), 40, &mut random);
    for seed in 0..8 {
        seen.extend(restarts(&hostile(seed, 8), 30, &mut random));
    }
    let further_back = seen.iter().filter(|(attempts, _)| *attempts > 1).count();
    rig::show(format_args!(
        "{} restarts, {further_back} of them from further back, most attempts {:?}",
        seen.len(),
        seen.iter().map(|(attempts, _)| attempts).max()
    ));
    assert!(further_back >= 10, "{further_back} of {}", seen.len());
}

/// What came of restarts with a log that was trimmed above the rebuild offset.
#[derive(Debug, Default)]
struct Trimmed {
    /// Restarts that could be proven all the same.
    agreed: usize,
    partial: usize,
    /// Not partial, and what the run that was never interrupted published.
    same: usize,
    /// Neither.
    silent: usize,
}

/// Restarts after which the log starts at least `least` records before the cut.
fn trimmed(case: &Case, cuts: usize, least: i64, random: &mut Random) -> Trimmed {
    let mut seen = Trimmed::default();
    let batches = case.run(None, NextOffset::ZERO, random);
    for _ in 0..cuts {
        let at = 20 + random.below(batches.len() - 30);
        let committed = &batches[at];
        let rebuild = decoded(&committed.metadata).rebuild.offset.get();
        let newest = (committed.to.get() - least).max(rebuild);
        let log_start = next(random.int(rebuild, newest));
        let (Rebuilt { step, finding, .. }, _) = case.rebuild(plan(committed, log_start));
        let agreed = finding == Finding::Agreed;
        let whole_from = if agreed {
            NextOffset::ZERO
        } else {
            committed.to
        };
        assert_eq!(step.lineage().whole_from, whole_from);
        seen.agreed += usize::from(agreed);
        let rest = case.run(Some(step), committed.to, random);
        let found = forecasts(&rig::whole(&rest, 0));
        let expected = forecasts(&rig::whole(&batches[at + 1..], 0));
        for forecast in &found {
            if forecast.partial {
                seen.partial += 1;
            } else if expected.contains(forecast) {
                seen.same += 1;
            } else {
                seen.silent += 1;
            }
        }

        // A restart of what could not be proven is itself proven, and the flag stays where it is.
        let second = &rest[random.below(rest.len() - 1)];
        let second_plan = plan(second, log_start);
        let (again, _) = case.rebuild(second_plan.clone());
        assert_eq!(again.finding, Finding::Agreed);
        assert_eq!(again.step.lineage(), second_plan.lineage);
    }
    seen
}

#[test]
fn after_a_trimmed_log_every_forecast_is_partial_or_what_it_would_have_been() {
    // A row of each series is left.
    let seen = trimmed(&measured("plain"), 40, 3, &mut Random(23));
    rig::show(format_args!("{seen:?}"));
    assert_eq!(seen.silent, 0);
    assert!(seen.partial > 1_000 && seen.same > 1_000, "{seen:?}");
}

/// `partial` says that a window holds a row from before the restore. A series of which the trimmed
/// log has nothing left starts anew and is not seen by that, nor is a record that was held. Both need
/// retention shorter than the window; this holds how rare they are on the worst input.
#[test]
fn after_a_trimmed_log_even_the_worst_input_differs_silently_in_few_forecasts() {
    let mut random = Random(24);
    for seed in 10..14 {
        let seen = trimmed(&hostile(seed, 1_000), 20, 0, &mut random);
        rig::show(format_args!("{seen:?}"));
        assert!(seen.silent * 100 < seen.partial + seen.same, "{seen:?}");
    }
}

#[test]
fn without_metadata_forecasts_are_partial_until_their_windows_have_moved_on() {
    let case = measured("plain");
    let mut random = Random(25);
    let batches = case.run(None, NextOffset::ZERO, &mut random);
    let at = batches.len() / 2;
    let (committed, log_start) = (&batches[at], next(30));
    let unproven = RebuildPlan::unproven(CONFIG_HASH, committed.to, log_start);
    let (Rebuilt { step, finding, .. }, attempts) = case.rebuild(unproven);
    assert_eq!((finding, attempts.len()), (Finding::Unproven, 1));
    let rest = forecasts(&rig::whole(
        &case.run(Some(step), committed.to, &mut random),
        0,
    ));
    let expected = forecasts(&rig::whole(&batches[at + 1..], 0));
    let mut partial = 0;
    for (forecast, whole) in rest.iter().zip(&expected) {
        let row = (forecast.source.offset - committed.to.get()) / 3;
        assert_eq!(forecast.partial, row < 24 + 3 - 1, "row {row}");
        partial += usize::from(forecast.partial);
        let flagged = Forecast {
            partial: forecast.partial,
            ..whole.clone()
        };
        assert_eq!(*forecast, flagged);
    }
    assert_eq!(rest.len(), expected.len());
    assert!(partial > 0 && partial < rest.len());
}
