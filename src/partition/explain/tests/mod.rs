//! Explanations of windows that records were folded into, held against the windows themselves.

mod arithmetic;
mod conditions;

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::domain::{Grid, Reading, Timestamp};
use crate::infer::{Package, WindowFeatures};
use crate::window::{Folding, Verdict as FoldVerdict, WindowConfig, WindowSettings};

const STEP_MS: i64 = 120_000;
const LENGTH: usize = 26;
const GAP_MAX: usize = 2;
/// Of the windows; the model of the tests takes the first three.
const FEATURES: [&str; 4] = ["down", "up", "rnti_count", "mcs_up"];
const WHOLE: [Option<f64>; 4] = [Some(1.0), Some(2.0), Some(3.0), Some(4.0)];
const NO_DOWN: [Option<f64>; 4] = [None, Some(2.0), Some(3.0), Some(4.0)];
/// The slot of the first observation.
const FIRST: i64 = 10_000_000;

/// Windows of 24 slots, at most 4 cells imputed.
fn package() -> Arc<Package> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/gru_quantiles.onnx");
    Package::read(&path).unwrap()
}

struct Rig {
    package: Arc<Package>,
    binding: Binding,
    features: Vec<String>,
    table: Table,
    offset: i64,
    outcomes: Vec<(Offset, Outcome)>,
    whole_from: i64,
}

impl Rig {
    fn new() -> Self {
        let package = package();
        let features = FEATURES.map(str::to_owned).to_vec();
        let kept = WindowFeatures {
            step_ms: STEP_MS,
            length: LENGTH,
            features: &features,
        };
        let binding = package.contract().bind(&kept).unwrap();
        let grid = Grid::new(STEP_MS, 0).unwrap();
        let settings = WindowSettings::new(grid, LENGTH, GAP_MAX, FEATURES.len());
        Self {
            package,
            binding,
            features,
            table: Table::new(WindowConfig::new(settings).unwrap()),
            offset: 0,
            outcomes: Vec::new(),
            whole_from: 0,
        }
    }

    /// Folds an observation of the slot `step` steps after the first.
    fn fold(&mut self, step: i64, cells: [Option<f64>; 4]) -> Folding {
        let time = Timestamp((FIRST + step) * STEP_MS);
        let reading = Reading {
            series: "cell",
            time: Some(time),
            cells: &cells,
        };
        let at = Offset::new(self.offset).unwrap();
        let folding = self.table.fold((at, Some(time)), &reading);
        let outcome = match folding.verdict {
            FoldVerdict::Folded(_) => Outcome::Folded,
            FoldVerdict::LateFilled => Outcome::LateFilled,
            FoldVerdict::Duplicate => Outcome::Duplicate,
            FoldVerdict::Held => Outcome::Held,
            FoldVerdict::Rejected(rejection) => Outcome::Rejected(rejection),
        };
        self.outcomes.insert(0, (at, outcome));
        self.offset += 1;
        folding
    }

    fn whole(&mut self, steps: std::ops::Range<i64>) {
        for step in steps {
            self.fold(step, WHOLE);
        }
    }

    fn model(&self) -> InForce<'_> {
        InForce {
            contract: self.package.contract(),
            digest: self.package.digest(),
            binding: &self.binding,
            features: &self.features,
        }
    }

    fn is_complete(&self) -> bool {
        let contract = self.package.contract();
        let columns = self.binding.columns();
        let mut out = vec![0.0; contract.window() * columns.len()];
        let window = self.table.window_of("cell").unwrap();
        let most = contract.imputed_max();
        window
            .complete(contract.window(), columns, most, &mut out)
            .is_some()
    }

    fn explain(&self) -> Explanation {
        let outcomes = self.outcomes.iter().take(8);
        let outcomes = outcomes.map(|at| RecentOutcome::new(*at, true));
        let question = Question {
            series: "cell",
            slots: 5,
        };
        let place = Place {
            topic: "observations",
            partition: PartitionId(0),
            partitions: NonZeroU32::MIN,
            position: NextOffset::new(self.offset).unwrap(),
        };
        let lineage = Lineage {
            config_hash: 0,
            start: NextOffset::ZERO,
            whole_from: NextOffset::new(self.whole_from).unwrap(),
            topic_id: None,
        };
        let state = State {
            windows: &self.table,
            lineage,
        };
        explain(question, place, state, self.model(), outcomes.collect())
    }
}

fn at(step: i64) -> i64 {
    (FIRST + step) * STEP_MS
}

/// What an explanation must be after some records.
#[track_caller]
fn check(
    fold: impl FnOnce(&mut Rig),
    verdict: Verdict,
    next: Option<i64>,
    parts: &[&str],
) -> Explanation {
    let mut rig = Rig::new();
    fold(&mut rig);
    let explanation = rig.explain();
    assert_eq!(explanation.verdict, verdict, "{}", explanation.sentence);
    assert_eq!(
        explanation.next_forecast,
        next.map(at),
        "{}",
        explanation.sentence
    );
    for part in parts {
        assert!(
            explanation.sentence.contains(part),
            "{part:?} is not in {}",
            explanation.sentence
        );
    }
    let json = serde_json::to_string(&explanation).unwrap();
    assert_eq!(
        serde_json::from_str::<Explanation>(&json).unwrap(),
        explanation
    );
    explanation
}
