//! How a partition's owner gets at schemas: it asks, holds the partition, and looks into the book.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::thread::park_timeout;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::decode::SchemaAnswer;
use crate::domain::SchemaId;
use crate::telemetry::metrics;
use crate::telemetry::{Hold, HoldCount};

/// All answers so far, as an immutable value.
pub type Book = Arc<BTreeMap<SchemaId, SchemaAnswer>>;

/// A handle of the registry's thread; cheap to clone. Its thread ends with the last one.
#[derive(Clone, Debug)]
pub struct Schemas {
    asks: mpsc::Sender<SchemaId>,
    book: watch::Receiver<Book>,
    holds: HoldCount,
}

impl Schemas {
    /// How often what is still wanted is asked for again, in case that the first ask was not taken.
    pub const ASK_EVERY: Duration = Duration::from_secs(1);
    const LOOK_EVERY: Duration = Duration::from_millis(10);

    /// A handle for whoever takes `asks` and publishes the book.
    pub fn new(
        asks: mpsc::Sender<SchemaId>,
        book: watch::Receiver<Book>,
        holds: HoldCount,
    ) -> Self {
        Self { asks, book, holds }
    }

    /// For a worker whose values name no schema of a registry.
    pub fn none() -> Self {
        Self::held_as(&HoldCount::new(metrics::schema_holds))
    }

    /// As [`Schemas::none`], and counts its holds there.
    pub fn held_as(holds: &HoldCount) -> Self {
        Self::new(
            mpsc::channel(1).0,
            watch::channel(Book::default()).1,
            holds.clone(),
        )
    }

    /// What the registry says of a schema; `None` as long as it has not answered.
    pub fn answer(&self, schema: SchemaId) -> Option<SchemaAnswer> {
        self.book.borrow().get(&schema).cloned()
    }

    /// Asks for a schema, or says that it is still wanted. Waits for nothing: where there is no room the
    /// next ask comes in time.
    pub fn ask(&self, schema: SchemaId) {
        let _no_room_or_gone = self.asks.try_send(schema);
    }

    /// Waits until there may be new answers.
    pub async fn changed(&mut self) {
        if self.book.changed().await.is_err() {
            pending::<()>().await;
        }
    }

    /// Counts a partition as held.
    pub fn hold(&self) -> Hold {
        self.holds.hold()
    }

    /// Waits for the answer on a thread that may wait, as long as it is `wanted`.
    pub fn wait(&self, schema: SchemaId, wanted: &dyn Fn() -> bool) -> Option<SchemaAnswer> {
        if let Some(answer) = self.answer(schema) {
            return Some(answer);
        }
        let _held = self.hold();
        let mut asked: Option<Instant> = None;
        while wanted() {
            if let Some(answer) = self.answer(schema) {
                return Some(answer);
            }
            if asked.is_none_or(|asked| asked.elapsed() >= Self::ASK_EVERY) {
                self.ask(schema);
                asked = Some(Instant::now());
            }
            park_timeout(Self::LOOK_EVERY);
        }
        None
    }
}
