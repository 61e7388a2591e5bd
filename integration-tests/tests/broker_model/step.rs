//! The requests of a history, and what both clusters are asked to do with them.

use anyhow::Result;

/// Which producer instance of a history.
pub(crate) type Instance = &'static str;

/// How a commit of offsets names its member.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// As the member is now.
    Present,
    /// As it was one generation ago.
    Stale,
    /// A consumer that has not joined.
    Nobody,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A producer instance starts with a transactional id and a transaction timeout.
    Init(Instance, &'static str, u64),
    Add(Instance),
    /// A record, with its number within the epoch.
    Produce(Instance, i32, &'static str),
    AddOffsets(Instance),
    CommitOffsets(Instance, Who, i64),
    Commit(Instance),
    Abort(Instance),
    Join,
    JoinAgain,
    Leave,
    /// Outside of any transaction.
    PlainCommit(Who, i64),
    /// The committed offset, without waiting for a transaction that may move it.
    OffsetNow,
    /// The same, as the new owner of a partition asks: not while a transaction may move it.
    StableNow,
    /// The same, when no answer is pending any more.
    Stable,
    /// Last stable offset and visible records.
    Read,
    /// Deletes what lies below an offset.
    Delete(i64),
    /// Asks for records from an offset on: where the log begins, and the last stable offset.
    Fetch(i64),
    /// Until transactions of this timeout are aborted.
    Overdue(u64),
}

/// One of the two.
pub(crate) trait Cluster {
    /// What the answer to a request is, or what is visible. `expected` is the other one's, for those that
    /// come true in time.
    fn answer(&mut self, step: Step, expected: Option<&str>) -> Result<String>;
}
