//! A schema by its id, with the schemas that it refers to.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::answers::Answer;
use super::client::{Client, Question};
use super::inline::inline;
use super::trouble::Trouble;
use crate::decode::{RegisteredSchema, SCHEMA_BYTES_MAX, SchemaError, WriterSchema};
use crate::domain::SchemaId;

/// Most schemas that one may refer to, directly or not.
pub const REFERENCES_MAX: usize = 64;

/// Longest chain of references.
pub const REFERENCES_DEPTH_MAX: usize = 16;

/// What a registry says of an id at a moment.
#[derive(Clone, Debug)]
pub enum Fetched {
    Known(RegisteredSchema),
    /// There is no such schema, or none of what it refers to.
    Absent {
        message: String,
    },
}

/// A schema as `GET /schemas/ids/{id}` and `GET /subjects/{subject}/versions/{version}` give it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaText {
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

#[derive(Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    subject: String,
    version: u64,
}

/// What came of asking for one text.
enum Text {
    Given(SchemaText),
    TooLong,
    Absent(String),
}

/// Asks for a schema and everything that it refers to.
///
/// # Errors
/// When the registry gave no answer that counts: it is to be asked again.
pub async fn fetch(client: &Client, id: SchemaId) -> Result<Fetched, Trouble> {
    let refused = |reason: String| Ok(Fetched::Known(RegisteredSchema::Refused(reason.into())));
    let path = ["schemas", "ids", &id.to_string()].map(str::to_owned);
    let root = match text(client, format!("schema id {id}"), path.to_vec(), None).await? {
        Text::Given(root) => root,
        Text::TooLong => return refused(too_long("it")),
        Text::Absent(message) => return Ok(Fetched::Absent { message }),
    };
    if let Some(reason) = unusable("it", &root) {
        return refused(reason);
    }
    let mut parts = BTreeMap::new();
    let mut waiting: VecDeque<(Reference, usize)> = VecDeque::new();
    waiting.extend(root.references.into_iter().flatten().map(|each| (each, 1)));
    while let Some((reference, depth)) = waiting.pop_front() {
        if parts.contains_key(&reference) {
            continue;
        }
        if depth > REFERENCES_DEPTH_MAX || parts.len() >= REFERENCES_MAX {
            return refused(format!(
                "it refers to more than {REFERENCES_MAX} schemas, or over more than {REFERENCES_DEPTH_MAX} steps"
            ));
        }
        let Reference { subject, version } = &reference;
        let name = format!("version {version} of the subject {subject}, which it refers to,");
        let about =
            format!("version {version} of the subject {subject}, to which schema id {id} refers");
        let place = ["subjects", subject, "versions", &version.to_string()].map(str::to_owned);
        // One that was deleted softly still is what the other one was written against.
        let part = match text(client, about, place.to_vec(), Some("deleted=true")).await? {
            Text::Given(part) => part,
            Text::TooLong => return refused(too_long(&name)),
            Text::Absent(message) => return Ok(Fetched::Absent { message }),
        };
        if let Some(reason) = unusable(&name, &part) {
            return refused(reason);
        }
        let further = part.references.into_iter().flatten();
        waiting.extend(further.map(|each| (each, depth + 1)));
        parts.insert(reference, part.schema);
    }
    let parts: Vec<&str> = parts.values().map(String::as_str).collect();
    let whole = match inline(&root.schema, &parts) {
        Ok(whole) => whole,
        Err(reason) => return refused(reason.to_string()),
    };
    Ok(Fetched::Known(parse(id, &whole)))
}

fn parse(id: SchemaId, whole: &str) -> RegisteredSchema {
    match WriterSchema::parse(whole, Path::new(&format!("id {id}"))) {
        Ok(schema) => RegisteredSchema::Usable(schema),
        Err(SchemaError::Refused { fault, .. }) => {
            RegisteredSchema::Refused(fault.to_string().into())
        }
        Err(
            error @ (SchemaError::Folder { .. }
            | SchemaError::FileCount { .. }
            | SchemaError::File { .. }
            | SchemaError::Ambiguous { .. }),
        ) => RegisteredSchema::Refused(Arc::from(error.to_string())),
    }
}

async fn text(
    client: &Client,
    about: String,
    path: Vec<String>,
    query: Option<&'static str>,
) -> Result<Text, Trouble> {
    let question = Question {
        about,
        path,
        query,
        body: None,
    };
    let odd = |error: String| client.odd(&question, error);
    match client.ask(&question).await? {
        Answer::Given(json) => {
            let text = serde_json::from_value(json).map_err(|error| odd(error.to_string()))?;
            Ok(Text::Given(text))
        }
        Answer::TooLong => Ok(Text::TooLong),
        Answer::Absent { message } => Ok(Text::Absent(message)),
        Answer::Declined { status, message } => Err(odd(format!("{status}{message}"))),
    }
}

/// Why a text cannot be used, whatever it says.
fn unusable(name: &str, text: &SchemaText) -> Option<String> {
    let kind = text.schema_type.as_deref().unwrap_or("AVRO");
    if !kind.eq_ignore_ascii_case("avro") {
        return Some(format!("{name} is {kind}, and only Avro is read"));
    }
    let bytes = u64::try_from(text.schema.len()).unwrap_or(u64::MAX);
    (bytes > SCHEMA_BYTES_MAX).then(|| too_long(name))
}

fn too_long(name: &str) -> String {
    format!("{name} is longer than {SCHEMA_BYTES_MAX} bytes")
}
