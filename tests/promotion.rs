//! What the promoter decides: which package is loaded, which is unloaded and which plan is in force, whatever
//! commands come and whatever becomes of loading.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use foretell::control::{Command, CommandCodec, CommandRecord, CommandState, Keys, Log, Order};
use foretell::domain::{Digest, Offset, Timestamp};
use foretell::promotion::{Action, Failure, Known, Promotion, Stage, Step};
use proptest::prelude::*;

const SLOT: &str = "champion";

fn digest(n: u8) -> Digest {
    format!("{n:02x}").repeat(32).parse().unwrap()
}

fn known(n: u8) -> Known {
    Known {
        name: format!("model-{n}"),
        version: "1".to_owned(),
        batched: true,
    }
}

/// A worker that was started with package 0, and the time.
struct Rig {
    core: Promotion,
    codec: CommandCodec,
    offset: i64,
    now: Duration,
}

impl Rig {
    fn new() -> Self {
        let codec = || CommandCodec::new().unwrap();
        let log = Log::new(codec(), Keys::default());
        Self {
            core: Promotion::new((codec(), log), SLOT, (digest(0), known(0))),
            codec: codec(),
            offset: 0,
            now: Duration::ZERO,
        }
    }

    fn give(&mut self, order: Order) -> String {
        let id = format!("command-{}", self.offset);
        let value = self.codec.write(&Command {
            id: id.clone(),
            slot: SLOT.to_owned(),
            order,
            issuer: "a test".to_owned(),
            time: 0,
            reason: String::new(),
            sequence: None,
            not_after: None,
            signature: None,
        });
        let value = value.unwrap();
        let _refused = self.core.fold(CommandRecord {
            offset: Offset::new(self.offset).unwrap(),
            appended: Timestamp(0),
            key: Some(SLOT.as_bytes()),
            value: Some(&value),
        });
        self.offset += 1;
        id
    }

    fn stage(&mut self, n: u8) -> String {
        self.give(Order::Stage {
            uri: format!("file:///models/{n}.onnx"),
            sha256: digest(n),
        })
    }

    fn activate(&mut self, n: u8, effective_from: Option<i64>) -> String {
        self.give(Order::Activate {
            sha256: digest(n),
            effective_from,
        })
    }

    fn load(&mut self, n: u8, result: Result<Known, Failure>) {
        let uri = format!("file:///models/{n}.onnx");
        let digest = digest(n);
        assert_eq!(self.core.next(self.now), Action::Load { digest, uri });
        let tries = self.core.tries(digest);
        self.core.on_step(digest, Step::Verifying);
        assert_eq!(self.core.next(self.now), Action::Wait(None));
        self.core.on_loaded(digest, (result, tries), self.now);
    }

    fn state(&self, id: &str) -> (CommandState, Option<String>) {
        let mut commands = self.core.commands();
        let (_, state, reason) = commands.find(|(note, ..)| note.id == id).unwrap();
        (state, reason.map(str::to_owned))
    }

    fn serves(&self) -> Digest {
        self.core.plan().at(Timestamp(0))
    }
}

fn failure(is_passing: bool) -> Failure {
    Failure {
        reason: "no".to_owned(),
        is_passing,
    }
}

#[test]
fn a_staged_package_is_loaded_and_serves_once_it_is_activated() {
    let mut rig = Rig::new();
    let stage = rig.stage(1);
    assert_eq!(rig.state(&stage).0, CommandState::Fetching);
    rig.load(1, Ok(known(1)));
    assert_eq!(rig.state(&stage).0, CommandState::Warm);
    assert_eq!(rig.serves(), digest(0));
    let activate = rig.activate(1, None);
    assert_eq!(rig.serves(), digest(1));
    assert_eq!(rig.state(&activate).0, CommandState::Active);
    assert_eq!(rig.core.missing(), None);
    // What was configured stays, to go back to.
    assert_eq!(rig.core.next(rig.now), Action::Wait(None));
}

#[test]
fn a_package_that_may_not_serve_is_refused_until_it_is_staged_again() {
    let mut rig = Rig::new();
    let stage = rig.stage(1);
    rig.load(1, Err(failure(false)));
    let refused = (CommandState::Refused, Some("no".to_owned()));
    assert_eq!(rig.state(&stage), refused);
    rig.now += Duration::from_hours(24);
    assert_eq!(rig.core.next(rig.now), Action::Wait(None));
    let again = rig.stage(1);
    rig.load(1, Ok(known(1)));
    assert_eq!(rig.state(&again).0, CommandState::Warm);
}

#[test]
fn what_may_get_better_is_tried_again_later_and_later() {
    let mut rig = Rig::new();
    rig.stage(1);
    let mut waits = Vec::new();
    for _ in 0..9 {
        rig.load(1, Err(failure(true)));
        let Action::Wait(Some(until)) = rig.core.next(rig.now) else {
            panic!("it is not tried again");
        };
        waits.push(until.saturating_sub(rig.now).as_secs());
        rig.now = until;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn what_serves_is_loaded_before_what_was_staged_and_is_never_given_up() {
    let mut rig = Rig::new();
    rig.stage(1);
    rig.stage(2);
    rig.activate(2, None);
    assert_eq!(rig.core.missing().unwrap().0, digest(2));
    rig.load(2, Err(failure(false)));
    let packages = rig.core.packages();
    assert!(matches!(
        packages[&digest(2)],
        Stage::Waiting { tries: 1, .. }
    ));
    rig.load(1, Ok(known(1)));
    rig.now += Duration::from_secs(1);
    rig.load(2, Ok(known(2)));
    assert_eq!(rig.core.missing(), None);
}

#[test]
fn the_previous_package_and_the_newest_staged_ones_stay_and_others_go() {
    let mut rig = Rig::new();
    for n in 1..=20 {
        rig.stage(n);
        // One goes for it.
        while let Action::Unload(digest) = rig.core.next(rig.now) {
            assert!(!rig.core.packages().contains_key(&digest));
        }
        rig.load(n, Ok(known(n)));
        rig.activate(n, None);
    }
    let warm: Vec<Digest> = rig.core.packages().keys().copied().collect();
    let expected = [0, 17, 18, 19, 20].map(digest);
    assert_eq!(warm, expected);
}

#[test]
fn packages_that_are_refused_keep_no_other_one_from_being_warm() {
    let mut rig = Rig::new();
    let good = rig.stage(1);
    let mut bad = Vec::new();
    for n in 2..=20 {
        bad.push(rig.stage(n));
    }
    // Whatever is asked for is refused, but the oldest one.
    while let Action::Load { digest: asked, .. } = rig.core.next(rig.now) {
        let n = (1..=20).find(|n| digest(*n) == asked).unwrap();
        let result = if n == 1 {
            Ok(known(1))
        } else {
            Err(failure(false))
        };
        rig.load(n, result);
    }
    assert_eq!(rig.state(&good).0, CommandState::Warm);
    for command in bad {
        assert_eq!(rig.state(&command).0, CommandState::Refused);
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Stage(u8),
    Activate(u8, Option<i64>),
    Retire(u8),
    /// Whether loading succeeds, and if not whether it may later.
    Loaded(Option<bool>),
    Time(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let n = 0..8_u8;
    prop_oneof![
        n.clone().prop_map(Happening::Stage),
        (n.clone(), proptest::option::of(0..5_i64))
            .prop_map(|(n, from)| Happening::Activate(n, from)),
        n.prop_map(Happening::Retire),
        proptest::option::of(any::<bool>()).prop_map(Happening::Loaded),
        (0..90_u64).prop_map(Happening::Time),
    ]
}

proptest! {
    /// The lanes have sessions of what is warm and of nothing else; in the end, where loading succeeds, of
    /// everything that the plan names.
    #[test]
    fn in_the_end_everything_that_serves_is_warm(
        happenings in proptest::collection::vec(happening(), 0..60),
    ) {
        let mut rig = Rig::new();
        let mut lanes = BTreeSet::from([digest(0)]);
        let mut loading: Option<Digest> = None;
        let ends = std::iter::repeat_n([Happening::Loaded(None), Happening::Time(90)], 40).flatten();
        for happening in happenings.into_iter().chain(ends) {
            match happening {
                Happening::Stage(n) => drop(rig.stage(n)),
                Happening::Activate(n, from) => drop(rig.activate(n, from)),
                Happening::Retire(n) => drop(rig.give(Order::Retire { sha256: digest(n) })),
                Happening::Time(seconds) => rig.now += Duration::from_secs(seconds),
                Happening::Loaded(failed) => if let Some(digest) = loading.take() {
                    let result = failed.map_or_else(|| Ok(known(1)), |passing| Err(failure(passing)));
                    if result.is_ok() {
                        lanes.insert(digest);
                    }
                    rig.core.on_loaded(digest, (result, rig.core.tries(digest)), rig.now);
                },
            }
            loop {
                match rig.core.next(rig.now) {
                    Action::Wait(_) => break,
                    Action::Unload(digest) => {
                        prop_assert!(lanes.remove(&digest), "it has no session");
                        prop_assert!(rig.core.plan().parts().all(|(_, part)| part != digest));
                    }
                    Action::Load { digest, .. } => {
                        prop_assert!(!lanes.contains(&digest) && loading.is_none());
                        rig.core.on_step(digest, Step::Fetching);
                        loading = Some(digest);
                    }
                }
            }
            let warm = rig.core.packages().iter().filter(|(_, stage)| matches!(stage, Stage::Warm(_)));
            let warm: BTreeSet<Digest> = warm.map(|(digest, _)| *digest).collect();
            prop_assert_eq!(&warm, &lanes);
        }
        prop_assert_eq!(rig.core.missing(), None);
    }
}
