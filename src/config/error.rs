//! The mistakes of a configuration, all of them at once.

use std::fmt;
use std::path::{Path, PathBuf};

/// Every mistake that was found; at least one. Prints one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

/// One mistake: where, which key, what stands there, and what would be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub origin: Origin,
    /// `section.key`; empty where the mistake is not one key's.
    pub key: String,
    /// As it was written. `None` where nothing was, and where it may be a secret.
    pub value: Option<String>,
    /// What is wrong and what is allowed.
    pub problem: String,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File { path: PathBuf, line: Option<usize> },
    Variable(String),
}

/// Line lengths in errors stay readable whatever the file holds.
const VALUE_CHARS_MAX: usize = 80;

impl ConfigErrors {
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    pub(super) fn one(path: &Path, problem: String) -> Self {
        Self(vec![ConfigError {
            origin: Origin::File {
                path: path.to_owned(),
                line: None,
            },
            key: String::new(),
            value: None,
            problem,
        }])
    }

    /// `None` for an empty list.
    pub(super) fn of(mut errors: Vec<ConfigError>) -> Option<Self> {
        if errors.is_empty() {
            return None;
        }
        errors.sort_by_key(|error| match &error.origin {
            Origin::File { line, .. } => (0, line.unwrap_or(usize::MAX)),
            Origin::Variable(_) => (1, 0),
        });
        Some(Self(errors))
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            f.write_str(&self.key)?;
            if let Some(value) = &self.value {
                write!(f, " = {}", shortened(value))?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.problem)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => path.display().fmt(f),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

fn shortened(value: &str) -> String {
    if value.chars().count() <= VALUE_CHARS_MAX {
        return value.to_owned();
    }
    let head: String = value.chars().take(VALUE_CHARS_MAX).collect();
    format!("{head}...")
}
