//! A package is verified in a child process: what it does there, it does not do to the worker.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foretell::infer::{Batching, CheckReport, Package};
use foretell::models::{Refused, Verifier};

fn package(name: &str) -> Arc<Package> {
    let models = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models"));
    Package::read(&models.join(format!("{name}.onnx"))).unwrap()
}

fn verifier() -> Verifier {
    let names = ["ORT_DYLIB_PATH", "FORETELL_CACHE", "XDG_CACHE_HOME", "HOME"];
    let set = |name: &str| Some((OsString::from(name), std::env::var_os(name)?));
    Verifier {
        executable: PathBuf::from(env!("CARGO_BIN_EXE_foretell")),
        environment: names.into_iter().filter_map(set).collect(),
        deadline: Duration::from_mins(1),
        run_deadline: Duration::from_secs(2),
        memory_max: 4 << 30,
    }
}

fn verify(verifier: &Verifier, name: &str) -> Result<CheckReport, Refused> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(verifier.verify(&package(name)))
}

#[test]
fn a_sound_package_is_told_with_how_its_rows_are_run() {
    for (name, batching) in [
        ("mlp", Batching::Together),
        ("gru_quantiles", Batching::Together),
        ("batch_mean", Batching::RowByRow),
        ("one_row", Batching::RowByRow),
    ] {
        let report = verify(&verifier(), name).unwrap();
        assert_eq!(report.batching, batching, "{name}");
        assert_eq!(report.digest, package(name).digest());
        assert!(report.example_error <= 1e-4 && report.load_seconds > 0.0);
        assert!(report.speed.iter().all(|speed| speed.seconds_per_row > 0.0));
    }
}

#[test]
fn a_package_that_may_not_serve_is_refused_in_the_words_of_the_check() {
    for (name, word) in [
        ("broken/wrong_example", "those that were trained"),
        ("broken/integer_input", "it must be a float32 tensor"),
        ("broken/not_a_number", "NaN or an infinite value"),
        ("wants_memory", "Failed to allocate memory"),
    ] {
        match verify(&verifier(), name) {
            Err(Refused::Check { said }) => assert!(said.contains(word), "{name}: {said}"),
            other @ (Ok(_) | Err(_)) => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_child_that_does_not_end_is_killed_at_the_deadline() {
    let hasty = Verifier {
        deadline: Duration::from_secs(2),
        ..verifier()
    };
    let refused = verify(&hasty, "hangs").unwrap_err();
    assert!(matches!(refused, Refused::Deadline { .. }), "{refused}");
}

#[test]
fn a_child_that_is_ended_by_a_signal_is_told_of() {
    const FLOATING_POINT_EXCEPTION: i32 = 8;
    let refused = verify(&verifier(), "crashes").unwrap_err();
    let is_told = |signal| signal == FLOATING_POINT_EXCEPTION;
    assert!(
        matches!(refused, Refused::Signal { signal, .. } if is_told(signal)),
        "{refused}"
    );
}
