//! Lists of hosts that a person wrote.

use std::net::IpAddr;

use reqwest::Url;

/// Names, `*.` before one for all below it, and IP addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<Host>);

#[derive(Clone, Debug)]
enum Host {
    Name(String),
    /// With its dot at the beginning.
    Below(String),
    /// An address has several forms.
    Address(IpAddr),
}

impl Hosts {
    pub(super) fn new(written: &[String]) -> Self {
        let host = |text: &String| match (text.strip_prefix('*'), text.parse()) {
            (Some(below), _) => Host::Below(below.to_ascii_lowercase()),
            (None, Ok(address)) => Host::Address(address),
            (None, Err(_)) => Host::Name(text.to_ascii_lowercase()),
        };
        Self(written.iter().map(host).collect())
    }

    /// `host` as [`of`] gives it.
    pub(super) fn has(&self, host: &str) -> bool {
        self.0.iter().any(|allowed| match allowed {
            Host::Name(name) => name == host,
            Host::Below(end) => host.len() > end.len() && host.ends_with(end),
            Host::Address(address) => host.parse() == Ok(*address),
        })
    }
}

/// The host of an address: a name in lower case, or an IP address in its one form, without brackets.
pub(super) fn of(url: &Url) -> &str {
    let host = url.host_str().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    bare.unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_exactly_those_or_below() {
        let written = [
            "models.example",
            "*.cdn.example",
            "::1",
            "10.0.0.7",
            "::ffff:10.0.0.8",
        ];
        let hosts = Hosts::new(&written.map(str::to_owned));
        for (url, listed) in [
            ("https://models.example/a", true),
            ("https://MODELS.example:8443/a", true),
            ("https://a.cdn.example/", true),
            ("https://a.b.cdn.example/", true),
            ("https://[::1]/", true),
            ("https://[0:0:0:0:0:0:0:1]/", true),
            ("https://[::ffff:10.0.0.8]/", true),
            ("https://[::ffff:a00:8]/", true),
            ("https://10.0.0.8/", false),
            ("https://10.0.0.7/", true),
            ("https://167772167/", true),
            ("https://cdn.example/", false),
            ("https://evilcdn.example/", false),
            ("https://models.example.evil/", false),
            ("https://amodels.example/", false),
            ("https://models.example./", false),
            ("https://[::2]/", false),
            ("https://10.0.0.70/", false),
        ] {
            let found = hosts.has(of(&url.parse().unwrap()));
            assert_eq!(found, listed, "{url}");
        }
    }
}
