//! Why a series gets forecasts, or does not: an [`Explanation`] of the windows of a partition.
//!
//! A pure function of what the partition has, the model's contract and the last outcomes. A lane calls it
//! for the admin endpoint, and `foretell explain` for windows that it has rebuilt: both say the same.
//! `need` is the arithmetic of what the model's window lacks, `sentence` is the answer in words.

mod inquiry;
mod need;
mod sentence;
#[cfg(test)]
mod tests;
mod window;

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::lineage::Lineage;
use crate::domain::{NextOffset, Offset, Outcome, PartitionId, partition_of};
use crate::infer::{Binding, Contract};
use crate::window::Table;

pub use inquiry::{Inquiry, LaneAnswer};

/// Slots that are told unless more are asked for.
pub const SLOTS_DEFAULT: usize = 12;
/// Most slots that are told.
pub const SLOTS_MAX: usize = 512;
/// Missing cells that are told one by one.
const MISSING_SHOWN_MAX: usize = 12;

/// What is known of a series in one partition. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub series: String,
    pub topic: String,
    /// The partition that was looked into.
    pub partition: i32,
    /// The partition that Kafka's Java client gives the series.
    pub home_partition: i32,
    /// All records below this offset are in it.
    pub position: i64,
    /// `None` until a record of the partition was accepted.
    pub stream_time: Option<i64>,
    pub verdict: Verdict,
    /// The answer in words.
    pub sentence: String,
    /// The time of the next observation with which a forecast can be due, if all before it arrive.
    pub next_forecast: Option<i64>,
    /// `None` where the partition has no window of the series.
    pub window: Option<WindowFacts>,
    pub model: ModelFacts,
    /// Newest first.
    pub outcomes: Vec<RecentOutcome>,
}

/// The answer in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No record of the series was accepted, or it was evicted.
    Unknown,
    /// Its first observation is too young for the model's window.
    WarmingUp,
    /// Cells are missing for more than `gap_max` slots.
    Gap,
    /// More cells are missing than the model accepts.
    TooManyImputed,
    /// The model's window is complete.
    Complete,
}

/// The window of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowFacts {
    pub step_ms: i64,
    /// Slots that are kept: the configured length and `gap_max`.
    pub kept: usize,
    /// Of them, those with an observation.
    pub known: usize,
    pub gap_max: usize,
    pub newest: i64,
    pub features: Vec<String>,
    /// The newest slots, oldest first.
    pub slots: Vec<SlotFacts>,
    pub held: Option<HeldFacts>,
    /// How the known slots lie in time; `None` where there is only one.
    pub distances: Option<Distances>,
    /// Stream time of the last fold or fill.
    pub last_change: i64,
    /// The series is forgotten once stream time is past this.
    pub evicted_after: i64,
    /// Observations at or before this are refused as `late`.
    pub late_until: i64,
    /// A record below this offset may be missing from the window.
    pub whole_from: i64,
    pub lowest_offset: i64,
    /// Forecasts are marked partial.
    pub partial: bool,
}

/// One slot of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotFacts {
    pub time: i64,
    /// The lowest offset of the records that made the row; `None` where there is none.
    pub offset: Option<i64>,
    /// One per feature, `None` where it is missing.
    pub cells: Vec<Option<f64>>,
}

/// The record that is held aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldFacts {
    pub time: i64,
    pub offset: i64,
    /// How many steps it lies ahead of the newest slot.
    pub steps_ahead: i64,
    pub cells: Vec<Option<f64>>,
}

/// How far apart the known slots are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// The most frequent distance.
    pub modal_ms: i64,
    /// Its share of all distances.
    pub modal_share: f64,
    pub smallest_ms: i64,
    pub largest_ms: i64,
}

/// What the model in force needs of the series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    pub name: String,
    pub version: String,
    pub digest: String,
    /// Slots that it sees.
    pub window: usize,
    pub imputed_max: Option<u32>,
    pub features: Vec<String>,
    /// Missing cells in its window.
    pub missing: usize,
    /// Of them, those that no value at most `gap_max` slots back can fill.
    pub unfillable: usize,
    /// The newest of the unfillable ones, oldest first; of the missing ones where all can be filled.
    pub missing_cells: Vec<MissingCell>,
    /// Observations in a row, all their features present, until the window is complete.
    pub observations_needed: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingCell {
    pub time: i64,
    pub feature: String,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentOutcome {
    pub offset: i64,
    pub outcome: String,
    /// Why it was refused.
    pub reason: Option<String>,
    /// False where it is `folded` in a replay that began too late to tell whether a forecast was due.
    pub certain: bool,
}

impl RecentOutcome {
    pub fn new((offset, outcome): (Offset, Outcome), certain: bool) -> Self {
        let reason = outcome.dead_letter_reason();
        Self {
            offset: offset.get(),
            outcome: outcome.label().to_owned(),
            reason: reason.map(|reason| reason.label().to_owned()),
            certain,
        }
    }
}

/// Where the windows lie that are asked.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub topic: &'a str,
    pub partition: PartitionId,
    /// Number of partitions of the topic.
    pub partitions: NonZeroU32,
    pub position: NextOffset,
}

/// What a partition has.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    pub windows: &'a Table,
    pub lineage: Lineage,
}

/// The model in force, and the windows that it is bound to.
#[derive(Clone, Copy, Debug)]
pub struct InForce<'a> {
    pub contract: &'a Contract,
    pub digest: &'a str,
    pub binding: &'a Binding,
    /// Names of the features that the windows keep.
    pub features: &'a [String],
}

/// A series, and how much is to be told of it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub series: &'a str,
    /// How many of its newest slots, at most [`SLOTS_MAX`].
    pub slots: usize,
}

/// Explains a series from the windows of one partition.
pub fn explain(
    question: Question<'_>,
    place: Place<'_>,
    state: State<'_>,
    model: InForce<'_>,
    outcomes: Vec<RecentOutcome>,
) -> Explanation {
    let windows = state.windows;
    let window = windows.window_of(question.series);
    let need = window.map(|window| need::need(&window, windows.config(), model));
    let grid = windows.config().grid();
    let next_forecast = window.zip(need.as_ref()).map(|(window, need)| {
        let steps = i64::try_from(need.observations.max(1)).unwrap_or(i64::MAX);
        grid.time(window.newest().plus(steps)).0
    });
    let mut explanation = Explanation {
        series: question.series.to_owned(),
        topic: place.topic.to_owned(),
        partition: place.partition.0,
        home_partition: partition_of(question.series.as_bytes(), place.partitions).0,
        position: place.position.get(),
        stream_time: windows.stream_time().map(|time| time.0),
        verdict: need.as_ref().map_or(Verdict::Unknown, |need| need.verdict),
        sentence: String::new(),
        next_forecast,
        window: window.map(|window| window::facts(&window, state, model.features, question.slots)),
        model: need::facts(model, need.as_ref(), windows.config(), window.as_ref()),
        outcomes,
    };
    explanation.sentence = sentence::sentence(&explanation);
    explanation
}
