//! Waiting for conditions: the one place of the tests that lets time pass.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at. Short beside anything that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Asks until there is an answer. An error ends the waiting at once; past the deadline the error
/// says what did not happen.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > deadline {
            bail!("within {deadline:?} it did not happen that {what}");
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

/// As [`until`], for a condition without a value.
pub fn until_true(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> Result<bool>,
) -> Result<()> {
    until(what, deadline, || Ok(ask()?.then_some(())))
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests wait in real time, and only here"
)]
pub fn now() -> Instant {
    Instant::now()
}
