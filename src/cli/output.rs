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

/// Writes one line to standard error. A remark that cannot be shown is no reason to stop.
pub fn remark(line: impl std::fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}
