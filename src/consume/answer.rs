//! Questions to a coordinator or a leader that are asked until there is an answer.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::time::Instant;

/// How long a question to the coordinator is asked. Answering may take a predecessor's whole transaction
/// timeout.
const POSITION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long is waited for an answer at a time, at first: bounds how late it is noticed that the partition was
/// taken away.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// The same in the end. What comes later than that is heard by nobody: an answer is for the question that it was
/// asked by.
const ASK_TIMEOUT_MAX: Duration = Duration::from_secs(8);

/// Asks until there is an answer, in pieces that begin with [`ASK_TIMEOUT`] and are twice as long each time.
pub(super) fn until_answered<T>(
    ask: impl Fn(Duration) -> KafkaResult<T>,
    wanted: &dyn Fn() -> bool,
) -> KafkaResult<T> {
    let began = Instant::now();
    let mut timeout = ASK_TIMEOUT;
    loop {
        let answer = ask(timeout);
        match &answer {
            Err(error)
                if is_unanswered(error) && began.elapsed() < POSITION_TIMEOUT && wanted() => {}
            Ok(_) | Err(_) => return answer,
        }
        timeout = (timeout * 2).min(ASK_TIMEOUT_MAX);
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Seconds that were waited for a coordinator that takes so many, by somebody who wants it so many times.
    fn asked(takes: u64, wanted: usize) -> (bool, Vec<u64>) {
        let timeouts = RefCell::new(Vec::new());
        let ask = |timeout: Duration| {
            timeouts.borrow_mut().push(timeout.as_secs());
            if timeout >= Duration::from_secs(takes) {
                return Ok(());
            }
            Err(KafkaError::OffsetFetch(RDKafkaErrorCode::OperationTimedOut))
        };
        let answer = until_answered(ask, &|| timeouts.borrow().len() < wanted);
        (answer.is_ok(), timeouts.into_inner())
    }

    #[test]
    fn a_coordinator_that_is_slow_to_answer_is_given_more_time() {
        assert_eq!(asked(1, 10), (true, vec![2]));
        assert_eq!(asked(3, 10), (true, vec![2, 4]));
        assert_eq!(asked(8, 10), (true, vec![2, 4, 8]));
    }

    #[test]
    fn one_that_does_not_answer_is_asked_as_long_as_anybody_wants_to_know() {
        assert_eq!(asked(60, 5), (false, vec![2, 4, 8, 8, 8]));
    }
}
