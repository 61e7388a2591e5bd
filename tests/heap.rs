//! Memory that the allocator keeps and nothing uses goes back to the system.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::time::Duration;

use foretell::heap;
use tokio_util::sync::CancellationToken;

const PIECES: usize = 16_000;
const PIECE_BYTES: usize = 8 << 10;
const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_is_free_between_pieces_that_stay_is_given_back() -> Result<(), Box<dyn Error>> {
    let before = resident_bytes()?;
    let mut pieces: Vec<Box<[u8]>> = Vec::new();
    for _ in 0..PIECES {
        pieces.push(vec![1; PIECE_BYTES].into());
    }
    let grown = resident_bytes()?;
    assert!(grown > before + PIECES * PIECE_BYTES / 10 * 9, "{grown}");
    // Some stay, the last one too, so that the heap cannot shrink from its end.
    let mut index = 0;
    pieces.retain(|_| {
        index += 1;
        index % 20 == 0
    });
    let drain = CancellationToken::new();
    let looks = async {
        while resident_bytes()? > before + PIECES * PIECE_BYTES / 4 {
            tokio::task::yield_now().await;
        }
        drain.cancel();
        Ok(())
    };
    let both = async { tokio::join!(heap::keep_small(drain.clone()), looks) };
    let in_time = tokio::time::timeout(DEADLINE, both).await;
    let (Ok(()), looked) = in_time.map_err(|_elapsed| format!("{grown} stay"))?;
    black_box(pieces);
    looked
}

fn resident_bytes() -> Result<usize, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kilobytes.ok_or("no size")?.parse::<usize>()? * 1024)
}
