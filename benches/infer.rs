//! Inference: what a row costs besides the model, and what the models cost at several batch sizes.
//!
//! `assemble` copies and scales windows into a batch; `run` is ONNX Runtime plus reading its outputs.
//! The items of a bench are rows. Allocations are counted.

#![expect(
    clippy::panic,
    reason = "a bench without its models has nothing to measure"
)]

#[path = "../tests/models/mod.rs"]
mod models;

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use foretell::domain::Timestamp;
use foretell::infer::{Batch, Package};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const ROWS: [usize; 4] = [1, 8, 64, 256];

fn main() {
    divan::main();
}

/// Fills a batch with the examples of a package, a step apart.
fn fill(batch: &mut Batch, package: &Package, rows: usize) {
    batch.clear();
    let contract = package.contract();
    let mut later = 0;
    for example in contract.examples().iter().cycle().take(rows) {
        batch.push(&example.values, Timestamp(example.origin_ms + later));
        later += contract.step_ms();
    }
}

/// Windows without calendar (`last_value`, 64 x 3) and with (`gru_quantiles`, 24 x (3 + 6)).
#[divan::bench(args = ["last_value", "gru_quantiles"])]
fn assemble_256_rows(bencher: Bencher<'_, '_>, model: &str) {
    const COUNT: usize = 256;
    let package = models::package(model);
    let mut batch = Batch::new(&package, COUNT);
    fill(&mut batch, &package, COUNT);
    bencher
        .counter(ItemsCount::new(COUNT))
        .bench_local(|| fill(&mut batch, &package, COUNT));
}

fn run(bencher: Bencher<'_, '_>, model: &str, rows: usize) {
    let mut forecaster = models::forecaster(model);
    let package = Arc::clone(forecaster.package());
    let examples = package.contract().examples().iter().cycle().take(rows);
    let windows: Vec<(&[f64], i64)> = examples
        .map(|example| (example.values.as_slice(), example.origin_ms))
        .collect();
    let batch = models::batch(&package, &windows);
    bencher
        .counter(ItemsCount::new(rows))
        .bench_local(|| forecaster.run(&batch).map(|outputs| outputs.len()));
}

#[divan::bench(args = ROWS)]
fn run_last_value(bencher: Bencher<'_, '_>, rows: usize) {
    run(bencher, "last_value", rows);
}

#[divan::bench(args = ROWS)]
fn run_mlp(bencher: Bencher<'_, '_>, rows: usize) {
    run(bencher, "mlp", rows);
}

#[divan::bench(args = ROWS)]
fn run_gru64(bencher: Bencher<'_, '_>, rows: usize) {
    run(bencher, "gru64", rows);
}

#[divan::bench(args = ROWS)]
fn run_linear_recursive(bencher: Bencher<'_, '_>, rows: usize) {
    run(bencher, "linear_recursive", rows);
}
