//! A worker that hangs while it drains still ends: at the second signal, at once.
//!
//! `hanging_worker` is the body of a process that the other test starts from this same binary.

use std::convert::Infallible;
use std::future::pending;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use foretell::shutdown::{Signals, Task, Tasks};

#[test]
fn the_second_signal_exits_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut worker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hanging_worker", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
        let mut wait_for = |word: &str| {
            lines
                .by_ref()
                .find(|line| line.as_ref().unwrap().contains(word))
                .unwrap_or_else(|| panic!("the worker ended before it was {word}"))
                .unwrap()
        };
        let kill = || {
            let pid = worker.id().to_string();
            let killed = Command::new("kill").args(["-s", signal, &pid]).status();
            assert!(killed.unwrap().success());
        };
        wait_for("listening");
        kill();
        wait_for("draining");
        kill();
        assert_eq!(worker.wait().unwrap().code(), Some(code));
    }
}

#[test]
#[ignore = "the body of a process, which never ends by itself"]
#[expect(
    clippy::print_stdout,
    reason = "this is how the test that started it follows it"
)]
fn hanging_worker() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut signals = Signals::listen().unwrap();
        let mut tasks = Tasks::default();
        tasks.spawn(Task::Worker, pending::<Result<(), Infallible>>());
        let drain = tasks.drain_token();
        tasks.spawn(Task::Admin, async move {
            println!("listening");
            drain.cancelled().await;
            println!("draining");
            Ok::<_, Infallible>(())
        });
        let ended = tasks
            .run(async || signals.next().await, Duration::from_mins(1))
            .await;
        panic!("came back from a drain that hangs: {ended}");
    });
}
