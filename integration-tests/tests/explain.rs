//! `foretell explain` on a real Kafka: what it says of series in every condition is what was done to them,
//! and the forecasts that it announces come.

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::NewRecord;
use integration_tests::forecast::{PREFIX, decode};
use integration_tests::observation::{Cells, Observations, START_MS, STEP_MS};
use integration_tests::process::output;
use integration_tests::read::read_committed;
use integration_tests::scenario::{CATCH_UP, Scenario, stop};
use integration_tests::worker::{GAP_MAX, WINDOW, Worker, binary};
use integration_tests::{kafka, wait};
use serde_json::Value as Json;

/// Steps of the series that are whole.
const STEPS: i64 = 70;
/// Steps that the young series has.
const YOUNG: i64 = 10;
/// Slots of the model's window.
const MODEL: i64 = 64;

const fn at(step: i64) -> i64 {
    START_MS + step * STEP_MS
}

fn cells(step: i64) -> Cells {
    let count = i32::try_from(step).unwrap_or(0);
    Cells {
        down: Some(f64::from(count) + 0.5),
        up: 2.0,
        rnti_count: 3,
    }
}

#[test]
fn series_in_every_condition_are_explained() -> Result<()> {
    ensure!(MODEL == i64::from(WINDOW));
    let scenario = Scenario::new(kafka::shared()?, "explained", 4, |job| job)?;
    let observations = Observations::new()?;
    publish(&scenario, &observations)?;
    let mut worker = scenario.job.start_ready("a")?;
    scenario
        .progress
        .wait_for_end(CATCH_UP, || worker.ensure_alive())?;
    for (series, verdict, parts) in conditions() {
        let found = explain(&scenario, series)?;
        let said = found["sentence"].as_str().context("no sentence")?;
        ensure!(found["verdict"] == verdict, "{series}: {found}");
        for part in parts {
            ensure!(said.contains(part), "{series}: {part:?} is not in {said:?}");
        }
        ensure!(found["rebuild"]["finding"] == "agreed", "{series}: {found}");
        ensure!(found["series"] == series && found["topic"] == scenario.input());
        ensure_worker_agrees(&scenario, &worker, &found)?;
    }
    ensure_facts(&scenario)?;
    ensure_announced_forecasts_come(&scenario, &observations, &worker)?;
    scenario
        .progress
        .wait_for_end(CATCH_UP, || worker.ensure_alive())?;
    stop(worker)
}

/// The worker has the windows that were rebuilt beside it, and says the same of them.
fn ensure_worker_agrees(scenario: &Scenario, worker: &Worker, rebuilt: &Json) -> Result<()> {
    let series = rebuilt["series"].as_str().context("no series")?;
    let (status, body) = worker.get(&format!("/explain?series={series}"))?;
    let live: Json = serde_json::from_str(&body)?;
    ensure!(status == 200, "{status}: {body}");
    let mut expected = rebuilt.clone();
    let fields = expected.as_object_mut().context("no object")?;
    fields.remove("rebuild").context("it was rebuilt")?;
    ensure!(
        live == expected,
        "the worker says {live}, rebuilt {expected}"
    );

    let admin = format!("http://127.0.0.1:{}", worker.port);
    let mut command = std::process::Command::new(binary()?);
    command.args(["explain", "--json", "--series", series, "--admin"]);
    let asked = output(command.arg(admin), b"")?;
    ensure!(serde_json::from_slice::<Json>(&asked)? == live);
    ensure!(live["topic"] == scenario.input());
    Ok(())
}

/// Series, verdict, and what the sentence must say.
fn conditions() -> [(&'static str, &'static str, &'static [&'static str]); 9] {
    [
        (
            "full",
            "complete",
            &["64 slots that the model needs are complete"],
        ),
        ("young", "warming_up", &["10 of the 64 slots"]),
        ("gappy", "gap", &["gap_max = 3", "down at "]),
        ("ahead", "complete", &["30 steps ahead, is held"]),
        ("late", "complete", &["newest record", "ended as late"]),
        (
            "twice",
            "complete",
            &[
                "newest 3 records",
                "ended as conflicting_duplicate",
                "collapsed",
            ],
        ),
        ("broken", "unknown", &["was refused as undecodable"]),
        ("nobody", "unknown", &["was never published there"]),
        ("astray", "warming_up", &["another partitioner"]),
    ]
}

/// All series step by step, as they would come.
fn publish(scenario: &Scenario, observations: &Observations) -> Result<()> {
    let send = |series: &str, step: i64, cells: Cells| {
        scenario.send(&observations.record(series, at(step), cells)?)
    };
    for step in 0..STEPS {
        for series in ["full", "gappy", "ahead", "late", "twice"] {
            send(series, step, cells(step))?;
        }
        if step >= STEPS - YOUNG {
            send("young", step, cells(step))?;
        }
    }
    let gap = i64::from(GAP_MAX) + 2;
    for step in STEPS..STEPS + gap {
        let down = None;
        send(
            "gappy",
            step,
            Cells {
                down,
                ..cells(step)
            },
        )?;
    }
    send("ahead", STEPS - 1 + 30, cells(9))?;
    send("late", 1, cells(1))?;
    for value in [1.0, 2.0, 3.0] {
        let other = Cells {
            down: Some(value),
            ..cells(0)
        };
        send("twice", STEPS - 1, other)?;
    }
    scenario.send(&NewRecord {
        key: Some(b"broken".to_vec()),
        value: Some(b"no Avro at all".to_vec()),
        timestamp_ms: at(STEPS),
    })?;
    // It lies where its key belongs, and its series belongs elsewhere.
    let astray = observations.record("astray", at(STEPS), cells(STEPS))?;
    let key = Some(b"twice".to_vec());
    scenario.send(&NewRecord { key, ..astray })
}

/// Numbers of the windows, known from what was published.
fn ensure_facts(scenario: &Scenario) -> Result<()> {
    let full = explain(scenario, "full")?;
    let window = &full["window"];
    ensure!(window["newest"] == at(STEPS - 1) && window["known"] == MODEL + i64::from(GAP_MAX));
    ensure!(
        window["late_until"] == at(STEPS - 1 - MODEL - i64::from(GAP_MAX)),
        "{window}"
    );
    ensure!(window["distances"]["modal_ms"] == STEP_MS && window["partial"] == false);
    let slots = window["slots"].as_array().context("no slots")?;
    let newest = slots.last().context("no slot")?;
    ensure!(newest["time"] == at(STEPS - 1), "{newest}");
    ensure!(
        newest["cells"] == serde_json::json!([69.5, 2.0, 3.0]),
        "{newest}"
    );
    ensure!(full["next_forecast"] == at(STEPS), "{full}");
    let outcomes = full["outcomes"].as_array().context("no outcomes")?;
    let said: Vec<_> = outcomes.iter().map(|it| it["outcome"].as_str()).collect();
    // 70 observations complete 7 windows of 64.
    let expected = [vec![Some("forecast"); 7], vec![Some("folded")]].concat();
    ensure!(said == expected, "{full}");
    ensure!(outcomes.iter().all(|it| it["certain"] == true), "{full}");

    let gappy = explain(scenario, "gappy")?;
    let model = &gappy["model"];
    ensure!(model["missing"] == 5 && model["unfillable"] == 2, "{model}");
    let unfillable = [STEPS + 3, STEPS + 4]
        .map(|step| serde_json::json!({ "time": at(step), "feature": "down" }));
    ensure!(
        model["missing_cells"] == serde_json::json!(unfillable),
        "{model}"
    );
    let missing = &gappy["window"]["slots"]
        .as_array()
        .context("slots")?
        .last()
        .context("one")?["cells"];
    ensure!(missing[0].is_null() && missing[1] == 2.0, "{missing}");

    let held = &explain(scenario, "ahead")?["window"]["held"];
    ensure!(
        held["time"] == at(STEPS + 29) && held["cells"][0] == 9.5,
        "{held}"
    );
    let broken = explain(scenario, "broken")?;
    ensure!(broken["outcomes"][0]["reason"] == "undecodable" && broken["window"].is_null());
    let astray = explain(scenario, "astray")?;
    let beside = explain(scenario, "twice")?;
    ensure!(astray["partition"] == beside["partition"], "{astray}");
    ensure!(astray["home_partition"] != astray["partition"], "{astray}");
    Ok(())
}

/// A forecast that is announced for a time comes with the observation of that time and no earlier.
fn ensure_announced_forecasts_come(
    scenario: &Scenario,
    observations: &Observations,
    worker: &Worker,
) -> Result<()> {
    let announced = |series| -> Result<i64> {
        let found = explain(scenario, series)?;
        found["next_forecast"]
            .as_i64()
            .context("nothing is announced")
    };
    let (young, gappy) = (announced("young")?, announced("gappy")?);
    ensure!(young == at(STEPS - YOUNG + MODEL - 1), "{young}");
    ensure!(gappy == at(STEPS + 4 + MODEL), "{gappy}");
    let before = origins(scenario, "gappy")?;
    for step in STEPS..STEPS + MODEL + 10 {
        scenario.send(&observations.record("young", at(step), cells(step))?)?;
        if step > STEPS + 4 {
            scenario.send(&observations.record("gappy", at(step), cells(step))?)?;
        }
    }
    let mut second = scenario.job.start_ready("b")?;
    scenario
        .progress
        .wait_for_end(CATCH_UP, || second.ensure_alive())?;
    ensure_only_the_owner_answers(worker, &second)?;
    stop(second)?;
    let first = origins(scenario, "young")?;
    ensure!(
        first.first() == Some(&young),
        "{first:?}, announced {young}"
    );
    let after = origins(scenario, "gappy")?;
    ensure!(
        after.get(before.len()) == Some(&gappy),
        "{after:?}, announced {gappy}"
    );
    Ok(())
}

/// Each series is explained by one of two workers, and the other says which partition it is in.
fn ensure_only_the_owner_answers(first: &Worker, second: &Worker) -> Result<()> {
    let serving = |worker: &Worker| -> Result<i64> {
        let (_, body) = worker.get("/readyz")?;
        let readiness: Json = serde_json::from_str(&body)?;
        readiness["serving"]
            .as_i64()
            .context("it does not say how many")
    };
    wait::until_true("both workers serve two partitions", CATCH_UP, || {
        Ok(serving(first)? == 2 && serving(second)? == 2)
    })?;
    let mut answers = 0;
    for series in ["full", "young", "late", "twice"] {
        let path = format!("/explain?series={series}");
        let (one, other) = (first.get(&path)?, second.get(&path)?);
        let (has, has_not) = if one.0 == 200 {
            (one, other)
        } else {
            (other, one)
        };
        ensure!((has.0, has_not.0) == (200, 404), "{has:?} {has_not:?}");
        let found: Json = serde_json::from_str(&has.1)?;
        let problem: Json = serde_json::from_str(&has_not.1)?;
        let detail = problem["detail"].as_str().context("no detail")?;
        let partition = format!("partition {} of", found["partition"]);
        ensure!(detail.contains(&partition), "{detail} {partition}");
        answers += 1;
    }
    ensure!(answers == 4);
    let (status, body) = first.get("/explain?series=")?;
    ensure!(
        status == 422 && body.contains("say which series"),
        "{status} {body}"
    );
    Ok(())
}

/// The origins of a series' forecasts in their order.
fn origins(scenario: &Scenario, series: &str) -> Result<Vec<i64>> {
    let seen = read_committed(&scenario.cluster, &scenario.job.forecasts())?;
    let forecasts = decode(&seen, PREFIX)?;
    let of_series = forecasts.get(series).map_or(&[][..], Vec::as_slice);
    let origin = |fields: &integration_tests::forecast::Fields| {
        let found = fields.iter().find(|(name, _)| name == "origin");
        match found {
            Some((_, apache_avro::types::Value::TimestampMillis(time))) => Ok(*time),
            _ => Err(anyhow::anyhow!("no origin")),
        }
    };
    of_series.iter().map(origin).collect()
}

fn explain(scenario: &Scenario, series: &str) -> Result<Json> {
    let command = scenario
        .job
        .command(&["explain", "--json", "--series", series])?;
    Ok(serde_json::from_slice(&output(&command, b"")?)?)
}
