//! The gRPC connection: a lazy tonic channel over TCP, TLS or a unix socket.

use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tonic::transport::{Channel, Endpoint};

use super::headers::USER_AGENT;
use super::tls::{self, TlsMaterial};
use super::watched::{LastTlsError, Watched};
use super::{ExportError, chain};
use crate::export::config::OtlpConfig;

/// Longest wait for one TCP connection or one TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// TCP keep-alive finds a dead peer between exports. HTTP/2 pings would find it as well, but servers built on grpc-go
/// end a connection that pings more often than every five minutes.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE_RETRIES: u32 = 3;

/// Builds the channel; it connects when it is first used. Must be called inside the runtime that will serve it.
///
/// # Errors
/// An endpoint that is not a URL, or certificates that TLS refuses.
pub fn build(config: &OtlpConfig, tls: &TlsMaterial, last_tls_error: LastTlsError) -> Result<Channel, ExportError> {
    let shown = &config.endpoint;
    let endpoint = Endpoint::from_shared(config.endpoint.clone())
        .map_err(|e| ExportError::new(format!("--endpoint {shown}: {}", chain(&e))))?;
    let unix = shown.starts_with("unix:");
    let scheme = endpoint.uri().scheme_str();
    if !unix && (!matches!(scheme, Some("http" | "https")) || endpoint.uri().host().is_none_or(str::is_empty)) {
        return Err(ExportError::new(format!(
            "--endpoint {shown}: not http://host:port, https://host:port or unix:/path"
        )));
    }
    let patience = config.timeout.min(CONNECT_TIMEOUT);
    let origin = endpoint.uri().clone();
    let secure = !unix && origin.scheme() == Some(&Scheme::HTTPS);
    let endpoint = if secure {
        // The TLS is ours, see `watched`; tonic must not know, but the requests must say https.
        let mut parts = origin.clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        let plain = Uri::from_parts(parts).map_err(|e| ExportError::new(format!("--endpoint {shown}: {e}")))?;
        Endpoint::from(plain).origin(origin)
    } else {
        endpoint
    };
    let endpoint = endpoint
        .user_agent(USER_AGENT)
        .map_err(|e| ExportError::new(chain(&e)))?
        .connect_timeout(patience)
        // The library does not apply its own timeout to a channel it was given; without this a server that hangs holds
        // a stream for ever.
        .timeout(config.timeout);
    if unix {
        return Ok(endpoint.connect_lazy());
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(patience));
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    tcp.set_keepalive_interval(Some(TCP_KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(TCP_KEEPALIVE_RETRIES));
    let tls = if secure {
        let mut tls = tls.client_config()?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        tls
    } else {
        tls::unused()?
    };
    let connector = Watched::new(HttpsConnector::from((tcp, tls)), secure, last_tls_error);
    Ok(endpoint.connect_with_connector_lazy(connector))
}
