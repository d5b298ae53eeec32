//! A port of this host that no other process can get, whether somebody listens there or not.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

/// Holds a socket that is bound and does not listen: a connection to it is refused.
pub struct Port {
    socket: OwnedFd,
}

impl Port {
    /// A port that no other test of this program had, so that it identifies the test's log lines.
    pub fn new() -> Self {
        static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
        loop {
            let port = Self { socket: bound(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)) };
            if GIVEN.lock().unwrap().insert(port.addr()) {
                return port;
            }
        }
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::V4(getsockname(&self.socket).unwrap().try_into().unwrap())
    }

    /// Listens until the listener is dropped; the port stays held.
    pub fn listen(&self) -> TcpListener {
        let socket = bound(getsockname(&self.socket).unwrap().try_into().unwrap());
        listen(&socket, 128).unwrap();
        socket.into()
    }
}

/// Sockets of one user with both options can be bound to the same port, also while old connections wait for their end.
fn bound(addr: SocketAddrV4) -> OwnedFd {
    // A program that a test starts must not inherit it.
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    set_socket_reuseaddr(&socket, true).unwrap();
    set_socket_reuseport(&socket, true).unwrap();
    bind(&socket, &addr).unwrap();
    socket
}
