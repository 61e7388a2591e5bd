//! Every forecast of real cell traffic against an oracle in Python.

use std::collections::BTreeMap;

use foretell::domain::Outcome;
use foretell::produce::Destination;
use foretell::window::WindowConfig;
use sha2::{Digest, Sha256};

use crate::avro::{Forecast, Forecasts};
use crate::rig::{self, Partition, TOPIC, Whole};
use crate::stream::{Expected, Golden, golden};

/// Relative to the expected value, or to 1 where that is smaller: the values are counts.
const TOLERANCE: f64 = 1e-6;

const MODELS: [(&str, &str); 3] = [
    ("last_value", "demo/last_value.onnx"),
    ("gru_quantiles", "tests/models/gru_quantiles.onnx"),
    ("linear_recursive", "tests/models/linear_recursive.onnx"),
];

#[test]
fn measured_traffic_gives_the_forecasts_of_the_oracle() {
    for (name, path) in MODELS {
        check("plain", name, path);
    }
}

#[test]
fn disturbed_traffic_gives_the_forecasts_of_the_oracle() {
    for (name, path) in MODELS {
        check("disturbed", name, path);
    }
}

fn check(stream: &str, name: &str, path: &str) {
    let (golden, inputs) = golden(stream);
    let windows = WindowConfig::new(rig::settings(64, 3)).unwrap();
    let batches = rig::chunks(&inputs, 40, &mut rig::Random(1));
    let partition = Partition::fresh(0, windows, batches);
    let model = rig::model(path, 64);
    let settings = rig::lane_settings(64, None);
    let whole = rig::whole(&rig::run(model, settings, vec![partition], 1), 0);
    check_forecasts(&golden.forecasts[name], &whole, path);
    check_outcomes(&golden, golden.forecasts[name].len(), &whole);
}

fn check_forecasts(expected: &[Expected], whole: &Whole, path: &str) {
    let package = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let digest = format!("{:x}", HexDigest(Sha256::digest(package.unwrap()).to_vec()));
    let reader = Forecasts::new();
    let forecasts: Vec<_> = whole
        .sent
        .iter()
        .filter(|sent| sent.destination == Destination::Forecasts)
        .collect();
    assert_eq!(forecasts.len(), expected.len(), "{:?}", whole.outcomes);
    let mut largest = 0.0_f64;
    for (sent, Expected(offset, origin, imputed, window_hash, values)) in
        forecasts.into_iter().zip(expected)
    {
        let forecast = reader.decode(sent.value.as_deref().unwrap());
        assert_eq!(sent.key.as_deref(), Some(forecast.series.as_bytes()));
        let Forecast {
            source,
            origin: found_origin,
            ..
        } = &forecast;
        assert_eq!((source.offset, found_origin), (*offset, origin));
        assert_eq!((&*source.topic, source.partition), (TOPIC, 0));
        assert_eq!(forecast.imputed, *imputed, "imputed cells at {offset}");
        assert_eq!(forecast.window_hash, *window_hash, "window of {offset}");
        assert_eq!((forecast.partial, forecast.step_ms), (false, rig::STEP_MS));
        assert_eq!(forecast.model.digest, digest);
        let found = forecast.values();
        assert_eq!(found.len(), values.len());
        for (ours, theirs) in found.iter().zip(values) {
            let error = (ours - theirs).abs() / theirs.abs().max(1.0);
            largest = largest.max(error);
            assert!(error <= TOLERANCE, "{ours} is not {theirs} at {offset}");
        }
    }
    rig::show(format_args!(
        "{path}: {} forecasts, largest error {largest:.1e}",
        expected.len()
    ));
}

fn check_outcomes(golden: &Golden, forecasts: usize, whole: &Whole) {
    let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in &golden.outcomes {
        *expected.entry(outcome).or_default() += 1;
    }
    *expected.get_mut("folded").unwrap() -= forecasts;
    expected.insert("forecast", forecasts);
    expected.retain(|_, count| *count > 0);
    let found: BTreeMap<&str, usize> = whole
        .outcomes
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(outcome, count)| {
            let name = match outcome {
                Outcome::Rejected(rejection) => rejection.label(),
                Outcome::Forecast
                | Outcome::Folded
                | Outcome::LateFilled
                | Outcome::Duplicate
                | Outcome::Held
                | Outcome::Expired
                | Outcome::Tombstone
                | Outcome::ForecastFailed => outcome.label(),
            };
            (name, usize::try_from(count).unwrap())
        })
        .collect();
    assert_eq!(found, expected);
}

/// Bytes as lower-case hexadecimal.
struct HexDigest(Vec<u8>);

impl std::fmt::LowerHex for HexDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
