//! Serves a router within bounds: on bytes, on time and on connections.
//!
//! Whatever a client does or leaves undone, it holds one of [`CONNECTIONS_MAX`] places for at most
//! [`CONNECTION_AGE_MAX`] and a request more.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::problem::problem;

/// A client that has not sent its request line and headers by then is cut off. An idle keep-alive
/// connection counts as such.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(20);
/// From the end of the headers to the whole answer being ready.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Request line and headers together.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Nothing on the admin listener takes a body; clients send small ones all the same.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Probes and scrapers are few. Further clients wait in the system's backlog.
const CONNECTIONS_MAX: usize = 64;
/// After this a connection is closed when it has no request under way.
const CONNECTION_AGE_MAX: Duration = Duration::from_mins(5);
/// How long to wait when the system has no file descriptor left for a connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A bound address, not served yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: set admin.listen to an address of this machine with a free port"
)]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

impl Server {
    /// # Errors
    /// When the address is taken or not of this machine.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address: bound,
        })
    }

    /// The address with the port that the system chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `drain`, then lets requests under way finish.
    ///
    /// # Errors
    /// None: an error of a connection ends that connection.
    pub async fn serve(self, router: Router, drain: CancellationToken) -> Result<(), Infallible> {
        let router = router.layer(from_fn(bounded));
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let stream = tokio::select! {
                biased;
                () = drain.cancelled() => break,
                stream = self.next(&places) => stream,
            };
            let (router, drain) = (router.clone(), drain.clone());
            connections.spawn(async move {
                let (stream, place) = stream;
                answer(stream, router, drain).await;
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
        Ok(())
    }

    /// The next connection, once there is a place for it.
    async fn next(&self, places: &Arc<Semaphore>) -> (TcpStream, impl Send + use<>) {
        let place = Arc::clone(places).acquire_owned().await;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, place),
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, router: Router, drain: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = drain.cancelled() => None,
        () = sleep(CONNECTION_AGE_MAX) => None,
    };
    let ended = if let Some(ended) = ended {
        Ok(ended)
    } else {
        connection.as_mut().graceful_shutdown();
        timeout(REQUEST_TIMEOUT, connection).await
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "connection ended"),
        Err(_elapsed) => debug!("connection cut off: its client reads too slowly"),
    }
}

/// Bounds one request: its body in bytes, and all of it in time.
async fn bounded(request: Request, next: Next) -> Response {
    let answered = timeout(REQUEST_TIMEOUT, async {
        let (head, body) = request.into_parts();
        match to_bytes(body, BODY_BYTES_MAX).await {
            Ok(body) => next.run(Request::from_parts(head, Body::from(body))).await,
            Err(_too_long_or_broken_off) => problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body must have at most 16384 bytes",
            ),
        }
    });
    answered.await.unwrap_or_else(|_elapsed| {
        problem(
            StatusCode::REQUEST_TIMEOUT,
            "the request took more than 10 s",
        )
    })
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    struct Running {
        address: SocketAddr,
        drain: CancellationToken,
        tasks: JoinSet<Result<(), Infallible>>,
    }

    async fn running() -> Running {
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/echo", post(|body: String| async { body }))
            .route("/never", get(std::future::pending::<&'static str>));
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, drain) = (server.address(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(server.serve(router, drain.clone()));
        Running {
            address,
            drain,
            tasks,
        }
    }

    impl Running {
        async fn client(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }
    }

    /// Sends `text` and reads until the other side closes.
    async fn conversation(mut client: TcpStream, text: &str) -> String {
        // The server may refuse and close before it has read all of it.
        drop(client.write_all(text.as_bytes()).await);
        let mut answer = Vec::new();
        drop(client.read_to_end(&mut answer).await);
        String::from_utf8(answer).unwrap()
    }

    /// A request on a connection that stays open, and the answer to it.
    async fn hello(client: &mut TcpStream) -> String {
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut answer = vec![0; 4096];
        let bytes = client.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..bytes]).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_ends_its_headers_is_cut_off() {
        let running = running().await;
        let began = Instant::now();
        let answer = conversation(running.client().await, "GET / HTTP/1.1\r\nx: ").await;
        assert!(began.elapsed() >= HEADER_READ_TIMEOUT);
        assert!(!answer.contains("200"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let running = running().await;
        let began = Instant::now();
        let request = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc";
        let answer = conversation(running.client().await, request).await;
        assert!(began.elapsed() >= REQUEST_TIMEOUT);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_not_waited_for() {
        let running = running().await;
        let request = "GET /never HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answer = conversation(running.client().await, request).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_refused_with_and_without_its_length() {
        let running = running().await;
        let body = "x".repeat(BODY_BYTES_MAX + 1);
        let head = "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
        let sized = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let chunked = format!(
            "{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        for request in [sized, chunked] {
            let answer = conversation(running.client().await, &request).await;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
            assert!(answer.contains("at most 16384 bytes"), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_body_within_the_limit_arrives() {
        let running = running().await;
        let body = "x".repeat(BODY_BYTES_MAX);
        let request = format!(
            "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = conversation(running.client().await, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&body));
    }

    #[tokio::test]
    async fn headers_that_are_too_long_are_refused() {
        let running = running().await;
        let request = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(2 * HEADER_BYTES_MAX));
        let answer = conversation(running.client().await, &request).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[tokio::test]
    async fn one_client_too_many_waits_for_a_place() {
        let running = running().await;
        let mut seated = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut client = running.client().await;
            assert!(hello(&mut client).await.starts_with("HTTP/1.1 200 "));
            seated.push(client);
        }
        let mut waiting = running.client().await;
        let patience = Duration::from_millis(200);
        assert!(timeout(patience, hello(&mut waiting)).await.is_err());
        drop(seated.pop());
        let mut answer = vec![0; 15];
        waiting.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK");
    }

    #[tokio::test]
    async fn draining_closes_idle_connections_and_ends() {
        let mut running = running().await;
        let mut client = running.client().await;
        assert!(hello(&mut client).await.starts_with("HTTP/1.1 200 "));
        running.drain.cancel();
        running.tasks.join_next().await.unwrap().unwrap().unwrap();
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).await.unwrap(), 0);
        assert!(TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_a_plain_sentence() {
        let running = running().await;
        let error = Server::bind(running.address).await.unwrap_err();
        assert!(error.to_string().contains("set admin.listen"), "{error}");
    }
}
