//! `[registry]`: the Schema Registry, who asks it, and for how long.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::credentials::{Credentials, Keys};
use super::reader::Section;
use super::{dump, kind};

/// How to reach a Confluent-compatible Schema Registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Tried in turn; none where no wire format needs a registry.
    pub urls: Vec<String>,
    pub credentials: Option<Credentials>,
    /// Authorities instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key of this client.
    pub client_files: Option<(PathBuf, PathBuf)>,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    /// How long a registry must not know a schema before its records are rejected.
    pub unknown_schema_grace: Duration,
    /// `false`: the schema of what is written is only looked up.
    pub register: bool,
    /// Permits credentials without TLS.
    pub allow_insecure: bool,
}

const CREDENTIALS: Keys = Keys {
    username: "username",
    password: "password",
    token: "bearer_token",
};

impl Registry {
    const URLS_MAX: usize = 16;
    const URL_BYTES_MAX: usize = 2_048;
    const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(5);
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
    const GRACES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
    const GRACE: Duration = Duration::from_mins(1);

    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let urls = section.or(
            "urls",
            Vec::new(),
            &kind::list(1..=Self::URLS_MAX, url_kind()),
        );
        let credentials = Credentials::read(section, &CREDENTIALS);
        let base = section.reader().base();
        let ca_file = section.optional("ca_file", &kind::path(&base));
        let client_files = client_files(section);
        let mut timeout = |key, default| {
            let kind = kind::duration(Self::TIMEOUTS);
            section.or(key, default, &kind)
        };
        let connect_timeout = timeout("connect_timeout", Self::CONNECT_TIMEOUT);
        let request_timeout = timeout("request_timeout", Self::REQUEST_TIMEOUT);
        let unknown_schema_grace = section.or(
            "unknown_schema_grace",
            Self::GRACE,
            &kind::duration(Self::GRACES),
        );
        let register = section.or("register", true, &kind::boolean());
        let allow_insecure = section.or("allow_insecure", false, &kind::boolean());
        if let (Some(urls), Some(Some(_)), Some(false)) = (&urls, &credentials, allow_insecure)
            && urls.iter().any(|url| !url.starts_with("https://"))
        {
            let problem = "would send the credentials without TLS: say https://, or set registry.allow_insecure = true";
            section.reader().refuse("registry.urls", problem);
        }
        Some(Self {
            urls: urls?,
            credentials: credentials?,
            ca_file: ca_file?,
            client_files: client_files?,
            connect_timeout: connect_timeout?,
            request_timeout: request_timeout?,
            unknown_schema_grace: unknown_schema_grace?,
            register: register?,
            allow_insecure: allow_insecure?,
        })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            urls,
            credentials,
            ca_file,
            client_files,
            connect_timeout,
            request_timeout,
            unknown_schema_grace,
            register,
            allow_insecure,
        } = self;
        let mut table = dump::table([
            ("connect_timeout", dump::duration(*connect_timeout)),
            ("request_timeout", dump::duration(*request_timeout)),
            (
                "unknown_schema_grace",
                dump::duration(*unknown_schema_grace),
            ),
            ("register", (*register).into()),
            ("allow_insecure", (*allow_insecure).into()),
        ]);
        let mut insert = |key: &str, value: toml::Value| table.insert(key.to_owned(), value);
        if !urls.is_empty() {
            insert("urls", urls.clone().into());
        }
        for (key, value) in credentials.iter().flat_map(|it| it.dump(&CREDENTIALS)) {
            insert(key, value);
        }
        if let Some(file) = ca_file {
            insert("ca_file", dump::path(file));
        }
        if let Some((certificate, key)) = client_files {
            insert("client_certificate_file", dump::path(certificate));
            insert("client_key_file", dump::path(key));
        }
        table
    }
}

#[expect(
    clippy::option_option,
    reason = "a reported mistake and an absent key are different things"
)]
fn client_files(section: &mut Section<'_>) -> Option<Option<(PathBuf, PathBuf)>> {
    let base = section.reader().base();
    let certificate = section.optional("client_certificate_file", &kind::path(&base));
    let key = section.optional("client_key_file", &kind::path(&base));
    match (certificate?, key?) {
        (None, None) => Some(None),
        (Some(certificate), Some(key)) => Some(Some((certificate, key))),
        (Some(_), None) => {
            let problem = "needs registry.client_key_file";
            section
                .reader()
                .refuse("registry.client_certificate_file", problem);
            None
        }
        (None, Some(_)) => {
            let problem = "needs registry.client_certificate_file";
            section.reader().refuse("registry.client_key_file", problem);
            None
        }
    }
}

pub(super) fn url_kind<'k>() -> kind::Kind<'k, String> {
    kind::text(
        "http:// or https://, a host, and where needed a port and a path; no credentials, query or fragment",
        is_url,
    )
}

fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        (!host.is_empty() || rest.starts_with('['))
            && text.len() <= Registry::URL_BYTES_MAX
            && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "@?#\\,".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Environment};

    const REST: &str = r#"
        kafka.brokers = ["a:1"]
        model.initial = "m.onnx"
        window = { step = "1m", length = 2, features = ["x"] }
        input.wire_format = "confluent"
    "#;

    fn parse(registry: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let text = format!("{REST}\n[registry]\n{registry}");
        let environment = Environment::of(variables.iter().copied());
        Config::parse(Path::new("foretell.toml"), &text, &environment)
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let errors = parse(
            "urls = [\"http://user:pw@a\"]\nusername = \"a\"\nca_file = 1\n\
             client_key_file = \"k\"\nrequest_timeout = \"1ms\"\nregsiter = false",
            &[],
        );
        let errors = errors.unwrap_err();
        for said in [
            "registry.urls: must be",
            "registry.username = \"a\": needs registry.password",
            "registry.ca_file",
            "registry.client_key_file",
            "registry.request_timeout",
            "did you mean registry.register?",
        ] {
            assert!(errors.contains(said), "{said} is not in\n{errors}");
        }
        assert!(!errors.contains("pw"), "{errors}");
        let none = parse("register = true", &[]).unwrap_err();
        assert!(none.contains("input.wire_format"), "{none}");
        assert!(none.contains("needs registry.urls"), "{none}");
    }

    #[test]
    fn credentials_need_tls_and_are_not_shown() {
        let with = |url: &str, rest: &str| {
            let text = format!(
                "urls = [\"{url}\"]\nusername = \"worker\"\npassword = {{ env = \"PW\" }}\n{rest}"
            );
            parse(&text, &[("PW", "canary")])
        };
        let refused = with("http://a", "").unwrap_err();
        assert!(refused.contains("without TLS"), "{refused}");
        assert!(with("http://a", "allow_insecure = true").is_ok());
        let config = with("https://a", "").unwrap();
        let shown = format!("{config:?} {}", config.to_toml_redacted());
        assert!(
            shown.contains("worker") && !shown.contains("canary"),
            "{shown}"
        );
        let both = with("https://a", "bearer_token = \"t\"").unwrap_err();
        assert!(both.contains("registry.bearer_token"), "{both}");
    }

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_no_secrets() {
        for good in [
            "http://localhost:8081",
            "https://registry.example/path/to/it",
            "https://[::1]:8081",
        ] {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "",
            "localhost:8081",
            "ftp://a",
            "http://",
            "http://:8081",
            "https://user:pw@a",
            "http://a?x=1",
            "http://a b",
            "http://a,http://b",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
    }
}
