//! Sockets, packets in the CPU backlogs, and connection tracking in node_exporter's naming: `/proc/1/net/sockstat`,
//! `sockstat6`, `softnet_stat`, `/proc/sys/net/netfilter` and `/proc/1/net/stat/nf_conntrack`.

use super::super::cpu::MOST_CPUS;
use super::super::{Collector, Context, Definition, Observer};
use super::keys::Keys;
use super::rules;
use crate::host::{Reader, Source};
use crate::metrics::counter::{Kind, Table};
use crate::metrics::naming::Kind::{Counter, Gauge};
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, Attributes, Metric, label, labels};
use crate::metrics::parse::{fields, hexadecimal, lines, next_number, number};

pub const DEFINITION: Definition =
    Definition { name: "sockets", metrics: METRICS, new: |context| Box::new(Sockets::new(context)) };

const CPU: Attribute = label("cpu");

const fn field(name: &'static str, metric: &'static str) -> Metric {
    Metric::node(
        name,
        Gauge,
        Int,
        metric,
        &[],
        "The kernel's number of this name; mem is in pages",
        "/proc/1/net/sockstat, sockstat6",
    )
}

const fn tracked(name: &'static str, metric: &'static str) -> Metric {
    Metric::node(
        name,
        Gauge,
        Int,
        metric,
        &[],
        "The kernel's count of this name, over all CPUs",
        "/proc/1/net/stat/nf_conntrack",
    )
}

const fn softnet(kind: crate::metrics::naming::Kind, name: &'static str, description: &'static str) -> Metric {
    Metric::node(name, kind, Int, name, &[&CPU], description, "/proc/1/net/softnet_stat")
}

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    field("FRAG6_inuse", "node_sockstat_FRAG6_inuse"),
    field("FRAG6_memory", "node_sockstat_FRAG6_memory"),
    field("FRAG_inuse", "node_sockstat_FRAG_inuse"),
    field("FRAG_memory", "node_sockstat_FRAG_memory"),
    field("RAW6_inuse", "node_sockstat_RAW6_inuse"),
    field("RAW_inuse", "node_sockstat_RAW_inuse"),
    field("TCP6_inuse", "node_sockstat_TCP6_inuse"),
    field("TCP_alloc", "node_sockstat_TCP_alloc"),
    field("TCP_inuse", "node_sockstat_TCP_inuse"),
    field("TCP_mem", "node_sockstat_TCP_mem"),
    field("TCP_mem_bytes", "node_sockstat_TCP_mem_bytes"),
    field("TCP_orphan", "node_sockstat_TCP_orphan"),
    field("TCP_tw", "node_sockstat_TCP_tw"),
    field("UDP6_inuse", "node_sockstat_UDP6_inuse"),
    field("UDPLITE6_inuse", "node_sockstat_UDPLITE6_inuse"),
    field("UDPLITE_inuse", "node_sockstat_UDPLITE_inuse"),
    field("UDP_inuse", "node_sockstat_UDP_inuse"),
    field("UDP_mem", "node_sockstat_UDP_mem"),
    field("UDP_mem_bytes", "node_sockstat_UDP_mem_bytes"),
    field("sockets_used", "node_sockstat_sockets_used"),
    softnet(Counter, "node_softnet_processed_total", "Packets that were processed"),
    softnet(Counter, "node_softnet_dropped_total", "Packets that were dropped because the queue was full"),
    softnet(Counter, "node_softnet_times_squeezed_total", "How often the time for packets ran out"),
    softnet(Counter, "node_softnet_cpu_collision_total", "Collisions while a device was locked to transmit"),
    softnet(Counter, "node_softnet_received_rps_total", "How often the CPU was woken to process packets"),
    softnet(Counter, "node_softnet_flow_limit_count_total", "How often the flow limit was reached"),
    softnet(Gauge, "node_softnet_backlog_len", "Packets in the queue"),
    Metric::node("nf_conntrack_count", Gauge, Int, "node_nf_conntrack_entries", &[],
        "Connections that are tracked", "/proc/sys/net/netfilter/nf_conntrack_count"),
    Metric::node("nf_conntrack_max", Gauge, Int, "node_nf_conntrack_entries_limit", &[],
        "Connections that can be tracked at most", "/proc/sys/net/netfilter/nf_conntrack_max"),
    tracked("drop", "node_nf_conntrack_stat_drop"),
    tracked("early_drop", "node_nf_conntrack_stat_early_drop"),
    tracked("found", "node_nf_conntrack_stat_found"),
    tracked("ignore", "node_nf_conntrack_stat_ignore"),
    tracked("insert", "node_nf_conntrack_stat_insert"),
    tracked("insert_failed", "node_nf_conntrack_stat_insert_failed"),
    tracked("invalid", "node_nf_conntrack_stat_invalid"),
    tracked("search_restart", "node_nf_conntrack_stat_search_restart"),
];

/// The counter columns of `softnet_stat` with their metrics.
const SOFTNET: [(&str, usize); 6] = [
    ("node_softnet_processed_total", 0),
    ("node_softnet_dropped_total", 1),
    ("node_softnet_times_squeezed_total", 2),
    ("node_softnet_cpu_collision_total", 8),
    ("node_softnet_received_rps_total", 9),
    ("node_softnet_flow_limit_count_total", 10),
];
const BACKLOG_COLUMN: usize = 11;
const CPU_COLUMN: usize = 12;
struct Softnet {
    series: Attributes,
    backlog: u64,
}

struct Sockets {
    page_bytes: u64,
    sockstat: [Source; 2],
    softnet: Source,
    sysctls: [(Source, &'static str); 2],
    tracking: Source,
    keys: Keys,
    cpus: Table<Softnet, { SOFTNET.len() }>,
}

impl Sockets {
    fn new(context: &Context) -> Self {
        let host = &context.host;
        let file = |name: &str, missing| Source::new(host.network_file(name), missing);
        let netfilter = |name: &'static str| {
            let path = host.proc("sys/net/netfilter").join(name);
            (Source::new(path, "connection tracking is not in use (nf_conntrack)"), name)
        };
        Self {
            page_bytes: host.page_bytes,
            sockstat: [file("sockstat", "the kernel needs CONFIG_INET"), file("sockstat6", "this kernel has no IPv6")],
            softnet: file("softnet_stat", "the kernel needs CONFIG_NET"),
            sysctls: [netfilter("nf_conntrack_count"), netfilter("nf_conntrack_max")],
            tracking: file("stat/nf_conntrack", "the kernel needs CONFIG_NF_CONNTRACK_PROCFS"),
            keys: Keys::new(METRICS),
            cpus: Table::new(rules([Kind::EVENTS.narrow(); SOFTNET.len()], &context.options), MOST_CPUS),
        }
    }

    /// Parses lines such as `TCP: inuse 4 orphan 0`: `TCP_inuse` is 4.
    fn take_sockstat(bytes: &[u8], page_bytes: u64, keys: &mut Keys) {
        for line in lines(bytes) {
            let mut fields = fields(line);
            let Some(protocol) = fields.next().and_then(|first| first.strip_suffix(b":")) else { continue };
            while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
                let (mut key, value) = ([protocol, b"_", name].concat(), number(value));
                keys.set(&key, value);
                if name == b"mem" {
                    key.extend_from_slice(b"_bytes");
                    keys.set(&key, value.and_then(|pages| pages.checked_mul(page_bytes)));
                }
            }
        }
    }

    fn take_softnet(&mut self, bytes: &[u8]) {
        for (place, line) in lines(bytes).enumerate().take(MOST_CPUS) {
            let columns: Vec<Option<u64>> = fields(line).map(hexadecimal).collect();
            let column = |place: usize| columns.get(place).copied().flatten();
            let cpu = column(CPU_COLUMN).unwrap_or(place as u64);
            let series = || Softnet { series: labels(&[("cpu", cpu.to_string())]), backlog: 0 };
            let readings = SOFTNET.map(|(_, place)| Some(column(place).unwrap_or(0)));
            if let Some((softnet, _)) = self.cpus.read(&cpu.to_le_bytes(), &readings, series) {
                softnet.data.backlog = column(BACKLOG_COLUMN).unwrap_or(0);
            }
        }
    }

    /// Parses a line of names followed by a line of hexadecimal numbers per CPU.
    fn take_tracking(bytes: &[u8], keys: &mut Keys) {
        let mut lines = lines(bytes);
        let names: Vec<&[u8]> = lines.next().into_iter().flat_map(fields).collect();
        let mut sums = vec![0_u64; names.len()];
        for line in lines {
            for (sum, field) in sums.iter_mut().zip(fields(line)) {
                *sum = sum.saturating_add(hexadecimal(field).unwrap_or(0));
            }
        }
        for (name, sum) in names.iter().zip(sums) {
            keys.set(name, Some(sum));
        }
    }
}

impl Collector for Sockets {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        self.keys.clear();
        for source in &mut self.sockstat {
            if let Some(bytes) = reader.read(source) {
                Self::take_sockstat(bytes, self.page_bytes, &mut self.keys);
            }
        }
        for (source, name) in &mut self.sysctls {
            let value = reader.read(source).and_then(|bytes| next_number(&mut fields(bytes)));
            self.keys.set(name.as_bytes(), value);
        }
        if let Some(bytes) = reader.read(&mut self.tracking) {
            Self::take_tracking(bytes, &mut self.keys);
        }
        if let Some(bytes) = reader.read(&mut self.softnet) {
            let bytes = bytes.to_vec();
            self.cpus.begin(now);
            self.take_softnet(&bytes);
            self.cpus.end();
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if let Some(place) = SOFTNET.iter().position(|(id, _)| *id == metric.id) {
            for entry in self.cpus.listed() {
                out.int(entry.row().total(place), &entry.data.series);
            }
        } else if metric.id == "node_softnet_backlog_len" {
            for entry in self.cpus.listed() {
                out.int(entry.data.backlog, &entry.data.series);
            }
        } else {
            self.keys.observe(metric.id, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;
    use crate::metrics::counter::Since;

    fn sockets(host: &TestHost) -> Sockets {
        let mut sockets = Sockets::new(&host.context(Options { since: Since::Boot, ..Options::default() }));
        assert_eq!(host.read(&mut sockets), 0);
        sockets
    }

    #[test]
    fn sockets_have_a_metric_for_each_protocol_and_state() {
        let host = TestHost::empty();
        host.write("proc/net/sockstat", "sockets: used 229\nTCP: inuse 4 orphan 0 tw 4 alloc 17 mem 1\n");
        host.write("proc/net/sockstat6", "TCP6: inuse 17\n");
        let mut sockets = Sockets::new(&host.context(Options::default()));
        sockets.page_bytes = 4_096;
        host.read(&mut sockets);
        for (id, value) in [
            ("sockets_used", "229"),
            ("TCP_tw", "4"),
            ("TCP_mem", "1"),
            ("TCP_mem_bytes", "4096"),
            ("TCP6_inuse", "17"),
        ] {
            assert_eq!(series(&sockets, METRICS, id), [value], "{id}");
        }
    }

    #[test]
    fn packets_are_counted_per_cpu_by_its_own_number() {
        let host = TestHost::empty();
        host.write(
            "proc/net/softnet_stat",
            "00008e78 00000001 00000011 0 0 0 0 0 00000002 00000003 00000004 00000005 00000002\n\
             000004a9 00000000 00000000 0 0 0 0 0 0 0 0 00000000 00000003\n",
        );
        let sockets = sockets(&host);
        assert_eq!(series(&sockets, METRICS, "node_softnet_processed_total"), ["cpu=2 36472", "cpu=3 1193"]);
        assert_eq!(series(&sockets, METRICS, "node_softnet_flow_limit_count_total"), ["cpu=2 4", "cpu=3 0"]);
        assert_eq!(series(&sockets, METRICS, "node_softnet_backlog_len"), ["cpu=2 5", "cpu=3 0"]);
    }

    #[test]
    fn tracked_connections_are_added_over_the_cpus() {
        let host = TestHost::empty();
        host.write(
            "proc/net/stat/nf_conntrack",
            "entries  found invalid\n00000021  0000000a 00000002\n00000021  00000005 00000001\n",
        );
        host.write("proc/sys/net/netfilter/nf_conntrack_count", "123\n");
        let sockets = sockets(&host);
        assert_eq!(series(&sockets, METRICS, "found"), ["15"]);
        assert_eq!(series(&sockets, METRICS, "invalid"), ["3"]);
        assert_eq!(series(&sockets, METRICS, "nf_conntrack_count"), ["123"]);
    }
}
