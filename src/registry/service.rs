//! The thread that asks the registry: every id once, again with back-off until it has answered for good.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::client::{Client, ClientError, RegistrySettings};
use super::references::{Fetched, fetch};
use super::schemas::{Book, Schemas};
use super::trouble::Trouble;
use crate::decode::{RegisteredSchema, SchemaAnswer};
use crate::domain::SchemaId;
use crate::telemetry::HoldCount;

/// Ids that are asked for and have no lasting answer.
const OPEN_MAX: usize = 1_024;
/// Answers that are published. One more drops the one that is the oldest; who wants it asks again.
const ANSWERS_MAX: usize = 4_096;
/// Asks that wait to be taken.
const ASKS_MAX: usize = 1_024;
/// Ids that are fetched at a time: one that is slow does not keep the others waiting.
const FETCHES_MAX: usize = 4;
/// From a failure to the next attempt, doubled up to the maximum, and spread by up to a half.
const BACK_OFF: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// Least time between two looks at an id that is unknown.
const LOOK_AGAIN_MIN: Duration = Duration::from_secs(1);
/// Who wants an id says so every [`Schemas::ASK_EVERY`]. One that nobody wanted for this long is dropped.
const WANTED_FOR: Duration = Duration::from_mins(1);

/// The state of the registry's thread.
#[derive(Debug)]
pub struct Registry {
    client: Client,
    grace: Duration,
    asks: mpsc::Receiver<SchemaId>,
    book: watch::Sender<Book>,
    trouble: watch::Sender<Option<Trouble>>,
    open: BTreeMap<SchemaId, Open>,
    /// Ids with an answer in the order in which they got it.
    answered: Vec<SchemaId>,
    fetches: JoinSet<(SchemaId, Result<Fetched, Trouble>)>,
    fetching: usize,
    random: RandomState,
}

/// An id without a lasting answer.
#[derive(Debug)]
struct Open {
    wanted: Instant,
    /// When it is asked for next; `None` while it is.
    due: Option<Instant>,
    back_off: Duration,
    /// Since when the registry has said that there is none, without anything else between.
    absent_since: Option<Instant>,
    /// True once something was said about it in the log.
    told: bool,
}

impl Registry {
    /// The thread's state, and the handle for those who ask. `holds` and `trouble` tell how it is.
    ///
    /// # Errors
    /// When a file for TLS or an address cannot be used.
    pub fn new(
        settings: &RegistrySettings,
        holds: HoldCount,
        trouble: watch::Sender<Option<Trouble>>,
    ) -> Result<(Self, Schemas), ClientError> {
        let (sender, asks) = mpsc::channel(ASKS_MAX);
        let (book, published) = watch::channel(Book::default());
        let registry = Self {
            client: Client::new(settings)?,
            grace: settings.unknown_schema_grace,
            asks,
            book,
            trouble,
            open: BTreeMap::new(),
            answered: Vec::new(),
            fetches: JoinSet::new(),
            fetching: 0,
            random: RandomState::new(),
        };
        Ok((registry, Schemas::new(sender, published, holds)))
    }

    /// Asks until nobody is left who could want an answer; what is under way then is dropped.
    pub async fn run(mut self) {
        loop {
            self.start_due();
            let next = self.next_due();
            tokio::select! {
                biased; // what is there is taken before anything new is begun
                Some(fetched) = self.fetches.join_next() => match fetched {
                    Ok((id, fetched)) => self.settle(id, fetched),
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_cancelled) => {}
                },
                ask = self.asks.recv() => match ask {
                    Some(id) => self.take(id),
                    None => return,
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    fn take(&mut self, id: SchemaId) {
        let now = Instant::now();
        if let Some(open) = self.open.get_mut(&id) {
            open.wanted = now;
            return;
        }
        if matches!(self.book.borrow().get(&id), Some(SchemaAnswer::Known(_))) {
            return;
        }
        if self.open.len() >= OPEN_MAX {
            // Its next ask comes in a second; by then others may have been answered.
            return;
        }
        self.open.insert(
            id,
            Open {
                wanted: now,
                due: Some(now),
                back_off: BACK_OFF,
                absent_since: None,
                told: false,
            },
        );
    }

    /// When there is something to do; `None` while there is no room to do it or nothing waits.
    fn next_due(&self) -> Option<Instant> {
        let due = self.open.values().filter_map(|open| open.due).min();
        due.filter(|_| self.fetching < FETCHES_MAX)
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let unwanted: Vec<SchemaId> = self
            .open
            .iter()
            .filter(|(_, open)| open.due.is_some() && now - open.wanted > WANTED_FOR)
            .map(|(id, _)| *id)
            .collect();
        for id in unwanted {
            self.open.remove(&id);
            self.forget(id);
        }
        for (id, open) in &mut self.open {
            if self.fetching < FETCHES_MAX && open.due.is_some_and(|due| due <= now) {
                open.due = None;
                self.fetching += 1;
                let (client, id) = (self.client.clone(), *id);
                self.fetches
                    .spawn(async move { (id, fetch(&client, id).await) });
            }
        }
    }

    fn settle(&mut self, id: SchemaId, fetched: Result<Fetched, Trouble>) {
        self.fetching -= 1;
        let now = Instant::now();
        match fetched {
            Ok(Fetched::Known(known)) => self.known(id, known),
            Ok(Fetched::Absent { message }) => self.absent(id, &message, now),
            Err(trouble) => self.troubled(id, trouble, now),
        }
    }

    fn known(&mut self, id: SchemaId, known: RegisteredSchema) {
        self.trouble.send_replace(None);
        let told = self.open.remove(&id).is_some_and(|open| open.told);
        if let RegisteredSchema::Refused(reason) = &known {
            warn!(%id, %reason, "a schema of the registry cannot be used; its records are undecodable");
        } else if told {
            info!(%id, "the registry gave the schema; its records are accepted from here on");
        }
        self.publish(id, SchemaAnswer::Known(known));
    }

    fn absent(&mut self, id: SchemaId, message: &str, now: Instant) {
        self.trouble.send_replace(None);
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let first = *open.absent_since.get_or_insert(now);
        let lasted = now - first;
        if let Some(left) = self
            .grace
            .checked_sub(lasted)
            .filter(|left| !left.is_zero())
        {
            if !open.told {
                open.told = true;
                warn!(%id, message, grace = ?self.grace, "the registry does not know the schema of a record; partitions that wait for it are held");
            }
            // Not later than the grace ends: nobody waits longer than was said.
            let wait = spread(&self.random, id, &mut open.back_off);
            open.due = Some(now + wait.min(left));
            return;
        }
        open.due = Some(now + self.grace.max(LOOK_AGAIN_MIN));
        if !matches!(self.book.borrow().get(&id), Some(SchemaAnswer::Unknown)) {
            open.told = true;
            warn!(%id, message, "the registry does not know the schema; its records are rejected as unknown_schema until it does");
            self.publish(id, SchemaAnswer::Unknown);
        }
    }

    fn troubled(&mut self, id: SchemaId, trouble: Trouble, now: Instant) {
        if let Some(open) = self.open.get_mut(&id) {
            open.absent_since = None;
            if !open.told {
                open.told = true;
                warn!(%id, error = %trouble, "no schema for a record; partitions that wait for it are held and the registry is asked again");
            }
            open.due = Some(now + spread(&self.random, id, &mut open.back_off));
        }
        self.trouble.send_replace(Some(trouble));
    }

    fn publish(&mut self, id: SchemaId, answer: SchemaAnswer) {
        self.answered.retain(|answered| *answered != id);
        self.answered.push(id);
        let oldest = (self.answered.len() > ANSWERS_MAX).then(|| self.answered.remove(0));
        self.book.send_modify(|book| {
            let book = Arc::make_mut(book);
            book.insert(id, answer);
            if let Some(oldest) = oldest {
                book.remove(&oldest);
            }
        });
    }

    /// Withdraws that an id is unknown, which nobody looks after any more.
    fn forget(&mut self, id: SchemaId) {
        if matches!(self.book.borrow().get(&id), Some(SchemaAnswer::Unknown)) {
            self.answered.retain(|answered| *answered != id);
            self.book.send_modify(|book| {
                Arc::make_mut(book).remove(&id);
            });
        }
    }
}

/// The next wait: of several workers that lost their registry together, not all come back at once.
fn spread(random: &RandomState, id: SchemaId, back_off: &mut Duration) -> Duration {
    let wait = *back_off;
    *back_off = (wait * 2).min(BACK_OFF_MAX);
    let dice = random.hash_one((id, wait)) % 1_000;
    let share = u32::try_from(dice).unwrap_or_default();
    wait / 2 + wait * share / 2_000
}
