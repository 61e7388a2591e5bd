//! The command line of `foretell backtest`, and what it comes to once the models are known.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::models::{Derived, Models};
use super::plot::Recorder;
use super::plot::page::Format;
use super::replay::Drawn;
use super::scope::Scope;
use crate::app;
use crate::cli::Failure;
use crate::cli::clients::Connection;
use crate::cli::moment::Moment;
use crate::cli::publish::{BUILT_IN, TableArgs};
use crate::config::{Config, format_duration, parse_duration};
use crate::decode::{
    Decoder, DecoderConfig, Projection, SchemaFolder, VALUE_BYTES_MAX, WireFormat, WriterSchema,
};
use crate::domain::Timestamp;
use crate::infer::Contract;
use crate::window::WindowConfig;

/// Judge models on past data, through the code that serves them
///
/// Rows of files, or the records of a topic, go through the worker's own decoder, windows, scaling
/// and ONNX runs; what each model forecasts is held against what came, beside the last value and the
/// value of a season before, all on the same points. Only what decides whether a forecast is sent,
/// deadlines and `max_age`, is left aside. Nothing is committed, no group joined, no topic written.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, group(clap::ArgGroup::new("data").required(true).args(["files", "topic"])))]
pub struct Arguments {
    /// Model package to judge; say it once for each
    #[arg(short, long = "model", value_name = "FILE", required = true)]
    pub models: Vec<PathBuf>,

    /// Files of observations, .csv or .parquet, read one after the other
    #[arg(value_name = "DATA")]
    pub files: Vec<PathBuf>,

    /// Topic of observations, in place of files
    #[arg(short, long)]
    pub topic: Option<String>,

    /// Where to begin in the topic: beginning, a time ago such as 24h, or an RFC 3339 time
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "beginning",
        requires = "topic"
    )]
    pub from: Moment,

    /// Where to end in the topic; end is the end that it has at the start
    #[arg(long, value_name = "WHEN", default_value = "end", requires = "topic")]
    pub to: Moment,

    /// Kafka brokers, as host:port,host:port
    #[arg(short, long, value_name = "BROKERS", requires = "topic")]
    brokers: Option<String>,

    /// Windows, decoder and Kafka are those of the worker with this configuration
    ///
    /// Without it the windows follow from the models: their step, the longest window, all their
    /// features, and the defaults for everything else.
    #[arg(short, long, value_name = "TOML")]
    pub config: Option<PathBuf>,

    /// Avro schema of the topic's records [default: the observation of the sample data]
    #[arg(
        long,
        value_name = "AVSC",
        requires = "topic",
        conflicts_with = "config"
    )]
    schema: Option<PathBuf>,

    /// Field with the series, and its column in a file [default: of the configuration, else series]
    #[arg(long, value_name = "FIELD", conflicts_with = "config")]
    series_field: Option<String>,

    /// Field with the time, and its column in a file [default: of the configuration, else time]
    #[arg(long, value_name = "FIELD", conflicts_with = "config")]
    time_field: Option<String>,

    /// Times lie on multiples of the step plus this, as `window.phase` of a configuration
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "config")]
    phase: Option<Duration>,

    /// Steps that are kept beyond the window, as `window.gap_max` of a configuration
    #[arg(
        long,
        value_name = "STEPS",
        default_value_t = 3,
        conflicts_with = "config"
    )]
    gap_max: usize,

    #[command(flatten)]
    pub table: TableArgs,

    /// Read the first rows only
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<u64>,

    /// Steps ahead that are judged [default: 1, half and all of the shortest model's]
    ///
    /// A forecast is judged once its farthest horizon is past, so that every horizon has the same
    /// origins. What was observed is what the windows hold when nothing more is waited for, which is
    /// the gap allowance later.
    #[arg(long, value_name = "STEPS", value_delimiter = ',')]
    horizons: Vec<usize>,

    /// What seasonal-naive looks back, such as 1d; off leaves it out
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = season)]
    season: Season,

    /// Judge only forecasts from this time on; what is before it is history
    #[arg(long, value_name = "TIME", value_parser = instant)]
    score_from: Option<Timestamp>,

    /// Also show the errors of every series
    #[arg(long)]
    pub per_series: bool,

    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,

    /// Draw what was observed and forecast into this file, .html or .svg
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,

    /// Series to draw [default: the first three]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "plot")]
    pub plot_series: Vec<String>,

    /// Steps ahead of the forecasts to draw, one of --horizons [default: the middle one]
    #[arg(long, value_name = "STEPS", requires = "plot")]
    plot_horizon: Option<usize>,

    /// Draw only the last part of each series, such as 12h
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "plot")]
    plot_last: Option<Duration>,

    /// Draw the last value as well
    #[arg(long, requires = "plot")]
    pub plot_last_value: bool,
}

const EXAMPLES: &str = "\
Examples:
  foretell backtest --model demo/gru.onnx --model demo/hits.onnx demo/sample.parquet

  The last day of a topic, with the windows and the decoder of a worker:
  foretell backtest -m new.onnx -m serving.onnx --topic observations --from 24h -c foretell.toml

  One series per file, its history first, and a page to look at:
  foretell backtest -m demo/gru.onnx ElBorn.csv ElBorn_test.csv --series ElBorn --assume-utc \\
      --score-from 2018-04-03T00:00:00Z --plot ElBorn.html

  For a program:
  foretell backtest -m model.onnx meters.csv --json | jq '.overall[]'";

/// Series that are drawn where none is named.
const DRAWN: usize = 3;

/// Longest season: what was observed that long is kept per series.
const SEASON_STEPS_MAX: i64 = 1_000_000;

/// What seasonal-naive looks back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Season {
    Off,
    Of(Duration),
}

/// Why the command line does not fit the models.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("--plot {}: the name must end in .html or .svg, which says what to write", path.display())]
    Plot { path: PathBuf },
    #[error("--horizons {asked}: model {model} forecasts {horizon} steps; ask for 1 to {horizon}")]
    Horizon {
        asked: usize,
        model: String,
        horizon: usize,
    },
    #[error(
        "--season {season}: it must be a whole number of steps of {step}, at most {SEASON_STEPS_MAX} of them"
    )]
    Season { season: String, step: String },
    #[error("--plot-horizon {asked}: it must be one of the horizons that are judged: {judged:?}")]
    PlotHorizon { asked: usize, judged: Vec<usize> },
    #[error(
        "--series, --assume-utc and other options that say how to read a file have no meaning with --topic; leave them out"
    )]
    FileOptions,
    #[error("--topic needs to know where Kafka is: say --brokers HOST:PORT, or -c FILE")]
    NoBrokers,
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("say a whole number and one of ms, s, m, h, d, such as 12h")
}

fn season(text: &str) -> Result<Season, &'static str> {
    match text {
        "off" => Ok(Season::Off),
        text => duration(text).map(Season::Of),
    }
}

fn instant(text: &str) -> Result<Timestamp, &'static str> {
    text.parse::<jiff::Timestamp>()
        .map(|time| Timestamp(time.as_millisecond()))
        .map_err(|_no_time| "say a time with an offset, such as 2018-03-28T15:56:00Z")
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Arguments {
    pub fn plot_format(&self) -> Result<Option<Format>, UsageError> {
        let format = |path: &PathBuf| {
            Format::of(path).ok_or_else(|| UsageError::Plot { path: path.clone() })
        };
        self.plot.as_ref().map(format).transpose()
    }

    /// The windows where no configuration says what they are.
    pub fn derived(&self) -> Derived {
        Derived {
            phase_ms: self.phase.map_or(0, milliseconds),
            gap_max: self.gap_max,
        }
    }

    /// What is judged of these models.
    pub fn scope(&self, models: &Models) -> Result<Scope, UsageError> {
        let contracts = models.list.iter().map(|model| model.package.contract());
        let column = |name: &str| models.features.iter().position(|known| known == name);
        let horizons = self.horizons(contracts.clone())?;
        let mut scope = Scope::new(contracts, column, horizons);
        let grid = models.windows.grid();
        scope.delay = models.windows.gap_max();
        scope.season = match self.season {
            Season::Off => None,
            Season::Of(season) => {
                Some(
                    steps(season, grid.step_ms()).ok_or_else(|| UsageError::Season {
                        season: format_duration(season),
                        step: step(grid.step_ms()),
                    })?,
                )
            }
        };
        scope.from = self.score_from.map(|time| {
            let (slot, _) = grid.nearest(time);
            // The first origin that is not before it.
            if grid.time(slot) < time {
                slot.plus(1)
            } else {
                slot
            }
        });
        Ok(scope)
    }

    fn horizons<'a>(
        &self,
        contracts: impl Iterator<Item = &'a Contract> + Clone,
    ) -> Result<Vec<usize>, UsageError> {
        let shortest = contracts.min_by_key(|contract| contract.horizon());
        let Some(shortest) = shortest else {
            return Ok(Vec::new());
        };
        let most = shortest.horizon();
        let mut horizons = self.horizons.clone();
        if horizons.is_empty() {
            horizons = vec![1, (most / 2).max(1), most];
        }
        if let Some(asked) = horizons.iter().find(|it| !(1..=most).contains(*it)) {
            return Err(UsageError::Horizon {
                asked: *asked,
                model: format!("{} {}", shortest.name(), shortest.version()),
                horizon: most,
            });
        }
        horizons.sort_unstable();
        horizons.dedup();
        Ok(horizons)
    }

    /// Which series are drawn, and what of them.
    pub fn drawn(
        &self,
        scope: &Scope,
        windows: &WindowConfig,
        format: Option<Format>,
    ) -> Result<Drawn, UsageError> {
        if format.is_none() {
            return Ok(Drawn::default());
        }
        let asked = self.plotted(scope);
        let place = scope.horizons.iter().position(|horizon| *horizon == asked);
        let place = place.ok_or_else(|| UsageError::PlotHorizon {
            asked,
            judged: scope.horizons.clone(),
        })?;
        let step_ms = windows.grid().step_ms();
        let span = self
            .plot_last
            .map(|last| (milliseconds(last) / step_ms).max(1));
        Ok(Drawn {
            names: self.plot_series.clone(),
            first: DRAWN,
            recorder: Some(Recorder::new(scope, place, span)),
        })
    }

    /// Steps ahead of the forecasts that are drawn.
    pub fn plotted(&self, scope: &Scope) -> usize {
        let middle = scope.horizons.get(scope.horizons.len() / 2).copied();
        self.plot_horizon.or(middle).unwrap_or(1)
    }

    pub fn connection(&self, config: Option<&Config>) -> Result<Connection, UsageError> {
        if self.table.is_given() {
            return Err(UsageError::FileOptions);
        }
        match (config, &self.brokers) {
            (Some(config), None) => Ok(Connection::configured(&config.kafka)),
            (Some(config), Some(brokers)) => Ok(Connection::configured(&config.kafka).to(brokers)),
            (None, Some(brokers)) => Ok(Connection::plain(brokers.clone())),
            (None, None) => Err(UsageError::NoBrokers),
        }
    }

    /// Names of the columns with the series and the time, unless the options for files say others.
    pub fn columns<'a>(&'a self, config: Option<&'a Config>) -> (&'a str, &'a str) {
        let configured = config.map(|config| &config.input);
        let series = configured.map(|input| input.series_field.as_str());
        let time = configured.map(|input| input.time_field.as_str());
        (
            self.series_field.as_deref().or(series).unwrap_or("series"),
            self.time_field.as_deref().or(time).unwrap_or("time"),
        )
    }

    /// The decoder of the worker, or one for the schema that was named.
    pub fn decoder(
        &self,
        config: Option<&Config>,
        features: &[String],
    ) -> Result<Decoder, Failure> {
        if let Some(config) = config {
            return Ok(app::decoder(config)?);
        }
        let schema = match &self.schema {
            Some(path) => WriterSchema::load(path)?,
            None => WriterSchema::parse(BUILT_IN, Path::new("the built-in schema"))?,
        };
        let (series, time) = self.columns(None);
        let wanted = DecoderConfig {
            projection: Projection {
                series: series.to_owned(),
                time: time.to_owned(),
                time_unit: None,
                features: features.to_vec(),
            },
            value_bytes_max: VALUE_BYTES_MAX,
        };
        let schemas = SchemaFolder::from(schema);
        Ok(Decoder::new(wanted, WireFormat::SingleObject { schemas })?)
    }
}

/// A season in whole steps; `None` where it is not, or too long.
fn steps(season: Duration, step_ms: i64) -> Option<usize> {
    let (steps, rest) = (
        milliseconds(season) / step_ms,
        milliseconds(season) % step_ms,
    );
    let is_whole = rest == 0 && (1..=SEASON_STEPS_MAX).contains(&steps);
    usize::try_from(steps).ok().filter(|_| is_whole)
}

fn step(step_ms: i64) -> String {
    format_duration(Duration::from_millis(u64::try_from(step_ms).unwrap_or(0)))
}
