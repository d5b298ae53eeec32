//! TCP connections and host name resolution for all protocols.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::oneshot;
use tower_service::Service;

/// Limit for one TCP connection attempt or TLS handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// TCP keep-alive detects a dead peer between exports. HTTP/2 pings would too, but servers built on grpc-go close a
/// connection that pings more often than every five minutes.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// A connector for host names and addresses.
pub fn connector(attempt_timeout: Duration) -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(attempt_timeout));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    tcp
}

/// Resolves a name on a new thread that ends with the result. tokio's blocking pool panics if the host allows no more
/// threads; here this is an ordinary error, and the request is retried.
#[derive(Clone, Copy, Debug)]
pub struct Resolver;

/// getaddrinfo and the C library's plugins need more than the minimum stack size.
const STACK_BYTES: usize = 512 * 1024;

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (answer, answered) = oneshot::channel();
        let resolve = move || {
            // The receiver is gone if the connection attempt timed out.
            let _ = answer.send((name.as_str(), 0).to_socket_addrs());
        };
        let started = thread::Builder::new().name("resolver".into()).stack_size(STACK_BYTES).spawn(resolve);
        Box::pin(async move {
            started.map_err(|error| io::Error::other(format!("no thread to resolve the host name: {error}")))?;
            answered.await.unwrap_or_else(|_| Err(io::Error::other("the resolver ended without an answer")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[tokio::test]
    async fn a_name_is_resolved_and_one_that_does_not_exist_is_an_error() {
        let mut resolver = Resolver;
        let found = resolver.call(Name::from_str("localhost").unwrap()).await.unwrap();
        assert!(found.into_iter().all(|address| address.ip().is_loopback()));
        assert!(resolver.call(Name::from_str("no such name").unwrap()).await.is_err());
    }
}
