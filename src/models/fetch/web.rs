//! `https://`: addresses of hosts that the configuration names, each redirect looked at like the first.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Url};
use tokio::net::lookup_host;

use super::address::not_public;
use super::error::Problem;
use super::hosts::{self, Hosts};
use super::{FetchSettings, http, uri};
use crate::http_client::{innermost, redacted};

const REDIRECTS_MAX: usize = 5;

/// Which hosts may be asked, and how.
#[derive(Clone, Debug)]
pub(super) struct Web {
    hosts: Hosts,
    private: Hosts,
    authorities: Option<Vec<Certificate>>,
}

impl Web {
    pub(super) fn new(settings: &FetchSettings, authorities: Option<Vec<Certificate>>) -> Self {
        Self {
            hosts: Hosts::new(&settings.https_hosts),
            private: Hosts::new(&settings.private_hosts),
            authorities,
        }
    }

    pub(super) async fn fetch(&self, mut url: Url, bytes_max: usize) -> Result<Vec<u8>, Problem> {
        for _hop in 0..=REDIRECTS_MAX {
            let is_private = self.check(&url)?;
            let client = http::client(&url, self.authorities.as_deref());
            let client = http::build(client.dns_resolver(Checked { is_private }))?;
            let response = client.get(url.clone()).send().await;
            let response = response.map_err(|error| failed(&error, &url))?;
            if let Some(to) = http::redirect(&response) {
                url = next(&url, &to)?;
                continue;
            }
            let status = response.status().as_u16();
            if status == 200 {
                return http::body(response, bytes_max).await;
            }
            return Err(Problem::of_status(status, hosts::of(&url), ""));
        }
        Err(Problem::Redirects {
            redirects_max: REDIRECTS_MAX,
        })
    }

    /// Whether an address may be asked, and if so whether its host may be anywhere.
    fn check(&self, url: &Url) -> Result<bool, Problem> {
        let host = hosts::of(url);
        let is_private = self.private.has(host);
        if is_private {
            return Ok(true);
        }
        if url.scheme() != "https" {
            return Err(Problem::Plain {
                host: host.to_owned(),
            });
        }
        if !self.hosts.has(host) {
            return Err(Problem::NotListed {
                what: host.to_owned(),
                key: "promotion.https_hosts",
            });
        }
        // Nobody is asked for the address of an address.
        match host.parse().ok().and_then(|address| refusal(host, address)) {
            Some(refused) => Err(refused.into()),
            None => Ok(false),
        }
    }
}

/// Where a redirect leads, still to be checked like every address.
fn next(from: &Url, to: &str) -> Result<Url, Problem> {
    let to = from
        .join(to)
        .map_err(|_no_url| Problem::BadRedirect { to: redacted(to) })?;
    let shown = redacted(to.as_str());
    let to = uri::web(to.as_str()).map_err(|_reason| Problem::BadRedirect { to: shown.clone() })?;
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(Problem::Downgrade { to: shown });
    }
    Ok(to)
}

fn failed(error: &reqwest::Error, url: &Url) -> Problem {
    let cause = innermost(error);
    if let Some(refused) = cause.downcast_ref::<NotPublic>() {
        return refused.clone().into();
    }
    Problem::Unreachable {
        error: format!("{} gave no answer: {cause}", hosts::of(url)),
    }
}

/// Looks a name up, once for each connection, which is made to what was found and checked here.
#[derive(Debug)]
struct Checked {
    is_private: bool,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let is_private = self.is_private;
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = lookup_host((host, 0)).await?.collect();
            let mut addresses = found.iter().map(SocketAddr::ip);
            // One that is not public is a trick, even among others that are.
            let refused = addresses.find_map(|address| refusal(host, address));
            if let Some(refused) = refused.filter(|_| !is_private) {
                return Err(refused.into());
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

/// An address that may not be connected to.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{host} has the address {address}, {kind}")]
struct NotPublic {
    host: String,
    address: IpAddr,
    kind: &'static str,
}

fn refusal(host: &str, address: IpAddr) -> Option<NotPublic> {
    not_public(address).map(|kind| NotPublic {
        host: host.to_owned(),
        address,
        kind,
    })
}

impl From<NotPublic> for Problem {
    fn from(refused: NotPublic) -> Self {
        Self::NotPublic {
            host: refused.host,
            address: refused.address.to_string(),
            kind: refused.kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Web {
        let list = |hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
            Hosts::new(&hosts)
        };
        Web {
            hosts: list(&[
                "models.example",
                "127.0.0.1",
                "169.254.169.254",
                "::ffff:127.0.0.1",
            ]),
            private: list(&["inside.example", "10.0.0.7"]),
            authorities: None,
        }
    }

    #[test]
    fn an_address_is_asked_only_where_the_lists_say_so() {
        for (url, is_private) in [
            ("https://models.example/a", false),
            ("https://inside.example/a", true),
            ("http://inside.example:8080/a", true),
            ("http://10.0.0.7/a", true),
            ("https://0x0a.0.0.7/a", true),
        ] {
            let found = web().check(&url.parse().unwrap());
            assert!(found.is_ok_and(|found| found == is_private), "{url}");
        }
        for (url, said) in [
            ("http://models.example/a", "say https://"),
            ("https://other.example/a", "promotion.https_hosts"),
            ("https://inside.example.evil/a", "promotion.https_hosts"),
            ("https://2130706433/a", "a loopback address"),
            ("https://0x7f.1/a", "a loopback address"),
            ("https://127.0.0.1/a", "a loopback address"),
            ("https://169.254.169.254/a", "a link-local address"),
            ("https://[::ffff:127.0.0.1]/a", "IPv4"),
            ("https://[::1]/a", "promotion.https_hosts"),
        ] {
            let refused = web().check(&url.parse().unwrap()).unwrap_err();
            assert!(refused.to_string().contains(said), "{url}: {refused}");
            assert!(!refused.is_passing(), "{url}");
        }
    }

    #[test]
    fn a_redirect_keeps_tls_and_has_no_credentials() {
        let from: Url = "https://models.example/a/b".parse().unwrap();
        let to = |to: &str| next(&from, to).map(String::from);
        assert_eq!(to("c?x=1").unwrap(), "https://models.example/a/c?x=1");
        assert_eq!(to("//other.example/c").unwrap(), "https://other.example/c");
        for (location, said) in [
            ("http://models.example/a", "has no TLS"),
            ("file:///etc/passwd", "no address that may be asked"),
            ("https://user:secret@models.example/", "no address"),
            ("", "redirected"),
        ] {
            match to(location) {
                Ok(same) => assert_eq!((location, &*same), ("", from.as_str())),
                Err(refused) => {
                    let refused = refused.to_string();
                    assert!(refused.contains(said), "{location}: {refused}");
                    assert!(!refused.contains("secret"), "{refused}");
                }
            }
        }
    }
}
