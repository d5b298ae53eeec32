//! http/protobuf: one hyper client for the live exporter and for the outbox.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use prost::Message;

use super::ExportError;
use super::headers::USER_AGENT;
use super::proxy::ProxyConnector;
use super::sender::Accepted;
use super::tls::{self, TlsMaterial};
use super::verdict::Failure;
use super::watched::{LastTlsError, Watched};
use crate::export::config::OtlpConfig;

/// Longest wait for a TCP connection to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// POSTs encoded batches to one URL with one set of headers.
pub struct HttpSender {
    client: HyperClient<Watched<ProxyConnector>>,
    target: Uri,
    headers: HeaderMap,
    gzip: bool,
}

impl fmt::Debug for HttpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpSender({})", self.target)
    }
}

impl HttpSender {
    /// Builds the client; it connects when it is first used.
    ///
    /// # Errors
    /// An endpoint that is not an HTTP URL, a proxy or certificates that cannot be used.
    pub fn build(
        config: &OtlpConfig,
        tls: &TlsMaterial,
        mut headers: HeaderMap,
        last_tls_error: LastTlsError,
    ) -> Result<Self, ExportError> {
        let shown = &config.endpoint;
        let target: Option<Uri> = shown.parse().ok();
        let scheme = target.as_ref().and_then(|uri| uri.scheme_str());
        let secure = scheme == Some("https");
        let (Some(target), true) = (&target, secure || scheme == Some("http")) else {
            return Err(ExportError::new(format!(
                "--endpoint {shown}: http/protobuf needs http://host:port/path or https://host:port/path \
                 (unix: sockets need --protocol grpc)"
            )));
        };
        let target = target.clone();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.timeout.min(CONNECT_TIMEOUT)));
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        let proxy = ProxyConnector::from_env(tcp, &target)?;
        if let Some(authorization) = proxy.request_authorization(&target) {
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        let agent = match headers.get(header::USER_AGENT) {
            None => HeaderValue::from_static(USER_AGENT),
            Some(own) => own.clone(),
        };
        headers.insert(header::USER_AGENT, agent);
        headers.insert(header::CONTENT_TYPE, PROTOBUF);
        if config.gzip {
            headers.insert(header::CONTENT_ENCODING, GZIP);
        }
        let tls = if secure { tls.client_config()? } else { tls::unused()? };
        let connector = HttpsConnector::from((proxy, tls));
        let connector = Watched::new(connector, false, last_tls_error);
        Ok(Self { client: HyperClient::new(connector, config.timeout, None), target, headers, gzip: config.gzip })
    }

    /// Sends one encoded request, compressing it if that was asked for.
    ///
    /// # Errors
    /// What the network or the server answered, with what to do about it.
    pub async fn send(&self, body: Bytes) -> Result<Accepted, Failure> {
        let body = if self.gzip { gzip(&body).map_err(|e| Failure::local(&e))? } else { body };
        let response = self.post(body).await.map_err(|e| Failure::local(&*e))?;
        if response.status().is_success() {
            Ok(Accepted::from_protobuf(response.body().clone()))
        } else {
            Err(Failure::from_http(&response, SystemTime::now()))
        }
    }

    /// Sends a body that is compressed already where the configuration asks for it.
    async fn post(&self, body: Bytes) -> Result<Response<Bytes>, HttpError> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        self.client.send_bytes(request).await
    }
}

/// The client as the library sees it: of the library's request only the body counts, so that no variable can add a
/// header.
#[derive(Debug)]
pub struct LibraryClient(pub Arc<HttpSender>);

#[async_trait::async_trait]
impl HttpClient for LibraryClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.0.post(request.into_body()).await
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::default());
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}

/// The message of an OTLP/HTTP error body: a `google.rpc.Status` in protobuf, or text.
pub(crate) fn error_message(response: &Response<Bytes>) -> String {
    let protobuf = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF);
    if protobuf {
        return tonic_types::Status::decode(response.body().clone()).map(|status| status.message).unwrap_or_default();
    }
    String::from_utf8_lossy(response.body()).into_owned()
}
