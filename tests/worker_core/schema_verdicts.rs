//! Schemas that a registry does not know, or knows late: a restart comes to the state of the run that was
//! never interrupted, whatever the registry says by then.

use std::collections::BTreeSet;
use std::convert::Infallible;

use foretell::decode::SchemaAnswer;
use foretell::domain::{CommitMetadata, NextOffset, Rejection, SchemaId, Verdicts};
use foretell::partition::{End, Finding, Fresh, RebuildPlan, Rebuilt, Step, rebuild};
use foretell::window::{Table, WindowConfig};

use crate::framed::{self, framed, observation_schema};
use crate::hostile::Generator;
use crate::rig::{self, CONFIG_HASH, Input, Random};

const RECORDS: usize = 1_200;

/// A log, and from which offset on the registry knows each id.
struct World {
    log: Vec<Input>,
    windows: WindowConfig,
    /// By id; beyond the log's end for one that is never known.
    known_from: Vec<i64>,
}

impl World {
    /// Of `ids` schemas about half are known from the start, the others later or never.
    fn new(seed: u64, ids: usize) -> Self {
        let mut random = Random(seed);
        let made = Generator::new(seed, true).make(RECORDS);
        let end = made[RECORDS - 1].input.offset;
        let mut known_from = Vec::new();
        for id in 0..ids {
            known_from.push(match id % 4 {
                0 | 1 => 0,
                2 => random.int(1, end),
                _ => end + 1,
            });
        }
        let mut log = Vec::new();
        for one in made {
            let id = u32::try_from(random.below(ids)).unwrap();
            log.push(framed(one.input, id));
        }
        Self {
            log,
            windows: WindowConfig::new(rig::settings(4, 2)).unwrap(),
            known_from,
        }
    }

    fn end(&self) -> i64 {
        self.log[RECORDS - 1].offset
    }

    /// What the registry says while the record at `offset` is the newest.
    fn says(&self, schema: SchemaId, offset: i64) -> SchemaAnswer {
        let index = usize::try_from(schema.get()).unwrap();
        if self
            .known_from
            .get(index)
            .is_some_and(|from| *from <= offset)
        {
            SchemaAnswer::Known(observation_schema())
        } else {
            SchemaAnswer::Unknown
        }
    }

    fn fresh(&self) -> Step {
        let decoder = framed::decoder();
        Step::new(decoder, Table::new(self.windows), rig::lineage())
    }

    /// Folds the records of a part of the log as a lane does, calling `after` behind each.
    fn run(
        &self,
        step: &mut Step,
        from: NextOffset,
        luck: &mut Random,
        mut after: impl FnMut(&mut Step, NextOffset, &End),
    ) {
        for input in self.log.iter().filter(|it| it.offset >= from.get()) {
            let batch = rig::batch(std::slice::from_ref(input));
            let record = batch.get(0);
            // A lane looks for what has resolved at the beginning of a round, wherever that is.
            if luck.below(3) == 0 {
                let refused: Vec<SchemaId> = step.refused_schemas().collect();
                for schema in refused {
                    if let SchemaAnswer::Known(known) = self.says(schema, input.offset) {
                        step.accept_from(schema, &known, record.offset.here());
                    }
                }
            }
            let mut end = step.fold(&record, None).end;
            while let End::AwaitsSchema(schema) = end {
                step.answer(schema, &self.says(schema, input.offset), record.offset);
                end = step.fold(&record, None).end;
            }
            after(step, record.offset.next(), &end);
        }
    }

    /// Rebuilds by the metadata, with a registry that is as it was when `offset` was the newest.
    fn restart(&self, metadata: &str, committed: NextOffset, offset: i64) -> (Rebuilt, Asked) {
        let plan = RebuildPlan::proven(metadata, CONFIG_HASH, committed, NextOffset::ZERO).unwrap();
        let decoder = framed::decoder();
        let fresh = Fresh {
            windows: self.windows,
            decoder: &decoder,
        };
        let mut asked = Asked::default();
        let mut ask = |schema| {
            let answer = self.says(schema, offset);
            asked.schemas.insert(schema);
            asked.unknown |= matches!(answer, SchemaAnswer::Unknown);
            Some(answer)
        };
        let rebuilt = rebuild(fresh, plan, &mut ask, &mut |(from, to), fold| {
            let range = from.get()..to.get();
            let read: Vec<Input> = self
                .log
                .iter()
                .filter(|it| range.contains(&it.offset))
                .cloned()
                .collect();
            for records in read.chunks(100) {
                fold(&rig::batch(records));
            }
            Ok::<_, Infallible>(true)
        });
        let Ok(rebuilt) = rebuilt;
        (rebuilt.unwrap(), asked)
    }
}

#[derive(Debug, Default)]
struct Asked {
    schemas: BTreeSet<SchemaId>,
    /// The registry did not know one of them: no verdict covered it.
    unknown: bool,
}

/// A moment of the run that was never interrupted.
struct Cut {
    at: NextOffset,
    metadata: String,
    step: Step,
}

fn straight(world: &World, seed: u64) -> (Vec<Cut>, Vec<End>) {
    let (mut cuts, mut ends) = (Vec::new(), Vec::new());
    let mut step = world.fresh();
    world.run(
        &mut step,
        NextOffset::ZERO,
        &mut Random(seed),
        |now, at, end| {
            let metadata = now.metadata(at).encode();
            assert!(metadata.len() < 512, "{} characters", metadata.len());
            cuts.push(Cut {
                at,
                metadata,
                step: now.clone(),
            });
            ends.push(end.clone());
        },
    );
    (cuts, ends)
}

/// An end without the place of its series in a table, which is the table's own.
fn said(end: &End) -> String {
    if matches!(end, End::Folded(_)) {
        "folded".to_owned()
    } else {
        format!("{end:?}")
    }
}

fn verdicts(metadata: &str) -> Verdicts {
    CommitMetadata::decode(metadata).unwrap().verdicts
}

#[test]
fn every_restart_comes_to_the_state_of_a_straight_run_while_verdicts_open_and_close() {
    let (mut open, mut closed, mut later) = (0, 0, 0);
    for seed in 0..6 {
        let world = World::new(seed, 8);
        let (cuts, ends) = straight(&world, seed);
        assert_eq!(cuts.len(), ends.len());
        let mut random = Random(seed + 100);
        for _ in 0..60 {
            let cut = &cuts[random.below(cuts.len())];
            // The registry is asked at any later time, when it may know more.
            let asked_at = random.int(cut.at.get() - 1, world.end());
            let (rebuilt, asked) = world.restart(&cut.metadata, cut.at, asked_at);
            assert_eq!(
                rebuilt.finding,
                Finding::Agreed,
                "seed {seed} at {}",
                cut.at
            );
            assert!(rebuilt.step.windows() == cut.step.windows());
            assert!(!asked.unknown, "a verdict was not obeyed: {asked:?}");
            let kept = verdicts(&cut.metadata);
            open += kept.open_schemas().count();
            closed += kept.iter().filter(|verdict| verdict.to.is_some()).count();

            // And it goes on as the straight run does, with whatever luck in when it looks.
            let (mut mine, mut theirs) = (rebuilt.step, cut.step.clone());
            let luck = seed + 1_000;
            let mut rest = Vec::new();
            world.run(&mut mine, cut.at, &mut Random(luck), |now, at, end| {
                rest.push((said(end), now.metadata(at).checksum));
            });
            let mut expected = Vec::new();
            world.run(&mut theirs, cut.at, &mut Random(luck), |now, at, end| {
                expected.push((said(end), now.metadata(at).checksum));
            });
            assert!(rest == expected, "seed {seed} at {}", cut.at);
            later += rest.len();
        }
        let unknown = |end: &&End| matches!(end, End::Undecodable(why) if why.rejection() == Rejection::UnknownSchema);
        assert!(ends.iter().filter(unknown).count() > 50);
    }
    rig::show(format_args!(
        "{open} open and {closed} closed verdicts met, {later} records folded after restarts"
    ));
    assert!(open > 300 && closed > 50, "{open} {closed}");
}

#[test]
fn with_more_verdicts_than_are_kept_no_restart_differs_silently() {
    let (mut agreed, mut flagged, mut dropped) = (0, 0, 0);
    for seed in 20..26 {
        let world = World::new(seed, 44);
        let (cuts, _) = straight(&world, seed);
        let mut random = Random(seed + 100);
        for _ in 0..40 {
            let cut = &cuts[random.below(cuts.len())];
            let asked_at = random.int(cut.at.get() - 1, world.end());
            let (rebuilt, asked) = world.restart(&cut.metadata, cut.at, asked_at);
            dropped += usize::from(asked.unknown);
            match rebuilt.finding {
                Finding::Agreed => {
                    agreed += 1;
                    assert!(rebuilt.step.windows() == cut.step.windows());
                }
                Finding::NeverAgreed => {
                    flagged += 1;
                    assert_eq!(rebuilt.step.lineage().whole_from, cut.at);
                }
                Finding::Unproven => panic!("there was metadata"),
            }
        }
    }
    rig::show(format_args!(
        "{agreed} restarts agreed, {flagged} said that they did not, {dropped} asked again for an unknown id"
    ));
    assert!(agreed > 50 && flagged > 10 && dropped > 50);
}
