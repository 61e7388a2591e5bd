//! What the threads of a proxy and the test share: the armed rules and the connections.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::frame::Request;
use super::rules::{Action, Rule};
use crate::wait;

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// A hit, a release, the end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    /// Nothing gets through in either direction.
    is_severed: bool,
    numbers: u64,
    rules: BTreeMap<u64, Armed>,
    connections: BTreeMap<u64, [TcpStream; 2]>,
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    is_released: bool,
    counts: Counts,
}

/// What a rule has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) hits: u32,
    pub(super) answers: u32,
}

/// The rule that a request has met, and what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) rule: u64,
    pub(super) action: Action,
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn holds(&self, rule: u64) -> bool {
        let armed = self.rules.get(&rule);
        !self.is_over && armed.is_some_and(|armed| !armed.is_released)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it has the lock, and if it did the counts would still be counts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arm(&self, rule: Rule) -> u64 {
        let mut state = self.lock();
        let number = state.number();
        let armed = Armed {
            rule,
            is_released: false,
            counts: Counts::default(),
        };
        state.rules.insert(number, armed);
        number
    }

    pub(super) fn counts(&self, rule: u64) -> Counts {
        let state = self.lock();
        state
            .rules
            .get(&rule)
            .map_or_else(Counts::default, |armed| armed.counts)
    }

    pub(super) fn release(&self, rule: u64) {
        if let Some(armed) = self.lock().rules.get_mut(&rule) {
            armed.is_released = true;
        }
        self.changed.notify_all();
    }

    pub(super) fn disarm(&self, rule: u64) {
        self.lock().rules.remove(&rule);
        self.changed.notify_all();
    }

    /// The first rule that takes this request.
    pub(super) fn meet(&self, request: &Request) -> Option<Met> {
        let mut state = self.lock();
        let mut armed = state.rules.iter_mut();
        armed.find_map(|(&rule, armed)| {
            let takes = !armed.is_released && armed.rule.takes(request);
            takes.then_some(Met {
                rule,
                action: armed.rule.action,
            })
        })
    }

    pub(super) fn hit(&self, rule: u64) {
        if let Some(armed) = self.lock().rules.get_mut(&rule) {
            armed.counts.hits += 1;
        }
    }

    pub(super) fn answered(&self, rule: u64) {
        if let Some(armed) = self.lock().rules.get_mut(&rule) {
            armed.counts.answers += 1;
        }
    }

    /// Waits until the rule is released, or the proxy is at its end.
    pub(super) fn hold(&self, rule: u64) {
        let mut state = self.lock();
        while state.holds(rule) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same until then at most.
    pub(super) fn hold_until(&self, rule: u64, until: Instant) {
        let mut state = self.lock();
        while state.holds(rule) {
            let left = until.saturating_duration_since(wait::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps both ends of a connection so that it can be cut; `None` once the proxy is at its end.
    pub(super) fn connected(&self, ends: [TcpStream; 2]) -> Option<u64> {
        let mut state = self.lock();
        if state.is_over {
            return None;
        }
        let number = state.number();
        state.connections.insert(number, ends);
        Some(number)
    }

    pub(super) fn disconnected(&self, connection: u64) {
        self.lock().connections.remove(&connection);
    }

    /// From now on nothing gets through, or everything does again, what came meanwhile first.
    pub(super) fn sever(&self, is_severed: bool) {
        self.lock().is_severed = is_severed;
        self.changed.notify_all();
    }

    /// Waits until something gets through, or the proxy is at its end.
    pub(super) fn wait_for_network(&self) {
        let mut state = self.lock();
        while state.is_severed && !state.is_over {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn cut_all(&self) {
        self.lock().connections.values().for_each(cut);
    }

    pub(super) fn stop(&self) {
        self.lock().is_over = true;
        self.cut_all();
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }
}

/// Ends a connection towards both sides; an error means that it has ended.
pub(super) fn cut(ends: &[TcpStream; 2]) {
    for end in ends {
        drop(end.shutdown(Shutdown::Both));
    }
}
