//! What is sent where, and what is not, without a broker; the transaction is tested on a real Kafka.

use clap::Parser;

use super::letter::{At, Cut, Letter, Source};
use super::list::line;
use super::replay::{Plan, Planner, Refusal, Timestamps};
use super::select::FilterArgs;
use crate::domain::Timestamp;
use crate::produce::KEY_BYTES_MAX;

fn letter() -> Letter {
    Letter {
        at: At {
            partition: 0,
            offset: 41,
        },
        written: Some(5_000_000),
        key: Some(b"abc".to_vec()),
        value: Some(vec![7; 61]),
        reason: Some("late".to_owned()),
        detail: None,
        source: Some(Source {
            topic: "observations".to_owned(),
            partition: 1,
            offset: 17,
            timestamp: Some(4_000_000),
        }),
        cut: None,
        replayed_from: None,
        replayed_times: 0,
        headers: Vec::new(),
    }
}

fn with(change: impl FnOnce(&mut Letter)) -> Letter {
    let mut letter = letter();
    change(&mut letter);
    letter
}

fn plan(letter: &Letter, change: impl FnOnce(&mut Planner<'_>)) -> Result<Plan, Refusal> {
    let partitions = |topic: &str| match topic {
        "observations" => std::num::NonZeroU32::new(4),
        "rescued" => std::num::NonZeroU32::new(1),
        _ => None,
    };
    let mut planner = Planner {
        to_topic: None,
        timestamps: Timestamps::Auto,
        again: false,
        dead_letters: "dead",
        partitions: &partitions,
    };
    change(&mut planner);
    planner.plan(letter, false)
}

#[test]
fn a_record_goes_to_where_the_java_client_puts_its_key() {
    // 479,470,107 is the murmur2 of "abc" in Kafka's own tests; its remainder by 4 is 3.
    let planned = plan(&letter(), |_| {}).unwrap();
    assert_eq!(
        planned,
        Plan {
            topic: "observations".to_owned(),
            partition: Some(3),
            timestamp: Some(4_000_000)
        }
    );
    let elsewhere = plan(&letter(), |planner| planner.to_topic = Some("rescued")).unwrap();
    assert_eq!(
        (&*elsewhere.topic, elsewhere.partition),
        ("rescued", Some(0))
    );
}

#[test]
fn a_record_without_a_key_goes_back_to_its_partition_or_anywhere() {
    let keyless = with(|letter| letter.key = None);
    assert_eq!(plan(&keyless, |_| {}).unwrap().partition, Some(1));
    let elsewhere = plan(&keyless, |planner| planner.to_topic = Some("rescued"));
    assert_eq!(elsewhere.unwrap().partition, None);
    let of_more = with(|letter| {
        letter.key = None;
        letter.source.as_mut().unwrap().partition = 9;
    });
    assert_eq!(plan(&of_more, |_| {}).unwrap().partition, None);
}

#[test]
fn records_that_were_refused_for_their_timestamp_get_another_one() {
    let refused = with(|letter| letter.reason = Some("time_out_of_range".to_owned()));
    for (letter, timestamps, expected) in [
        (&letter(), Timestamps::Auto, Some(4_000_000)),
        (&refused, Timestamps::Auto, None),
        (&refused, Timestamps::Original, Some(4_000_000)),
        (&letter(), Timestamps::Now, None),
    ] {
        let planned = plan(letter, |planner| planner.timestamps = timestamps).unwrap();
        assert_eq!(planned.timestamp, expected, "{timestamps:?}");
    }
}

#[test]
fn what_cannot_be_sent_as_it_was_is_not_sent() {
    let cut = Cut {
        bytes: 700_000,
        sha256: String::new(),
    };
    let cases: [(Letter, Refusal); 8] = [
        (with(|it| it.reason = None), Refusal::Foreign),
        (with(|it| it.source = None), Refusal::Foreign),
        (with(|it| it.cut = Some(cut)), Refusal::Cut),
        (
            with(|it| it.key = Some(vec![1; KEY_BYTES_MAX])),
            Refusal::KeyMayBeCut,
        ),
        (with(|it| it.value = None), Refusal::NoValue),
        (
            with(|it| it.headers.push((vec![0xff], None))),
            Refusal::HeaderName,
        ),
        (with(|it| it.replayed_times = 1), Refusal::RefusedAgain),
        (
            with(|it| it.source.as_mut().unwrap().topic = "gone".to_owned()),
            Refusal::NoTopic {
                topic: "gone".to_owned(),
            },
        ),
    ];
    for (letter, refusal) in cases {
        assert_eq!(plan(&letter, |_| {}), Err(refusal));
    }
    let circle = plan(&letter(), |planner| planner.to_topic = Some("dead"));
    assert_eq!(circle, Err(Refusal::Circle));
    let again = plan(&with(|it| it.replayed_times = 1), |planner| {
        planner.again = true;
    });
    assert!(again.is_ok());
}

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    filter: FilterArgs,
}

#[track_caller]
fn passes(arguments: &[&str], letter: &Letter) -> bool {
    let line = ["list"].iter().chain(arguments);
    let filter = Line::try_parse_from(line).unwrap().filter;
    filter.filter_at(Timestamp(10_000_000)).passes(letter)
}

#[test]
fn a_letter_must_pass_every_filter() {
    for (arguments, expected) in [
        (&[][..], true),
        (&["--reason", "late"], true),
        (&["--reason", "off_grid"], false),
        (&["--reason", "off_grid", "--reason", "late"], true),
        (&["--topic", "observations", "--partition", "1"], true),
        (&["--topic", "observations", "--partition", "0"], false),
        (&["--topic", "other"], false),
        (&["--key", "abc"], true),
        (&["--series", "abc"], true),
        (&["--key", "ab"], false),
        // Written 5,000 s before now.
        (&["--from", "5000s"], true),
        (&["--from", "4999s"], false),
        (&["--to", "5000s"], false),
        (&["--to", "4999s"], true),
        (
            &[
                "--from",
                "1970-01-01T01:23:20Z",
                "--to",
                "1970-01-01T01:23:21Z",
            ],
            true,
        ),
        (&["--from", "end"], false),
    ] {
        assert_eq!(passes(arguments, &letter()), expected, "{arguments:?}");
    }
    assert!(Line::try_parse_from(["list", "--reason", "tardy"]).is_err());
}

#[test]
fn a_line_tells_where_the_record_was_and_obeys_no_stranger() {
    let odd = with(|letter| {
        letter.key = Some(vec![0xff, b'\n']);
        letter.detail = Some("\u{1b}[2J".to_owned());
        letter.replayed_times = 2;
    });
    let mut out = Vec::new();
    line(&mut out, &odd, true).unwrap();
    let shown = String::from_utf8(out).unwrap();
    assert_eq!(
        shown,
        "1970-01-01T01:23:20Z  0@41     late                   observations[1]@17  key \\xff\\n  61 bytes  \
         \\u{1b}[2J  replayed  refused again after 2 replays\n"
    );
}
