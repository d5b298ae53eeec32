//! systemd units: number in each state, failed units, restarts of services and, with `--detail detailed`, the usage of
//! each service (`usage.rs`). Units are not reported if the host has neither systemd's Varlink socket nor a system bus.
//!
//! The list of units is requested at most every ten seconds and restarts once a minute (`session.rs`), because each
//! reply costs systemd CPU time. Names are those of the Collector's systemd receiver, except `systemd.unit.count`: the
//! receiver sends a series for each unit and state. The receiver counts CPU time in microseconds; here it is in
//! seconds, as in the conventions.

pub(super) mod session;
mod usage;

use std::io;

use super::groups::{DIRECTION, Groups, MODE, RESOURCE, TYPE};
use super::{Collector, Context, Definition, Observer};
use crate::host::Reader;
use crate::host::systemd::{Kind, Systemd, Unit};
use crate::metrics::counter::{self, Rules, Table};
use crate::metrics::filter::Filter;
use crate::metrics::naming::Detail::{self, Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes, word};
use session::Session;

/// The collector's entry in the list.
pub const DEFINITION: Definition =
    Definition { name: "services", metrics: METRICS, new: |context| Box::new(Services::new(context)) };

const NAME: Attribute = Attribute { key: Names("systemd.unit.name", "name"), values: &[] };
const STATE: Attribute = Attribute { key: Names("systemd.unit.active_state", "state"), values: &STATES };

const ACTIVE: Names = Names::both("active");
const RELOADING: Names = Names::both("reloading");
const INACTIVE: Names = Names::both("inactive");
const FAILED: Names = Names::both("failed");
const ACTIVATING: Names = Names::both("activating");
const DEACTIVATING: Names = Names::both("deactivating");
const MAINTENANCE: Names = Names::both("maintenance");
const REFRESHING: Names = Names::both("refreshing");
const STATES: [Names; 8] = [ACTIVE, RELOADING, INACTIVE, FAILED, ACTIVATING, DEACTIVATING, MAINTENANCE, REFRESHING];
/// Number of states that are reported even without units; the others are rare.
const ALWAYS: usize = 6;

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("count", UpDownCounter, Int,
        "Loaded units in each state; maintenance and refreshing only if a unit is in that state",
        "systemd, UnitActiveState over Varlink or ListUnits over D-Bus")
        .semconv("systemd.unit.count", "{unit}", Basic, &[&STATE]),
    Metric::new("state", UpDownCounter, Int,
        "1 for each unit that failed",
        "systemd, UnitActiveState over Varlink or ListUnits over D-Bus")
        .semconv("systemd.unit.state", "1", Basic, &[&STATE, &NAME]),
    Metric::new("restarts", Counter, Int,
        "Times that systemd restarted the service; for services that were restarted",
        "systemd, NRestarts")
        .since("systemd 235")
        .semconv("systemd.service.restarts", "{restart}", Basic, &[&NAME]),
    Metric::new("cpu", Counter, Double, "CPU time of the service", "cgroup, cpu.stat, user_usec and system_usec")
        .since("4.15, cgroup 2")
        .semconv("systemd.service.cpu.time", "s", Detailed, &[&NAME, &MODE]),
    Metric::new("memory", UpDownCounter, Int,
        "Memory of the service, its page cache included",
        "cgroup, memory.current")
        .since("4.5, cgroup 2")
        .semconv("systemd.service.memory.usage", "By", Detailed, &[&NAME]),
    Metric::new("io", Counter, Int,
        "Bytes that the service read from and wrote to physical disks",
        "cgroup, io.stat, rbytes and wbytes")
        .since("4.5, cgroup 2")
        .semconv("systemd.service.disk.io", "By", Detailed, &[&NAME, &DIRECTION]),
    Metric::new("tasks", UpDownCounter, Int, "Processes and threads of the service", "cgroup, pids.current")
        .since("4.5, cgroup 2")
        .semconv("systemd.service.tasks", "{task}", Detailed, &[&NAME]),
    Metric::new("oom_kills", Counter, Int,
        "Processes of the service that the kernel killed because memory ran out",
        "cgroup, memory.events, oom_kill")
        .since("4.13, cgroup 2")
        .semconv("systemd.service.oom_kills", "{process}", Detailed, &[&NAME]),
    Metric::new("pressure", Counter, Double,
        "Time in which some, or all, tasks of the service waited for a resource",
        "cgroup, {cpu,memory,io}.pressure, total")
        .since("4.20, cgroup 2")
        .semconv("systemd.service.pressure.time", "s", Detailed, &[&NAME, &RESOURCE, &TYPE]),
];

/// Maximum number of services with restarts, and of named failed units.
pub(super) const MOST_SERVICES: usize = 4_096;
/// Maximum number of removed services that are remembered.
pub(super) const MOST_GONE: usize = 256;

struct Services {
    naming: Naming,
    session: Session,
    /// Selects the units with their own series.
    filter: Filter,
    /// Used at the first reading, because finding the source of the usage needs file access.
    context: Option<Context>,
    usage: Option<Groups>,
    counts: Option<[u64; STATES.len()]>,
    count_series: [Attributes; STATES.len()],
    failed: Vec<(String, Attributes)>,
    /// Restarts, and a column that is never zero, so that the first restart is counted.
    restarts: Table<Attributes, 2>,
}

impl Services {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        let kinds = [counter::Kind::EVENTS.narrow(), counter::Kind::EVENTS];
        let rules = Rules::new(kinds, options.since).delta(options.delta);
        Self {
            naming: options.naming,
            session: Session::new(Systemd::new(&context.host)),
            filter: options.services.clone(),
            context: (options.detail == Detail::Detailed).then(|| context.clone()),
            usage: None,
            counts: None,
            count_series: STATES.map(|state| word(options.naming, &STATE, state)),
            failed: Vec::new(),
            restarts: Table::new(rules, MOST_GONE),
        }
    }

    fn ask(&mut self, reader: &mut Reader) -> io::Result<()> {
        let units = self.session.units(reader)?;
        self.take(&units);
        if self.session.restarts_are_due() {
            let is_asked =
                |unit: &&Unit| Kind::of(&unit.name) == Some(Kind::Service) && self.filter.admits(&unit.name, true);
            let services: Vec<&Unit> = units.iter().filter(is_asked).take(MOST_SERVICES).collect();
            let counts = self.session.restarts(&services, reader)?;
            let naming = self.naming;
            self.restarts.begin(reader.now());
            for (unit, count) in services.iter().zip(counts).filter(|(_, count)| count.is_some()) {
                self.restarts.read(unit.name.as_bytes(), &[count, Some(1)], || named(naming, None, &unit.name));
            }
            self.restarts.end();
        }
        Ok(())
    }

    fn take(&mut self, units: &[Unit]) {
        let mut counts = [0; STATES.len()];
        let mut known = std::mem::take(&mut self.failed);
        for unit in units {
            let place = STATES.iter().position(|state| state.of(Naming::Semconv) == unit.active_state);
            if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
                *count += 1;
            }
            let failed = unit.active_state == FAILED.of(Naming::Semconv);
            if failed && self.failed.len() < MOST_SERVICES && self.filter.admits(&unit.name, true) {
                let series = known.iter().position(|(name, _)| *name == unit.name).map(|at| known.swap_remove(at).1);
                let series = series.unwrap_or_else(|| named(self.naming, Some(FAILED), &unit.name));
                self.failed.push((unit.name.clone(), series));
            }
        }
        self.counts = Some(counts);
    }
}

fn named(naming: Naming, state: Option<Names>, name: &str) -> Attributes {
    let mut pairs = vec![(&NAME, AttributeValue::Text(name.into()))];
    pairs.extend(state.map(|state| (&STATE, AttributeValue::Word(state))));
    attributes(naming, &pairs)
}

impl Collector for Services {
    fn read(&mut self, reader: &mut Reader) {
        if let Some(context) = self.context.take() {
            self.usage = Groups::find(&context, DEFINITION.name, METRICS, MOST_GONE, reader);
        }
        if let Some(usage) = &mut self.usage {
            usage::read(usage, &self.filter, reader);
        }
        if !self.session.is_due() {
            return;
        }
        let result = self.ask(reader);
        if self.session.failed(result, reader) {
            self.counts = None;
            self.failed.clear();
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "count" => {
                for (place, (series, count)) in self.count_series.iter().zip(self.counts.iter().flatten()).enumerate() {
                    if place < ALWAYS || *count > 0 {
                        out.int(*count, series);
                    }
                }
            }
            "state" => self.failed.iter().for_each(|(_, series)| out.int(1, series)),
            "restarts" => {
                for service in self.restarts.listed() {
                    service
                        .row()
                        .get(0)
                        .iter()
                        .filter(|count| **count > 0)
                        .for_each(|count| out.int(*count, &service.data));
                }
            }
            _ => self.usage.iter().for_each(|usage| usage.observe(metric, out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{Bench, fixture, logged};
    use super::*;
    use crate::host::Host;
    use crate::host::systemd::tests::{Bus, answering, denying};
    use crate::metrics::counter::Since;

    fn bench(host: Host, since: Since) -> Bench {
        let mut context = fixture("server", Options { since, ..Options::default() });
        context.host = host;
        Bench::new(DEFINITION, context)
    }

    const LIST: [(&str, &str); 4] =
        [("a.service", "active"), ("b.service", "failed"), ("c.mount", "active"), ("d.timer", "unheard-of")];

    #[test]
    fn units_are_counted_by_state_and_failed_ones_are_named() {
        let bus = Bus::new(vec![answering(vec![LIST.to_vec()], vec![0, 5])]);
        let services = bench(bus.host(), Since::Boot);
        let count = |state, count| format!("systemd.unit.count{{systemd.unit.active_state={state}}} {count}");
        assert_eq!(
            services.points(),
            [
                count("active", 2),
                count("reloading", 0),
                count("inactive", 0),
                count("failed", 1),
                count("activating", 0),
                count("deactivating", 0),
                "systemd.unit.state{systemd.unit.active_state=failed,systemd.unit.name=b.service} 1".to_owned(),
                "systemd.service.restarts{systemd.unit.name=b.service} 5".to_owned(),
            ]
        );
        drop(services);
        bus.end();
    }

    #[test]
    fn units_that_are_left_out_are_counted_and_not_named() {
        let bus = Bus::new(vec![answering(vec![LIST.to_vec()], vec![5])]);
        let services = Filter::new(&[], &["^b"]).unwrap();
        let mut context = fixture("server", Options { since: Since::Boot, services, ..Options::default() });
        context.host = bus.host();
        let services = Bench::new(DEFINITION, context);
        let points = services.points();
        assert!(points.contains(&"systemd.unit.count{systemd.unit.active_state=failed} 1".to_owned()), "{points:#?}");
        assert!(points.contains(&"systemd.service.restarts{systemd.unit.name=a.service} 5".to_owned()), "{points:#?}");
        assert!(points.iter().all(|point| !point.contains("b.service")), "{points:#?}");
        drop(services);
        bus.end();
    }

    #[test]
    fn the_list_stands_for_ten_seconds() {
        let bus = Bus::new(vec![answering(vec![LIST.to_vec()], vec![0, 0])]);
        let mut services = bench(bus.host(), Since::Start);
        let first = services.points();
        assert_eq!(services.next(), first, "the bus would have failed a second call");
        assert_eq!(services.reader.failures(), 0);
        drop(services);
        bus.end();
    }

    #[test]
    fn a_host_without_a_bus_reports_nothing_and_fails_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let roots = crate::host::Roots { root: Some(dir.path().to_owned()), ..Default::default() };
        let mut services = bench(Host::new(&roots), Since::Start);
        assert!(services.next().is_empty());
        assert_eq!(services.reader.failures(), 0);
    }

    #[test]
    fn a_bus_that_closes_the_connection_is_one_failure_and_takes_the_series_away() {
        let bus = Bus::new(vec![answering(vec![], vec![])]);
        let mut services = bench(bus.host(), Since::Start);
        assert!(services.points().is_empty());
        assert_eq!(services.reader.failures(), 1);
        services.reader.next_cycle();
        bus.end();
    }

    #[test]
    fn a_bus_whose_policy_denies_access_is_one_line_that_names_the_right_and_no_failure() {
        let bus = Bus::new(vec![denying(1), denying(1), answering(vec![LIST.to_vec()], vec![0, 0])]);
        let host = bus.host();
        let lines = logged(move || {
            let mut services = bench(host, Since::Start);
            assert!(services.next().is_empty());
            assert_eq!(services.reader.failures(), 0);
            assert!(!services.next().is_empty(), "the policy was changed");
        });
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].starts_with("WARN") && lines[0].contains("system_bus_socket: access is denied"), "{lines:#?}");
        assert!(lines[0].contains("a D-Bus policy that lets it send to org.freedesktop.systemd1"), "{lines:#?}");
        assert!(lines[1].contains("answers again"), "{lines:#?}");
        bus.end();
    }
}
