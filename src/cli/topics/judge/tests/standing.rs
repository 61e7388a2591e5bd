//! Where a group may stand, and from where it could not go on.

use super::*;
use crate::app;
use crate::cli::topics::facts::{CommittedAt, Standing};
use crate::domain::{CommitMetadata, NextOffset, RebuildPoint, TopicId, Verdicts};
use crate::window::FOLD_VERSION;

/// A group that stands at offset 50 of [10, 60), proven under `config_hash`.
fn standing(config_hash: u64) -> Standing {
    let at = |offset| NextOffset::new(offset).unwrap();
    Standing {
        partition: 3,
        log_start: 10,
        log_end: 60,
        topic_id: TopicId::new([1; TopicId::BYTES]),
        committed: Some(CommittedAt {
            offset: 50,
            metadata: Ok(CommitMetadata {
                fold_version: FOLD_VERSION,
                config_hash,
                start: at(0),
                rebuild: RebuildPoint {
                    offset: at(20),
                    stream_time: None,
                },
                stream_time: None,
                checksum: 0,
                whole_from: at(0),
                verdicts: Verdicts::default(),
                topic_id: TopicId::new([1; TopicId::BYTES]),
            }),
        }),
    }
}

#[test]
fn a_group_that_could_not_go_on_is_told_before_it_tries() {
    let config = config("");
    let hash = app::fold_hash(&config).unwrap();
    let judged = |standing: Standing| {
        let mut findings = Findings::default();
        group::judge(&Ok(vec![standing]), &config, &mut findings);
        findings
    };
    let fine = judged(standing(hash));
    assert_quiet(&fine);
    assert_found(&fine, Note, "group foretell", &["10 offsets behind"]);
    for (log, part) in [
        ((55, 60), "outside of the log [55, 60]"),
        ((10, 40), "outside"),
    ] {
        let mut gone = standing(hash);
        (gone.log_start, gone.log_end) = log;
        let parts = [part, "--reset-offsets"];
        assert_found(&judged(gone), Error, "partition 3", &parts);
    }
    let mut anew = standing(hash);
    anew.topic_id = TopicId::new([2; TopicId::BYTES]);
    let parts = ["made anew", "AQEBAQEBAQEBAQEBAQEBAQ", "kafka.group_id"];
    assert_found(&judged(anew), Error, "partition 3", &parts);
    let mut untold = standing(hash);
    untold.topic_id = None;
    assert_quiet(&judged(untold));
    let mut cut = standing(hash);
    cut.log_start = 30;
    assert_found(
        &judged(cut),
        Warning,
        "partition 3",
        &["offset 20, the log now at 30"],
    );
    assert_found(
        &judged(standing(!hash)),
        Warning,
        "partition 3",
        &["another [window]"],
    );
    let mut foreign = standing(hash);
    foreign.committed = Some(CommittedAt {
        offset: 50,
        metadata: CommitMetadata::decode(""),
    });
    assert_found(
        &judged(foreign),
        Warning,
        "partition 3",
        &["has no metadata", "start of the log"],
    );
    let mut first = standing(hash);
    first.committed = None;
    assert_found(
        &judged(first),
        Note,
        "group",
        &["1 of 1 partitions have no committed offset"],
    );
    let mut findings = Findings::default();
    group::judge(&Err("refused".to_owned()), &config, &mut findings);
    assert_found(&findings, Warning, "group", &["refused", "DESCRIBE"]);
}
