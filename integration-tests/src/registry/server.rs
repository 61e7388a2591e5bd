//! HTTP, with or without TLS, on a thread of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::{fs, future};

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State as Extract};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};
use tokio_rustls::server::TlsStream;

use super::store::Registered;
use super::{Mood, Shared};
use crate::scratch;

/// A certificate for `localhost` that is its own authority, and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub file: PathBuf,
    pub key: PathBuf,
}

/// What a server that speaks TLS shows, and what it wants to be shown.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) shows: Certificate,
    pub(super) wants: Option<Certificate>,
}

/// Makes a certificate that nobody knows.
pub fn certificate() -> Result<Certificate> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let folder = scratch::folder("certificate")?;
    let certificate = Certificate {
        file: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
    };
    fs::write(&certificate.file, made.cert.pem())?;
    fs::write(&certificate.key, made.signing_key.serialize_pem())?;
    Ok(certificate)
}

/// The thread; dropped, its port and its connections are closed.
#[derive(Debug)]
pub(super) struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) fn start(
        listener: TcpListener,
        shared: Arc<Shared>,
        tls: Option<&Tls>,
    ) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let tls = tls.map(acceptor).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("test-registry".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listener, shared, tls) => {}
                        _stopped = stopped => {}
                    }
                });
                // Connections are tasks of this runtime and end with it.
                drop(runtime);
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
    let key = PrivateKeyDer::from_pem_file(&tls.shows.key).map_err(|error| no_pem(&error))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &tls.wants {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let mut known = RootCertStore::empty();
            for certificate in certificates(client)? {
                known.add(certificate)?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(known), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(certificates(&tls.shows)?, key)
        .context("the certificate")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(certificate: &Certificate) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(&certificate.file).map_err(|error| no_pem(&error))?;
    found
        .collect::<Result<_, _>>()
        .map_err(|error| no_pem(&error))
}

fn no_pem(error: &pem::Error) -> anyhow::Error {
    anyhow!("no PEM: {error}")
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let routes = routes(shared);
    let _ended = match tls {
        None => axum::serve(listener, routes).await,
        Some(acceptor) => axum::serve(Handshakes { listener, acceptor }, routes).await,
    };
}

/// Connections that have shaken hands.
struct Handshakes {
    listener: tokio::net::TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Handshakes {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, address)) = self.listener.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/schemas/ids/{id}", get(by_id))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/subjects/{subject}/versions", post(register))
        .route("/subjects/{subject}", post(look_up))
        .route(
            "/compatibility/subjects/{subject}/versions/{version}",
            post(compatibility),
        )
        .fallback(async || failed(404, 404, "HTTP 404 Not Found"))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), mood))
        .with_state(shared)
}

/// What stands between the request and the registry.
async fn mood(Extract(shared): Extract<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (mood, refused) = {
        let mut state = shared.lock();
        let line = format!("{} {}", request.method(), request.uri());
        state.requests.push(line);
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.and_then(|given| given.to_str().ok());
        let refused = state
            .credentials
            .as_deref()
            .is_some_and(|it| given != Some(it));
        (state.mood.clone(), refused)
    };
    match mood {
        Mood::Well if refused => failed(401, 401, "Unauthorized"),
        Mood::Well => next.run(request).await,
        Mood::Says {
            status,
            content_type,
            body,
        } => answer(status, content_type, body),
        Mood::Redirects(to) => {
            let moved = [(header::LOCATION, to)];
            (StatusCode::TEMPORARY_REDIRECT, moved).into_response()
        }
        Mood::Silent => future::pending().await,
    }
}

async fn by_id(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<String>) -> Response {
    // Numbers that are none have no route in Confluent's registry.
    let Ok(id) = id.parse::<i32>().map(i32::cast_unsigned) else {
        return answer(404, "text/html", "<html>Not Found</html>".to_owned());
    };
    match shared.lock().store.schema(id) {
        Some(schema) => given(&schema.to_json()),
        None => failed(404, 40_403, "Schema not found"),
    }
}

async fn version(
    Extract(shared): Extract<Arc<Shared>>,
    Path((subject, version)): Path<(String, String)>,
) -> Response {
    let number = version.parse().ok();
    let state = shared.lock();
    if !state.store.has(&subject) {
        return failed(404, 40_401, "Subject not found.");
    }
    match state.store.version(&subject, number) {
        Some(json) => given(&json),
        None => failed(404, 40_402, "Version not found."),
    }
}

async fn register(
    Extract(shared): Extract<Arc<Shared>>,
    Path(subject): Path<String>,
    body: Bytes,
) -> Response {
    let registered: Registered = match serde_json::from_slice(&body) {
        Ok(registered) => registered,
        Err(error) => return failed(422, 42_201, &format!("Invalid schema: {error}")),
    };
    match shared.lock().store.register(&subject, registered) {
        Ok(id) => given(&json!({ "id": id })),
        Err(error) => failed(409, 409, &error.to_string()),
    }
}

async fn look_up(
    Extract(shared): Extract<Arc<Shared>>,
    Path(subject): Path<String>,
    body: Bytes,
) -> Response {
    let registered: Registered = match serde_json::from_slice(&body) {
        Ok(registered) => registered,
        Err(error) => return failed(422, 42_201, &format!("Invalid schema: {error}")),
    };
    let state = shared.lock();
    if !state.store.has(&subject) {
        return failed(404, 40_401, "Subject not found.");
    }
    match state.store.look_up(&subject, &registered) {
        Some(json) => given(&json),
        None => failed(404, 40_403, "Schema not found"),
    }
}

/// As with `verbose=true`; the version is always the newest.
async fn compatibility(
    Extract(shared): Extract<Arc<Shared>>,
    Path((subject, _latest)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let registered: Registered = match serde_json::from_slice(&body) {
        Ok(registered) => registered,
        Err(error) => return failed(422, 42_201, &format!("Invalid schema: {error}")),
    };
    let state = shared.lock();
    if !state.store.has(&subject) {
        return failed(404, 40_401, "Subject not found.");
    }
    let refusal = state.store.refusal(&subject, &registered);
    let messages: Vec<String> = refusal.into_iter().collect();
    given(&json!({ "is_compatible": messages.is_empty(), "messages": messages }))
}

const JSON: &str = "application/vnd.schemaregistry.v1+json";

fn given(json: &Value) -> Response {
    answer(200, JSON, json.to_string())
}

fn failed(status: u16, code: u32, message: &str) -> Response {
    let body = json!({ "error_code": code, "message": message });
    answer(status, JSON, body.to_string())
}

fn answer(status: u16, content_type: &str, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    let headers = [(header::CONTENT_TYPE, content_type.to_owned())];
    (status, headers, body).into_response()
}
