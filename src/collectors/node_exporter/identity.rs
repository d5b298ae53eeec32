//! Rarely changing information about the host, as series with the value 1 and the information in labels, and the two
//! clocks. Only in node_exporter's naming; the other namings have this information in the resource.
//!
//! From uname(2), `os-release`, `/proc/stat`, `/sys/class/dmi`, `/sys/class/nvme` and `/sys/devices/system/clocksource`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::super::{Collector, Context, Definition, Observer};
use super::facts::Facts;
use super::{REFRESH, list};
use crate::host::identity::{Identity, os_release, release_field};
use crate::host::{Host, Reader, read_small};
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, Metric, label};
use crate::metrics::parse::{lines, number, text};

pub const DEFINITION: Definition =
    Definition { name: "identity", metrics: METRICS, new: |context| Box::new(Identities::new(context)) };

const UNAME: [&Attribute; 6] = [
    &label("domainname"),
    &label("machine"),
    &label("nodename"),
    &label("release"),
    &label("sysname"),
    &label("version"),
];
/// The labels of `node_os_info` and the corresponding fields of `os-release`.
const OS: [(&str, &str); 12] = [
    ("build_id", "BUILD_ID"),
    ("id", "ID"),
    ("id_like", "ID_LIKE"),
    ("image_id", "IMAGE_ID"),
    ("image_version", "IMAGE_VERSION"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("variant", "VARIANT"),
    ("variant_id", "VARIANT_ID"),
    ("version", "VERSION"),
    ("version_codename", "VERSION_CODENAME"),
    ("version_id", "VERSION_ID"),
];
/// The labels of `node_dmi_info`, each a file of `/sys/class/dmi/id`, except that `system_vendor` is `sys_vendor`.
const DMI: [&str; 20] = [
    "bios_date",
    "bios_release",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_name",
    "board_serial",
    "board_vendor",
    "board_version",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "product_family",
    "product_name",
    "product_serial",
    "product_sku",
    "product_uuid",
    "product_version",
    "system_vendor",
];
const DEVICE: Attribute = label("device");
const NSID: Attribute = label("nsid");
const CLOCKSOURCE: Attribute = label("clocksource");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::node("uname", Gauge, Int, "node_uname_info", &UNAME,
        "The kernel, value 1", "uname(2)"),
    Metric::node("os", Gauge, Int, "node_os_info", &[&label("id"), &label("name"), &label("pretty_name"), &label("version")],
        "The distribution, value 1; further labels as os-release has them", "/etc/os-release"),
    Metric::node("os.version", Gauge, Double, "node_os_version", &[&label("id"), &label("id_like"), &label("name")],
        "Major and minor version of the distribution", "/etc/os-release, VERSION_ID"),
    Metric::node("dmi", Gauge, Int, "node_dmi_info", &[&label("product_name"), &label("system_vendor"), &label("bios_version")],
        "The machine, value 1; further labels as far as they can be read", "/sys/class/dmi/id"),
    Metric::node("build", Gauge, Int, "node_exporter_build_info", &[&label("version"), &label("revision")],
        "This agent, value 1", "the build"),
    Metric::node("boot_time", Gauge, Int, "node_boot_time_seconds", &[],
        "When the host booted, in seconds since 1970", "/proc/stat, btime"),
    Metric::node("time", Gauge, Double, "node_time_seconds", &[],
        "The host's time, in seconds since 1970", "clock_gettime(2)"),
    Metric::node("clocksource.available", Gauge, Int, "node_time_clocksource_available_info", &[&CLOCKSOURCE, &DEVICE],
        "A clock source that the kernel can use, value 1", "/sys/devices/system/clocksource"),
    Metric::node("clocksource.current", Gauge, Int, "node_time_clocksource_current_info", &[&CLOCKSOURCE, &DEVICE],
        "The clock source in use, value 1", "/sys/devices/system/clocksource"),
    Metric::node("selinux", Gauge, Int, "node_selinux_enabled", &[],
        "Whether SELinux is enabled, 1 or 0", "/sys/fs/selinux/enforce"),
    Metric::node("selinux.mode", Gauge, Int, "node_selinux_current_mode", &[],
        "Whether SELinux enforces its policy, 1 or 0", "/sys/fs/selinux/enforce"),
    Metric::node("nvme", Gauge, Int, "node_nvme_info", &[&label("cntlid"), &DEVICE, &label("firmware_revision"), &label("model"), &label("serial"), &label("state")],
        "An NVMe controller, value 1", "/sys/class/nvme"),
    Metric::node("nvme.namespace", Gauge, Int, "node_nvme_namespace_info", &[&label("ana_state"), &DEVICE, &NSID],
        "An NVMe namespace, value 1", "/sys/class/nvme"),
    Metric::node("nvme.size", Gauge, Double, "node_nvme_namespace_size_bytes", &[&DEVICE, &NSID],
        "Size of an NVMe namespace", "/sys/class/nvme, size"),
    Metric::node("nvme.capacity", Gauge, Double, "node_nvme_namespace_capacity_bytes", &[&DEVICE, &NSID],
        "Size of an NVMe namespace", "/sys/class/nvme, size"),
    Metric::node("nvme.used", Gauge, Double, "node_nvme_namespace_used_bytes", &[&DEVICE, &NSID],
        "Part of an NVMe namespace that is in use", "/sys/class/nvme, nuse"),
    Metric::node("nvme.block", Gauge, Int, "node_nvme_namespace_logical_block_size_bytes", &[&DEVICE, &NSID],
        "Size of a logical block", "/sys/class/nvme, queue/logical_block_size"),
];

struct Identities {
    host: Host,
    facts: Facts,
    boot_time: Option<u64>,
}

impl Identities {
    fn new(context: &Context) -> Self {
        Self { host: context.host.clone(), facts: Facts::default(), boot_time: None }
    }

    fn refresh(&mut self, reader: &mut Reader) {
        self.facts.clear();
        self.kernel();
        self.distribution();
        self.machine();
        self.clock_sources(reader);
        let enforce = read_small(&self.host.sys("fs/selinux/enforce")).and_then(|text| number(&text));
        self.facts.add("selinux", f64::from(u8::from(enforce.is_some())), &[]);
        if let Some(mode) = enforce {
            self.facts.add("selinux.mode", f64::from(u8::from(mode > 0)), &[]);
        }
        for device in list(reader, &self.host.sys("class/nvme")) {
            self.nvme(reader, &device);
        }
    }

    fn kernel(&mut self) {
        let uname = rustix::system::uname();
        let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let name = Identity::read(&self.host).name.unwrap_or_else(|| word(uname.nodename()));
        let domain = read_small(&self.host.proc("sys/kernel/domainname")).map(|name| text(&name));
        let pairs = [
            ("domainname", domain.unwrap_or_else(|| "(none)".to_owned())),
            ("machine", word(uname.machine())),
            ("nodename", name),
            ("release", word(uname.release())),
            ("sysname", word(uname.sysname())),
            ("version", word(uname.version())),
        ];
        self.facts.add("uname", 1.0, &pairs);
        let build = [
            ("goarch", if cfg!(target_arch = "x86_64") { "amd64" } else { std::env::consts::ARCH }),
            ("goos", "linux"),
            ("revision", env!("BUILD_COMMIT")),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        self.facts.add("build", 1.0, &build.map(|(key, value)| (key, value.to_owned())));
    }

    fn distribution(&mut self) {
        let (release, _) = os_release(&self.host);
        if release.is_empty() {
            return;
        }
        let field = |name: &str| release_field(&release, name).unwrap_or_default();
        let info = OS.map(|(label, name)| (label, field(name)));
        // "20.04.2" becomes 20.04; a rolling release has no version.
        let version = field("VERSION_ID");
        let end = version.match_indices(|c: char| !c.is_ascii_digit()).nth(1).map_or(version.len(), |(place, _)| place);
        let version = version.get(..end).and_then(|version| version.parse().ok());
        self.facts.add("os", 1.0, &info);
        if let Some(version) = version.filter(|version| *version > 0.0) {
            self.facts.add("os.version", version, &["ID", "ID_LIKE", "NAME"].map(|name| (os_label(name), field(name))));
        }
    }

    fn machine(&mut self) {
        let dir = self.host.sys("class/dmi/id");
        let mut pairs = Vec::new();
        for label in DMI {
            let file = if label == "system_vendor" { "sys_vendor" } else { label };
            // Serial numbers are readable only by root.
            pairs.extend(read_small(&dir.join(file)).map(|value| (label, text(&value))));
        }
        if !pairs.is_empty() {
            self.facts.add("dmi", 1.0, &pairs);
        }
    }

    fn clock_sources(&mut self, reader: &mut Reader) {
        let dir = self.host.sys("devices/system/clocksource");
        let found = list(reader, &dir).into_iter().filter(|name| name.starts_with("clocksource"));
        for (place, name) in found.enumerate() {
            let read =
                |file: &str| read_small(&dir.join(&name).join(file)).map(|words| text(&words)).unwrap_or_default();
            let pairs = |source: &str| [("clocksource", source.to_owned()), ("device", place.to_string())];
            for source in read("available_clocksource").split_whitespace() {
                self.facts.add("clocksource.available", 1.0, &pairs(source));
            }
            let current = read("current_clocksource");
            if !current.is_empty() {
                self.facts.add("clocksource.current", 1.0, &pairs(&current));
            }
        }
    }

    fn nvme(&mut self, reader: &mut Reader, device: &str) {
        let dir = self.host.sys("class/nvme").join(device);
        let file = |name: &str| read_small(&dir.join(name)).map(|value| text(&value)).unwrap_or_default();
        let controller = [
            ("cntlid", file("cntlid")),
            ("device", device.to_owned()),
            ("firmware_revision", file("firmware_rev")),
            ("model", file("model")),
            ("serial", file("serial")),
            ("state", file("state")),
        ];
        self.facts.add("nvme", 1.0, &controller);
        for name in list(reader, &dir) {
            // A namespace is nvme0n1; a path of a multipath namespace is nvme0c1n1.
            let Some((_, nsid)) = name.strip_prefix("nvme").and_then(|rest| rest.rsplit_once('n')) else { continue };
            if nsid.is_empty() || !nsid.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            let dir = dir.join(&name);
            let number = |file: &str| read_small(&dir.join(file)).and_then(|text| number(&text));
            let state = read_small(&dir.join("ana_state")).map_or_else(|| "unknown".to_owned(), |state| text(&state));
            let mut pairs = vec![("device", device.to_owned()), ("nsid", nsid.to_owned())];
            let block = number("queue/logical_block_size");
            #[allow(clippy::cast_precision_loss)] // bytes of a disk
            let bytes = |blocks: Option<u64>| Some(blocks? as f64 * block? as f64);
            let (size, used) = (bytes(number("size")), bytes(number("nuse")));
            let values =
                [("nvme.size", size), ("nvme.capacity", size), ("nvme.used", used), ("nvme.block", bytes(Some(1)))];
            for (id, value) in values {
                if let Some(value) = value {
                    self.facts.add(id, value, &pairs);
                }
            }
            pairs.push(("ana_state", state));
            self.facts.add("nvme.namespace", 1.0, &pairs);
        }
    }
}

fn os_label(name: &str) -> &'static str {
    OS.iter().find(|(_, field)| *field == name).map_or("", |(label, _)| label)
}

impl Collector for Identities {
    fn read(&mut self, reader: &mut Reader) {
        if self.facts.is_empty() || reader.cycle().is_multiple_of(REFRESH) {
            self.refresh(reader);
        }
        let btime = |stat: &[u8]| number(lines(stat).find_map(|line| line.strip_prefix(b"btime "))?.trim_ascii());
        self.boot_time = reader.stat().and_then(btime);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "boot_time" => self.boot_time.into_iter().for_each(|time| out.int(time, &[])),
            "time" => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                out.float(now.as_secs_f64(), &[]);
            }
            id => self.facts.observe(id, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Host as TestHost, series};
    use super::super::super::{Naming, Options};
    use super::*;

    fn facts(host: &TestHost) -> Identities {
        let options = Options { naming: Naming::NodeExporter, ..Options::default() };
        let mut facts = Identities::new(&host.context(options));
        host.read(&mut facts);
        facts
    }

    #[test]
    fn a_distribution_has_its_fields_and_a_version_of_two_parts() {
        let host = TestHost::empty();
        host.write("etc/os-release", "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"20.04.2\"\n");
        let facts = facts(&host);
        assert_eq!(series(&facts, METRICS, "os"), ["id=ubuntu id_like=debian name=Ubuntu version_id=20.04.2 1"]);
        assert_eq!(series(&facts, METRICS, "os.version"), ["id=ubuntu id_like=debian name=Ubuntu 20.04"]);
    }

    #[test]
    fn a_rolling_release_has_no_version() {
        let host = TestHost::empty();
        host.write("etc/os-release", "NAME=\"Arch Linux\"\nID=arch\n");
        assert!(series(&facts(&host), METRICS, "os.version").is_empty());
    }

    #[test]
    fn a_namespace_is_measured_in_its_own_blocks() {
        let host = TestHost::empty();
        let files =
            [("size", "1000"), ("nuse", "10"), ("queue/logical_block_size", "4096"), ("ana_state", "optimized")];
        for (file, content) in files {
            host.write(&format!("sys/class/nvme/nvme0/nvme0n1/{file}"), content);
        }
        host.write("sys/class/nvme/nvme0/model", "A disk  \n");
        let facts = facts(&host);
        assert_eq!(series(&facts, METRICS, "nvme"), ["device=nvme0 model=A disk 1"]);
        assert_eq!(series(&facts, METRICS, "nvme.size"), ["device=nvme0 nsid=1 4096000"]);
        assert_eq!(series(&facts, METRICS, "nvme.used"), ["device=nvme0 nsid=1 40960"]);
        assert_eq!(series(&facts, METRICS, "nvme.block"), ["device=nvme0 nsid=1 4096"]);
        assert_eq!(series(&facts, METRICS, "nvme.namespace"), ["ana_state=optimized device=nvme0 nsid=1 1"]);
    }

    #[test]
    fn the_machine_has_the_labels_that_can_be_read() {
        let host = TestHost::empty();
        host.write("sys/class/dmi/id/sys_vendor", "Dell Inc.\n");
        host.write("sys/class/dmi/id/product_name", "PowerEdge R6515\n");
        host.write("sys/class/dmi/id/chassis_asset_tag", "\n");
        let expected = ["product_name=PowerEdge R6515 system_vendor=Dell Inc. 1"];
        assert_eq!(series(&facts(&host), METRICS, "dmi"), expected);
        assert!(series(&self::facts(&TestHost::empty()), METRICS, "dmi").is_empty());
    }

    #[test]
    fn the_boot_time_is_the_kernels() {
        let facts = facts(&TestHost::fixture("server"));
        assert_eq!(series(&facts, METRICS, "boot_time").len(), 1);
        assert_eq!(series(&facts, METRICS, "uname").len(), 1);
    }
}
