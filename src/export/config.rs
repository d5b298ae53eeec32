//! The settings of an OTLP exporter: protocol, endpoint, headers, TLS files, temporality.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How batches leave the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC (HTTP/2).
    Grpc,
    /// OTLP as binary protobuf over HTTP/1.1.
    HttpProtobuf,
}

/// Which totals the counters carry on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// Totals since the start time.
    Cumulative,
    /// Differences since the batch before.
    Delta,
    /// As the OTLP exporter specification has it; equals cumulative for observable counters.
    LowMemory,
}

/// Where TLS finds its certificates. `None` everywhere means the system's roots and no client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM file with the client's certificate chain.
    pub cert: Option<PathBuf>,
    /// PEM file with the client's private key.
    pub key: Option<PathBuf>,
    /// What named them, for errors.
    pub places: Places,
}

/// The flag or variable that the user set, for each file of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Of the authorities.
    pub ca: String,
    /// Of the client's certificate.
    pub cert: String,
    /// Of the client's key.
    pub key: String,
}

impl Default for Places {
    fn default() -> Self {
        Self { ca: "--ca-file".to_owned(), cert: "--cert-file".to_owned(), key: "--key-file".to_owned() }
    }
}

/// Everything the OTLP exporter needs. Environment variables were merged already: nothing below reads them.
#[derive(Clone, PartialEq, Eq)]
pub struct OtlpConfig {
    /// gRPC or HTTP.
    pub protocol: Protocol,
    /// `http://host:port[/path]`, `https://…` or `unix:/path`. For HTTP it is the full URL, path included.
    pub endpoint: String,
    /// Header names (lower case) and decoded values, in the order given. Values are secrets.
    pub headers: Vec<(String, String)>,
    /// A file with more headers, one `name: value` or `name=value` a line, re-read when it changes; its lines win.
    pub headers_file: Option<PathBuf>,
    /// Compress requests with gzip.
    pub gzip: bool,
    /// Bound on one send from the outbox, connecting included.
    pub timeout: Duration,
    /// Certificates.
    pub tls: TlsFiles,
    /// Totals or differences.
    pub temporality: Temporality,
}

impl OtlpConfig {
    /// The endpoint as it may be logged: scheme, host and port. Path, query and user part may hold a token.
    #[must_use]
    pub fn shown_endpoint(&self) -> String {
        if self.endpoint.starts_with("unix:") {
            return self.endpoint.clone();
        }
        let (scheme, rest) = self.endpoint.split_once("://").unwrap_or(("", &self.endpoint));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
    }
}

/// Without the headers' values: they are secrets.
impl fmt::Debug for OtlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("OtlpConfig")
            .field("protocol", &self.protocol)
            .field("endpoint", &self.shown_endpoint())
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}
