//! One self-contained schema out of several that refer to each other by name.
//!
//! The Avro library reads a single text in which a name is defined where it is first used. So every named
//! type is taken out under its full name, and put back where a reader meets it first. A writer schema's
//! aliases decide nothing and are left out. Whether the result is Avro is judged afterwards.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

/// Deepest nesting of JSON while schemas are put together: beyond it the recursion stops.
const DEPTH_MAX: usize = 512;

/// Why schemas cannot be put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum InlineError {
    #[error("it, or a schema that it refers to, is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it and what it refers to nest too deeply")]
    Depth,
    #[error("what it refers to defines the type {name} in two ways")]
    Twice { name: String },
}

/// The schema in `root` with the types that `parts` define; `root` itself when there are none.
pub(super) fn inline(root: &str, parts: &[&str]) -> Result<String, InlineError> {
    if parts.is_empty() {
        return Ok(root.to_owned());
    }
    let mut types = Types::default();
    for part in parts {
        types.take(&serde_json::from_str(part)?, "", DEPTH_MAX)?;
    }
    let root = types.take(&serde_json::from_str(root)?, "", DEPTH_MAX)?;
    let mut written = HashSet::new();
    Ok(types.put(&root, &mut written, DEPTH_MAX)?.to_string())
}

/// Definitions by full name, in which every other type is only named.
#[derive(Default)]
struct Types(BTreeMap<String, Value>);

impl Types {
    /// Takes the definitions out of a schema and leaves their full names.
    fn take(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<Value, InlineError> {
        let depth = depth.checked_sub(1).ok_or(InlineError::Depth)?;
        match json {
            Value::String(name) => Ok(Value::String(reference(name, namespace))),
            Value::Array(branches) => {
                let branches = branches.iter();
                let taken = branches.map(|branch| self.take(branch, namespace, depth));
                taken.collect::<Result<_, _>>().map(Value::Array)
            }
            Value::Object(object) => self.take_object(object, namespace, depth),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(json.clone()),
        }
    }

    fn take_object(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Value, InlineError> {
        let mut object = object.clone();
        let kind = object.get("type").cloned().unwrap_or_default();
        let Some(kind @ ("record" | "error" | "enum" | "fixed")) = kind.as_str() else {
            for key in ["type", "items", "values"] {
                if let Some(inner) = object.get(key) {
                    let taken = self.take(inner, namespace, depth)?;
                    object.insert(key.to_owned(), taken);
                }
            }
            return Ok(Value::Object(object));
        };
        let name = object
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let around = object.get("namespace").and_then(Value::as_str);
        let full = full_name(name, around.unwrap_or(namespace));
        let inside = full
            .rsplit_once('.')
            .map_or("", |(inside, _)| inside)
            .to_owned();
        if matches!(kind, "record" | "error")
            && let Some(Value::Array(fields)) = object.get_mut("fields")
        {
            for field in fields {
                if let Some(type_) = field.get("type").cloned() {
                    field["type"] = self.take(&type_, &inside, depth)?;
                }
            }
        }
        object.remove("aliases");
        object.insert("name".to_owned(), full.clone().into());
        object.insert("namespace".to_owned(), inside.into());
        let named = reference(&full, "");
        let definition = Value::Object(object);
        let before = self.0.insert(full.clone(), definition.clone());
        if before.is_some_and(|before| before != definition) {
            return Err(InlineError::Twice { name: full });
        }
        Ok(Value::String(named))
    }

    /// Puts each definition where its name is met first.
    fn put(
        &self,
        json: &Value,
        written: &mut HashSet<String>,
        depth: usize,
    ) -> Result<Value, InlineError> {
        let depth = depth.checked_sub(1).ok_or(InlineError::Depth)?;
        Ok(match json {
            Value::String(name) => {
                let full = name.strip_prefix('.').unwrap_or(name);
                match self.0.get(full) {
                    Some(definition) if written.insert(full.to_owned()) => {
                        self.put(definition, written, depth)?
                    }
                    Some(_) | None => json.clone(),
                }
            }
            Value::Array(branches) => {
                let branches = branches.iter();
                let put = branches.map(|branch| self.put(branch, written, depth));
                Value::Array(put.collect::<Result<_, _>>()?)
            }
            Value::Object(object) => {
                let mut object = object.clone();
                for key in ["type", "items", "values"] {
                    if let Some(inner) = object.get(key).cloned() {
                        object.insert(key.to_owned(), self.put(&inner, written, depth)?);
                    }
                }
                if let Some(Value::Array(fields)) = object.get_mut("fields") {
                    for field in fields {
                        if let Some(type_) = field.get("type").cloned() {
                            field["type"] = self.put(&type_, written, depth)?;
                        }
                    }
                }
                Value::Object(object)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => json.clone(),
        })
    }
}

/// Avro's rule: a name with a dot is full already, another one is in the namespace around it.
fn full_name(name: &str, namespace: &str) -> String {
    match name.rsplit_once('.') {
        Some(("", bare)) => bare.to_owned(),
        Some(_) => name.to_owned(),
        None if namespace.is_empty() => name.to_owned(),
        None => format!("{namespace}.{name}"),
    }
}

/// A name that means the same wherever it stands: a leading dot for one in no namespace.
fn reference(name: &str, namespace: &str) -> String {
    const PRIMITIVE: [&str; 8] = [
        "null", "boolean", "int", "long", "float", "double", "bytes", "string",
    ];
    // What the key "type" may say besides the name of a type.
    const SHAPES: [&str; 2] = ["array", "map"];
    if PRIMITIVE.contains(&name) || SHAPES.contains(&name) {
        return name.to_owned();
    }
    let full = full_name(name, namespace);
    if full.contains('.') {
        full
    } else {
        format!(".{full}")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use apache_avro::Schema;

    use super::*;
    use crate::decode::WriterSchema;

    const PLACE: &str = r#"{"type": "record", "name": "Place", "namespace": "geo", "fields": [
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["CELL", "SITE"]}},
        {"name": "inner", "type": ["null", {"type": "fixed", "name": "other.Id", "size": 4}]}]}"#;
    const BARE: &str =
        r#"{"type": "record", "name": "Bare", "fields": [{"name": "x", "type": "int"}]}"#;
    const ROOT: &str = r#"{"type": "record", "name": "Load", "namespace": "cells", "fields": [
        {"name": "kinds", "type": {"type": "array", "items": "geo.Kind"}},
        {"name": "at", "type": "geo.Place"},
        {"name": "id", "type": {"type": "map", "values": "other.Id"}},
        {"name": "bare", "type": [".Bare", "null"]},
        {"name": "again", "type": "geo.Place"}]}"#;

    /// What a person would write.
    const WHOLE: &str = r#"{"type": "record", "name": "cells.Load", "fields": [
        {"name": "kinds", "type": {"type": "array",
            "items": {"type": "enum", "name": "geo.Kind", "symbols": ["CELL", "SITE"]}}},
        {"name": "at", "type": {"type": "record", "name": "geo.Place", "fields": [
            {"name": "kind", "type": "geo.Kind"},
            {"name": "inner", "type": ["null", {"type": "fixed", "name": "other.Id", "size": 4}]}]}},
        {"name": "id", "type": {"type": "map", "values": "other.Id"}},
        {"name": "bare", "type": [{"type": "record", "name": "Bare", "namespace": "", "fields":
            [{"name": "x", "type": "int"}]}, "null"]},
        {"name": "again", "type": "geo.Place"}]}"#;

    #[test]
    fn several_texts_become_the_one_that_a_person_would_write() {
        let whole = inline(ROOT, &[PLACE, BARE]).unwrap();
        let canonical = |text: &str| Schema::parse_str(text).unwrap().canonical_form();
        assert_eq!(canonical(&whole), canonical(WHOLE));
        let fields = |text: &str| {
            let schema = WriterSchema::parse(text, Path::new("whole")).unwrap();
            (schema.fingerprint(), schema.fields().to_vec())
        };
        assert_eq!(fields(&whole), fields(WHOLE));
    }

    #[test]
    fn a_schema_without_references_stays_as_it_is() {
        assert_eq!(inline(" {} ", &[]).unwrap(), " {} ");
    }

    #[test]
    fn types_that_use_each_other_end() {
        let part = |name: &str, other: &str| {
            format!(
                r#"{{"type": "record", "name": "{name}", "fields": [{{"name": "x", "type": "{other}"}}]}}"#
            )
        };
        let (a, b) = (part("A", "B"), part("B", "A"));
        let whole = inline(&part("R", "A"), &[&a, &b]).unwrap();
        let error = WriterSchema::parse(&whole, Path::new("whole")).unwrap_err();
        assert!(error.to_string().contains("contains itself"), "{error}");
        // A long chain is not followed down the stack.
        let chain: Vec<_> = (0..2_000)
            .map(|at| part(&format!("N{at}"), &format!("N{}", at + 1)))
            .collect();
        let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
        let deep = inline(&part("R", "N0"), &chain).unwrap_err();
        assert!(matches!(deep, InlineError::Depth));
    }

    #[test]
    fn two_definitions_of_one_name_are_refused() {
        let other = BARE.replace("int", "long");
        let error = inline(ROOT, &[BARE, &other]).unwrap_err();
        assert!(matches!(error, InlineError::Twice { .. }));
        assert!(inline(ROOT, &[BARE, BARE]).is_ok());
    }
}
