//! The writer schemas beside `[input]` and `[window]`: which of their records will be observations.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::app::{self, StartError};
use crate::cli::findings::{Findings, chain};
use crate::config::{Config, InputFormat, Missing};
use crate::decode::{BaseType, Coverage, SchemaError, WriterSchema};

/// Names in a list; a schema may have a thousand fields.
const NAMES_SHOWN_MAX: usize = 12;

/// Loads the schemas as a worker does and says how each covers what is configured.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    if config.input.format == InputFormat::Confluent {
        let text = "\"confluent\": the writer schemas are the registry's; `foretell topics check` looks at them";
        return findings.note("input.wire_format", text);
    }
    let decoder = match app::decoder(config) {
        Ok(decoder) => decoder,
        Err(error) => return refused(config, &error, findings),
    };
    let schemas: Vec<_> = decoder.coverage().collect();
    covered(config, &schemas, findings);
}

/// What becomes of the records of these schemas, and whether any serves.
pub(in crate::cli) fn covered(config: &Config, schemas: &[Coverage], findings: &mut Findings) {
    for coverage in schemas {
        describe(config, coverage, findings);
    }
    let serving: Vec<_> = schemas
        .iter()
        .filter(|coverage| serves(config, coverage))
        .collect();
    if serving.is_empty() {
        no_schema_serves(config, schemas, findings);
    } else {
        for feature in &config.window.features {
            if serving.iter().all(|coverage| lacks(coverage, feature)) {
                nobody_has(feature, &serving, findings);
            }
        }
    }
}

/// Every schema file that cannot be used; loading stops at the first.
fn refused(config: &Config, error: &StartError, findings: &mut Findings) {
    let (key, faults) = match &config.input.format {
        InputFormat::SingleObject { schema_folder } => {
            ("input.schema_folder", faults_in(schema_folder))
        }
        InputFormat::Datum { .. } => ("input.schema", Vec::new()),
        InputFormat::Confluent => ("input.wire_format", Vec::new()),
    };
    if matches!(error, StartError::Schema(_)) && !faults.is_empty() {
        for fault in faults {
            findings.error(key, chain(&fault));
        }
    } else if let StartError::Decoder(error) = error {
        findings.error("[input] and window.features", chain(error));
    } else {
        findings.error(key, chain(error));
    }
}

fn faults_in(folder: &Path) -> Vec<SchemaError> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.extension().is_some_and(|it| it == "avsc"))
        .collect();
    files.sort();
    files
        .iter()
        .filter_map(|file| WriterSchema::load(file).err())
        .collect()
}

fn lacks(coverage: &Coverage, name: &str) -> bool {
    coverage.absent.iter().any(|absent| absent == name)
}

fn has_no_feature(config: &Config, coverage: &Coverage) -> bool {
    let mut features = config.window.features.iter();
    features.all(|feature| lacks(coverage, feature))
}

/// Whether records of this schema can be observations of this configuration.
fn serves(config: &Config, coverage: &Coverage) -> bool {
    coverage.unusable.is_none()
        && !lacks(coverage, &config.input.series_field)
        && !lacks(coverage, &config.input.time_field)
        && !has_no_feature(config, coverage)
}

/// What becomes of the records of one schema.
fn describe(config: &Config, coverage: &Coverage, findings: &mut Findings) {
    let place = coverage.schema.file().display();
    let fingerprint = coverage.schema.fingerprint();
    let input = &config.input;
    let (no_series, no_time) = (
        lacks(coverage, &input.series_field),
        lacks(coverage, &input.time_field),
    );
    if (no_series || no_time) && has_no_feature(config, coverage) {
        let text = "is no observation of this configuration: it has no feature, and no series or no time; \
                    its records would be dead-lettered";
        return findings.note(place, text);
    }
    if let Some(unusable) = &coverage.unusable {
        let text = format!("none of its records can be decoded: {}", chain(&**unusable));
        findings.warning(&place, text);
    }
    for (absent, key, field, reason) in [
        (no_series, "series_field", &input.series_field, "bad_series"),
        (
            no_time,
            "time_field",
            &input.time_field,
            "time_out_of_range",
        ),
    ] {
        if absent {
            let text =
                format!("has no field {field} (input.{key}): its records are rejected as {reason}");
            findings.warning(&place, text);
        }
    }
    let absent: Vec<_> = config
        .window
        .features
        .iter()
        .filter(|feature| lacks(coverage, feature))
        .map(String::as_str)
        .collect();
    if absent.is_empty() {
        if serves(config, coverage) {
            let count = config.window.features.len();
            let text = format!("serves, with all {count} features; fingerprint {fingerprint}");
            findings.note(place, text);
        }
        return;
    }
    let consequence = match config.window.missing {
        Missing::Impute => "their cells are missing in every record (window.missing = \"impute\")",
        Missing::Reject => {
            "its records are rejected as missing_value (window.missing = \"reject\")"
        }
    };
    let text = format!("has no field {}: {consequence}", shown(&absent));
    findings.warning(place, text);
}

/// No record will be an observation: says how close the closest schema comes.
fn no_schema_serves(config: &Config, schemas: &[Coverage], findings: &mut Findings) {
    let closest = schemas
        .iter()
        .min_by_key(|coverage| (coverage.absent.len(), coverage.unusable.is_some()));
    let key = match &config.input.format {
        InputFormat::SingleObject { .. } => "input.schema_folder",
        InputFormat::Datum { .. } => "input.schema",
        InputFormat::Confluent => "the registry",
    };
    let Some(closest) = closest else {
        return findings.error(key, "there is no schema");
    };
    let file = closest.schema.file().display();
    let why = if closest.absent.is_empty() {
        "whose fields have the wrong types".to_owned()
    } else {
        let absent: Vec<_> = closest.absent.iter().map(String::as_str).collect();
        let fields = closest.schema.fields().iter();
        let fields: Vec<_> = fields.map(|field| &*field.name).collect();
        format!(
            "which has no {}; its fields are {}: name those in input.series_field, input.time_field and \
             window.features",
            shown(&absent),
            shown(&fields),
        )
    };
    let text = format!(
        "no schema serves, so every record would be dead-lettered; the closest is {file}, {why}"
    );
    findings.error(key, text);
}

fn nobody_has(feature: &str, serving: &[&Coverage], findings: &mut Findings) {
    let numeric: BTreeSet<&str> = serving
        .iter()
        .flat_map(|coverage| coverage.schema.fields())
        .filter(|field| {
            field.types.iter().any(|found| {
                matches!(
                    found.base,
                    BaseType::Int | BaseType::Long | BaseType::Float | BaseType::Double
                )
            })
        })
        .map(|field| &*field.name)
        .collect();
    let numeric: Vec<_> = numeric.into_iter().collect();
    let text = format!(
        "no schema has the field {feature}, so its cells would be missing for ever and no window complete; \
         their numeric fields are {}",
        shown(&numeric)
    );
    findings.error("window.features", text);
}

/// A list of names, cut where it gets long.
fn shown(names: &[&str]) -> String {
    let text = names[..names.len().min(NAMES_SHOWN_MAX)].join(", ");
    match names.len().checked_sub(NAMES_SHOWN_MAX) {
        None | Some(0) => text,
        Some(more) => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cli::findings::Weight::{Error, Note, Warning};
    use crate::cli::findings::tests::{assert_found, assert_quiet};
    use crate::config::Environment;

    const GOOD: &str = r#"{"type":"record","name":"R","fields":[
        {"name":"series","type":"string"},
        {"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"a","type":["null","double"]},{"name":"b","type":"int"}]}"#;

    /// The findings about these schema files under `window.missing`.
    fn found(files: &[(&str, &str)], missing: &str) -> Findings {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let text = format!(
            "kafka.brokers = [\"a:1\"]\ninput.schema_folder = \".\"\nmodel.initial = \"m.onnx\"\n\
             window = {{ step = \"1m\", length = 2, features = [\"a\", \"b\"], missing = \"{missing}\" }}"
        );
        let path: PathBuf = folder.path().join("foretell.toml");
        let config = Config::parse(&path, &text, &Environment::of([])).unwrap();
        let mut findings = Findings::default();
        check(&config, &mut findings);
        findings
    }

    fn with(from: &str, to: &str) -> String {
        let changed = GOOD.replace(from, to);
        assert_ne!(changed, GOOD);
        // Two schemas that differ in a logical type alone have one fingerprint, which is refused.
        changed.replace("\"name\":\"R\"", "\"name\":\"Z\"")
    }

    #[test]
    fn a_schema_with_everything_serves() {
        let findings = found(&[("good.avsc", GOOD)], "impute");
        assert_quiet(&findings);
        assert_found(
            &findings,
            Note,
            "good.avsc",
            &["all 2 features", "fingerprint"],
        );
    }

    #[test]
    fn what_a_schema_lacks_is_said_with_its_consequence() {
        for (text, missing, parts) in [
            (
                with("\"series\"", "\"cell\""),
                "impute",
                ["series", "bad_series"],
            ),
            (
                with("\"time\"", "\"at\""),
                "impute",
                ["time", "time_out_of_range"],
            ),
            (
                with("\"a\"", "\"c\""),
                "impute",
                ["no field a", "cells are missing"],
            ),
            (
                with("\"a\"", "\"c\""),
                "reject",
                ["no field a", "missing_value"],
            ),
            (
                with("\"logicalType\":\"timestamp-millis\"", "\"doc\":\"\""),
                "impute",
                ["field time has the type long", "unit of a time"],
            ),
            (
                with("timestamp-millis", "local-timestamp-millis"),
                "impute",
                ["field time", "is no instant"],
            ),
            (
                with("\"int\"", "\"string\""),
                "impute",
                ["field b has the type string", "a feature is an int"],
            ),
        ] {
            let files = [("a.avsc", GOOD), ("z.avsc", &*text)];
            let findings = found(&files, missing);
            assert_found(&findings, Warning, "z.avsc", &parts);
            assert_eq!(findings.count(Error), 0, "{findings:?}");
        }
    }

    #[test]
    fn a_schema_of_something_else_is_only_noted() {
        let other = r#"{"type":"record","name":"O","fields":[{"name":"x","type":"bytes"}]}"#;
        let findings = found(&[("good.avsc", GOOD), ("other.avsc", other)], "impute");
        assert_quiet(&findings);
        assert_found(&findings, Note, "other.avsc", &["is no observation"]);
    }

    #[test]
    fn a_feature_that_no_schema_has_is_an_error_for_each() {
        let text = GOOD.replace("\"b\"", "\"bee\"");
        let findings = found(&[("good.avsc", &text)], "impute");
        assert_found(&findings, Error, "window.features", &["field b,", "a, bee"]);
        assert_eq!(findings.count(Error), 1);
    }

    #[test]
    fn schemas_of_which_none_serves_are_an_error_that_names_the_fields_there_are() {
        let text = with("\"series\"", "\"cell\"");
        let findings = found(&[("z.avsc", &text)], "impute");
        let parts = ["the closest is", "z.avsc", "no series;", "cell, time, a, b"];
        assert_found(&findings, Error, "input.schema_folder", &parts);
        let wrong_type = with("\"int\"", "\"string\"");
        let of_types = found(&[("z.avsc", &wrong_type)], "impute");
        assert_found(&of_types, Error, "input.schema_folder", &["wrong types"]);
    }

    #[test]
    fn every_file_that_is_no_schema_is_named() {
        let findings = found(
            &[("a.avsc", "{"), ("b.avsc", "\"int\""), ("c.avsc", GOOD)],
            "impute",
        );
        assert_found(
            &findings,
            Error,
            "input.schema_folder",
            &["a.avsc", "not JSON"],
        );
        assert_found(
            &findings,
            Error,
            "input.schema_folder",
            &["b.avsc", "not a record"],
        );
        assert_eq!(findings.count(Error), 2);
        let none = found(&[], "impute");
        assert_found(&none, Error, "input.schema_folder", &["has 0 .avsc files"]);
    }
}
