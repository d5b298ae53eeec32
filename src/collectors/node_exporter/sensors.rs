//! Sensors in node_exporter's naming, from `/sys/class/hwmon` (Documentation/hwmon/sysfs-interface.rst), and thermal zones
//! and cooling devices from `/sys/class/thermal`.

use super::super::{Collector, Context, Definition, Observer};
use super::facts::Facts;
use super::{list, signed};
use crate::host::{Host, Reader, files, read_small};
use crate::metrics::naming::Kind::{Counter, Gauge};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Metric, label};
use crate::metrics::parse::text;
use std::path::Path;

pub const DEFINITION: Definition =
    Definition { name: "sensors", metrics: METRICS, new: |context| Box::new(Sensors::new(context)) };

const CHIP: Attribute = label("chip");
const SENSOR: Attribute = label("sensor");
const ZONE: [&Attribute; 2] = [&label("type"), &label("zone")];
const DEVICE: [&Attribute; 2] = [&label("name"), &label("type")];

/// A metric from a sensor file. The id omits the sensor number: `temp1_input` becomes `temp_input`.
const fn file(kind: crate::metrics::naming::Kind, id: &'static str, name: &'static str) -> Metric {
    Metric::node(
        id,
        kind,
        Double,
        name,
        &[&CHIP, &SENSOR],
        "The sensor's file of this name, in the base unit",
        "/sys/class/hwmon",
    )
}

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    file(Gauge, "temp_input", "node_hwmon_temp_celsius"),
    file(Gauge, "temp_max", "node_hwmon_temp_max_celsius"),
    file(Gauge, "temp_min", "node_hwmon_temp_min_celsius"),
    file(Gauge, "temp_crit", "node_hwmon_temp_crit_celsius"),
    file(Gauge, "temp_lcrit", "node_hwmon_temp_lcrit_celsius"),
    file(Gauge, "temp_emergency", "node_hwmon_temp_emergency_celsius"),
    file(Gauge, "temp_max_hyst", "node_hwmon_temp_max_hyst_celsius"),
    file(Gauge, "temp_min_hyst", "node_hwmon_temp_min_hyst_celsius"),
    file(Gauge, "temp_crit_hyst", "node_hwmon_temp_crit_hyst_celsius"),
    file(Gauge, "temp_emergency_hyst", "node_hwmon_temp_emergency_hyst_celsius"),
    file(Gauge, "temp_alarm", "node_hwmon_temp_alarm"),
    file(Gauge, "temp_max_alarm", "node_hwmon_temp_max_alarm_celsius"),
    file(Gauge, "temp_min_alarm", "node_hwmon_temp_min_alarm_celsius"),
    file(Gauge, "temp_crit_alarm", "node_hwmon_temp_crit_alarm_celsius"),
    file(Gauge, "temp_lcrit_alarm", "node_hwmon_temp_lcrit_alarm_celsius"),
    file(Gauge, "temp_emergency_alarm", "node_hwmon_temp_emergency_alarm_celsius"),
    file(Gauge, "temp_fault", "node_hwmon_temp_fault"),
    file(Gauge, "temp_type", "node_hwmon_temp_type"),
    file(Gauge, "temp_offset", "node_hwmon_temp_offset_celsius"),
    file(Gauge, "temp_lowest", "node_hwmon_temp_lowest_celsius"),
    file(Gauge, "temp_highest", "node_hwmon_temp_highest_celsius"),
    file(Gauge, "temp_enable", "node_hwmon_temp_enable_celsius"),
    file(Gauge, "temp_beep", "node_hwmon_temp_beep_enabled"),
    file(Gauge, "in_input", "node_hwmon_in_volts"),
    file(Gauge, "in_min", "node_hwmon_in_min_volts"),
    file(Gauge, "in_max", "node_hwmon_in_max_volts"),
    file(Gauge, "in_lcrit", "node_hwmon_in_lcrit_volts"),
    file(Gauge, "in_crit", "node_hwmon_in_crit_volts"),
    file(Gauge, "in_average", "node_hwmon_in_average_volts"),
    file(Gauge, "in_lowest", "node_hwmon_in_lowest_volts"),
    file(Gauge, "in_highest", "node_hwmon_in_highest_volts"),
    file(Gauge, "in_alarm", "node_hwmon_in_alarm"),
    file(Gauge, "in_min_alarm", "node_hwmon_in_min_alarm_volts"),
    file(Gauge, "in_max_alarm", "node_hwmon_in_max_alarm_volts"),
    file(Gauge, "in_lcrit_alarm", "node_hwmon_in_lcrit_alarm_volts"),
    file(Gauge, "in_crit_alarm", "node_hwmon_in_crit_alarm_volts"),
    file(Gauge, "in_beep", "node_hwmon_in_beep_enabled"),
    file(Gauge, "in_enable", "node_hwmon_in_enable_volts"),
    file(Gauge, "fan_input", "node_hwmon_fan_rpm"),
    file(Gauge, "fan_min", "node_hwmon_fan_min_rpm"),
    file(Gauge, "fan_max", "node_hwmon_fan_max_rpm"),
    file(Gauge, "fan_target", "node_hwmon_fan_target_rpm"),
    file(Gauge, "fan_div", "node_hwmon_fan_div"),
    file(Gauge, "fan_pulses", "node_hwmon_fan_pulses"),
    file(Gauge, "fan_alarm", "node_hwmon_fan_alarm"),
    file(Gauge, "fan_min_alarm", "node_hwmon_fan_min_alarm"),
    file(Gauge, "fan_fault", "node_hwmon_fan_fault"),
    file(Gauge, "fan_beep", "node_hwmon_fan_beep_enabled"),
    file(Gauge, "fan_manual", "node_hwmon_fan_manual"),
    file(Gauge, "fan_output", "node_hwmon_fan_output"),
    file(Gauge, "fan_tolerance", "node_hwmon_fan_tolerance"),
    file(Gauge, "pwm", "node_hwmon_pwm"),
    file(Gauge, "pwm_enable", "node_hwmon_pwm_enable"),
    file(Gauge, "pwm_mode", "node_hwmon_pwm_mode"),
    file(Gauge, "pwm_freq", "node_hwmon_pwm_freq"),
    file(Gauge, "pwm_floor", "node_hwmon_pwm_floor"),
    file(Gauge, "pwm_start", "node_hwmon_pwm_start"),
    file(Gauge, "pwm_step_down_time", "node_hwmon_pwm_step_down_time"),
    file(Gauge, "pwm_step_up_time", "node_hwmon_pwm_step_up_time"),
    file(Gauge, "pwm_stop_time", "node_hwmon_pwm_stop_time"),
    file(Gauge, "pwm_target_temp", "node_hwmon_pwm_target_temp"),
    file(Gauge, "pwm_temp_sel", "node_hwmon_pwm_temp_sel"),
    file(Gauge, "pwm_temp_tolerance", "node_hwmon_pwm_temp_tolerance"),
    file(Gauge, "pwm_crit_temp_tolerance", "node_hwmon_pwm_crit_temp_tolerance"),
    file(Gauge, "pwm_weight_duty_base", "node_hwmon_pwm_weight_duty_base"),
    file(Gauge, "pwm_weight_duty_step", "node_hwmon_pwm_weight_duty_step"),
    file(Gauge, "pwm_weight_temp_sel", "node_hwmon_pwm_weight_temp_sel"),
    file(Gauge, "pwm_weight_temp_step", "node_hwmon_pwm_weight_temp_step"),
    file(Gauge, "pwm_weight_temp_step_base", "node_hwmon_pwm_weight_temp_step_base"),
    file(Gauge, "pwm_weight_temp_step_tol", "node_hwmon_pwm_weight_temp_step_tol"),
    file(Gauge, "pwm_auto_point1_pwm", "node_hwmon_pwm_auto_point1_pwm"),
    file(Gauge, "pwm_auto_point1_temp", "node_hwmon_pwm_auto_point1_temp"),
    file(Gauge, "pwm_auto_point2_pwm", "node_hwmon_pwm_auto_point2_pwm"),
    file(Gauge, "pwm_auto_point2_temp", "node_hwmon_pwm_auto_point2_temp"),
    file(Gauge, "pwm_auto_point3_pwm", "node_hwmon_pwm_auto_point3_pwm"),
    file(Gauge, "pwm_auto_point3_temp", "node_hwmon_pwm_auto_point3_temp"),
    file(Gauge, "pwm_auto_point4_pwm", "node_hwmon_pwm_auto_point4_pwm"),
    file(Gauge, "pwm_auto_point4_temp", "node_hwmon_pwm_auto_point4_temp"),
    file(Gauge, "pwm_auto_point5_pwm", "node_hwmon_pwm_auto_point5_pwm"),
    file(Gauge, "pwm_auto_point5_temp", "node_hwmon_pwm_auto_point5_temp"),
    file(Gauge, "curr_input", "node_hwmon_curr_amps"),
    file(Gauge, "curr_max", "node_hwmon_curr_max_amps"),
    file(Gauge, "curr_min", "node_hwmon_curr_min_amps"),
    file(Gauge, "curr_crit", "node_hwmon_curr_crit_amps"),
    file(Gauge, "curr_lcrit", "node_hwmon_curr_lcrit_amps"),
    file(Gauge, "curr_average", "node_hwmon_curr_average_amps"),
    file(Gauge, "curr_lowest", "node_hwmon_curr_lowest_amps"),
    file(Gauge, "curr_highest", "node_hwmon_curr_highest_amps"),
    file(Gauge, "curr_alarm", "node_hwmon_curr_alarm"),
    file(Gauge, "curr_max_alarm", "node_hwmon_curr_max_alarm_amps"),
    file(Gauge, "curr_min_alarm", "node_hwmon_curr_min_alarm_amps"),
    file(Gauge, "curr_crit_alarm", "node_hwmon_curr_crit_alarm_amps"),
    file(Gauge, "power_input", "node_hwmon_power_watt"),
    file(Gauge, "power_average", "node_hwmon_power_average_watt"),
    file(Gauge, "power_average_interval", "node_hwmon_power_average_interval_seconds"),
    file(Gauge, "power_average_interval_max", "node_hwmon_power_average_interval_max_seconds"),
    file(Gauge, "power_average_interval_min", "node_hwmon_power_average_interval_min_seconds"),
    file(Gauge, "power_cap", "node_hwmon_power_cap_watt"),
    file(Gauge, "power_cap_max", "node_hwmon_power_cap_max_watt"),
    file(Gauge, "power_cap_min", "node_hwmon_power_cap_min_watt"),
    file(Gauge, "power_max", "node_hwmon_power_max_watt"),
    file(Gauge, "power_crit", "node_hwmon_power_crit_watt"),
    file(Gauge, "power_accuracy", "node_hwmon_power_accuracy"),
    file(Gauge, "power_alarm", "node_hwmon_power_alarm"),
    file(Gauge, "power_cap_alarm", "node_hwmon_power_cap_alarm_watt"),
    file(Gauge, "power_max_alarm", "node_hwmon_power_max_alarm_watt"),
    file(Gauge, "power_crit_alarm", "node_hwmon_power_crit_alarm_watt"),
    file(Counter, "energy_input", "node_hwmon_energy_joule_total"),
    file(Gauge, "humidity_input", "node_hwmon_humidity"),
    file(Gauge, "intrusion_alarm", "node_hwmon_intrusion_alarm"),
    file(Gauge, "intrusion_beep", "node_hwmon_intrusion_beep_enabled"),
    file(Gauge, "freq", "node_hwmon_freq_freq_mhz"),
    Metric::node("chip", Gauge, Int, "node_hwmon_chip_names", &[&CHIP, &label("chip_name")],
        "A chip and the name that its driver gives it, value 1", "/sys/class/hwmon/*/name"),
    Metric::node("label", Gauge, Int, "node_hwmon_sensor_label", &[&CHIP, &label("label"), &SENSOR],
        "A sensor and its label, value 1", "/sys/class/hwmon/*/*_label"),
    Metric::node("zone", Gauge, Double, "node_thermal_zone_temp", &ZONE,
        "Temperature of the zone", "/sys/class/thermal/thermal_zone*/temp"),
    Metric::node("cooling.current", Gauge, Int, "node_cooling_device_cur_state", &DEVICE,
        "How much the device cools", "/sys/class/thermal/cooling_device*/cur_state"),
    Metric::node("cooling.most", Gauge, Int, "node_cooling_device_max_state", &DEVICE,
        "How much the device can cool", "/sys/class/thermal/cooling_device*/max_state"),
];

struct Sensors {
    host: Host,
    facts: Facts,
}

impl Sensors {
    fn new(context: &Context) -> Self {
        Self { host: context.host.clone(), facts: Facts::default() }
    }

    fn chips(&mut self, reader: &mut Reader) {
        let class = self.host.sys("class/hwmon");
        let chips = list(reader, &class).into_iter().map(|name| class.join(name));
        let chips: Vec<_> = chips.map(|dir| (device_name(&dir), driver_name(&dir), dir)).collect();
        for (device, driver, dir) in &chips {
            let same = chips.iter().filter(|(other, ..)| other == device && other.is_some()).count();
            let number = dir.file_name().map(|name| clean(&name.to_string_lossy())).unwrap_or_default();
            let chip = match (device, driver) {
                // Several chips of one device are distinguished by the names of their drivers.
                (Some(device), Some(driver)) if same > 1 => format!("{device}_{driver}"),
                (Some(device), None) if same > 1 => format!("{device}_{number}"),
                (Some(name), _) | (None, Some(name)) => name.clone(),
                (None, None) => number,
            };
            if let Some(driver) = driver {
                self.facts.add("chip", 1.0, &[("chip", chip.clone()), ("chip_name", driver.clone())]);
            }
            for place in [dir.clone(), dir.join("device")] {
                self.files(reader, &chip, &place);
            }
        }
    }

    fn files(&mut self, reader: &mut Reader, chip: &str, dir: &Path) {
        for name in list(reader, dir) {
            let Some((kind, sensor, element)) = split(&name) else { continue };
            let file = || read_small(&dir.join(&name));
            let series = |sensor: &str| [("chip", chip.to_owned()), ("sensor", sensor.to_owned())];
            if element == "label" {
                if let Some(label) = file() {
                    let [chip, sensor] = series(sensor);
                    self.facts.add("label", 1.0, &[chip, sensor, ("label", text(&label))]);
                }
                continue;
            }
            // A frequency sensor is identified by its label and is omitted without one.
            if (kind, element) == ("freq", "input") {
                let label = read_small(&dir.join(format!("{sensor}_label")));
                if let (Some(hertz), Some(label)) = (file().and_then(|value| signed(&value)), label) {
                    self.facts.add("freq", hertz / 1e6, &series(&clean(&text(&label))));
                }
                continue;
            }
            let id = if element.is_empty() { kind.to_owned() } else { format!("{kind}_{element}") };
            let Some(metric) = METRICS.iter().find(|metric| metric.id == id) else { continue };
            if let Some(value) = file().and_then(|value| signed(&value)) {
                self.facts.add(metric.id, value / divisor(kind, element), &series(sensor));
            }
        }
    }

    fn thermal(&mut self, reader: &mut Reader) {
        let class = self.host.sys("class/thermal");
        for name in list(reader, &class) {
            let dir = class.join(&name);
            let kind = read_small(&dir.join("type")).map(|kind| text(&kind)).unwrap_or_default();
            let value = |file: &str| read_small(&dir.join(file)).and_then(|value| signed(&value));
            if let Some(zone) = name.strip_prefix("thermal_zone") {
                if let Some(temp) = value("temp") {
                    self.facts.add("zone", temp / 1e3, &[("type", kind), ("zone", zone.to_owned())]);
                }
            } else if let Some(device) = name.strip_prefix("cooling_device") {
                let series = [("name", device.to_owned()), ("type", kind)];
                for (id, file) in [("cooling.current", "cur_state"), ("cooling.most", "max_state")] {
                    if let Some(value) = value(file) {
                        self.facts.add(id, value, &series);
                    }
                }
            }
        }
    }
}

/// Splits `temp1_crit_alarm` into the kind `temp`, the sensor `temp1` and the element `crit_alarm`.
fn split(file: &str) -> Option<(&str, &str, &str)> {
    const KINDS: [&str; 10] = ["temp", "in", "fan", "pwm", "curr", "power", "energy", "humidity", "intrusion", "freq"];
    let (sensor, element) = file.split_once('_').unwrap_or((file, ""));
    let kind = sensor.trim_end_matches(|c: char| c.is_ascii_digit());
    (KINDS.contains(&kind) && kind.len() < sensor.len()).then_some((kind, sensor, element))
}

/// The divisor from a file's unit to the metric's unit.
fn divisor(kind: &str, element: &str) -> f64 {
    match (kind, element) {
        (_, "fault" | "alarm" | "beep") | ("temp", "type") => 1.0,
        ("temp" | "in" | "curr", _) => 1e3,
        ("power", element) if element.starts_with("average_interval") => 1e3,
        ("power" | "energy" | "humidity", _) => 1e6,
        _ => 1.0,
    }
}

/// The bus and name of a chip's device: `platform_coretemp_0`.
fn device_name(dir: &Path) -> Option<String> {
    let device = files::canonicalize(&dir.join("device")).ok()?;
    let name = clean(&device.file_name()?.to_string_lossy());
    let bus = device.parent().and_then(Path::file_name).map(|bus| clean(&bus.to_string_lossy())).unwrap_or_default();
    (!name.is_empty()).then(|| if bus.is_empty() { name.clone() } else { format!("{bus}_{name}") })
}

fn driver_name(dir: &Path) -> Option<String> {
    read_small(&dir.join("name")).map(|name| clean(&text(&name))).filter(|name| !name.is_empty())
}

/// Replaces all characters except lower-case letters, digits, colons and underscores.
fn clean(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == ':' { c } else { '_' };
    name.to_lowercase().chars().map(allowed).collect::<String>().trim_matches('_').to_owned()
}

impl Collector for Sensors {
    fn read(&mut self, reader: &mut Reader) {
        self.facts.clear();
        self.chips(reader);
        self.thermal(reader);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        self.facts.observe(metric.id, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;

    #[test]
    fn a_chip_reports_its_sensors_in_base_units() {
        let host = TestHost::empty();
        let files = [
            ("name", "nct6779"),
            ("temp1_input", "-55500"),
            ("temp1_label", "Core 0"),
            ("temp1_crit_alarm", "0"),
            ("in0_input", "792"),
            ("fan2_input", "1098"),
            ("power1_average", "5002000"),
            ("pwm1", "153"),
            ("update_interval", "1000"),
        ];
        for (file, content) in files {
            host.write(&format!("sys/class/hwmon/hwmon4/{file}"), format!("{content}\n"));
        }
        host.write("sys/class/thermal/thermal_zone0/temp", "49925\n");
        host.write("sys/class/thermal/thermal_zone0/type", "bcm2835_thermal\n");
        let mut sensors = Sensors::new(&host.context(Options::default()));
        assert_eq!(host.read(&mut sensors), 0);
        for (id, expected) in [
            ("chip", "chip=nct6779 chip_name=nct6779 1"),
            ("temp_input", "chip=nct6779 sensor=temp1 -55.5"),
            ("label", "chip=nct6779 label=Core 0 sensor=temp1 1"),
            ("temp_crit_alarm", "chip=nct6779 sensor=temp1 0"),
            ("in_input", "chip=nct6779 sensor=in0 0.792"),
            ("fan_input", "chip=nct6779 sensor=fan2 1098"),
            ("power_average", "chip=nct6779 sensor=power1 5.002"),
            ("pwm", "chip=nct6779 sensor=pwm1 153"),
            ("zone", "type=bcm2835_thermal zone=0 49.925"),
        ] {
            assert_eq!(series(&sensors, METRICS, id), [expected], "{id}");
        }
    }

    #[test]
    fn a_names_odd_characters_become_underscores() {
        assert_eq!(clean("asus-nb-wmi"), "asus_nb_wmi");
        assert_eq!(split("temp12_crit"), Some(("temp", "temp12", "crit")));
        assert_eq!((split("temp"), split("name"), split("power1")), (None, None, Some(("power", "power1", ""))));
    }
}
