//! The TCP connection to a target, direct or through the proxy that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
//! `NO_PROXY` configure.
//!
//! `https` targets use a `CONNECT` tunnel, so the proxy sees only the host name. `http` targets are requested from the
//! proxy with the full URL. The local host is never reached through a proxy, because the proxy would connect to its own
//! machine instead of the local Collector. gRPC always uses a tunnel, because proxies do not accept HTTP/2 requests.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use http::header::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::ExportError;
use super::config::{Proxies, ProxyVariable, is_host_and_port};
use super::tcp::Resolver;

/// A connector for one target.
#[derive(Clone)]
pub struct ProxyConnector {
    tcp: HttpConnector<Resolver>,
    /// The proxy on the way to the target.
    proxy: Option<Intercept>,
    /// Whether even an `http` target needs a tunnel: gRPC cannot send a proxy request with the full URL.
    tunnels_only: bool,
}

impl fmt::Debug for ProxyConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The proxy's URL may contain a password.
        f.write_str("ProxyConnector")
    }
}

impl ProxyConnector {
    /// Selects the proxy for `target`.
    ///
    /// # Errors
    /// The variable that applies is not a usable proxy: a configured proxy must not be bypassed. The message contains
    /// the variable's name but not its value, which may contain a password.
    pub fn new(tcp: HttpConnector<Resolver>, proxies: &Proxies, target: &Uri) -> Result<Self, ExportError> {
        Ok(Self { tcp, proxy: select(proxies, target)?, tunnels_only: false })
    }

    /// Uses a tunnel for every target, which HTTP/2 requires.
    pub fn for_tunnels_only(self) -> Self {
        Self { tunnels_only: true, ..self }
    }

    /// Whether requests to `target` are sent to the proxy itself, with the full URL, rather than through a tunnel.
    #[must_use]
    pub fn needs_full_url(&self, target: &Uri) -> bool {
        self.proxy.is_some() && !self.tunnels_only && target.scheme_str() == Some("http")
    }

    /// The `Proxy-Authorization` header for a request with the full URL. A tunnel sends its own.
    #[must_use]
    pub fn request_authorization(&self) -> Option<HeaderValue> {
        self.proxy.as_ref()?.basic_auth().cloned()
    }
}

fn select(proxies: &Proxies, target: &Uri) -> Result<Option<Intercept>, ExportError> {
    let variable = if target.scheme_str() == Some("https") { &proxies.https } else { &proxies.http };
    let Some(variable) = variable else { return Ok(None) };
    if is_local(target) {
        return Ok(None);
    }
    let no = match &proxies.exceptions {
        None => String::new(),
        Some(ProxyVariable { value: Some(value), .. }) => exceptions(value, target),
        Some(ProxyVariable { name, value: None }) => {
            return Err(ExportError::new(format!("{name}: its value (not shown) is not valid; allowed: UTF-8")));
        }
    };
    // An unusable value does not matter for an excepted target.
    let through = |proxy: &str| Matcher::builder().all(proxy).no(no.as_str()).build().intercept(target);
    if through("http://any.invalid").is_none() {
        return Ok(None);
    }
    let usable = |proxy: &Intercept| {
        proxy.uri().scheme_str() == Some("http") && proxy.uri().authority().is_some_and(is_host_and_port)
    };
    let url = |value: &String| if value.contains("://") { value.clone() } else { format!("http://{value}") };
    let proxy = variable.value.as_ref().and_then(|value| through(&url(value))).filter(usable);
    proxy.map(Some).ok_or_else(|| {
        let name = variable.name;
        ExportError::new(format!(
            "{name}: not the URL of a proxy that speaks HTTP (http://host:port); NO_PROXY excludes a host"
        ))
    })
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
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        let Some(proxy) = self.proxy.clone() else {
            return Box::pin(async move { tcp.call(target).await.map_err(Into::into) });
        };
        let host = proxy.uri().host().unwrap_or_default();
        let shown = proxy.uri().port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let named = move |source: Box<dyn Error + Send + Sync>| ThroughProxy { proxy: shown.clone(), source };
        if !self.needs_full_url(&target) {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            return Box::pin(async move { tunnel.call(target).await.map_err(|e| named(e.into()).into()) });
        }
        Box::pin(async move { tcp.call(proxy.uri().clone()).await.map_err(|e| named(e.into()).into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(target: &str, variables: &[(&'static str, &str)]) -> Result<Option<String>, String> {
        let proxies = Proxies::from_variables(|name| {
            let (name, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some(ProxyVariable { name, value: Some((*value).to_owned()).filter(|value| value != "not UTF-8") })
        });
        let proxy = super::select(&proxies, &target.parse().unwrap()).map_err(|error| error.to_string())?;
        Ok(proxy.map(|proxy| proxy.uri().to_string()))
    }

    #[test]
    fn no_proxy_names_networks_and_the_local_host_go_straight() {
        let variables = [("ALL_PROXY", "http://proxy.test:3128"), ("NO_PROXY", "inside.test,10.0.0.0/8")];
        let proxied = |target| select(target, &variables).unwrap();
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

    #[test]
    fn no_proxy_knows_ports_wildcards_and_networks() {
        let past = |target: &str, no: &str| {
            select(target, &[("HTTP_PROXY", "http://proxy.test:3128"), ("NO_PROXY", no)]).unwrap().is_none()
        };
        assert!(past("http://collector.test:4318/", "elsewhere.test, collector.test:4318"));
        assert!(!past("http://collector.test:4318/", "collector.test:80"));
        assert!(past("http://a.inside.test:4318/", "*.inside.test"));
        assert!(past("http://10.1.2.3:4318/", "10.0.0.0/8") && !past("http://11.1.2.3:4318/", "10.0.0.0/8"));
        assert!(past("http://[fd00::1]:4318/", "fd00::/8"));
    }

    #[test]
    fn a_variable_that_names_no_usable_proxy_is_an_error_without_its_value() {
        for value in [
            "socks5://user:s3cr3t@proxy.test",
            "https://proxy.test",
            "http://",
            "http://:3128",
            "http://proxy.test:s3cr3t",
            "http://user:s3cr3t@proxy.test:99999",
            "http://user:s3@cr3t@proxy.test",
            "a b:s3cr3t",
            "not UTF-8",
        ] {
            let proxy = ("HTTPS_PROXY", value);
            let error = select("https://collector.test/", &[proxy]).unwrap_err();
            assert!(error.starts_with("HTTPS_PROXY: ") && !error.contains("s3cr3t"), "{error}");
            // The variable does not apply to these targets.
            assert_eq!(select("http://collector.test/", &[proxy]), Ok(None));
            assert_eq!(select("https://localhost/", &[proxy]), Ok(None));
            assert_eq!(select("https://collector.test/", &[proxy, ("no_proxy", ".test")]), Ok(None));
            assert_eq!(select("https://collector.test/", &[proxy, ("NO_PROXY", "*")]), Ok(None));
        }
        for value in
            ["proxy.test:3128", "proxy.test:3128/", "user:pass@proxy.test:3128", "http://user:pass@proxy.test:3128/"]
        {
            let proxy = Some("http://proxy.test:3128/".to_owned());
            assert_eq!(select("https://collector.test/", &[("ALL_PROXY", value)]), Ok(proxy));
        }
    }

    #[test]
    fn exceptions_that_are_not_utf8_are_an_error_only_beside_a_proxy() {
        let no = ("NO_PROXY", "not UTF-8");
        assert_eq!(select("https://collector.test/", &[no]), Ok(None));
        let error = select("https://collector.test/", &[no, ("HTTPS_PROXY", "proxy.test:1")]).unwrap_err();
        assert!(error.starts_with("NO_PROXY: "), "{error}");
    }

    #[test]
    fn the_name_in_lower_case_is_used_if_both_are_set_and_a_request_sets_no_proxy() {
        let both = [("http_proxy", "low.test"), ("HTTP_PROXY", "up.test")];
        assert_eq!(select("http://collector.test/", &both), Ok(Some("http://low.test/".to_owned())));
        let request = [("HTTP_PROXY", "up.test"), ("REQUEST_METHOD", "GET")];
        assert_eq!(select("http://collector.test/", &request), Ok(None));
    }

    #[test]
    fn an_error_of_the_resolver_names_the_proxy() {
        let source = "dns error: failed to lookup address information".into();
        let words = crate::export::reason::words(&ThroughProxy { proxy: "proxy.test:1".to_owned(), source });
        assert!(words.starts_with("through the proxy proxy.test:1: the host name cannot be resolved"), "{words}");
    }

    #[test]
    fn the_proxys_password_is_in_no_debug_output() {
        let tcp = crate::export::tcp::connector(std::time::Duration::ZERO);
        let value = Some("http://user:s3cr3t@proxy.test:3128".to_owned());
        let proxies = Proxies::from_variables(|name| Some(ProxyVariable { name, value: value.clone() }));
        let proxies = Proxies { exceptions: None, ..proxies };
        let connector = ProxyConnector::new(tcp, &proxies, &Uri::from_static("https://collector.test")).unwrap();
        assert!(connector.proxy.is_some() && !format!("{connector:?}").contains("s3cr3t"));
    }
}
