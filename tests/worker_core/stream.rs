//! The streams of tests/oracle/stream.py: which row of which CSV each record is made of.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::avro::{FEATURES, Observations};
use crate::rig::Input;

pub(crate) const SERIES: [&str; 3] = ["ElBorn", "LesCorts", "PobleSec"];

/// What the oracle says of a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct Golden {
    events: Vec<(usize, usize, i64, Vec<String>, f64)>,
    pub(crate) outcomes: Vec<String>,
    pub(crate) forecasts: BTreeMap<String, Vec<Expected>>,
}

/// Offset, origin, imputed, `window_hash`, values.
#[derive(Debug, Deserialize)]
pub(crate) struct Expected(
    pub(crate) i64,
    pub(crate) i64,
    pub(crate) i32,
    pub(crate) i64,
    pub(crate) Vec<f64>,
);

/// A row: its time in milliseconds, its cells in the order of [`FEATURES`].
type Row = (i64, Vec<Option<f64>>);

fn rows(series: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{series}.csv"));
    let mut reader = csv::Reader::from_path(path).unwrap();
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let (time, columns) = (column("time"), FEATURES.map(column));
    let records = reader.records().map(|record| {
        let record = record.unwrap();
        let text = format!("{}Z", record[time].replace(' ', "T"));
        let at: jiff::Timestamp = text.parse().unwrap();
        let cell = |place: usize| {
            let cell = &record[place];
            (!cell.is_empty()).then(|| cell.parse().unwrap())
        };
        (at.as_millisecond(), columns.map(cell).to_vec())
    });
    records.collect()
}

/// The oracle's file of this name, and its records.
pub(crate) fn golden(name: &str) -> (Golden, Vec<Input>) {
    let path = format!("tests/oracle/stream/{name}.json");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let rows = SERIES.map(rows);
    let observations = Observations::new();
    let inputs = (0..).zip(&golden.events).map(|(offset, event)| {
        let (series, row, moved_ms, dropped, summand) = event;
        let (time, measured) = &rows[*series][*row];
        let mut cells = measured.clone();
        for (cell, feature) in cells.iter_mut().zip(FEATURES) {
            if feature == "down" {
                *cell = cell.map(|down| down + summand);
            }
            if dropped.iter().any(|dropped| dropped == feature) {
                *cell = None;
            }
        }
        let time = time + moved_ms;
        Input {
            offset,
            timestamp: Some(time),
            key: Some(SERIES[*series].into()),
            value: Some(observations.encode(SERIES[*series], time, &cells)),
            headers: Vec::new(),
        }
    });
    let inputs = inputs.collect();
    (golden, inputs)
}
