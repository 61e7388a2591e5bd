//! What the inference tests share: the runtime, and packages by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use foretell::domain::Timestamp;
use foretell::infer::{Batch, Batching, Forecaster, Package, Places, Runtime};

pub(crate) fn runtime() -> Runtime {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let places = Places {
        ort_dylib_path: variable("ORT_DYLIB_PATH"),
        executable: None,
        foretell_cache: variable("FORETELL_CACHE"),
        xdg_cache_home: variable("XDG_CACHE_HOME"),
        home: variable("HOME"),
    };
    Runtime::load(&places.candidates()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn path(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if name == "last_value" {
        root.join("demo/last_value.onnx")
    } else {
        root.join(format!("tests/models/{name}.onnx"))
    }
}

pub(crate) fn package(name: &str) -> Arc<Package> {
    Package::read(&path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn forecaster(name: &str) -> Forecaster {
    Forecaster::new(&runtime(), package(name), Batching::Together)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A batch of some windows.
pub(crate) fn batch(package: &Package, rows: &[(&[f64], i64)]) -> Batch {
    let mut batch = Batch::new(package, rows.len());
    for (values, origin_ms) in rows {
        batch.push(values, Timestamp(*origin_ms));
    }
    batch
}
