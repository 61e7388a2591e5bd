//! Finding ONNX Runtime's library. One test, in a process of its own: a process loads one library.

#![expect(clippy::panic, reason = "a test fails by panicking")]

#[path = "models/mod.rs"]
mod models;

use std::path::PathBuf;
use std::sync::Arc;

use foretell::infer::Runtime;

#[test]
fn the_first_usable_library_is_loaded_and_every_other_path_is_named() {
    let nowhere = Runtime::load(&[]).unwrap_err().to_string();
    for part in [
        "ORT_DYLIB_PATH",
        "beside the foretell binary",
        "cache folder",
        "tried no path",
        "scripts/setup-onnxruntime",
    ] {
        assert!(nowhere.contains(part), "{part} is not in: {nowhere}");
    }

    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libonnxruntime.so");
    std::fs::write(&text, "no library").unwrap();
    let unusable = [PathBuf::from("no/such/libonnxruntime.so"), text.clone()];
    let message = Runtime::load(&unusable).unwrap_err().to_string();
    assert!(
        message.contains("no/such/libonnxruntime.so (no such file)"),
        "{message}"
    );
    assert!(message.contains(&text.display().to_string()), "{message}");

    let runtime = models::runtime();
    assert!(
        runtime.version().starts_with("1.32 ("),
        "{}",
        runtime.version()
    );
    assert!(!runtime.instruction_set().is_empty());
    assert!(runtime.library().is_absolute());
    let again = Runtime::load(&unusable).unwrap();
    assert_eq!(again.library(), runtime.library());
    let mut forecaster = models::forecaster("last_value");
    let package = Arc::clone(forecaster.package());
    let example = &package.contract().examples()[0];
    let batch = models::batch(&package, &[(&example.values, example.origin_ms)]);
    assert!(forecaster.run(&batch).unwrap().row(0).is_ok());
}
