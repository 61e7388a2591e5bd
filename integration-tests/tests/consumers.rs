//! The consumers in docs/forecast.md, as they stand there, read what a worker has committed.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use apache_avro::types::Value;
use integration_tests::forecast::{Fields, PREFIX, decode};
use integration_tests::process::Process;
use integration_tests::read::read_committed;
use integration_tests::scenario::Scenario;
use integration_tests::tools::{Tools, in_repository};
use integration_tests::{kafka, scratch, wait};

/// A virtual machine has to start, compile the program and join a group.
const READ: Duration = Duration::from_mins(1);

/// Origin, name of the first target and its first mean, in the order of reading.
type Lines = Vec<(i64, String, f64)>;

#[test]
fn the_consumers_of_the_page_read_every_forecast_in_order() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "consumers", 2, |job| job)?;
    scenario.burst(80)?;
    scenario.run_to_end()?;
    let topic = scenario.job.forecasts();
    let seen = read_committed(&scenario.cluster, &topic)?;
    let mut expected = BTreeMap::new();
    for (series, forecasts) in decode(&seen, PREFIX)? {
        let lines: Result<Lines> = forecasts.iter().map(shown).collect();
        expected.insert(series, lines?);
    }
    ensure!(!seen.is_empty(), "there is nothing to read");

    let schema = in_repository("schemas/forecast.avsc")?;
    let folder = scratch::folder("consumers")?;
    let tools = Tools::get()?;
    for (language, file) in [("python", "reader.py"), ("java", "ReadForecasts.java")] {
        let program = folder.join(file);
        fs::write(&program, on_the_page(language, file)?)?;
        let mut command: Command = match language {
            "java" => tools.java_file(&program),
            _ => tools.python_file(&program),
        };
        let arguments = [scenario.cluster.brokers(), topic.as_str()];
        command.args(arguments).arg(&schema);
        let log = folder.join(format!("{language}.log"));
        let mut reader = Process::start(command, &log)?;
        wait::until_true(&format!("{file} has read everything"), READ, || {
            reader.ensure_alive()?;
            Ok(fs::read_to_string(&log)?.matches('\n').count() >= seen.len())
        })?;
        let read = parse(&fs::read_to_string(&log)?)?;
        ensure!(read == expected, "{file} read something else");
        reader.kill()?;
    }
    Ok(())
}

/// The program in the last block of this language; the pages' shorter ones stand before it.
fn on_the_page(language: &str, file: &str) -> Result<String> {
    let page = fs::read_to_string(in_repository("docs/forecast.md")?)?;
    let (_, block) = page
        .rsplit_once(&format!("```{language}\n"))
        .with_context(|| format!("no {file} on the page"))?;
    let (program, _) = block.split_once("```").context("a block without an end")?;
    Ok(program.to_owned())
}

fn shown(forecast: &Fields) -> Result<(i64, String, f64)> {
    let field = |name: &str| {
        let found = forecast.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value).context("no such field")
    };
    let (Value::TimestampMillis(origin), Value::Array(targets)) =
        (field("origin")?, field("targets")?)
    else {
        bail!("an odd forecast");
    };
    let Some(Value::Record(target)) = targets.first() else {
        bail!("a forecast without targets");
    };
    let (Some((_, Value::String(name))), Some((_, Value::Array(means)))) =
        (target.first(), target.get(1))
    else {
        bail!("an odd target");
    };
    let Some(Value::Double(mean)) = means.first() else {
        bail!("a target without means");
    };
    Ok((*origin, name.clone(), *mean))
}

fn parse(text: &str) -> Result<BTreeMap<String, Lines>> {
    let mut read: BTreeMap<String, Lines> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [series, origin, target, mean] = words[..] else {
            bail!("not a forecast: {line}");
        };
        let shown = (origin.parse()?, target.to_owned(), mean.parse()?);
        read.entry(series.to_owned()).or_default().push(shown);
    }
    Ok(read)
}
