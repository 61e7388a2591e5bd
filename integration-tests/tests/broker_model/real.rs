//! The real Kafka's side, by single requests of `java/Protocol.java`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use integration_tests::cluster::Cluster as Address;
use integration_tests::conversation::Conversation;
use integration_tests::wait;

use crate::step::{Cluster, Instance, Step, Who};

const ANSWER: Duration = Duration::from_secs(20);
/// What every history commits offsets of.
const IN: &str = "broker-model-in";

/// Requests to a broker.
pub(crate) struct Requests {
    cluster: Address,
    tool: Conversation,
}

impl Requests {
    pub(crate) fn connect(cluster: Address) -> Result<Self> {
        cluster.create_topic(IN, 1)?;
        let tool = Conversation::begin("Protocol", &cluster)?;
        Ok(Self { cluster, tool })
    }

    fn ask(&mut self, words: &[&str]) -> Result<String> {
        self.tool.ask(&words.join("\t"))
    }
}

pub(crate) struct Real<'a> {
    requests: &'a mut Requests,
    history: &'static str,
    producers: BTreeMap<Instance, Producer>,
    member: (String, String),
    before: (String, String),
}

#[derive(Clone)]
struct Producer {
    transactional_id: String,
    id: String,
    epoch: String,
}

impl<'a> Real<'a> {
    /// A history has a topic, a group and transactional ids of its own.
    pub(crate) fn begin(requests: &'a mut Requests, history: &'static str) -> Result<Self> {
        requests.cluster.create_topic(&out(history), 1)?;
        let nobody = || (String::new(), "-1".to_owned());
        let real = Self {
            requests,
            history,
            producers: BTreeMap::new(),
            member: nobody(),
            before: nobody(),
        };
        // The topics behind the coordinators are made when they are first looked for.
        for kind in ["0", "1"] {
            wait::until_true("the coordinators are there", ANSWER, || {
                Ok(real.requests.ask(&["coordinator", history, kind])? == "NONE")
            })?;
        }
        Ok(real)
    }

    fn who(&self, who: Who) -> (String, String) {
        match who {
            Who::Present => self.member.clone(),
            Who::Stale => self.before.clone(),
            Who::Nobody => (String::new(), "-1".to_owned()),
        }
    }

    fn words(&self, step: Step) -> Result<Vec<String>> {
        let group = self.history.to_owned();
        let by = |verb: &str, instance: Instance| -> Result<Vec<String>> {
            let producer = self.producers.get(instance);
            let producer = producer.with_context(|| format!("{instance} was not started"))?;
            let Producer {
                transactional_id,
                id,
                epoch,
            } = producer.clone();
            Ok(vec![verb.to_owned(), transactional_id, id, epoch])
        };
        let with = |mut words: Vec<String>, more: &[&str]| {
            words.extend(more.iter().map(|&word| word.to_owned()));
            words
        };
        let out = out(self.history);
        Ok(match step {
            Step::Init(_, id, timeout_ms) => {
                let id = format!("{group}-{id}");
                vec!["init".to_owned(), id, timeout_ms.to_string()]
            }
            Step::Add(instance) => with(by("add", instance)?, &[&out]),
            Step::Produce(instance, sequence, value) => {
                let sequence = sequence.to_string();
                with(by("produce", instance)?, &[&out, &sequence, value])
            }
            Step::AddOffsets(instance) => with(by("offsets", instance)?, &[&group]),
            Step::CommitOffsets(instance, who, offset) => {
                let ((member, generation), metadata) = (self.who(who), format!("at {offset}"));
                let offset = offset.to_string();
                let more = [&*group, &*member, &*generation, IN, &*offset, &*metadata];
                with(by("commit_offsets", instance)?, &more)
            }
            Step::Commit(instance) => with(by("end", instance)?, &["commit"]),
            Step::Abort(instance) => with(by("end", instance)?, &["abort"]),
            Step::Join => vec!["join".to_owned(), group, String::new()],
            Step::JoinAgain => vec!["join".to_owned(), group, self.member.0.clone()],
            Step::Leave => vec!["leave".to_owned(), group, self.member.0.clone()],
            Step::PlainCommit(who, offset) => {
                let ((member, generation), metadata) = (self.who(who), format!("at {offset}"));
                let offset = offset.to_string();
                let more = [&*group, &*member, &*generation, IN, &*offset, &*metadata];
                with(vec!["commit".to_owned()], &more)
            }
            Step::OffsetNow => with(vec!["offset".to_owned()], &[&group, IN, "any"]),
            Step::StableNow | Step::Stable => {
                with(vec!["offset".to_owned()], &[&group, IN, "stable"])
            }
            Step::Read | Step::Overdue(_) => vec!["read".to_owned(), out],
            Step::Delete(offset) => with(vec!["delete".to_owned()], &[&out, &offset.to_string()]),
            Step::Fetch(offset) => with(vec!["fetch".to_owned()], &[&out, &offset.to_string()]),
        })
    }

    fn ask(&mut self, step: Step) -> Result<String> {
        let words = self.words(step)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let line = self.requests.ask(&words)?;
        let (error, rest) = line.split_once('\t').unwrap_or((&line, ""));
        if error != "NONE" {
            return Ok(class(error)?.to_owned());
        }
        let fields: Vec<&str> = rest.split('\t').collect();
        Ok(match (step, &*fields) {
            (Step::Init(instance, id, _), [producer, epoch]) => {
                let producer = Producer {
                    transactional_id: format!("{}-{id}", self.history),
                    id: (*producer).to_owned(),
                    epoch: (*epoch).to_owned(),
                };
                self.producers.insert(instance, producer);
                format!("epoch {epoch}")
            }
            (Step::Join | Step::JoinAgain, [member, generation]) => {
                let member = ((*member).to_owned(), (*generation).to_owned());
                self.before = std::mem::replace(&mut self.member, member);
                "Ok".to_owned()
            }
            (Step::OffsetNow | Step::StableNow | Step::Stable, ["-1", _]) => "none".to_owned(),
            (Step::OffsetNow | Step::StableNow | Step::Stable, [offset, metadata]) => {
                format!("{offset} {metadata:?}")
            }
            (Step::Read | Step::Overdue(_), [end, records @ ..]) => {
                let lines = records.iter().flat_map(|record| [" ", record]);
                format!("to {end}:{}", lines.collect::<String>())
            }
            (Step::Delete(_), [start]) => format!("from {start}"),
            (Step::Fetch(_), [start, stable]) => format!("from {start} to {stable}"),
            _ => "Ok".to_owned(),
        })
    }
}

fn out(history: &str) -> String {
    format!("broker-model-{history}")
}

/// The class of an error; the names of [`broker_model::Refusal`].
fn class(error: &str) -> Result<&'static str> {
    Ok(match error {
        // The second is what a leader answers while the coordinator that it asks is busy.
        "CONCURRENT_TRANSACTIONS" | "NOT_ENOUGH_REPLICAS" => CONCURRENT,
        "COORDINATOR_LOAD_IN_PROGRESS" | "COORDINATOR_NOT_AVAILABLE" | "NOT_COORDINATOR" => {
            CONCURRENT
        }
        "PRODUCER_FENCED" | "INVALID_PRODUCER_EPOCH" => "Fenced",
        "INVALID_PRODUCER_ID_MAPPING" => "UnknownProducer",
        "INVALID_TXN_STATE" | "TRANSACTION_ABORTABLE" => "InvalidState",
        "OUT_OF_ORDER_SEQUENCE_NUMBER" => "OutOfSequence",
        "UNKNOWN_MEMBER_ID" => "UnknownMember",
        "ILLEGAL_GENERATION" => "IllegalGeneration",
        "UNSTABLE_OFFSET_COMMIT" => "Unstable",
        "OFFSET_OUT_OF_RANGE" => "OutOfRange",
        _ => bail!("the broker answered {error}"),
    })
}

const CONCURRENT: &str = "Concurrent";

impl Cluster for Real<'_> {
    fn answer(&mut self, step: Step, expected: Option<&str>) -> Result<String> {
        let is_read = matches!(step, Step::Stable | Step::Read | Step::Fetch(_));
        let is_overdue = matches!(step, Step::Overdue(_));
        let mut last = String::new();
        let in_time = wait::until("the cluster has got on", ANSWER, || {
            last = self.ask(step)?;
            let settled = if is_read {
                // Markers are written after the answer that ends a transaction.
                expected == Some(&*last)
            } else if is_overdue {
                // The only transaction of such a history holds the last stable offset at its start.
                !last.starts_with("to 0:")
            } else {
                last != CONCURRENT
            };
            Ok(settled.then_some(()))
        });
        match in_time {
            // What was seen last is compared.
            Err(_) if is_read => Ok(last),
            Err(error) => Err(error).context(last),
            Ok(()) if is_overdue => Ok("Ok".to_owned()),
            Ok(()) => Ok(last),
        }
    }
}
