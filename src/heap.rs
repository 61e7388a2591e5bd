//! Gives memory back to the system that the allocator keeps though nothing uses it.
//!
//! A backlog passes through buffers of librdkafka and of ours that are gone once it is worked off. The C
//! library keeps what they were made of, spread over the heaps of all threads: with 100,000 series a quarter of
//! the process (docs/benchmarks.md). Other allocators were no better, as windows are of sizes that they round up.
//!
//! `malloc_trim` looks through all of a heap but its top, the free end that it grows at. How large that may become
//! is a bound of its own, which the C library raises to 64 MiB a heap when a large buffer is freed.

use std::convert::Infallible;
use std::fs;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// What a heap may keep free at its top.
const TOP_BYTES: i32 = 1 << 20;

/// Buffers from this size on are no part of a heap: once freed they are the system's. What a fetch brings and a piece
/// of a snapshot are smaller, as such a buffer costs a call and its pages each time.
const APART_BYTES: i32 = 1 << 20;

/// How often it is looked how large the process is.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How much the process may grow before its heap is looked through: a share of what it was after the last
/// time, and so many bytes.
const GROWTH: (usize, usize) = (128, 4 << 20);

/// After so many looks the heap is looked through though the process has not grown: what was in use the last time may
/// be free by now, and what has come since may not be the heap's.
const LOOKS_MAX: u32 = 15;

/// How large the process was after its heap had been looked through, and how often it was looked at since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Trimmed {
    resident: usize,
    looks: u32,
}

impl Trimmed {
    /// Whether a process of so many resident bytes has grown enough, or it has been long.
    const fn is_outgrown(self, resident: usize) -> bool {
        let (share, bytes) = GROWTH;
        resident > self.resident + self.resident / share + bytes || self.looks >= LOOKS_MAX
    }
}

/// Has heaps give back what they keep free beyond little. For the start of a process, before it has threads.
pub fn bound_tops() {
    bound(TOP_BYTES, APART_BYTES);
}

/// Looks at the size of the process until `drain`, and gives back what the heap does not use when it has
/// grown. A thread that allocates may have to wait for it some milliseconds.
///
/// # Errors
/// None.
pub async fn keep_small(drain: CancellationToken) -> Result<(), Infallible> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Trimmed::default();
    loop {
        tokio::select! {
            biased;
            () = drain.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let looked = tokio::task::spawn_blocking(move || look(last)).await;
        last = looked.unwrap_or(last);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a shell: it measures how long the heap was locked, for the log alone"
)]
fn look(last: Trimmed) -> Trimmed {
    // Where the system does not say, nothing is done.
    let Some(before) = resident_bytes() else {
        return last;
    };
    if !last.is_outgrown(before) {
        return Trimmed {
            resident: last.resident.min(before),
            looks: last.looks + 1,
        };
    }
    let began = Instant::now();
    trim();
    let took = began.elapsed();
    let after = resident_bytes().unwrap_or(before);
    debug!(before, after, ?took, "memory given back");
    Trimmed {
        resident: after,
        looks: 0,
    }
}

/// Bytes of this process in physical memory.
fn resident_bytes() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: usize = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(target_env = "gnu")]
fn trim() {
    #[expect(unsafe_code, reason = "std has no way to ask the allocator for it")]
    unsafe extern "C" {
        // Safe to call at any time: it takes the heaps' own locks.
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    let _whether_any_was_released = malloc_trim(0);
}

#[cfg(target_env = "gnu")]
fn bound(top_bytes: i32, apart_bytes: i32) {
    use std::ffi::c_int;

    #[expect(unsafe_code, reason = "std has no way to tell the allocator")]
    unsafe extern "C" {
        // Safe to call: it takes the main heap's lock, and changes numbers that each call of the allocator reads.
        safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    // As in malloc.h. Setting either ends the raising of both.
    const TRIM_THRESHOLD: c_int = -1;
    const MMAP_THRESHOLD: c_int = -3;
    let _known_to_every_release = [
        mallopt(TRIM_THRESHOLD, top_bytes),
        mallopt(MMAP_THRESHOLD, apart_bytes),
    ];
}

/// Other C libraries keep little or have no such call.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

/// The same.
#[cfg(not(target_env = "gnu"))]
fn bound(_top_bytes: i32, _apart_bytes: i32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_through_when_it_has_grown_by_a_share_or_after_a_while() {
        let mebi = 1 << 20;
        assert!(Trimmed::default().is_outgrown(5 * mebi));
        let last = Trimmed {
            resident: 640 * mebi,
            looks: 0,
        };
        assert!(!last.is_outgrown(649 * mebi));
        assert!(last.is_outgrown(650 * mebi));
        let looks = LOOKS_MAX;
        assert!(Trimmed { looks, ..last }.is_outgrown(1));
    }
}
