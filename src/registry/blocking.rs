//! A client for threads that may wait: the start of a worker, and the commands.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::answers::Answer;
use super::client::{Client, ClientError, Question, RegistrySettings};
use super::references::{Fetched, fetch};
use super::trouble::{Problem, Trouble};
use crate::domain::SchemaId;
use crate::http_client::said;

/// Asks and waits for the answer.
#[derive(Debug)]
pub struct BlockingClient {
    client: Client,
    runtime: Runtime,
}

/// A schema that is to have an id under a subject.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub name: &'a str,
    /// Avro, as JSON.
    pub schema: &'a str,
    /// `false` only looks it up.
    pub register: bool,
}

/// Whether a subject would take a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compatibility {
    /// There is no such subject.
    Free,
    Compatible,
    /// What the registry says against it, behind a colon; empty where it says nothing.
    Incompatible {
        messages: String,
    },
}

/// Why a schema has no id.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the registry cannot be asked: {0}")]
    Runtime(#[from] io::Error),
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error(
        "the registry declined the schema of the subject {subject} ({status}{message}). Look at what is registered there and at the subject's compatibility level; or write to another topic, whose subject is free"
    )]
    Declined {
        subject: String,
        status: u16,
        message: String,
    },
    #[error(
        "the schema is not registered under the subject {subject}, and only looked up. Register it there, or leave it to foretell: registry.register = true, or publish without --no-register"
    )]
    NotRegistered { subject: String },
}

/// Wait between two attempts, doubled up to the maximum.
const BACK_OFF: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

impl BlockingClient {
    /// # Errors
    /// When a file for TLS or an address cannot be used.
    pub fn new(settings: &RegistrySettings) -> Result<Self, SubjectError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            client: Client::new(settings)?,
            runtime,
        })
    }

    /// What the registry says of an id, asked once.
    ///
    /// # Errors
    /// When it gave no answer that counts.
    pub fn fetch(&self, id: SchemaId) -> Result<Fetched, Trouble> {
        self.runtime.block_on(fetch(&self.client, id))
    }

    /// The id of the newest schema of a subject, asked once; `None` where there is no such subject.
    ///
    /// # Errors
    /// When the registry gave no answer that counts.
    pub fn latest(&self, subject: &str) -> Result<Option<SchemaId>, SubjectError> {
        let question = Question {
            about: format!("the newest schema of the subject {subject}"),
            path: ["subjects", subject, "versions", "latest"]
                .map(str::to_owned)
                .to_vec(),
            query: None,
            body: None,
        };
        match self.runtime.block_on(self.client.ask(&question))? {
            Answer::Given(json) => id_in(&json).map(Some).ok_or_else(|| {
                let error = "there is no id in it".to_owned();
                self.client.odd(&question, error).into()
            }),
            Answer::Absent { .. } => Ok(None),
            Answer::TooLong => {
                let error = "it is far too long".to_owned();
                Err(self.client.odd(&question, error).into())
            }
            Answer::Declined { status, message } => Err(SubjectError::Declined {
                subject: subject.to_owned(),
                status,
                message,
            }),
        }
    }

    /// Whether a subject would take a schema under its compatibility level, asked once. Registers nothing.
    ///
    /// # Errors
    /// When the registry gave no answer that counts.
    pub fn compatibility(&self, subject: &Subject<'_>) -> Result<Compatibility, SubjectError> {
        let Subject {
            name,
            schema,
            register: _,
        } = *subject;
        let question = Question {
            about: format!("the compatibility of the subject {name}"),
            path: ["compatibility", "subjects", name, "versions", "latest"]
                .map(str::to_owned)
                .to_vec(),
            query: Some("verbose=true"),
            body: Some(json!({ "schema": schema, "schemaType": "AVRO" })),
        };
        match self.runtime.block_on(self.client.ask(&question))? {
            Answer::Given(answer) => match answer["is_compatible"].as_bool() {
                Some(true) => Ok(Compatibility::Compatible),
                Some(false) => {
                    let messages = answer["messages"].as_array().into_iter().flatten();
                    let messages: Vec<_> = messages.filter_map(Value::as_str).collect();
                    Ok(Compatibility::Incompatible {
                        messages: said(&messages.join("; ")),
                    })
                }
                None => {
                    let error = "there is no is_compatible in it".to_owned();
                    Err(self.client.odd(&question, error).into())
                }
            },
            Answer::Absent { .. } => Ok(Compatibility::Free),
            Answer::TooLong => {
                let error = "it is far too long".to_owned();
                Err(self.client.odd(&question, error).into())
            }
            Answer::Declined { status: _, message } => {
                Ok(Compatibility::Incompatible { messages: message })
            }
        }
    }

    /// The id of a schema under a subject. Where the registry gives no answer, `again` says whether to ask
    /// again after a while.
    ///
    /// # Errors
    /// When the registry says no, or `again` does.
    pub fn schema_id(
        &self,
        subject: &Subject<'_>,
        again: &mut dyn FnMut(&Trouble) -> bool,
    ) -> Result<SchemaId, SubjectError> {
        self.runtime.block_on(async {
            let mut back_off = BACK_OFF;
            loop {
                let trouble = match ask(&self.client, subject).await {
                    Err(SubjectError::Trouble(trouble)) => trouble,
                    answered => return answered,
                };
                if is_lasting(&trouble.problem) || !again(&trouble) {
                    return Err(trouble.into());
                }
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF_MAX);
            }
        })
    }
}

/// True for what a person has to mend: asking again does not help.
const fn is_lasting(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::Forbidden { .. } | Problem::Redirect { .. }
    )
}

async fn ask(client: &Client, subject: &Subject<'_>) -> Result<SchemaId, SubjectError> {
    let Subject {
        name,
        schema,
        register,
    } = *subject;
    let mut path = vec!["subjects".to_owned(), name.to_owned()];
    if register {
        path.push("versions".to_owned());
    }
    let question = Question {
        about: format!("the subject {name}"),
        path,
        query: None,
        body: Some(json!({ "schema": schema, "schemaType": "AVRO" })),
    };
    match client.ask(&question).await? {
        Answer::Given(json) => id_in(&json).ok_or_else(|| {
            let error = "there is no id in it".to_owned();
            SubjectError::Trouble(client.odd(&question, error))
        }),
        Answer::TooLong => {
            let error = "it is far too long".to_owned();
            Err(client.odd(&question, error).into())
        }
        Answer::Absent { .. } => Err(SubjectError::NotRegistered {
            subject: name.to_owned(),
        }),
        Answer::Declined { status, message } => Err(SubjectError::Declined {
            subject: name.to_owned(),
            status,
            message,
        }),
    }
}

fn id_in(json: &Value) -> Option<SchemaId> {
    let id = u32::try_from(json["id"].as_u64()?).ok()?;
    SchemaId::new(id)
}
