//! Network interfaces in node_exporter's naming: all columns of `/proc/1/net/dev` for every interface, and packets
//! without a handler from sysfs.

use super::super::network::split_line;
use super::super::{Collector, Context, Definition, Observer, Options};
use super::{MOST_GONE, rules};
use crate::host::{Host, Reader, Source, read_small};
use crate::metrics::counter::{Kind, Table};
use crate::metrics::naming::Kind::Counter;
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, Attributes, Metric, label, labels};
use crate::metrics::parse::{fields, lines, number, text};

pub const DEFINITION: Definition =
    Definition { name: "network", metrics: METRICS, new: |context| Box::new(Network::new(context)) };

const DEVICE: Attribute = label("device");

const fn column(name: &'static str, description: &'static str) -> Metric {
    Metric::node(name, Counter, Int, name, &[&DEVICE], description, "/proc/1/net/dev")
}

/// The columns in file order.
#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    column("node_network_receive_bytes_total", "Bytes received"),
    column("node_network_receive_packets_total", "Packets received"),
    column("node_network_receive_errs_total", "Errors while receiving"),
    column("node_network_receive_drop_total", "Packets received and dropped"),
    column("node_network_receive_fifo_total", "Errors of the receive queue"),
    column("node_network_receive_frame_total", "Framing errors"),
    column("node_network_receive_compressed_total", "Compressed packets received"),
    column("node_network_receive_multicast_total", "Multicast packets received"),
    column("node_network_transmit_bytes_total", "Bytes sent"),
    column("node_network_transmit_packets_total", "Packets sent"),
    column("node_network_transmit_errs_total", "Errors while sending"),
    column("node_network_transmit_drop_total", "Packets dropped instead of sent"),
    column("node_network_transmit_fifo_total", "Errors of the send queue"),
    column("node_network_transmit_colls_total", "Collisions"),
    column("node_network_transmit_carrier_total", "Losses of the carrier while sending"),
    column("node_network_transmit_compressed_total", "Compressed packets sent"),
    Metric::node("node_network_receive_nohandler_total", Counter, Int, "node_network_receive_nohandler_total", &[&DEVICE],
        "Packets of no known protocol", "/sys/class/net/*/statistics/rx_nohandler"),
];

const COLUMNS: usize = 17;
/// Number of columns of `/proc/net/dev`; the last metric is from sysfs.
const FILE_COLUMNS: usize = 16;
const BYTES: [usize; 2] = [0, 8];

struct Network {
    host: Host,
    options: Options,
    source: Source,
    interfaces: Table<Attributes, COLUMNS>,
}

impl Network {
    fn new(context: &Context) -> Self {
        let host = context.host.clone();
        let file = host.of_first_process("net/dev", "net/dev", "the interfaces are those of this process' network");
        let mut kinds = [Kind::EVENTS.word(host.word_bits); COLUMNS];
        for place in BYTES {
            if let Some(kind) = kinds.get_mut(place) {
                *kind = Kind::BYTES.word(host.word_bits);
            }
        }
        Self {
            source: Source::new(file, "the kernel needs CONFIG_NET"),
            interfaces: Table::new(rules(kinds, &context.options), MOST_GONE),
            options: context.options.clone(),
            host,
        }
    }
}

impl Collector for Network {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        let Some(bytes) = reader.read(&mut self.source) else { return };
        self.interfaces.begin(now);
        for (name, columns) in lines(bytes).filter_map(split_line) {
            let device = text(name);
            if !self.options.interfaces.admits(&device, true) {
                continue;
            }
            let mut readings = [None; COLUMNS];
            for (reading, field) in readings.iter_mut().zip(fields(columns).take(FILE_COLUMNS)) {
                *reading = number(field);
            }
            if let Some(last) = readings.last_mut() {
                let file = self.host.sys("class/net").join(&device).join("statistics/rx_nohandler");
                *last = read_small(&file).and_then(|count| number(&count));
            }
            self.interfaces.read(name, &readings, || labels(&[("device", device.clone())]));
        }
        self.interfaces.end();
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let Some(place) = METRICS.iter().position(|column| column.id == metric.id) else { return };
        for entry in self.interfaces.listed() {
            if let Some(total) = entry.row().get(place) {
                out.int(total, &entry.data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;
    use crate::metrics::counter::Since;

    #[test]
    fn every_interface_has_every_column() {
        let host = TestHost::empty();
        host.write(
            "proc/1/net/dev",
            "Inter-|   Receive  |  Transmit\n face |bytes packets\n\
             \x20   lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n veth1: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        );
        host.write("sys/class/net/lo/statistics/rx_nohandler", "17\n");
        let mut network = Network::new(&host.context(Options { since: Since::Boot, ..Options::default() }));
        assert_eq!(host.read(&mut network), 0);
        let first = |id: &str| series(&network, METRICS, id);
        assert_eq!(first("node_network_receive_bytes_total"), ["device=lo 1", "device=veth1 0"]);
        assert_eq!(first("node_network_transmit_bytes_total"), ["device=lo 9", "device=veth1 0"]);
        assert_eq!(first("node_network_transmit_compressed_total"), ["device=lo 16", "device=veth1 0"]);
        assert_eq!(first("node_network_receive_nohandler_total"), ["device=lo 17"]);
    }
}
