//! Counters of network protocols that node_exporter reports by default, from `/proc/1/net/netstat`, `snmp` and `snmp6`.

use super::super::{Collector, Context, Definition, Observer};
use super::keys::Keys;
use crate::host::{Reader, Source};
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Metric;
use crate::metrics::naming::Number::Double;
use crate::metrics::parse::{fields, lines};

pub const DEFINITION: Definition =
    Definition { name: "protocols", metrics: METRICS, new: |context| Box::new(Netstat::new(context)) };

const fn field(name: &'static str, metric: &'static str) -> Metric {
    Metric::node(
        name,
        Gauge,
        Double,
        metric,
        &[],
        "The kernel's number of this name",
        "/proc/1/net/snmp, netstat, snmp6",
    )
}

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    field("Icmp6_InErrors", "node_netstat_Icmp6_InErrors"),
    field("Icmp6_InMsgs", "node_netstat_Icmp6_InMsgs"),
    field("Icmp6_OutMsgs", "node_netstat_Icmp6_OutMsgs"),
    field("Icmp_InErrors", "node_netstat_Icmp_InErrors"),
    field("Icmp_InMsgs", "node_netstat_Icmp_InMsgs"),
    field("Icmp_OutMsgs", "node_netstat_Icmp_OutMsgs"),
    field("Ip6_InOctets", "node_netstat_Ip6_InOctets"),
    field("Ip6_OutOctets", "node_netstat_Ip6_OutOctets"),
    field("IpExt_InOctets", "node_netstat_IpExt_InOctets"),
    field("IpExt_OutOctets", "node_netstat_IpExt_OutOctets"),
    field("Ip_Forwarding", "node_netstat_Ip_Forwarding"),
    field("TcpExt_ListenDrops", "node_netstat_TcpExt_ListenDrops"),
    field("TcpExt_ListenOverflows", "node_netstat_TcpExt_ListenOverflows"),
    field("TcpExt_SyncookiesFailed", "node_netstat_TcpExt_SyncookiesFailed"),
    field("TcpExt_SyncookiesRecv", "node_netstat_TcpExt_SyncookiesRecv"),
    field("TcpExt_SyncookiesSent", "node_netstat_TcpExt_SyncookiesSent"),
    field("TcpExt_TCPOFOQueue", "node_netstat_TcpExt_TCPOFOQueue"),
    field("TcpExt_TCPRcvQDrop", "node_netstat_TcpExt_TCPRcvQDrop"),
    field("TcpExt_TCPSynRetrans", "node_netstat_TcpExt_TCPSynRetrans"),
    field("TcpExt_TCPTimeouts", "node_netstat_TcpExt_TCPTimeouts"),
    field("Tcp_ActiveOpens", "node_netstat_Tcp_ActiveOpens"),
    field("Tcp_CurrEstab", "node_netstat_Tcp_CurrEstab"),
    field("Tcp_InErrs", "node_netstat_Tcp_InErrs"),
    field("Tcp_InSegs", "node_netstat_Tcp_InSegs"),
    field("Tcp_OutRsts", "node_netstat_Tcp_OutRsts"),
    field("Tcp_OutSegs", "node_netstat_Tcp_OutSegs"),
    field("Tcp_PassiveOpens", "node_netstat_Tcp_PassiveOpens"),
    field("Tcp_RetransSegs", "node_netstat_Tcp_RetransSegs"),
    field("Udp6_InDatagrams", "node_netstat_Udp6_InDatagrams"),
    field("Udp6_InErrors", "node_netstat_Udp6_InErrors"),
    field("Udp6_NoPorts", "node_netstat_Udp6_NoPorts"),
    field("Udp6_OutDatagrams", "node_netstat_Udp6_OutDatagrams"),
    field("Udp6_RcvbufErrors", "node_netstat_Udp6_RcvbufErrors"),
    field("Udp6_SndbufErrors", "node_netstat_Udp6_SndbufErrors"),
    field("UdpLite6_InErrors", "node_netstat_UdpLite6_InErrors"),
    field("UdpLite_InErrors", "node_netstat_UdpLite_InErrors"),
    field("Udp_InDatagrams", "node_netstat_Udp_InDatagrams"),
    field("Udp_InErrors", "node_netstat_Udp_InErrors"),
    field("Udp_NoPorts", "node_netstat_Udp_NoPorts"),
    field("Udp_OutDatagrams", "node_netstat_Udp_OutDatagrams"),
    field("Udp_RcvbufErrors", "node_netstat_Udp_RcvbufErrors"),
    field("Udp_SndbufErrors", "node_netstat_Udp_SndbufErrors"),
];

struct Netstat {
    /// Files with pairs of lines: names, then numbers.
    pairs: [Source; 2],
    /// A file with one name and number per line.
    six: Source,
    keys: Keys,
}

impl Netstat {
    fn new(context: &Context) -> Self {
        let file = |name: &str, missing| Source::new(context.host.network_file(name), missing);
        Self {
            pairs: [file("netstat", "the kernel needs CONFIG_INET"), file("snmp", "the kernel needs CONFIG_INET")],
            six: file("snmp6", "this kernel has no IPv6"),
            keys: Keys::new(METRICS),
        }
    }
}

/// Parses pairs of lines: for `Tcp: RtoMin MaxConn` followed by `Tcp: 200 -1`, `Tcp_MaxConn` is -1.
fn take_pairs(bytes: &[u8], keys: &mut Keys) {
    let mut lines = lines(bytes);
    let mut name = Vec::new();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let (mut names, mut numbers) = (fields(names), fields(numbers));
        let Some(protocol) = names.next().and_then(|first| first.strip_suffix(b":")) else { continue };
        if numbers.next().and_then(|first| first.strip_suffix(b":")) != Some(protocol) {
            continue;
        }
        for (field, number) in names.zip(numbers) {
            name.clear();
            name.extend_from_slice(protocol);
            name.push(b'_');
            name.extend_from_slice(field);
            keys.set(&name, crate::metrics::parse::number(number));
        }
    }
}

/// Parses lines such as `Ip6InOctets 5`: `Ip6_InOctets` is 5.
fn take_six(bytes: &[u8], keys: &mut Keys) {
    let mut name = Vec::new();
    for line in lines(bytes) {
        let mut fields = fields(line);
        let (Some(whole), Some(number)) = (fields.next(), fields.next()) else { continue };
        let Some(end) = whole.iter().position(|&b| b == b'6').map(|place| place + 1) else { continue };
        let (protocol, field) = whole.split_at(end);
        name.clear();
        name.extend_from_slice(protocol);
        name.push(b'_');
        name.extend_from_slice(field);
        keys.set(&name, crate::metrics::parse::number(number));
    }
}

impl Collector for Netstat {
    fn read(&mut self, reader: &mut Reader) {
        self.keys.clear();
        for source in &mut self.pairs {
            if let Some(bytes) = reader.read(source) {
                take_pairs(bytes, &mut self.keys);
            }
        }
        if let Some(bytes) = reader.read(&mut self.six) {
            take_six(bytes, &mut self.keys);
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        self.keys.observe(metric.id, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;

    #[test]
    fn a_number_is_found_below_its_name() {
        let host = TestHost::empty();
        host.write(
            "proc/net/snmp",
            "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: MaxConn ActiveOpens RetransSegs\nTcp: -1 3556 2264\n",
        );
        host.write("proc/net/netstat", "TcpExt: ListenDrops\nTcpExt: 5\nIpExt: InOctets\nOther: 6\n");
        host.write("proc/net/snmp6", "Ip6InOctets                     460\nUdpLite6InErrors 7\nIcmp6InMsgs\t8\n");
        let mut netstat = Netstat::new(&host.context(Options::default()));
        assert_eq!(host.read(&mut netstat), 0);
        for (id, value) in [
            ("Ip_Forwarding", "1"),
            ("Tcp_ActiveOpens", "3556"),
            ("Tcp_RetransSegs", "2264"),
            ("TcpExt_ListenDrops", "5"),
            ("Ip6_InOctets", "460"),
            ("UdpLite6_InErrors", "7"),
            ("Icmp6_InMsgs", "8"),
        ] {
            assert_eq!(series(&netstat, METRICS, id), [value], "{id}");
        }
        assert!(series(&netstat, METRICS, "IpExt_InOctets").is_empty(), "its numbers are of another protocol");
    }
}
