//! The requests of a committer's transaction, and how it ends; what rdkafka and `produce/producer` do with
//! the answers.

use std::collections::VecDeque;

use broker_model::Refusal;
use foretell::produce::Attempt;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::bugs::Bug;
use crate::checks::{Violation, ensure};
use crate::client::{Stage, Transaction};
use crate::commit::{Committer, Standing, now};
use crate::hits::Hit;
use crate::network::Request;
use crate::shared::{Shared, TRANSACTION_TIMEOUT_MS, say};

/// I9: a transaction that nothing holds is over by then.
const IN_TIME_MS: u64 = TRANSACTION_TIMEOUT_MS / 4;

impl Committer {
    /// The next request of the transaction.
    pub(crate) fn request(
        &mut self,
        id: &'static str,
        shared: &mut Shared,
    ) -> Result<(), Violation> {
        let (Some(transaction), Some(client)) = (&mut self.transaction, &mut self.client) else {
            return Ok(());
        };
        ensure(!client.spent, "I8", || {
            format!("{id} calls a producer after an indefinite result")
        })?;
        let Some(stage) = transaction.todo.front().copied() else {
            return Ok(());
        };
        let now_ms = shared.broker.now_ms();
        transaction.asked_ms = now_ms;
        if matches!(stage, Stage::End { .. }) && now_ms < transaction.computes_until_ms {
            return Ok(());
        }
        if matches!(stage, Stage::Produce(_)) && !transaction.tried && shared.fault(20) {
            // A delivery failed.
            transaction.todo = VecDeque::from([Stage::End { commit: false }]);
            return Ok(());
        }
        let request = Request {
            transactional_id: id,
            producer: client.producer,
            body: transaction.body(stage, client),
        };
        let sent = shared.send(&request);
        client.disturbed |= sent.is_twice && !shared.has(Bug::RetriesUnseen);
        transaction.is_held |= sent.is_twice || !matches!(sent.answer, Some(Ok(())));
        match (stage, sent.answer) {
            (Stage::Offsets | Stage::End { .. }, None) if shared.random.one_in(2) => {
                self.unanswered = matches!(stage, Stage::End { .. });
                self.end(Err(indefinite(Code::OperationTimedOut)), shared);
            }
            // The client sends it again.
            (_, None) => transaction.tried = true,
            (_, Some(Err(Refusal::Concurrent))) => {}
            (Stage::End { commit: true }, Some(Ok(()))) => {
                shared.hits.transactions += 1;
                in_time(transaction, shared)?;
                self.end(Ok(()), shared);
            }
            (Stage::End { commit: false }, Some(Ok(()))) => {
                shared.hit(Hit::Aborted);
                let (step, error) = (STEP, KafkaError::MessageProduction(Code::MessageTimedOut));
                self.end(Err(Attempt::Again { step, error }), shared);
            }
            (sent, Some(Ok(()))) => {
                transaction.todo.pop_front();
                transaction.tried = false;
                match sent {
                    Stage::Produce(place) => {
                        if transaction.standing == Standing::HasBatches {
                            transaction.standing = Standing::Produced;
                        }
                        client.sequences[place] += transaction.count(place);
                    }
                    Stage::Offsets => transaction.standing = Standing::OffsetsSent,
                    Stage::Add | Stage::AddOffsets | Stage::End { .. } => {}
                }
            }
            (_, Some(Err(Refusal::IllegalGeneration | Refusal::UnknownMember))) => {
                shared.hit(Hit::ZombieRefused);
                transaction.todo = VecDeque::from([Stage::End { commit: false }]);
            }
            (_, Some(Err(Refusal::Fenced))) => {
                shared.hit(Hit::Fenced);
                self.end(Err(indefinite(Code::Fenced)), shared);
            }
            (_, Some(Err(_))) => self.end(Err(indefinite(Code::InvalidTransactionalState)), shared),
        }
        Ok(())
    }

    fn end(&mut self, result: Result<(), Attempt>, shared: &mut Shared) {
        say!(shared, "the transaction ends: {result:?}");
        self.transaction = None;
        let mut disturbed = false;
        if let Some(client) = &mut self.client {
            client.spent = matches!(result, Err(Attempt::Indefinite { .. }));
            disturbed = client.disturbed;
        }
        if disturbed {
            shared.hit(Hit::Disturbed);
        }
        let has_failed = result.is_err();
        self.core.on_attempt(result, disturbed, now(shared));
        if has_failed {
            self.note_failure(shared);
        }
        self.report(shared);
    }
}

/// I9: a transaction takes as long as its own requests do, as nothing else is waited for in it.
fn in_time(transaction: &Transaction, shared: &mut Shared) -> Result<(), Violation> {
    if transaction.is_held {
        return Ok(());
    }
    shared.hits.add(Hit::InTime);
    let took_ms = shared.broker.now_ms() - transaction.began_ms;
    ensure(took_ms < IN_TIME_MS, "I9", || {
        format!("a transaction that nothing held was open for {took_ms} ms")
    })
}

const STEP: &str = "a step of the simulation";

fn indefinite(code: Code) -> Attempt {
    let (step, error) = (STEP, KafkaError::MessageProduction(code));
    Attempt::Indefinite { step, error }
}
