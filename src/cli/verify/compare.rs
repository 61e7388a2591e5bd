//! A forecast as it was published held against the one that should have been.

use std::fmt::Write as _;

use crate::infer::Contract;
use crate::produce::readback::{Forecast, Quantile, Target};

/// Most ULPs that the values of two runtimes may differ by, an ULP being that of a float32 at 1 in the
/// model's scaled units: 3e-5. Kernels of other machines and releases differ by about 1e-6 and add up over
/// the steps of a recursion; another window or model differs by far more.
pub const ULPS_MAX: f64 = 256.0;

/// Differences of values that are told one by one.
const TOLD_MAX: usize = 3;

/// What may be compared.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub contract: &'a Contract,
    /// The runtime that made it is this one: then every bit counts.
    pub same_runtime: bool,
    /// Whether it is known what `partial` should be.
    pub partial_known: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparison {
    Equal,
    /// The largest difference of a value, in ULPs.
    Close(f64),
    Differs(String),
}

/// Compares field by field.
pub fn compare(found: &Forecast, expected: &Forecast, terms: Terms<'_>) -> Comparison {
    let Forecast {
        series,
        origin,
        step_ms,
        targets,
        model,
        source,
        imputed,
        partial,
        window_hash,
    } = found;
    let mut told = Told::default();
    told.field("series", series, &expected.series);
    told.field("origin", origin, &expected.origin);
    told.field("step_ms", step_ms, &expected.step_ms);
    told.field("model.name", &model.name, &expected.model.name);
    told.field("model.version", &model.version, &expected.model.version);
    told.field("model.digest", &model.digest, &expected.model.digest);
    told.field("source.topic", &source.topic, &expected.source.topic);
    let place = (source.partition, source.offset);
    let right_place = (expected.source.partition, expected.source.offset);
    told.field("source", &place, &right_place);
    told.field("imputed", imputed, &expected.imputed);
    if terms.partial_known {
        told.field("partial", partial, &expected.partial);
    }
    told.field("window_hash", window_hash, &expected.window_hash);
    told.field("number of targets", &targets.len(), &expected.targets.len());
    let mut values = Values {
        terms,
        told,
        ulps: 0.0,
    };
    for (index, (target, right)) in targets.iter().zip(&expected.targets).enumerate() {
        values.target(index, target, right);
    }
    match values.told.text() {
        Some(text) => Comparison::Differs(text),
        None if values.ulps > 0.0 => Comparison::Close(values.ulps),
        None => Comparison::Equal,
    }
}

/// The differences in words: the first, and how many more.
#[derive(Debug, Default)]
struct Told {
    text: String,
    count: usize,
}

impl Told {
    fn field<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, found: &T, expected: &T) {
        if found != expected {
            self.add(format_args!("{name} is {found:?}, expected {expected:?}"));
        }
    }

    fn add(&mut self, difference: std::fmt::Arguments<'_>) {
        self.count += 1;
        if self.count <= TOLD_MAX {
            let comma = if self.text.is_empty() { "" } else { "; " };
            // Writing to a String cannot fail.
            let _written = write!(self.text, "{comma}{difference}");
        }
    }

    fn text(mut self) -> Option<String> {
        if self.count > TOLD_MAX {
            let more = self.count - TOLD_MAX;
            let _written = write!(self.text, "; and {more} more differences");
        }
        (self.count > 0).then_some(self.text)
    }
}

struct Values<'a> {
    terms: Terms<'a>,
    told: Told,
    /// The largest difference that is within the limit.
    ulps: f64,
}

impl Values<'_> {
    fn target(&mut self, place: usize, found: &Target, expected: &Target) {
        let Target {
            name,
            mean,
            quantiles,
        } = found;
        self.told.field("a target's name", name, &expected.name);
        self.values(&format!("{name} mean"), place, (mean, &expected.mean));
        let numbers = (quantiles.len(), expected.quantiles.len());
        self.told
            .field("number of quantiles", &numbers.0, &numbers.1);
        for (quantile, right) in quantiles.iter().zip(&expected.quantiles) {
            let Quantile { level, values } = quantile;
            if level.to_bits() != right.level.to_bits() {
                self.told.field("a quantile's level", level, &right.level);
            }
            let what = format!("{name} quantile {level}");
            self.values(&what, place, (values, &right.values));
        }
    }

    fn values(&mut self, what: &str, target: usize, (found, expected): (&[f64], &[f64])) {
        let numbers = (found.len(), expected.len());
        self.told
            .field(&format!("steps of {what}"), &numbers.0, &numbers.1);
        for (step, (value, right)) in (1_usize..).zip(found.iter().zip(expected)) {
            if value.to_bits() == right.to_bits() {
                continue;
            }
            let error = self.terms.contract.error_of(target, (*value, *right));
            let ulps = error / f64::from(f32::EPSILON);
            // One that is no number is in no limit.
            if !self.terms.same_runtime && ulps <= ULPS_MAX {
                self.ulps = self.ulps.max(ulps.max(f64::MIN_POSITIVE));
                continue;
            }
            self.told.add(format_args!(
                "{what} at step {step} is {value:?}, expected {right:?} ({ulps:.3} ULPs)"
            ));
        }
    }
}
