//! Counters of the kernel's network protocols: TCP segments, retransmits, resets, connections and listen queues, UDP
//! datagrams and errors, with IPv6 beside IPv4. From `net/snmp`, `net/netstat` and `net/snmp6` of the host's first
//! process (Documentation/networking/snmp_counter.rst).
//!
//! The default metrics are those needed in an incident; the detailed ones complete the default fields of
//! node_exporter's netstat collector. Each file is scanned once for the required fields. These metrics exist neither in
//! the semantic conventions nor in hostmetrics.

use std::time::Duration;

use super::sockets::{IPV4, IPV6, TYPE};
use super::{Collector, Context, Definition, Observer};
use crate::host::{Reader, Source};
use crate::metrics::counter::{self, Counters, Rules};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, attributes};
use crate::metrics::parse::{fields, lines, number};

pub const DEFINITION: Definition =
    Definition { name: "protocols", metrics: METRICS, new: |context| Box::new(Protocols::new(context)) };

const DIRECTION: Attribute = Attribute { key: Names::both("network.io.direction"), values: &[RECEIVE, TRANSMIT] };
const OPEN: Attribute =
    Attribute { key: Names::both("system.network.linux.tcp.open.type"), values: &[ACTIVE, PASSIVE] };
const ERROR: Attribute =
    Attribute { key: Names::both("system.network.linux.udp.error.type"), values: &[IN_ERRORS, NO_PORT, SEND_BUFFER] };
const COOKIE: Attribute =
    Attribute { key: Names::both("system.network.linux.tcp.syncookie.type"), values: &[SENT, RECEIVED, FAILED] };

const RECEIVE: Names = Names::both("receive");
const TRANSMIT: Names = Names::both("transmit");
const ACTIVE: Names = Names::both("active");
const PASSIVE: Names = Names::both("passive");
const IN_ERRORS: Names = Names::both("receive");
const NO_PORT: Names = Names::both("no_port");
const SEND_BUFFER: Names = Names::both("send_buffer");
const SENT: Names = Names::both("sent");
const RECEIVED: Names = Names::both("received");
const FAILED: Names = Names::both("failed");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("tcp.segments", Counter, Int, "TCP segments received, and sent without retransmits",
        "/proc/1/net/snmp, Tcp: InSegs, OutSegs")
        .semconv("system.network.linux.tcp.segments", "{segment}", Basic, &[&DIRECTION]),
    Metric::new("tcp.retransmits", Counter, Int, "TCP segments sent again", "/proc/1/net/snmp, Tcp: RetransSegs")
        .semconv("system.network.linux.tcp.retransmits", "{segment}", Basic, &[]),
    Metric::new("tcp.resets", Counter, Int, "TCP segments sent with the flag RST", "/proc/1/net/snmp, Tcp: OutRsts")
        .semconv("system.network.linux.tcp.resets", "{segment}", Basic, &[]),
    Metric::new("tcp.connection.resets", Counter, Int, "Established TCP connections that were reset",
        "/proc/1/net/snmp, Tcp: EstabResets")
        .semconv("system.network.linux.tcp.connection.resets", "{connection}", Basic, &[]),
    Metric::new("tcp.opens", Counter, Int, "TCP connections that this host opened, and that it accepted",
        "/proc/1/net/snmp, Tcp: ActiveOpens, PassiveOpens")
        .semconv("system.network.linux.tcp.connection.opens", "{connection}", Basic, &[&OPEN]),
    Metric::new("tcp.failures", Counter, Int, "TCP connections that could not be established",
        "/proc/1/net/snmp, Tcp: AttemptFails")
        .semconv("system.network.linux.tcp.connection.failures", "{connection}", Basic, &[]),
    Metric::new("tcp.established", UpDownCounter, Int, "TCP connections in ESTABLISHED or CLOSE_WAIT",
        "/proc/1/net/snmp, Tcp: CurrEstab")
        .semconv("system.network.linux.tcp.connection.established", "{connection}", Basic, &[]),
    Metric::new("tcp.listen.overflows", Counter, Int, "Times that a listening socket's queue was full",
        "/proc/1/net/netstat, TcpExt: ListenOverflows")
        .semconv("system.network.linux.tcp.listen.overflows", "{event}", Basic, &[]),
    Metric::new("tcp.listen.drops", Counter, Int,
        "Connection requests that a listening socket dropped, overflows among them",
        "/proc/1/net/netstat, TcpExt: ListenDrops")
        .semconv("system.network.linux.tcp.listen.drops", "{event}", Basic, &[]),
    Metric::new("tcp.timeouts", Counter, Int, "Retransmission timeouts of TCP connections",
        "/proc/1/net/netstat, TcpExt: TCPTimeouts")
        .semconv("system.network.linux.tcp.timeouts", "{event}", Basic, &[]),
    Metric::new("udp.datagrams", Counter, Int, "UDP datagrams delivered and sent",
        "/proc/1/net/snmp, Udp: and /proc/1/net/snmp6, Udp6, InDatagrams, OutDatagrams")
        .semconv("system.network.linux.udp.datagrams", "{datagram}", Basic, &[&DIRECTION, &TYPE]),
    Metric::new("udp.errors", Counter, Int,
        "UDP datagrams that could not be delivered, that no socket waited for, or whose send buffer was full",
        "/proc/1/net/snmp, Udp: and /proc/1/net/snmp6, Udp6, InErrors, NoPorts, SndbufErrors")
        .semconv("system.network.linux.udp.errors", "{error}", Basic, &[&TYPE, &ERROR]),
    Metric::new("udp.receive_buffer_errors", Counter, Int,
        "UDP datagrams whose receive buffer was full; they are among the receive errors",
        "/proc/1/net/snmp, Udp: and /proc/1/net/snmp6, Udp6, RcvbufErrors")
        .semconv("system.network.linux.udp.receive_buffer_errors", "{error}", Basic, &[&TYPE]),
    Metric::new("tcp.errors", Counter, Int, "TCP segments received with an error", "/proc/1/net/snmp, Tcp: InErrs")
        .semconv("system.network.linux.tcp.errors", "{error}", Detailed, &[]),
    Metric::new("tcp.syn_retransmits", Counter, Int, "SYN segments sent again",
        "/proc/1/net/netstat, TcpExt: TCPSynRetrans").since("3.10")
        .semconv("system.network.linux.tcp.syn_retransmits", "{segment}", Detailed, &[]),
    Metric::new("tcp.out_of_order", Counter, Int, "TCP segments that came out of order and were queued",
        "/proc/1/net/netstat, TcpExt: TCPOFOQueue").since("3.3")
        .semconv("system.network.linux.tcp.out_of_order", "{segment}", Detailed, &[]),
    Metric::new("tcp.receive_queue_drops", Counter, Int, "TCP segments dropped since the receive queue was full",
        "/proc/1/net/netstat, TcpExt: TCPRcvQDrop").since("4.18")
        .semconv("system.network.linux.tcp.receive_queue_drops", "{segment}", Detailed, &[]),
    Metric::new("tcp.syncookies", Counter, Int, "SYN cookies sent, received, and received that were not valid",
        "/proc/1/net/netstat, TcpExt: SyncookiesSent, SyncookiesRecv, SyncookiesFailed")
        .semconv("system.network.linux.tcp.syncookies", "{cookie}", Detailed, &[&COOKIE]),
    Metric::new("ip.io", Counter, Int, "Bytes of IP packets received and sent",
        "/proc/1/net/netstat, IpExt: and /proc/1/net/snmp6, Ip6, InOctets, OutOctets").since("2.6.32")
        .semconv("system.network.linux.ip.io", "By", Detailed, &[&DIRECTION, &TYPE]),
    Metric::new("ip.forwarding", UpDownCounter, Int,
        "Whether the host forwards IPv4 packets: 1, or 2 where it does not", "/proc/1/net/snmp, Ip: Forwarding")
        .semconv("system.network.linux.ip.forwarding", "{state}", Detailed, &[]),
    Metric::new("icmp.messages", Counter, Int, "ICMP messages received and sent",
        "/proc/1/net/snmp, Icmp: and /proc/1/net/snmp6, Icmp6, InMsgs, OutMsgs")
        .semconv("system.network.linux.icmp.messages", "{message}", Detailed, &[&DIRECTION, &TYPE]),
    Metric::new("icmp.errors", Counter, Int, "ICMP messages received with an error",
        "/proc/1/net/snmp, Icmp: and /proc/1/net/snmp6, Icmp6, InErrors")
        .semconv("system.network.linux.icmp.errors", "{error}", Detailed, &[&TYPE]),
    Metric::new("udplite.errors", Counter, Int, "UDP-Lite datagrams that could not be delivered",
        "/proc/1/net/snmp, UdpLite: and /proc/1/net/snmp6, UdpLite6, InErrors")
        .semconv("system.network.linux.udplite.errors", "{error}", Detailed, &[&TYPE]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    Snmp,
    Netstat,
    Snmp6,
}
use File::{Netstat, Snmp, Snmp6};

/// The source of a series: metric, file, protocol line and field, and the series' attributes.
type Origin = (&'static str, File, &'static str, &'static str, &'static [(&'static Attribute, Names)]);

#[rustfmt::skip] // a table
const ORIGINS: &[Origin] = &[
    ("tcp.segments", Snmp, "Tcp", "InSegs", &[(&DIRECTION, RECEIVE)]),
    ("tcp.segments", Snmp, "Tcp", "OutSegs", &[(&DIRECTION, TRANSMIT)]),
    ("tcp.retransmits", Snmp, "Tcp", "RetransSegs", &[]),
    ("tcp.resets", Snmp, "Tcp", "OutRsts", &[]),
    ("tcp.connection.resets", Snmp, "Tcp", "EstabResets", &[]),
    ("tcp.opens", Snmp, "Tcp", "ActiveOpens", &[(&OPEN, ACTIVE)]),
    ("tcp.opens", Snmp, "Tcp", "PassiveOpens", &[(&OPEN, PASSIVE)]),
    ("tcp.failures", Snmp, "Tcp", "AttemptFails", &[]),
    ("tcp.established", Snmp, "Tcp", "CurrEstab", &[]),
    ("tcp.listen.overflows", Netstat, "TcpExt", "ListenOverflows", &[]),
    ("tcp.listen.drops", Netstat, "TcpExt", "ListenDrops", &[]),
    ("tcp.timeouts", Netstat, "TcpExt", "TCPTimeouts", &[]),
    ("udp.datagrams", Snmp, "Udp", "InDatagrams", &[(&DIRECTION, RECEIVE), (&TYPE, IPV4)]),
    ("udp.datagrams", Snmp, "Udp", "OutDatagrams", &[(&DIRECTION, TRANSMIT), (&TYPE, IPV4)]),
    ("udp.datagrams", Snmp6, "Udp6", "InDatagrams", &[(&DIRECTION, RECEIVE), (&TYPE, IPV6)]),
    ("udp.datagrams", Snmp6, "Udp6", "OutDatagrams", &[(&DIRECTION, TRANSMIT), (&TYPE, IPV6)]),
    ("udp.errors", Snmp, "Udp", "InErrors", &[(&TYPE, IPV4), (&ERROR, IN_ERRORS)]),
    ("udp.errors", Snmp, "Udp", "NoPorts", &[(&TYPE, IPV4), (&ERROR, NO_PORT)]),
    ("udp.errors", Snmp, "Udp", "SndbufErrors", &[(&TYPE, IPV4), (&ERROR, SEND_BUFFER)]),
    ("udp.errors", Snmp6, "Udp6", "InErrors", &[(&TYPE, IPV6), (&ERROR, IN_ERRORS)]),
    ("udp.errors", Snmp6, "Udp6", "NoPorts", &[(&TYPE, IPV6), (&ERROR, NO_PORT)]),
    ("udp.errors", Snmp6, "Udp6", "SndbufErrors", &[(&TYPE, IPV6), (&ERROR, SEND_BUFFER)]),
    ("udp.receive_buffer_errors", Snmp, "Udp", "RcvbufErrors", &[(&TYPE, IPV4)]),
    ("udp.receive_buffer_errors", Snmp6, "Udp6", "RcvbufErrors", &[(&TYPE, IPV6)]),
    ("tcp.errors", Snmp, "Tcp", "InErrs", &[]),
    ("tcp.syn_retransmits", Netstat, "TcpExt", "TCPSynRetrans", &[]),
    ("tcp.out_of_order", Netstat, "TcpExt", "TCPOFOQueue", &[]),
    ("tcp.receive_queue_drops", Netstat, "TcpExt", "TCPRcvQDrop", &[]),
    ("tcp.syncookies", Netstat, "TcpExt", "SyncookiesSent", &[(&COOKIE, SENT)]),
    ("tcp.syncookies", Netstat, "TcpExt", "SyncookiesRecv", &[(&COOKIE, RECEIVED)]),
    ("tcp.syncookies", Netstat, "TcpExt", "SyncookiesFailed", &[(&COOKIE, FAILED)]),
    ("ip.io", Netstat, "IpExt", "InOctets", &[(&DIRECTION, RECEIVE), (&TYPE, IPV4)]),
    ("ip.io", Netstat, "IpExt", "OutOctets", &[(&DIRECTION, TRANSMIT), (&TYPE, IPV4)]),
    ("ip.io", Snmp6, "Ip6", "InOctets", &[(&DIRECTION, RECEIVE), (&TYPE, IPV6)]),
    ("ip.io", Snmp6, "Ip6", "OutOctets", &[(&DIRECTION, TRANSMIT), (&TYPE, IPV6)]),
    ("ip.forwarding", Snmp, "Ip", "Forwarding", &[]),
    ("icmp.messages", Snmp, "Icmp", "InMsgs", &[(&DIRECTION, RECEIVE), (&TYPE, IPV4)]),
    ("icmp.messages", Snmp, "Icmp", "OutMsgs", &[(&DIRECTION, TRANSMIT), (&TYPE, IPV4)]),
    ("icmp.messages", Snmp6, "Icmp6", "InMsgs", &[(&DIRECTION, RECEIVE), (&TYPE, IPV6)]),
    ("icmp.messages", Snmp6, "Icmp6", "OutMsgs", &[(&DIRECTION, TRANSMIT), (&TYPE, IPV6)]),
    ("icmp.errors", Snmp, "Icmp", "InErrors", &[(&TYPE, IPV4)]),
    ("icmp.errors", Snmp6, "Icmp6", "InErrors", &[(&TYPE, IPV6)]),
    ("udplite.errors", Snmp, "UdpLite", "InErrors", &[(&TYPE, IPV4)]),
    ("udplite.errors", Snmp6, "UdpLite6", "InErrors", &[(&TYPE, IPV6)]),
];

/// Maximum number of required fields in one file.
const MOST_FIELDS: usize = 24;

/// A required series; its field is the column with the same index.
struct Series {
    origin: &'static Origin,
    attributes: Attributes,
    is_counter: bool,
    reading: Option<u64>,
}

/// A file, whose required counters form one row.
struct Wanted {
    file: File,
    source: Source,
    series: Vec<Series>,
    counters: Counters<MOST_FIELDS>,
}

struct Protocols(Vec<Wanted>);

impl Protocols {
    fn new(context: &Context) -> Self {
        let (host, options) = (&context.host, &context.options);
        let series = |origin: &'static Origin| {
            let (id, .., words) = origin;
            let metric = METRICS.iter().find(|metric| metric.id == *id)?;
            metric.shape(options.naming).filter(|shape| shape.detail <= options.detail)?;
            let pairs: Vec<_> = words.iter().map(|(key, word)| (*key, AttributeValue::Word(*word))).collect();
            let attributes = attributes(options.naming, &pairs);
            Some(Series { origin, attributes, is_counter: metric.kind == Counter, reading: None })
        };
        let wanted = |(file, name): (File, &str)| {
            let of_file = ORIGINS.iter().filter(|origin| origin.1 == file);
            let series: Vec<Series> = of_file.filter_map(series).take(MOST_FIELDS).collect();
            let kinds = std::array::from_fn(|place| {
                let bytes = series.get(place).is_some_and(|series| series.origin.0 == "ip.io");
                let kind = if bytes { counter::Kind::BYTES } else { counter::Kind::EVENTS };
                kind.word(host.word_bits)
            });
            // A file that no metric needs is not read.
            (!series.is_empty()).then(|| Wanted {
                file,
                source: Source::optional(host.network_file(name)).holds_counters(),
                series,
                counters: Counters::new(Rules::new(kinds, options.since).delta(options.delta)),
            })
        };
        let files = [(Snmp, "snmp"), (Netstat, "netstat"), (Snmp6, "snmp6")];
        Self(files.into_iter().filter_map(wanted).collect())
    }
}

impl Wanted {
    fn take(&mut self, bytes: &[u8], now: Duration) {
        self.clear();
        let series = &mut self.series;
        // The first field of a name is used; a second one means that the file is corrupt.
        let mut found = |protocol: &[u8], name: &[u8], value: Option<u64>| {
            let is_it =
                |series: &&mut Series| series.origin.2.as_bytes() == protocol && series.origin.3.as_bytes() == name;
            if let Some(series) = series.iter_mut().find(is_it) {
                series.reading = series.reading.or(value);
            }
        };
        match self.file {
            Snmp6 => snmp6_fields(bytes, &mut found),
            Snmp | Netstat => paired_fields(bytes, &mut found),
        }
        let reading = |place: usize| self.series.get(place).filter(|series| series.is_counter)?.reading;
        self.counters.read(&std::array::from_fn(reading), now);
    }

    fn clear(&mut self) {
        self.series.iter_mut().for_each(|series| series.reading = None);
    }
}

/// Parses snmp and netstat: a line with the names of a protocol is followed by a line with its numbers. Some numbers
/// may be negative (`MaxConn`); these are not needed.
fn paired_fields(bytes: &[u8], found: &mut impl FnMut(&[u8], &[u8], Option<u64>)) {
    let mut names: Option<(&[u8], &[u8])> = None;
    for line in lines(bytes) {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let (Some(protocol), Some(rest)) = (line.get(..colon), line.get(colon + 1..)) else { continue };
        match names.take().filter(|(before, _)| *before == protocol) {
            Some((_, names)) => {
                fields(names).zip(fields(rest)).for_each(|(name, field)| found(protocol, name, number(field)));
            }
            None => names = Some((protocol, rest)),
        }
    }
}

/// Parses snmp6: one field per line, with protocol and name in one word (`Udp6InErrors`).
fn snmp6_fields(bytes: &[u8], found: &mut impl FnMut(&[u8], &[u8], Option<u64>)) {
    for line in lines(bytes) {
        let mut fields = fields(line);
        let Some(word) = fields.next() else { continue };
        let Some(six) = word.iter().position(|&b| b == b'6') else { continue };
        if let (Some(protocol), Some(name)) = (word.get(..=six), word.get(six + 1..)) {
            found(protocol, name, fields.next().and_then(number));
        }
    }
}

impl Collector for Protocols {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        for wanted in &mut self.0 {
            match reader.read(&mut wanted.source) {
                Some(bytes) => wanted.take(bytes, now),
                // Keep the totals and clear the states.
                None => wanted.clear(),
            }
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        for wanted in &self.0 {
            for (place, series) in wanted.series.iter().enumerate().filter(|(_, series)| series.origin.0 == metric.id) {
                let value = if series.is_counter { wanted.counters.get(place) } else { series.reading };
                value.iter().for_each(|value| out.int(*value, &series.attributes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Options;
    use super::super::testing::{Bench, Host};
    use super::*;
    use crate::metrics::counter::Since;

    const SNMP: &str = "Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: RtoMin MaxConn ActiveOpens CurrEstab InSegs OutSegs RetransSegs\nTcp: 200 -1 143 7 14449 10383 5\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\nUdp: 289 1 2 291 3 4\n";

    fn host() -> Host {
        let host = Host::empty();
        host.write("proc/1/net/dev", "");
        host.write("proc/1/net/snmp", SNMP);
        host.write(
            "proc/1/net/netstat",
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts\nTcpExt: 9 11 12 13\n",
        );
        host.write("proc/1/net/snmp6", "Ip6InReceives\t5\nUdp6InDatagrams                 \t31\nUdp6InErrors 32\n");
        host
    }

    fn points(host: &Host) -> Vec<String> {
        let options = Options { since: Since::Boot, ..Options::default() };
        Bench::new(DEFINITION, host.context(options)).next()
    }

    fn value(points: &[String], name: &str) -> Option<u64> {
        let point = points.iter().find_map(|point| point.strip_prefix(&format!("system.network.linux.{name} ")))?;
        point.parse().ok()
    }

    #[test]
    fn each_number_belongs_to_the_name_above_it() {
        let points = points(&host());
        for (name, expected) in [
            ("tcp.segments{network.io.direction=receive}", 14_449),
            ("tcp.segments{network.io.direction=transmit}", 10_383),
            ("tcp.retransmits", 5),
            ("tcp.connection.opens{system.network.linux.tcp.open.type=active}", 143),
            ("tcp.connection.established", 7),
            ("tcp.listen.overflows", 11),
            ("tcp.listen.drops", 12),
            ("tcp.timeouts", 13),
            ("udp.datagrams{network.io.direction=receive,network.type=ipv4}", 289),
            ("udp.datagrams{network.io.direction=receive,network.type=ipv6}", 31),
            ("udp.errors{network.type=ipv4,system.network.linux.udp.error.type=no_port}", 1),
            ("udp.errors{network.type=ipv6,system.network.linux.udp.error.type=receive}", 32),
            ("udp.receive_buffer_errors{network.type=ipv4}", 3),
        ] {
            assert_eq!(value(&points, name), Some(expected), "{name} in {points:#?}");
        }
    }

    #[test]
    fn a_field_that_the_kernel_lacks_has_no_series() {
        let points = points(&host());
        assert_eq!(value(&points, "tcp.resets"), None);
        assert_eq!(value(&points, "udp.receive_buffer_errors{network.type=ipv6}"), None);
    }

    #[test]
    fn a_host_without_ipv6_reports_ipv4_and_fails_nothing() {
        let host = host();
        host.remove("proc/1/net/snmp6");
        let mut protocols = Bench::new(DEFINITION, host.context(Options::default()));
        let points = protocols.next();
        assert!(!points.is_empty() && points.iter().all(|point| !point.contains("ipv6")), "{points:#?}");
        assert_eq!(protocols.reader.failures(), 0);
    }

    #[test]
    fn names_without_numbers_and_numbers_of_another_protocol_are_left_out() {
        let mut seen = Vec::new();
        let mut found = |protocol: &[u8], name: &[u8], value: Option<u64>| {
            seen.push((
                String::from_utf8_lossy(protocol).into_owned(),
                String::from_utf8_lossy(name).into_owned(),
                value,
            ));
        };
        paired_fields(b"Tcp: A B\nUdp: A\nUdp: 4\nno colon\nIp: A B\nIp: 1\n: x\n", &mut found);
        let expected = [("Udp", "A", Some(4)), ("Ip", "A", Some(1))];
        assert_eq!(seen, expected.map(|(protocol, name, value)| (protocol.to_owned(), name.to_owned(), value)));
    }

    #[test]
    fn counters_hold_and_states_go_while_a_file_is_gone() {
        let host = host();
        let mut protocols = Bench::new(DEFINITION, host.context(Options::default()));
        host.remove("proc/1/net/snmp");
        let points = protocols.next();
        assert_eq!(value(&points, "tcp.retransmits"), Some(0));
        assert_eq!(value(&points, "tcp.connection.established"), None);
    }

    #[test]
    fn every_series_has_a_metric_and_every_metric_a_series() {
        for (id, ..) in ORIGINS {
            assert!(METRICS.iter().any(|metric| metric.id == *id), "{id}");
        }
        for metric in METRICS {
            assert!(ORIGINS.iter().any(|(id, ..)| *id == metric.id), "{}", metric.id);
        }
    }

    #[test]
    fn no_file_has_more_wanted_fields_than_there_is_room_for() {
        for file in [Snmp, Netstat, Snmp6] {
            assert!(ORIGINS.iter().filter(|origin| origin.1 == file).count() <= MOST_FIELDS, "{file:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            paired_fields(&bytes, &mut |_, _, _| {});
            snmp6_fields(&bytes, &mut |_, _, _| {});
        }
    }
}
