//! Network interfaces, from `net/dev` of the host's first process, where each line has the totals of one interface.
//! `connections.rs` counts the connections.
//!
//! A bond, a bridge and their members each count the same bytes, so nothing is summed here. Excluded by default are the
//! loopback and the host's ends of container links (`veth*`, `cali*`). Aliases (`eth0:1`) are not in the file: a name
//! with a colon is a separate interface.

use std::sync::Arc;
use std::time::Duration;

use super::connections::{Connections, STATE, TRANSPORT};
use super::{Collector, Context, DEFAULT_MAX_SERIES, Definition, Observer, Options};
use crate::host::{Reader, Source};
use crate::metrics::counter::{self, Rules, Table};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};
use crate::metrics::parse::{fields, lines, number, text};

pub const DEFINITION: Definition =
    Definition { name: "network", metrics: METRICS, new: |context| Box::new(Network::new(context)) };

const INTERFACE: Attribute = Attribute { key: Names("network.interface.name", "device"), values: &[] };
/// Only the convention for packet.count requires this one.
const DEVICE: Attribute = Attribute { key: Names("system.device", "device"), values: &[] };
const DIRECTION: Attribute =
    Attribute { key: Names("network.io.direction", "direction"), values: &[RECEIVE, TRANSMIT] };

const TRANSMIT: Names = Names::both("transmit");
const RECEIVE: Names = Names::both("receive");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("io", Counter, Int, "Bytes that the interface received and sent", "/proc/1/net/dev, bytes")
        .both("system.network.io", "By", Basic, &[&INTERFACE, &DIRECTION]),
    Metric::new("packets", Counter, Int, "Packets that the interface received and sent", "/proc/1/net/dev, packets")
        .semconv("system.network.packet.count", "{packet}", Basic, &[&INTERFACE, &DEVICE, &DIRECTION])
        .hostmetrics("system.network.packets", "{packets}", Basic, &[&INTERFACE, &DIRECTION]),
    Metric::new("dropped", Counter, Int, "Packets dropped although nothing was wrong with them",
        "/proc/1/net/dev, drop")
        .semconv("system.network.packet.dropped", "{packet}", Basic, &[&INTERFACE, &DIRECTION])
        .hostmetrics("system.network.dropped", "{packets}", Basic, &[&INTERFACE, &DIRECTION]),
    Metric::new("errors", Counter, Int, "Packets with errors", "/proc/1/net/dev, errs")
        .semconv("system.network.errors", "{error}", Basic, &[&INTERFACE, &DIRECTION])
        .hostmetrics("system.network.errors", "{errors}", Basic, &[&INTERFACE, &DIRECTION]),
    Metric::new("connections", UpDownCounter, Int,
        "Sockets in each state, IPv4 and IPv6 together; UDP is established when connected, else closed",
        "netlink sock_diag").since("3.3")
        .semconv("system.network.connection.count", "{connection}", Detailed, &[&STATE, &TRANSPORT])
        .hostmetrics("system.network.connections", "{connections}", Basic, &[&TRANSPORT, &STATE]),
];

/// The counters of a line: received bytes, packets, errors and drops, then the same for sent.
const COLUMNS: usize = 8;
const RECEIVED: usize = 0;
const SENT: usize = 4;
const BYTES: usize = 0;
const PACKETS: usize = 1;
const ERRORS: usize = 2;
const DROPS: usize = 3;

type Row = [Option<u64>; COLUMNS];

/// Splits a line into the interface name and the rest. The name may contain a colon, so it ends at the last one. The
/// kernel writes no blank after it if the first number is long.
pub(super) fn split_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().rposition(|&b| b == b':')?;
    let name = line.get(..colon)?.trim_ascii();
    (!name.is_empty()).then_some((name, line.get(colon + 1..)?))
}

/// Parses the counters of a line: eight columns received and eight sent, of which the first four each are used. A line
/// with an invalid column has no counters: its interface exists and keeps its totals.
fn parse_row(columns: &[u8]) -> Row {
    parse_columns(columns).map_or([None; COLUMNS], |row| row.map(Some))
}

fn parse_columns(columns: &[u8]) -> Option<[u64; COLUMNS]> {
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

fn is_default(name: &[u8]) -> bool {
    name != b"lo" && !name.starts_with(b"veth") && !name.starts_with(b"cali")
}

/// The counter kinds of the columns. Drivers use the kernel's `unsigned long` or a larger type.
fn rules(options: &Options, word_bits: u32) -> Rules<COLUMNS> {
    let bytes = counter::Kind::BYTES.word(word_bits);
    let events = counter::Kind::EVENTS.word(word_bits);
    let half = [bytes, events, events, events];
    let [a, b, c, d] = half;
    Rules::new([a, b, c, d, a, b, c, d], options.since).delta(options.delta)
}

struct Series {
    common: Directions,
    /// For packet.count.
    packets: Directions,
}

struct Directions {
    receive: Attributes,
    transmit: Attributes,
}

impl Series {
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
        Self { common: both(&[&INTERFACE]), packets: both(packet_keys) }
    }
}

struct Network {
    options: Options,
    source: Source,
    /// The interfaces of the previous listing, and whether each is reported. Their order rarely changes, so that a
    /// comparison with one name replaces the evaluation of the filters.
    lines: Vec<(Vec<u8>, bool)>,
    interfaces: Table<Series, COLUMNS>,
    connections: Connections,
}

impl Network {
    fn new(context: &Context) -> Self {
        let file = context.host.of_first_process(
            "net/dev",
            "net/dev",
            "the interfaces are those that this process sees, in a container the container's own",
        );
        let options = &context.options;
        Self {
            options: options.clone(),
            source: Source::new(file, "this kernel has no network (CONFIG_NET)")
                .holds_counters()
                .expecting(|net| lines(net).any(|line| split_line(line).is_some())),
            lines: Vec::new(),
            interfaces: Table::new(
                rules(options, context.host.word_bits),
                options.max_series.unwrap_or(DEFAULT_MAX_SERIES),
            ),
            connections: Connections::new(context, METRICS),
        }
    }

    fn take(&mut self, bytes: &[u8], now: Duration) {
        self.interfaces.begin(now);
        let mut count = 0;
        for (name, columns) in lines(bytes).filter_map(split_line) {
            let reported = match self.lines.get(count) {
                Some((known, reported)) if known == name => *reported,
                _ => {
                    let reported = self.options.interfaces.admits(&text(name), is_default(name));
                    self.lines.truncate(count);
                    self.lines.push((name.to_vec(), reported));
                    reported
                }
            };
            count += 1;
            if reported {
                self.interfaces.read(name, &parse_row(columns), || Series::new(&self.options, name));
            }
        }
        self.lines.truncate(count);
        self.interfaces.end();
    }

    fn each(&self, column: usize, of: impl Fn(&Series) -> &Directions, out: &mut Observer<'_>) {
        for interface in self.interfaces.listed() {
            let row = interface.row();
            if let (Some(received), Some(sent)) = (row.get(RECEIVED + column), row.get(SENT + column)) {
                let series = of(&interface.data);
                out.int(received, &series.receive);
                out.int(sent, &series.transmit);
            }
        }
    }
}

impl Collector for Network {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        if let Some(bytes) = reader.read(&mut self.source) {
            self.take(bytes, now);
        }
        self.connections.read(reader);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "io" => self.each(BYTES, |series| &series.common, out),
            "packets" => self.each(PACKETS, |series| &series.packets, out),
            "errors" => self.each(ERRORS, |series| &series.common, out),
            "dropped" => self.each(DROPS, |series| &series.common, out),
            id => self.connections.observe(id, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, series};
    use super::*;
    use std::collections::{HashMap, HashSet};

    use crate::metrics::counter::Since;
    use crate::metrics::filter::Filter;
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

    fn network(options: Options, word_bits: u32) -> Network {
        let mut context = Host::empty().context(options);
        context.host.word_bits = word_bits;
        Network::new(&context)
    }

    /// Reads each content, ten seconds apart, and returns the points of `io`.
    fn io_after(options: Options, word_bits: u32, contents: &[String]) -> Vec<String> {
        let mut network = network(options, word_bits);
        for (at, content) in (0..).zip(contents) {
            network.take(content.as_bytes(), Duration::from_secs(at * 10));
        }
        series(&network, METRICS, "io")
    }

    /// The bytes received and sent by eth0 after each of the lines.
    fn eth0_after_each(word_bits: u32, lines: &[String]) -> Vec<[u64; 2]> {
        let mut network = network(Options::default(), word_bits);
        let after = |(at, line): (u64, &String)| {
            network.take(listing(std::slice::from_ref(line)).as_bytes(), Duration::from_secs(at * 10));
            let interface = network.interfaces.listed().next().unwrap();
            [RECEIVED, SENT].map(|half| interface.row().total(half + BYTES))
        };
        (0..).zip(lines).map(after).collect()
    }

    fn eth0(received: u64, sent: u64) -> String {
        line("eth0", received, received / 100, sent)
    }

    fn zeros() -> String {
        format!("eth0:{}\n", " 0".repeat(16))
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
    fn sixteen_columns_are_read_and_later_ones_are_ignored() {
        let columns = b"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
        assert_eq!(parse_row(columns), [1, 2, 3, 4, 9, 10, 11, 12].map(Some));
        assert_eq!(parse_row(&[&columns[..], b" 17 18"].concat()), parse_row(columns));
        assert_eq!(parse_row(b"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"), [None; COLUMNS]);
        assert_eq!(parse_row(b"1 2 3 4 5 6 7 8 -9 10 11 12 13 14 15 16"), [None; COLUMNS]);
    }

    #[test]
    fn loopback_and_container_links_are_left_out_unless_asked_for_and_a_colon_is_part_of_a_name() {
        let names = ["lo", "veth12ab", "cali7d2e", "eth0:1", "eth0", "bond0", "br0", "bond0.100", "lowpan0", "wlan0"];
        let default: Vec<_> = names.into_iter().filter(|name| is_default(name.as_bytes())).collect();
        assert_eq!(default, ["eth0:1", "eth0", "bond0", "br0", "bond0.100", "lowpan0", "wlan0"]);
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
    fn an_interface_counts_from_its_first_reading_whenever_it_appears() {
        let first = listing(&[line("eth0", 1_000, 10, 50)]);
        let second = listing(&[line("ppp0", 70, 1, 7), line("eth0", 1_100, 11, 60)]);
        let third = listing(&[line("ppp0", 75, 1, 7), line("eth0", 1_100, 11, 60)]);
        assert_eq!(
            io_after(Options::default(), 64, &[first, second, third]),
            [
                "network.interface.name=eth0 network.io.direction=receive 100",
                "network.interface.name=eth0 network.io.direction=transmit 10",
                "network.interface.name=ppp0 network.io.direction=receive 5",
                "network.interface.name=ppp0 network.io.direction=transmit 0",
            ]
        );
    }

    #[test]
    fn an_interface_renamed_or_moved_in_brings_none_of_its_old_traffic() {
        let [old, new] = [line("eth9", 28_000_000, 10, 5_000_000), line("wan0", 28_000_400, 10, 5_000_010)];
        let other = line("eth0", 1, 1, 1);
        let last = listing(&[other.clone(), line("wan0", 28_000_900, 10, 5_000_010)]);
        let said = [
            "network.interface.name=eth0 network.io.direction=receive 0",
            "network.interface.name=eth0 network.io.direction=transmit 0",
            "network.interface.name=wan0 network.io.direction=receive 500",
            "network.interface.name=wan0 network.io.direction=transmit 0",
        ];
        for before in [listing(&[other.clone(), old]), listing(std::slice::from_ref(&other))] {
            let contents = [before, listing(&[other.clone(), new.clone()]), last.clone()];
            assert_eq!(io_after(Options::default(), 64, &contents), said);
        }
    }

    #[test]
    fn a_damaged_line_costs_that_reading_of_its_interface() {
        let lines =
            ["eth0: 1 2\n".to_owned(), eth0(1_000, 50), eth0(1_100, 50), "eth0: x\n".to_owned(), eth0(1_300, 55)];
        assert_eq!(eth0_after_each(64, &lines), [[0, 0], [0, 0], [100, 0], [100, 0], [300, 5]]);
        let first = listing(&lines[..1]);
        assert!(io_after(Options::default(), 64, &[first]).is_empty(), "no reading of it yet");
    }

    #[test]
    fn zeros_for_one_two_and_five_readings_and_at_the_start_add_nothing() {
        for count in [1, 2, 5] {
            let mut lines = vec![zeros(); count];
            lines.extend([eth0(900_000_000_000, 7_000), eth0(900_000_000_100, 7_001)]);
            lines.extend(vec![zeros(); count]);
            lines.push(eth0(900_000_000_300, 7_003));
            let mut expected = vec![[0, 0]; count + 1];
            expected.extend(vec![[100, 1]; count + 1]);
            expected.push([300, 3]);
            assert_eq!(eth0_after_each(64, &lines), expected);
        }
    }

    #[test]
    fn only_the_receive_half_that_restarts_loses_its_first_reading() {
        let lines = [
            eth0(300_000_000_000, 300_000_000_000),
            eth0(500, 300_000_000_010),
            eth0(700, 300_000_000_020),
            eth0(800, 300_000_000_030),
            eth0(900, 300_000_000_040),
        ];
        assert_eq!(eth0_after_each(64, &lines), [[0, 0], [0, 10], [0, 20], [300, 30], [400, 40]]);
    }

    #[test]
    fn an_interface_that_was_made_again_goes_on_from_its_total_and_adds_no_whole_reading() {
        let lines = [(1_000, 50), (1_500, 60), (900, 20), (950, 25), (960, 30)].map(|(a, b)| eth0(a, b));
        assert_eq!(eth0_after_each(64, &lines), [[0, 0], [500, 10], [500, 10], [500, 10], [560, 20]]);
    }

    #[test]
    fn two_columns_that_step_back_a_little_hold_their_totals() {
        let lines = [(1_000, 500), (990, 495), (1_010, 505)].map(|(a, b)| eth0(a, b));
        assert_eq!(eth0_after_each(64, &lines), [[0, 0], [0, 0], [10, 5]]);
    }

    #[test]
    fn on_a_32_bit_kernel_two_byte_columns_wrap_in_the_same_interval() {
        let near = u64::from(u32::MAX) - 99;
        let lines = [(near, near), (100, 200), (300, 300), (400, 500)].map(|(a, b)| eth0(a, b));
        assert_eq!(eth0_after_each(32, &lines), [[0, 0], [0, 0], [0, 0], [500, 600]]);
    }

    #[test]
    fn on_a_32_bit_kernel_the_bytes_of_a_fast_link_wrap_far_into_the_range() {
        // 1 Gbit/s: 1.25 GB in ten seconds.
        let lines = [3_500_000_000, 455_032_704, 1_705_032_704, 2_955_032_704].map(|bytes| eth0(bytes, 1));
        assert_eq!(eth0_after_each(32, &lines)[3], [3_750_000_000, 0]);
    }

    #[test]
    fn three_hundred_interfaces_that_vanish_together_and_return_count_on() {
        let all = |bytes| listing(&(0..300u64).map(|n| line(&format!("tap{n}"), bytes + n, 1, 1)).collect::<Vec<_>>());
        let contents = [all(1_000), all(1_100), listing(&[]), all(5_000), all(5_007)];
        let io = io_after(Options::default(), 64, &contents);
        assert_eq!(io.len(), 600);
        for line in io.iter().filter(|line| line.contains("receive")) {
            assert!(line.ends_with(" 107"), "{line}");
        }
    }

    #[test]
    fn a_returning_interface_goes_on_under_cumulative_and_restarts_under_delta() {
        let with = |bytes| listing(&[line("lan", 1, 1, 1), line("tun0", bytes, bytes / 10, 5)]);
        let contents = [with(1_000), with(1_300), listing(&[line("lan", 1, 1, 1)]), with(40), with(47)];
        let received = |delta, contents: &[String]| {
            let all = io_after(Options { delta, ..Options::default() }, 64, contents);
            all.into_iter().find(|s| s.contains("tun0") && s.contains("receive"))
        };
        let says = |n: u64| Some(format!("network.interface.name=tun0 network.io.direction=receive {n}"));
        assert_eq!(received(false, &contents), says(307));
        assert_eq!(received(true, &contents), says(7));
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
        let mut network = network(Options { max_series: Some(100), ..Options::default() }, 64);
        for n in 0..2_000 {
            let content = listing(&[line("eth0", n, n, n), line(&format!("ppp{n}"), 5, 1, 5)]);
            network.take(content.as_bytes(), Duration::from_secs(n));
        }
        assert!(network.interfaces.len() <= 103, "{}", network.interfaces.len());
        let io = series(&network, METRICS, "io");
        assert_eq!(io.len(), 4);
        assert!(io.contains(&"network.interface.name=eth0 network.io.direction=receive 1999".to_owned()), "{io:?}");
        assert!(io.contains(&"network.interface.name=ppp1999 network.io.direction=receive 0".to_owned()), "{io:?}");
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
                "network.interface.name=eth0:1 network.io.direction=receive 333",
                "network.interface.name=eth0:1 network.io.direction=transmit 444",
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
            word_bits in prop_oneof![Just(32u32), Just(64)],
        ) {
            let mut network = network(Options::default(), word_bits);
            let mut before: HashMap<Vec<u8>, u64> = HashMap::new();
            for (at, content) in (0..).zip(contents) {
                network.take(&content, Duration::from_secs(at));
                for interface in network.interfaces.listed() {
                    let now = interface.row().total(0);
                    let before = before.insert(interface.name().to_vec(), now);
                    prop_assert!(before.is_none_or(|before| now >= before));
                }
            }
        }
    }
}
