//! How many partitions are held for something that is not there yet, and since when.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

/// The partitions that are held for the same kind of thing at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    pub partitions: usize,
    /// Since when there has been at least one.
    pub since: Option<Instant>,
}

/// Counts holds of one kind. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HoldCount {
    sender: Arc<watch::Sender<Holds>>,
    gauge: fn(usize),
}

/// Counts a partition as held until it is dropped.
#[derive(Debug)]
pub struct Hold(HoldCount);

impl HoldCount {
    /// None is held yet; `gauge` is told each new number.
    pub fn new(gauge: fn(usize)) -> Self {
        Self {
            sender: Arc::new(watch::channel(Holds::default()).0),
            gauge,
        }
    }

    /// Counts a partition as held.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.sender.send_modify(|holds| {
            holds.partitions += 1;
            holds.since.get_or_insert_with(Instant::now);
            (self.gauge)(holds.partitions);
        });
        Hold(self.clone())
    }

    /// The number as it changes.
    pub fn watch(&self) -> watch::Receiver<Holds> {
        self.sender.subscribe()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let HoldCount { sender, gauge } = &self.0;
        sender.send_modify(|holds| {
            holds.partitions = holds.partitions.saturating_sub(1);
            if holds.partitions == 0 {
                holds.since = None;
            }
            gauge(holds.partitions);
        });
    }
}
