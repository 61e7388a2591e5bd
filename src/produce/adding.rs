//! Adding offsets to the open transaction, within a time of our own.
//!
//! librdkafka asks the group's coordinator for this and never looks at the timeout it was given while it
//! waits for a coordinator: where the one it remembers is gone, the call returns when a connection of the
//! producer changes for another reason, which may be never (docs/kafka.md, finding 14). So the call is made on
//! a thread of its own, and one that does not return is left behind with its producer.

use std::cell::Cell;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::deliveries::Deliveries;

/// How long one request may take before it is repeated.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How much later than that the call may return.
const LATE: Duration = Duration::from_secs(1);

/// The offsets that a transaction is to contain, and the member that commits them.
pub(super) struct Addition {
    pub(super) offsets: TopicPartitionList,
    pub(super) group: ConsumerGroupMetadata,
}

/// Makes the calls of one producer. When dropped, the thread has let go of the producer, or is left behind.
pub(super) struct Adding {
    /// `None` once dropped.
    calls: Option<Calls>,
    producer: Weak<BaseProducer<Deliveries>>,
    /// A call has not returned in time, and nothing may be called on the producer any more.
    is_left_behind: Cell<bool>,
}

/// A producer with a call that has not returned. It ends by itself when the call does.
#[derive(Debug)]
pub(super) struct LeftBehind(Weak<BaseProducer<Deliveries>>);

impl LeftBehind {
    pub(super) fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }
}

struct Calls {
    additions: SyncSender<Arc<Addition>>,
    results: Receiver<KafkaResult<()>>,
    thread: JoinHandle<()>,
}

impl Adding {
    pub(super) fn start(producer: &Arc<BaseProducer<Deliveries>>) -> io::Result<Self> {
        let weak = Arc::downgrade(producer);
        let producer = Arc::clone(producer);
        let (additions, called) = sync_channel::<Arc<Addition>>(0);
        let (answers, results) = sync_channel(1);
        let adding = move || {
            for addition in called {
                let Addition { offsets, group } = &*addition;
                let result = producer.send_offsets_to_transaction(offsets, group, REQUEST_TIMEOUT);
                if answers.send(result).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("offsets".to_owned());
        let calls = Calls {
            additions,
            results,
            thread: thread.spawn(adding)?,
        };
        Ok(Self {
            calls: Some(calls),
            producer: weak,
            is_left_behind: Cell::new(false),
        })
    }

    /// Adds the offsets, or tells that nothing is known of it.
    pub(super) fn add(&self, addition: &Arc<Addition>) -> KafkaResult<()> {
        let result = self.calls.as_ref().and_then(|calls| {
            calls.additions.send(Arc::clone(addition)).ok()?;
            calls.results.recv_timeout(REQUEST_TIMEOUT + LATE).ok()
        });
        result.unwrap_or_else(|| {
            self.is_left_behind.set(true);
            Err(KafkaError::Global(RDKafkaErrorCode::OperationTimedOut))
        })
    }

    /// What dropping this leaves.
    pub(super) fn left_behind(&self) -> Option<LeftBehind> {
        let is_left_behind = self.is_left_behind.get();
        is_left_behind.then(|| LeftBehind(Weak::clone(&self.producer)))
    }
}

impl Drop for Adding {
    fn drop(&mut self) {
        if let Some(Calls {
            additions, thread, ..
        }) = self.calls.take()
        {
            drop(additions);
            if !self.is_left_behind.get() {
                // It ends as soon as there is nothing to call any more.
                let _ended = thread.join();
            }
        }
    }
}
