//! JSON to [`Contract`]: every rule of a contract, each with the key it is about.
//!
//! Called when a package is read, before anything of the model is loaded.

use serde_json::Value;

use crate::domain::Grid;

use super::json::{Node, Object};
use super::{
    CONTRACT_BYTES_MAX, CalendarFeature, Contract, EXAMPLES_MAX, Example, FEATURES_MAX, FORMAT,
    Feature, HORIZON, NAME_BYTES_MAX, QUANTILES_MAX, ROW_INPUTS_MAX, ROW_OUTPUTS_MAX, Scaling,
    Strategy, WINDOW,
};

/// Why a text is not a contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    #[error(
        "the contract has {bytes} bytes; at most {CONTRACT_BYTES_MAX} are allowed: keep fewer examples"
    )]
    TooLong { bytes: usize },
    #[error("the contract is not JSON: {detail}")]
    NotJson { detail: String },
    #[error("the contract has no key \"{key}\": add it")]
    Missing { key: String },
    #[error(
        "the contract has the unknown key \"{key}\": remove or rename it; known here are {known}"
    )]
    Unknown { key: String, known: String },
    #[error("contract key \"{key}\" is {found}; it must be {allowed}")]
    Invalid {
        key: String,
        found: String,
        allowed: String,
    },
}

const KEYS: [&str; 13] = [
    "format",
    "name",
    "version",
    "step_seconds",
    "window",
    "horizon",
    "features",
    "calendar",
    "targets",
    "quantiles",
    "strategy",
    "imputed_max",
    "examples",
];

impl Contract {
    /// Reads a contract.
    ///
    /// # Errors
    /// With the key of the first rule that is broken.
    pub fn parse(text: &str) -> Result<Self, ContractError> {
        if text.len() > CONTRACT_BYTES_MAX {
            return Err(ContractError::TooLong { bytes: text.len() });
        }
        let value: Value = serde_json::from_str(text).map_err(|error| ContractError::NotJson {
            detail: error.to_string(),
        })?;
        let root = Node::root(&value).object(&KEYS)?;
        root.required("format")?.integer(FORMAT..=FORMAT)?;

        let name_of = |key| -> Result<String, ContractError> {
            Ok(root.required(key)?.name(NAME_BYTES_MAX)?.to_owned())
        };
        let features = features(&root.required("features")?)?;
        let mut contract = Self {
            name: name_of("name")?,
            version: name_of("version")?,
            step_ms: step_ms(&root.required("step_seconds")?)?,
            window: size(root.required("window")?.integer(WINDOW)?),
            horizon: size(root.required("horizon")?.integer(HORIZON)?),
            calendar: optional(&root, "calendar", calendar)?.unwrap_or_default(),
            targets: targets(&root.required("targets")?, &features)?,
            quantiles: optional(&root, "quantiles", quantiles)?.unwrap_or_default(),
            strategy: strategy(&root.required("strategy")?)?,
            imputed_max: optional(&root, "imputed_max", imputed_max)?,
            features,
            examples: Vec::new(),
        };
        contract.check_together(&root)?;
        contract.examples = root
            .required("examples")?
            .list(1..=EXAMPLES_MAX)?
            .into_iter()
            .map(|node| example(node, &contract))
            .collect::<Result<_, _>>()?;
        Ok(contract)
    }

    /// The rules that need more than one key.
    fn check_together(&self, root: &Object<'_>) -> Result<(), ContractError> {
        let inputs = self.window * self.width();
        if inputs > ROW_INPUTS_MAX {
            return Err(root.required("window")?.invalid(format!(
                "so small that window x (features + 2 x calendar), now {inputs}, is at most {ROW_INPUTS_MAX}"
            )));
        }
        let outputs = self.targets.len() * (1 + self.quantiles.len()) * self.horizon;
        if outputs > ROW_OUTPUTS_MAX {
            return Err(root.required("horizon")?.invalid(format!(
                "so small that targets x (1 + quantiles) x horizon, now {outputs}, is at most {ROW_OUTPUTS_MAX}"
            )));
        }
        if self.strategy == Strategy::Recursive && !self.quantiles.is_empty() {
            // The spread of step k would be that of one step from a mean, far too narrow.
            return Err(root.required("quantiles")?.invalid(
                "absent with the recursive strategy, whose outputs only carry the mean forward",
            ));
        }
        Ok(())
    }
}

fn optional<'a, T>(
    root: &Object<'a>,
    key: &str,
    read: impl Fn(&Node<'a>) -> Result<T, ContractError>,
) -> Result<Option<T>, ContractError> {
    root.get(key).map(|node| read(&node)).transpose()
}

fn step_ms(node: &Node<'_>) -> Result<i64, ContractError> {
    let seconds = node.number()?;
    let steps = Grid::STEP_MS_MAX / 1_000;
    let whole = || -> Option<i64> {
        let step_ms = (seconds * 1_000.0).round();
        // Decimal fractions such as 0.1 are not exact in binary; a step that is no whole number of
        // milliseconds misses by far more.
        let is_whole = (seconds * 1_000.0 - step_ms).abs() < 1e-6;
        let step_ms = format!("{step_ms:.0}").parse().ok()?;
        (is_whole && (1..=Grid::STEP_MS_MAX).contains(&step_ms)).then_some(step_ms)
    };
    whole().ok_or_else(|| {
        node.invalid(format!(
            "a whole number of milliseconds, given in seconds, from 0.001 to {steps}"
        ))
    })
}

fn features(node: &Node<'_>) -> Result<Vec<Feature>, ContractError> {
    let mut features: Vec<Feature> = Vec::new();
    for entry in node.list(1..=FEATURES_MAX)? {
        let fields = entry.object(&["name", "center", "scale"])?;
        let name = fields.required("name")?;
        let text = name.name(NAME_BYTES_MAX)?;
        if features.iter().any(|feature| feature.name == text) {
            return Err(name.invalid("different from the names of the other features"));
        }
        let scale = fields.required("scale")?;
        let factor = scale.number()?;
        if factor < 0.0 {
            return Err(scale.invalid("zero, which means 1, or above"));
        }
        features.push(Feature {
            name: text.to_owned(),
            scaling: Scaling::new(fields.required("center")?.number()?, factor),
        });
    }
    Ok(features)
}

fn calendar(node: &Node<'_>) -> Result<Vec<CalendarFeature>, ContractError> {
    let mut features: Vec<CalendarFeature> = Vec::new();
    for entry in node.list(0..=CalendarFeature::ALL.len())? {
        let names = CalendarFeature::ALL.map(CalendarFeature::name).join(", ");
        let feature = CalendarFeature::from_name(entry.name(NAME_BYTES_MAX)?)
            .filter(|feature| !features.contains(feature))
            .ok_or_else(|| entry.invalid(format!("one of {names}, each at most once")))?;
        features.push(feature);
    }
    Ok(features)
}

fn targets(node: &Node<'_>, features: &[Feature]) -> Result<Vec<usize>, ContractError> {
    let mut targets: Vec<usize> = Vec::new();
    for entry in node.list(1..=features.len())? {
        let name = entry.name(NAME_BYTES_MAX)?;
        let column = features
            .iter()
            .position(|feature| feature.name == name)
            .filter(|column| !targets.contains(column))
            .ok_or_else(|| entry.invalid("the name of a feature, each at most once"))?;
        targets.push(column);
    }
    Ok(targets)
}

fn quantiles(node: &Node<'_>) -> Result<Vec<f64>, ContractError> {
    let mut levels: Vec<f64> = Vec::new();
    for entry in node.list(0..=QUANTILES_MAX)? {
        let level = entry.number()?;
        let above = levels.last().copied().unwrap_or_default();
        if level <= above || level >= 1.0 {
            return Err(entry.invalid(format!("above {above} and below 1: levels rise")));
        }
        levels.push(level);
    }
    Ok(levels)
}

fn strategy(node: &Node<'_>) -> Result<Strategy, ContractError> {
    let name = node.name(NAME_BYTES_MAX)?;
    [Strategy::Direct, Strategy::Recursive]
        .into_iter()
        .find(|strategy| strategy.name() == name)
        .ok_or_else(|| node.invalid("direct or recursive"))
}

fn imputed_max(node: &Node<'_>) -> Result<u32, ContractError> {
    let cells = node.integer(0..=i64::from(u32::MAX))?;
    u32::try_from(cells).map_err(|_outside| node.invalid("a count of cells"))
}

fn example(node: Node<'_>, contract: &Contract) -> Result<Example, ContractError> {
    let fields = node.object(&["times", "values", "forecast"])?;
    let origin_ms = origin_ms(&fields.required("times")?, contract)?;
    let mut values = Vec::with_capacity(contract.window * contract.features.len());
    for row in fields
        .required("values")?
        .list(contract.window..=contract.window)?
    {
        values.extend(row.numbers(contract.features.len())?);
    }
    let names: Vec<&str> = contract.targets().collect();
    let expected = fields.required("forecast")?.object(&names)?;
    let mut forecast = Vec::new();
    for name in names {
        let target = expected.required(name)?.object(&["mean", "quantiles"])?;
        forecast.extend(target.required("mean")?.numbers(contract.horizon)?);
        if contract.quantiles.is_empty() && target.get("quantiles").is_none() {
            continue;
        }
        let levels = contract.quantiles.len();
        for quantile in target.required("quantiles")?.list(levels..=levels)? {
            forecast.extend(quantile.numbers(contract.horizon)?);
        }
    }
    Ok(Example {
        origin_ms,
        values,
        forecast,
    })
}

/// The time of the newest row; the rows must be one step apart.
fn origin_ms(times: &Node<'_>, contract: &Contract) -> Result<i64, ContractError> {
    /// Times far beyond any calendar, yet far from overflow.
    const TIME_MS_MAX: i64 = 1 << 52;
    let mut newest = None;
    for entry in times.list(contract.window..=contract.window)? {
        let time = entry.integer(-TIME_MS_MAX..=TIME_MS_MAX)?;
        if let Some(before) = newest
            && time - before != contract.step_ms
        {
            return Err(entry.invalid(format!(
                "{}, one step after the time before it",
                before + contract.step_ms
            )));
        }
        newest = Some(time);
    }
    newest.ok_or_else(|| times.invalid("a list with a time for each row"))
}

/// A size from a range that starts at 1 and fits 16 bits.
fn size(value: i64) -> usize {
    usize::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn valid() -> Value {
        json!({
            "format": 1, "name": "m", "version": "1", "step_seconds": 0.1, "window": 2, "horizon": 1,
            "features": [
                {"name": "a", "center": 1.0, "scale": 0},
                {"name": "b", "center": -1, "scale": 2.5},
            ],
            "calendar": ["day_of_week", "minute_of_day"],
            "targets": ["b"],
            "quantiles": [0.1, 0.9],
            "strategy": "direct",
            "imputed_max": 3,
            "examples": [{
                "times": [1000, 1100], "values": [[1, 2], [3, 4]],
                "forecast": {"b": {"mean": [5], "quantiles": [[6], [7]]}},
            }],
        })
    }

    fn with(pointer: &str, value: Value) -> Result<Contract, ContractError> {
        let mut contract = valid();
        *contract.pointer_mut(pointer).unwrap() = value;
        Contract::parse(&contract.to_string())
    }

    #[track_caller]
    fn refused(pointer: &str, value: Value, key: &str) {
        let message = with(pointer, value).unwrap_err().to_string();
        assert!(message.contains(&format!("\"{key}\"")), "{message}");
    }

    #[test]
    fn a_valid_contract_is_read_whole() {
        let contract = Contract::parse(&valid().to_string()).unwrap();
        assert_eq!(contract.step_ms(), 100);
        assert_eq!(contract.features().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(contract.targets().collect::<Vec<_>>(), ["b"]);
        assert_eq!(contract.target_columns(), [1]);
        assert_eq!(
            contract.calendar(),
            [CalendarFeature::DayOfWeek, CalendarFeature::MinuteOfDay]
        );
        assert_eq!(contract.quantiles(), [0.1, 0.9]);
        assert_eq!(contract.imputed_max(), Some(3));
        assert_eq!((contract.width(), contract.window()), (6, 2));
        let example = &contract.examples()[0];
        assert_eq!(example.origin_ms, 1_100);
        assert_eq!(example.values, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(example.forecast, [5.0, 6.0, 7.0]);
    }

    #[test]
    fn every_key_is_required_except_the_optional_ones() {
        for key in KEYS {
            let mut contract = valid();
            contract.as_object_mut().unwrap().remove(key);
            let result = Contract::parse(&contract.to_string());
            let optional = ["calendar", "imputed_max"].contains(&key);
            assert_eq!(result.is_ok(), optional, "{key}");
        }
    }

    #[test]
    fn a_broken_rule_names_its_key() {
        refused("/format", json!(2), "format");
        refused("/name", json!(""), "name");
        refused("/version", json!("a\nb"), "version");
        refused("/step_seconds", json!(0), "step_seconds");
        refused("/step_seconds", json!(-120), "step_seconds");
        refused("/step_seconds", json!(0.0005), "step_seconds");
        refused("/step_seconds", json!(1e300), "step_seconds");
        refused("/step_seconds", json!("120"), "step_seconds");
        refused("/window", json!(0), "window");
        refused("/window", json!(2.5), "window");
        refused("/window", json!(1_000_000), "window");
        refused("/horizon", json!(-1), "horizon");
        refused("/features", json!([]), "features");
        refused("/features/1/name", json!("a"), "features[1].name");
        refused("/features/1/scale", json!(-1), "features[1].scale");
        refused("/features/1/scale", json!(null), "features[1].scale");
        refused(
            "/features/0",
            json!({"name": "a", "center": 0}),
            "features[0].scale",
        );
        refused(
            "/features/0",
            json!({"name": "a", "mean": 0}),
            "features[0].mean",
        );
        refused("/calendar/0", json!("hour"), "calendar[0]");
        refused("/calendar/0", json!("minute_of_day"), "calendar[1]");
        refused("/targets/0", json!("c"), "targets[0]");
        refused("/targets", json!(["b", "b"]), "targets[1]");
        refused("/quantiles", json!([0.5, 0.5]), "quantiles[1]");
        refused("/quantiles", json!([0.0]), "quantiles[0]");
        refused("/quantiles", json!([1]), "quantiles[0]");
        refused("/strategy", json!("recursive"), "quantiles");
        refused("/strategy", json!("magic"), "strategy");
        refused("/imputed_max", json!(-1), "imputed_max");
        refused("/examples", json!([]), "examples");
        refused("/examples/0/times/1", json!(1_101), "examples[0].times[1]");
        refused("/examples/0/times", json!([1]), "examples[0].times");
        refused("/examples/0/values/1", json!([1]), "examples[0].values[1]");
        refused(
            "/examples/0/forecast",
            json!({"a": {}}),
            "examples[0].forecast.a",
        );
        refused(
            "/examples/0/forecast/b/mean",
            json!([1, 2]),
            "examples[0].forecast.b.mean",
        );
        refused(
            "/examples/0/forecast/b/quantiles",
            json!([[1]]),
            "examples[0].forecast.b.quantiles",
        );
    }

    #[test]
    fn an_unknown_key_and_broken_json_are_refused() {
        let mut contract = valid();
        contract["extra"] = json!(1);
        let unknown = Contract::parse(&contract.to_string()).unwrap_err();
        assert!(matches!(unknown, ContractError::Unknown { key, .. } if key == "extra"));
        for text in ["", "{", "[]", "nan", "{\"format\": NaN}", "\"x\""] {
            assert!(Contract::parse(text).is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(
            Contract::parse(&deep),
            Err(ContractError::NotJson { .. })
        ));
    }

    #[test]
    fn rows_beyond_the_limits_of_a_batch_are_refused() {
        let features: Vec<Value> = (0..200)
            .map(|n| json!({"name": format!("f{n}"), "center": 0, "scale": 1}))
            .collect();
        let mut contract = valid();
        contract["features"] = json!(features);
        contract["targets"] = json!(["f0"]);
        contract["window"] = json!(4_000);
        let error = Contract::parse(&contract.to_string()).unwrap_err();
        assert!(matches!(error, ContractError::Invalid { key, .. } if key == "window"));
    }
}
