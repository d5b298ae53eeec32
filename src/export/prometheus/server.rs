//! The HTTP server: `/metrics` and `/-/healthy`.
//!
//! A scrape triggers one collection and waits for it no longer than the scraper's timeout. The number of connections is
//! limited. Connections without requests are closed, after a while or as soon as another scraper needs the place, and so are
//! those whose client does not read the response.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use super::CONTENT_TYPE as TEXT;
use super::sending::Sending;

/// Maximum number of connections.
const CONNECTIONS: u32 = 64;
/// Close a connection that is idle for this long, between or within requests. Longer than common scrape intervals.
const SILENCE: Duration = Duration::from_secs(120);
/// Maximum size of request headers.
const HEAD_BYTES: usize = 16 * 1024;
/// Timeout for a scraper that does not send one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Part of the scraper's timeout that is reserved for sending the response.
const WAY_BACK: Duration = Duration::from_millis(500);
/// Close a connection if the client has not taken a whole response after this long.
const SENDING: Duration = Duration::from_secs(30);
/// Time limit for responses in progress at shutdown.
const STOP: Duration = Duration::from_secs(1);
const TIMEOUT_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// Requests a collection; its text is sent to the channel. Dropping the channel means that there is no collection.
pub type Ask = Box<dyn Fn(oneshot::Sender<Bytes>) + Send + Sync>;

/// The running server.
#[derive(Debug)]
pub struct Server {
    free: Arc<Semaphore>,
}

struct Endpoint {
    ask: Ask,
    stopped: watch::Receiver<bool>,
    /// Notified when a connection needs a place and all are taken. The longest idle connection waits in front.
    crowded: Notify,
}

/// Serves requests on `listeners` until the runtime ends. Once `stopped` is true, every response is 503.
///
/// # Errors
/// A listener cannot be registered with the runtime.
pub fn serve(
    listeners: Vec<StdListener>,
    ask: Ask,
    stopped: watch::Receiver<bool>,
    runtime: &Handle,
) -> io::Result<Server> {
    let _inside = runtime.enter();
    let endpoint = Arc::new(Endpoint { ask, stopped, crowded: Notify::new() });
    let free = Arc::new(Semaphore::new(CONNECTIONS as usize));
    for listener in listeners {
        let listener = TcpListener::from_std(listener)?;
        runtime.spawn(accept(listener, Arc::clone(&endpoint), Arc::clone(&free)));
    }
    Ok(Server { free })
}

impl Server {
    /// Waits for responses in progress, for a limited time.
    pub fn finish(&self, runtime: &Handle) {
        let idle = self.free.acquire_many(CONNECTIONS);
        // Whether the time limit was reached does not matter: the server ends now.
        let _ = runtime.block_on(async { tokio::time::timeout(STOP, idle).await.is_ok() });
    }
}

async fn accept(listener: TcpListener, endpoint: Arc<Endpoint>, free: Arc<Semaphore>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Probably too many open files: pending connections are accepted later.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if free.available_permits() == 0 {
            endpoint.crowded.notify_one();
        }
        let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
        let endpoint = Arc::clone(&endpoint);
        tokio::spawn(async move {
            connection(stream, endpoint).await;
            drop(place);
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, endpoint: Arc<Endpoint>) {
    let mut stopped = endpoint.stopped.clone();
    let stopping = *stopped.borrow();
    // Beginnings and ends of requests: an odd number means that a request is being answered, 0 that none has arrived.
    let steps = Arc::new(AtomicUsize::new(0));
    let service = service_fn(|request| {
        let (endpoint, steps) = (Arc::clone(&endpoint), Arc::clone(&steps));
        async move {
            steps.fetch_add(1, Ordering::Relaxed);
            let answer = endpoint.answer(&request).await;
            steps.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(SILENCE)
            .max_buf_size(HEAD_BYTES)
            .keep_alive(!stopping)
            .serve_connection(TokioIo::new(Sending::new(stream, SENDING)), service)
    );
    if !stopping {
        // Waits for another scraper that needs the place, from the end of the last response on.
        let (mut crowded, mut seen) = (pin!(None), 0);
        let ended = poll_fn(|context| {
            // The service runs in here.
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            let now = steps.load(Ordering::Relaxed);
            if std::mem::replace(&mut seen, now) != now || crowded.is_none() {
                crowded.set(Some(endpoint.crowded.notified()));
            }
            match crowded.as_mut().as_pin_mut().filter(|_| now.is_multiple_of(2)) {
                Some(crowded) => crowded.poll(context).map(|()| now == 0),
                None => Poll::Pending,
            }
        });
        tokio::select! {
            // A connection without a request is closed at once. Otherwise the last response may still be on its way.
            ended = ended => if ended { return },
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        connection.as_mut().graceful_shutdown();
    }
    // Client errors are not logged, because anyone may connect.
    let _ = connection.await;
}

impl Endpoint {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if *self.stopped.borrow() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n");
        }
        if !matches!(request.uri().path(), "/metrics" | "/-/healthy") {
            return plain(StatusCode::NOT_FOUND, "not found; metrics are at /metrics\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "allowed: GET, HEAD\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        if request.uri().path() == "/-/healthy" {
            return plain(StatusCode::OK, "OK\n");
        }
        let (sender, text) = oneshot::channel();
        (self.ask)(sender);
        match tokio::time::timeout(patience(request.headers()), text).await {
            Ok(Ok(text)) => metrics(text, takes_gzip(request.headers())),
            Ok(Err(_)) => plain(StatusCode::SERVICE_UNAVAILABLE, "no metrics: the agent is stopping or failed\n"),
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the collection takes longer than the scrape's timeout\n"),
        }
    }
}

/// The timeout of this scraper.
fn patience(headers: &HeaderMap) -> Duration {
    let given = headers.get(TIMEOUT_HEADER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let timeout = given
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|timeout| !timeout.is_zero())
        .unwrap_or(PATIENCE);
    timeout - (timeout / 10).min(WAY_BACK)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    encodings.flat_map(|value| value.split(',')).any(|encoding| {
        let (name, parameter) = encoding.split_once(';').unwrap_or((encoding, ""));
        let weight = parameter.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f64>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
    })
}

fn metrics(text: Bytes, gzip: bool) -> Response<Full<Bytes>> {
    let packed = if gzip { pack(&text).ok() } else { None };
    let is_packed = packed.is_some();
    let mut response = Response::new(Full::new(packed.map_or(text, Bytes::from)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn pack(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
