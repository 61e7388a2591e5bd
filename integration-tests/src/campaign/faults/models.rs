//! A model that hangs.

use anyhow::Result;

use crate::accounts::Due;
use crate::campaign::{Fault, Prepared, Strike};
use crate::observation::{Cells, Observations, START_MS, STEP_MS};
use crate::worker::Job;

/// It loops while a window's last value is [`MARK`], and asks for two slots.
const LOOPS: &str = "tests/models/hangs_on_some.onnx";
const SLOTS: u32 = 2;
const MARK: f64 = 1e15;
/// A series that is not part of the load.
const MARKED: &str = "marked";

pub(super) const HANGS: Fault = Fault::new(
    "model-hangs",
    "the model hangs on some windows, and is stopped",
    goes_on,
)
.model(LOOPS)
.shape(soon_stopped)
.strikes(1)
.prepare(hang);

fn soon_stopped(job: Job) -> Job {
    job.set("WORKER__RUN_DEADLINE", "200ms")
}

/// Two of eight windows hang, among those of the load.
fn hang(prepared: &mut Prepared<'_>) -> Result<()> {
    const VALUES: [f64; 8] = [1e8, 1e8, MARK, 1e8, 1e8, MARK, 1e8, 1e8];
    const HANGING: usize = 2;
    let Prepared {
        scenario, expected, ..
    } = prepared;
    let observations = Observations::new()?;
    for down in VALUES {
        let cells = Cells {
            down: Some(down),
            ..Cells::of(1, 1)
        };
        let time = START_MS + i64::from(scenario.steps()) * STEP_MS;
        scenario.send(&observations.record(MARKED, time, cells)?)?;
        scenario.burst(1)?;
    }
    let due = Due {
        records: u64::try_from(VALUES.len())?,
        forecasts: VALUES.len() - 1 - HANGING,
    };
    expected.window = SLOTS;
    expected.others.insert(MARKED.to_owned(), due);
    let reason = "model_output_invalid".to_owned();
    expected.letters.insert(reason, HANGING);
    Ok(())
}

fn goes_on(strike: &mut Strike<'_>) -> Result<()> {
    strike.now()
}
