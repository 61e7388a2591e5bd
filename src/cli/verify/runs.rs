//! Which model served when: the models of the forecasts of one input partition, as runs of source offsets.
//!
//! A record without a forecast names no model. Between two forecasts of one model it was that model's; where
//! the model was changed it may have been either's.

use crate::domain::Offset;

/// A model by its place among those that were given; `None` is one that was not.
pub type Named = Option<usize>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: i64,
    last: i64,
    model: Named,
}

/// Runs that do not overlap, in the order of their offsets.
#[derive(Debug, Default)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// A forecast of this record names this model. Forecasts come nearly in order.
    pub fn insert(&mut self, source: Offset, model: Named) {
        let offset = source.get();
        let after = self.0.partition_point(|run| run.first <= offset);
        if let Some(before) = after.checked_sub(1)
            && let Some(run) = self.0.get_mut(before)
        {
            if run.model == model {
                run.last = run.last.max(offset);
                return;
            }
            if run.last > offset {
                // A forecast of another model within a run: there is a part on either side of it.
                let rest = Run {
                    first: offset + 1,
                    ..*run
                };
                run.last = offset - 1;
                self.0.insert(after, rest);
            }
        }
        if let Some(run) = self.0.get_mut(after)
            && run.model == model
        {
            run.first = offset;
            return;
        }
        self.0.insert(
            after,
            Run {
                first: offset,
                last: offset,
                model,
            },
        );
    }

    /// The models that may have served a record which has no forecast: one, or those of the forecasts
    /// before and after it. Empty where there is no forecast at all.
    pub fn around(&self, source: Offset) -> impl Iterator<Item = Named> + '_ {
        let offset = source.get();
        let after = self.0.partition_point(|run| run.first <= offset);
        let before = after.checked_sub(1).and_then(|before| self.0.get(before));
        let is_within = before.is_some_and(|run| run.last >= offset);
        let next = self.0.get(after).filter(|_| !is_within);
        let others = next.filter(|next| before.is_none_or(|run| run.model != next.model));
        before.into_iter().chain(others).map(|run| run.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Offset {
        Offset::new(offset).unwrap()
    }

    fn around(runs: &Runs, offset: i64) -> Vec<Named> {
        runs.around(at(offset)).collect()
    }

    #[test]
    fn a_record_has_the_model_of_the_forecasts_around_it() {
        let mut runs = Runs::default();
        assert_eq!(around(&runs, 5), []);
        // Not quite in order, as forecasts of one input lie in several output partitions.
        for (offset, model) in [
            (10, 0),
            (30, 0),
            (60, 1),
            (20, 0),
            (50, 1),
            (90, 0),
            (70, 1),
        ] {
            runs.insert(at(offset), Some(model));
        }
        assert_eq!(runs.0.len(), 3, "{runs:?}");
        assert_eq!(around(&runs, 5), [Some(0)]);
        assert_eq!(around(&runs, 25), [Some(0)]);
        assert_eq!(around(&runs, 40), [Some(0), Some(1)]);
        assert_eq!(around(&runs, 55), [Some(1)]);
        assert_eq!(around(&runs, 80), [Some(1), Some(0)]);
        assert_eq!(around(&runs, 95), [Some(0)]);
    }

    #[test]
    fn a_foreign_forecast_in_the_middle_leaves_both_sides_what_they_are() {
        let mut runs = Runs::default();
        for (offset, model) in [(10, Some(0)), (20, Some(0)), (15, None)] {
            runs.insert(at(offset), model);
        }
        assert_eq!(around(&runs, 12), [Some(0)]);
        assert_eq!(around(&runs, 18), [Some(0)]);
        assert_eq!(around(&runs, 15), [None]);
        runs.insert(at(21), Some(0));
        assert_eq!(around(&runs, 19), [Some(0)]);
    }
}
