//! The connection metrics of the network collector. They describe the agent's network namespace. If that is not the
//! host's, they are omitted, because they would be reported next to the host's interfaces.
//!
//! hostmetrics always sends twelve TCP states. It reports FIN_WAIT sockets as `FIN_WAIT1` and `FIN_WAIT2`, beside
//! `FIN_WAIT_1` and `FIN_WAIT_2`, which are always 0; here they are counted under the latter names. It counts sockets
//! with the same address, such as SO_REUSEPORT listeners, only once; here each socket counts.

use std::io;

use rustix::io::Errno;
use tracing::{info, warn};

use super::{Context, Observer};
use crate::host::sockets::{Census, RECEIVE_QUEUES, SEND_QUEUES, STATES, Transport};
use crate::host::{Calls, Reader};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes, labels};

pub(super) const STATE: Attribute = Attribute {
    key: Names("network.connection.state", "state"),
    values: &[
        CLOSED,
        CLOSE_WAIT,
        CLOSING,
        DELETE,
        ESTABLISHED,
        FIN_WAIT_1,
        FIN_WAIT_2,
        LAST_ACK,
        LISTEN,
        SYN_RECEIVED,
        SYN_SENT,
        TIME_WAIT,
    ],
};
pub(super) const TRANSPORT: Attribute = Attribute { key: Names("network.transport", "protocol"), values: &[TCP, UDP] };

const TCP: Names = Names::both("tcp");
const UDP: Names = Names("udp", "");
const CLOSED: Names = Names("closed", "CLOSE");
const CLOSE_WAIT: Names = Names("close_wait", "CLOSE_WAIT");
const CLOSING: Names = Names("closing", "CLOSING");
/// A state that exists only in hostmetrics and never has sockets.
const DELETE: Names = Names("", "DELETE");
const ESTABLISHED: Names = Names("established", "ESTABLISHED");
const FIN_WAIT_1: Names = Names("fin_wait_1", "FIN_WAIT_1");
const FIN_WAIT_2: Names = Names("fin_wait_2", "FIN_WAIT_2");
const LAST_ACK: Names = Names("last_ack", "LAST_ACK");
const LISTEN: Names = Names("listen", "LISTEN");
const SYN_RECEIVED: Names = Names("syn_received", "SYN_RECV");
const SYN_SENT: Names = Names("syn_sent", "SYN_SENT");
const TIME_WAIT: Names = Names("time_wait", "TIME_WAIT");

/// The states and the kernel's numbers for them. A connection request that waits for its last packet has its own number
/// in the kernel.
const TCP_STATES: &[(Names, &[usize])] = &[
    (ESTABLISHED, &[1]),
    (SYN_SENT, &[2]),
    (SYN_RECEIVED, &[3, 12]),
    (FIN_WAIT_1, &[4]),
    (FIN_WAIT_2, &[5]),
    (TIME_WAIT, &[6]),
    (CLOSED, &[7]),
    (CLOSE_WAIT, &[8]),
    (LAST_ACK, &[9]),
    (LISTEN, &[10]),
    (CLOSING, &[11]),
    (DELETE, &[]),
];
/// States in node_exporter's naming. It does not count connection requests, and adds the queues.
pub(super) const NODE_TCP_STATES: &[(&str, &[usize])] = &[
    ("established", &[1]),
    ("syn_sent", &[2]),
    ("syn_recv", &[3]),
    ("fin_wait1", &[4]),
    ("fin_wait2", &[5]),
    ("time_wait", &[6]),
    ("close", &[7]),
    ("close_wait", &[8]),
    ("last_ack", &[9]),
    ("listen", &[10]),
    ("closing", &[11]),
    ("rx_queued_bytes", &[RECEIVE_QUEUES]),
    ("tx_queued_bytes", &[SEND_QUEUES]),
];
/// UDP sockets are either connected or not.
const UDP_STATES: &[(Names, &[usize])] = &[(ESTABLISHED, &[1]), (CLOSED, &[7])];

/// The sockets of one transport.
struct Sockets {
    transport: Transport,
    series: Vec<(Attributes, &'static [usize])>,
    /// `None` while they cannot be counted: states are not held like totals.
    census: Option<Census>,
    health: Health,
    /// Whether states without sockets are omitted, as in node_exporter.
    skips_empty: bool,
}

#[derive(PartialEq, Eq)]
enum Health {
    Good,
    /// Not queried again: each query would make the kernel try to load the missing module.
    Unsupported,
    Failed,
}

impl Sockets {
    fn new(naming: Naming, transport: Transport) -> Self {
        let (name, states) = match transport {
            Transport::Tcp => (TCP, TCP_STATES),
            Transport::Udp => (UDP, UDP_STATES),
        };
        let series = |state: Names| {
            attributes(naming, &[(&TRANSPORT, AttributeValue::Word(name)), (&STATE, AttributeValue::Word(state))])
        };
        let series = if naming == Naming::NodeExporter {
            let states = NODE_TCP_STATES.iter();
            states.map(|(state, numbers)| (labels(&[("state", (*state).to_owned())]), *numbers)).collect()
        } else {
            let sent = states.iter().filter(|(state, _)| !state.of(naming).is_empty());
            sent.map(|(state, numbers)| (series(*state), *numbers)).collect()
        };
        Self { transport, series, census: None, health: Health::Good, skips_empty: naming == Naming::NodeExporter }
    }

    fn read(&mut self, reader: &mut Reader, count: fn(Transport) -> io::Result<Census>) {
        if self.health == Health::Unsupported {
            return;
        }
        let name = match self.transport {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        };
        match count(self.transport) {
            Ok(census) => {
                if self.health == Health::Failed {
                    info!("{name} connections can be counted again");
                }
                (self.census, self.health) = (Some(census), Health::Good);
            }
            Err(error) if is_unsupported(&error) => {
                info!(
                    "{name} connections are not counted ({error}): the kernel must have netlink's sock_diag and the service must be allowed to use it"
                );
                (self.census, self.health) = (None, Health::Unsupported);
            }
            Err(error) => {
                reader.fail();
                if self.health == Health::Good {
                    warn!("{name} connections cannot be counted ({error})");
                }
                (self.census, self.health) = (None, Health::Failed);
            }
        }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::Unsupported
        || matches!(
            errno,
            Some(Errno::NOENT | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::PERM | Errno::ACCESS)
        )
}

/// The part of the network collector that does not concern interfaces. Files that no metric needs are not read.
pub(super) struct Connections {
    calls: Calls,
    sockets: Vec<Sockets>,
}

impl Connections {
    pub(super) fn new(context: &Context, metrics: &[Metric]) -> Self {
        let (host, options) = (&context.host, &context.options);
        let wanted = |id: &str| {
            let shape = metrics.iter().find(|metric| metric.id == id).and_then(|metric| metric.shape(options.naming));
            shape.is_some_and(|shape| shape.detail <= options.detail)
        };
        let mut new = Self { calls: host.calls, sockets: Vec::new() };
        if !wanted("connections") {
            return new;
        }
        if !host.shares_network() {
            info!(
                "connections are not counted: this process has its own network namespace and cannot see the host's; run it in the host's network namespace"
            );
            return new;
        }
        new.sockets.push(Sockets::new(options.naming, Transport::Tcp));
        // hostmetrics counts only TCP.
        if options.naming == Naming::Semconv {
            new.sockets.push(Sockets::new(options.naming, Transport::Udp));
        }
        new
    }

    pub(super) fn read(&mut self, reader: &mut Reader) {
        for sockets in &mut self.sockets {
            sockets.read(reader, self.calls.sockets);
        }
    }

    pub(super) fn observe(&self, id: &str, out: &mut Observer<'_>) {
        if id == "connections" {
            for sockets in &self.sockets {
                let Some(census) = &sockets.census else { continue };
                for (series, numbers) in &sockets.series {
                    let count = numbers.iter().filter_map(|number| census.get(*number)).sum();
                    if count > 0 || !sockets.skips_empty || numbers.iter().any(|number| *number >= STATES) {
                        out.int(count, series);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, series};
    use super::super::{Collector, Options, network};
    use super::*;
    use crate::metrics::naming::Detail;

    /// Returns 100 + n sockets for state n.
    fn hundreds(_: Transport) -> io::Result<Census> {
        Ok(std::array::from_fn(|number| 100 + number as u64))
    }

    fn collector(host: &Host, options: Options, sockets: fn(Transport) -> io::Result<Census>) -> Box<dyn Collector> {
        host.write("proc/1/net/dev", "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
        let mut context = host.context(options);
        context.host.calls.sockets = sockets;
        (network::DEFINITION.new)(&context)
    }

    fn options(naming: Naming, detail: Detail) -> Options {
        Options { naming, detail, ..Options::default() }
    }

    fn connections(naming: Naming, detail: Detail, sockets: fn(Transport) -> io::Result<Census>) -> (Vec<String>, u64) {
        let host = Host::empty();
        let mut network = collector(&host, options(naming, detail), sockets);
        let failures = host.read(&mut *network);
        (series(&*network, network::DEFINITION.metrics, "connections"), failures)
    }

    #[test]
    fn every_state_is_reported_and_requests_to_connect_are_one() {
        let (all, failures) = connections(Naming::Semconv, Detail::Detailed, hundreds);
        let says = |state: &str, transport: &str, count: u64| {
            format!("network.connection.state={state} network.transport={transport} {count}")
        };
        let tcp = ["established", "syn_sent", "syn_received", "fin_wait_1", "fin_wait_2", "time_wait"];
        let counts = [101, 102, 103 + 112, 104, 105, 106];
        assert_eq!(all[..6], tcp.into_iter().zip(counts).map(|(s, n)| says(s, "tcp", n)).collect::<Vec<_>>());
        assert_eq!(all[11..], [says("established", "udp", 101), says("closed", "udp", 107)]);
        assert_eq!((all.len(), failures), (13, 0));
    }

    #[test]
    fn hostmetrics_has_twelve_states_of_tcp_and_its_fin_waits_are_true() {
        let (all, _) = connections(Naming::Hostmetrics, Detail::Basic, hundreds);
        assert_eq!(all.len(), 12);
        for expected in ["FIN_WAIT_1 104", "FIN_WAIT_2 105", "SYN_RECV 215", "CLOSE 107", "DELETE 0"] {
            let (state, count) = expected.split_once(' ').unwrap();
            assert!(all.contains(&format!("protocol=tcp state={state} {count}")), "{expected}: {all:?}");
        }
    }

    #[test]
    fn no_query_is_made_without_a_metric_that_needs_it() {
        let (all, _) = connections(Naming::Semconv, Detail::Basic, |_| panic!("asked"));
        assert!(all.is_empty());
    }

    #[test]
    fn a_kernel_without_the_list_is_no_failure_and_not_asked_again() {
        use std::sync::atomic::{AtomicU64, Ordering};
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let host = Host::empty();
        let mut network = collector(&host, options(Naming::Hostmetrics, Detail::Basic), |_| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Err(io::Error::from_raw_os_error(2))
        });
        assert_eq!((host.read(&mut *network), host.read(&mut *network), ASKED.load(Ordering::Relaxed)), (0, 0, 1));
        assert!(series(&*network, network::DEFINITION.metrics, "connections").is_empty());
    }

    #[test]
    fn a_list_that_fails_is_a_failure_and_no_count_is_held() {
        let (all, failures) = connections(Naming::Hostmetrics, Detail::Basic, |_| Err(io::ErrorKind::TimedOut.into()));
        assert_eq!((all.len(), failures), (0, 1));
    }

    #[test]
    fn a_recorded_host_has_no_sockets() {
        let host = Host::fixture("server");
        let mut network = (network::DEFINITION.new)(&host.context(options(Naming::Semconv, Detail::Detailed)));
        assert_eq!(host.read(&mut *network), 0);
        assert!(series(&*network, network::DEFINITION.metrics, "connections").is_empty());
    }
}
