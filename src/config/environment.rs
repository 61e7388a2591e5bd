//! What the process is given besides the configuration file: variables, host name, cores.
//!
//! A value like any other, so that tests pass their own. Only [`Environment::process`] looks at the
//! real process, and nothing outside `config/` reads a variable.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::{fs, thread};

/// Variables, and the facts that some defaults are made of.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// First part of the default worker id.
    pub(super) host: String,
    /// Second part of the default worker id; differs between two processes on one host.
    pub(super) token: u32,
    /// Default number of lanes.
    pub(super) cores: NonZeroUsize,
}

impl Environment {
    /// Variables that start so override keys of the file: `FORETELL__KAFKA__GROUP_ID`.
    pub const OVERRIDE_PREFIX: &str = "FORETELL__";

    /// The environment of this process. Variables that are not UTF-8 are left out.
    pub fn process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let random = std::hash::RandomState::new().hash_one(std::process::id());
        Self {
            variables,
            host: host_name(),
            token: u32::try_from(random >> 32).unwrap_or_default(),
            cores: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }

    /// An environment of these variables alone, on a machine called `host` with two cores.
    pub fn of<'v>(variables: impl IntoIterator<Item = (&'v str, &'v str)>) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            host: "host".to_owned(),
            token: 0,
            cores: NonZeroUsize::MIN.saturating_add(1),
        }
    }

    /// Cores of this machine: the default number of lanes.
    pub fn cores(&self) -> NonZeroUsize {
        self.cores
    }

    /// The variable `name`; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Variables whose names begin so: name and value.
    pub(super) fn starting_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Variables that override keys: name and value.
    pub(super) fn overrides(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter(|(name, _)| name.starts_with(Self::OVERRIDE_PREFIX))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The kernel's name of this host, which in a container is the pod's; `worker` where there is none.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let clean: String = name
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        .take(HOST_CHARS_MAX)
        .collect();
    if clean.is_empty() {
        "worker".to_owned()
    } else {
        clean
    }
}

/// Longest part of a host name that goes into a worker id; Linux allows 64 bytes.
const HOST_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_differ_and_have_a_core() {
        let (one, two) = (Environment::process(), Environment::process());
        assert_eq!(one.host, two.host);
        assert_ne!(one.token, two.token);
        assert!(!one.host.is_empty());
    }
}
