//! Standard output and standard error of the commands.
//!
//! The print macros panic when a pipe closes (`foretell tail | head`), so commands write through
//! [`stdout`] and hand the error up; `Failure` tells the quiet end from a real failure.
//! Results go to standard output, progress and remarks to standard error, as kcat and kubectl do.

use std::io::{self, Write};

/// Standard output, locked and buffered: flush it when a reader should see what was written.
pub fn stdout() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::new(io::stdout().lock())
}

/// Writes one line to standard error, in one piece: a thread that panics may write there as well, and asks for no lock.
/// A remark that cannot be shown is no reason to stop.
pub fn remark(line: impl std::fmt::Display) {
    drop(io::stderr().write_all(format!("{line}\n").as_bytes()));
}

/// Text that somebody else wrote, with its control characters written out: a terminal would obey them.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(
            printable("cell-\u{e4}\u{1b}[2J\n"),
            "cell-\u{e4}\\u{1b}[2J\\n"
        );
    }
}
