//! A web server that does what a test says, and worse: redirects, stalls, lies about its length, never ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

use crate::kafka::bind;
use crate::registry::Certificate;

/// What a path is answered with.
#[derive(Clone, Debug)]
pub enum Page {
    /// This status and these bytes, with their length.
    Says(u16, Vec<u8>),
    /// A redirect.
    Moved(String),
    /// These bytes, and another length before them.
    Lies { says: usize, bytes: Vec<u8> },
    /// Small chunks for ever.
    Endless,
    /// The head and one byte, and nothing more.
    Stalls,
    /// Nothing at all.
    Silent,
}

/// A running server; dropped, it takes no more connections.
#[derive(Debug)]
pub struct Web {
    port: u16,
    scheme: &'static str,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Pages = dyn Fn(&str) -> Page + Send + Sync;

/// How long a connection is held that is answered with nothing, unless its client goes.
const HELD: Duration = Duration::from_mins(1);

impl Web {
    /// Serves `pages`, which are given the path, by HTTPS with this certificate or by HTTP.
    pub fn start(
        certificate: Option<&Certificate>,
        pages: impl Fn(&str) -> Page + Send + Sync + 'static,
    ) -> Result<Self> {
        let tls = certificate.map(config).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = bind()?;
        let port = listener.local_addr()?.port();
        let ended = Arc::new(AtomicBool::new(false));
        let is_ended = Arc::clone(&ended);
        let pages: Arc<Pages> = Arc::new(pages);
        let thread = thread::spawn(move || accept(&listener, tls.as_ref(), &pages, &is_ended));
        Ok(Self {
            port,
            scheme,
            ended,
            thread: Some(thread),
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a path that begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.port)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes it.
        let _it_looks = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn config(certificate: &Certificate) -> Result<Arc<ServerConfig>> {
    let no_pem = |error| anyhow!("no PEM: {error}");
    let key = PrivateKeyDer::from_pem_file(&certificate.key).map_err(no_pem)?;
    let shown = CertificateDer::from_pem_file(&certificate.file).map_err(no_pem)?;
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![shown], key)?;
    Ok(Arc::new(config))
}

fn accept(
    listener: &TcpListener,
    tls: Option<&Arc<ServerConfig>>,
    pages: &Arc<Pages>,
    ended: &AtomicBool,
) {
    for stream in listener.incoming().flatten() {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let (tls, pages) = (tls.cloned(), Arc::clone(pages));
        // Ends with its connection, which the client closes.
        thread::spawn(move || {
            let _client_is_gone = serve(stream, tls, &*pages);
        });
    }
}

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, pages: &Pages) -> Result<()> {
    stream.set_read_timeout(Some(HELD))?;
    match tls {
        None => answer(stream, pages),
        Some(config) => answer(
            StreamOwned::new(ServerConnection::new(config)?, stream),
            pages,
        ),
    }
}

fn answer(stream: impl Read + Write, pages: &Pages) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first)?;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let out = stream.get_mut();
    match pages(path) {
        Page::Says(status, bytes) => {
            write!(
                out,
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
                bytes.len()
            )?;
            out.write_all(&bytes)?;
        }
        Page::Moved(to) => write!(
            out,
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        )?,
        Page::Lies { says, bytes } => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {says}\r\n\r\n")?;
            out.write_all(&bytes)?;
        }
        Page::Endless => {
            write!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            loop {
                write!(out, "40\r\n{}\r\n", "x".repeat(0x40))?;
            }
        }
        Page::Stalls => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx")?;
            out.flush()?;
            wait_for_end(&mut stream)?;
            return Ok(());
        }
        Page::Silent => {
            wait_for_end(&mut stream)?;
            return Ok(());
        }
    }
    out.flush()?;
    Ok(())
}

/// Until the client closes.
fn wait_for_end(stream: &mut impl Read) -> Result<()> {
    let mut rest = [0; 64];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}
