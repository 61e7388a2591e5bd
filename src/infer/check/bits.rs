//! Whether a row's forecast depends on the rows beside it.
//!
//! ONNX Runtime gives most graphs the same bits at every batch size, but not all (onnxruntime issues
//! 7642 and 10058), and a graph may mix its rows by mistake. Exactly-once promises that a repeated
//! input gives the same output, however it was batched; so this is measured, not assumed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;

use super::super::batch::Batch;
use super::super::contract::Contract;
use super::super::forecaster::Forecaster;
use super::BATCH_SIZES;

/// Rows that take part: the largest batch size, so that one batch can hold them all.
const POOL: usize = BATCH_SIZES[BATCH_SIZES.len() - 1];
/// Times the pool is cut into batches per size, each time elsewhere: positions of every row.
const PASSES: usize = 3;

/// The comparison at one batch size.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct BitRow {
    /// Rows per run.
    pub rows: usize,
    /// Forecasts compared with those of the same rows run alone.
    pub compared: usize,
    /// Of them, how many differ in any bit.
    pub differing: usize,
    /// What ONNX Runtime said of a run that failed although each of its rows runs alone.
    pub failure: Option<String>,
}

impl BitRow {
    /// True when nothing differed and nothing failed.
    pub fn is_equal(&self) -> bool {
        self.differing == 0 && self.failure.is_none()
    }
}

/// A row of the pool and its forecast run alone, as bits; `None` where it has no usable forecast.
#[derive(Debug)]
struct PoolRow {
    values: Vec<f64>,
    origin: Timestamp,
    alone: Option<Vec<u64>>,
}

/// Runs the pool at every batch size, in several positions and among differing neighbours.
pub(super) fn compare(forecaster: &mut Forecaster) -> Vec<BitRow> {
    let pool = pool(forecaster);
    BATCH_SIZES
        .into_iter()
        .map(|rows| {
            let mut found = BitRow {
                rows,
                compared: 0,
                differing: 0,
                failure: None,
            };
            for pass in 0..PASSES {
                compare_pass(forecaster, &pool, pass * rows / PASSES, &mut found);
            }
            found
        })
        .collect()
}

/// Cuts the pool, from `offset` on and around, into batches of `found.rows` rows.
fn compare_pass(forecaster: &mut Forecaster, pool: &[PoolRow], offset: usize, found: &mut BitRow) {
    let mut batch = Batch::new(forecaster.package(), found.rows);
    for start in (0..pool.len()).step_by(found.rows) {
        let rows: Vec<&PoolRow> = pool
            .iter()
            .cycle()
            .skip(offset + start)
            .take(found.rows)
            .collect();
        batch.clear();
        for row in &rows {
            batch.push(&row.values, row.origin);
        }
        match forecaster.run_together(&batch) {
            Err(detail) => {
                found.failure = Some(detail);
                return;
            }
            Ok(outputs) => {
                for (index, row) in rows.iter().enumerate() {
                    let together = outputs
                        .row(index)
                        .ok()
                        .map(|forecast| bits(forecast.values()));
                    found.compared += 1;
                    found.differing += usize::from(together != row.alone);
                }
            }
        }
    }
}

/// The examples, then the same ones moved further and further off, so that neighbours differ; rows
/// that fail alone are left out, because one of them would fail a whole batch.
fn pool(forecaster: &mut Forecaster) -> Vec<PoolRow> {
    let package = Arc::clone(forecaster.package());
    let contract = package.contract();
    let examples = contract.examples();
    let mut batch = Batch::new(&package, 1);
    let mut pool = Vec::with_capacity(POOL);
    for (index, example) in examples.iter().cycle().take(POOL).enumerate() {
        let values = moved(contract, &example.values, index / examples.len());
        let origin = Timestamp(example.origin_ms);
        batch.clear();
        batch.push(&values, origin);
        if let Ok(outputs) = forecaster.run_together(&batch) {
            let alone = outputs.row(0).ok().map(|forecast| bits(forecast.values()));
            pool.push(PoolRow {
                values,
                origin,
                alone,
            });
        }
    }
    pool
}

/// A window moved by `times` hundredths of each feature's scale.
fn moved(contract: &Contract, values: &[f64], times: usize) -> Vec<f64> {
    let hundredths = f64::from(u32::try_from(times).unwrap_or(u32::MAX)) / 100.0;
    let scales = contract.scalings().map(|scaling| scaling.scale);
    values
        .iter()
        .zip(scales.collect::<Vec<_>>().iter().cycle())
        .map(|(value, scale)| value + hundredths * scale)
        .collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}
