//! OTLP over gRPC: a lazily connected tonic channel over TCP, TLS or a unix socket, and one unary call. The response is
//! read to its end, to distinguish a proxy's page, an error of the server and a success.

use std::future::poll_fn;
use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri, Version};
use hyper_rustls::HttpsConnector;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower_service::Service;

use super::body::{self, Pieces};
use super::config::OtlpConfig;
use super::connector::{Connector, LastTlsError};
use super::headers::USER_AGENT;
use super::proxy::ProxyConnector;
use super::tls::{self, Tls};
use super::verdict::{Accepted, Failure, Page};
use super::{ExportError, chain, tcp};

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const GRPC: &str = "application/grpc";
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// Limit for a response; an OTLP server's response is never larger.
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// Flag and length before each message.
const PREFIX_BYTES: usize = 5;

/// Client for one server with one set of headers.
pub struct GrpcWire {
    channel: Channel,
    headers: HeaderMap,
    gzip: bool,
}

impl GrpcWire {
    /// Builds the channel, which connects on first use. Must be called inside the runtime that will drive it.
    ///
    /// # Errors
    /// The endpoint is not a URL, or the proxy cannot be used.
    pub fn build(config: &OtlpConfig, tls: &Tls, headers: HeaderMap, last: LastTlsError) -> Result<Self, ExportError> {
        let channel = channel(config, tls, last)?;
        let mut headers = headers;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if config.gzip {
            headers.insert(GRPC_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(Self { channel, headers, gzip: config.gzip })
    }

    /// Sends several encoded requests as one.
    ///
    /// # Errors
    /// The error of the network or the server, with its verdict.
    pub async fn send(&self, pieces: Vec<Bytes>) -> Result<Accepted, Failure> {
        let request = self.request(pieces)?;
        let mut channel = self.channel.clone();
        poll_fn(|cx| channel.poll_ready(cx)).await.map_err(|e| Failure::local(&e))?;
        let (head, answer) = channel.call(request).await.map_err(|e| Failure::local(&e))?.into_parts();
        // A response without a message has its status in the headers.
        if let Some(status) = Status::from_header_map(&head.headers) {
            return judge(&status, Bytes::new());
        }
        let is_grpc = |kind: &HeaderValue| kind.as_bytes().starts_with(GRPC.as_bytes());
        if head.status != StatusCode::OK || !head.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc) {
            // The page is only logged, so an incomplete one is no error.
            let text = body::read(answer, Page::MAX_BYTES).await.map(|(text, _)| text).unwrap_or_default();
            let page = Page { status: head.status, headers: &head.headers, body: text };
            return Err(page.in_place_of_grpc(SystemTime::now()));
        }
        let (message, trailers) = body::read(answer, ANSWER_MAX_BYTES).await.map_err(|e| Failure::from_status(&e))?;
        match trailers.as_ref().and_then(Status::from_header_map) {
            Some(status) => judge(&status, message),
            None => Err(Failure::without_status()),
        }
    }

    fn request(&self, pieces: Vec<Bytes>) -> Result<Request<Body>, Failure> {
        let pieces = if self.gzip { vec![body::gzip(&pieces).map_err(|e| Failure::local(&e))?] } else { pieces };
        let size: usize = pieces.iter().map(Bytes::len).sum();
        let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
        prefix.put_u8(u8::from(self.gzip));
        prefix.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
        let body = Pieces::new(std::iter::once(prefix.freeze()).chain(pieces));
        let mut request = Request::new(Body::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(EXPORT);
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }
}

fn judge(status: &Status, mut message: Bytes) -> Result<Accepted, Failure> {
    if status.code() != Code::Ok {
        return Err(Failure::from_status(status));
    }
    // After a status OK, the server has taken the data even if the message cannot be decoded.
    message.advance(PREFIX_BYTES.min(message.len()));
    Ok(Accepted::from_protobuf(message))
}

fn channel(config: &OtlpConfig, tls: &Tls, last: LastTlsError) -> Result<Channel, ExportError> {
    let shown = config.shown_endpoint();
    super::refuse_fragment(config)?;
    let endpoint = Endpoint::from_shared(config.endpoint.clone())
        .map_err(|e| ExportError::new(format!("--endpoint {shown}: {}", chain(&e))))?;
    let unix = config.endpoint.starts_with("unix:");
    let scheme = endpoint.uri().scheme_str();
    if !unix && (!matches!(scheme, Some("http" | "https")) || endpoint.uri().host().is_none_or(str::is_empty)) {
        return Err(ExportError::new(format!(
            "--endpoint {shown}: not http://host:port, https://host:port or unix:/path"
        )));
    }
    let connect_timeout = config.timeout.min(tcp::CONNECT_TIMEOUT);
    let origin = endpoint.uri().clone();
    let secure = !unix && origin.scheme() == Some(&Scheme::HTTPS);
    let endpoint = if secure {
        // `Connector` does the TLS. tonic must see `http`, but the requests must carry `https`.
        let mut parts = origin.clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        let plain = Uri::from_parts(parts).map_err(|e| ExportError::new(format!("--endpoint {shown}: {e}")))?;
        Endpoint::from(plain).origin(origin.clone())
    } else {
        endpoint
    };
    let endpoint = endpoint
        .user_agent(USER_AGENT)
        .map_err(|e| ExportError::new(chain(&e)))?
        .connect_timeout(connect_timeout)
        // Closes a stream that the server leaves open after the request has ended.
        .timeout(config.timeout + Duration::from_secs(1));
    if unix {
        return Ok(endpoint.connect_lazy());
    }
    let proxy = ProxyConnector::new(tcp::connector(connect_timeout), &config.proxies, &origin)?.for_tunnels_only();
    let tls = if secure { tls.client_config(&[b"h2"]) } else { tls::unused()?.into() };
    let inner = HttpsConnector::from((proxy, tls));
    let connector = Connector { inner, force_tls: secure, full_url: false, last };
    Ok(endpoint.connect_with_connector_lazy(connector))
}
