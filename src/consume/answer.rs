//! Questions to a coordinator or a leader that are asked until there is an answer.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::time::Instant;

/// How long a question to the coordinator is asked. Answering may take a predecessor's whole transaction
/// timeout.
const POSITION_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that is waited for an answer at a time: bounds how late it is noticed that the partition
/// was taken away.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks until there is an answer, in pieces of [`ASK_TIMEOUT`].
pub(super) fn until_answered<T>(
    ask: impl Fn(Duration) -> KafkaResult<T>,
    wanted: &dyn Fn() -> bool,
) -> KafkaResult<T> {
    let began = Instant::now();
    loop {
        let answer = ask(ASK_TIMEOUT);
        match &answer {
            Err(error)
                if is_unanswered(error) && began.elapsed() < POSITION_TIMEOUT && wanted() => {}
            Ok(_) | Err(_) => return answer,
        }
    }
}

/// The same for a question to the leader of a partition.
///
/// What a client was told of a topic it keeps for a quarter of an hour, and where the leader in it is a broker
/// that is gone it answers at once that there is none: nothing but a question for the topic makes it look again.
pub(super) fn until_leader_answers<T>(
    (consumer, topic): (&BaseConsumer, &str),
    ask: impl Fn(Duration) -> KafkaResult<T>,
    wanted: &dyn Fn() -> bool,
) -> KafkaResult<T> {
    let ask = |timeout| match ask(timeout) {
        Err(error) if has_no_leader(&error) => {
            consumer.fetch_metadata(Some(topic), timeout)?;
            ask(timeout)
        }
        answer @ (Ok(_) | Err(_)) => answer,
    };
    until_answered(ask, wanted)
}

fn has_no_leader(error: &KafkaError) -> bool {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::LeaderNotAvailable) => true,
        Some(_) | None => false,
    }
}

/// No answer came in time.
fn is_unanswered(error: &KafkaError) -> bool {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut) => true,
        Some(_) | None => false,
    }
}
