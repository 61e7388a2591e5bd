//! The model's side.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use broker_model::{Broker, Committed, Member, MemberId, Partition, Producer, Refusal};

use crate::step::{Cluster, Instance, Step, Who};

const OUT: Partition = Partition {
    topic: "out",
    index: 0,
};
const IN: Partition = Partition {
    topic: "in",
    index: 0,
};
const GROUP: &str = "group";

pub(crate) struct Model {
    broker: Broker<&'static str>,
    producers: BTreeMap<Instance, (&'static str, Producer)>,
    member: Option<(MemberId, Member)>,
    before: Member,
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut broker = Broker::default();
        broker.create(OUT);
        Self {
            broker,
            producers: BTreeMap::new(),
            member: None,
            before: Member::NONE,
        }
    }

    fn producer(&self, instance: Instance) -> Result<(&'static str, Producer)> {
        let found = self.producers.get(instance).copied();
        found.with_context(|| format!("{instance} was not started"))
    }

    fn who(&self, who: Who) -> Member {
        match who {
            Who::Present => self.member.map_or(Member::NONE, |(_, member)| member),
            Who::Stale => self.before,
            Who::Nobody => Member::NONE,
        }
    }

    fn joined(&mut self, member: Member) -> String {
        if let Some((_, before)) = self.member {
            self.before = before;
        }
        self.member = member.id.map(|id| (id, member));
        "Ok".to_owned()
    }

    fn ask(&mut self, step: Step) -> Result<Result<String, Refusal>> {
        let ok = |done: Result<(), Refusal>| done.map(|()| "Ok".to_owned());
        Ok(match step {
            Step::Init(instance, id, timeout_ms) => {
                self.broker.init_producer(id, timeout_ms).map(|producer| {
                    self.producers.insert(instance, (id, producer));
                    format!("epoch {}", producer.epoch)
                })
            }
            Step::Add(instance) => {
                let (id, producer) = self.producer(instance)?;
                ok(self.broker.add_partitions(id, producer, [OUT]))
            }
            Step::Produce(instance, sequence, value) => {
                let (id, producer) = self.producer(instance)?;
                let batch = (OUT, sequence);
                ok(self.broker.produce(id, producer, batch, [value]))
            }
            Step::AddOffsets(instance) => {
                let (id, producer) = self.producer(instance)?;
                ok(self.broker.add_offsets(id, producer, GROUP))
            }
            Step::CommitOffsets(instance, who, offset) => {
                let (of_producer, of_member) = (self.producer(instance)?, (GROUP, self.who(who)));
                ok(self
                    .broker
                    .commit_offsets(of_producer, of_member, offsets(offset)))
            }
            Step::Commit(instance) | Step::Abort(instance) => {
                let (id, producer) = self.producer(instance)?;
                let commit = matches!(step, Step::Commit(_));
                ok(self.broker.end_transaction(id, producer, commit))
            }
            Step::PlainCommit(who, offset) => {
                let member = self.who(who);
                ok(self.broker.group(GROUP).commit(member, offsets(offset)))
            }
            Step::Join => {
                let member = self.broker.group(GROUP).join();
                Ok(self.joined(member))
            }
            Step::JoinAgain => {
                let member = self.join_again()?;
                Ok(self.joined(member))
            }
            Step::Leave => {
                let (id, _) = self.member.context("nobody has joined")?;
                self.broker.group(GROUP).leave(id);
                ok(Ok(()))
            }
            Step::OffsetNow => self.offset(false),
            Step::StableNow => self.offset(true),
            Step::Stable => {
                self.broker.write_markers();
                self.offset(true)
            }
            Step::Read | Step::Delete(_) | Step::Fetch(_) => self.ask_log(step)?,
            Step::Overdue(timeout_ms) => {
                self.broker.advance(timeout_ms + 1);
                self.broker.write_markers();
                Ok("Ok".to_owned())
            }
        })
    }

    /// A request to the leader of the outputs' partition.
    fn ask_log(&mut self, step: Step) -> Result<Result<String, Refusal>> {
        if let Step::Delete(offset) = step {
            let deleted = self.broker.log_mut(OUT)?.delete_before(offset);
            return Ok(deleted.map(|start| format!("from {start}")));
        }
        self.broker.write_markers();
        let log = self.broker.log(OUT)?;
        if let Step::Fetch(offset) = step {
            let seen = log.read_committed(offset, usize::MAX);
            return Ok(seen.map(|_| format!("from {} to {}", log.start(), log.last_stable())));
        }
        let seen = log.read_committed(log.start(), usize::MAX)?;
        let records = seen.records.iter();
        let records = records.map(|(offset, value)| format!(" {offset}={value}"));
        Ok(Ok(format!(
            "to {}:{}",
            seen.next,
            records.collect::<String>()
        )))
    }

    fn join_again(&mut self) -> Result<Member> {
        let (id, _) = self.member.context("nobody has joined")?;
        let group = self.broker.group(GROUP);
        group.next_generation();
        group.member(id).context("it is no member")
    }

    fn offset(&mut self, stable: bool) -> Result<String, Refusal> {
        let found = self.broker.group(GROUP).offset(IN, stable)?;
        Ok(found.map_or("none".to_owned(), |committed| {
            format!("{} {:?}", committed.offset, committed.metadata)
        }))
    }
}

fn offsets(offset: i64) -> [(Partition, Committed); 1] {
    let metadata = format!("at {offset}");
    [(IN, Committed { offset, metadata })]
}

impl Cluster for Model {
    fn answer(&mut self, step: Step, _expected: Option<&str>) -> Result<String> {
        let mut answer = self.ask(step)?;
        // A client asks again, and the coordinator gets on meanwhile.
        while answer == Err(Refusal::Concurrent) {
            self.broker.write_markers();
            answer = self.ask(step)?;
        }
        Ok(answer.unwrap_or_else(|refusal| format!("{refusal:?}")))
    }
}
