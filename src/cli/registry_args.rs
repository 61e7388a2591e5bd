//! Which Schema Registry a command is told to use.

use std::time::Duration;

use super::output;
use crate::app::registry_settings;
use crate::config::Registry;
use crate::registry::{Auth, RegistrySettings, Tls, Trouble};

/// Which registry.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct RegistryArgs {
    /// Schema Registry, for values in Confluent framing; credentials and TLS come from --config
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
}

/// A password would be sent in the clear.
#[derive(Debug, thiserror::Error)]
#[error(
    "--registry {url} would send the credentials of the configuration without TLS: say https://, or set registry.allow_insecure = true"
)]
pub(super) struct Insecure {
    url: String,
}

/// Without a configuration, the defaults of one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_mins(1);

impl RegistryArgs {
    /// The registry of the command line, else that of the configuration.
    ///
    /// # Errors
    /// When credentials would be sent without TLS.
    pub(super) fn settings(
        &self,
        configured: Option<&Registry>,
    ) -> Result<Option<RegistrySettings>, Insecure> {
        let settings = configured.map(registry_settings);
        let Some(url) = &self.registry else {
            return Ok(settings.filter(|settings| !settings.urls.is_empty()));
        };
        let allowed = configured.is_none_or(|registry| registry.allow_insecure);
        let mut settings = settings.unwrap_or_else(|| RegistrySettings {
            urls: Vec::new(),
            auth: Auth::Nobody,
            tls: Tls::default(),
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            unknown_schema_grace: GRACE,
        });
        let secret = !matches!(settings.auth, Auth::Nobody);
        if secret && !allowed && !url.starts_with("https://") {
            return Err(Insecure { url: url.clone() });
        }
        settings.urls = vec![url.clone()];
        Ok(Some(settings))
    }

    /// True when a registry is named on the command line.
    pub(super) fn is_given(&self) -> bool {
        self.registry.is_some()
    }
}

/// Attempts of a command before it gives up.
const ATTEMPTS: u32 = 5;

/// Says why the registry is asked again, a few times.
pub(super) fn patience() -> impl FnMut(&Trouble) -> bool {
    let mut left = ATTEMPTS;
    move |trouble| {
        left -= 1;
        if left > 0 {
            output::remark(format_args!("{trouble}; asking again"));
        }
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Environment};

    #[test]
    fn the_command_line_goes_before_the_configuration_and_keeps_its_credentials_safe() {
        let text = r#"
            kafka.brokers = ["a:1"]
            input.schema_folder = "."
            model.initial = "m.onnx"
            window = { step = "1m", length = 2, features = ["x"] }
            registry = { urls = ["https://a"], username = "u", password = "p" }
        "#;
        let config = Config::parse(Path::new("f.toml"), text, &Environment::of([])).unwrap();
        let registry = Some(&config.registry);
        let say = |url: &str| RegistryArgs {
            registry: Some(url.to_owned()),
        };
        let urls = |settings: Option<RegistrySettings>| settings.map(|settings| settings.urls);
        let none = RegistryArgs::default();
        assert_eq!(urls(none.settings(None).unwrap()), None);
        assert_eq!(
            urls(none.settings(registry).unwrap()),
            Some(vec!["https://a".to_owned()])
        );
        let other = say("https://b").settings(registry).unwrap().unwrap();
        assert_eq!(other.urls, ["https://b"]);
        assert!(matches!(other.auth, Auth::Basic { .. }));
        assert!(say("http://b").settings(registry).is_err());
        let plain = say("http://b").settings(None).unwrap().unwrap();
        assert!(matches!(plain.auth, Auth::Nobody));
    }
}
