//! Forecasts of the sample models against an independent oracle, and what becomes of rows that a
//! model fails on. The golden vectors are written by `tests/oracle/golden.py`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "models/mod.rs"]
mod models;

use std::path::Path;
use std::sync::Arc;

use foretell::infer::{Batching, Contract, Forecaster, RowFailure, RowForecast, WindowFeatures};
use models::{batch, forecaster, package, runtime};
use serde_json::Value;

/// Relative, and absolute below one unit of the target.
const TOLERANCE: f64 = 1e-6;

struct Golden {
    origin_ms: i64,
    values: Vec<f64>,
    forecast: Option<Value>,
}

fn golden(name: &str) -> Vec<Golden> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/oracle/forecasts/{name}.json"));
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    rows.iter()
        .map(|row| Golden {
            origin_ms: row["origin_ms"].as_i64().unwrap(),
            values: row["values"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(numbers)
                .collect(),
            forecast: Some(&row["forecast"])
                .filter(|forecast| !forecast.is_null())
                .cloned(),
        })
        .collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|number| number.as_f64().unwrap()).collect()
}

#[track_caller]
fn assert_close(found: &[f64], wanted: &[f64], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (a, b) in found.iter().zip(wanted) {
        let error = (a - b).abs() / b.abs().max(1.0);
        assert!(error <= TOLERANCE, "{what}: {a}, expected {b}");
    }
}

#[track_caller]
fn assert_forecast(contract: &Contract, found: RowForecast<'_>, wanted: &Value) {
    for (target, name) in contract.targets().enumerate() {
        let expected = &wanted[name];
        assert_close(found.mean(target), &numbers(&expected["mean"]), name);
        let quantiles = expected["quantiles"].as_array().unwrap();
        assert_eq!(quantiles.len(), contract.quantiles().len());
        for (quantile, values) in quantiles.iter().enumerate() {
            assert_close(found.quantile(target, quantile), &numbers(values), name);
        }
    }
}

#[track_caller]
fn check(name: &str, batching: Batching) {
    let package = package(name);
    let golden = golden(name);
    let rows: Vec<(&[f64], i64)> = golden
        .iter()
        .map(|row| (row.values.as_slice(), row.origin_ms))
        .collect();
    let batch = batch(&package, &rows);
    let mut forecaster = Forecaster::new(&runtime(), Arc::clone(&package), batching).unwrap();
    // Twice, so that memory kept from a run shows if it leaks into the next.
    for _ in 0..2 {
        let outputs = forecaster.run(&batch).unwrap();
        assert_eq!(outputs.len(), golden.len());
        for (index, row) in golden.iter().enumerate() {
            match (&row.forecast, outputs.row(index)) {
                (Some(wanted), Ok(found)) => assert_forecast(package.contract(), found, wanted),
                (None, Err(RowFailure::NotFinite)) => {}
                (wanted, found) => panic!("{name} row {index}: {found:?}, expected {wanted:?}"),
            }
        }
    }
}

#[track_caller]
fn check_both(name: &str) {
    check(name, Batching::Together);
    check(name, Batching::RowByRow);
}

#[test]
fn last_value_agrees_with_the_oracle() {
    check_both("last_value");
}

#[test]
fn a_gru_with_calendar_and_quantiles_agrees_with_the_oracle() {
    check_both("gru_quantiles");
}

#[test]
fn a_recursion_with_calendar_agrees_with_the_oracle() {
    check_both("linear_recursive");
}

#[test]
fn the_models_of_the_benches_agree_with_the_oracle() {
    check_both("gru64");
    check_both("mlp");
}

#[test]
fn a_graph_of_one_row_agrees_with_the_oracle_and_runs_row_by_row() {
    check("one_row", Batching::Together);
    assert_eq!(forecaster("one_row").batching(), Batching::RowByRow);
}

#[test]
fn only_rows_with_nan_or_infinite_outputs_have_no_forecast() {
    assert!(
        golden("not_finite")
            .iter()
            .any(|row| row.forecast.is_none())
    );
    check_both("not_finite");
}

#[test]
fn last_value_repeats_the_last_value() {
    let package = package("last_value");
    let mut values = vec![1.0; 64 * 3];
    values[63 * 3..].copy_from_slice(&[2.5e8, 4.0e6, 7_321.0]);
    let mut forecaster = forecaster("last_value");
    let foreign = batch(&package, &[(&values, 0)]);
    assert!(
        forecaster.run(&foreign).is_err(),
        "the batch is of another reading of the file"
    );
    let own = batch(forecaster.package(), &[(&values, 0)]);
    let outputs = forecaster.run(&own).unwrap();
    let row = outputs.row(0).unwrap();
    for (target, value) in [2.5e8, 4.0e6, 7_321.0].into_iter().enumerate() {
        assert_close(row.mean(target), &[value; 12], "mean");
    }
}

#[test]
fn a_row_that_fails_a_run_leaves_its_neighbours_their_forecasts() {
    let mut forecaster = forecaster("fails_on_some");
    let package = Arc::clone(forecaster.package());
    let [good, bad] = [[150.0], [900.0]];
    let rows: Vec<(&[f64], i64)> = vec![(&good, 0), (&bad, 0), (&good, 0)];
    let outputs = forecaster.run(&batch(&package, &rows)).unwrap();
    let valid: Vec<bool> = (0..3).map(|row| outputs.row(row).is_ok()).collect();
    assert_eq!(valid, [true, false, true]);
    assert!(outputs.failed_run().unwrap().contains("Gather"));
    assert_close(outputs.row(2).unwrap().mean(0), &[150.0], "mean");

    let alone = forecaster.run(&batch(&package, &[(&bad, 0)])).unwrap();
    assert!(alone.row(0).is_err() && alone.failed_run().is_some());
    let after = forecaster.run(&batch(&package, &[(&good, 0)])).unwrap();
    assert!(after.row(0).is_ok() && after.failed_run().is_none());
}

#[test]
fn a_row_has_the_same_failure_in_any_company() {
    let mut model = forecaster("fails_on_some");
    let package = Arc::clone(model.package());
    // Good ones, two that fail in different words, and two whose input is no float32, one of which
    // would fail its run too.
    let values = [150.0, 900.0, 1e300, 250.0, f64::NAN, -2_000.0].map(|value| [value]);
    let mut verdicts = |windows: &[(&[f64], i64)]| -> Vec<Result<Vec<f64>, RowFailure>> {
        let outputs = model.run(&batch(&package, windows)).unwrap();
        let rows = (0..outputs.len()).map(|row| outputs.row(row));
        rows.map(|row| row.map(|forecast| forecast.values().to_vec()))
            .map(|row| row.map_err(RowFailure::clone))
            .collect()
    };
    let rows: Vec<(&[f64], i64)> = values.iter().map(|row| (&row[..], 0)).collect();
    let alone: Vec<_> = rows.iter().flat_map(|row| verdicts(&[*row])).collect();
    let is_run = |row: &Result<_, _>| matches!(row, Err(RowFailure::Run(_)));
    assert!(alone[0].is_ok() && alone[3].is_ok());
    assert!(is_run(&alone[1]) && is_run(&alone[5]) && alone[1] != alone[5]);
    assert_eq!(alone[2], Err(RowFailure::InputOutOfRange));
    assert_eq!(alone[4], Err(RowFailure::InputOutOfRange));
    for first in 0..rows.len() {
        for end in first + 1..=rows.len() {
            assert_eq!(verdicts(&rows[first..end]), alone[first..end]);
        }
    }
}

#[test]
fn a_batch_larger_than_a_run_keeps_its_rows_in_order() {
    let mut forecaster = forecaster("fails_on_some");
    let package = Arc::clone(forecaster.package());
    // Values 0 to 299 look up the first three entries of the table; row 100 fails its run.
    let values: Vec<[f64; 1]> = (0..300)
        .map(|row| [if row == 100 { 900.0 } else { f64::from(row) }])
        .collect();
    for rows in [63, 64, 65, 128, 300] {
        let windows: Vec<(&[f64], i64)> = values[..rows].iter().map(|row| (&row[..], 0)).collect();
        let batch = batch(&package, &windows);
        let outputs = forecaster.run(&batch).unwrap();
        assert_eq!(outputs.len(), rows);
        for (row, [value]) in values[..rows].iter().enumerate() {
            let found = outputs.row(row).ok().map(|forecast| forecast.mean(0)[0]);
            let entry = value.div_euclid(100.0);
            let wanted = (row != 100).then_some((entry + 0.5) * 100.0);
            assert_eq!(found, wanted, "row {row} of {rows}");
        }
    }
}

#[test]
fn an_input_that_does_not_fit_a_float32_has_no_forecast() {
    let mut forecaster = forecaster("last_value");
    let package = Arc::clone(forecaster.package());
    let sound = vec![1.0; 64 * 3];
    let mut huge = sound.clone();
    huge[0] = 1e300; // not even in the slot that the model looks at
    let mut nan = sound.clone();
    nan[5] = f64::NAN;
    let rows: Vec<(&[f64], i64)> = vec![(&huge, 0), (&sound, 0), (&nan, 0)];
    let batch = batch(&package, &rows);
    let outputs = forecaster.run(&batch).unwrap();
    let failure = |row| outputs.row(row).err();
    assert_eq!(failure(0), Some(&RowFailure::InputOutOfRange));
    assert_eq!(failure(1), None);
    assert_eq!(failure(2), Some(&RowFailure::InputOutOfRange));
}

#[test]
fn an_empty_batch_gives_no_forecasts_and_a_cleared_one_starts_anew() {
    for name in ["last_value", "linear_recursive"] {
        let mut forecaster = forecaster(name);
        let package = Arc::clone(forecaster.package());
        let example = &package.contract().examples()[0];
        let mut batch = batch(&package, &[(&example.values, example.origin_ms)]);
        batch.clear();
        assert!(batch.is_empty() && forecaster.run(&batch).unwrap().is_empty());
        batch.push(
            &example.values,
            foretell::domain::Timestamp(example.origin_ms),
        );
        assert!(batch.is_full());
        assert_close(
            forecaster.run(&batch).unwrap().row(0).unwrap().values(),
            &example.forecast,
            name,
        );
    }
}

#[test]
fn a_contract_binds_to_windows_that_keep_its_features() {
    let package = package("last_value");
    let kept = ["cell", "up", "rnti_count", "down"].map(str::to_owned);
    let windows = WindowFeatures {
        step_ms: 120_000,
        length: 64,
        features: &kept,
    };
    let bind = |of: WindowFeatures<'_>| package.contract().bind(&of);
    assert_eq!(bind(windows).unwrap().columns(), [3, 1, 2]);
    let longer = WindowFeatures {
        length: 100,
        ..windows
    };
    assert!(bind(longer).is_ok());

    let refused = |of| bind(of).unwrap_err().to_string();
    let short = WindowFeatures {
        length: 63,
        ..windows
    };
    assert!(refused(short).contains("at least 64"));
    let step = WindowFeatures {
        step_ms: 60_000,
        ..windows
    };
    assert!(refused(step).contains("120000 ms"));
    let features = WindowFeatures {
        features: &kept[..2],
        ..windows
    };
    assert!(refused(features).contains("\"down\""));
}
