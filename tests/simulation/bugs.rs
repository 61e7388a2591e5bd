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
    /// Records of transactions that are not committed are read.
    ReadsUncommitted,
    /// Records that were deleted are skipped, and no record says so.
    SkipsUnrecorded,
    /// Records that were deleted are skipped where that was not asked for.
    SkipsUnasked,
    /// The model is run while a transaction is open.
    ComputesInTransaction,
    /// A replay hands over what comes of the records.
    ReplayEmits,
    /// A full queue takes more.
    NeverPauses,
    /// The room of a batch is not given back.
    KeepsRoom,
    /// The state of a partition whose work panicked is gone on with.
    SurvivesPanic,
    /// A worker is ready before its partitions are restored.
    ReadyTooEarly,
    /// A model serves that is not verified yet.
    ServesUnverified,
}

impl Bug {
    /// Each with the first word of what finds it: an invariant's number, or the windows' own assertion.
    pub(crate) const ALL: [(Self, &'static str); 20] = [
        (Self::SkipsOffsets, "I2"),
        (Self::SnapshotBeforeCommit, "I6"),
        (Self::RestoresPastCommit, "I5"),
        (Self::IgnoresOwnership, "I4"),
        (Self::ExpiryTouchesState, "I12"),
        (Self::FoldsTwice, "record"),
        (Self::CommitsWithoutGeneration, "I4"),
        (Self::NoInitialisation, "I1"),
        (Self::ReadsUnstable, "I3"),
        (Self::RetriesUnseen, "I3"),
        (Self::ReadsUncommitted, "I11"),
        (Self::SkipsUnrecorded, "I18"),
        (Self::SkipsUnasked, "I18"),
        (Self::ComputesInTransaction, "I9"),
        (Self::ReplayEmits, "I10"),
        (Self::NeverPauses, "I15"),
        (Self::KeepsRoom, "I15"),
        (Self::SurvivesPanic, "I14"),
        (Self::ReadyTooEarly, "I17"),
        (Self::ServesUnverified, "I19"),
    ];
}
