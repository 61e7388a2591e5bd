//! Subjects, versions and ids, in memory.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A schema as clients send it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    pub schema: String,
    #[serde(default = "avro")]
    pub schema_type: String,
    #[serde(default)]
    pub references: Vec<Reference>,
}

/// Another schema that one uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reference {
    pub name: String,
    pub subject: String,
    pub version: u64,
}

fn avro() -> String {
    "AVRO".to_owned()
}

impl Registered {
    pub fn avro(schema: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            schema_type: avro(),
            references: Vec::new(),
        }
    }

    /// Spaces do not make another schema.
    fn same(&self, other: &Self) -> bool {
        let json = |schema: &str| serde_json::from_str::<Value>(schema).ok();
        self.schema_type == other.schema_type
            && self.references == other.references
            && json(&self.schema) == json(&other.schema)
    }

    pub(super) fn to_json(&self) -> Value {
        let mut json = json!({ "schema": self.schema });
        // Confluent's registry leaves out what is the default.
        if self.schema_type != "AVRO" {
            json["schemaType"] = self.schema_type.clone().into();
        }
        if !self.references.is_empty() {
            json["references"] = json!(self.references);
        }
        json
    }
}

#[derive(Debug, Default)]
pub(super) struct Store {
    schemas: BTreeMap<u32, Registered>,
    /// Ids by subject; the version is the place, from 1.
    subjects: BTreeMap<String, Vec<u32>>,
    frozen: BTreeSet<String>,
}

impl Store {
    pub(super) fn register(&mut self, subject: &str, registered: Registered) -> Result<u32> {
        if let Some(id) = self.find(subject, &registered) {
            return Ok(id);
        }
        if let Some(refusal) = self.refusal(subject, &registered) {
            bail!(refusal);
        }
        let known = self.schemas.iter().find(|(_, one)| one.same(&registered));
        let id = known.map(|(id, _)| *id);
        let id = id.unwrap_or_else(|| self.schemas.keys().last().map_or(1, |last| last + 1));
        self.put(id, registered);
        self.subjects
            .entry(subject.to_owned())
            .or_default()
            .push(id);
        Ok(id)
    }

    /// Why the subject would not take a schema.
    pub(super) fn refusal(&self, subject: &str, registered: &Registered) -> Option<String> {
        let is_refused = self.frozen.contains(subject) && self.find(subject, registered).is_none();
        is_refused.then(|| {
            format!(
                "Schema being registered is incompatible with an earlier schema for subject \"{subject}\""
            )
        })
    }

    pub(super) fn put(&mut self, id: u32, registered: Registered) {
        self.schemas.insert(id, registered);
    }

    pub(super) fn freeze(&mut self, subject: &str) {
        self.frozen.insert(subject.to_owned());
    }

    pub(super) fn schema(&self, id: u32) -> Option<&Registered> {
        self.schemas.get(&id)
    }

    pub(super) fn has(&self, subject: &str) -> bool {
        self.subjects.contains_key(subject)
    }

    pub(super) fn find(&self, subject: &str, registered: &Registered) -> Option<u32> {
        let ids = self.subjects.get(subject)?;
        let same = |id: &&u32| self.schemas.get(id).is_some_and(|one| one.same(registered));
        ids.iter().find(same).copied()
    }

    /// A version of a subject, the newest without a number.
    pub(super) fn version(&self, subject: &str, version: Option<usize>) -> Option<Value> {
        let ids = self.subjects.get(subject)?;
        let version = version.unwrap_or(ids.len());
        let id = *ids.get(version.checked_sub(1)?)?;
        let mut json = self.schemas.get(&id)?.to_json();
        json["subject"] = subject.into();
        json["version"] = version.into();
        json["id"] = id.into();
        Some(json)
    }

    /// Where a schema of a subject stands, as the answer to a look-up.
    pub(super) fn look_up(&self, subject: &str, registered: &Registered) -> Option<Value> {
        let id = self.find(subject, registered)?;
        let ids = self.subjects.get(subject)?;
        let place = ids.iter().position(|one| *one == id)?;
        self.version(subject, Some(place + 1))
    }
}
