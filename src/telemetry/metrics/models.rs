//! What is counted of commands to model slots, and of packages.

use metrics::counter;

use super::catalogue::{CONTROL_RECORDS, MODEL_LOADS};

/// What a record of the control topic did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlResult {
    Staged,
    Activated,
    Retired,
    /// It was folded before, or a command of its id was.
    Repeated,
    /// A command that is not obeyed.
    Refused,
    /// No command.
    Garbage,
}

/// What came of loading a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadResult {
    Warm,
    /// It is tried again.
    Failed,
    Refused,
}

impl ControlResult {
    pub const ALL: [Self; 6] = [
        Self::Staged,
        Self::Activated,
        Self::Retired,
        Self::Repeated,
        Self::Refused,
        Self::Garbage,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Activated => "activated",
            Self::Retired => "retired",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
            Self::Garbage => "garbage",
        }
    }
}

impl LoadResult {
    pub const ALL: [Self; 3] = [Self::Warm, Self::Failed, Self::Refused];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

pub(super) fn describe() {
    for result in ControlResult::ALL {
        counter!(CONTROL_RECORDS, "result" => result.label()).absolute(0);
    }
    for result in LoadResult::ALL {
        counter!(MODEL_LOADS, "result" => result.label()).absolute(0);
    }
}

/// A record of the control topic was folded.
pub fn control_record(result: ControlResult) {
    counter!(CONTROL_RECORDS, "result" => result.label()).increment(1);
}

/// An attempt to load a package ended.
pub fn model_load(result: LoadResult) {
    counter!(MODEL_LOADS, "result" => result.label()).increment(1);
}
