//! `foretell` with a bug in it, which a variable names: for the tests that see whether their checks find it
//! (`integration-tests/tests/planted_bugs/`).
//!
//! An example, so that no build of the product makes it, and that it is built with the very features of the
//! dependencies that the tests have.

use std::process::ExitCode;

use foretell::cli;
use foretell::config::Environment;
use foretell::planted::plant;

/// Names the bug; without it the worker is as it should be.
const VARIABLE: &str = "FORETELL_PLANTED_BUG";

fn main() -> ExitCode {
    let environment = Environment::process();
    if let Some(label) = environment.get(VARIABLE) {
        assert!(plant(label), "{VARIABLE}: there is no bug called {label:?}");
    }
    cli::main(&environment)
}
