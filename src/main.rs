//! The life of the process.

use std::path::Path;
use std::process::ExitCode;

use foretell::app::App;
use foretell::config::{Config, Environment};
use tokio_util::sync::CancellationToken;

#[expect(clippy::print_stderr, reason = "temporary")]
fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let environment = Environment::process();
    let path = std::env::args().nth(3).unwrap_or_default();
    let config = match Config::load(Path::new(&path), &environment) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
    };
    let app = match App::start(&config, &environment) {
        Ok(app) => app,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(async move {
        let token = CancellationToken::new();
        let stop = token.clone();
        tokio::select! {
            result = app.run(token) => result,
            () = async { let mut t = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap(); t.recv().await; stop.cancel(); std::future::pending::<()>().await } => Ok(()),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
