//! The files of every collector: the first byte chooses the file and the naming, the second one where the input is cut into what the
//! collector reads at its start and what it reads later.

#![no_main]

use std::sync::OnceLock;

use heka_insights_agent::Naming;
use heka_insights_agent_fuzz::{Collection, Host};
use libfuzzer_sys::fuzz_target;

/// A collector and a file that it reads. `fuzz/run` takes this table for its seeds.
const FILES: &[(&str, &str)] = &[
    ("cpu", "proc/stat"),
    ("cpu", "proc/cpuinfo"),
    ("memory", "proc/meminfo"),
    ("paging", "proc/swaps"),
    ("paging", "proc/vmstat"),
    ("disk", "proc/diskstats"),
    ("filesystem", "proc/1/mountinfo"),
    ("network", "proc/1/net/dev"),
    ("load", "proc/loadavg"),
    ("processes", "proc/2400/stat"),
    ("system", "proc/uptime"),
    ("pressure", "proc/pressure/cpu"),
    ("pressure", "proc/pressure/memory"),
    ("pressure", "proc/pressure/io"),
    ("kernel", "proc/stat"),
    ("kernel", "proc/vmstat"),
    ("kernel", "proc/loadavg"),
    ("kernel", "proc/schedstat"),
    ("kernel", "proc/sys/fs/file-nr"),
    ("protocols", "proc/1/net/snmp"),
    ("protocols", "proc/1/net/netstat"),
    ("protocols", "proc/1/net/snmp6"),
    ("sockets", "proc/1/net/sockstat"),
    ("sockets", "proc/1/net/sockstat6"),
    ("sockets", "proc/1/net/softnet_stat"),
    ("raid", "sys/block/md0/md/array_state"),
    ("raid", "sys/block/md0/md/raid_disks"),
    ("raid", "sys/block/md0/md/sync_completed"),
    ("raid", "sys/block/md0/md/dev-nvme1n1/state"),
    ("sensors", "sys/devices/platform/coretemp.0/hwmon/hwmon1/temp1_input"),
    ("sensors", "sys/devices/platform/coretemp.0/hwmon/hwmon1/temp1_label"),
    ("link", "sys/class/net/bond0/bonding/slaves"),
    ("link", "sys/class/net/eth0/speed"),
    ("ecc", "sys/devices/system/edac/mc/mc0/ce_count"),
    ("process", "proc/2400/stat"),
    ("process", "proc/2400/cmdline"),
    ("process", "proc/2400/cgroup"),
    ("process", "proc/2400/io"),
    ("textfile", "textfile/a.prom"),
    ("queues", "proc/1/net/udp"),
    ("power", "sys/class/power_supply/BAT0/capacity"),
    ("identity", "sys/class/dmi/id/product_name"),
    ("identity", "sys/class/nvme/nvme0/model"),
    ("containers", "sys/fs/cgroup/system.slice/docker-4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f.scope/cpu.stat"),
    ("containers", "sys/fs/cgroup/system.slice/docker-4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f.scope/memory.stat"),
    ("containers", "sys/fs/cgroup/system.slice/docker-4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f.scope/memory.events"),
    ("containers", "sys/fs/cgroup/system.slice/docker-4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f.scope/memory.current"),
    ("containers", "sys/fs/cgroup/system.slice/docker-4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f.scope/io.stat"),
    ("containers", "sys/fs/cgroup/system.slice/docker-4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f.scope/pids.current"),
    ("containers", "sys/fs/cgroup/system.slice/docker-4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f.scope/cgroup.procs"),
    ("services", "sys/fs/cgroup/system.slice/nginx.service/cpu.stat"),
    ("services", "sys/fs/cgroup/system.slice/nginx.service/memory.stat"),
    ("services", "sys/fs/cgroup/system.slice/nginx.service/io.stat"),
    ("services", "sys/fs/cgroup/system.slice/nginx.service/cpu.pressure"),
];

const NAMINGS: [Naming; 3] = [Naming::Semconv, Naming::Hostmetrics, Naming::NodeExporter];

fuzz_target!(|input: &[u8]| {
    static HOST: OnceLock<Host> = OnceLock::new();
    let host = HOST.get_or_init(|| Host::copy("server").expect("a copy of the fixture host"));
    let [file, cut, rest @ ..] = input else { return };
    let file = usize::from(*file);
    let (collector, path) = FILES[file % FILES.len()];
    let naming = NAMINGS[file / FILES.len() % NAMINGS.len()];
    let (first, second) = rest.split_at(rest.len() * usize::from(*cut) / 255);
    let recorded = std::fs::read(host.path(path)).unwrap_or_default();
    host.write(path, first);
    let mut collection = Collection::of(host, collector, naming);
    collection.collect();
    host.write(path, second);
    collection.collect();
    host.write(path, first);
    collection.collect();
    host.write(path, &recorded);
});
