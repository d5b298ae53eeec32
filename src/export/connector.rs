//! A connector that records why TLS closed a connection.
//!
//! In TLS 1.3 the client finishes its handshake before the server verifies the client certificate. A rejection
//! therefore arrives on an established connection, and hyper and h2 only report "connection closed". The operator needs
//! the TLS alert, so it is recorded here.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tower_service::Service;

use super::reason;

/// Why a connection ended.
#[derive(Clone)]
pub struct Cause {
    pub words: Cow<'static, str>,
    /// Whether the size of the request is another possible cause.
    pub may_be_size: bool,
}

/// The last TLS error of a client's connections.
#[derive(Clone)]
pub struct LastTlsError {
    found: Arc<Mutex<Option<Cause>>>,
    /// If the server closes the connection before sending anything.
    hung_up: Cause,
}

/// An HTTP/2 server sends first. One that closes the connection before that expects another protocol or is not a
/// server.
const HUNG_UP_ON_GRPC: &str = "the server closed the connection before it spoke gRPC (https:// instead of http://, \
    --protocol http/protobuf, or a proxy without a server behind it?)";
const HUNG_UP_ON_HTTP: &str = "the server closed the connection without an answer (https:// instead of http://, --protocol \
    grpc, or a proxy without a server behind it?)";
/// A server that rejects a certificate and closes at once may reset the connection, so that the alert is lost.
const HUNG_UP_ON_CERTIFICATE: &str = "TLS: the server closed the connection right after the handshake: it probably \
    refused the client certificate";
const HUNG_UP_ON_NONE: &str = "TLS: the server closed the connection right after the handshake: it probably requires a \
    client certificate (--cert-file and --key-file)";
/// gRPC servers do so with clients that do not offer HTTP/2.
const HUNG_UP_ON_NONE_HTTP: &str = "TLS: the server closed the connection right after the handshake: it probably requires \
    a client certificate (--cert-file and --key-file), or gRPC (--protocol grpc)";

impl LastTlsError {
    /// For the connections of one client. `client_certificate` is `None` without TLS, otherwise whether a client
    /// certificate is sent. `grpc` is whether they use HTTP/2.
    pub fn new(client_certificate: Option<bool>, grpc: bool) -> Self {
        let words = match (client_certificate, grpc) {
            (Some(true), _) => HUNG_UP_ON_CERTIFICATE,
            (Some(false), true) => HUNG_UP_ON_NONE,
            (Some(false), false) => HUNG_UP_ON_NONE_HTTP,
            (None, true) => HUNG_UP_ON_GRPC,
            (None, false) => HUNG_UP_ON_HTTP,
        };
        // A server of HTTP/2 sends first, so that it has seen no request.
        Self { found: Arc::default(), hung_up: Cause { words: words.into(), may_be_size: !grpc } }
    }

    /// Takes the recorded error.
    pub fn take(&self) -> Option<Cause> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: &io::Error) {
        if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            let cause = Cause { words: reason::words(error).into(), may_be_size: false };
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
        }
    }

    fn note_hung_up(&self) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| self.hung_up.clone());
    }
}

/// Connects through `C`, uses TLS if the target requires it, and watches the stream.
#[derive(Clone)]
pub struct Connector<C> {
    pub(super) inner: HttpsConnector<C>,
    /// Use TLS although the scheme of the target is `http`: tonic accepts `https` targets only with its own TLS.
    pub(super) force_tls: bool,
    /// Requests need the full URL, because they are sent to a proxy.
    pub(super) full_url: bool,
    pub(super) last: LastTlsError,
}

impl<C> fmt::Debug for Connector<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl<C> Service<Uri> for Connector<C>
where
    HttpsConnector<C>: Service<Uri, Error = Box<dyn Error + Send + Sync>>,
    <HttpsConnector<C> as Service<Uri>>::Future: Send + 'static,
{
    type Response = RecordingStream<<HttpsConnector<C> as Service<Uri>>::Response>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        drop(self.last.take());
        let target = if self.force_tls { with_https(target) } else { target };
        let (connecting, full_url, last) = (self.inner.call(target), self.full_url, self.last.clone());
        Box::pin(async move { Ok(RecordingStream { io: connecting.await?, heard: false, full_url, last }) })
    }
}

fn with_https(target: Uri) -> Uri {
    let mut parts = target.clone().into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    Uri::from_parts(parts).unwrap_or(target)
}

/// A stream that records TLS errors.
pub struct RecordingStream<S> {
    io: S,
    /// Whether the server has sent anything. After that, a closed connection has no special meaning.
    heard: bool,
    full_url: bool,
    last: LastTlsError,
}

impl<S: Read + Unpin> RecordingStream<S> {
    /// Reads a pending alert after a failed write: a server that rejects a certificate sends the alert and closes, and
    /// the writer sees only the closed connection.
    fn alert_behind<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.last.note(error);
            let mut scratch = [0; 64];
            let mut buffer = ReadBuf::new(&mut scratch);
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_read(cx, buffer.unfilled()) {
                self.last.note(&error);
            }
            if !self.heard {
                self.last.note_hung_up();
            }
        }
        polled
    }
}

impl<S: Read + Unpin> Read for RecordingStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.heard {
            return Pin::new(&mut self.io).poll_read(cx, buf).map_err(|error| {
                self.last.note(&error);
                error
            });
        }
        // The cursor does not report how many bytes were read into it, so read the first bytes into a buffer.
        let mut first = [0; 256];
        let room = buf.remaining().min(first.len());
        let mut buffer = ReadBuf::new(first.get_mut(..room).unwrap_or_default());
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer.unfilled());
        match &polled {
            Poll::Ready(Ok(())) if room > 0 && buffer.filled().is_empty() => self.last.note_hung_up(),
            Poll::Ready(Ok(())) => {
                self.heard = true;
                buf.put_slice(buffer.filled());
            }
            Poll::Ready(Err(error)) => {
                self.last.note(error);
                self.last.note_hung_up();
            }
            Poll::Pending => {}
        }
        polled
    }
}

impl<S: Read + Write + Unpin> Write for RecordingStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.alert_behind(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.alert_behind(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.alert_behind(polled, cx)
    }
}

impl<T> Connection for RecordingStream<MaybeHttpsStream<T>>
where
    T: Read + Write + Connection + Unpin,
    MaybeHttpsStream<T>: Connection,
{
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.full_url)
    }
}
