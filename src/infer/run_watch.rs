//! A run of a model as its lane and the watchdog see it.
//!
//! The lane says when a run begins, how long it may take, and when it has ended; the watchdog looks from
//! time to time, counts, and stops a run that takes longer. Neither reads a clock here. A lock makes sure
//! that what is stopped is the run that was meant, never the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::session::Brake;

/// Both sides of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RunWatch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    brake: Brake,
}

#[derive(Debug, Default)]
struct State {
    /// Runs that have begun.
    begun: u64,
    /// What the one under way may take.
    allowed: Option<Duration>,
    stopped: bool,
}

/// A run that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunUnderWay {
    /// Tells it from the runs before it.
    pub number: u64,
    pub allowed: Duration,
    /// It was stopped, and has not ended yet.
    pub stopped: bool,
}

impl RunWatch {
    pub(super) fn new(brake: Brake) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            brake,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(super) fn begin(&self, allowed: Duration) {
        let mut state = self.state();
        state.begun += 1;
        state.allowed = Some(allowed);
    }

    /// The run has ended; answers whether it had been stopped.
    pub(super) fn end(&self) -> bool {
        let mut state = self.state();
        state.allowed = None;
        if state.stopped {
            self.shared.brake.release();
        }
        std::mem::take(&mut state.stopped)
    }

    /// The run that is under way, if any.
    pub fn under_way(&self) -> Option<RunUnderWay> {
        let state = self.state();
        state.allowed.map(|allowed| RunUnderWay {
            number: state.begun,
            allowed,
            stopped: state.stopped,
        })
    }

    /// Stops the run of this number, unless it has ended.
    pub fn stop(&self, number: u64) {
        let mut state = self.state();
        if state.allowed.is_some() && state.begun == number {
            state.stopped = true;
            self.shared.brake.pull();
        }
    }

    /// What stops the runs, for another session of the same thread.
    pub(super) fn brake(&self) -> Brake {
        self.shared.brake.clone()
    }

    /// Whether nobody else holds it: the model is gone.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
