//! The state of network interfaces in node_exporter's naming, from `/sys/class/net`, and bonds.

use super::super::{Collector, Context, Definition, Observer};
use super::facts::Facts;
use super::{MOST_GONE, REFRESH, rules};
use crate::host::{Host, KeptDir, Reader, kept, read_small};
use crate::metrics::counter::{Kind, Table};
use crate::metrics::naming::Kind::{Counter, Gauge};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Attributes, Metric, label, labels};
use crate::metrics::parse::{hexadecimal, number, text};

pub const DEFINITION: Definition =
    Definition { name: "link", metrics: METRICS, new: |context| Box::new(Links::new(context)) };

const DEVICE: Attribute = label("device");
const MASTER: Attribute = label("master");

const fn file(name: &'static str, metric: &'static str) -> Metric {
    Metric::node(name, Gauge, Int, metric, &[&DEVICE], "The file of this name", "/sys/class/net")
}

const fn changes(name: &'static str, metric: &'static str) -> Metric {
    Metric::node(name, Counter, Int, metric, &[&DEVICE], "How often the carrier changed", "/sys/class/net")
}

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::node("up", Gauge, Int, "node_network_up", &[&DEVICE],
        "Whether the interface is up, 1 or 0", "/sys/class/net/*/operstate"),
    Metric::node("info", Gauge, Int, "node_network_info", &[&label("address"), &label("adminstate"), &label("broadcast"), &DEVICE, &label("duplex"), &label("ifalias"), &label("operstate")],
        "An interface, value 1", "/sys/class/net"),
    Metric::node("speed", Gauge, Double, "node_network_speed_bytes", &[&DEVICE],
        "Bytes a second; -125000 where the driver does not know, as node_exporter has it", "/sys/class/net/*/speed"),
    file("carrier", "node_network_carrier"),
    file("flags", "node_network_flags"),
    changes("carrier_changes", "node_network_carrier_changes_total"),
    changes("carrier_up_count", "node_network_carrier_up_changes_total"),
    changes("carrier_down_count", "node_network_carrier_down_changes_total"),
    file("addr_assign_type", "node_network_address_assign_type"),
    file("dev_id", "node_network_device_id"),
    file("dormant", "node_network_dormant"),
    file("ifindex", "node_network_iface_id"),
    file("iflink", "node_network_iface_link"),
    file("link_mode", "node_network_iface_link_mode"),
    file("mtu", "node_network_mtu_bytes"),
    file("name_assign_type", "node_network_name_assign_type"),
    file("netdev_group", "node_network_net_dev_group"),
    file("tx_queue_len", "node_network_transmit_queue_length"),
    file("type", "node_network_protocol_type"),
    Metric::node("slaves", Gauge, Int, "node_bonding_slaves", &[&MASTER],
        "Interfaces of the bond", "/sys/class/net/*/bonding/slaves"),
    Metric::node("active", Gauge, Int, "node_bonding_active", &[&MASTER],
        "Interfaces of the bond that are up", "/sys/class/net/*/lower_*/bonding_slave/mii_status"),
];

/// Files that do not change when a link goes up or down: they are read less often.
const STEADY: [&str; 11] = [
    "addr_assign_type",
    "dev_id",
    "dormant",
    "ifindex",
    "iflink",
    "link_mode",
    "mtu",
    "name_assign_type",
    "netdev_group",
    "tx_queue_len",
    "type",
];
const CHANGES: [&str; 3] = ["carrier_changes", "carrier_up_count", "carrier_down_count"];
/// The interface flag for administratively up.
const IFF_UP: u64 = 1;
/// Unit of `speed`: megabits per second.
const BYTES_PER_MEGABIT: f64 = 125_000.0;
/// Files of interfaces that stay open between the readings, in number.
const MOST_OPEN: usize = 256;

struct Interface {
    name: String,
    /// Inode of its entry in `/sys/class/net`, which tells it from another interface that has its name now.
    inode: u64,
    dir: KeptDir,
}

struct Links {
    host: Host,
    interfaces: Vec<Interface>,
    most_open: usize,
    changing: Facts,
    steady: Facts,
    changes: Table<Attributes, { CHANGES.len() }>,
}

impl Links {
    fn new(context: &Context) -> Self {
        Self {
            host: context.host.clone(),
            interfaces: Vec::new(),
            most_open: kept::at_most(MOST_OPEN),
            changing: Facts::default(),
            steady: Facts::default(),
            changes: Table::new(rules([Kind::EVENTS.narrow(); CHANGES.len()], &context.options), MOST_GONE),
        }
    }

    /// Lists the interfaces; returns whether they are others than before.
    fn list(&mut self, reader: &mut Reader) -> bool {
        let dir = self.host.sys("class/net");
        let mut before = std::mem::take(&mut self.interfaces);
        let mut changed = false;
        for (name, inode) in reader.list_inodes(&dir).unwrap_or_default() {
            // `bonding_masters` is a file between the directories.
            let Some(name) = name.into_string().ok().filter(|name| name != "bonding_masters") else { continue };
            let place = before.iter().position(|known| known.name == name && known.inode == inode);
            changed |= place.is_none();
            self.interfaces.push(match place {
                Some(place) => before.swap_remove(place),
                None => Interface { dir: KeptDir::new(dir.join(&name)), name, inode },
            });
        }
        changed || !before.is_empty()
    }

    fn read_interface(&mut self, interface: &mut Interface) {
        let Interface { name, dir, .. } = interface;
        let mut word = |file| dir.read(file).map(|word| text(&word)).unwrap_or_default();
        let device = [("device", name.clone())];
        let (state, flags) = (word("operstate"), integer(word("flags").as_bytes()));
        let is_wanted = flags.map(|flags| flags & IFF_UP == IFF_UP);
        let wanted = is_wanted.map_or("unknown", |wanted| if wanted { "up" } else { "down" });
        self.changing.add("up", f64::from(u8::from(state == "up")), &device);
        let info = [
            ("address", word("address")),
            ("adminstate", wanted.to_owned()),
            ("broadcast", word("broadcast")),
            ("device", name.clone()),
            ("duplex", word("duplex")),
            ("ifalias", word("ifalias")),
            ("operstate", state),
        ];
        self.changing.add("info", 1.0, &info);
        #[allow(clippy::cast_precision_loss)] // small numbers
        for (id, value) in [("carrier", integer(word("carrier").as_bytes())), ("flags", flags)] {
            if let Some(value) = value {
                self.changing.add(id, value as f64, &device);
            }
        }
        // The file cannot be read if the link is down.
        if let Ok(megabits) = word("speed").parse::<i32>() {
            self.changing.add("speed", f64::from(megabits) * BYTES_PER_MEGABIT, &device);
        }
        let counts = CHANGES.map(|file| integer(word(file).as_bytes()));
        if counts.iter().any(Option::is_some) {
            self.changes.read(name.as_bytes(), &counts, || labels(&device));
        }
    }

    fn steady(&mut self) {
        self.steady.clear();
        for Interface { name, dir, .. } in &self.interfaces {
            for id in STEADY {
                #[allow(clippy::cast_precision_loss)] // small numbers
                if let Some(value) = read_small(&dir.path().join(id)).and_then(|value| integer(&value)) {
                    self.steady.add(id, value as f64, &[("device", name.clone())]);
                }
            }
        }
    }

    fn bonds(&mut self) {
        let dir = self.host.sys("class/net");
        let masters = read_small(&dir.join("bonding_masters")).map(|names| text(&names)).unwrap_or_default();
        for master in masters.split_whitespace() {
            let bond = dir.join(master);
            let slaves = read_small(&bond.join("bonding/slaves")).map(|names| text(&names)).unwrap_or_default();
            let is_up = |slave: &&str| {
                // Kernels before 3.11 have `slave_` instead of `lower_`.
                let state = ["lower", "slave"]
                    .iter()
                    .find_map(|kind| read_small(&bond.join(format!("{kind}_{slave}/bonding_slave/mii_status"))));
                state.as_deref() == Some(b"up")
            };
            let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
            let series = [("master", master.to_owned())];
            self.changing.add("slaves", count(slaves.split_whitespace().count()), &series);
            self.changing.add("active", count(slaves.split_whitespace().filter(is_up).count()), &series);
        }
    }
}

/// Parses a decimal number, or a hexadecimal one with `0x`.
fn integer(text: &[u8]) -> Option<u64> {
    match text.strip_prefix(b"0x") {
        Some(digits) => hexadecimal(digits),
        None => number(text),
    }
}

impl Collector for Links {
    fn read(&mut self, reader: &mut Reader) {
        let changed = self.list(reader);
        self.changing.clear();
        self.changes.begin(reader.now());
        let mut interfaces = std::mem::take(&mut self.interfaces);
        let mut room = self.most_open;
        for interface in &mut interfaces {
            self.read_interface(interface);
            match room.checked_sub(interface.dir.open()) {
                Some(left) => room = left,
                None => interface.dir.close(),
            }
        }
        self.interfaces = interfaces;
        self.changes.end();
        self.bonds();
        if changed || reader.cycle().is_multiple_of(REFRESH) {
            self.steady();
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if let Some(place) = CHANGES.iter().position(|id| *id == metric.id) {
            for entry in self.changes.listed() {
                if let Some(total) = entry.row().get(place) {
                    out.int(total, &entry.data);
                }
            }
            return;
        }
        self.changing.observe(metric.id, out);
        self.steady.observe(metric.id, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;
    use crate::metrics::counter::Since;

    #[test]
    fn an_interface_and_a_bond_report_their_state() {
        let host = TestHost::empty();
        let files = [
            ("eth0/operstate", "up"),
            ("eth0/flags", "0x1303"),
            ("eth0/speed", "1000"),
            ("eth0/carrier", "1"),
            ("eth0/carrier_changes", "2"),
            ("eth0/mtu", "1500"),
            ("eth0/address", "01:01:01:01:01:01"),
            ("eth1/operstate", "down"),
            ("eth1/speed", "-1"),
            ("bonding_masters", "bond0"),
            ("bond0/bonding/slaves", "eth0 eth1"),
            ("bond0/lower_eth0/bonding_slave/mii_status", "up"),
            ("bond0/lower_eth1/bonding_slave/mii_status", "down"),
        ];
        for (file, content) in files {
            host.write(&format!("sys/class/net/{file}"), format!("{content}\n"));
        }
        let mut links = Links::new(&host.context(Options { since: Since::Boot, ..Options::default() }));
        assert_eq!(host.read(&mut links), 0);
        let value = |id| series(&links, METRICS, id);
        assert_eq!(value("up"), ["device=bond0 0", "device=eth0 1", "device=eth1 0"]);
        assert_eq!(value("info")[1], "address=01:01:01:01:01:01 adminstate=up device=eth0 operstate=up 1");
        assert_eq!(value("speed"), ["device=eth0 125000000", "device=eth1 -125000"]);
        assert_eq!(value("flags"), ["device=eth0 4867"]);
        assert_eq!(value("carrier_changes"), ["device=eth0 2"]);
        assert_eq!(value("mtu"), ["device=eth0 1500"]);
        assert_eq!(
            (value("slaves"), value("active")),
            (vec!["master=bond0 2".to_owned()], vec!["master=bond0 1".to_owned()])
        );
    }

    #[test]
    fn two_interfaces_that_change_names_change_values() {
        let host = TestHost::empty();
        host.write("sys/class/net/eth0/flags", "0x1\n");
        host.write("sys/class/net/eth1/flags", "0x2\n");
        let mut links = Links::new(&host.context(Options::default()));
        host.read(&mut links);
        assert_eq!(series(&links, METRICS, "flags"), ["device=eth0 1", "device=eth1 2"]);
        for (old, new) in [("eth0", "rename"), ("eth1", "eth0"), ("rename", "eth1")] {
            let path = |name| host.path(&format!("sys/class/net/{name}"));
            std::fs::rename(path(old), path(new)).unwrap();
        }
        host.read(&mut links);
        assert_eq!(series(&links, METRICS, "flags"), ["device=eth0 2", "device=eth1 1"]);
    }
}
