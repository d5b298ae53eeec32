//! Batteries and other power supplies, from `/sys/class/power_supply` (Documentation/ABI/testing/sysfs-class-power): only in
//! node_exporter's naming.

use super::super::{Collector, Context, Definition, Observer};
use super::{list, signed};
use crate::host::{Host, Reader, read_small};
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Attributes, Metric, label, labels};
use crate::metrics::parse::text;

pub const DEFINITION: Definition =
    Definition { name: "power", metrics: METRICS, new: |context| Box::new(Power::new(context)) };

const SUPPLY: Attribute = label("power_supply");
/// The files that become labels of `node_power_supply_info`.
const WORDS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];

/// A metric from a file with a number.
const fn file(name: &'static str, metric: &'static str) -> Metric {
    Metric::node(
        name,
        Gauge,
        Double,
        metric,
        &[&SUPPLY],
        "The file of this name, in the base unit",
        "/sys/class/power_supply",
    )
}

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::node("info", Gauge, Int, "node_power_supply_info", &[&SUPPLY, &label("type"), &label("status")],
        "A power supply, value 1; further labels as far as it has them", "/sys/class/power_supply"),
    file("authentic", "node_power_supply_authentic"),
    file("calibrate", "node_power_supply_calibrate"),
    file("capacity", "node_power_supply_capacity"),
    file("capacity_alert_max", "node_power_supply_capacity_alert_max"),
    file("capacity_alert_min", "node_power_supply_capacity_alert_min"),
    file("cycle_count", "node_power_supply_cyclecount"),
    file("online", "node_power_supply_online"),
    file("present", "node_power_supply_present"),
    file("time_to_empty_now", "node_power_supply_time_to_empty_seconds"),
    file("time_to_full_now", "node_power_supply_time_to_full_seconds"),
    file("current_boot", "node_power_supply_current_boot"),
    file("current_max", "node_power_supply_current_max"),
    file("current_now", "node_power_supply_current_ampere"),
    file("energy_empty", "node_power_supply_energy_empty"),
    file("energy_empty_design", "node_power_supply_energy_empty_design"),
    file("energy_full", "node_power_supply_energy_full"),
    file("energy_full_design", "node_power_supply_energy_full_design"),
    file("energy_now", "node_power_supply_energy_watthour"),
    file("voltage_boot", "node_power_supply_voltage_boot"),
    file("voltage_max", "node_power_supply_voltage_max"),
    file("voltage_max_design", "node_power_supply_voltage_max_design"),
    file("voltage_min", "node_power_supply_voltage_min"),
    file("voltage_min_design", "node_power_supply_voltage_min_design"),
    file("voltage_now", "node_power_supply_voltage_volt"),
    file("voltage_ocv", "node_power_supply_voltage_ocv"),
    file("charge_control_limit", "node_power_supply_charge_control_limit"),
    file("charge_control_limit_max", "node_power_supply_charge_control_limit_max"),
    file("charge_counter", "node_power_supply_charge_counter"),
    file("charge_empty", "node_power_supply_charge_empty"),
    file("charge_empty_design", "node_power_supply_charge_empty_design"),
    file("charge_full", "node_power_supply_charge_full"),
    file("charge_full_design", "node_power_supply_charge_full_design"),
    file("charge_now", "node_power_supply_charge_ampere"),
    file("charge_term_current", "node_power_supply_charge_term_current"),
    file("constant_charge_current", "node_power_supply_constant_charge_current"),
    file("constant_charge_current_max", "node_power_supply_constant_charge_current_max"),
    file("constant_charge_voltage", "node_power_supply_constant_charge_voltage"),
    file("constant_charge_voltage_max", "node_power_supply_constant_charge_voltage_max"),
    file("precharge_current", "node_power_supply_precharge_current"),
    file("input_current_limit", "node_power_supply_input_current_limit"),
    file("power_now", "node_power_supply_power_watt"),
    file("temp", "node_power_supply_temp_celsius"),
    file("temp_alert_max", "node_power_supply_temp_alert_max_celsius"),
    file("temp_alert_min", "node_power_supply_temp_alert_min_celsius"),
    file("temp_ambient", "node_power_supply_temp_ambient_celsius"),
    file("temp_ambient_max", "node_power_supply_temp_ambient_max_celsius"),
    file("temp_ambient_min", "node_power_supply_temp_ambient_min_celsius"),
    file("temp_max", "node_power_supply_temp_max_celsius"),
    file("temp_min", "node_power_supply_temp_min_celsius"),
];

/// The divisor from a file's unit to the metric's unit: files contain tenths of a degree; millionths of volts, amperes,
/// watts and their hours; or integers.
fn divisor(name: &str) -> f64 {
    const WHOLE: [&str; 10] = [
        "authentic",
        "calibrate",
        "capacity",
        "capacity_alert_max",
        "capacity_alert_min",
        "cycle_count",
        "online",
        "present",
        "time_to_empty_now",
        "time_to_full_now",
    ];
    match name {
        name if WHOLE.contains(&name) => 1.0,
        name if name.starts_with("temp") => 10.0,
        _ => 1e6,
    }
}

struct Supply {
    series: Attributes,
    info: Attributes,
    values: Vec<(&'static str, f64)>,
}

struct Power {
    host: Host,
    supplies: Vec<Supply>,
}

impl Power {
    fn new(context: &Context) -> Self {
        Self { host: context.host.clone(), supplies: Vec::new() }
    }
}

impl Collector for Power {
    fn read(&mut self, reader: &mut Reader) {
        self.supplies.clear();
        let dir = self.host.sys("class/power_supply");
        for name in list(reader, &dir) {
            let at = |file: &str| read_small(&dir.join(&name).join(file));
            let value = |metric: &Metric| Some((metric.id, signed(&at(metric.id)?)? / divisor(metric.id)));
            let mut words = vec![("power_supply", name.clone())];
            words.extend(WORDS.into_iter().filter_map(|word| Some((word, text(&at(word)?)))));
            self.supplies.push(Supply {
                series: labels(&[("power_supply", name.clone())]),
                info: labels(&words),
                values: METRICS.iter().filter_map(value).collect(),
            });
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        for supply in &self.supplies {
            if metric.id == "info" {
                out.int(1, &supply.info);
            }
            if let Some((_, value)) = supply.values.iter().find(|(id, _)| *id == metric.id) {
                out.float(*value, &supply.series);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;

    #[test]
    fn a_battery_reports_base_units_and_its_state() {
        let host = TestHost::empty();
        let files = [
            ("capacity", "81"),
            ("energy_now", "36580000"),
            ("current_now", "-1500000"),
            ("temp", "301"),
            ("status", "Discharging"),
            ("type", "Battery"),
        ];
        for (file, content) in files {
            host.write(&format!("sys/class/power_supply/BAT0/{file}"), format!("{content}\n"));
        }
        let mut power = Power::new(&host.context(Options::default()));
        assert_eq!(host.read(&mut power), 0);
        assert_eq!(series(&power, METRICS, "info"), ["power_supply=BAT0 status=Discharging type=Battery 1"]);
        for (id, value) in [("capacity", "81"), ("energy_now", "36.58"), ("current_now", "-1.5"), ("temp", "30.1")] {
            assert_eq!(series(&power, METRICS, id), [format!("power_supply=BAT0 {value}")]);
        }
        assert!(series(&power, METRICS, "online").is_empty());
    }

    #[test]
    fn a_host_without_supplies_reports_none() {
        let host = TestHost::empty();
        let mut power = Power::new(&host.context(Options::default()));
        assert_eq!(host.read(&mut power), 0);
        assert!(series(&power, METRICS, "info").is_empty());
    }
}
