//! Every record ends as one outcome, the outcomes add up, and a bad record harms no other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foretell::domain::{DeadLetterReason, Outcome, OutcomeCounts, Rejection};
use foretell::partition::Step;
use foretell::produce::{
    DETAIL_HEADER, Destination, OutputBatch, REASON_HEADER, SOURCE_OFFSET_HEADER,
    SOURCE_PARTITION_HEADER, SOURCE_TIMESTAMP_HEADER, SOURCE_TOPIC_HEADER,
};
use foretell::window::{MissingPolicy, Table, WindowConfig};

use crate::avro::Forecasts;
use crate::hostile::{Generator, Intent, Made};
use crate::rig::{self, Input, Partition, Random, Sent, TOPIC};

const RECORDS: usize = 40_000;
/// How often every outcome and every reason must be reached.
const LEAST: u64 = 1_000;
/// Its forecast is NaN or infinite where a value is not above zero.
const MODEL: &str = "tests/models/not_finite.onnx";

const MODEL_OUTPUT_INVALID: &str = DeadLetterReason::ModelOutputInvalid.label();

fn windows(missing: MissingPolicy) -> WindowConfig {
    let mut settings = rig::settings(4, 2);
    settings.series_max = 8;
    settings.missing = missing;
    WindowConfig::new(settings).unwrap()
}

/// Two partitions, the second of which rejects records that lack a value.
fn hostile() -> [(MissingPolicy, Vec<Made>); 2] {
    [
        (MissingPolicy::Impute, Generator::new(5, true).make(RECORDS)),
        (
            MissingPolicy::Reject,
            Generator::new(6, false).make(RECORDS),
        ),
    ]
}

fn run<'a>(
    partitions: impl Iterator<Item = (i32, MissingPolicy, &'a [Input])>,
) -> Vec<OutputBatch> {
    let mut random = Random(3);
    let served = partitions.map(|(id, missing, inputs)| {
        Partition::fresh(id, windows(missing), rig::chunks(inputs, 100, &mut random))
    });
    let served = served.collect();
    rig::run(
        rig::model(MODEL, 4),
        rig::lane_settings(64, None),
        served,
        3,
    )
}

fn inputs(made: &[Made]) -> Vec<Input> {
    made.iter().map(|made| made.input.clone()).collect()
}

#[test]
fn every_outcome_and_every_reason_is_reached_and_the_counts_add_up() {
    let partitions = hostile();
    let all = partitions.each_ref().map(|(_, made)| inputs(made));
    let served = (0..).zip(&partitions).zip(&all);
    let batches = run(served.map(|((id, (missing, _)), inputs)| (id, *missing, &inputs[..])));

    let mut counts = OutcomeCounts::default();
    for batch in &batches {
        let range = batch.from.get()..batch.to.get();
        let partition = usize::try_from(batch.partition.0).unwrap();
        let records = all[partition]
            .iter()
            .filter(|input| range.contains(&input.offset))
            .count();
        assert_eq!(batch.outcomes.total(), u64::try_from(records).unwrap());
        let sent = rig::sent(batch);
        let of = |destination| {
            let matching = sent.iter().filter(|one| one.destination == destination);
            u64::try_from(matching.count()).unwrap()
        };
        assert_eq!(
            of(Destination::Forecasts),
            batch.outcomes.get(Outcome::Forecast)
        );
        let rejected = Rejection::ALL.map(|reason| batch.outcomes.get(Outcome::Rejected(reason)));
        assert_eq!(
            of(Destination::DeadLetters),
            rejected.iter().sum::<u64>() + batch.outcomes.get(Outcome::ForecastFailed)
        );
        counts.merge(&batch.outcomes);
    }
    assert_eq!(counts.total(), u64::try_from(2 * RECORDS).unwrap());
    for (outcome, count) in counts.iter() {
        let reason = if let Outcome::Rejected(reason) = outcome {
            reason.label()
        } else {
            ""
        };
        rig::show(format_args!(
            "{:>16} {reason:<22} {count:>6}",
            outcome.label()
        ));
        assert!(count >= LEAST, "{outcome:?} was reached {count} times");
    }
}

#[test]
fn dead_letters_carry_the_record_as_it_came_and_say_why() {
    for (id, (missing, made)) in (0..).zip(hostile()) {
        let all = inputs(&made);
        let batches = run([(id, missing, &all[..])].into_iter());
        let whole = rig::whole(&batches, id);
        let mut letters = BTreeMap::new();
        for sent in letters_of(&whole.sent) {
            let offset: i64 = sent.header(SOURCE_OFFSET_HEADER).unwrap().parse().unwrap();
            let twice = letters.insert(offset, sent);
            assert!(twice.is_none(), "two dead letters for {offset}");
        }
        let forecasts = Forecasts::new();
        let mut forecast = BTreeSet::new();
        for sent in &whole.sent {
            if sent.destination == Destination::Forecasts {
                let decoded = forecasts.decode(sent.value.as_deref().unwrap());
                assert!(decoded.values().iter().all(|value| value.is_finite()));
                assert!(forecast.insert(decoded.source.offset));
            }
        }
        for Made {
            input,
            intent,
            cells,
        } in &made
        {
            let letter = letters.remove(&input.offset);
            let reason = letter.map(|letter| check_letter(letter, input, id));
            match intent {
                Intent::Open => {}
                Intent::Tombstone => assert_eq!(reason, None),
                Intent::Rejected(rejection) => {
                    // A series that was evicted may find no room when it comes back.
                    let no_room = reason == Some("too_many_series");
                    assert!(no_room || reason == Some(rejection.label()), "{reason:?}");
                }
            }
            let has_forecast = forecast.remove(&input.offset);
            assert!(!has_forecast || reason.is_none());
            if cells.iter().all(Option::is_some) {
                let sound = cells[1..].iter().flatten().all(|cell| *cell > 0.0);
                assert!(sound || !has_forecast, "{} was published", input.offset);
                assert!(!sound || reason != Some(MODEL_OUTPUT_INVALID));
            }
        }
        assert!(letters.is_empty() && forecast.is_empty());
    }
}

fn letters_of(sent: &[Sent]) -> impl Iterator<Item = &Sent> {
    sent.iter()
        .filter(|sent| sent.destination == Destination::DeadLetters)
}

/// The reason of a dead letter, once everything else in it is right.
fn check_letter<'a>(letter: &'a Sent, input: &Input, partition: i32) -> &'a str {
    assert_eq!(letter.key, input.key);
    assert_eq!(letter.value, input.value);
    assert_eq!(letter.header(SOURCE_TOPIC_HEADER), Some(TOPIC));
    let partition = partition.to_string();
    assert_eq!(letter.header(SOURCE_PARTITION_HEADER), Some(&*partition));
    let timestamp = input.timestamp.map(|at| at.to_string());
    assert_eq!(letter.header(SOURCE_TIMESTAMP_HEADER), timestamp.as_deref());
    let reason = letter.header(REASON_HEADER).unwrap();
    let explained = ["undecodable", "unknown_schema", "model_output_invalid"];
    assert_eq!(
        letter.header(DETAIL_HEADER).is_some(),
        explained.contains(&reason)
    );
    reason
}

#[test]
fn without_the_bad_records_everything_else_is_the_same() {
    for (id, (missing, made)) in (0..).zip(hostile()) {
        let all = inputs(&made);
        let whole = rig::whole(&run([(id, missing, &all[..])].into_iter()), id);
        let rejected: BTreeSet<i64> = letters_of(&whole.sent)
            .filter(|letter| letter.header(REASON_HEADER) != Some(MODEL_OUTPUT_INVALID))
            .map(|letter| {
                letter
                    .header(SOURCE_OFFSET_HEADER)
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        assert!(rejected.len() > 5_000);
        let kept: Vec<Input> = all
            .into_iter()
            .filter(|input| input.value.is_some() && !rejected.contains(&input.offset))
            .collect();
        let alone = rig::whole(&run([(id, missing, &kept[..])].into_iter()), id);
        assert_eq!(alone.metadata, whole.metadata);
        let is_rejected = |sent: &&Sent| {
            sent.header(REASON_HEADER)
                .is_none_or(|reason| reason == MODEL_OUTPUT_INVALID)
        };
        let neighbours: Vec<_> = whole.sent.iter().filter(is_rejected).collect();
        assert_eq!(neighbours.len(), alone.sent.len());
        for (neighbour, sent) in neighbours.into_iter().zip(&alone.sent) {
            assert_eq!(neighbour, sent);
        }
    }
}

#[test]
fn a_forecast_of_a_record_older_than_max_age_is_not_published_and_its_state_is_kept() {
    let observations = crate::avro::Observations::new();
    let first = 1_522_800_000_000 / rig::STEP_MS;
    let hour_ms = 3_600_000;
    let stamps = [rig::NOW.0 - hour_ms - 1, rig::NOW.0 - hour_ms];
    let inputs: Vec<Input> = (0..2_000)
        .map(|at| Input {
            offset: at,
            // Just too old and just not, by turns of ten; the observations themselves are all of 2018.
            timestamp: Some(stamps[usize::try_from(at / 10 % 2).unwrap()]),
            key: None,
            value: Some(observations.encode(
                "cell",
                (first + at / 3) * rig::STEP_MS,
                &[Some(1.0); 4],
            )),
            headers: Vec::new(),
        })
        .collect();
    let run = |max_age: Option<Duration>| {
        let batches = vec![rig::batch(&inputs)];
        let partition = Partition::fresh(0, windows(MissingPolicy::Impute), batches);
        let settings = rig::lane_settings(64, max_age);
        rig::whole(
            &rig::run(rig::model(MODEL, 4), settings, vec![partition], 1),
            0,
        )
    };
    let all = run(None);
    let fresh = run(Some(Duration::from_hours(1)));
    assert_eq!(all.metadata, fresh.metadata);
    let reader = Forecasts::new();
    let is_new = |sent: &&Sent| {
        let offset = reader.decode(sent.value.as_deref().unwrap()).source.offset;
        inputs[usize::try_from(offset).unwrap()].timestamp == Some(stamps[1])
    };
    assert!(all.sent.iter().filter(is_new).eq(fresh.sent.iter()));
    let expired = fresh.outcomes.get(Outcome::Expired);
    let published = fresh.outcomes.get(Outcome::Forecast);
    assert!(expired > 300 && published > 300, "{expired} {published}");
    assert_eq!(expired + published, all.outcomes.get(Outcome::Forecast));
}

#[test]
fn named_headers_are_carried_on_and_one_that_is_too_large_is_left_behind() {
    let observations = crate::avro::Observations::new();
    let huge = vec![b'x'; 1 << 20];
    let inputs: Vec<Input> = (0..8)
        .map(|at| Input {
            offset: at,
            timestamp: Some((12_690_000 + at) * rig::STEP_MS),
            key: None,
            value: Some(observations.encode(
                "cell",
                (12_690_000 + at) * rig::STEP_MS,
                &[Some(1.0); 4],
            )),
            headers: vec![
                ("traceparent", huge.clone()),
                ("deadline_ms", b"9000000000000".to_vec()),
                ("traceparent", b"00-17".to_vec()),
            ],
        })
        .collect();
    let partition = Partition::fresh(0, windows(MissingPolicy::Impute), vec![rig::batch(&inputs)]);
    let settings = rig::lane_settings(64, None);
    let whole = rig::whole(
        &rig::run(rig::model(MODEL, 4), settings, vec![partition], 1),
        0,
    );
    assert_eq!(whole.sent.len(), 7);
    for sent in &whole.sent {
        let names: Vec<&str> = sent.headers.iter().map(|(name, _)| &**name).collect();
        assert_eq!(
            names,
            [
                "foretell.runtime",
                "traceparent",
                "foretell.headers_left_out"
            ]
        );
        assert_eq!(sent.header("traceparent"), Some("00-17"));
    }
}

#[test]
fn watching_when_a_value_is_decoded_changes_nothing_and_sees_every_value_once() {
    for (missing, made) in hostile() {
        let new = || Step::new(rig::decoder(), Table::new(windows(missing)), rig::lineage());
        let (mut plain, mut watched) = (new(), new());
        for record in rig::batch(&inputs(&made)).iter() {
            let mut seen = 0;
            let stepped = watched.fold_watched(&record, None, |_reading| {
                seen += 1;
                true
            });
            assert_eq!(stepped, plain.fold(&record, None));
            assert_eq!(seen, usize::from(record.value.is_some()));
        }
        assert_eq!(plain.windows().checksum(), watched.windows().checksum());
    }
}
