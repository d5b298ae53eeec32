//! OTLP as binary protobuf over HTTP/1.1.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::body::{self, Pieces};
use super::config::OtlpConfig;
use super::connector::{Connector, LastTlsError};
use super::headers::USER_AGENT;
use super::proxy::ProxyConnector;
use super::tls::{self, Tls};
use super::verdict::{Accepted, Failure, Page};
use super::{ExportError, tcp};

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// HTTP client that POSTs encoded batches to one URL with one set of headers.
pub struct HttpWire {
    client: Client<Connector<ProxyConnector>, Pieces>,
    target: Uri,
    headers: HeaderMap,
    gzip: bool,
}

impl fmt::Debug for HttpWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may contain a token.
        f.write_str("HttpWire")
    }
}

impl HttpWire {
    /// Builds the client, which connects on first use.
    ///
    /// # Errors
    /// The endpoint is not an HTTP URL, or the proxy cannot be used.
    pub fn build(config: &OtlpConfig, tls: &Tls, headers: HeaderMap, last: LastTlsError) -> Result<Self, ExportError> {
        let shown = config.shown_endpoint();
        super::refuse_fragment(config)?;
        let target: Option<Uri> = config.endpoint.parse().ok();
        let scheme = target.as_ref().and_then(|uri| uri.scheme_str());
        let secure = scheme == Some("https");
        let (Some(target), true) = (&target, secure || scheme == Some("http")) else {
            return Err(ExportError::new(format!(
                "--endpoint {shown}: http/protobuf needs http://host:port/path or https://host:port/path \
                 (unix: sockets need --protocol grpc)"
            )));
        };
        let (target, mut headers) = (target.clone(), headers);
        let tcp = tcp::connector(config.timeout.min(tcp::CONNECT_TIMEOUT));
        let proxy = ProxyConnector::new(tcp, &config.proxies, &target)?;
        let full_url = proxy.needs_full_url(&target);
        if let Some(authorization) = proxy.request_authorization().filter(|_| full_url) {
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        headers.insert(header::CONTENT_TYPE, PROTOBUF);
        if config.gzip {
            headers.insert(header::CONTENT_ENCODING, GZIP);
        }
        let tls = if secure { tls.client_config(&[]) } else { tls::unused()?.into() };
        let inner = HttpsConnector::from((proxy, tls));
        let connector = Connector { inner, force_tls: false, full_url, last };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, target, headers, gzip: config.gzip })
    }

    /// Sends several encoded requests as one.
    ///
    /// # Errors
    /// The error of the network or the server, with its verdict.
    pub async fn send(&self, pieces: Vec<Bytes>) -> Result<Accepted, Failure> {
        let pieces = if self.gzip { vec![body::gzip(&pieces).map_err(|e| Failure::local(&e))?] } else { pieces };
        let mut request = Request::new(Pieces::new(pieces));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        let (head, answer) = self.client.request(request).await.map_err(|e| Failure::local(&e))?.into_parts();
        // The status decides; a truncated body does not change the result.
        let text = body::read(answer, Page::MAX_BYTES).await.map(|(text, _)| text).unwrap_or_default();
        Page { status: head.status, headers: &head.headers, body: text }.over_http(SystemTime::now())
    }
}
