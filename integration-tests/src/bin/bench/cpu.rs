//! Processor time of a process, as the kernel counts it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// `USER_HZ`, the unit of /proc, which is the same on every Linux that Kafka runs on.
const TICKS_PER_SECOND: u64 = 100;

/// User and system time of all threads of a process, ended ones included.
pub(crate) fn of(process: &str) -> Result<Duration> {
    time(process, Fields::OWN)
}

/// The same of all children of this process that have ended and been waited for.
pub(crate) fn of_ended_children() -> Result<Duration> {
    time("self", Fields::CHILDREN)
}

/// Which fields of `/proc/PID/stat`, counted from behind the name: user time, and system time behind it.
#[derive(Clone, Copy)]
struct Fields(usize);

impl Fields {
    const OWN: Self = Self(11);
    const CHILDREN: Self = Self(13);
}

fn time(process: &str, Fields(first): Fields) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The second field is the name in brackets and may hold anything.
    let (_, fields) = text.rsplit_once(')').context("no name")?;
    let mut ticks = fields.split_ascii_whitespace().skip(first);
    let user: u64 = ticks.next().context("no user time")?.parse()?;
    let system: u64 = ticks.next().context("no system time")?.parse()?;
    Ok(Duration::from_millis(
        (user + system) * 1000 / TICKS_PER_SECOND,
    ))
}
