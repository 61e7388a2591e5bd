//! What the model's window lacks, and how many observations it takes to be complete.

use super::{InForce, MISSING_SHOWN_MAX, MissingCell, ModelFacts, Verdict};
use crate::domain::Slot;
use crate::window::{Window, WindowConfig};

/// What the model needs of a series that is in the windows.
#[derive(Debug)]
pub(super) struct Need {
    pub(super) verdict: Verdict,
    /// Observations in a row, all features present, until the window is complete; 0 if it is.
    pub(super) observations: usize,
    missing: usize,
    unfillable: usize,
    /// Steps before the newest slot, and the model's feature: unfillable cells, or else missing ones;
    /// newest first.
    cells: Vec<(usize, usize)>,
}

/// The missing cells of one slot.
#[derive(Clone, Copy, Debug, Default)]
struct Lack {
    missing: usize,
    unfillable: usize,
}

/// Says what [`Window::complete`] would say, and why.
pub(super) fn need(window: &Window<'_>, config: &WindowConfig, model: InForce<'_>) -> Need {
    let length = model.contract.window();
    let columns = model.binding.columns();
    let mut lacks = vec![Lack::default(); length];
    let (mut unfillable_cells, mut missing_cells) = (Vec::new(), Vec::new());
    // Steps since the last value of each feature, walking from the oldest slot to the newest.
    let mut distances: Vec<Option<usize>> = vec![None; columns.len()];
    let mut oldest_known = 0;
    for back in (0..config.rows()).rev() {
        let cells = window.cells(window.newest().plus(-steps(back)));
        if cells.is_some() {
            oldest_known = oldest_known.max(back);
        }
        for (feature, (column, since)) in columns.iter().zip(&mut distances).enumerate() {
            if cells.is_some_and(|cells| !cells[*column].is_nan()) {
                *since = Some(0);
                continue;
            }
            *since = since.map(|steps| steps + 1);
            let Some(lack) = lacks.get_mut(back) else {
                continue;
            };
            lack.missing += 1;
            missing_cells.push((back, feature));
            if since.is_none_or(|steps| steps > config.gap_max()) {
                lack.unfillable += 1;
                unfillable_cells.push((back, feature));
            }
        }
    }
    let imputed_max = model.contract.imputed_max();
    let observations = observations_needed(&lacks, imputed_max);
    // Which of the lacking cells the window waits longest for.
    let newest_unfillable = unfillable_cells.last().copied();
    let verdict = match newest_unfillable {
        _ if observations == 0 => Verdict::Complete,
        Some((back, _)) if back > oldest_known => Verdict::WarmingUp,
        Some(_) => Verdict::Gap,
        None => Verdict::TooManyImputed,
    };
    let (missing, unfillable) = (missing_cells.len(), unfillable_cells.len());
    let mut cells = if unfillable > 0 {
        unfillable_cells
    } else {
        missing_cells
    };
    cells.reverse();
    cells.truncate(MISSING_SHOWN_MAX);
    Need {
        verdict,
        observations,
        missing,
        unfillable,
        cells,
    }
}

/// With each observation the oldest slot of the window leaves it: the fewest after which what stays can
/// be filled and is not too much. `lacks` has the newest slot first.
fn observations_needed(lacks: &[Lack], imputed_max: Option<u32>) -> usize {
    let most = imputed_max.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    });
    let mut missing = 0;
    let stay = lacks
        .iter()
        .take_while(|lack| {
            missing += lack.missing;
            lack.unfillable == 0 && missing <= most
        })
        .count();
    lacks.len() - stay
}

pub(super) fn facts(
    model: InForce<'_>,
    need: Option<&Need>,
    config: &WindowConfig,
    window: Option<&Window<'_>>,
) -> ModelFacts {
    let contract = model.contract;
    let names: Vec<&str> = contract.features().collect();
    let cell = |newest: Slot, (back, feature): (usize, usize)| MissingCell {
        time: config.grid().time(newest.plus(-steps(back))).0,
        feature: names.get(feature).copied().unwrap_or_default().to_owned(),
    };
    let newest = window.map(Window::newest);
    let missing_cells = need.zip(newest).map_or_else(Vec::new, |(need, newest)| {
        let oldest_first = need.cells.iter().rev();
        oldest_first.map(|at| cell(newest, *at)).collect()
    });
    ModelFacts {
        name: contract.name().to_owned(),
        version: contract.version().to_owned(),
        digest: model.digest.to_owned(),
        window: contract.window(),
        imputed_max: contract.imputed_max(),
        features: contract.features().map(str::to_owned).collect(),
        missing: need.map_or(0, |need| need.missing),
        unfillable: need.map_or(0, |need| need.unfillable),
        missing_cells,
        observations_needed: need.map(|need| need.observations),
    }
}

/// A number of slots for slot arithmetic; windows are short.
pub(super) fn steps(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
