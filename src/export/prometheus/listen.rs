//! The listen address for scrapes, and its sockets.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

/// Host and port. An empty host means all interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port; 0 lets the kernel choose.
    pub port: u16,
}

/// The default of the OpenTelemetry specification for a Prometheus exporter.
impl Default for Listen {
    fn default() -> Self {
        Self { host: "localhost".to_owned(), port: 9464 }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Listen {
    /// Parses `HOST:PORT`, `[IPV6]:PORT` or `:PORT`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inside) => inside.parse::<Ipv6Addr>().ok()?.to_string(),
            None => host.to_owned(),
        };
        let bare = !host.contains(['/', '@', ' ', '[', ']']);
        (bare && (!host.contains(':') || text.starts_with('['))).then_some(Self { host, port })
    }

    /// Listens on every address of the host: `localhost` has an IPv4 and an IPv6 address, and a scraper may use either.
    ///
    /// # Errors
    /// The error of the first address that cannot be bound, such as a port in use. An address family that this host
    /// lacks is not an error if another one works.
    pub fn bind(&self) -> io::Result<Vec<TcpListener>> {
        let mut addresses: Vec<SocketAddr> = if self.host.is_empty() {
            // Includes IPv4 unless net.ipv6.bindv6only is set.
            vec![(Ipv6Addr::UNSPECIFIED, self.port).into(), (Ipv4Addr::UNSPECIFIED, self.port).into()]
        } else {
            (self.host.as_str(), self.port).to_socket_addrs()?.collect()
        };
        addresses.dedup();
        let mut listeners: Vec<TcpListener> = Vec::new();
        let mut missing = None;
        for mut address in addresses {
            // With port 0, all addresses use the port that the kernel chose for the first one.
            if let Some(first) = listeners.first() {
                address.set_port(first.local_addr()?.port());
            }
            match TcpListener::bind(address) {
                Ok(listener) => {
                    listener.set_nonblocking(true)?;
                    listeners.push(listener);
                }
                // EAFNOSUPPORT has no `ErrorKind`.
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(97) => {
                    missing = Some(error);
                }
                // The IPv6 socket for all interfaces already listens on the IPv4 port.
                Err(error) if error.kind() == ErrorKind::AddrInUse && self.host.is_empty() && !listeners.is_empty() => {
                }
                Err(error) => return Err(error),
            }
        }
        if listeners.is_empty() {
            return Err(missing.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into()));
        }
        Ok(listeners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let address = |host: &str, port| Some(Listen { host: host.to_owned(), port });
        for (text, expected) in [
            ("localhost:9464", address("localhost", 9464)),
            (":9100", address("", 9100)),
            ("[::1]:9100", address("::1", 9100)),
            ("192.0.2.7:0", address("192.0.2.7", 0)),
            ("::1:9100", None),
            ("localhost", None),
            ("localhost:port", None),
            ("localhost:65536", None),
            ("http://localhost:9464", None),
            ("", None),
        ] {
            assert_eq!(Listen::parse(text), expected, "{text}");
        }
        assert_eq!(Listen::parse("[::1]:9100").unwrap().to_string(), "[::1]:9100");
    }

    #[test]
    fn a_port_in_use_is_an_error_also_where_another_address_is_free() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Listen { host: "localhost".to_owned(), port }.bind().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let error = Listen { host: "127.0.0.1".to_owned(), port }.bind().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn all_interfaces_are_one_port_over_both_families() {
        let listeners = Listen { host: String::new(), port: 0 }.bind().unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
