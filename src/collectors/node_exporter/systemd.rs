//! systemd units, sockets and timers, as in node_exporter's systemd collector; only with `--detail detailed`. Without
//! `--service-include`, node_exporter's default exclusions apply.

use std::collections::BTreeMap;
use std::io;

use super::super::services::session::Session;
use super::super::services::{MOST_GONE, MOST_SERVICES};
use super::super::{Collector, Context, Definition, Observer};
use super::rules;
use crate::host::Reader;
use crate::host::systemd::{Kind, Property, Systemd, Unit, Value, manager};
use crate::metrics::counter::{self, Table};
use crate::metrics::filter::Filter;
use crate::metrics::naming::Kind::{Counter, Gauge};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Attributes, Metric, label, labels};

pub const DEFINITION: Definition =
    Definition { name: "services", metrics: METRICS, new: |context| Box::new(Units::new(context)) };

const NAME: Attribute = label("name");
const STATE: Attribute = label("state");
const TYPE: Attribute = label("type");
const VERSION: Attribute = label("version");
const VIRTUALIZATION: Attribute = label("virtualization_type");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::node("version", Gauge, Double, "node_systemd_version", &[&VERSION],
        "The version's number", "systemd, Version").detailed(),
    Metric::node("virtualization", Gauge, Int, "node_systemd_virtualization_info", &[&VIRTUALIZATION],
        "The kind of virtual machine or container, value 1", "systemd, Virtualization").detailed(),
    Metric::node("running", Gauge, Int, "node_systemd_system_running", &[],
        "Whether the system is running and no unit failed, 1 or 0", "systemd, SystemState").detailed(),
    Metric::node("units", Gauge, Int, "node_systemd_units", &[&STATE],
        "Units in each state", "systemd, ListUnits").detailed(),
    Metric::node("state", Gauge, Int, "node_systemd_unit_state", &[&NAME, &STATE, &TYPE],
        "Whether the unit is in the state, 1 or 0", "systemd, ListUnits").detailed(),
    Metric::node("restarts", Counter, Int, "node_systemd_service_restart_total", &[&NAME],
        "Times that systemd restarted the service", "systemd, NRestarts").detailed(),
    Metric::node("trigger", Gauge, Double, "node_systemd_timer_last_trigger_seconds", &[&NAME],
        "When the timer last elapsed, in seconds since 1970", "systemd, LastTriggerUSec").detailed(),
    Metric::node("accepted", Counter, Int, "node_systemd_socket_accepted_connections_total", &[&NAME],
        "Connections that the socket accepted", "systemd, NAccepted").detailed(),
    Metric::node("connections", Gauge, Int, "node_systemd_socket_current_connections", &[&NAME],
        "Connections of the socket that are open", "systemd, NConnections").detailed(),
    Metric::node("refused", Gauge, Int, "node_systemd_socket_refused_connections_total", &[&NAME],
        "Connections that the socket refused", "systemd, NRefused").detailed(),
];

const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];
/// Kinds of units that node_exporter excludes by default.
const LEFT_OUT: [&str; 5] = ["automount", "device", "mount", "scope", "slice"];

struct Reported {
    state: String,
    series: [Attributes; STATES.len()],
    name: Attributes,
    /// Last trigger time of a timer, in microseconds since 1970.
    triggered: Option<u64>,
    /// Open and refused connections of a socket.
    connections: [Option<u64>; 2],
}

impl Reported {
    /// Creates a unit with this `Type=`; only services have one here.
    fn new(name: &str, of_type: &str) -> Self {
        let series = |state: &str| {
            labels(&[("name", name.to_owned()), ("state", state.to_owned()), ("type", of_type.to_owned())])
        };
        Self {
            state: String::new(),
            series: STATES.map(series),
            name: named(name),
            triggered: None,
            connections: [None; 2],
        }
    }
}

struct Units {
    session: Session,
    filter: Filter,
    about: Vec<(&'static str, f64, Attributes)>,
    counts: BTreeMap<String, u64>,
    units: BTreeMap<String, Reported>,
    /// Restarts of services; `accepted` counts connections of sockets.
    restarts: Table<Attributes, 1>,
    accepted: Table<Attributes, 1>,
}

impl Units {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        let table = || Table::new(rules([counter::Kind::EVENTS.narrow()], options), MOST_GONE);
        Self {
            session: Session::new(Systemd::over_dbus(&context.host)),
            filter: options.services.clone(),
            about: Vec::new(),
            counts: BTreeMap::new(),
            units: BTreeMap::new(),
            restarts: table(),
            accepted: table(),
        }
    }

    fn ask(&mut self, reader: &mut Reader) -> io::Result<()> {
        let all = self.session.units(reader)?;
        self.counts = STATES.map(|state| (state.to_owned(), 0)).into();
        for unit in &all {
            *self.counts.entry(unit.active_state.clone()).or_default() += 1;
        }
        let is_usual = |name: &str| name.rsplit_once('.').is_none_or(|(_, kind)| !LEFT_OUT.contains(&kind));
        let is_reported = |unit: &&Unit| unit.loaded && self.filter.admits(&unit.name, is_usual(&unit.name));
        let units: Vec<&Unit> = all.iter().filter(is_reported).take(MOST_SERVICES).collect();
        let of = |kind| units.iter().copied().filter(move |unit| Kind::of(&unit.name) == Some(kind));

        // The type of a service changes only with its unit file.
        let new: Vec<&Unit> = of(Kind::Service).filter(|unit| !self.units.contains_key(&unit.name)).collect();
        let mut wanted: Vec<Property<'_>> = ["Version", "Virtualization", "SystemState"].map(manager).into();
        wanted.extend(new.iter().map(|unit| unit.property(Kind::Service, "Type")));
        wanted.extend(of(Kind::Timer).map(|unit| unit.property(Kind::Timer, "LastTriggerUSec")));
        let of_socket = ["NAccepted", "NConnections", "NRefused"];
        wanted.extend(of(Kind::Socket).flat_map(|unit| of_socket.map(|name| unit.property(Kind::Socket, name))));
        let mut answers = self.session.properties(&wanted, reader)?.into_iter();
        let mut next = || answers.next().flatten();

        self.about = about([next(), next(), next()]);
        for unit in new {
            let of_type = next().and_then(Value::text).unwrap_or_default();
            self.units.insert(unit.name.clone(), Reported::new(&unit.name, &of_type));
        }
        self.units.retain(|name, _| units.iter().any(|unit| unit.name == *name));
        for unit in &units {
            let reported = self.units.entry(unit.name.clone()).or_insert_with(|| Reported::new(&unit.name, ""));
            reported.state.clone_from(&unit.active_state);
        }
        for unit in of(Kind::Timer) {
            let triggered = next().and_then(Value::number);
            self.units.entry(unit.name.clone()).and_modify(|timer| timer.triggered = triggered);
        }
        self.accepted.begin(reader.now());
        for unit in of(Kind::Socket) {
            let [accepted, open, refused] = [(); 3].map(|()| next().and_then(Value::number));
            self.accepted.read(unit.name.as_bytes(), &[accepted], || named(&unit.name));
            self.units.entry(unit.name.clone()).and_modify(|socket| socket.connections = [open, refused]);
        }
        self.accepted.end();
        if self.session.restarts_are_due() {
            let services: Vec<&Unit> = of(Kind::Service).collect();
            let counts = self.session.restarts(&services, reader)?;
            self.restarts.begin(reader.now());
            for (unit, count) in services.iter().zip(counts).filter(|(_, count)| count.is_some()) {
                self.restarts.read(unit.name.as_bytes(), &[count], || named(&unit.name));
            }
            self.restarts.end();
        }
        Ok(())
    }
}

fn named(name: &str) -> Attributes {
    labels(&[("name", name.to_owned())])
}

/// Metrics about systemd, from its version, the virtualization and its state.
fn about([version, virtualization, state]: [Option<Value>; 3]) -> Vec<(&'static str, f64, Attributes)> {
    let mut found = Vec::new();
    if let Some(version) = version.and_then(Value::text) {
        found.push(("version", version_number(&version), labels(&[("version", version)])));
    }
    if let Some(kind) = virtualization.and_then(Value::text) {
        let kind = if kind.is_empty() { "none".to_owned() } else { kind };
        found.push(("virtualization", 1.0, labels(&[("virtualization_type", kind)])));
    }
    if let Some(state) = state.and_then(Value::text) {
        found.push(("running", f64::from(u8::from(state == "running")), labels(&[])));
    }
    found
}

/// The first number with at least three digits, and a fraction if present: 252.39 for `252.39-1~deb12u1`. 0 if there is
/// none.
fn version_number(version: &str) -> f64 {
    let is_digit = |c: char| c.is_ascii_digit();
    let mut parts = version.split(|c| !is_digit(c) && c != '.');
    let number = parts.find(|part| part.chars().take_while(|c| is_digit(*c)).count() >= 3).unwrap_or("0");
    let mut numbers = number.split('.');
    let (whole, fraction) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
    format!("{whole}.{fraction}").parse().unwrap_or(0.0)
}

impl Collector for Units {
    fn read(&mut self, reader: &mut Reader) {
        if !self.session.is_due() {
            return;
        }
        let result = self.ask(reader);
        if self.session.failed(result, reader) {
            self.about.clear();
            self.counts.clear();
            self.units.clear();
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "units" => {
                self.counts.iter().for_each(|(state, count)| out.int(*count, &labels(&[("state", state.clone())])))
            }
            "state" => {
                for unit in self.units.values() {
                    for (state, series) in STATES.iter().zip(&unit.series) {
                        out.int(u64::from(*state == unit.state), series);
                    }
                }
            }
            "restarts" | "accepted" => {
                let table = if metric.id == "restarts" { &self.restarts } else { &self.accepted };
                for entry in table.listed() {
                    entry.row().get(0).into_iter().for_each(|count| out.int(count, &entry.data));
                }
            }
            "trigger" => {
                for unit in self.units.values() {
                    #[allow(clippy::cast_precision_loss)] // exact until the year 2255
                    unit.triggered.iter().for_each(|micros| out.float(*micros as f64 / 1e6, &unit.name));
                }
            }
            "connections" | "refused" => {
                let place = usize::from(metric.id == "refused");
                for unit in self.units.values() {
                    unit.connections.get(place).copied().flatten().iter().for_each(|count| out.int(*count, &unit.name));
                }
            }
            id => {
                for (_, value, series) in self.about.iter().filter(|(about, ..)| *about == id) {
                    out.number(*value, series);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{fixture, series};
    use super::*;
    use crate::host::systemd::tests::{Bus, message, units_body};
    use crate::metrics::counter::Since;

    /// Encodes the reply for a property: a number of four or eight bytes, or a text.
    fn value(answer: &Value, wide: bool) -> Vec<u8> {
        match answer {
            Value::Number(number) if wide => [&[1, b't', 0, 0, 0, 0, 0, 0][..], &number.to_le_bytes()].concat(),
            Value::Number(number) => [&[1, b'u', 0, 0][..], &(*number as u32).to_le_bytes()].concat(),
            Value::Text(text) => {
                [&[1, b's', 0, 0][..], &(text.len() as u32).to_le_bytes(), text.as_bytes(), &[0]].concat()
            }
        }
    }

    #[test]
    fn units_have_a_series_for_each_state_and_sockets_and_timers_their_own() {
        let list = [("a.service", "active"), ("b.socket", "failed"), ("c.timer", "active"), ("d.mount", "active")];
        let text = |text: &str| Value::Text(text.to_owned());
        let answers = [
            text("252.39-1~deb12u1"),
            text(""),
            text("degraded"),
            text("simple"),
            Value::Number(1_700_000_000_500_000),
            Value::Number(7),
            Value::Number(2),
            Value::Number(1),
            Value::Number(3),
        ];
        let bus = Bus::new(vec![Box::new(move |peer| {
            let mut peer = peer.welcome();
            let (serial, member) = peer.call();
            assert_eq!(member, "ListUnits");
            peer.send(&message(2, serial, "a(ssssssouso)", &units_body(&list)));
            for answer in &answers {
                let (serial, member) = peer.call();
                assert_eq!(member, "Get");
                let wide = matches!(answer, Value::Number(number) if *number > 1_000_000);
                peer.send(&message(2, serial, "v", &value(answer, wide)));
            }
        })]);
        let mut context = fixture("server", Options { since: Since::Boot, ..Options::default() });
        context.host = bus.host();
        let mut units = Units::new(&context);
        let mut reader = Reader::new(&context.host);
        units.read(&mut reader);
        assert_eq!(reader.failures(), 0);
        for (id, expected) in [
            ("version", &["version=252.39-1~deb12u1 252.39"][..]),
            ("virtualization", &["virtualization_type=none 1"]),
            ("running", &["0"]),
            (
                "units",
                &["state=activating 0", "state=active 3", "state=deactivating 0", "state=failed 1", "state=inactive 0"],
            ),
            ("restarts", &["name=a.service 3"]),
            ("trigger", &["name=c.timer 1700000000.5"]),
            ("accepted", &["name=b.socket 7"]),
            ("connections", &["name=b.socket 2"]),
            ("refused", &["name=b.socket 1"]),
        ] {
            assert_eq!(series(&units, METRICS, id), expected, "{id}");
        }
        let states = series(&units, METRICS, "state");
        assert_eq!(states.len(), 15, "mounts are left out");
        assert_eq!(states[0], "name=a.service state=active type=simple 1");
        assert_eq!(states[9], "name=b.socket state=failed 1");
        bus.end();
    }

    #[test]
    fn a_version_is_its_first_long_number() {
        for (version, number) in [
            ("252", 252.0),
            ("v257.2-3", 257.2),
            ("systemd 249 (249.11)", 249.0),
            ("1:255.4-1", 255.4),
            ("none", 0.0),
            ("", 0.0),
        ] {
            assert!((version_number(version) - number).abs() < 1e-9, "{version}");
        }
    }
}
