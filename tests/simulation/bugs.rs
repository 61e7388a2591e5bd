//! Mistakes that can be built into the simulated worker, to see that the checks find them.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The transaction has the outputs and not the offsets.
    SkipsOffsets,
    /// A snapshot is stored before its position is committed.
    SnapshotBeforeCommit,
    /// A restored partition is served from beyond the committed offset.
    RestoresPastCommit,
    /// Partitions that were taken away are committed all the same.
    IgnoresOwnership,
    /// An observation that nobody wants a forecast for any more is not folded.
    ExpiryTouchesState,
    /// After an abort the records of a batch are folded again.
    FoldsTwice,
    /// A consumer that is in no group commits with what its metadata says.
    CommitsWithoutGeneration,
    /// After an indefinite result the same producer goes on.
    NoInitialisation,
    /// Committed offsets are read while a transaction may move them.
    ReadsUnstable,
    /// The client sends an unanswered request again and tells nobody.
    RetriesUnseen,
}

impl Bug {
    pub(crate) const ALL: [Self; 10] = [
        Self::SkipsOffsets,
        Self::SnapshotBeforeCommit,
        Self::RestoresPastCommit,
        Self::IgnoresOwnership,
        Self::ExpiryTouchesState,
        Self::FoldsTwice,
        Self::CommitsWithoutGeneration,
        Self::NoInitialisation,
        Self::ReadsUnstable,
        Self::RetriesUnseen,
    ];
}
