//! `foretell backtest`: models on data that is past, through the serving path, judged side by side.
//!
//! [`models`] are checked as a worker checks them; records come from a [`mod@file`] or a [`topic`];
//! [`replay`] folds each once and lets every model take its rows; [`track`] keeps what waits to be
//! judged, [`tally`] the errors; [`report`] and [`plot`] show them. Nothing is written but the picture.

pub mod arguments;
pub mod file;
pub mod models;
pub mod plot;
pub mod replay;
pub mod report;
pub mod scope;
pub mod tally;
pub mod topic;
pub mod track;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use arguments::Arguments;
use file::Files;
use plot::page::{Format, Picture};
use replay::Replay;
use report::{Frame, Report, text};
use topic::Topic;

use super::registry::RegistryClient;
use super::{Failure, output};
use crate::app::wall_clock;
use crate::config::{Config, Environment};

/// The picture cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the picture {}: {source}; does its folder exist?", path.display())]
struct PlotError {
    path: PathBuf,
    source: std::io::Error,
}

pub(super) fn run(args: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let config = match &args.config {
        Some(path) => Some(Config::load(path, environment)?),
        None => None,
    };
    let config = config.as_ref();
    let format = args.plot_format().map_err(Failure::usage)?;
    if let Some(path) = &args.plot {
        ensure_writable(path)?;
    }
    let models = models::load(&args.models, config, args.derived(), environment)?;
    let scope = args.scope(&models).map_err(Failure::usage)?;
    let windows = models.windows;
    let drawn = args
        .drawn(&scope, &windows, format)
        .map_err(Failure::usage)?;
    let features = models.features;
    let needed = needed(&models.list);
    let mut replay = Replay::new(models.list, scope, drawn);
    let limit = args.limit.unwrap_or(u64::MAX);
    let data = if let Some(name) = &args.topic {
        let connection = args.connection(config).map_err(Failure::usage)?;
        let decoder = args.decoder(config, &features)?;
        let topic = Topic::open(&connection, name, (args.from, args.to), wall_clock())?;
        let registry = match config {
            Some(config) => RegistryClient::of(config)?,
            None => RegistryClient::none(),
        };
        topic.replay(&mut replay, (windows, &decoder), &registry, limit)?;
        format!("topic {name}")
    } else {
        let columns = args.columns(config);
        let files = Files::open((&args.files, &args.table), columns, &features, &needed)?;
        files.replay(&mut replay, windows, limit)?;
        let names = args.files.iter().map(|file| file.display().to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    if let Some(failure) = &replay.told.failed_run {
        output::remark(format_args!("a run of a model failed: {failure}"));
    }
    let frame = Frame {
        data: &data,
        grid: windows.grid(),
        window: windows.length(),
        gap_max: windows.gap_max(),
        per_series: args.per_series,
    };
    let report = Report::of(&replay, frame);
    if let (Some(format), Some(path)) = (format, &args.plot) {
        draw(args, &replay, (&report, frame), (format, path))?;
    }
    let mut out = output::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        text::write(&mut out, &report)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A folder that does not exist, or a file that may not be written, is told before hours of work.
/// Nothing is made yet: the backtest may be refused for something else.
fn ensure_writable(path: &Path) -> Result<(), PlotError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let checked = match path.metadata() {
        Ok(_) => File::options().append(true).open(path).map(drop),
        Err(_absent) => folder.read_dir().map(drop),
    };
    checked.map_err(|source| PlotError {
        path: path.to_owned(),
        source,
    })
}

/// The features that some model reads.
fn needed(models: &[models::Model]) -> Vec<String> {
    let features = models
        .iter()
        .flat_map(|model| model.package.contract().features());
    let mut needed: Vec<_> = features.map(str::to_owned).collect();
    needed.sort();
    needed.dedup();
    needed
}

fn draw(
    args: &Arguments,
    replay: &Replay,
    (report, frame): (&Report, Frame<'_>),
    (format, path): (Format, &PathBuf),
) -> Result<(), Failure> {
    let tracks = replay.tracks();
    let drawn = |track: &&'_ track::Track| track.recorder.is_some();
    let series: Vec<_> = tracks
        .iter()
        .filter(|track| drawn(track))
        .filter_map(|track| Some((track.name.as_str(), track.recorder.as_ref()?)))
        .collect();
    for name in &args.plot_series {
        if !series.iter().any(|(known, _)| known == name) {
            output::remark(format_args!(
                "--plot-series: there is no series `{name}` in the data"
            ));
        }
    }
    let picture = Picture {
        report,
        scope: &replay.scope,
        grid: frame.grid,
        series,
        horizon: args.plotted(&replay.scope),
        last_value: args.plot_last_value,
    };
    std::fs::write(path, picture.draw(format)).map_err(|source| PlotError {
        path: path.clone(),
        source,
    })?;
    Ok(())
}
