//! CPU time in node_exporter's naming: guest time is included in user and nice, and each CPU has its own series. From
//! `/proc/stat`; frequencies, throttling and isolation from `/sys/devices/system/cpu`.

use super::super::cpu::parse_line;
use super::super::{Collector, Context, Definition, Observer};
use super::facts::Facts;
use super::{cpus, rules};
use crate::host::{Host, Reader, files, read_small};
use crate::metrics::counter::{Kind, Table, Together};
use crate::metrics::naming::Kind::{Counter, Gauge};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Attributes, Metric, Names, label, labels};
use crate::metrics::parse::{lines, number, text};

pub const DEFINITION: Definition =
    Definition { name: "cpu", metrics: METRICS, new: |context| Box::new(Cpu::new(context)) };

const CPU: Attribute = label("cpu");
const CORE: Attribute = label("core");
const PACKAGE: Attribute = label("package");
const GOVERNOR: Attribute = label("governor");
const MODE: Attribute = Attribute {
    key: Names::both("mode"),
    values: &[
        Names::both("user"),
        Names::both("nice"),
        Names::both("system"),
        Names::both("idle"),
        Names::both("iowait"),
        Names::both("irq"),
        Names::both("softirq"),
        Names::both("steal"),
    ],
};
const GUEST_MODE: Attribute =
    Attribute { key: Names::both("mode"), values: &[Names::both("user"), Names::both("nice")] };

/// Modes of the columns, guest time last.
const MODES: [&str; COLUMNS] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "user", "nice"];
const COLUMNS: usize = 10;
const GUEST: usize = 8;

/// A metric from a file in a CPU's `cpufreq`, in kHz.
const fn frequency(file: &'static str, name: &'static str, description: &'static str) -> Metric {
    Metric::node(file, Gauge, Double, name, &[&CPU], description, "/sys/devices/system/cpu/cpu*/cpufreq")
}

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::node("cpu.time", Counter, Double, "node_cpu_seconds_total", &[&CPU, &MODE],
        "CPU time in each mode; guest time is inside user and nice", "/proc/stat, lines cpuN"),
    Metric::node("cpu.guest", Counter, Double, "node_cpu_guest_seconds_total", &[&CPU, &GUEST_MODE],
        "The part of user and nice that guests took", "/proc/stat, lines cpuN"),
    Metric::node("cpu.throttles.core", Counter, Int, "node_cpu_core_throttles_total", &[&CORE, &PACKAGE],
        "How often the core was throttled", "/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"),
    Metric::node("cpu.throttles.package", Counter, Int, "node_cpu_package_throttles_total", &[&PACKAGE],
        "How often the package was throttled", "/sys/devices/system/cpu/cpu*/thermal_throttle/package_throttle_count"),
    Metric::node("cpu.isolated", Gauge, Int, "node_cpu_isolated", &[&CPU],
        "A CPU that the scheduler leaves alone, value 1", "/sys/devices/system/cpu/isolated"),
    Metric::node("cpu.online", Gauge, Int, "node_cpu_online", &[&CPU],
        "Whether the CPU is online, 1 or 0", "/sys/devices/system/cpu/cpu*/online"),
    frequency("cpuinfo_cur_freq", "node_cpu_frequency_hertz", "Current frequency; for root only"),
    frequency("cpuinfo_avg_freq", "node_cpu_frequency_avg_hertz", "Average frequency"),
    frequency("cpuinfo_min_freq", "node_cpu_frequency_min_hertz", "Lowest frequency"),
    frequency("cpuinfo_max_freq", "node_cpu_frequency_max_hertz", "Highest frequency"),
    frequency("scaling_cur_freq", "node_cpu_scaling_frequency_hertz", "Current frequency as the governor set it"),
    frequency("scaling_min_freq", "node_cpu_scaling_frequency_min_hertz", "Lowest frequency that the governor may set"),
    frequency("scaling_max_freq", "node_cpu_scaling_frequency_max_hertz", "Highest frequency that the governor may set"),
    Metric::node("governor", Gauge, Int, "node_cpu_scaling_governor", &[&CPU, &GOVERNOR],
        "Whether the governor is the one in use, 1 or 0", "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"),
];

const FREQUENCIES: [&str; 7] = [
    "cpuinfo_cur_freq",
    "cpuinfo_avg_freq",
    "cpuinfo_min_freq",
    "cpuinfo_max_freq",
    "scaling_cur_freq",
    "scaling_min_freq",
    "scaling_max_freq",
];
const HERTZ_PER_KILOHERTZ: f64 = 1e3;

struct Cpu {
    host: Host,
    ticks_per_second: f64,
    times: Table<[Attributes; COLUMNS], COLUMNS>,
    /// Throttling of cores and packages, one count each.
    throttles: Table<(&'static str, Attributes), 1>,
    facts: Facts,
    /// Numbers of the CPUs in sysfs.
    listed: Vec<u32>,
    isolated: Vec<u32>,
}

impl Cpu {
    fn new(context: &Context) -> Self {
        let host = context.host.clone();
        let dir = host.sys("devices/system/cpu");
        let isolated = read_small(&dir.join("isolated")).map(|list| ranges(&text(&list))).unwrap_or_default();
        #[allow(clippy::cast_precision_loss)] // 100 or 1000
        let ticks_per_second = host.ticks_per_second as f64;
        // Guest time is counted twice in the sum of all columns.
        let together = Together { per_second: host.ticks_per_second, times: 2 };
        Self {
            times: Table::new(rules([Kind::EVENTS; COLUMNS], &context.options).together(together), super::MOST),
            throttles: Table::new(rules([Kind::EVENTS], &context.options), super::MOST),
            facts: Facts::default(),
            listed: cpus(&dir),
            isolated,
            ticks_per_second,
            host,
        }
    }

    fn take(&mut self, stat: &[u8], now: std::time::Duration) {
        self.times.begin(now);
        for line in lines(stat).take_while(|line| !line.starts_with(b"intr")) {
            let Some((Some(number), columns)) = parse_line(line) else { continue };
            let readings = columns.map_or([None; COLUMNS], |columns| columns.map(Some));
            let series = || {
                let mode = |mode: &str| labels(&[("cpu", number.cpu.to_string()), ("mode", mode.to_owned())]);
                MODES.map(mode)
            };
            self.times.read(number.digits, &readings, series);
        }
        self.times.end();
    }

    fn sysfs(&mut self, now: std::time::Duration) {
        let dir = self.host.sys("devices/system/cpu");
        self.facts.clear();
        self.throttles.begin(now);
        let has_online = files::metadata(&dir.join("cpu0/online")).is_ok();
        for cpu in &self.listed {
            let at = dir.join(format!("cpu{cpu}"));
            let file = |name: &str| read_small(&at.join(name));
            let value = |name: &str| file(name).and_then(|value| number(&value));
            let pair = ("cpu", cpu.to_string());
            if has_online {
                let online = file("online").is_none_or(|online| online == b"1");
                self.facts.add("cpu.online", f64::from(u8::from(online)), std::slice::from_ref(&pair));
            }
            let throttles = ["core", "package"].map(|of| value(&format!("thermal_throttle/{of}_throttle_count")));
            // Virtual CPUs have no throttling, so that it need not be known where they are.
            if throttles.iter().any(Option::is_some)
                && let (Some(package), Some(core)) = (value("topology/physical_package_id"), value("topology/core_id"))
            {
                let [of_core, of_package] = throttles;
                if of_core.is_some() {
                    let ids = [("core", core.to_string()), ("package", package.to_string())];
                    let series = || ("cpu.throttles.core", labels(&ids));
                    self.throttles.read(format!("core {package} {core}").as_bytes(), &[of_core], series);
                }
                if of_package.is_some() {
                    let series = || ("cpu.throttles.package", labels(&[("package", package.to_string())]));
                    self.throttles.read(format!("package {package}").as_bytes(), &[of_package], series);
                }
            }
            if files::metadata(&at.join("cpufreq")).is_err() {
                continue;
            }
            for name in FREQUENCIES {
                if let Some(khz) = value(&format!("cpufreq/{name}")) {
                    #[allow(clippy::cast_precision_loss)] // far below 2^53
                    self.facts.add(name, khz as f64 * HERTZ_PER_KILOHERTZ, std::slice::from_ref(&pair));
                }
            }
            if let Some(used) = file("cpufreq/scaling_governor").map(|name| text(&name)) {
                let known = file("cpufreq/scaling_available_governors").map(|names| text(&names)).unwrap_or_default();
                for governor in known.split_whitespace() {
                    let series = [pair.clone(), ("governor", governor.to_owned())];
                    self.facts.add("governor", f64::from(u8::from(governor == used)), &series);
                }
            }
        }
        self.throttles.end();
        for cpu in &self.isolated {
            self.facts.add("cpu.isolated", 1.0, &[("cpu", cpu.to_string())]);
        }
    }
}

/// Parses `0-3,8` into numbers.
fn ranges(list: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse::<u32>()) {
            numbers.extend((first..=last).take(super::MOST));
        }
    }
    numbers
}

impl Collector for Cpu {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        if let Some(stat) = reader.stat() {
            self.take(stat, now);
        }
        if reader.cycle().is_multiple_of(super::REFRESH) {
            self.listed = cpus(&self.host.sys("devices/system/cpu"));
        }
        self.sysfs(now);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let columns = match metric.id {
            "cpu.time" => 0..GUEST,
            "cpu.guest" => GUEST..COLUMNS,
            id => {
                for entry in self.throttles.listed().filter(|entry| entry.data.0 == id) {
                    out.int(entry.row().total(0), &entry.data.1);
                }
                self.facts.observe(id, out);
                return;
            }
        };
        for entry in self.times.listed().filter(|entry| entry.row().get(0).is_some()) {
            for (place, series) in entry.data.iter().enumerate().filter(|(place, _)| columns.contains(place)) {
                #[allow(clippy::cast_precision_loss)] // exact for 2.8 million years of ticks
                out.float(entry.row().total(place) as f64 / self.ticks_per_second, series);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;
    use crate::metrics::counter::Since;

    fn cpu(host: &TestHost) -> Cpu {
        let mut cpu = Cpu::new(&host.context(Options { since: Since::Boot, ..Options::default() }));
        assert_eq!(host.read(&mut cpu), 0);
        cpu
    }

    #[test]
    fn guest_time_stays_inside_user_and_has_a_metric_of_its_own() {
        let host = TestHost::empty();
        host.write("proc/stat", "cpu  1000 10 3 4 5 6 7 8 300 4\ncpu0 1000 10 3 4 5 6 7 8 300 4\nintr 1\n");
        let cpu = cpu(&host);
        assert_eq!(
            series(&cpu, METRICS, "cpu.time")[..2],
            ["cpu=0 mode=user 10", "cpu=0 mode=nice 0.1"].map(String::from)
        );
        assert_eq!(series(&cpu, METRICS, "cpu.time").len(), 8);
        assert_eq!(series(&cpu, METRICS, "cpu.guest"), ["cpu=0 mode=user 3", "cpu=0 mode=nice 0.04"]);
    }

    #[test]
    fn a_core_is_throttled_once_however_many_threads_it_has() {
        let host = TestHost::empty();
        host.write("proc/stat", "cpu0 1 1 1 1\n");
        for cpu in 0..2 {
            let at = format!("sys/devices/system/cpu/cpu{cpu}");
            host.write(&format!("{at}/topology/physical_package_id"), "0\n");
            host.write(&format!("{at}/topology/core_id"), "3\n");
            host.write(&format!("{at}/thermal_throttle/core_throttle_count"), "5\n");
            host.write(&format!("{at}/cpufreq/scaling_cur_freq"), "1699981\n");
            host.write(&format!("{at}/cpufreq/scaling_governor"), "powersave\n");
            host.write(&format!("{at}/cpufreq/scaling_available_governors"), "performance powersave\n");
        }
        let cpu = cpu(&host);
        assert_eq!(series(&cpu, METRICS, "cpu.throttles.core"), ["core=3 package=0 5"]);
        assert_eq!(series(&cpu, METRICS, "scaling_cur_freq"), ["cpu=0 1699981000", "cpu=1 1699981000"]);
        let governors = series(&cpu, METRICS, "governor");
        assert_eq!(governors[..2], ["cpu=0 governor=performance 0", "cpu=0 governor=powersave 1"].map(String::from));
    }

    #[test]
    fn isolated_cpus_are_numbers_and_ranges() {
        assert_eq!(ranges("1,3-5"), [1, 3, 4, 5]);
        assert!(ranges("").is_empty() && ranges("x-2").is_empty());
    }
}
