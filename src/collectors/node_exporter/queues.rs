//! Network queues: ARP entries per interface and bytes in the queues of UDP sockets. From `/proc/1/net/arp`, `udp` and
//! `udp6`; only in node_exporter's naming.

use std::collections::BTreeMap;

use super::super::{Collector, Context, Definition, Observer};
use crate::host::{Reader, Source};
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, Metric, label, labels};
use crate::metrics::parse::{fields, hexadecimal, lines, text};

pub const DEFINITION: Definition =
    Definition { name: "queues", metrics: METRICS, new: |context| Box::new(Queues::new(context)) };

const DEVICE: Attribute = label("device");
const IP: Attribute = label("ip");
const QUEUE: Attribute = label("queue");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::node("arp", Gauge, Int, "node_arp_entries", &[&DEVICE],
        "Neighbours that the interface knows by IPv4", "/proc/1/net/arp"),
    Metric::node("udp", Gauge, Int, "node_udp_queues", &[&IP, &QUEUE],
        "Bytes in the receive (rx) and transmit (tx) queues of all UDP sockets", "/proc/1/net/udp, udp6"),
];

struct Queues {
    arp: Source,
    udp: [(Source, &'static str); 2],
    neighbours: BTreeMap<String, u64>,
    /// Transmit and receive queues of each protocol that the kernel has.
    queued: Vec<(&'static str, [u64; 2])>,
}

impl Queues {
    fn new(context: &Context) -> Self {
        let file = |name: &str| Source::new(context.host.network_file(name), "this kernel lacks the protocol");
        Self {
            arp: file("arp"),
            udp: [(file("udp"), "v4"), (file("udp6"), "v6")],
            neighbours: BTreeMap::new(),
            queued: Vec::new(),
        }
    }
}

/// Counts the lines per interface, which is the last field. The first line is a heading.
fn parse_arp(bytes: &[u8]) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in lines(bytes).skip(1) {
        if let Some(device) = fields(line).nth(5) {
            *found.entry(text(device)).or_default() += 1;
        }
    }
    found
}

/// Sums the hexadecimal fields `tx_queue:rx_queue`.
fn parse_queues(bytes: &[u8]) -> [u64; 2] {
    let mut sums = [0_u64; 2];
    for field in lines(bytes).skip(1).filter_map(|line| fields(line).nth(4)) {
        for (sum, half) in sums.iter_mut().zip(field.split(|&b| b == b':')) {
            *sum = sum.saturating_add(hexadecimal(half).unwrap_or(0));
        }
    }
    sums
}

impl Collector for Queues {
    fn read(&mut self, reader: &mut Reader) {
        self.neighbours = reader.read(&mut self.arp).map(parse_arp).unwrap_or_default();
        self.queued.clear();
        for (source, ip) in &mut self.udp {
            self.queued.extend(reader.read(source).map(|bytes| (*ip, parse_queues(bytes))));
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "arp" => {
                for (device, entries) in &self.neighbours {
                    out.int(*entries, &labels(&[("device", device.clone())]));
                }
            }
            "udp" => {
                for (ip, sums) in &self.queued {
                    for (queue, bytes) in ["tx", "rx"].into_iter().zip(sums) {
                        out.int(*bytes, &labels(&[("ip", (*ip).to_owned()), ("queue", queue.to_owned())]));
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;

    #[test]
    fn neighbours_are_counted_and_queues_are_added_up() {
        let host = TestHost::empty();
        host.write(
            "proc/net/arp",
            "IP address       HW type     Flags       HW address            Mask     Device\n\
             192.0.2.1        0x1         0x2         cc:aa:dd:ee:aa:bb     *        eth0\n\
             192.0.2.2        0x1         0x2         bb:cc:dd:ee:ff:aa     *        eth1\n\
             192.0.2.3        0x1         0x0         00:00:00:00:00:00     *        eth0\n",
        );
        host.write(
            "proc/net/udp",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
               1: 00000000:0044 00000000:0000 07 00000015:0000000A 00:00000000 00000000     0\n\
               2: 00000000:0045 00000000:0000 07 00000000:00000001 00:00000000 00000000     0\n",
        );
        let mut queues = Queues::new(&host.context(Options::default()));
        assert_eq!(host.read(&mut queues), 0);
        assert_eq!(series(&queues, METRICS, "arp"), ["device=eth0 2", "device=eth1 1"]);
        assert_eq!(series(&queues, METRICS, "udp"), ["ip=v4 queue=tx 21", "ip=v4 queue=rx 11"]);
    }

    #[test]
    fn odd_lines_cost_themselves() {
        assert_eq!(parse_queues(b"heading\nodd\n1: a b 07 zz:1 x\n2: a b 07 1:2 x\n"), [1, 3]);
        assert!(parse_arp(b"heading\n\xff odd\n").is_empty());
    }
}
