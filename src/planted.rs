//! Bugs that can be planted in the worker, to see that the tests' checks find them (docs/exactly-once-tests.md,
//! "Planted bugs").
//!
//! Without the feature `planted-bugs`, which no release has, nothing can be planted, and every question here
//! is answered when the worker is compiled.

/// A bug. The simulation has these and some more (`tests/simulation/bugs.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The transaction has the outputs and not the offsets.
    SkipsOffsets,
    /// A snapshot is stored before its position is committed.
    SnapshotBeforeCommit,
    /// A restored partition is served from beyond the committed offset.
    RestoresPastCommit,
    /// A restored partition is served from where its replay begins.
    ReplayEmits,
    /// Partitions that were taken away are committed all the same.
    IgnoresOwnership,
    /// An observation that is older than anybody wants is not folded.
    ExpiryTouchesState,
    /// Every record is folded twice.
    FoldsTwice,
    /// What is committed is committed as by a consumer that is in no generation of the group.
    CommitsWithoutGeneration,
    /// The work for a partition panics at a [marked](MARK) record, the first two times.
    PanicsTwice,
    /// The same each time.
    Panics,
    /// A run of the model panics, the first behind a [marked](MARK) record, and none when that record is read
    /// again.
    ModelPanics,
}

/// Key of the records at which a worker panics that is told to.
pub const MARK: &str = "marked";

impl Bug {
    pub const ALL: [Self; 11] = [
        Self::SkipsOffsets,
        Self::SnapshotBeforeCommit,
        Self::RestoresPastCommit,
        Self::ReplayEmits,
        Self::IgnoresOwnership,
        Self::ExpiryTouchesState,
        Self::FoldsTwice,
        Self::CommitsWithoutGeneration,
        Self::PanicsTwice,
        Self::Panics,
        Self::ModelPanics,
    ];

    /// What it is called by whoever plants it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SkipsOffsets => "skips_offsets",
            Self::SnapshotBeforeCommit => "snapshot_before_commit",
            Self::RestoresPastCommit => "restores_past_commit",
            Self::ReplayEmits => "replay_emits",
            Self::IgnoresOwnership => "ignores_ownership",
            Self::ExpiryTouchesState => "expiry_touches_state",
            Self::FoldsTwice => "folds_twice",
            Self::CommitsWithoutGeneration => "commits_without_generation",
            Self::PanicsTwice => "panics_twice",
            Self::Panics => "panics",
            Self::ModelPanics => "model_panics",
        }
    }
}

#[cfg(not(feature = "planted-bugs"))]
mod switch {
    use super::Bug;

    /// Whether the worker has this bug.
    pub const fn planted(_bug: Bug) -> bool {
        false
    }

    /// Whether the work for a record with this key at this offset is to panic.
    pub(crate) const fn panics_at(_key: Option<&[u8]>, _offset: i64) -> bool {
        false
    }

    /// Whether the run of the model that is under way is to panic.
    pub(crate) const fn panics_in_run() -> bool {
        false
    }
}

#[cfg(feature = "planted-bugs")]
mod switch {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

    use super::{Bug, MARK};

    static PLANTED: OnceLock<Bug> = OnceLock::new();
    /// Marked records that were met.
    static MARKS: AtomicU32 = AtomicU32::new(0);
    /// The last of them; those of one key are in one partition.
    static MARKED_AT: AtomicI64 = AtomicI64::new(-1);
    /// Whether the next run of the model is to panic.
    static IN_RUN: AtomicBool = AtomicBool::new(false);

    /// Plants a bug by its label, for as long as the process lives; false where there is no such bug, or one
    /// is planted already.
    pub fn plant(label: &str) -> bool {
        let bug = Bug::ALL.into_iter().find(|bug| bug.label() == label);
        bug.is_some_and(|bug| PLANTED.set(bug).is_ok())
    }

    /// Whether the worker has this bug.
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(&bug)
    }

    /// Whether the work for a record with this key at this offset is to panic.
    pub(crate) fn panics_at(key: Option<&[u8]>, offset: i64) -> bool {
        if key != Some(MARK.as_bytes()) {
            return false;
        }
        match PLANTED.get() {
            Some(Bug::Panics) => true,
            Some(Bug::PanicsTwice) => MARKS.fetch_add(1, Ordering::Relaxed) < 2,
            Some(Bug::ModelPanics) => {
                if MARKED_AT.swap(offset, Ordering::Relaxed) != offset {
                    IN_RUN.store(true, Ordering::Relaxed);
                }
                false
            }
            Some(
                Bug::SkipsOffsets
                | Bug::SnapshotBeforeCommit
                | Bug::RestoresPastCommit
                | Bug::ReplayEmits
                | Bug::IgnoresOwnership
                | Bug::ExpiryTouchesState
                | Bug::FoldsTwice
                | Bug::CommitsWithoutGeneration,
            )
            | None => false,
        }
    }

    /// Whether the run of the model that is under way is to panic.
    pub(crate) fn panics_in_run() -> bool {
        IN_RUN.swap(false, Ordering::Relaxed)
    }
}

#[cfg(feature = "planted-bugs")]
pub use switch::plant;
pub use switch::planted;
pub(crate) use switch::{panics_at, panics_in_run};
