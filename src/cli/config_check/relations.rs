//! What follows from the configuration: values that go together and do not do what is meant, and those
//! that surprise.

use std::time::Duration;

use crate::config::{Config, Environment, Guarantee, Missing, format_duration, format_size};
use crate::domain::WindowBounds;
use crate::infer::Package;

use crate::cli::findings::Findings;

/// Values that are allowed and will disappoint.
pub(super) fn check(config: &Config, environment: &Environment, findings: &mut Findings) {
    let window = &config.window;
    let (step, span) = (step(config), window.span());
    if let Some(max_age) = config.forecast.max_age
        && max_age < step
    {
        let text = format!(
            "{} is below window.step ({}): after a pause longer than that, a take-over or a restart, a \
             series' newest observation has no forecast, and the next one comes a step later",
            format_duration(max_age),
            format_duration(step)
        );
        findings.warning("forecast.max_age", text);
    }
    if let Some(lookback) = config.rebuild.lookback
        && lookback < span
    {
        let text = format!(
            "{} is below the windows' span ({}): windows that are rebuilt without a proof come back \
             incomplete",
            format_duration(lookback),
            format_duration(span)
        );
        findings.warning("rebuild.lookback", text);
    }
    if window.gap_max == 0 {
        let text = match window.missing {
            Missing::Impute => {
                "0 imputes nothing: one missing cell or step ends a series' forecasts until it has left \
                 the window; 3 bridges up to three steps"
            }
            Missing::Reject => {
                "0 bridges nothing: one step that never comes ends a series' forecasts until the window \
                 is full again; 3 bridges up to three steps"
            }
        };
        findings.warning("window.gap_max", text);
    }
    if window.grid_tolerance.is_zero() {
        let text = "0 rejects every time that is not exactly on the grid as off_grid, by a millisecond \
                    too; the default is a tenth of a step";
        findings.warning("window.grid_tolerance", text);
    }
    if window.future_max.is_zero() {
        let text = "0 rejects every observation whose record timestamp is a millisecond before its own \
                    time, as a producer with a slow clock writes them; the default is one step";
        findings.warning("window.future_max", text);
    }
    promotion(config, findings);
    let (lanes, cores) = (config.worker.lanes, environment.cores());
    if lanes > cores {
        let text = format!(
            "{lanes} are more than the {cores} cores of this machine: more lanes than cores only wait for \
             each other"
        );
        findings.warning("worker.lanes", text);
    }
    if config.commit.guarantee == Guarantee::AtLeastOnce {
        let text = "\"at_least_once\" writes forecasts again after a crash: readers must drop those whose \
                    source they have seen";
        findings.warning("commit.guarantee", text);
    }
}

/// What a verification holds of a package: its bytes, what they are parsed to, the weights of the session, and
/// room to run.
const VERIFIED_COPIES: usize = 4;

fn promotion(config: &Config, findings: &mut Findings) {
    let (promotion, run) = (&config.promotion, config.worker.run_deadline);
    if promotion.verify_timeout <= run {
        let text = format!(
            "{} is not above worker.run_deadline ({}): a model whose run hangs is said to be too slow to \
             verify, and not which run hung",
            format_duration(promotion.verify_timeout),
            format_duration(run)
        );
        findings.warning("promotion.verify_timeout", text);
    }
    let least = promotion.package_bytes_max.get() * VERIFIED_COPIES;
    if promotion.verify_memory_max.get() < least {
        let text = format!(
            "{} is below {}, four times promotion.package_bytes_max: the largest packages that are fetched \
             would not be verified",
            rounded(promotion.verify_memory_max.get()),
            rounded(least)
        );
        findings.warning("promotion.verify_memory_max", text);
    }
    for root in promotion.file_roots.iter().filter(|root| !root.is_dir()) {
        let text = format!(
            "{} is no folder on this machine: packages in it cannot be fetched",
            root.display()
        );
        findings.warning("promotion.file_roots", text);
    }
}

/// What the numbers amount to.
pub(super) fn tell(config: &Config, package: Option<&Package>, findings: &mut Findings) {
    let window = &config.window;
    let cells = window.slots() * window.features.len();
    let series = size_of::<f64>() * cells;
    let most = series.saturating_mul(window.series_max.get());
    findings.note(
        "window.series_max",
        format!(
            "{} series of {} slots of {} features take up to {} in each partition, {} a series",
            window.series_max,
            window.slots(),
            window.features.len(),
            rounded(most),
            rounded(series),
        ),
    );
    findings.note(
        "window",
        format!(
            "spans {}; a time may be {} off its slot and {} after its record's timestamp; a series is \
             forgotten {} after its last change",
            format_duration(window.span()),
            format_duration(window.grid_tolerance),
            format_duration(window.future_max),
            format_duration(window.series_idle),
        ),
    );
    findings.note(
        "topics.observations",
        format!(
            "must keep its records for at least {}, the windows' span and window.series_idle: windows are \
             rebuilt from it",
            format_duration(kept_least(config)),
        ),
    );
    let Some(contract) = package.map(Package::contract) else {
        return;
    };
    let slots = u32::try_from(contract.window()).unwrap_or(u32::MAX);
    let horizon = u32::try_from(contract.horizon()).unwrap_or(u32::MAX);
    findings.note(
        "model.initial",
        format!(
            "{} {}: a series has its first forecast with its {slots} observations of {}, each forecast \
             reaches {} ahead",
            contract.name(),
            contract.version(),
            format_duration(step(config).saturating_mul(slots)),
            format_duration(step(config).saturating_mul(horizon)),
        ),
    );
}

/// How long the input topic must keep records so that every live window can be rebuilt.
pub(in crate::cli) fn kept_least(config: &Config) -> Duration {
    config
        .window
        .span()
        .saturating_add(config.window.series_idle)
}

fn step(config: &Config) -> Duration {
    let step_ms = WindowBounds::new(config.window.grid, 1).span_ms;
    Duration::from_millis(step_ms.unsigned_abs())
}

/// A size with a unit, cut to three digits or so.
fn rounded(bytes: usize) -> String {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let unit = [1 << 30, 1 << 20, 1 << 10, 1]
        .into_iter()
        .find(|unit| bytes / unit >= 4)
        .unwrap_or(1);
    format_size(bytes / unit * unit)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::findings::Weight::{Note, Warning};
    use crate::cli::findings::tests::{assert_found, assert_quiet};

    fn config(window: &str, more: &str) -> Config {
        let text = format!(
            "kafka.brokers = [\"a:1\"]\ninput.schema_folder = \"s\"\nmodel.initial = \"m\"\n\
             window = {{ step = \"2m\", length = 64, features = [\"a\", \"b\"] {window} }}\n{more}"
        );
        Config::parse(Path::new("foretell.toml"), &text, &Environment::of([])).unwrap()
    }

    #[test]
    fn values_that_disappoint_are_warned_of() {
        for (window, more, place, part) in [
            (
                "",
                "forecast.max_age = \"90s\"",
                "forecast.max_age",
                "90s is below window.step (2m)",
            ),
            (
                "",
                "rebuild.lookback = \"1h\"",
                "rebuild.lookback",
                "1h is below",
            ),
            (", gap_max = 0", "", "window.gap_max", "one missing cell"),
            (
                ", gap_max = 0, missing = \"reject\"",
                "",
                "window.gap_max",
                "that never comes",
            ),
            (
                ", grid_tolerance = \"0ms\"",
                "",
                "window.grid_tolerance",
                "off_grid",
            ),
            (
                ", future_max = \"0ms\"",
                "",
                "window.future_max",
                "a slow clock",
            ),
            (
                "",
                "worker.lanes = 3",
                "worker.lanes",
                "3 are more than the 2 cores",
            ),
            (
                "",
                "commit.guarantee = \"at_least_once\"",
                "commit.guarantee",
                "source",
            ),
        ] {
            let mut findings = Findings::default();
            check(&config(window, more), &Environment::of([]), &mut findings);
            assert_found(&findings, Warning, place, &[part]);
            assert_eq!(findings.count(Warning), 1, "{findings:?}");
        }
        let mut none = Findings::default();
        let fine = config("", "forecast.max_age = \"2m\"\nrebuild.lookback = \"134m\"");
        check(&fine, &Environment::of([]), &mut none);
        assert_eq!(none.iter().count(), 0, "{none:?}");
    }

    #[test]
    fn a_promotion_that_will_disappoint_is_warned_of() {
        for (more, place, part) in [
            (
                "promotion.verify_timeout = \"2s\"",
                "promotion.verify_timeout",
                "2s is not above worker.run_deadline (2s)",
            ),
            (
                "promotion.verify_memory_max = \"512 MiB\"",
                "promotion.verify_memory_max",
                "512 MiB is below 1 GiB",
            ),
            (
                "promotion.file_roots = [\"/no/such\"]",
                "promotion.file_roots",
                "/no/such is no folder",
            ),
        ] {
            let mut findings = Findings::default();
            check(&config("", more), &Environment::of([]), &mut findings);
            assert_found(&findings, Warning, place, &[part]);
            assert_eq!(findings.count(Warning), 1, "{findings:?}");
        }
    }

    #[test]
    fn what_follows_is_told_in_units_people_read() {
        let mut findings = Findings::default();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/last_value.onnx");
        let package = Package::read(&path).unwrap();
        tell(&config("", ""), Some(&package), &mut findings);
        assert_quiet(&findings);
        // 67 slots of two f64 are 1,072 bytes, of 100,000 series 102 MiB.
        let memory = [
            "100000 series of 67 slots of 2 features",
            "102 MiB",
            "1072 B a series",
        ];
        assert_found(&findings, Note, "window.series_max", &memory);
        let times = ["spans 134m", "12s off", "2m after", "268m after"];
        assert_found(&findings, Note, "window", &times);
        assert_found(&findings, Note, "topics.observations", &["at least 402m"]);
        let reach = ["its 64 observations of 128m", "24m ahead"];
        assert_found(&findings, Note, "model.initial", &reach);
    }
}
