//! The TCP connection under every protocol, and the resolution of its host name.

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

/// Longest wait for one TCP connection or one TLS handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// TCP keep-alive finds a dead peer between exports. HTTP/2 pings would find it as well, but servers built on grpc-go
/// end a connection that pings more often than every five minutes.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Connects to host names and addresses, each try within `patience`.
pub fn connector(patience: Duration) -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(patience));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    tcp
}

/// Resolves a name on a thread of its own, which ends with the answer. tokio's pool of blocking threads panics where the
/// host allows no more threads; here that is an error like any other, and the request is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Resolver;

/// getaddrinfo and the plugins of the C library need more than the least.
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
            // Nobody waits any more where the connection's time is over.
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
