//! What `config check` and `topics check` found, all of it at once.
//!
//! A [`Finding`] says where (file, key, topic or setting), what is the matter, and what to do. Errors are
//! what will not work, warnings what will surprise, notes what follows from the configuration. Results
//! go to standard output; errors make the command fail.

use std::fmt;
use std::io::{self, Write};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// It will not work.
    Error,
    /// It works and may not do what is meant.
    Warning,
    /// Good to know.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) weight: Weight,
    /// File, key, topic or setting.
    pub(super) place: String,
    /// What is the matter and what to do.
    pub(super) text: String,
}

/// Findings in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

/// What will not work; the findings are on standard output.
#[derive(Debug, thiserror::Error)]
#[error("{errors} of the findings above will not work")]
pub(super) struct WillNotWork {
    errors: usize,
}

impl Findings {
    pub(super) fn error(&mut self, place: impl fmt::Display, text: impl Into<String>) {
        self.push(Weight::Error, place, text);
    }

    pub(super) fn warning(&mut self, place: impl fmt::Display, text: impl Into<String>) {
        self.push(Weight::Warning, place, text);
    }

    pub(super) fn note(&mut self, place: impl fmt::Display, text: impl Into<String>) {
        self.push(Weight::Note, place, text);
    }

    pub(super) fn push(
        &mut self,
        weight: Weight,
        place: impl fmt::Display,
        text: impl Into<String>,
    ) {
        self.0.push(Finding {
            weight,
            place: place.to_string(),
            text: text.into(),
        });
    }

    pub(super) fn count(&self, weight: Weight) -> usize {
        let same = |finding: &&Finding| finding.weight == weight;
        self.0.iter().filter(same).count()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Writes the findings, errors first, and a last line about `what` was checked.
    pub(super) fn write(&self, out: &mut impl Write, what: impl fmt::Display) -> io::Result<()> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by_key(|finding| finding.weight);
        for finding in sorted {
            writeln!(out, "{finding}")?;
        }
        let several = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        let warnings = several(self.count(Weight::Warning), "warning");
        match (self.count(Weight::Error), self.count(Weight::Warning)) {
            (0, 0) => writeln!(out, "{what}: OK"),
            (0, _) => writeln!(out, "{what}: OK, with {warnings}"),
            (errors, 0) => writeln!(out, "{what}: {}", several(errors, "error")),
            (errors, _) => writeln!(out, "{what}: {}, {warnings}", several(errors, "error")),
        }
    }

    /// # Errors
    /// When something will not work.
    pub(super) fn verdict(&self) -> Result<(), WillNotWork> {
        match self.count(Weight::Error) {
            0 => Ok(()),
            errors => Err(WillNotWork { errors }),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
            Weight::Note => "note",
        };
        write!(f, "{weight}: {}: {}", self.place, self.text)
    }
}

/// An error and what caused it, on one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        source = cause.source();
    }
    said.replace('\n', " ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The findings hold one of this weight and place whose text has all of these parts.
    #[track_caller]
    pub(crate) fn assert_found(findings: &Findings, weight: Weight, place: &str, parts: &[&str]) {
        let found = findings.iter().any(|finding| {
            finding.weight == weight
                && finding.place.contains(place)
                && parts.iter().all(|part| finding.text.contains(part))
        });
        assert!(
            found,
            "no {weight:?} of {place} with {parts:?}: {findings:#?}"
        );
    }

    /// Nothing stands above a note.
    #[track_caller]
    pub(crate) fn assert_quiet(findings: &Findings) {
        let loud = findings
            .iter()
            .filter(|finding| finding.weight != Weight::Note);
        assert_eq!(loud.count(), 0, "{findings:#?}");
    }

    #[test]
    fn errors_come_first_and_are_counted() {
        let mut findings = Findings::default();
        findings.note("a", "one");
        findings.error("b", "two");
        findings.warning("c", "three");
        let mut text = Vec::new();
        findings.write(&mut text, "x.toml").unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "error: b: two\nwarning: c: three\nnote: a: one\nx.toml: 1 error, 1 warning\n"
        );
        assert!(findings.verdict().is_err());
    }
}
