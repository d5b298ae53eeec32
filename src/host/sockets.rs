//! The number of TCP and UDP sockets per state, from the kernel's list over netlink (sock_diag(7)). This is cheaper
//! than `/proc/net/tcp`, which formats each socket as text, and does not access the descriptors of processes.
//!
//! The list covers the network namespace of this process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

/// A protocol whose sockets are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// The number of sockets by state, indexed by the kernel's state number (`include/net/tcp_states.h`): 1 is ESTABLISHED,
/// 11 CLOSING, 12 NEW_SYN_RECV. For UDP, connected sockets are ESTABLISHED and all others are 7, CLOSE. The states are
/// followed by the queues of all sockets, [`RECEIVE_QUEUES`] and [`SEND_QUEUES`].
pub type Census = [u64; STATES + 2];
/// Number of state numbers; 0 is unused.
pub const STATES: usize = 13;
/// Index of the receive queues in a [`Census`]: bytes, and for listening sockets the waiting connections.
pub const RECEIVE_QUEUES: usize = STATES;
/// Index of the send queues in a [`Census`]: bytes, and for listening sockets the maximum number of waiting
/// connections.
pub const SEND_QUEUES: usize = STATES + 1;

/// Time limit for the kernel's answer.
const MOST: Duration = Duration::from_secs(1);
/// Buffer size. The kernel sends up to 32 KiB at a time, but only to a receiver that has used such a buffer before.
const BUFFER_BYTES: usize = 16 * 1024;

/// Counts the sockets of this process's network namespace.
///
/// # Errors
///
/// `ENOENT` if the kernel lacks the protocol's list (`CONFIG_INET_DIAG`, `CONFIG_INET_UDP_DIAG`), `EPROTONOSUPPORT` and
/// `EAFNOSUPPORT` if it lacks netlink's list or a sandbox forbids it, and errors of sending and receiving.
pub fn count(transport: Transport) -> io::Result<Census> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(MOST))?;
    let mut census = Census::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        count_family(&socket, family, transport, &mut buffer, &mut census)?;
    }
    Ok(census)
}

fn count_family(
    socket: &OwnedFd,
    family: AddressFamily,
    transport: Transport,
    buffer: &mut [u8],
    census: &mut Census,
) -> io::Result<()> {
    let begun = Instant::now();
    send(socket.as_fd(), &request(family, transport), SendFlags::empty())?;
    loop {
        let (received, length) = recv(socket.as_fd(), &mut *buffer, RecvFlags::TRUNC)?;
        if length > received {
            return Err(io::Error::other("the kernel's list does not fit its buffer"));
        }
        if add(buffer.get(..received).unwrap_or_default(), census)? {
            return Ok(());
        }
        if begun.elapsed() > MOST {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// `struct nlmsghdr` and its constants (`linux/netlink.h`, `linux/sock_diag.h`).
const HEADER_BYTES: usize = 16;
const REQUEST_DUMP: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `struct inet_diag_req_v2` (`linux/inet_diag.h`).
const REQUEST_BYTES: usize = 56;
/// Offset of `idiag_rqueue` in `struct inet_diag_msg`; `idiag_wqueue` follows.
const RECEIVE_QUEUE_AT: usize = 56;

/// Requests all sockets of the address family in any state of [`Census`]. Later kernels have a state 13 for sockets
/// that are bound but otherwise unused; no other list contains those.
fn request(family: AddressFamily, transport: Transport) -> Vec<u8> {
    let protocol = match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    };
    let states: u32 = (1 << STATES) - 2;
    let mut message = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    #[allow(clippy::cast_possible_truncation)] // 72
    message.extend(((HEADER_BYTES + REQUEST_BYTES) as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.extend([0; 8]); // sequence, port
    #[allow(clippy::cast_possible_truncation)] // the field has one byte, the address families are 2 and 10
    message.extend([family.as_raw() as u8, protocol, 0, 0]);
    message.extend(states.to_ne_bytes());
    message.resize(HEADER_BYTES + REQUEST_BYTES, 0); // any address
    message
}

/// Adds the sockets of one reply. Returns whether it was the last one.
fn add(mut reply: &[u8], census: &mut Census) -> io::Result<bool> {
    while let Some((header, rest)) = reply.split_first_chunk::<HEADER_BYTES>() {
        let [a, b, c, d, kind_a, kind_b, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some(payload) = length.checked_sub(HEADER_BYTES).and_then(|length| rest.get(..length)) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match u16::from_ne_bytes([kind_a, kind_b]) {
            // The list ends with 0 or with an error.
            kind @ (ERROR | DONE) => {
                let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                if code < 0 {
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                if kind == DONE {
                    return Ok(true);
                }
            }
            // struct inet_diag_msg starts with the address family and the state; the queues follow the addresses.
            SOCK_DIAG_BY_FAMILY => {
                let number = |at| payload.get(at..)?.first_chunk().map(|bytes| u64::from(u32::from_ne_bytes(*bytes)));
                let state = payload.get(1).map(|state| usize::from(*state)).filter(|state| *state < STATES);
                let adds = [
                    (state, Some(1)),
                    (Some(RECEIVE_QUEUES), number(RECEIVE_QUEUE_AT)),
                    (Some(SEND_QUEUES), number(RECEIVE_QUEUE_AT + 4)),
                ];
                for (place, added) in adds {
                    if let Some(count) = place.and_then(|place| census.get_mut(place)) {
                        *count += added.unwrap_or(0);
                    }
                }
            }
            _ => {}
        }
        // Messages are aligned to four bytes.
        reply = rest.get((length - HEADER_BYTES).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER_BYTES + payload.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn sockets_are_counted_by_state_until_the_list_ends() {
        let mut census = Census::default();
        let first = [message(20, &[2, 1, 0, 0, 9]), message(20, &[2, 10]), message(20, &[10, 1])].concat();
        assert!(!add(&first, &mut census).unwrap());
        assert!(add(&[message(20, &[2, 12]), message(3, &[0; 4])].concat(), &mut census).unwrap());
        assert_eq!((census[1], census[10], census[12]), (2, 1, 1));
    }

    #[test]
    fn the_queues_of_all_sockets_are_added_up() {
        let mut census = Census::default();
        for (receive, send) in [(3u32, 70_000u32), (0, 5)] {
            let mut payload = vec![0; RECEIVE_QUEUE_AT];
            payload.extend([receive.to_ne_bytes(), send.to_ne_bytes(), [0; 4], [0; 4]].concat());
            assert!(!add(&message(SOCK_DIAG_BY_FAMILY, &payload), &mut census).unwrap());
        }
        assert_eq!((census[RECEIVE_QUEUES], census[SEND_QUEUES]), (3, 70_005));
    }

    #[test]
    fn a_state_that_is_not_known_is_not_counted() {
        let mut census = Census::default();
        assert!(!add(&message(20, &[2, 200]), &mut census).unwrap());
        assert_eq!(census, Census::default());
    }

    #[test]
    fn an_error_is_the_kernels_own_whether_it_comes_first_or_at_the_end() {
        for kind in [ERROR, DONE] {
            let error = add(&message(kind, &(-2i32).to_ne_bytes()), &mut Census::default()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(2));
        }
        assert!(!add(&message(ERROR, &[0; 4]), &mut Census::default()).unwrap(), "no error is an acknowledgement");
    }

    #[test]
    fn a_message_longer_than_the_reply_is_damage() {
        let mut bytes = message(20, &[2, 1]);
        bytes[0] = bytes[0].wrapping_add(40);
        bytes[3] = bytes[3].wrapping_add(40);
        assert!(add(&bytes, &mut Census::default()).is_err());
    }

    #[test]
    fn the_length_field_of_the_request_is_its_length() {
        let request = request(AddressFamily::INET6, Transport::Udp);
        assert_eq!((request.len(), &request[16..20]), (72, &[10, 17, 0, 0][..]));
        assert_eq!(request[..4], 72u32.to_ne_bytes());
    }

    #[test]
    fn a_listening_socket_is_seen_where_the_kernel_has_the_list() {
        let _listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        match count(Transport::Tcp) {
            Ok(census) => assert!(census[10] > 0),
            Err(error) => assert!(
                [Errno::NOENT, Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT]
                    .map(io::Error::from)
                    .iter()
                    .any(|one| one.kind() == error.kind()),
                "{error}"
            ),
        }
    }

    proptest! {
        #[test]
        fn any_reply_is_taken(reply: Vec<u8>, kinds in proptest::collection::vec((0u16..24, any::<Vec<u8>>()), 0..6)) {
            let _outcome = add(&reply, &mut Census::default());
            let messages: Vec<u8> = kinds.iter().flat_map(|(kind, payload)| message(*kind, payload)).collect();
            let _outcome = add(&messages, &mut Census::default());
        }
    }
}
