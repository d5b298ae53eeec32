//! Temperatures and their limits, fans, voltages and power, from `/sys/class/hwmon`
//! (Documentation/hwmon/sysfs-interface.rst) and, for thermal zones without a hwmon device, `/sys/class/thermal`.
//! Values are the kernel's, scaled to the unit, without chip-specific interpretation.
//!
//! The list of sensors, their names and limits are updated once a minute. A chip with slow readings (a drive answers a
//! temperature request in about 4 ms) is also read once a minute, and its values are repeated in between.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Collector, Context, Definition, Observer};
use crate::host::Reader;
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Number::Double;
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Detail, Metric, Names, Naming, attributes};
use crate::metrics::parse::{number, text};

pub const DEFINITION: Definition =
    Definition { name: "sensors", metrics: METRICS, new: |context| Box::new(Sensors::new(context)) };

const ID: Attribute = Attribute { key: Names::both("hw.id"), values: &[] };
const NAME: Attribute = Attribute { key: Names::both("hw.name"), values: &[] };
const LOCATION: Attribute = Attribute { key: Names::both("hw.sensor_location"), values: &[] };
const LIMIT: Attribute = Attribute {
    key: Names::both("hw.limit_type"),
    values: &[HIGH_CRITICAL, HIGH_DEGRADED, LOW_CRITICAL, LOW_DEGRADED],
};
const TYPE: Attribute = Attribute { key: Names::both("hw.type"), values: &[POWER_SUPPLY] };

const HIGH_CRITICAL: Names = Names::both("high.critical");
const HIGH_DEGRADED: Names = Names::both("high.degraded");
const LOW_CRITICAL: Names = Names::both("low.critical");
const LOW_DEGRADED: Names = Names::both("low.degraded");
/// The convention requires a type, and hwmon does not identify the component that a power sensor measures.
const POWER_SUPPLY: Names = Names::both("power_supply");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("temp", Gauge, Double, "Temperature that the sensor measures",
        "/sys/class/hwmon/*/temp*_input, /sys/class/thermal/thermal_zone*/temp, of 0.001 degrees")
        .semconv("hw.temperature", "Cel", Basic, &[&ID, &NAME, &LOCATION]),
    Metric::new("limit", Gauge, Double, "Temperature from which the sensor's device is degraded or in danger",
        "/sys/class/hwmon/*, temp*_crit, temp*_max, temp*_lcrit, temp*_min")
        .semconv("hw.temperature.limit", "Cel", Basic, &[&ID, &NAME, &LOCATION, &LIMIT]),
    Metric::new("fan", Gauge, Double, "Speed of the fan", "/sys/class/hwmon/*/fan*_input")
        .semconv("hw.fan.speed", "rpm", Detailed, &[&ID, &NAME, &LOCATION]),
    Metric::new("in", Gauge, Double, "Voltage that the sensor measures", "/sys/class/hwmon/*/in*_input, of 0.001 volts")
        .semconv("hw.voltage", "V", Detailed, &[&ID, &NAME, &LOCATION]),
    Metric::new("power", Gauge, Double, "Power that the sensor measures",
        "/sys/class/hwmon/*/power*_input, power*_average, of 0.000001 watts")
        .semconv("hw.power", "W", Detailed, &[&ID, &NAME, &LOCATION, &TYPE]),
];

/// A kind of sensor: prefix of its file names, divisor of its numbers, and the detail that includes it.
struct Kind {
    /// Also the id of the metric.
    prefix: &'static str,
    files: &'static [&'static str],
    divisor: f64,
    detail: Detail,
}

const KINDS: [Kind; 4] = [
    Kind { prefix: "temp", files: &["input"], divisor: 1e3, detail: Basic },
    Kind { prefix: "fan", files: &["input"], divisor: 1.0, detail: Detailed },
    Kind { prefix: "in", files: &["input"], divisor: 1e3, detail: Detailed },
    Kind { prefix: "power", files: &["input", "average"], divisor: 1e6, detail: Detailed },
];

const LIMITS: [(&str, Names); 4] =
    [("crit", HIGH_CRITICAL), ("max", HIGH_DEGRADED), ("lcrit", LOW_CRITICAL), ("min", LOW_DEGRADED)];

/// Plausible temperatures and limits. Drivers report 65261.85 and -273.15 for "no limit".
const POSSIBLE_DEGREES: std::ops::RangeInclusive<f64> = -150.0..=1000.0;

/// How long the list of sensors is valid, and how often a slow chip is read.
const MINUTE: Duration = Duration::from_secs(60);
/// A reading that takes this long is slow.
const SLOW: Duration = Duration::from_millis(2);
/// A chip is slow after this many slow readings in a row; a single one may be an agent that had to wait for a CPU.
const SLOW_READINGS: u8 = 2;

struct Sensor {
    metric: &'static str,
    input: PathBuf,
    fault: Option<PathBuf>,
    divisor: f64,
    series: Attributes,
    limits: Vec<(Attributes, f64)>,
    value: Option<f64>,
}

/// The sensors of one hwmon device or thermal zone.
struct Chip {
    dir: PathBuf,
    sensors: Vec<Sensor>,
    /// Slow readings in a row, at most [`SLOW_READINGS`].
    slow: u8,
    /// Whether it was read since the sensors were listed.
    read: bool,
}

struct Sensors {
    hwmon: PathBuf,
    thermal: PathBuf,
    naming: Naming,
    detail: Detail,
    chips: Vec<Chip>,
    listed: Option<Instant>,
    slow: Duration,
}

impl Sensors {
    fn new(context: &Context) -> Self {
        Self {
            hwmon: context.host.sys("class/hwmon"),
            thermal: context.host.sys("class/thermal"),
            naming: context.options.naming,
            detail: context.options.detail,
            chips: Vec::new(),
            listed: None,
            slow: SLOW,
        }
    }

    fn list(&mut self, reader: &mut Reader) {
        let known = std::mem::take(&mut self.chips);
        let mut taken = Vec::new();
        for name in reader.list(&self.hwmon).unwrap_or_default() {
            let dir = self.hwmon.join(name);
            let driver = reader.small(&dir.join("name")).map(|name| text(&name)).unwrap_or_default();
            // The number of a hwmon device changes between boots; its device does not.
            let device =
                reader.link_name(&dir.join("device")).or_else(|| Some(driver.clone()).filter(|name| !name.is_empty()));
            let Some(device) = device.or_else(|| Some(dir.file_name()?.to_str()?.to_owned())) else { continue };
            // Two chips with the same name and without a device are distinguished by their number.
            let id = match taken.contains(&device) {
                true => format!("{device}.{}", dir.file_name().and_then(|name| name.to_str()).unwrap_or_default()),
                false => device,
            };
            taken.push(id.clone());
            self.chips.push(self.chip(&dir, &id, &driver, reader));
        }
        for name in reader.list(&self.thermal).unwrap_or_default() {
            let Some(zone) = name.to_str().filter(|name| name.starts_with("thermal_zone")) else { continue };
            let dir = self.thermal.join(zone);
            // If possible, the kernel creates a hwmon device in the zone's directory.
            let entries = reader.list(&dir).unwrap_or_default();
            if entries.iter().any(|entry| entry.as_encoded_bytes().starts_with(b"hwmon")) {
                continue;
            }
            let kind = reader.small(&dir.join("type")).map(|kind| text(&kind)).unwrap_or_default();
            let sensor = Sensor {
                metric: "temp",
                input: dir.join("temp"),
                fault: None,
                divisor: 1e3,
                series: self.series(zone, &kind, None, None),
                limits: Vec::new(),
                value: None,
            };
            self.chips.push(Chip { dir, sensors: vec![sensor], slow: 0, read: false });
        }
        for chip in &mut self.chips {
            chip.slow = known.iter().find(|known| known.dir == chip.dir).map_or(0, |known| known.slow);
        }
    }

    fn chip(&self, class_dir: &Path, id: &str, driver: &str, reader: &mut Reader) -> Chip {
        let mut sensors = Vec::new();
        let mut dir = class_dir.to_owned();
        let mut names = reader.list(&dir).unwrap_or_default();
        // Drivers with the old registration have their files in the device's directory.
        if !names.iter().any(|name| sensor_of(name.as_encoded_bytes()).is_some()) {
            dir.push("device");
            names = reader.list(&dir).unwrap_or_default();
        }
        for (kind, sensor) in names.iter().filter_map(|name| sensor_of(name.as_encoded_bytes())) {
            // `power1_input` and `power1_average` are one sensor.
            let known = |known: &Sensor| known.input.starts_with(&dir) && known.metric == kind.prefix;
            let is_there = sensors.iter().any(|s: &Sensor| known(s) && file_starts_with(&s.input, &sensor));
            let Some(input) =
                kind.files.iter().map(|file| dir.join(format!("{sensor}_{file}"))).find(|path| reader.exists(path))
            else {
                continue;
            };
            if is_there || kind.detail > self.detail {
                continue;
            }
            let label = reader.small(&dir.join(format!("{sensor}_label"))).map(|label| text(&label));
            let label = label.filter(|label| !label.is_empty());
            let id = format!("{id}/{sensor}");
            let series = |limit| self.series(&id, driver, label.as_deref(), limit);
            let limits = LIMITS.iter().filter(|_| kind.prefix == "temp").filter_map(|(file, limit)| {
                let degrees = scaled(reader, &dir.join(format!("{sensor}_{file}")), kind.divisor)?;
                POSSIBLE_DEGREES.contains(&degrees).then(|| (series(Some((&LIMIT, *limit))), degrees))
            });
            let limits = limits.collect();
            let fault = Some(dir.join(format!("{sensor}_fault"))).filter(|path| reader.exists(path));
            let extra = (kind.prefix == "power").then_some((&TYPE, POWER_SUPPLY));
            let series = series(extra);
            let (metric, divisor) = (kind.prefix, kind.divisor);
            sensors.push(Sensor { metric, input, fault, divisor, series, limits, value: None });
        }
        Chip { dir: class_dir.to_owned(), sensors, slow: 0, read: false }
    }

    fn series(&self, id: &str, name: &str, label: Option<&str>, extra: Option<(&Attribute, Names)>) -> Attributes {
        let mut pairs = vec![(&ID, AttributeValue::Text(id.into()))];
        if !name.is_empty() {
            pairs.push((&NAME, AttributeValue::Text(name.into())));
        }
        pairs.extend(label.map(|label| (&LOCATION, AttributeValue::Text(label.into()))));
        pairs.extend(extra.map(|(attribute, word)| (attribute, AttributeValue::Word(word))));
        attributes(self.naming, &pairs)
    }
}

impl Chip {
    /// Reads the sensors; those of a slow chip once after each listing.
    fn read(&mut self, reader: &mut Reader, slow: Duration) {
        if self.slow == SLOW_READINGS && self.read {
            return;
        }
        let begun = Instant::now();
        for sensor in &mut self.sensors {
            sensor.value = sensor.read(reader);
        }
        self.slow = if begun.elapsed() >= slow { SLOW_READINGS.min(self.slow + 1) } else { 0 };
        self.read = true;
    }
}

impl Sensor {
    /// Reads the sensor. `None` if it reports a fault or an implausible value.
    fn read(&self, reader: &mut Reader) -> Option<f64> {
        if self.fault.as_ref().is_some_and(|fault| reader.small_number(fault) == Some(1)) {
            return None;
        }
        let value = scaled(reader, &self.input, self.divisor)?;
        (self.metric != "temp" || POSSIBLE_DEGREES.contains(&value)).then_some(value)
    }
}

/// The kind and name of a value file's sensor: `temp1` for `temp1_input`.
fn sensor_of(file: &[u8]) -> Option<(&'static Kind, String)> {
    let file = std::str::from_utf8(file).ok()?;
    let (sensor, property) = file.split_once('_')?;
    let matches = |kind: &&Kind| {
        let digits = sensor.strip_prefix(kind.prefix);
        digits.is_some_and(|digits| number(digits.as_bytes()).is_some()) && kind.files.contains(&property)
    };
    KINDS.iter().find(matches).map(|kind| (kind, sensor.to_owned()))
}

fn file_starts_with(path: &Path, sensor: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.split_once('_')).is_some_and(|(known, _)| known == sensor)
}

#[allow(clippy::cast_precision_loss)] // a measured value
fn scaled(reader: &mut Reader, path: &Path, divisor: f64) -> Option<f64> {
    reader.small_signed(path).map(|value| value as f64 / divisor)
}

impl Collector for Sensors {
    fn read(&mut self, reader: &mut Reader) {
        if self.listed.is_none_or(|when| when.elapsed() >= MINUTE) {
            let failures = reader.failures();
            self.list(reader);
            // A directory that cannot be read is tried in each collection.
            self.listed = (reader.failures() == failures).then(Instant::now);
        }
        for chip in &mut self.chips {
            chip.read(reader, self.slow);
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        for sensor in self.chips.iter().flat_map(|chip| &chip.sensors) {
            if metric.id == "limit" {
                sensor.limits.iter().for_each(|(series, degrees)| out.float(*degrees, series));
            } else if let (true, Some(value)) = (sensor.metric == metric.id, sensor.value) {
                out.float(value, &sensor.series);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Options;
    use super::super::testing::{Bench, Host};
    use super::*;

    fn host(files: &[(&str, &str)]) -> Host {
        let host = Host::empty();
        host.link("../../../devices/platform/coretemp.0", "sys/class/hwmon/hwmon2/device");
        host.write("sys/class/hwmon/hwmon2/name", "coretemp\n");
        files.iter().for_each(|(file, content)| host.write(&format!("sys/class/hwmon/hwmon2/{file}"), content));
        host
    }

    fn points(host: &Host, detail: Detail) -> Vec<String> {
        Bench::new(DEFINITION, host.context(Options { detail, ..Options::default() })).next()
    }

    #[test]
    fn a_temperature_has_its_device_label_and_limits() {
        let host = host(&[("temp2_input", "41000\n"), ("temp2_label", "Core 0\n"), ("temp2_crit", "100000\n")]);
        let series = "hw.id=coretemp.0/temp2";
        assert_eq!(
            points(&host, Basic),
            [
                format!("hw.temperature{{{series},hw.name=coretemp,hw.sensor_location=Core 0}} 41"),
                format!(
                    "hw.temperature.limit{{{series},hw.limit_type=high.critical,hw.name=coretemp,hw.sensor_location=Core 0}} 100"
                ),
            ]
        );
    }

    #[test]
    fn values_that_cannot_be_and_sensors_with_a_fault_are_left_out() {
        let files = [
            ("temp1_input", "65261850\n"),
            ("temp2_input", "35000\n"),
            ("temp2_max", "65261850\n"),
            ("temp2_min", "-273150\n"),
            ("temp3_input", "40000\n"),
            ("temp3_fault", "1\n"),
            ("temp4_input", "hot\n"),
            ("temp_input", "1000\n"),
            ("temp5_input", "-12500\n"),
        ];
        let series = |sensor| format!("hw.temperature{{hw.id=coretemp.0/{sensor},hw.name=coretemp}}");
        assert_eq!(points(&host(&files), Basic), [series("temp2") + " 35", series("temp5") + " -12.5"]);
    }

    #[test]
    fn fans_voltages_and_power_come_with_the_detailed_metrics() {
        let host = host(&[
            ("fan1_input", "1200\n"),
            ("in0_input", "1104\n"),
            ("power1_average", "65000000\n"),
            ("pwm1", "9\n"),
        ]);
        assert!(points(&host, Basic).is_empty());
        let id = "hw.id=coretemp.0";
        assert_eq!(
            points(&host, Detailed),
            [
                format!("hw.fan.speed{{{id}/fan1,hw.name=coretemp}} 1200"),
                format!("hw.voltage{{{id}/in0,hw.name=coretemp}} 1.104"),
                format!("hw.power{{{id}/power1,hw.name=coretemp,hw.type=power_supply}} 65"),
            ]
        );
    }

    #[test]
    fn a_thermal_zone_counts_where_it_has_no_hwmon_device() {
        let host = Host::empty();
        host.write("sys/class/thermal/thermal_zone0/type", "acpitz\n");
        host.write("sys/class/thermal/thermal_zone0/temp", "27800\n");
        host.write("sys/class/thermal/thermal_zone1/temp", "50000\n");
        host.write("sys/class/thermal/thermal_zone1/hwmon3/name", "x86_pkg_temp\n");
        host.write("sys/class/thermal/cooling_device0/type", "Processor\n");
        assert_eq!(points(&host, Basic), ["hw.temperature{hw.id=thermal_zone0,hw.name=acpitz} 27.8"]);
    }

    #[test]
    fn two_chips_of_one_name_have_series_of_their_own() {
        let host = Host::empty();
        for chip in ["hwmon0", "hwmon1"] {
            host.write(&format!("sys/class/hwmon/{chip}/name"), "jc42\n");
            host.write(&format!("sys/class/hwmon/{chip}/temp1_input"), "30000\n");
        }
        let points = points(&host, Basic);
        assert_eq!(points.len(), 2);
        assert_ne!(points.first(), points.last());
    }

    /// A running collector, and the value of its sensor after one more reading of the file.
    fn running() -> impl FnMut(fn(&mut Sensors), u32) -> f64 {
        let host = host(&[("temp1_input", "0\n")]);
        let context = host.context(Options::default());
        let (mut reader, mut sensors) = (Reader::new(&context.host), Sensors::new(&context));
        move |change, degrees| {
            change(&mut sensors);
            host.write("sys/class/hwmon/hwmon2/temp1_input", format!("{degrees}000\n"));
            sensors.read(&mut reader);
            sensors.chips.first().unwrap().sensors.first().unwrap().value.unwrap()
        }
    }

    /// Every reading takes at least this time, and none takes the other.
    const ALL_SLOW: fn(&mut Sensors) = |sensors| sensors.slow = Duration::ZERO;
    const NONE_SLOW: fn(&mut Sensors) = |sensors| sensors.slow = Duration::MAX;

    #[test]
    fn a_chip_that_is_slow_twice_in_a_row_keeps_its_values_for_a_minute() {
        let mut read = running();
        assert_eq!(read(ALL_SLOW, 41), 41.0);
        assert_eq!(read(ALL_SLOW, 42), 42.0, "one slow reading is not enough");
        assert_eq!(read(ALL_SLOW, 43), 42.0);
        // A minute later the sensors are listed again, and the chip is still known as slow.
        assert_eq!(read(|sensors| sensors.listed = None, 44), 44.0);
        assert_eq!(read(|_| {}, 45), 44.0);
    }

    #[test]
    fn slow_readings_that_are_not_in_a_row_make_no_chip_slow() {
        let mut read = running();
        for degrees in 1..9 {
            let change = if degrees % 2 == 0 { ALL_SLOW } else { NONE_SLOW };
            assert_eq!(read(change, degrees), f64::from(degrees));
        }
    }

    #[test]
    fn a_class_that_cannot_be_listed_fails_in_each_collection_and_not_only_once_a_minute() {
        let host = Host::empty();
        host.write("sys/class/hwmon", "");
        let context = host.context(Options::default());
        let (mut reader, mut sensors) = (Reader::new(&context.host), Sensors::new(&context));
        for failures in 1..4 {
            sensors.read(&mut reader);
            assert_eq!(reader.failures(), failures);
        }
    }

    proptest! {
        #[test]
        fn any_name_is_a_sensor_or_none(name: Vec<u8>) {
            sensor_of(&name);
        }
    }
}
