//! `[promotion]`: where new model packages may come from, and what each step to serving them may take.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::credentials::{Credentials, Keys};
use super::reader::Section;
use super::registry::url_kind;
use super::snapshots::{aws_variables, bucket_and_prefix};
use super::{Environment, Secret, dump, kind};
use crate::domain::PACKAGE_BYTES_MAX;

/// How packages are fetched, verified and waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// For the whole of one fetch.
    pub fetch_timeout: Duration,
    pub package_bytes_max: NonZeroUsize,
    /// Folders that `file://` may name something in.
    pub file_roots: Vec<PathBuf>,
    /// `bucket` or `bucket/prefix`.
    pub s3_buckets: Vec<String>,
    /// Variables of the process that begin with `AWS_`: credentials, region, endpoint.
    pub variables: Vec<(String, Secret)>,
    /// Names, or `*.` before one for all below it.
    pub https_hosts: Vec<String>,
    /// Such as may have addresses that are not public, and be asked without TLS.
    pub private_hosts: Vec<String>,
    /// Authorities instead of the system's.
    pub ca_file: Option<PathBuf>,
    pub mlflow: Option<MlflowServer>,
    /// Permits credentials for MLflow without TLS.
    pub allow_insecure: bool,
    /// For the whole of one verification.
    pub verify_timeout: Duration,
    /// Address space of the process that verifies.
    pub verify_memory_max: NonZeroUsize,
    /// How long a partition may wait for a model that is not warm before the worker is not ready.
    pub hold_max: Duration,
}

/// An MLflow tracking server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlflowServer {
    pub url: String,
    pub credentials: Option<Credentials>,
}

const CREDENTIALS: Keys = Keys {
    username: "mlflow_username",
    password: "mlflow_password",
    token: "mlflow_token",
};

impl Promotion {
    const LIST_MAX: usize = 64;
    const HOST_BYTES_MAX: usize = 253;
    const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
    const FETCH_TIMEOUT: Duration = Duration::from_mins(2);
    const VERIFY_TIMEOUT: Duration = Duration::from_mins(1);
    const PACKAGE_BYTES_MIN: usize = 1 << 10;
    const MEMORY: RangeInclusive<usize> = 256 << 20..=1 << 40;
    const MEMORY_MAX: usize = 4 << 30;
    const HOLDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
    const HOLD_MAX: Duration = Duration::from_secs(30);

    pub(super) fn read(section: &mut Section<'_>, environment: &Environment) -> Option<Self> {
        let base = section.reader().base();
        let fetch_timeout = section.or("fetch_timeout", Self::FETCH_TIMEOUT, &{
            kind::duration(Self::TIMEOUTS)
        });
        let sizes = kind::size(Self::PACKAGE_BYTES_MIN..=PACKAGE_BYTES_MAX);
        let largest = NonZeroUsize::new(PACKAGE_BYTES_MAX)?;
        let package_bytes_max = section.or("package_bytes_max", largest, &sizes);
        let roots = kind::list(0..=Self::LIST_MAX, folder_kind())
            .map(|roots| Some(roots.iter().map(|root| base.join(root)).collect()));
        let file_roots = section.or("file_roots", Vec::new(), &roots);
        let mut list = |key, kind| {
            let entries = kind::list(0..=Self::LIST_MAX, kind);
            section.or(key, Vec::new(), &entries)
        };
        let s3_buckets = list("s3_buckets", bucket_kind());
        let https_hosts = list("https_hosts", host_kind());
        let private_hosts = list("private_hosts", host_kind());
        let ca_file = section.optional("ca_file", &kind::path(&base));
        let mlflow = mlflow(section);
        let allow_insecure = section.or("allow_insecure", false, &kind::boolean());
        if let (Some(Some(server)), Some(false)) = (&mlflow, allow_insecure)
            && server.credentials.is_some()
            && !server.url.starts_with("https://")
        {
            let problem = "would send the credentials without TLS: say https://, or set promotion.allow_insecure = true";
            section.reader().refuse("promotion.mlflow_uri", problem);
        }
        let verify_timeout = section.or("verify_timeout", Self::VERIFY_TIMEOUT, &{
            kind::duration(Self::TIMEOUTS)
        });
        let memory_max = NonZeroUsize::new(Self::MEMORY_MAX)?;
        let verify_memory_max =
            section.or("verify_memory_max", memory_max, &kind::size(Self::MEMORY));
        let hold_max = section.or("hold_max", Self::HOLD_MAX, &kind::duration(Self::HOLDS));
        Some(Self {
            fetch_timeout: fetch_timeout?,
            package_bytes_max: package_bytes_max?,
            file_roots: file_roots?,
            s3_buckets: s3_buckets?,
            variables: aws_variables(environment),
            https_hosts: https_hosts?,
            private_hosts: private_hosts?,
            ca_file: ca_file?,
            mlflow: mlflow?,
            allow_insecure: allow_insecure?,
            verify_timeout: verify_timeout?,
            verify_memory_max: verify_memory_max?,
            hold_max: hold_max?,
        })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            fetch_timeout,
            package_bytes_max,
            file_roots,
            s3_buckets,
            variables: _,
            https_hosts,
            private_hosts,
            ca_file,
            mlflow,
            allow_insecure,
            verify_timeout,
            verify_memory_max,
            hold_max,
        } = self;
        let roots: Vec<toml::Value> = file_roots.iter().map(|root| dump::path(root)).collect();
        let mut table = dump::table([
            ("fetch_timeout", dump::duration(*fetch_timeout)),
            ("package_bytes_max", dump::size(package_bytes_max.get())),
            ("file_roots", roots.into()),
            ("s3_buckets", s3_buckets.clone().into()),
            ("https_hosts", https_hosts.clone().into()),
            ("private_hosts", private_hosts.clone().into()),
            ("allow_insecure", (*allow_insecure).into()),
            ("verify_timeout", dump::duration(*verify_timeout)),
            ("verify_memory_max", dump::size(verify_memory_max.get())),
            ("hold_max", dump::duration(*hold_max)),
        ]);
        let mut insert = |key: &str, value: toml::Value| table.insert(key.to_owned(), value);
        if let Some(file) = ca_file {
            insert("ca_file", dump::path(file));
        }
        if let Some(MlflowServer { url, credentials }) = mlflow {
            insert("mlflow_uri", url.clone().into());
            for (key, value) in credentials.iter().flat_map(|it| it.dump(&CREDENTIALS)) {
                insert(key, value);
            }
        }
        table
    }
}

#[expect(
    clippy::option_option,
    reason = "a reported mistake and an absent key are different things"
)]
fn mlflow(section: &mut Section<'_>) -> Option<Option<MlflowServer>> {
    let url = section.optional("mlflow_uri", &url_kind());
    let credentials = Credentials::read(section, &CREDENTIALS);
    match (url?, credentials?) {
        (Some(url), credentials) => Some(Some(MlflowServer { url, credentials })),
        (None, None) => Some(None),
        (None, Some(_)) => {
            let problem = "is missing: there are credentials for it";
            section.reader().refuse("promotion.mlflow_uri", problem);
            None
        }
    }
}

fn folder_kind<'k>() -> kind::Kind<'k, String> {
    kind::text(
        "the path of a folder, relative to this file's folder or absolute",
        |text| !text.is_empty() && !text.contains("://") && !text.contains('\0'),
    )
}

fn bucket_kind<'k>() -> kind::Kind<'k, String> {
    kind::text("a bucket or bucket/prefix, without s3://", |text| {
        bucket_and_prefix(text).is_some()
    })
}

fn host_kind<'k>() -> kind::Kind<'k, String> {
    kind::text(
        "the name of a host or an IP address, without scheme, port and path, or *.example for all hosts below it",
        is_host,
    )
    .map(|host| Some(host.to_ascii_lowercase()))
}

fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_name = !name.is_empty()
        && name.len() <= Promotion::HOST_BYTES_MAX
        && !name.starts_with('.')
        && !name.ends_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    is_name || text.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const REST: &str = r#"
        kafka.brokers = ["a:1"]
        model.initial = "m.onnx"
        input.schema_folder = "s"
        window = { step = "1m", length = 2, features = ["x"] }
    "#;

    fn parse(promotion: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let text = format!("{REST}\n[promotion]\n{promotion}");
        let environment = Environment::of(variables.iter().copied());
        Config::parse(Path::new("/etc/foretell.toml"), &text, &environment)
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn nothing_is_allowed_unless_it_is_listed() {
        let promotion = parse("", &[]).unwrap().promotion;
        assert!(promotion.file_roots.is_empty() && promotion.s3_buckets.is_empty());
        assert!(promotion.https_hosts.is_empty() && promotion.private_hosts.is_empty());
        assert_eq!(promotion.mlflow, None);
        assert_eq!(promotion.hold_max, Duration::from_secs(30));
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let errors = parse(
            "fetch_timeout = \"1ms\"\npackage_bytes_max = \"257 MiB\"\nfile_roots = [\"file:///a\"]\n\
             s3_buckets = [\"s3://models\"]\nhttps_hosts = [\"https://a\"]\nprivate_hosts = [\"*\"]\n\
             verify_memory_max = 1\nhold_max = \"0s\"\nmlflow_token = \"t\"\nhost = \"a\"",
            &[],
        );
        let errors = errors.unwrap_err();
        for said in [
            "promotion.fetch_timeout = \"1ms\"",
            "promotion.package_bytes_max = \"257 MiB\": must be a size from 1 KiB to 256 MiB",
            "promotion.file_roots",
            "without s3://",
            "promotion.https_hosts",
            "promotion.private_hosts = [\"*\"]",
            "promotion.verify_memory_max",
            "promotion.hold_max",
            "promotion.mlflow_uri: is missing",
            "promotion.host: unknown key",
        ] {
            assert!(errors.contains(said), "{said} is not in\n{errors}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_without_the_secrets() {
        let text = "file_roots = [\"models\", \"/srv/models\"]\ns3_buckets = [\"models/prod\"]\n\
                    https_hosts = [\"Models.Example\", \"*.cdn.example\"]\nprivate_hosts = [\"::1\"]\n\
                    ca_file = \"ca.pem\"\nmlflow_uri = \"https://mlflow.example\"";
        let config = parse(text, &[]).unwrap();
        assert_eq!(
            config.promotion.file_roots,
            [Path::new("/etc/models"), Path::new("/srv/models")]
        );
        assert_eq!(
            config.promotion.https_hosts,
            ["models.example", "*.cdn.example"]
        );
        let dump = config.to_toml_redacted();
        let nothing = Environment::of([]);
        let again = Config::parse(Path::new("/x/f.toml"), &dump, &nothing).unwrap();
        assert_eq!(config.promotion, again.promotion, "{dump}");

        let text =
            format!("{text}\nmlflow_username = \"worker\"\nmlflow_password = {{ env = \"PW\" }}");
        let variables = [("PW", "canary"), ("AWS_SECRET_ACCESS_KEY", "canary")];
        let secretive = parse(&text, &variables).unwrap();
        let shown = format!("{secretive:?} {}", secretive.to_toml_redacted());
        assert!(
            shown.contains("worker") && !shown.contains("canary"),
            "{shown}"
        );
    }

    #[test]
    fn credentials_need_tls_and_a_server() {
        let with = |url: &str, rest: &str| {
            parse(
                &format!("mlflow_uri = \"{url}\"\nmlflow_token = \"t\"\n{rest}"),
                &[],
            )
        };
        let refused = with("http://mlflow", "").unwrap_err();
        assert!(refused.contains("without TLS"), "{refused}");
        assert!(with("http://mlflow", "allow_insecure = true").is_ok());
        assert!(with("https://mlflow", "").is_ok());
        let both = with("https://mlflow", "mlflow_username = \"a\"").unwrap_err();
        assert!(
            both.contains("goes without promotion.mlflow_username"),
            "{both}"
        );
    }
}
