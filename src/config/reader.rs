//! Takes the keys of a section one by one and keeps every mistake until the end.
//!
//! A key that was not taken is unknown; the report names the nearest one that was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Environment;
use super::error::{ConfigError, Origin};
use super::kind::Kind;
use super::properties;
use super::secret::Secret;
use super::tree::{Node, Table, Value};

/// All sections, and the mistakes so far.
pub(super) struct Reader {
    path: PathBuf,
    environment: Environment,
    root: Table,
    sections: Vec<&'static str>,
    errors: Vec<ConfigError>,
    /// Where each key stood and how it was written, for checks between keys.
    written: BTreeMap<String, (Origin, String)>,
    known: Vec<String>,
}

/// The keys of one section.
pub(super) struct Section<'r> {
    reader: &'r mut Reader,
    name: &'static str,
    entries: Table,
    known: Vec<&'static str>,
}

impl Reader {
    pub(super) fn new(path: &Path, root: Table, environment: &Environment) -> Self {
        Self {
            path: path.to_owned(),
            environment: environment.clone(),
            root,
            sections: Vec::new(),
            errors: Vec::new(),
            written: BTreeMap::new(),
            known: Vec::new(),
        }
    }

    /// The folder of the file, from which relative paths are taken.
    pub(super) fn base(&self) -> PathBuf {
        self.path
            .parent()
            .map_or_else(PathBuf::new, Path::to_path_buf)
    }

    /// The variable `name` of the process, for secrets.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name)
    }

    /// True when `section.key` has a value of its own.
    pub(super) fn is_written(&self, key: &str) -> bool {
        self.written.contains_key(key)
    }

    /// Reads a section; a missing one is an empty one.
    pub(super) fn section<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        self.sections.push(name);
        let entries = match self.root.remove(name) {
            None => Table::new(),
            Some(Node {
                value: Value::Table(entries),
                ..
            }) => entries,
            Some(node) => {
                self.push(node.origin, name.to_owned(), None, {
                    format!("must be a section, [{name}]")
                });
                Table::new()
            }
        };
        let mut section = Section {
            reader: self,
            name,
            entries,
            known: Vec::new(),
        };
        let read = read(&mut section);
        section.refuse_unknown();
        read
    }

    /// Keeps where `key` stood, for [`Reader::refuse`].
    pub(super) fn remember(&mut self, key: String, origin: Origin, written: String) {
        self.written.insert(key, (origin, written));
    }

    /// Reports that the value of `key`, though of its kind, does not go with the others.
    pub(super) fn refuse(&mut self, key: &str, problem: impl Into<String>) {
        let (origin, value) = self.written.get(key).cloned().map_or_else(
            || (self.file(), None),
            |(origin, value)| (origin, Some(value)),
        );
        self.push(origin, key.to_owned(), value, problem.into());
    }

    /// Reports a mistake whose value may be a secret.
    pub(super) fn push(
        &mut self,
        origin: Origin,
        key: String,
        value: Option<String>,
        problem: String,
    ) {
        self.errors.push(ConfigError {
            origin,
            key,
            value,
            problem,
        });
    }

    /// The mistakes, and the names of all keys that were asked for.
    pub(super) fn finish(mut self) -> (Vec<ConfigError>, Vec<String>) {
        for (name, node) in std::mem::take(&mut self.root) {
            let problem = unknown("section", &name, &self.sections, |known| {
                format!("[{known}]")
            });
            self.push(node.origin, name, None, problem);
        }
        (self.errors, self.known)
    }

    fn file(&self) -> Origin {
        Origin::File {
            path: self.path.clone(),
            line: None,
        }
    }
}

impl Section<'_> {
    /// A key that must be there. `None` is a reported mistake.
    pub(super) fn required<T>(&mut self, key: &'static str, kind: &Kind<'_, T>) -> Option<T> {
        let found = self.optional(key, kind)?;
        if found.is_none() {
            let problem = format!("is missing: it must be {}", kind.allowed);
            let origin = self.reader.file();
            self.reader.push(origin, self.path(key), None, problem);
        }
        found
    }

    /// A key with a default. `None` is a reported mistake.
    pub(super) fn or<T>(&mut self, key: &'static str, default: T, kind: &Kind<'_, T>) -> Option<T> {
        self.optional(key, kind)
            .map(|found| found.unwrap_or(default))
    }

    /// A key that may be absent. `None` is a reported mistake, `Some(None)` an absent key.
    #[expect(
        clippy::option_option,
        reason = "a reported mistake and an absent key are different things"
    )]
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<'_, T>,
    ) -> Option<Option<T>> {
        let Some(node) = self.take(key) else {
            return Some(None);
        };
        let written = node.value.written();
        self.reader
            .remember(self.path(key), node.origin.clone(), written.clone());
        let read = (kind.read)(&node.value);
        if read.is_none() {
            let problem = format!("must be {}", kind.allowed);
            // What looks like user:password@host is not repeated.
            let shown = Some(written).filter(|written| !written.contains('@'));
            self.reader
                .push(node.origin, self.path(key), shown, problem);
        }
        read.map(Some)
    }

    /// A secret that may be absent: its text, or where it is to be taken from. `None` is a reported
    /// mistake, `Some(None)` an absent key.
    #[expect(
        clippy::option_option,
        reason = "a reported mistake and an absent key are different things"
    )]
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Option<Secret>> {
        let Some(node) = self.take(key) else {
            return Some(None);
        };
        let path = self.path(key);
        match properties::secret_of(self.reader, &node.value) {
            Ok(secret) => {
                self.reader
                    .remember(path, node.origin, Secret::REDACTED.to_owned());
                Some(Some(secret))
            }
            Err(problem) => {
                self.reader.push(node.origin, path, None, problem);
                None
            }
        }
    }

    /// The raw entries of the table `key`, for names that are not ours.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table> {
        match self.take(key) {
            None => Some(Table::new()),
            Some(Node {
                value: Value::Table(entries),
                ..
            }) => Some(entries),
            Some(node) => {
                let problem = format!("must be a section, [{}]", self.path(key));
                self.reader.push(node.origin, self.path(key), None, problem);
                None
            }
        }
    }

    pub(super) fn reader(&mut self) -> &mut Reader {
        self.reader
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.reader.known.push(self.path(key));
        self.entries.remove(key)
    }

    /// `key` with its section, as messages name it.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn refuse_unknown(self) {
        for (key, node) in &self.entries {
            let problem = unknown("key", key, &self.known, |known| {
                format!("{}.{known}", self.name)
            });
            let path = self.path(key);
            // The value is not shown: a misspelt key may hold a password.
            self.reader.push(node.origin.clone(), path, None, problem);
        }
    }
}

fn unknown(what: &str, name: &str, known: &[&str], spell: impl Fn(&str) -> String) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (edits(name, candidate), candidate))
        .min()
        .filter(|(edits, candidate)| *edits <= candidate.len().div_ceil(3));
    match nearest {
        Some((_, candidate)) => {
            format!("unknown {what}; did you mean {}?", spell(candidate))
        }
        None => format!("unknown {what}; known here: {}", known.join(", ")),
    }
}

/// Levenshtein distance, for names of at most [`NAME_CHARS_MAX`] characters.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(NAME_CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().take(NAME_CHARS_MAX).enumerate() {
        let mut diagonal = index;
        let mut last = index + 1;
        if let Some(first) = row.first_mut() {
            *first = last;
        }
        for (to, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = *cell;
            last = substituted.min(diagonal + 1).min(last + 1);
            *cell = last;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Keys that are compared to find the nearest are no longer than this.
const NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_insertions_deletions_and_substitutions() {
        for (left, right, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("sesion_timeout", "session_timeout", 1),
        ] {
            assert_eq!(edits(left, right), expected, "{left} {right}");
        }
    }
}
