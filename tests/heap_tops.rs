//! What a heap keeps free at its end. Alone in its process, as others would change its size.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::thread;

use foretell::heap;

/// Below the size from which a buffer is no part of a heap.
const PIECE_BYTES: usize = 256 << 10;
const PIECES: usize = 160;
/// What a heap may keep, and what else comes and goes.
const KEPT_BYTES_MAX: usize = 8 << 20;

type Failure = Box<dyn Error + Send + Sync>;

#[test]
fn what_a_thread_has_freed_is_the_systems_though_a_large_buffer_was_freed_before()
-> Result<(), Failure> {
    heap::bound_tops();
    // Where nothing was bounded, as much may stay in each heap from here on.
    drop(black_box(vec![1_u8; 31 << 20]));
    let measured = thread::spawn(|| {
        let before = resident_bytes()?;
        let pieces: Vec<_> = (0..PIECES).map(|_| vec![1_u8; PIECE_BYTES]).collect();
        let full = resident_bytes()?;
        drop(black_box(pieces));
        Ok::<_, Failure>((before, full, resident_bytes()?))
    });
    let (before, full, after) = measured.join().map_err(|_panic| "it panicked")??;
    assert!(
        full >= before + PIECES * PIECE_BYTES / 10 * 9,
        "{full} bytes, {before} before"
    );
    assert!(
        after <= before + KEPT_BYTES_MAX,
        "{after} bytes, {before} before and {full} meanwhile"
    );
    Ok(())
}

fn resident_bytes() -> Result<usize, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kilobytes.ok_or("no size")?.parse::<usize>()? * 1024)
}
