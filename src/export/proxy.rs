//! The TCP connection under HTTP, straight or through the proxy that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
//! `NO_PROXY` name.
//!
//! `https` targets go through a `CONNECT` tunnel, so the proxy sees nothing but the host's name; `http` targets are asked
//! of the proxy with the full URL. The local host is never reached through a proxy, which would look for a Collector on
//! the proxy's own machine. gRPC goes through a tunnel whatever the scheme, since a proxy does not take HTTP/2 requests.

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

/// A connector that asks the proxy rules for every new connection.
#[derive(Clone)]
pub struct ProxyConnector {
    tcp: HttpConnector<Resolver>,
    rules: Arc<Matcher>,
    /// A request in the form that a proxy takes without a tunnel cannot be made over gRPC.
    tunnels_only: bool,
}

impl fmt::Debug for ProxyConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rules hold the proxy's password.
        f.write_str("ProxyConnector")
    }
}

impl ProxyConnector {
    /// Reads the proxy variables and checks what they say about `target`.
    ///
    /// # Errors
    /// A proxy that is not spoken to by plain HTTP.
    pub fn from_env(tcp: HttpConnector<Resolver>, target: &Uri) -> Result<Self, ExportError> {
        let connector = Self { tcp, rules: Arc::new(Matcher::from_env()), tunnels_only: false };
        match connector.proxy_for(target) {
            Some(proxy) if proxy.uri().scheme_str() != Some("http") => Err(ExportError::new(format!(
                "HTTPS_PROXY / HTTP_PROXY: {} is not an http:// proxy; others are not supported (NO_PROXY excludes a host)",
                proxy.uri()
            ))),
            _ => Ok(connector),
        }
    }

    /// Every target is reached through a tunnel, as HTTP/2 needs it.
    pub fn for_tunnels_only(self) -> Self {
        Self { tunnels_only: true, ..self }
    }

    /// The `Proxy-Authorization` that a request to `target` itself must carry: for `http` targets only, a tunnel
    /// carries its own.
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
        if self.tunnels_only || target.scheme_str() == Some("https") {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            return Box::pin(async move { Ok(MaybeProxied { io: tunnel.call(target).await?, absolute_form: false }) });
        }
        Box::pin(async move { Ok(MaybeProxied { io: tcp.call(proxy.uri().clone()).await?, absolute_form: true }) })
    }
}

/// A TCP connection that tells the client whether requests on it need the full URL.
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
