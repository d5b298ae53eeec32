//! The files of every collector: the first byte chooses the file, the second one where the input is cut into what the
//! collector reads at its start and what it reads later.

#![no_main]

use std::sync::OnceLock;

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
];

fuzz_target!(|input: &[u8]| {
    static HOST: OnceLock<Host> = OnceLock::new();
    let host = HOST.get_or_init(|| Host::copy("server").expect("a copy of the fixture host"));
    let [file, cut, rest @ ..] = input else { return };
    let Some((collector, path)) = FILES.get(usize::from(*file) % FILES.len()) else { return };
    let (first, second) = rest.split_at(rest.len() * usize::from(*cut) / 255);
    let recorded = std::fs::read(host.path(path)).unwrap_or_default();
    host.write(path, first);
    let mut collection = Collection::of(host, collector);
    collection.collect();
    host.write(path, second);
    collection.collect();
    host.write(path, first);
    collection.collect();
    host.write(path, &recorded);
});
