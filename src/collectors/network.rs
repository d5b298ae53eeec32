//! Network interfaces, from `net/dev` of the host's first process: every line is one interface's totals. And the
//! connections, which `connections.rs` reads.
//!
//! A bond, a bridge and their members each count the same bytes, so nothing is summed here. Left out by default are the
//! loopback, the host's ends of containers' links (`veth*`, `cali*`) and aliases (`eth0:1`), whose traffic their
//! interface counts as well.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::connections::{Connections, STATE, TRANSPORT};
use super::{Collector, Context, Definition, Observer, Options};
use crate::host::{Reader, Source};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};
use crate::metrics::parse::{fields, lines, number, text};
use crate::metrics::total::Total;

/// The family's entry in the list.
pub const DEFINITION: Definition =
    Definition { name: "network", metrics: METRICS, new: |context| Box::new(Network::new(context)) };

const INTERFACE: Attribute = Attribute { key: Names("network.interface.name", "device"), values: &[] };
/// The convention of packet.count alone asks for this one.
const DEVICE: Attribute = Attribute { key: Names("system.device", "device"), values: &[] };
const DIRECTION: Attribute =
    Attribute { key: Names("network.io.direction", "direction"), values: &[RECEIVE, TRANSMIT] };

const TRANSMIT: Names = Names::both("transmit");
const RECEIVE: Names = Names::both("receive");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("io", Counter, Int,
        "Bytes that the interface received and sent",
        "/proc/1/net/dev, bytes")
        .semconv("system.network.io", "By", Basic, &[&INTERFACE, &DIRECTION])
        .hostmetrics("system.network.io", "By", Basic, &[&INTERFACE, &DIRECTION]),
    Metric::new("packets", Counter, Int,
        "Packets that the interface received and sent",
        "/proc/1/net/dev, packets")
        .semconv("system.network.packet.count", "{packet}", Basic, &[&INTERFACE, &DEVICE, &DIRECTION])
        .hostmetrics("system.network.packets", "{packets}", Basic, &[&INTERFACE, &DIRECTION]),
    Metric::new("dropped", Counter, Int,
        "Packets dropped although nothing was wrong with them",
        "/proc/1/net/dev, drop")
        .semconv("system.network.packet.dropped", "{packet}", Basic, &[&INTERFACE, &DIRECTION])
        .hostmetrics("system.network.dropped", "{packets}", Basic, &[&INTERFACE, &DIRECTION]),
    Metric::new("errors", Counter, Int,
        "Packets with errors",
        "/proc/1/net/dev, errs")
        .semconv("system.network.errors", "{error}", Basic, &[&INTERFACE, &DIRECTION])
        .hostmetrics("system.network.errors", "{errors}", Basic, &[&INTERFACE, &DIRECTION]),
    Metric::new("connections", UpDownCounter, Int,
        "Sockets in each state, IPv4 and IPv6 together; UDP is established when connected, else closed",
        "netlink sock_diag")
        .since("3.3")
        .semconv("system.network.connection.count", "{connection}", Detailed, &[&STATE, &TRANSPORT])
        .hostmetrics("system.network.connections", "{connections}", Basic, &[&TRANSPORT, &STATE]),
    Metric::new("conntrack.count", UpDownCounter, Int,
        "Connections in the conntrack table",
        "/proc/sys/net/netfilter/nf_conntrack_count")
        .hostmetrics("system.network.conntrack.count", "{entries}", Detailed, &[]),
    Metric::new("conntrack.max", UpDownCounter, Int,
        "Connections that the conntrack table has room for",
        "/proc/sys/net/netfilter/nf_conntrack_max")
        .hostmetrics("system.network.conntrack.max", "{entries}", Detailed, &[]),
];

/// The counters kept of a line: bytes, packets, errors and drops received, then the same sent.
const COLUMNS: usize = 8;
const RECEIVED: usize = 0;
const SENT: usize = 4;
const BYTES: usize = 0;
const PACKETS: usize = 1;
const ERRORS: usize = 2;
const DROPS: usize = 3;

type Row = [u64; COLUMNS];

/// A line's interface name and what follows it. The name may hold a colon itself, so the last one ends it; the
/// kernel leaves no blank after it where the first number is long.
fn split_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().rposition(|&b| b == b':')?;
    let name = line.get(..colon)?.trim_ascii();
    (!name.is_empty()).then_some((name, line.get(colon + 1..)?))
}

/// The counters of a line: eight columns received, then eight sent, of which the first four each are kept.
fn parse_row(columns: &[u8]) -> Option<Row> {
    let mut fields = fields(columns);
    let mut next = || number(fields.next()?);
    let mut half = || {
        let kept = [next()?, next()?, next()?, next()?];
        let _fifo_frame_compressed_multicast = [next()?, next()?, next()?, next()?];
        Some(kept)
    };
    let ([a, b, c, d], [e, f, g, h]) = (half()?, half()?);
    Some([a, b, c, d, e, f, g, h])
}

/// Whether an interface is reported when nobody says otherwise.
fn is_default(name: &[u8]) -> bool {
    name != b"lo" && !name.starts_with(b"veth") && !name.starts_with(b"cali") && !name.contains(&b':')
}

#[derive(Clone, Copy, Debug)]
struct Totals([Total; COLUMNS]);

impl Totals {
    fn new(row: Row, make: impl Fn(u64) -> Total) -> Self {
        Self(row.map(make))
    }

    /// Several columns that step back together are an interface that was made anew, or whose driver was: all columns
    /// started again. One alone is a counter of a driver that is not kept well, or one that wrapped at 32 bits.
    fn advance(&mut self, row: Row, word_bits: u32) {
        let restarted = self.0.iter().zip(row).filter(|(total, reading)| *reading < total.last()).count() > 1;
        for (total, reading) in self.0.iter_mut().zip(row) {
            // Kernels of 32 bits keep some columns in 64 (struct rtnl_link_stats64) and some in 32.
            let narrow = word_bits <= 32 && total.last() <= u64::from(u32::MAX);
            match (restarted, narrow) {
                (true, _) => total.restart(reading),
                (false, true) => total.advance_32(reading),
                (false, false) => total.advance(reading),
            }
        }
    }
}

/// An interface that is, or was, reported.
struct Interface {
    name: Vec<u8>,
    series: Directions,
    /// packet.count's.
    packet_series: Directions,
    /// `None` until its first line.
    totals: Option<Totals>,
    /// In the last good listing.
    present: bool,
    /// What its line said in the current reading.
    row: Option<Row>,
    /// The number of the last listing it was in.
    listed: u64,
}

struct Directions {
    receive: Attributes,
    transmit: Attributes,
}

impl Interface {
    fn new(options: &Options, name: &[u8]) -> Self {
        let label: Arc<str> = text(name).into();
        let series = |keys: &[&Attribute], direction| {
            let mut pairs: Vec<_> = keys.iter().map(|key| (*key, AttributeValue::Text(Arc::clone(&label)))).collect();
            pairs.push((&DIRECTION, AttributeValue::Word(direction)));
            attributes(options.naming, &pairs)
        };
        let both =
            |keys: &[&Attribute]| Directions { receive: series(keys, RECEIVE), transmit: series(keys, TRANSMIT) };
        let packet_keys: &[&Attribute] = match options.naming {
            Naming::Semconv => &[&INTERFACE, &DEVICE],
            Naming::Hostmetrics | Naming::NodeExporter => &[&INTERFACE],
        };
        Self {
            name: name.to_vec(),
            series: both(&[&INTERFACE]),
            packet_series: both(packet_keys),
            totals: None,
            present: false,
            row: None,
            listed: 0,
        }
    }
}

/// How many interfaces that went away are remembered, in case they come back: containers and dialled links make names
/// without end.
const MAX_GONE: usize = 256;

struct Network {
    options: Options,
    word_bits: u32,
    source: Source,
    /// The interfaces as the file listed them last, each with its place in `interfaces` where it is reported. Their
    /// order hardly ever changes, so that a name is compared with one other and not looked up.
    lines: Vec<(Vec<u8>, Option<usize>)>,
    interfaces: Vec<Interface>,
    /// Good listings so far.
    listings: u64,
    connections: Connections,
}

impl Network {
    fn new(context: &Context) -> Self {
        let file = context.host.of_first_process(
            "net/dev",
            "net/dev",
            "the interfaces are those that this process sees, in a container the container's own",
        );
        Self {
            options: context.options.clone(),
            word_bits: context.host.word_bits,
            source: Source::new(file, "this kernel has no network (CONFIG_NET)").holds_counters(),
            lines: Vec::new(),
            interfaces: Vec::new(),
            listings: 0,
            connections: Connections::new(context, METRICS),
        }
    }

    /// Decides anew which lines are reported. An interface that an earlier good listing did not have began at zero.
    fn choose(&mut self, bytes: &[u8]) {
        let first = self.listings == 0;
        self.forget_the_longest_gone();
        let mut known: HashMap<Vec<u8>, bool> = HashMap::new();
        for (name, place) in std::mem::take(&mut self.lines) {
            *known.entry(name).or_default() |= place.is_some();
        }
        let mut places: HashMap<Vec<u8>, usize> =
            self.interfaces.iter().enumerate().map(|(place, interface)| (interface.name.clone(), place)).collect();
        let mut seen = HashSet::new();
        for (name, _) in lines(bytes).filter_map(split_line) {
            // A name that comes twice can only be damage: its first line counts.
            let listed_before = known.get(name).copied();
            let reported = listed_before
                .unwrap_or_else(|| self.options.interfaces.admits(&text(name), is_default(name)))
                && seen.insert(name);
            let place = reported.then(|| {
                *places.entry(name.to_vec()).or_insert_with(|| {
                    let mut interface = Interface::new(&self.options, name);
                    if !first && listed_before.is_none() {
                        interface.totals = Some(Totals::new([0; COLUMNS], Total::from_zero));
                    }
                    self.interfaces.push(interface);
                    self.interfaces.len() - 1
                })
            });
            self.lines.push((name.to_vec(), place));
        }
    }

    fn forget_the_longest_gone(&mut self) {
        let mut gone: Vec<u64> = self.interfaces.iter().filter(|i| !i.present).map(|i| i.listed).collect();
        if gone.len() > MAX_GONE {
            gone.sort_unstable_by(|a, b| b.cmp(a));
            let kept_since = gone.get(MAX_GONE / 2).copied().unwrap_or(0);
            self.interfaces.retain(|interface| interface.present || interface.listed > kept_since);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let same =
            lines(bytes).filter_map(split_line).map(|(name, _)| name).eq(self.lines.iter().map(|(name, _)| name));
        if !same {
            self.choose(bytes);
        }
        self.listings += 1;
        for ((_, place), (_, columns)) in self.lines.iter().zip(lines(bytes).filter_map(split_line)) {
            if let Some(interface) = place.and_then(|place| self.interfaces.get_mut(place)) {
                interface.row = parse_row(columns);
                interface.listed = self.listings;
            }
        }
        let (since, delta, word_bits) = (self.options.since, self.options.delta, self.word_bits);
        for interface in &mut self.interfaces {
            let row = interface.row.take();
            match (row, &mut interface.totals) {
                (Some(row), Some(totals)) => totals.advance(row, word_bits),
                (Some(row), none) => *none = Some(Totals::new(row, |reading| Total::baseline(reading, since))),
                (None, Some(totals)) if delta && interface.present => totals.0.iter_mut().for_each(Total::forget),
                (None, _) => {}
            }
            interface.present = row.is_some();
        }
    }

    fn each(&self, column: usize, of: impl Fn(&Interface) -> &Directions, out: &mut Observer<'_>) {
        for interface in self.interfaces.iter().filter(|interface| interface.present) {
            let value = |half: usize| Some(interface.totals.as_ref()?.0.get(half + column)?.value());
            if let (Some(received), Some(sent)) = (value(RECEIVED), value(SENT)) {
                out.int(received, &of(interface).receive);
                out.int(sent, &of(interface).transmit);
            }
        }
    }
}

impl Collector for Network {
    fn read(&mut self, reader: &mut Reader) {
        if let Some(bytes) = reader.read(&mut self.source) {
            self.take(bytes);
        }
        self.connections.read(reader);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "io" => self.each(BYTES, |interface| &interface.series, out),
            "packets" => self.each(PACKETS, |interface| &interface.packet_series, out),
            "errors" => self.each(ERRORS, |interface| &interface.series, out),
            "dropped" => self.each(DROPS, |interface| &interface.series, out),
            id => self.connections.observe(id, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, series};
    use super::*;
    use crate::metrics::filter::Filter;
    use crate::metrics::total::Since;
    use proptest::prelude::*;

    const HEADING: &str =
        "Inter-|   Receive                            |  Transmit\n face |bytes    packets errs drop\n";

    fn line(name: &str, bytes: u64, packets: u64, sent: u64) -> String {
        format!("{name}: {bytes} {packets} 1 2 0 0 0 0 {sent} 5 3 4 0 0 0 0\n")
    }

    fn listing(lines: &[String]) -> String {
        HEADING.to_owned() + &lines.concat()
    }

    fn since_boot() -> Options {
        Options { since: Since::Boot, ..Options::default() }
    }

    /// Reads each content in turn and returns what `io` says at the end.
    fn io_after(options: Options, word_bits: u32, contents: &[String]) -> Vec<String> {
        let mut network = Network::new(&Host::empty().context(options));
        network.word_bits = word_bits;
        for content in contents {
            network.take(content.as_bytes());
        }
        series(&network, METRICS, "io")
    }

    fn fixture(host: &str, metric: &str, options: Options) -> Vec<String> {
        let host = Host::fixture(host);
        let mut network = Network::new(&host.context(options));
        host.read(&mut network);
        series(&network, METRICS, metric)
    }

    #[test]
    fn a_name_ends_at_the_last_colon_and_the_first_number_may_be_glued_to_it() {
        assert_eq!(split_line(b"  eth0:123 4"), Some((&b"eth0"[..], &b"123 4"[..])));
        assert_eq!(split_line(b" eth0:1: 5"), Some((&b"eth0:1"[..], &b" 5"[..])));
        for odd in [&b"eth0 1 2"[..], b"   : 1 2", b" face |bytes", b""] {
            assert_eq!(split_line(odd), None);
        }
    }

    #[test]
    fn sixteen_columns_are_asked_for_and_later_ones_are_let_be() {
        let columns = b"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
        assert_eq!(parse_row(columns), Some([1, 2, 3, 4, 9, 10, 11, 12]));
        assert_eq!(parse_row(&[&columns[..], b" 17 18"].concat()), parse_row(columns));
        assert_eq!(parse_row(b"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"), None);
        assert_eq!(parse_row(b"1 2 3 4 5 6 7 8 -9 10 11 12 13 14 15 16"), None);
    }

    #[test]
    fn loopback_container_links_and_aliases_are_left_out_unless_asked_for() {
        let names = ["lo", "veth12ab", "cali7d2e", "eth0:1", "eth0", "bond0", "br0", "bond0.100", "lowpan0", "wlan0"];
        let default: Vec<_> = names.into_iter().filter(|name| is_default(name.as_bytes())).collect();
        assert_eq!(default, ["eth0", "bond0", "br0", "bond0.100", "lowpan0", "wlan0"]);
        let regex = |pattern| vec![regex_lite::Regex::new(pattern).unwrap()];
        let interfaces = Filter { include: regex("^(lo|veth.*)$"), exclude: regex("^vethb") };
        let all = listing(&["lo", "veth0", "vethb", "eth0"].map(|name| line(name, 7, 1, 8)));
        assert_eq!(
            io_after(Options { interfaces, ..since_boot() }, 64, &[all]),
            [
                "network.interface.name=lo network.io.direction=receive 7",
                "network.interface.name=lo network.io.direction=transmit 8",
                "network.interface.name=veth0 network.io.direction=receive 7",
                "network.interface.name=veth0 network.io.direction=transmit 8",
            ]
        );
    }

    #[test]
    fn an_interface_counts_from_the_first_reading_and_one_that_appears_later_from_zero() {
        let first = listing(&[line("eth0", 1_000, 10, 50)]);
        let second = listing(&[line("ppp0", 70, 1, 7), line("eth0", 1_100, 11, 60)]);
        assert_eq!(
            io_after(Options::default(), 64, &[first, second]),
            [
                "network.interface.name=eth0 network.io.direction=receive 100",
                "network.interface.name=eth0 network.io.direction=transmit 10",
                "network.interface.name=ppp0 network.io.direction=receive 70",
                "network.interface.name=ppp0 network.io.direction=transmit 7",
            ]
        );
    }

    #[test]
    fn an_interface_whose_first_line_was_damaged_takes_its_first_reading_as_baseline() {
        let first = listing(&["eth0: 1 2\n".to_owned()]);
        let second = listing(&[line("eth0", 1_000, 10, 50)]);
        assert_eq!(
            io_after(Options::default(), 64, &[first, second]),
            [
                "network.interface.name=eth0 network.io.direction=receive 0",
                "network.interface.name=eth0 network.io.direction=transmit 0",
            ]
        );
    }

    #[test]
    fn an_interface_that_was_made_anew_goes_on_from_its_total() {
        let contents =
            [line("eth0", 1_000, 10, 50), line("eth0", 1_500, 15, 60), line("eth0", 900, 9, 20)].map(|l| listing(&[l]));
        assert_eq!(
            io_after(Options::default(), 64, &contents),
            [
                "network.interface.name=eth0 network.io.direction=receive 1400",
                "network.interface.name=eth0 network.io.direction=transmit 30",
            ]
        );
    }

    #[test]
    fn one_column_that_steps_back_holds_its_mark_and_no_other_starts_again() {
        let contents = [line("eth0", 1_000, 10, 50), line("eth0", 990, 11, 60)].map(|l| listing(&[l]));
        assert_eq!(
            io_after(Options::default(), 64, &contents),
            [
                "network.interface.name=eth0 network.io.direction=receive 0",
                "network.interface.name=eth0 network.io.direction=transmit 10",
            ]
        );
    }

    #[test]
    fn on_a_32_bit_kernel_one_column_that_steps_back_wrapped() {
        let near = u64::from(u32::MAX) - 99;
        let contents = [line("eth0", near, 10, 50), line("eth0", 100, 11, 60)].map(|l| listing(&[l]));
        assert_eq!(
            io_after(Options::default(), 32, &contents),
            [
                "network.interface.name=eth0 network.io.direction=receive 200",
                "network.interface.name=eth0 network.io.direction=transmit 10",
            ]
        );
    }

    #[test]
    fn a_returning_interface_goes_on_under_cumulative_and_restarts_under_delta() {
        let with = |bytes| listing(&[line("lan", 1, 1, 1), line("tun0", bytes, bytes / 10, 5)]);
        let contents = [with(1_000), with(1_300), listing(&[line("lan", 1, 1, 1)]), with(40)];
        let received = |delta, contents: &[String]| {
            let all = io_after(Options { delta, ..Options::default() }, 64, contents);
            all.into_iter().find(|s| s.contains("tun0") && s.contains("receive"))
        };
        let says = |n: u64| Some(format!("network.interface.name=tun0 network.io.direction=receive {n}"));
        assert_eq!(received(false, &contents), says(340));
        assert_eq!(received(true, &contents), says(40));
        assert_eq!(received(true, &contents[..3]), None, "an absent interface is not reported");
    }

    #[test]
    fn a_failed_reading_reports_the_last_totals_again() {
        let host = Host::empty();
        host.write("proc/1/net/dev", listing(&[line("eth0", 1_000, 10, 50)]));
        let mut network = Network::new(&host.context(since_boot()));
        host.read(&mut network);
        let before = series(&network, METRICS, "io");
        host.remove("proc/1/net/dev");
        host.read(&mut network);
        assert_eq!((series(&network, METRICS, "io"), before.len()), (before.clone(), 2));
    }

    #[test]
    fn without_the_first_process_the_interfaces_are_ones_own() {
        let host = Host::empty();
        host.write("proc/net/dev", listing(&[line("eth7", 7, 1, 8)]));
        let mut network = Network::new(&host.context(since_boot()));
        host.read(&mut network);
        assert_eq!(series(&network, METRICS, "io").len(), 2);
    }

    #[test]
    fn names_without_end_are_not_remembered_without_end() {
        let mut network = Network::new(&Host::empty().context(Options::default()));
        for n in 0..2_000 {
            network.take(listing(&[line("eth0", n, n, n), line(&format!("ppp{n}"), 5, 1, 5)]).as_bytes());
        }
        assert!(network.interfaces.len() <= MAX_GONE + 2, "{}", network.interfaces.len());
        assert_eq!(
            series(&network, METRICS, "io"),
            [
                "network.interface.name=eth0 network.io.direction=receive 1999",
                "network.interface.name=eth0 network.io.direction=transmit 1999",
                "network.interface.name=ppp1999 network.io.direction=receive 5",
                "network.interface.name=ppp1999 network.io.direction=transmit 5",
            ]
        );
    }

    #[test]
    fn the_server_reports_its_links_bonds_and_bridges_each_as_itself() {
        let errors = fixture("server", "errors", since_boot());
        assert_eq!(
            errors[..4],
            [
                "network.interface.name=eth0 network.io.direction=receive 11",
                "network.interface.name=eth0 network.io.direction=transmit 12",
                "network.interface.name=eth1 network.io.direction=receive 13",
                "network.interface.name=eth1 network.io.direction=transmit 14",
            ]
        );
        let names: HashSet<_> = errors.iter().filter_map(|s| s.split(' ').next()?.split('=').next_back()).collect();
        assert_eq!(names, HashSet::from(["eth0", "eth1", "bond0", "bond0.100", "br0", "docker0"]));
        let io = fixture("server", "io", since_boot());
        assert!(io.contains(&"network.interface.name=bond0 network.io.direction=receive 833000000833".to_owned()));
        assert!(io.contains(&"network.interface.name=eth1 network.io.direction=transmit 33000000033".to_owned()));
    }

    #[test]
    fn packets_carry_the_device_as_their_convention_asks() {
        assert_eq!(
            fixture("old-kernel", "packets", since_boot()),
            [
                "network.interface.name=eth0 network.io.direction=receive system.device=eth0 6000066",
                "network.interface.name=eth0 network.io.direction=transmit system.device=eth0 1100011",
            ]
        );
        assert_eq!(
            fixture("old-kernel", "dropped", Options { naming: Naming::Hostmetrics, ..since_boot() }),
            ["device=eth0 direction=receive 77", "device=eth0 direction=transmit 2"]
        );
        assert_eq!(
            fixture("old-kernel", "packets", Options { naming: Naming::Hostmetrics, ..since_boot() })[0],
            "device=eth0 direction=receive 6000066"
        );
    }

    #[test]
    fn in_a_container_the_interfaces_are_the_hosts() {
        assert_eq!(
            fixture("container", "io", since_boot()),
            [
                "network.interface.name=ens5 network.io.direction=receive 33000000330",
                "network.interface.name=ens5 network.io.direction=transmit 77000000770",
                "network.interface.name=docker0 network.io.direction=receive 40400404",
                "network.interface.name=docker0 network.io.direction=transmit 60600606",
            ]
        );
    }

    #[test]
    fn a_hostile_file_costs_its_odd_lines_only() {
        assert_eq!(
            fixture("hostile", "io", since_boot()),
            [
                "network.interface.name=eth0 network.io.direction=receive 123456789",
                "network.interface.name=eth0 network.io.direction=transmit 987654321",
                "network.interface.name=eth\u{fffd}\u{fffd}0 network.io.direction=receive 111",
                "network.interface.name=eth\u{fffd}\u{fffd}0 network.io.direction=transmit 222",
                "network.interface.name=eth5 network.io.direction=receive 5555",
                "network.interface.name=eth5 network.io.direction=transmit 6666",
            ]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_order_never_panic_and_never_make_a_total_go_back(
            contents in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..80),
                    "( ?(eth|veth|lo)[0-2]:( ?[0-9]{1,3}){15,17}\n){0,4}".prop_map(String::into_bytes),
                ], 0..12),
            delta: bool, word_bits in prop_oneof![Just(32u32), Just(64)],
        ) {
            let mut network = Network::new(&Host::empty().context(Options { delta, ..Options::default() }));
            network.word_bits = word_bits;
            for content in contents {
                let before: HashMap<Vec<u8>, u64> = network.interfaces.iter()
                    .filter_map(|i| Some((i.name.clone(), i.totals?.0[0].lifetime()))).collect();
                network.take(&content);
                for interface in &network.interfaces {
                    let now = interface.totals.map(|totals| totals.0[0].lifetime());
                    prop_assert!(now >= before.get(&interface.name).copied());
                }
            }
        }
    }
}
