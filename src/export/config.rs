//! The settings of an OTLP exporter: protocol, endpoint, headers, TLS files, temporality.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC (HTTP/2).
    Grpc,
    /// OTLP as binary protobuf over HTTP/1.1.
    HttpProtobuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// Totals since the start time.
    Cumulative,
    /// Differences from the previous batch.
    Delta,
    /// As defined by the OTLP exporter specification; for observable counters this is cumulative.
    LowMemory,
}

/// TLS certificate files. All `None`: the system's root certificates and no client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with the trusted root certificates, instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM file with the client certificate chain.
    pub cert: Option<PathBuf>,
    /// PEM file with the client's private key.
    pub key: Option<PathBuf>,
    /// The flag or variable of each file, for error messages.
    pub places: Places,
}

/// The flag or variable that set each TLS file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub ca: String,
    pub cert: String,
    pub key: String,
}

impl Default for Places {
    fn default() -> Self {
        Self { ca: "--ca-file".to_owned(), cert: "--cert-file".to_owned(), key: "--key-file".to_owned() }
    }
}

/// Whether it is only `host` or `host:port`, with a valid port.
pub fn is_host_and_port(authority: &http::uri::Authority) -> bool {
    let (host, whole) = (authority.host(), authority.as_str());
    !host.is_empty() && (whole == host || authority.port_u16().is_some_and(|port| whole == format!("{host}:{port}")))
}

#[derive(Clone, PartialEq, Eq)]
pub struct ProxyVariable {
    /// Its name, for error messages.
    pub name: &'static str,
    /// Its value, which may contain a password; `None` if it is not UTF-8.
    pub value: Option<String>,
}

/// The proxy variables that apply to each kind of target.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub https: Option<ProxyVariable>,
    pub http: Option<ProxyVariable>,
    /// The targets that are reached directly.
    pub exceptions: Option<ProxyVariable>,
}

impl Proxies {
    /// Selects the variables. As in curl, the name in lower case is used if both are set.
    pub fn from_variables(get: impl Fn(&'static str) -> Option<ProxyVariable>) -> Self {
        let first = |names: &[&'static str]| names.iter().find_map(|name| get(name));
        // In a CGI program, a request header sets HTTP_PROXY.
        let of_request = get("REQUEST_METHOD").is_some();
        Self {
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            http: first(match of_request {
                false => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
                true => &["http_proxy", "all_proxy", "ALL_PROXY"],
            }),
            exceptions: first(&["no_proxy", "NO_PROXY"]),
        }
    }
}

/// Configuration of the OTLP exporter. Environment variables are already merged; code below this level does not read
/// them.
#[derive(Clone, PartialEq, Eq)]
pub struct OtlpConfig {
    pub protocol: Protocol,
    /// `http://host:port[/path]`, `https://…` or `unix:/path`. For HTTP it is the full URL, path included.
    pub endpoint: String,
    /// Header names (lower case) and decoded values, in the order given. Values are secrets.
    pub headers: Vec<(String, String)>,
    /// File with additional headers, one `name: value` or `name=value` per line. It is reloaded when it changes and
    /// overrides `headers`.
    pub headers_file: Option<PathBuf>,
    pub gzip: bool,
    /// Limit for one request, including connecting.
    pub timeout: Duration,
    pub tls: TlsFiles,
    pub proxies: Proxies,
    pub temporality: Temporality,
}

impl OtlpConfig {
    /// The endpoint for log lines: scheme, host and port. Path, query and user info may contain a token.
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

/// Omits the header values, which are secrets.
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
