//! Compares readings with those of procfs-core, an independent parser of the same files, on the hosts that it can parse
//! completely.

use heka_insights_agent::internals::collectors::Options;
use heka_insights_agent::internals::metrics::counter::Since;
use procfs_core::{DiskStats, FromBufRead, FromRead, LoadAverage, Meminfo, Uptime, VmStat};

use crate::collect::Pipeline;
use crate::fixture::FixtureHost;

#[test]
fn the_values_are_those_that_procfs_core_reads() {
    for name in ["server", "container"] {
        let host = FixtureHost::copy(name);
        let ours = Pipeline::new(&host.context(Options { since: Since::Boot, ..Options::default() })).collect();
        let file = |path: &str| host.read(&format!("proc/{path}"));

        let memory = Meminfo::from_buf_read(&*file("meminfo")).unwrap();
        let used = memory.mem_total - memory.mem_available.unwrap();
        for (state, bytes) in
            [("used", used), ("free", memory.mem_free), ("cached", memory.cached), ("buffers", memory.buffers)]
        {
            assert_eq!(ours.value("system.memory.usage", &[state]), bytes as f64, "{name} {state}");
        }

        let vm = VmStat::from_buf_read(&*file("vmstat")).unwrap().0;
        assert_eq!(ours.value("system.paging.faults", &["major"]), vm["pgmajfault"] as f64);
        assert_eq!(ours.value("system.paging.faults", &["minor"]), (vm["pgfault"] - vm["pgmajfault"]) as f64);
        assert_eq!(ours.value("system.paging.operations", &["major", "in"]), vm["pswpin"] as f64);

        let disks = DiskStats::from_buf_read(&*file("diskstats")).unwrap();
        let devices = ours.values_of("system.disk.io_time", "system.device");
        assert!(!devices.is_empty());
        for device in &devices {
            let disk = disks.0.iter().find(|disk| disk.name == *device).unwrap();
            assert_eq!(ours.value("system.disk.io", &[device, "read"]), disk.sectors_read as f64 * 512.0);
            assert_eq!(ours.value("system.disk.operations", &[device, "write"]), disk.writes as f64);
            assert_eq!(ours.value("system.disk.merged", &[device, "write"]), disk.writes_merged as f64);
            assert_eq!(ours.value("system.disk.io_time", &[device]), disk.time_in_progress as f64 / 1e3);
        }

        let load = LoadAverage::from_read(&*file("loadavg")).unwrap();
        // procfs-core has single precision.
        assert!((ours.value("system.cpu.load_average.5m", &[]) - f64::from(load.five)).abs() < 1e-6);
        assert_eq!(ours.value("system.uptime", &[]), Uptime::from_read(&*file("uptime")).unwrap().uptime);
    }
}
