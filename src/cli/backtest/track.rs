//! One series under judgement: what was observed, and the forecasts that wait for what they forecast.
//!
//! Both are queues over a run of slots. What a slot holds is taken from the window when the series
//! comes to it, and once more when it is final, since late observations may have filled it. Memory is
//! that of a season and of the farthest horizon, however long the stream.

use std::collections::VecDeque;

use super::plot::Recorder;
use super::scope::Scope;
use super::tally::{Cell, Point};
use crate::domain::Slot;
use crate::window::Window;

/// A forecast's place among those that wait: counted from the series' first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// The state of one series.
#[derive(Debug)]
pub struct Track {
    pub name: String,
    /// One per target and horizon; none before the first origin is judged, as a stream may have very
    /// many series that are seen for a moment.
    pub cells: Vec<Cell>,
    /// Origins with a forecast whose farthest horizon lies after the end of the data.
    pub after_end: u64,
    /// What is drawn, where this series is.
    pub recorder: Option<Recorder>,
    /// Values of the targets, slot by slot; NaN where nothing is observed.
    observed: VecDeque<f64>,
    /// Slot of the first of them.
    first: i64,
    /// The newest slot; nothing is observed before there is one.
    newest: Option<i64>,
    /// Slots up to this one are final.
    settled: i64,
    /// The newest slot before the series was closed last.
    left: i64,
    /// Origins that wait, and for each of them the forecasts of all models.
    origins: VecDeque<i64>,
    values: VecDeque<f64>,
    /// Ticket of the first origin that waits.
    served: u64,
}

impl Track {
    pub fn new(name: &str, recorder: Option<Recorder>) -> Self {
        Self {
            name: name.to_owned(),
            cells: Vec::new(),
            after_end: 0,
            recorder,
            observed: VecDeque::new(),
            first: 0,
            newest: None,
            settled: i64::MIN,
            left: i64::MIN,
            origins: VecDeque::new(),
            values: VecDeque::new(),
            served: 0,
        }
    }

    /// False when the slot does not go on from what is known, as after a long gap: close first.
    pub fn continues(&self, scope: &Scope, slot: Slot) -> bool {
        let most = steps(scope.season.unwrap_or(0) + scope.reach() + scope.delay);
        self.newest
            .is_none_or(|newest| slot.0 > newest && slot.0.saturating_sub(newest) <= most)
    }

    /// Takes the newest row of the series' window as an origin.
    pub fn observe(&mut self, scope: &Scope, window: &Window<'_>) -> Ticket {
        let newest = window.newest().0;
        let mut slot;
        if let Some(before) = self.newest {
            slot = before + 1;
        } else {
            // A record that was held before the newest one is there too.
            let mut known = window.rows().map(|(row, ..)| row.0);
            slot = known.find(|row| *row > self.left).unwrap_or(newest);
            self.first = slot;
            self.settled = slot - 1;
        }
        while slot <= newest {
            let cells = window.cells(Slot(slot));
            let value = |column: usize| cells.map_or(f64::NAN, |cells| cells[column]);
            let targets = scope.targets.iter();
            self.observed
                .extend(targets.map(|target| value(target.column)));
            slot += 1;
        }
        self.newest = Some(newest);
        self.settle(scope, newest - steps(scope.delay), Some(window));
        self.origins.push_back(newest);
        let room = self.values.len() + scope.stride;
        self.values.resize(room, f64::NAN);
        Ticket(self.served + count(self.origins.len()) - 1)
    }

    /// The values of an origin that waits, to be filled in.
    pub fn values(&mut self, scope: &Scope, ticket: Ticket) -> &mut [f64] {
        let at = usize::try_from(ticket.0 - self.served).unwrap_or(usize::MAX);
        let start = at * scope.stride;
        &mut self.values.make_contiguous()[start..start + scope.stride]
    }

    /// Judges the origins all of whose forecasts are past and final. No model may still have to run
    /// for one of them.
    pub fn judge(&mut self, scope: &Scope) {
        let Some(newest) = self.newest else { return };
        self.judge_until(scope, newest - steps(scope.reach() + scope.delay));
        // The oldest value that an origin from here on may ask for is a season before its first step.
        let oldest = self.origins.front().copied().unwrap_or(newest);
        let keep = oldest.min(newest - steps(scope.delay)) - steps(scope.season.unwrap_or(0));
        let spare = usize::try_from(keep - self.first).unwrap_or(0);
        let spare = spare.min(self.observed.len() / scope.targets.len().max(1));
        self.observed.drain(..spare * scope.targets.len());
        self.first += steps(spare);
    }

    /// Judges everything that waits and forgets it: the series goes on at `slot`, too far ahead for any
    /// of it to matter there, or its windows were evicted and it begins anew.
    pub fn leave(&mut self, scope: &Scope, slot: Slot) {
        self.close(scope, None, slot.0);
    }

    /// Judges what can be judged and forgets the rest: the data ends here.
    pub fn end(&mut self, scope: &Scope, window: Option<&Window<'_>>) {
        self.close(scope, window, i64::MIN);
    }

    /// `at` is the slot at which the series is now, if it went on.
    fn close(&mut self, scope: &Scope, window: Option<&Window<'_>>, at: i64) {
        let Some(newest) = self.newest else { return };
        self.settle(scope, newest, window);
        self.judge_until(scope, newest.max(at) - steps(scope.reach()));
        while let Some(origin) = self.origins.pop_front() {
            self.served += 1;
            self.visit_origin(scope, origin, false);
            let any = self.values.drain(..scope.stride).any(|it| !it.is_nan());
            self.after_end += u64::from(any);
        }
        self.observed = VecDeque::new();
        self.values = VecDeque::new();
        self.origins = VecDeque::new();
        self.newest = None;
        self.left = newest;
    }

    /// Reads the slots up to `last` once more, and draws them.
    fn settle(&mut self, scope: &Scope, last: i64, window: Option<&Window<'_>>) {
        while self.settled < last {
            self.settled += 1;
            let at = usize::try_from(self.settled - self.first).unwrap_or(usize::MAX);
            let start = at.saturating_mul(scope.targets.len());
            // The window may be gone, evicted: then it stays what it was.
            if let Some(cells) = window.and_then(|window| window.cells(Slot(self.settled))) {
                for (value, target) in self.observed.range_mut(start..).zip(&scope.targets) {
                    *value = cells[target.column];
                }
            }
            if let Some(recorder) = &mut self.recorder {
                for (target, value) in (0..scope.targets.len()).zip(self.observed.range(start..)) {
                    recorder.actual(target, self.settled, *value);
                }
            }
        }
    }

    fn judge_until(&mut self, scope: &Scope, last: i64) {
        self.values.make_contiguous();
        while let Some(origin) = self.origins.front().copied().filter(|it| *it <= last) {
            self.origins.pop_front();
            self.served += 1;
            let is_judged = scope.from.is_none_or(|from| origin >= from.0);
            self.visit_origin(scope, origin, is_judged);
            self.values.drain(..scope.stride);
        }
    }

    /// Judges and draws the forecasts of the first origin that waits.
    fn visit_origin(&mut self, scope: &Scope, origin: i64, is_judged: bool) {
        let (values, _) = self.values.as_slices();
        let values = &values[..scope.stride];
        if is_judged && self.cells.is_empty() && values.iter().any(|value| !value.is_nan()) {
            self.cells = vec![Cell::default(); scope.cells()];
        }
        let targets = scope.targets.len();
        let observed = |slot: i64, target: usize| {
            let at = usize::try_from(slot - self.first).ok();
            let place = at.and_then(|at| at.checked_mul(targets)?.checked_add(target));
            let found = place.and_then(|place| self.observed.get(place));
            found.copied().unwrap_or(f64::NAN)
        };
        for target in 0..targets {
            for (at, &horizon) in scope.horizons.iter().enumerate() {
                let slot = origin.saturating_add(steps(horizon));
                let season = scope.season_back(horizon);
                let point = Point {
                    actual: observed(slot, target),
                    last_value: observed(origin, target),
                    seasonal: season.map(|back| observed(slot - steps(back), target)),
                };
                let cell = self.cells.get_mut(scope.cell(target, at));
                if let Some(cell) = cell.filter(|_| is_judged) {
                    cell.judge(scope, (target, at), values, point);
                }
                if let Some(recorder) = &mut self.recorder {
                    recorder.point(scope, (target, at), (slot, values), point.last_value);
                }
            }
        }
    }
}

/// A number of slots, which the bounds of windows and models keep small, for slot arithmetic.
pub(super) fn steps(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli::backtest::scope::{ModelScope, Target};
    use crate::domain::{Grid, Offset, Reading, Timestamp};
    use crate::window::{Table, Verdict, WindowConfig, WindowSettings};

    const STEP_MS: i64 = 1_000;
    const LENGTH: usize = 4;
    const GAP_MAX: usize = 3;
    /// 2020-09-13T12:26:40Z.
    const START: i64 = 1_600_000_000;

    fn scope(season: usize) -> Scope {
        Scope {
            targets: vec![Target {
                name: "y".to_owned(),
                column: 0,
            }],
            horizons: vec![1, 3],
            season: Some(season),
            delay: GAP_MAX,
            from: None,
            models: vec![ModelScope::single()],
            stride: 2,
        }
    }

    fn table() -> Table {
        let grid = Grid::new(STEP_MS, 0).unwrap();
        let settings = WindowSettings::new(grid, LENGTH, GAP_MAX, 1);
        Table::new(WindowConfig::new(settings).unwrap())
    }

    /// A series whose records come as `slots` says, with the slot's square as the value, or none.
    /// Forecasts are ten times the origin plus the horizon; every `judged`th record the models run.
    fn tracked(slots: &[(i64, bool)], judged: usize, scope: &Scope) -> (Track, Vec<i64>) {
        let mut windows = table();
        let mut track = Track::new("s", None);
        let mut waiting = Vec::new();
        let mut origins = Vec::new();
        for (at, (slot, has_value)) in slots.iter().enumerate() {
            let offset = Offset::new(i64::try_from(at).unwrap()).unwrap();
            let time = Timestamp((START + slot) * STEP_MS);
            let cells = [has_value.then(|| value(*slot))];
            let reading = Reading {
                series: "s",
                time: Some(time),
                cells: &cells,
            };
            let folding = windows.fold((offset, Some(time)), &reading);
            if let Verdict::Folded(key) = folding.verdict {
                let window = windows.window(key).unwrap();
                let newest = window.newest();
                if !track.continues(scope, newest) {
                    run(&mut track, scope, &mut waiting);
                    track.leave(scope, newest);
                }
                let ticket = track.observe(scope, &window);
                waiting.push((ticket, newest.0 - START));
                origins.push(newest.0 - START);
            }
            if at % judged == 0 {
                run(&mut track, scope, &mut waiting);
            }
        }
        run(&mut track, scope, &mut waiting);
        let last = windows.window_of("s");
        track.end(scope, last.as_ref());
        (track, origins)
    }

    fn run(track: &mut Track, scope: &Scope, waiting: &mut Vec<(Ticket, i64)>) {
        for (ticket, origin) in waiting.drain(..) {
            let values = track.values(scope, ticket);
            values.copy_from_slice(&[forecast(origin, 1), forecast(origin, 3)]);
        }
        track.judge(scope);
    }

    fn value(slot: i64) -> f64 {
        let slot = f64::from(i32::try_from(slot).unwrap());
        slot * slot
    }

    fn forecast(origin: i64, horizon: i32) -> f64 {
        f64::from(i32::try_from(origin).unwrap()) * 10.0 + f64::from(horizon)
    }

    /// The same by a table of all slots.
    #[track_caller]
    fn check(slots: &[(i64, bool)], season: usize) {
        let scope = scope(season);
        for judged in [1, 2, 7, 1_000] {
            let (track, origins) = tracked(slots, judged, &scope);
            let known: BTreeMap<i64, f64> = slots
                .iter()
                .filter(|(_, has_value)| *has_value)
                .map(|(slot, _)| (*slot, value(*slot)))
                .collect();
            let last = *origins.last().unwrap();
            for (place, horizon) in [(0, 1), (1, 3)] {
                let back = (horizon + steps(season) - 1) / steps(season) * steps(season);
                let (mut model, mut naive, mut seasonal) = (Vec::new(), Vec::new(), Vec::new());
                for origin in origins.iter().filter(|origin| *origin + 3 <= last) {
                    let at = |slot: i64| known.get(&slot).copied();
                    if let (Some(actual), Some(newest), Some(before)) = (
                        at(origin + horizon),
                        at(*origin),
                        at(origin + horizon - back),
                    ) {
                        let ahead = i32::try_from(horizon).unwrap();
                        model.push((forecast(*origin, ahead) - actual).abs());
                        naive.push((newest - actual).abs());
                        seasonal.push((before - actual).abs());
                    }
                }
                let found = &track.cells[place].with_season;
                let mean = |errors: &[f64]| {
                    errors.iter().sum::<f64>() / f64::from(u32::try_from(errors.len()).unwrap())
                };
                assert_eq!(found.points(), count(model.len()), "{horizon} of {slots:?}");
                if !model.is_empty() {
                    for (sums, errors) in [
                        (&found.models[0].sums, &model),
                        (&found.last_value, &naive),
                        (&found.seasonal, &seasonal),
                    ] {
                        let mae = sums.mean_absolute();
                        assert!((mae - mean(errors)).abs() < 1e-9, "{mae} {errors:?}");
                    }
                }
            }
            let beyond = origins.iter().filter(|origin| *origin + 3 > last).count();
            assert_eq!(track.after_end, count(beyond));
        }
    }

    fn in_order(range: std::ops::Range<i64>) -> Vec<(i64, bool)> {
        range.map(|slot| (slot, true)).collect()
    }

    #[test]
    fn an_orderly_series_is_judged_as_by_a_table_of_all_its_slots() {
        for season in [1, 2, 5, 30] {
            check(&in_order(0..60), season);
        }
    }

    #[test]
    fn what_comes_late_and_what_is_missing_counts_as_it_is_in_the_end() {
        let mut slots = in_order(0..60);
        slots.swap(20, 22);
        slots.swap(31, 32);
        slots[40].1 = false;
        slots.remove(50);
        check(&slots, 5);
        // A value that came after its slot's row, while it could still be filled.
        let mut filled = in_order(0..30);
        filled[12].1 = false;
        filled.insert(14, (12, true));
        check(&filled, 4);
    }

    #[test]
    fn what_is_past_after_a_long_gap_is_judged() {
        let mut slots = in_order(0..20);
        // The first record after it is held until the second.
        slots.extend(in_order(70..90));
        for season in [1, 4, 30, 60] {
            check(&slots, season);
        }
    }

    #[test]
    fn the_end_of_the_data_is_no_earlier_for_a_series_that_ends_late() {
        let mut slots = in_order(0..20);
        slots.swap(18, 19);
        check(&slots, 3);
    }

    #[test]
    fn memory_does_not_grow_with_the_stream() {
        let scope = scope(50);
        let (mut windows, mut track) = (table(), Track::new("s", None));
        let mut waiting = Vec::new();
        let mut most = 0;
        for slot in 0..5_000 {
            let time = Timestamp((START + slot) * STEP_MS);
            let reading = Reading {
                series: "s",
                time: Some(time),
                cells: &[Some(1.0)],
            };
            let offset = Offset::new(slot).unwrap();
            let Verdict::Folded(key) = windows.fold((offset, Some(time)), &reading).verdict else {
                panic!("{slot} did not fold");
            };
            waiting.push((track.observe(&scope, &windows.window(key).unwrap()), slot));
            if slot % 10 == 0 {
                run(&mut track, &scope, &mut waiting);
            }
            most = most.max(track.observed.len() + track.values.len());
        }
        // A season, the horizon, the delay, and what waits for a run; two values of each origin.
        assert!(most < 120, "{most} values were kept");
    }

    #[test]
    fn a_series_that_begins_again_elsewhere_has_to_be_closed_first() {
        let scope = scope(5);
        let (track, _) = tracked(&in_order(0..10), 1, &scope);
        assert!(track.continues(&scope, Slot(3)), "it is closed");
        let mut windows = table();
        let mut open = Track::new("s", None);
        let reading = Reading {
            series: "s",
            time: Some(Timestamp(START * STEP_MS)),
            cells: &[Some(1.0)],
        };
        windows.fold((Offset::new(0).unwrap(), reading.time), &reading);
        open.observe(&scope, &windows.window_of("s").unwrap());
        assert!(open.continues(&scope, Slot(START + 11)));
        assert!(!open.continues(&scope, Slot(START + 12)));
        assert!(!open.continues(&scope, Slot(START)));
    }
}
