//! What happens in the runs, counted: a fault that never happens proves nothing.

use std::fmt;

macro_rules! hits {
    ($($name:ident => $text:literal,)*) => {
        /// A kind of thing that happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Hit {
            $($name,)*
        }

        impl Hit {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

hits! {
    Assigned => "partition assigned",
    Revoked => "partition revoked",
    Lost => "partition lost",
    RevokedTooSlowly => "revocation that waited in vain",
    Kicked => "member thrown out of the group",
    Expired => "session of a paused or dead process expired",
    Paused => "process paused",
    CutOff => "process cut off from the group's coordinator",
    ZombieRefused => "commit of a stale member refused",
    NotAMember => "commit put off for want of a membership",
    Stopped => "graceful stop",
    CrashIdle => "crash with nothing to do",
    CrashBeforeBegin => "crash before a transaction begins",
    CrashAfterProduce => "crash after producing",
    CrashAfterOffsets => "crash after sending the offsets",
    CrashEndUnanswered => "crash after EndTxn was sent",
    CrashAfterCommit => "crash after a commit, before its snapshot",
    CrashInUpload => "crash while a snapshot is stored",
    CrashInRevoke => "crash in a revocation",
    CrashInReplay => "crash in a replay",
    AnswerLost => "answer lost",
    RequestLost => "request lost",
    RequestLate => "request late",
    RequestDoubled => "request doubled",
    LateEnd => "late EndTxn handled by the broker",
    LateOffsets => "late TxnOffsetCommit handled by the broker",
    LateOther => "another late request handled by the broker",
    Aborted => "transaction aborted and sent again",
    Fenced => "producer fenced",
    OutOfTime => "transaction ended by the coordinator's time-out",
    Reinitialised => "producer initialised anew",
    Disturbed => "producer replaced for a request that may have been sent twice",
    SettledCommitted => "commit without a result: it was committed",
    SettledNot => "commit without a result: it was not committed",
    SettledElsewhere => "commit without a result: another offset is committed",
    SettledSilent => "commit without a result: it moved nothing",
    Reassigned => "partition restored once more",
    EndedFenced => "worker ended by itself: fenced too often",
    EndedAtGap => "worker ended by itself: records were deleted before they were read",
    EndedByPanics => "worker ended by itself: a partition panicked too often",
    Twin => "twin with the same transactional id started",
    UpstreamAborted => "input transaction aborted",
    Deleted => "records deleted below the committed offset",
    DeletedUnread => "records deleted before they were read",
    GapMetReading => "deleted records met while reading",
    GapMetRestoring => "deleted records met by a restore",
    GapSkipped => "gap skipped, and recorded",
    Unproven => "went on without a proof, as its records were deleted",
    DeletedInReplay => "records deleted while a restore reads them",
    Panicked => "work for a partition panicked",
    UnstableRead => "committed offset not stable when asked for",
    RestoredFromLog => "restore from the log",
    RestoredFromSnapshot => "restore from a snapshot",
    RestoredFromKept => "restore from windows that were still held",
    RestoredFurtherBack => "restore that began again further back",
    RestoredFirst => "first start",
    RestoreStale => "restored state that came too late",
    RestoreDoubled => "restored state that came twice",
    SnapshotStored => "snapshot stored",
    SnapshotFailed => "snapshot not stored",
    SnapshotDamaged => "snapshot damaged",
    SnapshotUnreadable => "damaged snapshot met by a restore",
    SnapshotFuture => "snapshot of a later position put in",
    SnapshotLost => "snapshots lost",
    StaleDropped => "output batch of an ended assignment dropped",
    NotEmitted => "forecast expired",
    Full => "partition paused, as its queue was full",
    NoRoom => "output that waited for room",
    InTime => "transaction that nothing held",
    CommitsFailing => "not ready, as commits fail",
    CommandGiven => "command to a model slot given",
    CommandAgain => "command read again",
    ModelNotFetched => "package not fetched, to be tried again",
    ModelRefused => "package refused",
    ModelWarm => "package verified and warm",
    ModelUnloaded => "package unloaded",
    HeldForModel => "partition held until the model in force is warm",
    ServedPromoted => "record of a model that a command names",
}

/// How often each kind was met, and how much was done.
#[derive(Clone, Debug)]
pub(crate) struct Hits {
    counts: Vec<u64>,
    pub(crate) events: u64,
    /// Of the seed that had the fewest.
    pub(crate) events_min: u64,
    pub(crate) records: u64,
    pub(crate) transactions: u64,
}

impl Default for Hits {
    fn default() -> Self {
        Self {
            counts: vec![0; Hit::ALL.len()],
            events: 0,
            events_min: u64::MAX,
            records: 0,
            transactions: 0,
        }
    }
}

impl Hits {
    pub(crate) fn add(&mut self, hit: Hit) {
        let place = Hit::ALL.iter().position(|one| *one == hit).unwrap();
        self.counts[place] += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.events += other.events;
        self.events_min = self.events_min.min(other.events_min);
        self.records += other.records;
        self.transactions += other.transactions;
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (Hit, u64)> {
        Hit::ALL.iter().copied().zip(self.counts.iter().copied())
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (hit, count) in self.each() {
            writeln!(f, "{count:>10}  {}", hit.text())?;
        }
        let Self {
            events,
            events_min,
            records,
            transactions,
            counts: _,
        } = self;
        write!(
            f,
            "{events} events ({events_min} or more in each), {records} records, {transactions} commits"
        )
    }
}
