//! Links of network interfaces, from `/sys/class/net` (Documentation/ABI/testing/sysfs-class-net): state, speed, MTU,
//! and the number of active bond members.
//!
//! By default, physical interfaces are reported, which have a `device`. The interface filters select others. The kernel
//! reports an error or -1 for the speed of a link that is down; the metric is then absent rather than 0.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Collector, Context, Definition, Observer};
use crate::host::Reader;
use crate::metrics::counter::{Kind, Row, Rules};
use crate::metrics::filter::Filter;
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Detail, Metric, Names, Naming, attributes};
use crate::metrics::parse::fields;

pub const DEFINITION: Definition =
    Definition { name: "link", metrics: METRICS, new: |context| Box::new(Links::new(context)) };

const ID: Attribute = Attribute { key: Names::both("hw.id"), values: &[] };
const NAME: Attribute = Attribute { key: Names::both("hw.name"), values: &[] };
const INTERFACE: Attribute = Attribute { key: Names::both("network.interface.name"), values: &[] };

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("up", UpDownCounter, Int, "Whether the link is up: 1 or 0",
        "/sys/class/net/*, operstate, and carrier where that is unknown")
        .semconv("hw.network.up", "1", Basic, &[&ID, &NAME]),
    Metric::new("speed", UpDownCounter, Int, "Speed of the link; missing while it is down",
        "/sys/class/net/*, speed, of 10^6 bits").since("2.6.33")
        .semconv("hw.network.bandwidth.limit", "By/s", Basic, &[&ID, &NAME]),
    Metric::new("mtu", UpDownCounter, Int, "Largest packet that the interface sends whole", "/sys/class/net/*, mtu")
        .semconv("system.network.linux.mtu", "By", Detailed, &[&INTERFACE]),
    Metric::new("carrier_changes", Counter, Int, "Times that the link went up or down",
        "/sys/class/net/*, carrier_changes").since("3.15")
        .semconv("system.network.linux.carrier_changes", "{change}", Detailed, &[&INTERFACE]),
    Metric::new("multicast", Counter, Int, "Multicast packets received", "/sys/class/net/*/statistics, multicast")
        .semconv("system.network.linux.multicast", "{packet}", Detailed, &[&INTERFACE]),
    Metric::new("collisions", Counter, Int, "Collisions while sending", "/sys/class/net/*/statistics, collisions")
        .semconv("system.network.linux.collisions", "{collision}", Detailed, &[&INTERFACE]),
    Metric::new("frame_errors", Counter, Int, "Packets received with a wrong frame",
        "/sys/class/net/*/statistics, rx_frame_errors")
        .semconv("system.network.linux.frame_errors", "{error}", Detailed, &[&INTERFACE]),
    Metric::new("fifo_errors.receive", Counter, Int, "Packets lost since the interface's receive buffer overflowed",
        "/sys/class/net/*/statistics, rx_fifo_errors")
        .semconv("system.network.linux.receive_fifo_errors", "{error}", Detailed, &[&INTERFACE]),
    Metric::new("fifo_errors.transmit", Counter, Int, "Packets lost since the interface's send buffer ran empty",
        "/sys/class/net/*/statistics, tx_fifo_errors")
        .semconv("system.network.linux.transmit_fifo_errors", "{error}", Detailed, &[&INTERFACE]),
    Metric::new("carrier_errors", Counter, Int, "Packets that could not be sent since the carrier was lost",
        "/sys/class/net/*/statistics, tx_carrier_errors")
        .semconv("system.network.linux.carrier_errors", "{error}", Detailed, &[&INTERFACE]),
    Metric::new("bond.members", UpDownCounter, Int, "Members of the bond", "/sys/class/net/*/bonding/slaves")
        .semconv("system.network.linux.bond.member.count", "{interface}", Basic, &[&INTERFACE]),
    Metric::new("bond.active", UpDownCounter, Int, "Members of the bond whose link is up",
        "/sys/class/net/*/bonding_slave/mii_status")
        .semconv("system.network.linux.bond.member.active", "{interface}", Basic, &[&INTERFACE]),
];

/// The counters of an interface: metric and file.
const COUNTERS: [(&str, &str); 7] = [
    ("carrier_changes", "carrier_changes"),
    ("multicast", "statistics/multicast"),
    ("collisions", "statistics/collisions"),
    ("frame_errors", "statistics/rx_frame_errors"),
    ("fifo_errors.receive", "statistics/rx_fifo_errors"),
    ("fifo_errors.transmit", "statistics/tx_fifo_errors"),
    ("carrier_errors", "statistics/tx_carrier_errors"),
];
/// The counters, and a column that is never zero, so that the first event is counted.
const COLUMNS: usize = COUNTERS.len() + 1;

/// The list of bonds; it exists only if the bonding module is loaded.
const MASTERS: &str = "bonding_masters";

/// Bytes per second in a megabit per second.
const MEGABIT_BYTES: u64 = 125_000;

/// An interface that is or was reported.
struct Link {
    name: String,
    hardware: Attributes,
    interface: Attributes,
    counters: Row<COLUMNS>,
    state: Option<State>,
}

/// The state of an interface at the last reading.
#[derive(Debug, Default, PartialEq)]
struct State {
    up: Option<bool>,
    bytes_per_second: Option<u64>,
    mtu: Option<u64>,
}

struct Bond {
    series: Attributes,
    members: u64,
    active: u64,
}

struct Links {
    dir: PathBuf,
    naming: Naming,
    detail: Detail,
    rules: Rules<COLUMNS>,
    filter: Filter,
    links: Vec<Link>,
    bonds: Vec<Bond>,
}

impl Links {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        Self {
            dir: context.host.sys("class/net"),
            naming: options.naming,
            detail: options.detail,
            rules: Rules::new([Kind::EVENTS.word(context.host.word_bits); COLUMNS], options.since).delta(options.delta),
            filter: options.interfaces.clone(),
            links: Vec::new(),
            bonds: Vec::new(),
        }
    }

    /// The link with this name; created if missing.
    fn link(&mut self, name: &str) -> Option<&mut Link> {
        let place = self.links.iter().position(|link| link.name == name).unwrap_or_else(|| {
            let text: Arc<str> = name.into();
            let series = |keys: &[&Attribute]| {
                let pairs: Vec<_> = keys.iter().map(|key| (*key, AttributeValue::Text(Arc::clone(&text)))).collect();
                attributes(self.naming, &pairs)
            };
            self.links.push(Link {
                name: name.to_owned(),
                hardware: series(&[&ID, &NAME]),
                interface: series(&[&INTERFACE]),
                counters: Row::default(),
                state: None,
            });
            self.links.len() - 1
        });
        self.links.get_mut(place)
    }

    /// `names`: the entries of the directory.
    fn read_bonds(&mut self, reader: &mut Reader, names: &[OsString]) {
        self.bonds.clear();
        let path = self.dir.join(MASTERS);
        if !names.iter().any(|name| name == MASTERS) {
            return reader.note(path, false, "");
        }
        let Some(masters) = reader.small(&path) else { return };
        for name in fields(&masters).filter_map(|name| std::str::from_utf8(name).ok()) {
            if name.contains('/') || !self.filter.admits(name, true) {
                continue;
            }
            let Some(slaves) = reader.small(&self.dir.join(name).join("bonding/slaves")) else { continue };
            let members: Vec<&str> = fields(&slaves).filter_map(|name| std::str::from_utf8(name).ok()).collect();
            let is_up = |member: &&&str| {
                let dir = self.dir.join(member);
                // Before Linux 3.14, the bond's own view of its member is not available.
                let status = reader.small(&dir.join("bonding_slave/mii_status"));
                status.or_else(|| reader.small(&dir.join("operstate"))).is_some_and(|status| status == b"up")
            };
            let active = members.iter().filter(is_up).count() as u64;
            let series = attributes(self.naming, &[(&INTERFACE, AttributeValue::Text(name.into()))]);
            self.bonds.push(Bond { series, members: members.len() as u64, active });
        }
    }
}

/// Whether the link is up, from `operstate`, or from the carrier if the driver does not maintain it.
fn is_up(operstate: Option<&[u8]>, carrier: Option<u64>) -> Option<bool> {
    match operstate? {
        b"up" => Some(true),
        b"unknown" => carrier.map(|carrier| carrier == 1),
        b"down" | b"notpresent" | b"lowerlayerdown" | b"testing" | b"dormant" => Some(false),
        _ => None,
    }
}

fn read_state(dir: &Path, reader: &mut Reader, detail: Detail) -> State {
    let operstate = reader.small(&dir.join("operstate"));
    let carrier = match operstate.as_deref() {
        Some(b"unknown") => reader.small_number(&dir.join("carrier")),
        _ => None,
    };
    let up = is_up(operstate.as_deref(), carrier);
    // Old kernels print the unknown speed (-1) as an unsigned 16- or 32-bit number.
    let known = |speed: &u64| ![0, u64::from(u16::MAX), u64::from(u32::MAX)].contains(speed);
    let speed = if up == Some(false) { None } else { reader.small_number(&dir.join("speed")).filter(known) };
    State {
        up,
        bytes_per_second: speed.and_then(|speed| speed.checked_mul(MEGABIT_BYTES)),
        mtu: (detail == Detailed).then(|| reader.small_number(&dir.join("mtu"))).flatten(),
    }
}

impl Collector for Links {
    fn read(&mut self, reader: &mut Reader) {
        let listed = reader.list(&self.dir);
        let names = listed.as_deref().unwrap_or_default();
        let before: Vec<bool> = self.links.iter_mut().map(|link| link.state.take().is_some()).collect();
        for name in names.iter().filter_map(|name| name.to_str()).filter(|name| *name != MASTERS) {
            let dir = self.dir.join(name);
            if !self.filter.admits(name, reader.exists(&dir.join("device"))) {
                continue;
            }
            let (detail, rules, now) = (self.detail, self.rules, reader.now());
            let Some(link) = self.link(name) else { continue };
            link.state = Some(read_state(&dir, reader, detail));
            if detail == Detailed {
                let mut readings = [Some(1); COLUMNS];
                for (reading, (_, file)) in readings.iter_mut().zip(COUNTERS) {
                    *reading = reader.small_number(&dir.join(file));
                }
                link.counters.read(&readings, now, &rules);
            }
        }
        for (link, before) in self.links.iter_mut().zip(before) {
            if before && link.state.is_none() {
                link.counters.absent(&self.rules);
            }
        }
        match listed {
            Some(names) => self.read_bonds(reader, &names),
            None => self.bonds.clear(),
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        for bond in &self.bonds {
            match metric.id {
                "bond.members" => out.int(bond.members, &bond.series),
                "bond.active" => out.int(bond.active, &bond.series),
                _ => {}
            }
        }
        for (link, state) in self.links.iter().filter_map(|link| Some((link, link.state.as_ref()?))) {
            match metric.id {
                "up" => state.up.iter().for_each(|up| out.int(u64::from(*up), &link.hardware)),
                "speed" => state.bytes_per_second.iter().for_each(|speed| out.int(*speed, &link.hardware)),
                "mtu" => state.mtu.iter().for_each(|mtu| out.int(*mtu, &link.interface)),
                id => {
                    let place = COUNTERS.iter().position(|(metric, _)| *metric == id);
                    let total = place.and_then(|place| link.counters.get(place));
                    total.iter().for_each(|total| out.int(*total, &link.interface));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{Bench, Host};
    use super::*;

    /// A host with one physical interface.
    fn host(operstate: &str, speed: &str) -> Host {
        let host = Host::empty();
        host.write("sys/class/net/eth0/device/vendor", "0x8086\n");
        host.write("sys/class/net/eth0/operstate", operstate);
        host.write("sys/class/net/eth0/speed", speed);
        host
    }

    fn points(host: &Host, options: Options) -> Vec<String> {
        Bench::new(DEFINITION, host.context(options)).next()
    }

    const UP: &str = "hw.network.up{hw.id=eth0,hw.name=eth0} ";

    #[test]
    fn a_link_that_is_up_has_its_speed_in_bytes() {
        let speed = "hw.network.bandwidth.limit{hw.id=eth0,hw.name=eth0} ";
        let expected = [format!("{UP}1"), format!("{speed}1250000000")];
        assert_eq!(points(&host("up\n", "10000\n"), Options::default()), expected);
    }

    #[test]
    fn a_link_that_is_down_or_unknown_has_no_speed() {
        assert_eq!(points(&host("down\n", "1000\n"), Options::default()), [format!("{UP}0")]);
        for speed in ["-1\n", "65535\n", "4294967295\n", "0\n", "fast\n", ""] {
            assert_eq!(points(&host("up\n", speed), Options::default()), [format!("{UP}1")], "{speed:?}");
        }
    }

    #[test]
    fn a_driver_without_operstate_is_judged_by_its_carrier() {
        let host = host("unknown\n", "-1\n");
        assert!(points(&host, Options::default()).is_empty(), "nothing says whether it is up");
        host.write("sys/class/net/eth0/carrier", "1\n");
        assert_eq!(points(&host, Options::default()), [format!("{UP}1")]);
    }

    #[test]
    fn virtual_interfaces_are_left_out_unless_asked_for() {
        let host = host("up\n", "-1\n");
        host.write("sys/class/net/lo/operstate", "unknown\n");
        host.write("sys/class/net/lo/carrier", "1\n");
        assert_eq!(points(&host, Options::default()), [format!("{UP}1")]);
        let interfaces = Filter::new(&["^lo$"], &[]).unwrap();
        let options = Options { interfaces, ..Options::default() };
        assert_eq!(points(&host, options), ["hw.network.up{hw.id=lo,hw.name=lo} 1"]);
    }

    #[test]
    fn a_bond_counts_the_members_that_are_up() {
        let host = Host::empty();
        host.write("sys/class/net/bonding_masters", "bond0\n");
        host.write("sys/class/net/bond0/bonding/slaves", "eth0 eth1\n");
        host.write("sys/class/net/eth0/bonding_slave/mii_status", "up\n");
        host.write("sys/class/net/eth1/bonding_slave/mii_status", "down\n");
        let member = "system.network.linux.bond.member";
        assert_eq!(
            points(&host, Options::default()),
            [
                format!("{member}.count{{network.interface.name=bond0}} 2"),
                format!("{member}.active{{network.interface.name=bond0}} 1"),
            ]
        );
    }

    #[test]
    fn a_host_without_bonds_lists_them_as_absent() {
        let host = host("up\n", "-1\n");
        let context = host.context(Options::default());
        let mut reader = Reader::new(&context.host).recording();
        Links::new(&context).read(&mut reader);
        let problems = reader.problems();
        assert!(problems.iter().any(|p| p.is_normal() && p.path.ends_with("bonding_masters")), "{problems:?}");
    }

    #[test]
    fn the_first_carrier_change_and_error_count() {
        let host = host("up\n", "1000\n");
        let write = |count: &str| {
            host.write("sys/class/net/eth0/carrier_changes", count);
            host.write("sys/class/net/eth0/statistics/rx_fifo_errors", count);
        };
        write("0\n");
        let options = Options { detail: Detailed, ..Options::default() };
        let mut links = Bench::new(DEFINITION, host.context(options));
        write("2\n");
        let points = links.next();
        for name in ["carrier_changes", "receive_fifo_errors"] {
            let expected = format!("system.network.linux.{name}{{network.interface.name=eth0}} 2");
            assert!(points.contains(&expected), "{points:#?}");
        }
    }

    #[test]
    fn an_interface_that_is_removed_takes_its_series_along() {
        let host = host("up\n", "1000\n");
        let mut links = Bench::new(DEFINITION, host.context(Options::default()));
        assert_eq!(links.next().len(), 2);
        std::fs::remove_dir_all(host.path("sys/class/net/eth0")).unwrap();
        assert!(links.next().is_empty());
    }
}
