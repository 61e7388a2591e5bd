//! `https://`, against a server that does everything that one may do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use foretell::models::{FetchSettings, Fetcher};
use integration_tests::registry::certificate;
use integration_tests::web::{Page, Web};

use super::{bytes_of_package, ensure_fetched, ensure_refused, settings};

fn private(ca_file: std::path::PathBuf) -> FetchSettings {
    FetchSettings {
        private_hosts: vec!["localhost".to_owned()],
        ca_file: Some(ca_file),
        ..settings()
    }
}

#[test]
fn a_package_comes_by_tls_from_a_known_authority_alone() -> Result<()> {
    let (known, other) = (certificate()?, certificate()?);
    let bytes = bytes_of_package()?;
    let web = Web::start(Some(&known), move |path| match path {
        "/a.onnx?signature=x" => Page::Says(200, bytes.clone()),
        _ => Page::Says(404, Vec::new()),
    })?;
    let uri = web.url("/a.onnx?signature=x");
    ensure_fetched(&private(known.file.clone()), &uri)?;
    ensure_refused(&private(other.file), &uri, (true, "gave no answer"))?;
    ensure_refused(&private(known.file), &web.url("/b"), (false, "404"))?;

    let missing = Fetcher::new(&private("no/such.pem".into()));
    let said = missing.err().map(|error| error.to_string());
    ensure!(said.is_some_and(|said| said.starts_with("promotion.ca_file: cannot read")));
    Ok(())
}

#[test]
fn a_name_that_leads_inside_is_not_connected_to() -> Result<()> {
    let certificate = certificate()?;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let web = Web::start(Some(&certificate), move |_path| {
        count.fetch_add(1, Ordering::Relaxed);
        Page::Says(200, Vec::new())
    })?;
    let listed = FetchSettings {
        https_hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        ca_file: Some(certificate.file),
        ..settings()
    };
    let loopback =
        "a loopback address: if packages may come from it, it has to be in promotion.private_hosts";
    ensure_refused(&listed, &web.url("/a"), (false, loopback))?;
    for (host, said) in [
        ("127.0.0.1", loopback),
        ("2130706433", loopback),
        ("[::ffff:127.0.0.1]", "promotion.https_hosts"),
    ] {
        let uri = format!("https://{host}:{}/a", web.port());
        ensure_refused(&listed, &uri, (false, said))?;
    }
    ensure_refused(
        &settings(),
        &web.url("/a"),
        (false, "promotion.https_hosts"),
    )?;
    ensure!(asked.load(Ordering::Relaxed) == 0);
    Ok(())
}

#[test]
fn without_tls_only_private_hosts_are_asked() -> Result<()> {
    let bytes = bytes_of_package()?;
    let web = Web::start(None, move |_path| Page::Says(200, bytes.clone()))?;
    let listed = FetchSettings {
        private_hosts: vec!["localhost".to_owned()],
        ..settings()
    };
    ensure_fetched(&listed, &web.url("/a.onnx"))?;
    let public = FetchSettings {
        https_hosts: vec!["localhost".to_owned()],
        ..settings()
    };
    ensure_refused(&public, &web.url("/a.onnx"), (false, "say https://"))
}

#[test]
fn every_redirect_is_looked_at_like_the_first_address() -> Result<()> {
    let certificate = certificate()?;
    let bytes = bytes_of_package()?;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let web = Web::start(Some(&certificate), move |path| {
        let moved = |to: &str| Page::Moved(to.to_owned());
        let hop: Option<usize> = path.strip_prefix("/hop/").and_then(|hop| hop.parse().ok());
        match (path, hop) {
            (_, Some(0)) => Page::Says(200, bytes.clone()),
            (_, Some(left)) => moved(&format!("{}", left - 1)),
            ("/metadata", _) => moved("https://169.254.169.254/latest/meta-data/"),
            ("/loopback", _) => moved("https://127.0.0.1:1/"),
            ("/plain", _) => moved("http://localhost:1/"),
            ("/file", _) => moved("file:///etc/passwd"),
            ("/credentials", _) => moved("https://user:canary@localhost/"),
            ("/nowhere", _) => Page::Moved(String::new()),
            _ => {
                count.fetch_add(1, Ordering::Relaxed);
                moved("/round")
            }
        }
    })?;
    let mut listed = private(certificate.file);
    listed.https_hosts.push("169.254.169.254".to_owned());
    ensure_fetched(&listed, &web.url("/hop/5"))?;
    for (path, said) in [
        ("/hop/6", "more than 5 times"),
        ("/round", "more than 5 times"),
        (
            "/metadata",
            "169.254.169.254 has the address 169.254.169.254, a link-local",
        ),
        ("/loopback", "127.0.0.1 is not in promotion.https_hosts"),
        ("/plain", "redirected from https:// to http://localhost:1/"),
        ("/file", "no address that may be asked"),
        ("/credentials", "redirected to https://localhost/"),
        ("/nowhere", "more than 5 times"),
    ] {
        ensure_refused(&listed, &web.url(path), (false, said))?;
    }
    ensure!(asked.load(Ordering::Relaxed) == 6);
    Ok(())
}

#[test]
fn bytes_and_time_are_bounded_whatever_a_server_says() -> Result<()> {
    let certificate = certificate()?;
    let web = Web::start(Some(&certificate), |path| match path {
        "/large" => Page::Says(200, vec![0; 2_000]),
        "/largest" => Page::Says(200, vec![7; 1_000]),
        "/claims" => Page::Lies {
            says: 1 << 40,
            bytes: Vec::new(),
        },
        "/short" => Page::Lies {
            says: 900,
            bytes: vec![0; 100],
        },
        "/endless" => Page::Endless,
        "/stalls" => Page::Stalls,
        "/silent" => Page::Silent,
        status => Page::Says(
            status.trim_start_matches('/').parse().unwrap_or(404),
            Vec::new(),
        ),
    })?;
    let small = FetchSettings {
        bytes_max: 1_000,
        ..private(certificate.file)
    };
    let bytes = super::fetch(&small, &web.url("/largest"))??;
    ensure!(bytes == [7; 1_000]);
    let large = "more than 1000 bytes (promotion.package_bytes_max)";
    for (path, passes, said) in [
        ("/large", false, large),
        ("/claims", false, large),
        ("/endless", false, large),
        ("/short", true, "its bytes broke off"),
        ("/500", true, "localhost answered 500"),
        ("/503", true, "localhost answered 503"),
        ("/429", true, "localhost answered 429"),
        ("/400", false, "localhost answered 400"),
        ("/204", false, "localhost answered 204"),
        ("/401", false, "localhost refused with 401"),
        ("/403", false, "localhost refused with 403"),
        ("/410", false, "is not there"),
    ] {
        ensure_refused(&small, &web.url(path), (passes, said))?;
    }
    let hasty = FetchSettings {
        timeout: Duration::from_secs(1),
        ..small
    };
    for path in ["/stalls", "/silent"] {
        let said = "not there within 1s (promotion.fetch_timeout)";
        ensure_refused(&hasty, &web.url(path), (true, said))?;
    }
    let gone = web.url("/a");
    drop(web);
    ensure_refused(&hasty, &gone, (true, "localhost gave no answer"))
}
