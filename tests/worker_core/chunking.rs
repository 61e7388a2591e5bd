//! Results do not depend on how records come in, how many share a run, or who else is on the lane.

use foretell::window::WindowConfig;

use crate::rig::{self, Input, Partition, Random, Whole};
use crate::stream::golden;

const LENGTH: usize = 64;

/// Six partitions: both streams, each also without its beginning and with other records between.
fn partitions() -> Vec<Vec<Input>> {
    let streams = ["plain", "disturbed"].map(|name| golden(name).1);
    let mut random = Random(11);
    let mut partitions = Vec::new();
    for (at, inputs) in (0..6).zip(streams.iter().cycle()) {
        let mut offset = -1;
        let kept = inputs.iter().skip(at * 20).map(|input| {
            offset += random.int(1, 3);
            let poison = random.below(30) == 0;
            Input {
                offset,
                value: match (&input.value, random.below(2)) {
                    (Some(value), 0) if poison => Some(value[..value.len() / 2].to_vec()),
                    (Some(_), _) if poison => None,
                    (value, _) => value.clone(),
                },
                ..input.clone()
            }
        });
        partitions.push(kept.collect());
    }
    partitions
}

/// What each of these partitions led to, all of them on one lane.
fn outputs(
    (path, batch_max): (&str, usize),
    partitions: &[(i32, &Vec<Input>)],
    longest: usize,
    seed: u64,
) -> Vec<Whole> {
    let mut random = Random(seed);
    let windows = WindowConfig::new(rig::settings(LENGTH, 3)).unwrap();
    let served = partitions.iter().map(|(id, inputs)| {
        Partition::fresh(*id, windows, rig::chunks(inputs, longest, &mut random))
    });
    let served = served.collect();
    let settings = rig::lane_settings(batch_max, None);
    let batches = rig::run(rig::model(path, LENGTH), settings, served, seed);
    for batch in &batches {
        assert!(
            batch.len() <= batch_max.max(1) * 5,
            "{} outputs",
            batch.len()
        );
    }
    partitions
        .iter()
        .map(|(id, _)| rig::whole(&batches, *id))
        .collect()
}

#[test]
fn any_chunking_any_batch_and_any_company_give_the_same_bytes_in_the_same_order() {
    let partitions = partitions();
    let numbered: Vec<(i32, &Vec<Input>)> = (0..).zip(&partitions).collect();
    for path in [
        "tests/models/gru_quantiles.onnx",
        "tests/models/linear_recursive.onnx",
        "demo/last_value.onnx",
    ] {
        let alone: Vec<Whole> = numbered
            .iter()
            .flat_map(|one| outputs((path, 256), std::slice::from_ref(one), 1_000, 1))
            .collect();
        let forecasts: u64 = alone
            .iter()
            .map(|whole| whole.outcomes.get(foretell::domain::Outcome::Forecast))
            .sum();
        assert!(forecasts > 300, "{forecasts} forecasts");
        for (seed, batch_max) in (2..).zip([1, 3, 8, 64, 256]) {
            for (lane, longest) in [
                (&numbered[..], 7),
                (&numbered[1..4], 60),
                (&numbered[5..], 1),
            ] {
                let together = outputs((path, batch_max), lane, longest, seed);
                for ((id, _), whole) in lane.iter().zip(&together) {
                    let expected = &alone[usize::try_from(*id).unwrap()];
                    assert!(
                        whole == expected,
                        "{path}: partition {id} differs at batch_max {batch_max}, seed {seed}"
                    );
                }
            }
        }
    }
}
