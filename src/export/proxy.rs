//! The TCP connection for HTTP, direct or through the proxy that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
//! `NO_PROXY` configure.
//!
//! `https` targets use a `CONNECT` tunnel, so the proxy sees only the host name. `http` targets are requested from the
//! proxy with the full URL. The local host is never reached through a proxy, because the proxy would connect to its own
//! machine instead of the local Collector. gRPC always uses a tunnel, because proxies do not accept HTTP/2 requests.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::ExportError;
use super::tcp::Resolver;

/// A connector that applies the proxy rules to every new connection.
#[derive(Clone)]
pub struct ProxyConnector {
    tcp: HttpConnector<Resolver>,
    rules: Arc<Matcher>,
    /// Whether even `http` targets need a tunnel: gRPC cannot send a proxy request with the full URL.
    tunnels_only: bool,
}

impl fmt::Debug for ProxyConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rules contain the proxy's password.
        f.write_str("ProxyConnector")
    }
}

impl ProxyConnector {
    /// Reads the proxy variables and validates the one that applies to `target`.
    ///
    /// # Errors
    /// A variable that is not a usable proxy: a configured proxy must not be bypassed. The message contains the
    /// variable's name but not its value, which may contain a password.
    pub fn from_env(tcp: HttpConnector<Resolver>, target: &Uri) -> Result<Self, ExportError> {
        Self::from_variables(tcp, target, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(
        tcp: HttpConnector<Resolver>,
        target: &Uri,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ExportError> {
        let first = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, get(name)?)));
        let https = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
        // In a CGI program, a request header sets HTTP_PROXY.
        let http = match get("REQUEST_METHOD") {
            None => first(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            Some(_) => first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
        };
        let no = first(&["no_proxy", "NO_PROXY"]).map(|(_, value)| exceptions(&value, target)).unwrap_or_default();
        let value = |variable: &Option<(&str, String)>| variable.as_ref().map(|(_, value)| value.clone());
        let mut rules = Matcher::builder().no(no);
        if let Some(value) = value(&http) {
            rules = rules.http(value);
        }
        if let Some(value) = value(&https) {
            rules = rules.https(value);
        }
        let connector = Self { tcp, rules: Arc::new(rules.build()), tunnels_only: false };
        let used = if target.scheme_str() == Some("https") { https } else { http };
        if let Some((variable, value)) = used
            && !is_usable(&value)
            && !is_local(target)
        {
            return Err(ExportError::new(format!(
                "{variable}: not the URL of a proxy that speaks HTTP (http://host:port); NO_PROXY excludes a host"
            )));
        }
        Ok(connector)
    }

    /// Uses a tunnel for every target, which HTTP/2 requires.
    pub fn for_tunnels_only(self) -> Self {
        Self { tunnels_only: true, ..self }
    }

    /// The `Proxy-Authorization` header for a request to `target`. Only for `http` targets: a tunnel sends its own.
    pub fn request_authorization(&self, target: &Uri) -> Option<HeaderValue> {
        if target.scheme_str() != Some("http") {
            return None;
        }
        self.proxy_for(target)?.basic_auth().cloned()
    }

    fn proxy_for(&self, target: &Uri) -> Option<Intercept> {
        if is_local(target) { None } else { self.rules.intercept(target) }
    }
}

/// Whether the value is a proxy URL with plain HTTP.
fn is_usable(value: &str) -> bool {
    let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    url.parse::<Uri>()
        .is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()))
}

/// Converts `NO_PROXY` to the matcher's format: `*.domain` becomes `.domain`, and an entry with a port is kept only if
/// the target has that port.
fn exceptions(value: &str, target: &Uri) -> String {
    let port = target.port_u16().or_else(|| match target.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    });
    let known = |entry: &str| {
        let entry = entry.trim();
        let (host, wanted) = match entry.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
            // An IPv6 address without brackets has no port.
            Some((host, Ok(wanted))) if !host.contains(':') || host.ends_with(']') => (host, Some(wanted)),
            _ => (entry, None),
        };
        let applies = wanted.is_none() || wanted == port;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        applies.then(|| if host == "*" { host.to_owned() } else { host.trim_start_matches('*').to_owned() })
    };
    value.split(',').filter_map(known).collect::<Vec<_>>().join(",")
}

/// An error of the proxy or of the connection to it.
#[derive(Debug)]
pub struct ThroughProxy {
    /// Host and port of the proxy.
    pub proxy: String,
    source: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for ThroughProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {}", self.proxy)
    }
}

impl Error for ThroughProxy {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

fn is_local(target: &Uri) -> bool {
    let Some(host) = target.host() else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Service<Uri> for ProxyConnector {
    type Response = MaybeProxied;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<MaybeProxied, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        let Some(proxy) = self.proxy_for(&target) else {
            return Box::pin(async move { Ok(MaybeProxied { io: tcp.call(target).await?, absolute_form: false }) });
        };
        let host = proxy.uri().host().unwrap_or_default();
        let shown = proxy.uri().port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let named = move |source: Box<dyn Error + Send + Sync>| ThroughProxy { proxy: shown.clone(), source };
        if self.tunnels_only || target.scheme_str() == Some("https") {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            return Box::pin(async move {
                let io = tunnel.call(target).await.map_err(|e| named(e.into()))?;
                Ok(MaybeProxied { io, absolute_form: false })
            });
        }
        Box::pin(async move {
            let io = tcp.call(proxy.uri().clone()).await.map_err(|e| named(e.into()))?;
            Ok(MaybeProxied { io, absolute_form: true })
        })
    }
}

/// A TCP connection that reports whether requests on it need the full URL.
pub struct MaybeProxied {
    io: TokioIo<TcpStream>,
    absolute_form: bool,
}

impl Connection for MaybeProxied {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.absolute_form)
    }
}

impl Read for MaybeProxied {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for MaybeProxied {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
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
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(target: &'static str) -> Option<String> {
        let rules = Matcher::builder().all("http://proxy.test:3128").no("inside.test,10.0.0.0/8").build();
        let connector = ProxyConnector {
            tcp: crate::export::tcp::connector(std::time::Duration::ZERO),
            rules: Arc::new(rules),
            tunnels_only: false,
        };
        connector.proxy_for(&Uri::from_static(target)).map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn no_proxy_names_networks_and_the_local_host_go_straight() {
        assert_eq!(proxied("https://collector.test/v1/metrics").as_deref(), Some("http://proxy.test:3128/"));
        assert_eq!(proxied("http://collector.test/v1/metrics").as_deref(), Some("http://proxy.test:3128/"));
        for straight in [
            "https://inside.test/",
            "https://a.inside.test/",
            "http://10.1.2.3:4318/",
            "http://localhost:4318/",
            "http://127.0.0.1:4318/",
            "http://[::1]:4318/",
        ] {
            assert_eq!(proxied(straight), None, "{straight}");
        }
    }

    fn rules(target: &str, variables: &[(&str, &str)]) -> Result<ProxyConnector, ExportError> {
        let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        ProxyConnector::from_variables(
            crate::export::tcp::connector(std::time::Duration::ZERO),
            &target.parse().unwrap(),
            get,
        )
    }

    #[test]
    fn no_proxy_knows_ports_wildcards_and_networks() {
        let past = |target: &str, no: &str| {
            let uri: Uri = target.parse().unwrap();
            rules(target, &[("HTTP_PROXY", "http://proxy.test:3128"), ("NO_PROXY", no)])
                .unwrap()
                .proxy_for(&uri)
                .is_none()
        };
        assert!(past("http://collector.test:4318/", "elsewhere.test, collector.test:4318"));
        assert!(!past("http://collector.test:4318/", "collector.test:80"));
        assert!(past("http://a.inside.test:4318/", "*.inside.test"));
        assert!(past("http://10.1.2.3:4318/", "10.0.0.0/8") && !past("http://11.1.2.3:4318/", "10.0.0.0/8"));
        assert!(past("http://[fd00::1]:4318/", "fd00::/8"));
    }

    #[test]
    fn a_variable_that_names_no_usable_proxy_is_an_error_without_its_value() {
        for value in ["socks5://user:s3cr3t@proxy.test", "https://proxy.test", "http://", "a b:s3cr3t"] {
            let error = rules("https://collector.test/", &[("HTTPS_PROXY", value)]).unwrap_err().to_string();
            assert!(error.contains("HTTPS_PROXY") && !error.contains("s3cr3t"), "{error}");
            // The variable does not apply to these targets.
            assert!(rules("http://collector.test/", &[("HTTPS_PROXY", value)]).is_ok());
            assert!(rules("https://localhost/", &[("HTTPS_PROXY", value)]).is_ok());
        }
        for value in ["proxy.test:3128", "http://user:pass@proxy.test:3128/"] {
            assert!(rules("https://collector.test/", &[("ALL_PROXY", value)]).is_ok());
        }
    }

    #[test]
    fn the_proxys_password_is_in_no_debug_output() {
        let rules = Matcher::builder().all("http://user:s3cr3t@proxy.test:3128").build();
        let connector = ProxyConnector {
            tcp: crate::export::tcp::connector(std::time::Duration::ZERO),
            rules: Arc::new(rules),
            tunnels_only: false,
        };
        assert!(!format!("{connector:?}").contains("s3cr3t"));
    }
}
