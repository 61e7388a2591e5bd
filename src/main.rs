//! The life of the process: arguments, the command, one way out.

use std::process::ExitCode;

use clap::Parser;
use foretell::cli::Cli;
use foretell::config::Environment;
use foretell::shutdown;

fn main() -> ExitCode {
    match Cli::parse().run(&Environment::process()) {
        Ok(code) => code,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        // A worker that failed has threads that still run.
        Err(failure) => {
            #[expect(
                clippy::print_stderr,
                reason = "a command that fails tells the person, whatever the log level is"
            )]
            {
                eprintln!("foretell: {failure}");
            }
            shutdown::leave(failure.exit_code())
        }
    }
}
