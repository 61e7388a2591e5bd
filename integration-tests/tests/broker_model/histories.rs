//! What the simulation rests on, history by history.

use anyhow::{Context, Result, ensure};
use integration_tests::kafka;

use crate::model::Model;
use crate::real::{Real, Requests};
use crate::step::Step::{
    Abort, Add, AddOffsets, Commit, CommitOffsets, Delete, Fetch, Init, Join, JoinAgain, Leave,
    OffsetNow, Overdue, PlainCommit, Produce, Read, Stable, StableNow,
};
use crate::step::Who::{Nobody, Present, Stale};
use crate::step::{Cluster as _, Step};

/// A transaction timeout that no history reaches.
const LONG: u64 = 60_000;
const SHORT: u64 = 1_000;

/// A history's name, its requests, and the answers that it is there for: the place of a request and what
/// both must say to it.
type History = (
    &'static str,
    &'static [Step],
    &'static [(usize, &'static str)],
);

const HISTORIES: [History; 13] = [
    (
        "commit",
        &[
            Init("a", "id", LONG),
            Join,
            Add("a"),
            Produce("a", 0, "one"),
            Produce("a", 1, "two"),
            AddOffsets("a"),
            CommitOffsets("a", Present, 5),
            Read,
            OffsetNow,
            StableNow,
            Commit("a"),
            Read,
            Stable,
            // Answered before, asked again.
            Commit("a"),
            Abort("a"),
            // The next transaction has the same epoch.
            Add("a"),
            Produce("a", 2, "three"),
            AddOffsets("a"),
            CommitOffsets("a", Present, 9),
            Read,
            Commit("a"),
            Read,
            Stable,
        ],
        &[
            (7, "to 0:"),
            (9, "Unstable"),
            (11, "to 3: 0=one 1=two"),
            (12, "5 \"at 5\""),
            (13, "Ok"),
            (14, "InvalidState"),
        ],
    ),
    (
        "abort",
        &[
            Init("a", "id", LONG),
            Join,
            Add("a"),
            Produce("a", 0, "one"),
            AddOffsets("a"),
            CommitOffsets("a", Present, 5),
            Abort("a"),
            Read,
            Stable,
            Commit("a"),
            Abort("a"),
            Add("a"),
            Produce("a", 1, "one again"),
            Commit("a"),
            Read,
        ],
        &[
            (7, "to 2:"),
            (8, "none"),
            (9, "InvalidState"),
            (14, "to 4: 2=one again"),
        ],
    ),
    (
        "fenced",
        &[
            Init("old", "id", LONG),
            Join,
            Add("old"),
            Produce("old", 0, "orphan"),
            AddOffsets("old"),
            CommitOffsets("old", Present, 5),
            StableNow,
            Init("new", "id", LONG),
            Stable,
            Read,
            Commit("old"),
            Add("old"),
            Produce("old", 1, "zombie"),
            CommitOffsets("old", Present, 6),
            Add("new"),
            Produce("new", 0, "new"),
            Commit("old"),
            Abort("old"),
            Commit("new"),
            Read,
        ],
        &[
            (7, "epoch 2"),
            (8, "none"),
            (10, "Fenced"),
            (12, "Fenced"),
            (16, "Fenced"),
        ],
    ),
    (
        "twins",
        &[
            Init("first", "id", LONG),
            Init("second", "id", LONG),
            Add("first"),
            Add("second"),
            Produce("second", 0, "second"),
            Init("first", "id", LONG),
            Produce("second", 1, "second again"),
            Commit("second"),
            Add("first"),
            Produce("first", 0, "first"),
            Commit("first"),
            Read,
        ],
        &[(1, "epoch 1"), (2, "Fenced"), (5, "epoch 3"), (7, "Fenced")],
    ),
    (
        "timeout",
        &[
            Init("a", "id", SHORT),
            Join,
            Add("a"),
            Produce("a", 0, "slow"),
            AddOffsets("a"),
            CommitOffsets("a", Present, 5),
            Overdue(SHORT),
            Commit("a"),
            Abort("a"),
            Add("a"),
            Produce("a", 1, "slower"),
            Stable,
            Read,
            Init("again", "id", LONG),
        ],
        &[(7, "Fenced"), (11, "none"), (13, "epoch 2")],
    ),
    (
        "late-end",
        &[
            Init("a", "id", LONG),
            Join,
            Add("a"),
            Produce("a", 0, "whole"),
            AddOffsets("a"),
            CommitOffsets("a", Present, 5),
            Commit("a"),
            Add("a"),
            Produce("a", 1, "half"),
            // The commit of the transaction before, sent twice or late: half of this one is committed.
            Commit("a"),
            Read,
            Stable,
            Produce("a", 2, "other half"),
            CommitOffsets("a", Present, 9),
            // A new one begins, of which nobody knows.
            Add("a"),
            Produce("a", 2, "other half"),
            Abort("a"),
            Read,
        ],
        &[
            (10, "to 4: 0=whole 2=half"),
            (11, "5 \"at 5\""),
            (12, "InvalidState"),
        ],
    ),
    (
        "late-offsets",
        &[
            Init("a", "id", LONG),
            Join,
            AddOffsets("a"),
            CommitOffsets("a", Present, 5),
            Commit("a"),
            // Late, between two transactions: refused.
            Stable,
            CommitOffsets("a", Present, 5),
            AddOffsets("a"),
            CommitOffsets("a", Present, 9),
            // Late, into the next transaction: the offset goes back.
            CommitOffsets("a", Present, 5),
            Commit("a"),
            Stable,
        ],
        &[(6, "InvalidState"), (9, "Ok"), (11, "5 \"at 5\"")],
    ),
    (
        "generations",
        &[
            Init("a", "id", LONG),
            Join,
            JoinAgain,
            AddOffsets("a"),
            CommitOffsets("a", Stale, 5),
            CommitOffsets("a", Present, 6),
            Commit("a"),
            Stable,
            PlainCommit(Stale, 7),
            PlainCommit(Present, 8),
            Stable,
            Leave,
            AddOffsets("a"),
            CommitOffsets("a", Present, 9),
            PlainCommit(Present, 9),
            Abort("a"),
            Stable,
        ],
        &[
            (4, "IllegalGeneration"),
            (8, "IllegalGeneration"),
            (13, "UnknownMember"),
        ],
    ),
    (
        "never-joined",
        &[
            Init("a", "id", LONG),
            Join,
            AddOffsets("a"),
            CommitOffsets("a", Nobody, 7),
            Commit("a"),
            Stable,
            PlainCommit(Nobody, 8),
            Leave,
            PlainCommit(Nobody, 9),
            Stable,
        ],
        &[
            (3, "Ok"),
            (5, "7 \"at 7\""),
            (6, "UnknownMember"),
            (9, "9 \"at 9\""),
        ],
    ),
    (
        "two-writers",
        &[
            Init("a", "one", LONG),
            Init("b", "two", LONG),
            Join,
            Add("a"),
            Add("b"),
            Produce("a", 0, "a1"),
            Produce("b", 0, "b1"),
            Produce("a", 1, "a2"),
            AddOffsets("a"),
            CommitOffsets("a", Present, 5),
            AddOffsets("b"),
            CommitOffsets("b", Present, 4),
            Commit("b"),
            // Behind the other's first record nothing is stable.
            Read,
            StableNow,
            Abort("a"),
            Read,
            Stable,
        ],
        &[(13, "to 0:"), (14, "Unstable"), (17, "4 \"at 4\"")],
    ),
    (
        "sequences",
        &[
            Init("a", "id", LONG),
            Produce("a", 0, "before it was added"),
            Add("a"),
            Produce("a", 0, "one"),
            Produce("a", 0, "one"),
            Produce("a", 3, "four"),
            Produce("a", 1, "two"),
            Commit("a"),
            Read,
        ],
        &[
            (1, "InvalidState"),
            (4, "Ok"),
            (5, "OutOfSequence"),
            (8, "to 3: 0=one 1=two"),
        ],
    ),
    (
        "deleted",
        &[
            Init("a", "id", LONG),
            Add("a"),
            Produce("a", 0, "one"),
            Produce("a", 1, "two"),
            Produce("a", 2, "three"),
            Commit("a"),
            Read,
            Fetch(0),
            Delete(2),
            // One that reads on at what is gone is refused, and so is one that is ahead.
            Fetch(1),
            Fetch(2),
            Fetch(4),
            Fetch(5),
            Read,
            // The log never begins earlier again, and not beyond its end.
            Delete(1),
            Delete(5),
            Delete(4),
            Fetch(3),
            Read,
            // The producer's numbers go on.
            Add("a"),
            Produce("a", 3, "four"),
            Commit("a"),
            Read,
        ],
        &[
            (7, "from 0 to 4"),
            (8, "from 2"),
            (9, "OutOfRange"),
            (10, "from 2 to 4"),
            (11, "from 2 to 4"),
            (12, "OutOfRange"),
            (13, "to 4: 2=three"),
            (14, "from 2"),
            (15, "OutOfRange"),
            (17, "OutOfRange"),
            (22, "to 6: 4=four"),
        ],
    ),
    (
        "deleted-while-open",
        &[
            Init("a", "one", LONG),
            Init("b", "two", LONG),
            Add("a"),
            Produce("a", 0, "a1"),
            Add("b"),
            Produce("b", 0, "b1"),
            Commit("b"),
            Fetch(0),
            // The first record of the open transaction goes.
            Delete(1),
            Fetch(1),
            Produce("a", 1, "a2"),
            Commit("a"),
            Read,
        ],
        &[(7, "from 0 to 0"), (12, "to 5: 1=b1 3=a2")],
    ),
];

#[test]
fn the_model_answers_and_shows_what_a_real_kafka_does() -> Result<()> {
    let mut requests = Requests::connect(kafka::shared()?)?;
    for (name, steps, telling) in HISTORIES {
        let mut model = Model::new();
        let mut real = Real::begin(&mut requests, name)?;
        for (index, &step) in steps.iter().enumerate() {
            let place = || format!("history {name}, request {index}, {step:?}");
            let expected = model.answer(step, None).with_context(place)?;
            let found = real.answer(step, Some(&expected)).with_context(place)?;
            ensure!(
                found == expected,
                "{}: Kafka says {found}, the model {expected}",
                place()
            );
            if let Some((_, known)) = telling.iter().find(|(at, _)| *at == index) {
                ensure!(*known == found, "{}: {found}, not {known}", place());
            }
        }
    }
    Ok(())
}
