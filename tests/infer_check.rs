//! What a package check finds, and how broken packages are refused: by a sentence, never by a panic.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "models/mod.rs"]
mod models;

use std::sync::Arc;
use std::time::{Duration, Instant};

use foretell::app::check_in_time;
use foretell::domain::RunDeadline;
use foretell::infer::{
    BATCH_SIZES, Batching, Check, CheckError, Forecaster, Package, PackageError, Runtime, TOLERANCE,
};
use models::{batch, package, path, runtime};

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn check(name: &str) -> Result<Check, CheckError> {
    foretell::infer::check(&runtime(), &package(name), now, |_| {})
}

/// The message of a package that is refused at any stage.
#[track_caller]
fn refused(name: &str) -> String {
    match Package::read(&path(name)) {
        Err(error) => error.to_string(),
        Ok(package) => foretell::infer::check(&runtime(), &package, now, |_| {})
            .unwrap_err()
            .to_string(),
    }
}

#[test]
fn sound_models_pass_and_their_rows_share_runs() {
    for name in [
        "last_value",
        "gru_quantiles",
        "linear_recursive",
        "mlp",
        "gru64",
    ] {
        let check = check(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(check.batching, Batching::Together, "{name}\n{check}");
        assert_eq!(check.bits.len(), BATCH_SIZES.len());
        assert!(check.bits.iter().all(|row| row.compared >= 3 * 256));
        assert!(
            check
                .examples
                .iter()
                .all(|example| example.error <= TOLERANCE)
        );
        assert!(check.speed.iter().all(|speed| !speed.per_row.is_zero()));
    }
}

#[test]
fn a_model_that_mixes_its_rows_runs_row_by_row() {
    let check = check("batch_mean").unwrap();
    assert_eq!(check.batching, Batching::RowByRow);
    assert!(check.bits[0].is_equal(), "a row alone is the reference");
    assert!(check.bits[1..].iter().all(|row| row.differing > 0));
}

#[test]
fn rows_that_fail_alone_do_not_decide_on_batching() {
    assert_eq!(check("fails_on_some").unwrap().batching, Batching::Together);
}

#[test]
fn a_graph_of_one_row_is_not_compared() {
    let check = check("one_row").unwrap();
    assert!(check.bits.is_empty());
    assert_eq!(check.batching, Batching::RowByRow);
}

#[test]
fn a_report_shows_contract_digest_errors_bits_and_times() {
    let check = check("gru_quantiles").unwrap();
    let text = check.to_string();
    for part in [
        "model gru-quantiles 1",
        "window      24 slots, horizon 6 steps, direct",
        "minute_of_day, day_of_week, day_of_year",
        "rnti_count, down",
        "[0.1, 0.5, 0.9]",
        "at most 4 cells",
        check.package().digest(),
        "2 recomputed",
        " 256 rows: 0 of 768 forecasts differ",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn broken_packages_are_refused_with_the_reason() {
    for (name, part) in [
        ("broken/no_contract", "carries no contract"),
        ("broken/bad_contract", "\"window\" is \"two\""),
        ("broken/rank_two", "float32 tensor [n, window 2, inputs 3"),
        ("broken/integer_input", "Tensor<i64>"),
        ("broken/wrong_horizon", "[n, horizon 4, targets 3]"),
        ("broken/missing_quantile", "the contract wants 2"),
        ("broken/wrong_example", "example 1 gave"),
        ("broken/external_data", "in another file"),
        ("broken/does_not_exist", "cannot read"),
    ] {
        let message = refused(name);
        assert!(message.contains(part), "{name}: {message}");
    }
}

/// `model show` has no runtime and says the same.
#[test]
fn what_a_file_declares_is_refused_in_the_words_of_the_loaded_graph() {
    for name in [
        "rank_two",
        "integer_input",
        "wrong_horizon",
        "missing_quantile",
    ] {
        let name = format!("broken/{name}");
        let package = package(&name);
        let declared = package.compare(&package.graph().unwrap()).unwrap_err();
        assert_eq!(declared.to_string(), refused(&name));
    }
    for name in [
        "last_value",
        "gru_quantiles",
        "linear_recursive",
        "mlp",
        "one_row",
        "gru64",
    ] {
        let package = package(name);
        package.compare(&package.graph().unwrap()).unwrap();
    }
}

#[test]
fn files_that_are_no_onnx_are_refused() {
    for bytes in [
        &b""[..],
        b"not a model",
        b"PK\x03\x04",
        &[0; 1000],
        &[0xff; 1000],
    ] {
        let error = Package::from_bytes(bytes.to_vec()).unwrap_err();
        assert!(matches!(error, PackageError::Onnx(_)), "{error}");
    }
    assert!(Package::read(std::path::Path::new("/dev/null")).is_err());
    assert!(Package::read(std::path::Path::new("/")).is_err());
}

/// Loads bytes as far as they get and runs one row; what counts is that it returns.
fn survives(runtime: &Runtime, bytes: Vec<u8>) -> bool {
    let Some((mut forecaster, package)) = loads(runtime, bytes) else {
        return false;
    };
    let example = &package.contract().examples()[0];
    let rows = [(example.values.as_slice(), example.origin_ms)];
    let outputs = forecaster.run(&batch(&package, &rows)).unwrap();
    outputs.row(0).is_ok()
}

fn loads(runtime: &Runtime, bytes: Vec<u8>) -> Option<(Forecaster, Arc<Package>)> {
    let package = Package::from_bytes(bytes).ok()?;
    let forecaster = Forecaster::new(runtime, Arc::clone(&package), Batching::Together).ok()?;
    Some((forecaster, package))
}

/// The package with one bit flipped, for every `step`th bit before the contract.
fn flipped(whole: &[u8], step: usize) -> impl Iterator<Item = Vec<u8>> {
    let graph = find(whole, b"foretell.contract");
    (0..graph * 8).step_by(step).map(|bit| {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    })
}

#[test]
fn a_package_cut_off_anywhere_is_refused() {
    let runtime = runtime();
    let whole = std::fs::read(path("last_value")).unwrap();
    for length in (0..whole.len()).step_by(100) {
        let cut = whole[..length].to_vec();
        assert!(!survives(&runtime, cut), "cut after {length} bytes");
    }
}

#[test]
fn a_package_with_any_flipped_bit_runs_or_is_refused() {
    let runtime = runtime();
    for (name, step) in [
        ("one_row", 1),
        ("fails_on_some", 1),
        ("linear_recursive", 11),
    ] {
        let whole = std::fs::read(path(name)).unwrap();
        let ran = flipped(&whole, step).filter(|bytes| survives(&runtime, bytes.clone()));
        // Names of nodes, for one, may change without harm.
        assert!(ran.count() > 0, "{name}");
    }
    // Not run: a flipped count of repeats may ask for gigabytes, which only a process of its own
    // could be refused.
    let whole = std::fs::read(path("last_value")).unwrap();
    let loaded = flipped(&whole, 1).filter(|bytes| loads(&runtime, bytes.clone()).is_some());
    assert!(loaded.count() > 0);
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes
        .windows(part.len())
        .position(|window| window == part)
        .unwrap()
}

#[test]
fn a_forecaster_is_made_as_the_check_says() {
    let package = package("batch_mean");
    let found = foretell::infer::check(&runtime(), &package, now, |_| {}).unwrap();
    let mut forecaster = Forecaster::new(&runtime(), Arc::clone(&package), found.batching).unwrap();
    let example = &package.contract().examples()[0];
    let rows = [(example.values.as_slice(), example.origin_ms); 2];
    let other = [1.0; 6];
    let mixed = batch(&package, &[rows[0], (&other, 0)]);
    let beside = forecaster
        .run(&mixed)
        .unwrap()
        .row(0)
        .unwrap()
        .values()
        .to_vec();
    let alone = forecaster.run(&batch(&package, &rows[..1])).unwrap();
    assert_eq!(beside, alone.row(0).unwrap().values());
    assert_eq!(
        models::forecaster("batch_mean").batching(),
        Batching::Together
    );
    assert_eq!(forecaster.package().digest().len(), 64);
}

#[test]
fn a_model_that_hangs_in_its_own_example_is_refused_in_time() {
    // The first example's newest value is one at which it hangs.
    let mut file = std::fs::read(path("hangs_on_some")).unwrap();
    let (value, mark) = (b"162588014.058", b"999999999e+11");
    let found = file.windows(value.len()).position(|it| it == value);
    file[found.unwrap()..][..mark.len()].copy_from_slice(mark);
    let package = Package::from_bytes(file).unwrap();
    let deadline = RunDeadline(Duration::from_millis(200));
    let refused = check_in_time(&runtime(), &package, deadline).unwrap();
    let said = refused.unwrap_err().to_string();
    assert!(said.starts_with("example 0 gave no forecast"), "{said}");
    assert!(said.contains("worker.run_deadline"), "{said}");
}
