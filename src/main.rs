//! The process: what it is given goes to `cli`, which has the one way out.

use std::process::ExitCode;

use foretell::cli;
use foretell::config::Environment;

fn main() -> ExitCode {
    cli::main(&Environment::process())
}
