//! `[window]`: the grid, what is kept per series, and how a partition judges its records.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::domain::{
    Grid, WINDOW_FEATURES_MAX, WINDOW_GAP_MAX, WINDOW_LENGTH_MAX, WINDOW_SERIES_MAX, WindowBounds,
};

use super::reader::Section;
use super::{dump, input, kind, units};

/// What the windows of a partition hold. Everything here decides what replay folds, so a change
/// makes the worker build its windows anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub grid: Grid,
    /// Slots that a model may ask for.
    pub length: NonZeroUsize,
    /// Slots kept beyond `length`, and the most by which a series may jump ahead.
    pub gap_max: usize,
    /// Names of the record fields that are kept, in the order of a window's columns.
    pub features: Vec<String>,
    /// How far a time may lie after its record's timestamp.
    pub future_max: Duration,
    /// How far a time may lie from its slot.
    pub grid_tolerance: Duration,
    /// Series kept per partition.
    pub series_max: NonZeroUsize,
    /// Stream time after which an unchanged series is forgotten.
    pub series_idle: Duration,
    pub missing: Missing,
    pub on_conflict: OnConflict,
    /// Conflicting duplicates in a row that raise the collapse alarm.
    pub collapse_after: NonZeroU32,
}

/// What becomes of an observation in which a feature is null or absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Impute,
    Reject,
}

/// What becomes of an observation that contradicts one that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    Keep,
    Replace,
}

const MISSING: [(&str, Missing); 2] = [("impute", Missing::Impute), ("reject", Missing::Reject)];
const ON_CONFLICT: [(&str, OnConflict); 2] =
    [("keep", OnConflict::Keep), ("replace", OnConflict::Replace)];

/// The keys on which the others depend.
struct Shape {
    grid: Grid,
    length: NonZeroUsize,
    gap_max: usize,
}

impl Window {
    /// What the cells of one partition's windows may take at most.
    pub const BYTES_MAX: usize = 64 << 30;
    const GAP_MAX: usize = 3;
    const SERIES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);
    const COLLAPSE_AFTER: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);
    const COLLAPSE_AFTER_MAX: usize = 1_000_000;
    const IDLE_MAX: Duration = Duration::from_hours(24 * 366 * 1000);
    /// Times may be this part of a step off their slot, unless configured.
    const TOLERANCE_PERCENT: u32 = 10;

    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let shape = Shape::read(section);
        let features = section.required(
            "features",
            &kind::list(1..=WINDOW_FEATURES_MAX, input::field()),
        );
        let limits = Limits::read(section, shape.as_ref());
        let series_max = section.or(
            "series_max",
            Self::SERIES_MAX,
            &kind::positive(WINDOW_SERIES_MAX),
        );
        let missing = section.or("missing", Missing::Impute, &kind::choice(&MISSING));
        let on_conflict = section.or("on_conflict", OnConflict::Keep, &kind::choice(&ON_CONFLICT));
        let collapse_after = section.or(
            "collapse_after",
            Self::COLLAPSE_AFTER,
            &kind::positive(Self::COLLAPSE_AFTER_MAX),
        );
        let collapse_after = collapse_after.and_then(|count| NonZeroU32::try_from(count).ok());
        let Shape {
            grid,
            length,
            gap_max,
        } = shape?;
        let Limits {
            future_max,
            grid_tolerance,
            series_idle,
        } = limits?;
        let window = Self {
            grid,
            length,
            gap_max,
            features: features?,
            future_max,
            grid_tolerance,
            series_max: series_max?,
            series_idle,
            missing: missing?,
            on_conflict: on_conflict?,
            collapse_after: collapse_after?,
        };
        window.refuse_too_large(section);
        Some(window)
    }

    /// Slots kept per series.
    pub fn slots(&self) -> usize {
        self.length.get() + self.gap_max
    }

    /// Time from the oldest slot kept to the end of the newest.
    pub fn span(&self) -> Duration {
        millis(WindowBounds::new(self.grid, self.slots()).span_ms)
    }

    fn refuse_too_large(&self, section: &mut Section<'_>) {
        let cells = self.slots() * self.features.len();
        let bytes = cells
            .saturating_mul(size_of::<f64>())
            .saturating_mul(self.series_max.get());
        if bytes > Self::BYTES_MAX {
            let size = |size: usize| units::format_size(u64::try_from(size).unwrap_or(u64::MAX));
            let problem = format!(
                "with {} slots of {} features the windows of one partition would take up to {}; \
                 at most {} are allowed",
                self.slots(),
                self.features.len(),
                size(bytes & !((1 << 20) - 1)),
                size(Self::BYTES_MAX),
            );
            section.reader().refuse("window.series_max", problem);
        }
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            grid,
            length,
            gap_max,
            features,
            future_max,
            grid_tolerance,
            series_max,
            series_idle,
            missing,
            on_conflict,
            collapse_after,
        } = self;
        dump::table([
            ("step", dump::duration(millis(grid.step_ms()))),
            ("phase", dump::duration(millis(grid.phase_ms()))),
            ("length", dump::count(length.get())),
            ("gap_max", dump::count(*gap_max)),
            ("features", features.clone().into()),
            ("future_max", dump::duration(*future_max)),
            ("grid_tolerance", dump::duration(*grid_tolerance)),
            ("series_max", dump::count(series_max.get())),
            ("series_idle", dump::duration(*series_idle)),
            ("missing", dump::choice(&MISSING, *missing)),
            ("on_conflict", dump::choice(&ON_CONFLICT, *on_conflict)),
            ("collapse_after", i64::from(collapse_after.get()).into()),
        ])
    }
}

impl Shape {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let step_max = millis(Grid::STEP_MS_MAX);
        let steps: RangeInclusive<Duration> = Duration::from_millis(1)..=step_max;
        let step = section.required("step", &kind::duration(steps));
        let phases: RangeInclusive<Duration> = Duration::ZERO..=step_max;
        let phase = section.or("phase", Duration::ZERO, &kind::duration(phases));
        let length = section.required("length", &kind::positive(WINDOW_LENGTH_MAX));
        let gap_max = section.or("gap_max", Window::GAP_MAX, &kind::count(0..=WINDOW_GAP_MAX));
        let grid = match Grid::new(whole_millis(step?), whole_millis(phase?)) {
            Ok(grid) => Some(grid),
            Err(error) => {
                section.reader().refuse("window.phase", error.to_string());
                None
            }
        };
        Some(Self {
            grid: grid?,
            length: length?,
            gap_max: gap_max?,
        })
    }
}

/// The keys whose bounds and defaults follow from the shape.
struct Limits {
    future_max: Duration,
    grid_tolerance: Duration,
    series_idle: Duration,
}

impl Limits {
    /// Without a shape there are no bounds to judge by: the keys are taken, so that they are known.
    fn read(section: &mut Section<'_>, shape: Option<&Shape>) -> Option<Self> {
        let any = || kind::duration(Duration::ZERO..=Window::IDLE_MAX);
        let Some(shape) = shape else {
            section.optional("future_max", &any());
            section.optional("grid_tolerance", &kind::text("", |_| true));
            section.optional("series_idle", &any());
            return None;
        };
        let step = millis(shape.grid.step_ms());
        let bounds = WindowBounds::new(shape.grid, shape.length.get() + shape.gap_max);
        let future_max = section.or(
            "future_max",
            millis(bounds.future_max_default_ms),
            &kind::duration(Duration::ZERO..=millis(bounds.future_max_most_ms)),
        );
        let grid_tolerance = section.or(
            "grid_tolerance",
            share(step, Window::TOLERANCE_PERCENT),
            &tolerance(step, millis(bounds.grid_tolerance_most_ms)),
        );
        let idle_least = millis(bounds.series_idle_least_ms);
        let series_idle = section.or(
            "series_idle",
            idle_least,
            &kind::duration(idle_least..=Window::IDLE_MAX.max(idle_least)),
        );
        Some(Self {
            future_max: future_max?,
            grid_tolerance: grid_tolerance?,
            series_idle: series_idle?,
        })
    }
}

/// A share of the step or a duration.
fn tolerance<'k>(step: Duration, most: Duration) -> kind::Kind<'k, Duration> {
    let duration = kind::duration(Duration::ZERO..=most);
    let allowed = format!(
        "a share of the step such as \"10 %\", or {}",
        duration.allowed
    );
    kind::Kind::new(allowed, move |value| {
        let percent = kind::text_of(value).and_then(|text| text.strip_suffix('%'));
        match percent {
            Some(percent) => Some(share(step, percent.trim().parse().ok()?))
                .filter(|tolerance| *tolerance <= most),
            None => (duration.read)(value),
        }
    })
}

fn share(step: Duration, percent: u32) -> Duration {
    whole(step.saturating_mul(percent) / 100)
}

fn whole(duration: Duration) -> Duration {
    millis(whole_millis(duration))
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
