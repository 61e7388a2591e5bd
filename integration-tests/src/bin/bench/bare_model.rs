//! ONNX Runtime alone: runs of one batch size on as many threads as the worker has lanes.
//!
//! The session is set up as the worker's. A thread reads every output, as anybody would.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use integration_tests::process::output;
use integration_tests::tools::here;
use integration_tests::wait;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;

use crate::cpu;

const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_millis(2500);
/// Slots and inputs per slot of every model of the benchmark.
const SHAPE: [usize; 2] = [64, 3];

/// Processor time per row, in microseconds, of the model run in batches of `rows`.
pub(crate) fn cpu_us(model: &Path, rows: u64, threads: usize) -> Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bare-model").arg(model);
    command.args([rows.to_string(), threads.to_string()]);
    let text = String::from_utf8(output(&command, b"")?)?;
    text.trim().parse().context("the loop printed no number")
}

/// The child process: prints the microseconds.
#[expect(clippy::print_stdout, reason = "the answer to the parent process")]
pub(crate) fn main(arguments: &[&str]) -> Result<()> {
    let [model, rows, threads] = arguments else {
        bail!("bare-model MODEL ROWS THREADS");
    };
    let (rows, threads): (usize, usize) = (rows.parse()?, threads.parse()?);
    let library = library()?;
    let environment = ort::init_from(&library)?.with_telemetry(false).build()?;
    let bytes = std::fs::read(model)?;
    let sessions: Result<Vec<Session>> = (0..threads).map(|_| load(&environment, &bytes)).collect();
    let mut sessions = sessions?;
    run_all(&mut sessions, rows, WARM_UP)?;
    let before = cpu::of("self")?;
    let done = run_all(&mut sessions, rows, MEASURED)?;
    let used = cpu::of("self")?.saturating_sub(before);
    println!(
        "{}",
        used.as_secs_f64() * 1e6 / crate::table::ratio(done, 1)
    );
    Ok(())
}

/// The library that the worker finds too.
pub(crate) fn library() -> Result<String> {
    let script = here().join("../scripts/setup-onnxruntime");
    let text = String::from_utf8(output(&Command::new(script), b"")?)?;
    Ok(text.trim().to_owned())
}

fn load(environment: &Environment, bytes: &[u8]) -> Result<Session> {
    let build = || -> ort::Result<Session> {
        Session::builder(environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_memory_pattern(false)?
            .commit_from_memory(bytes)
    };
    build().map_err(|error| anyhow!("{error}"))
}

/// Rows that all threads together ran within `time`.
fn run_all(sessions: &mut [Session], rows: usize, time: Duration) -> Result<u64> {
    let end = wait::now() + time;
    thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .map(|session| scope.spawn(move || run(session, rows, end)))
            .collect();
        let mut done = 0;
        for each in threads {
            done += each
                .join()
                .map_err(|_panic| anyhow!("a thread panicked"))??;
        }
        Ok(done)
    })
}

fn run(session: &mut Session, rows: usize, end: Instant) -> Result<u64> {
    let [window, width] = SHAPE;
    // Values around zero that differ, as scaled windows have them.
    let values: Vec<f32> = (0..rows * window * width)
        .map(|place| f32::from(u16::try_from(place * 7919 % 2003).unwrap_or(0)) / 1000.0 - 1.0)
        .collect();
    let mut done = 0;
    while wait::now() < end {
        let input = TensorRef::from_array_view(([rows, window, width], &*values))?;
        let outputs = session.run(ort::inputs![input])?;
        for value in outputs.values() {
            let (_, found) = value.try_extract_tensor::<f32>()?;
            black_box(found.iter().sum::<f32>());
        }
        done += u64::try_from(rows)?;
    }
    Ok(done)
}
