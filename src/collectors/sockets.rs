//! Sockets by protocol and their memory, from `net/sockstat` and `net/sockstat6` of the host's first process; packets
//! that a CPU took from its backlog or dropped, from `net/softnet_stat`; and the conntrack table, from
//! `/proc/sys/net/netfilter`.
//!
//! The conntrack table is that of the agent's network namespace; if that is not the host's, it is omitted. Its names
//! are those of the hostmetrics receiver; the other metrics have names neither there nor in the semantic conventions.

use std::time::Duration;

use super::cpu::{LOGICAL_NUMBER, MOST_CPUS, logical_number};
use super::{Collector, Context, Definition, Observer, Options};
use crate::host::{Reader, Source};
use crate::metrics::counter::{Kind, Rules, Table, add};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, attributes};
use crate::metrics::parse::{fields, hexadecimal, lines, number};

pub const DEFINITION: Definition =
    Definition { name: "sockets", metrics: METRICS, new: |context| Box::new(Sockets::new(context)) };

const PROTOCOL: Attribute =
    Attribute { key: Names::both("system.network.linux.socket.protocol"), values: &[TCP, UDP, UDPLITE, RAW, FRAG] };
pub(super) const TYPE: Attribute = Attribute { key: Names::both("network.type"), values: &[IPV4, IPV6] };

const TCP: Names = Names::both("tcp");
const UDP: Names = Names::both("udp");
const UDPLITE: Names = Names::both("udplite");
const RAW: Names = Names::both("raw");
const FRAG: Names = Names::both("frag");
pub(super) const IPV4: Names = Names::both("ipv4");
pub(super) const IPV6: Names = Names::both("ipv6");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("used", UpDownCounter, Int, "Sockets of every kind, Unix sockets among them",
        "/proc/1/net/sockstat, sockets: used")
        .semconv("system.network.linux.socket.used", "{socket}", Basic, &[]),
    Metric::new("count", UpDownCounter, Int,
        "Sockets in use; udplite and raw only with --detail detailed; frag counts fragment queues",
        "/proc/1/net/sockstat, sockstat6, inuse")
        .semconv("system.network.linux.socket.count", "{socket}", Basic, &[&TYPE, &PROTOCOL]),
    Metric::new("memory", UpDownCounter, Int, "Memory of the sockets' buffers, IPv4 and IPv6 together",
        "/proc/1/net/sockstat, mem, in pages")
        .semconv("system.network.linux.socket.memory", "By", Basic, &[&PROTOCOL]),
    Metric::new("orphans", UpDownCounter, Int, "TCP connections that no process has open any more",
        "/proc/1/net/sockstat, TCP: orphan")
        .semconv("system.network.linux.tcp.orphan.count", "{socket}", Basic, &[]),
    Metric::new("time_wait", UpDownCounter, Int, "TCP connections in TIME_WAIT", "/proc/1/net/sockstat, TCP: tw")
        .semconv("system.network.linux.tcp.time_wait.count", "{socket}", Basic, &[]),
    Metric::new("allocated", UpDownCounter, Int, "TCP sockets in any state", "/proc/1/net/sockstat, TCP: alloc")
        .semconv("system.network.linux.tcp.allocated.count", "{socket}", Detailed, &[]),
    Metric::new("fragment_memory", UpDownCounter, Int, "Memory of packets' fragments that wait for the rest",
        "/proc/1/net/sockstat, sockstat6, FRAG: memory")
        .semconv("system.network.linux.fragment.memory", "By", Detailed, &[&TYPE]),
    Metric::new("softnet.packets", Counter, Int, "Packets that the CPUs took from the network devices",
        "/proc/1/net/softnet_stat, first column")
        .semconv("system.network.linux.softnet.packets", "{packet}", Basic, &[&LOGICAL_NUMBER]),
    Metric::new("softnet.dropped", Counter, Int, "Packets dropped since a CPU's backlog was full",
        "/proc/1/net/softnet_stat, second column")
        .semconv("system.network.linux.softnet.dropped", "{packet}", Basic, &[&LOGICAL_NUMBER]),
    Metric::new("softnet.squeezed", Counter, Int, "Times that a CPU had to stop with packets left over",
        "/proc/1/net/softnet_stat, third column")
        .semconv("system.network.linux.softnet.squeezed", "{event}", Basic, &[&LOGICAL_NUMBER]),
    Metric::new("softnet.rps", Counter, Int, "Times that another CPU asked this one to take packets",
        "/proc/1/net/softnet_stat, tenth column").since("2.6.35")
        .semconv("system.network.linux.softnet.received_rps", "{event}", Detailed, &[&LOGICAL_NUMBER]),
    Metric::new("softnet.flow_limit", Counter, Int, "Packets dropped since one flow took too much of a backlog",
        "/proc/1/net/softnet_stat, eleventh column").since("3.11")
        .semconv("system.network.linux.softnet.flow_limited", "{packet}", Detailed, &[&LOGICAL_NUMBER]),
    Metric::new("conntrack.count", UpDownCounter, Int, "Connections in the conntrack table",
        "/proc/sys/net/netfilter/nf_conntrack_count")
        .semconv("system.network.conntrack.count", "{entry}", Basic, &[])
        .hostmetrics("system.network.conntrack.count", "{entries}", Detailed, &[]),
    Metric::new("conntrack.max", UpDownCounter, Int, "Connections that the conntrack table has room for",
        "/proc/sys/net/netfilter/nf_conntrack_max")
        .semconv("system.network.conntrack.max", "{entry}", Basic, &[])
        .hostmetrics("system.network.conntrack.max", "{entries}", Detailed, &[]),
];

/// A number in sockstat or sockstat6: metric, line, the word before the number, and its series.
struct Field {
    id: &'static str,
    six: bool,
    line: &'static [u8],
    word: &'static [u8],
    /// Factor for the kernel's number.
    unit: u64,
    series: Attributes,
    value: Option<u64>,
}

/// The used columns of softnet_stat, by metric.
const SOFTNET: [(&str, usize); 5] = [
    ("softnet.packets", 0),
    ("softnet.dropped", 1),
    ("softnet.squeezed", 2),
    ("softnet.rps", 9),
    ("softnet.flow_limit", 10),
];
/// The column with the CPU number, since Linux 5.10.
const CPU_COLUMN: usize = 12;

struct Sockets {
    options: Options,
    sockstat: [Source; 2],
    fields: Vec<Field>,
    softnet: Source,
    backlogs: Table<Attributes, { SOFTNET.len() }>,
    /// The host's sums, including offline CPUs; `None` before the first line.
    sums: Option<[u64; SOFTNET.len()]>,
    conntrack: Vec<(&'static str, Source, Option<u64>)>,
}

impl Sockets {
    fn new(context: &Context) -> Self {
        let (host, options) = (&context.host, &context.options);
        let wanted = |id: &str| {
            let shape = METRICS.iter().find(|metric| metric.id == id).and_then(|metric| metric.shape(options.naming));
            shape.is_some_and(|shape| shape.detail <= options.detail)
        };
        let files = [("conntrack.count", "nf_conntrack_count"), ("conntrack.max", "nf_conntrack_max")];
        let conntrack = files.into_iter().filter(|(id, _)| wanted(id) && host.shares_network());
        Self {
            sockstat: ["sockstat", "sockstat6"].map(|file| Source::optional(host.network_file(file))),
            fields: sockstat_fields(options, host.page_bytes).filter(|field| wanted(field.id)).collect(),
            softnet: Source::optional(host.network_file("softnet_stat")).holds_counters(),
            backlogs: Table::new(
                Rules::new([Kind::EVENTS.narrow(); SOFTNET.len()], options.since).delta(options.delta),
                MOST_CPUS,
            ),
            sums: None,
            conntrack: conntrack
                .map(|(id, file)| (id, Source::optional(host.proc("sys/net/netfilter").join(file)), None))
                .collect(),
            options: options.clone(),
        }
    }

    fn take_softnet(&mut self, bytes: &[u8], now: Duration) {
        let (naming, per_cpu) = (self.options.naming, self.options.per_cpu);
        self.backlogs.begin(now);
        for (place, line) in lines(bytes).enumerate() {
            let columns: Vec<Option<u64>> = fields(line).map(hexadecimal).collect();
            let column = |place: usize| columns.get(place).copied().flatten();
            // Older kernels omit offline CPUs and do not number the lines.
            let cpu = column(CPU_COLUMN).or_else(|| u64::try_from(place).ok());
            let Some(cpu) = cpu.and_then(|cpu| u32::try_from(cpu).ok()).filter(|_| column(0).is_some()) else {
                continue;
            };
            let series = || {
                let pairs = if per_cpu { vec![logical_number(naming, cpu)] } else { Vec::new() };
                attributes(naming, &pairs)
            };
            let grown = self.backlogs.read(&cpu.to_le_bytes(), &SOFTNET.map(|(_, place)| column(place)), series);
            let sums = self.sums.get_or_insert_default();
            grown.into_iter().for_each(|(_, grown)| add(sums, &grown));
        }
        self.backlogs.end();
    }

    fn observe_softnet(&self, place: usize, out: &mut Observer<'_>) {
        let known = self.backlogs.listed().any(|backlog| backlog.row().get(place).is_some());
        if self.options.per_cpu {
            for backlog in self.backlogs.listed() {
                backlog.row().get(place).iter().for_each(|value| out.int(*value, &backlog.data));
            }
        } else if let Some(sum) = self.sums.as_ref().and_then(|sums| sums.get(place)).filter(|_| known) {
            out.int(*sum, &[]);
        }
    }
}

/// The required numbers of sockstat and sockstat6, each with its series.
fn sockstat_fields(options: &Options, page_bytes: u64) -> impl Iterator<Item = Field> + use<> {
    let (naming, detailed) = (options.naming, options.detail == Detailed);
    let field = move |id, six: bool, line: &'static str, word: &'static str, unit, pairs: &[(&Attribute, Names)]| {
        let pairs: Vec<_> = pairs.iter().map(|(key, word)| (*key, AttributeValue::Word(*word))).collect();
        let series = attributes(naming, &pairs);
        Field { id, six, line: line.as_bytes(), word: word.as_bytes(), unit, series, value: None }
    };
    let mut all = vec![
        field("used", false, "sockets:", "used", 1, &[]),
        field("orphans", false, "TCP:", "orphan", 1, &[]),
        field("time_wait", false, "TCP:", "tw", 1, &[]),
        field("allocated", false, "TCP:", "alloc", 1, &[]),
        field("memory", false, "TCP:", "mem", page_bytes, &[(&PROTOCOL, TCP)]),
        field("memory", false, "UDP:", "mem", page_bytes, &[(&PROTOCOL, UDP)]),
        field("fragment_memory", false, "FRAG:", "memory", 1, &[(&TYPE, IPV4)]),
        field("fragment_memory", true, "FRAG6:", "memory", 1, &[(&TYPE, IPV6)]),
    ];
    let counts = [
        ("TCP:", "TCP6:", TCP),
        ("UDP:", "UDP6:", UDP),
        ("UDPLITE:", "UDPLITE6:", UDPLITE),
        ("RAW:", "RAW6:", RAW),
        ("FRAG:", "FRAG6:", FRAG),
    ];
    const BASIC: usize = 2;
    for (four, six, protocol) in counts.into_iter().take(if detailed { counts.len() } else { BASIC }) {
        all.push(field("count", false, four, "inuse", 1, &[(&PROTOCOL, protocol), (&TYPE, IPV4)]));
        all.push(field("count", true, six, "inuse", 1, &[(&PROTOCOL, protocol), (&TYPE, IPV6)]));
    }
    all.into_iter()
}

/// The number after `word` in the first line that starts with `name`.
fn sockstat_number(bytes: &[u8], name: &[u8], word: &[u8]) -> Option<u64> {
    let mut fields = lines(bytes).map(fields).find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
    fields.find(|field| *field == word)?;
    number(fields.next()?)
}

impl Collector for Sockets {
    fn read(&mut self, reader: &mut Reader) {
        for (source, six) in self.sockstat.iter_mut().zip([false, true]) {
            let mut fields = self.fields.iter_mut().filter(|field| field.six == six).peekable();
            // A file that no metric needs is not read.
            if fields.peek().is_none() {
                continue;
            }
            let bytes = reader.read(source).unwrap_or_default();
            for field in fields {
                let number = sockstat_number(bytes, field.line, field.word);
                field.value = number.and_then(|number| number.checked_mul(field.unit));
            }
        }
        if !self.fields.is_empty()
            && let now = reader.now()
            && let Some(bytes) = reader.read(&mut self.softnet)
        {
            self.take_softnet(bytes, now);
        }
        for (_, source, value) in &mut self.conntrack {
            *value = reader.read(source).and_then(|bytes| number(bytes.trim_ascii()));
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if let Some(place) = SOFTNET.iter().position(|(id, _)| *id == metric.id) {
            return self.observe_softnet(place, out);
        }
        for field in self.fields.iter().filter(|field| field.id == metric.id) {
            field.value.iter().for_each(|value| out.int(*value, &field.series));
        }
        for (_, _, value) in self.conntrack.iter().filter(|(id, ..)| *id == metric.id) {
            value.iter().for_each(|value| out.int(*value, &[]));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Bench, Host};
    use super::*;
    use crate::metrics::counter::Since;
    use crate::metrics::naming::{Detail, Naming};

    fn host() -> Host {
        let host = Host::empty();
        host.write("proc/1/net/dev", "");
        host.write(
            "proc/1/net/sockstat",
            "sockets: used 290\nTCP: inuse 27 orphan 1 tw 23 alloc 31 mem 3\nUDP: inuse 6 mem 2\nUDPLITE: inuse 0\nRAW: inuse 4\nFRAG: inuse 5 memory 66\n",
        );
        host.write("proc/1/net/sockstat6", "TCP6: inuse 17\nUDP6: inuse 9\nRAW6: inuse 1\nFRAG6: inuse 0 memory 0\n");
        host
    }

    fn options(detail: Detail) -> Options {
        Options { detail, since: Since::Boot, ..Options::default() }
    }

    #[test]
    fn sockets_are_counted_by_protocol_and_memory_is_in_bytes() {
        let host = host();
        let mut context = host.context(options(Basic));
        context.host.page_bytes = 4096;
        let points = Bench::new(DEFINITION, context).next();
        let count = |protocol, ip, n| {
            format!(
                "system.network.linux.socket.count{{network.type={ip},system.network.linux.socket.protocol={protocol}}} {n}"
            )
        };
        let memory = |protocol, n| {
            format!("system.network.linux.socket.memory{{system.network.linux.socket.protocol={protocol}}} {n}")
        };
        assert_eq!(
            points,
            [
                "system.network.linux.socket.used 290".to_owned(),
                count("tcp", "ipv4", 27),
                count("tcp", "ipv6", 17),
                count("udp", "ipv4", 6),
                count("udp", "ipv6", 9),
                memory("tcp", 12_288),
                memory("udp", 8_192),
                "system.network.linux.tcp.orphan.count 1".to_owned(),
                "system.network.linux.tcp.time_wait.count 23".to_owned(),
            ]
        );
    }

    #[test]
    fn a_line_without_a_number_costs_that_number() {
        assert_eq!(sockstat_number(b"TCP: inuse\nUDP: inuse x mem 4\n", b"TCP:", b"inuse"), None);
        assert_eq!(sockstat_number(b"TCP: inuse\nUDP: inuse x mem 4\n", b"UDP:", b"mem"), Some(4));
    }

    #[test]
    fn backlogs_are_added_up_or_reported_by_cpu() {
        let host = host();
        // The second line is for CPU 3.
        let line = |processed: &str, dropped: &str, cpu: &str| {
            format!("{processed} {dropped} 00000002 0 0 0 0 0 0 00000004 00000005 00000000 {cpu}\n")
        };
        host.write("proc/1/net/softnet_stat", line("000000ff", "00000001", "0") + &line("00000001", "00000010", "3"));
        let of = |options| {
            let points = Bench::new(DEFINITION, host.context(options)).next();
            points.into_iter().filter(|point| point.contains("softnet.dropped")).collect::<Vec<_>>()
        };
        let name = "system.network.linux.softnet.dropped";
        assert_eq!(of(options(Basic)), [format!("{name} 17")]);
        let per_cpu = of(Options { per_cpu: true, ..options(Basic) });
        assert_eq!(
            per_cpu,
            [format!("{name}{{cpu.logical_number=0}} 1"), format!("{name}{{cpu.logical_number=3}} 16")]
        );
    }

    #[test]
    fn a_backlogs_count_that_wraps_at_32_bits_goes_on() {
        let host = host();
        host.write("proc/1/net/softnet_stat", "fffffff0 0 0\n");
        let mut sockets = Bench::new(DEFINITION, host.context(Options::default()));
        for processed in ["00000010", "00000011", "00000012", "00000013"] {
            host.write("proc/1/net/softnet_stat", format!("{processed} 0 0\n"));
            sockets.next();
        }
        let points = sockets.points();
        assert!(points.contains(&"system.network.linux.softnet.packets 35".to_owned()), "{points:#?}");
    }

    #[test]
    fn conntrack_is_reported_under_both_profiles_where_connections_are_tracked() {
        let host = host();
        let of = |naming| {
            let options = Options { naming, ..options(Detailed) };
            let points = Bench::new(DEFINITION, host.context(options)).next();
            points.into_iter().filter(|point| point.contains("conntrack")).collect::<Vec<_>>()
        };
        assert!(of(Naming::Semconv).is_empty());
        host.write("proc/sys/net/netfilter/nf_conntrack_count", "17\n");
        host.write("proc/sys/net/netfilter/nf_conntrack_max", "65536\n");
        let expected = ["system.network.conntrack.count 17", "system.network.conntrack.max 65536"];
        assert_eq!(of(Naming::Semconv), expected);
        assert_eq!(of(Naming::Hostmetrics), expected);
    }

    #[test]
    fn a_file_that_no_metric_needs_is_not_read() {
        let host = host();
        let options = Options { naming: Naming::Hostmetrics, ..options(Detailed) };
        let mut sockets = Bench::new(DEFINITION, host.context(options));
        let before = sockets.reader.reads();
        sockets.next();
        assert_eq!(sockets.reader.reads() - before, 2, "the two files of the conntrack table");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            sockstat_number(&bytes, b"TCP:", b"mem");
            let _ = hexadecimal(&bytes);
            Sockets::new(&Host::empty().context(options(Detailed))).take_softnet(&bytes, Duration::ZERO);
        }
    }
}
