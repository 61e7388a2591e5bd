//! Pictures of a backtest: what was observed, what was forecast of it, and the bands.
//!
//! A [`Recorder`] keeps what a picture of one series needs, in bounded memory: of a long stream it
//! keeps the lowest and the highest value of ever longer stretches. [`page`] writes the file.

pub mod axis;
pub mod chart;
pub mod page;

use std::collections::VecDeque;

use super::scope::Scope;

/// Stretches of a line that are kept; beyond that, two become one.
const BUCKETS_MAX: usize = 4_096;

/// What is drawn of one series.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Place of the horizon that is drawn, among those of the scope.
    horizon: usize,
    targets: Vec<Lines>,
}

/// What is drawn of one target, at the horizon that is drawn.
#[derive(Clone, Debug)]
pub struct Lines {
    pub actual: Line,
    pub last_value: Line,
    /// One per model; empty where it does not forecast the target.
    pub means: Vec<Line>,
    /// One per model, from its lowest to its highest quantile.
    pub bands: Vec<Line>,
}

/// A line over slots.
#[derive(Clone, Debug)]
pub struct Line {
    /// Slots of a stretch.
    width: i64,
    /// Only the newest so many slots are kept.
    span: Option<i64>,
    buckets: VecDeque<Bucket>,
}

/// The values of a stretch of slots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// First slot of the stretch.
    pub slot: i64,
    pub low: f64,
    pub high: f64,
}

impl Recorder {
    pub fn new(scope: &Scope, horizon: usize, span: Option<i64>) -> Self {
        let line = Line {
            width: 1,
            span,
            buckets: VecDeque::new(),
        };
        let lines = Lines {
            actual: line.clone(),
            last_value: line.clone(),
            means: vec![line.clone(); scope.models.len()],
            bands: vec![line; scope.models.len()],
        };
        Self {
            horizon,
            targets: vec![lines; scope.targets.len()],
        }
    }

    /// What was observed; NaN where nothing was.
    pub fn actual(&mut self, target: usize, slot: i64, value: f64) {
        self.targets[target].actual.add(slot, (value, value));
    }

    /// The forecasts of one origin for `slot`.
    pub fn point(
        &mut self,
        scope: &Scope,
        (target, horizon): (usize, usize),
        (slot, values): (i64, &[f64]),
        last_value: f64,
    ) {
        if horizon != self.horizon {
            return;
        }
        let lines = &mut self.targets[target];
        lines.last_value.add(slot, (last_value, last_value));
        for model in 0..scope.models.len() {
            if let Some((mean, quantiles)) = scope.forecast(model, (target, horizon), values) {
                lines.means[model].add(slot, (mean, mean));
                if let (Some(low), Some(high)) = (quantiles.first(), quantiles.last()) {
                    lines.bands[model].add(slot, (*low, *high));
                }
            }
        }
    }

    /// One per target of the scope.
    pub fn targets(&self) -> &[Lines] {
        &self.targets
    }
}

impl Line {
    /// Adds the values of a slot, which is not before the last one.
    fn add(&mut self, slot: i64, (low, high): (f64, f64)) {
        if low.is_nan() || high.is_nan() {
            return;
        }
        self.merge(Bucket { slot, low, high });
        if let Some(span) = self.span {
            let oldest = slot.saturating_sub(span);
            while self.buckets.front().is_some_and(|it| it.slot <= oldest) {
                self.buckets.pop_front();
            }
        }
        if self.buckets.len() > BUCKETS_MAX {
            *self = self.widened(self.width.saturating_mul(2));
        }
    }

    /// The same in stretches of `width` slots.
    fn widened(&self, width: i64) -> Self {
        let mut wide = Self {
            width,
            span: self.span,
            buckets: VecDeque::new(),
        };
        self.buckets.iter().for_each(|bucket| wide.merge(*bucket));
        wide
    }

    fn merge(&mut self, new: Bucket) {
        let slot = new.slot.div_euclid(self.width).saturating_mul(self.width);
        match self.buckets.back_mut() {
            Some(last) if last.slot == slot => {
                last.low = last.low.min(new.low);
                last.high = last.high.max(new.high);
            }
            _ => self.buckets.push_back(Bucket { slot, ..new }),
        }
    }

    /// First and last slot.
    pub fn ends(&self) -> Option<(i64, i64)> {
        let last = self.buckets.back()?.slot.saturating_add(self.width - 1);
        Some((self.buckets.front()?.slot, last))
    }

    /// Lowest and highest value.
    pub fn range(&self) -> Option<(f64, f64)> {
        let pairs = self.buckets.iter().map(|bucket| (bucket.low, bucket.high));
        pairs.reduce(|(low, high), next| (low.min(next.0), high.max(next.1)))
    }

    /// The stretches from `first` on, in at most `count` pieces over the slots up to `last`, and the
    /// slots of each. Stretches between which nothing is known are in different runs.
    pub fn runs(&self, (first, last): (i64, i64), count: i64) -> (Vec<Vec<Bucket>>, i64) {
        let slots = last.saturating_sub(first).saturating_add(1).max(1);
        let mut width = self.width;
        while slots / width > count {
            width = width.saturating_mul(2);
        }
        let line = self.widened(width);
        let mut runs: Vec<Vec<Bucket>> = Vec::new();
        let mut next = None;
        for bucket in line.buckets.iter().filter(|bucket| bucket.slot >= first) {
            if next != Some(bucket.slot) || runs.is_empty() {
                runs.push(Vec::new());
            }
            next = Some(bucket.slot.saturating_add(width));
            if let Some(run) = runs.last_mut() {
                run.push(*bucket);
            }
        }
        (runs, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(span: Option<i64>) -> Line {
        Line {
            width: 1,
            span,
            buckets: VecDeque::new(),
        }
    }

    #[test]
    fn a_long_line_keeps_its_extremes_in_bounded_memory() {
        let mut long = line(None);
        for slot in 0..100_000 {
            let value = if slot == 77_777 { 9.0 } else { 1.0 };
            long.add(slot, (value, value));
        }
        assert!(long.buckets.len() <= BUCKETS_MAX);
        assert_eq!(long.range(), Some((1.0, 9.0)));
        assert_eq!(long.ends().map(|ends| ends.0), Some(0));
        let (runs, width) = long.runs((0, 99_999), 1_000);
        assert_eq!(runs.len(), 1);
        assert!(runs[0].len() <= 1_000 && width > 1);
        let high = runs[0].iter().find(|bucket| bucket.high > 8.0).unwrap();
        assert!((high.slot..high.slot + width).contains(&77_777));
    }

    #[test]
    fn a_gap_ends_a_run() {
        let mut gappy = line(None);
        for slot in [5, 6, 7, 9, 10] {
            gappy.add(slot, (0.0, 1.0));
        }
        gappy.add(8, (f64::NAN, 1.0));
        let (runs, _) = gappy.runs((6, 10), 100);
        let slots: Vec<Vec<_>> = runs
            .iter()
            .map(|run| run.iter().map(|bucket| bucket.slot).collect())
            .collect();
        assert_eq!(slots, [vec![6, 7], vec![9, 10]]);
    }

    #[test]
    fn only_the_newest_slots_are_kept_where_that_is_asked() {
        let mut short = line(Some(10));
        for slot in 0..100 {
            short.add(slot, (1.0, 1.0));
        }
        assert_eq!(short.ends(), Some((90, 99)));
    }
}
