//! Compares the whole collection of each fixture host with a recorded text. `HEKA_UPDATE=1 cargo test golden` records
//! it again; review the difference like any other change.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use heka_insights_agent::internals::agent::self_metrics;
use heka_insights_agent::internals::collectors::{COLLECTORS, Options};
use heka_insights_agent::internals::metrics::counter::Since;
use heka_insights_agent::internals::metrics::filter::Filter;
use heka_insights_agent::internals::metrics::naming::{Detail, Metric, Naming};

use crate::collect::Pipeline;
use crate::fixture::{FixtureHost, HOSTS, context, place};
use crate::update;

/// Compares with, or writes, `tests/golden/<name>.txt`. Returns what differs.
fn compare(name: &str, text: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if update::is_requested() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        return None;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected == text {
        return None;
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(&expected), lines(text));
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"));
    Some(format!("{}\n{}", path.display(), gone.chain(come).collect::<Vec<_>>().join("\n")))
}

fn profiles() -> [(&'static str, Options); 3] {
    let boot = Options { since: Since::Boot, ..Options::default() };
    let detailed = Options { detail: Detail::Detailed, ..boot.clone() };
    [
        ("semconv", boot),
        ("semconv-detailed", Options { per_cpu: true, ..detailed.clone() }),
        ("hostmetrics", Options { naming: Naming::Hostmetrics, ..detailed }),
    ]
}

#[test]
fn each_fixture_host_gives_its_golden_collection() {
    let mut differences = Vec::new();
    for host in HOSTS {
        for (profile, options) in profiles() {
            let mut pipeline = Pipeline::new(&context(&place(host), options));
            differences.extend(compare(&format!("{host}-{profile}"), &pipeline.collect().to_string()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// The series of a metric without names of the host: one for each combination of its attributes' words.
fn fixed_series(metric: &Metric) -> Option<usize> {
    let shape = metric.semconv.as_ref().filter(|shape| shape.detail == Detail::Basic)?;
    Some(shape.attributes.iter().map(|attribute| attribute.values.len()).product())
}

/// docs/cardinality.md promises this.
#[test]
fn a_machine_with_one_disk_and_one_interface_sends_under_170_points() {
    let interfaces = Filter::new(&["^ens5$"], &[]).unwrap();
    let host = context(&place("container"), Options { interfaces, ..Options::default() });
    let collected = Pipeline::new(&host).collect();
    for (metric, key, device) in [
        ("system.disk.io", "system.device", "vda"),
        ("system.network.io", "network.interface.name", "ens5"),
        ("hw.network.up", "hw.id", "ens5"),
    ] {
        assert_eq!(collected.values_of(metric, key), [device], "{metric}");
    }
    for metric in ["system.pressure.time", "system.filesystem.usage", "system.network.linux.tcp.segments"] {
        assert!(!collected.series(metric).is_empty(), "{metric}");
    }
    let own: usize = self_metrics::TABLES.iter().flat_map(|table| table.iter()).filter_map(fixed_series).sum();
    // A recorded host has no bus to ask for its units; their counts come with every host that has one.
    let mut all = COLLECTORS.iter().flat_map(|definition| definition.metrics);
    let units = all.find(|metric| metric.semconv.is_some_and(|shape| shape.name == "systemd.unit.count"));
    let units = units.and_then(fixed_series).unwrap();
    let points = collected.0.len() + own + units;
    assert!(own >= 12 && units >= 5 && points < 170, "{points} points in\n{collected}");
}

/// What happens on the server between two collections: 100 ticks pass on each CPU, and every counter moves by an amount
/// of its own.
fn a_second_passes(host: &FixtureHost) {
    let stat = String::from_utf8(host.read("proc/stat")).unwrap();
    let stat: Vec<String> = stat.lines().map(|line| add_ticks(line).unwrap_or_else(|| line.to_owned())).collect();
    host.write("proc/stat", stat.join("\n") + "\n");
    host.edit("proc/diskstats", "sda 500005 6006 40000040 7000007", "sda 500015 6007 40000240 7000107");
    host.edit("proc/vmstat", "pgfault 7700123456", "pgfault 7700123556");
    host.edit("proc/vmstat", "pgmajfault 123456", "pgmajfault 123458");
}

/// The columns of a CPU line with a second of time on top: for one CPU 50 ticks of user (10 of them a guest's), 5 nice,
/// 15 system, 20 idle, 6 iowait, 1 irq, 2 softirq, 1 steal; on the line of the whole host eight times as much. With
/// the guest's part inside user these are 100.
fn add_ticks(line: &str) -> Option<String> {
    const PASSED: [u64; 10] = [50, 5, 15, 20, 6, 1, 2, 1, 10, 0];
    let mut fields = line.split_whitespace();
    let name = fields.next()?.strip_prefix("cpu")?;
    let cpus = if name.is_empty() { 8 } else { 1 };
    let columns = fields.zip(PASSED).map(|(field, passed)| (field.parse::<u64>().unwrap() + cpus * passed).to_string());
    Some(format!("cpu{name} {}", columns.collect::<Vec<_>>().join(" ")))
}

/// Answers each client of systemd's Varlink socket with these units, for as long as the test runs.
fn systemd(host: &FixtureHost) {
    let dir = host.root().join("run/systemd/report");
    fs::create_dir_all(&dir).unwrap();
    let listener = UnixListener::bind(dir.join("io.systemd.Manager")).unwrap();
    let state = |unit: &str, state: &str| format!(r#"UnitActiveState","object":"{unit}","value":"{state}""#);
    let restarts = |unit: &str, count: u32| format!(r#"NRestarts","object":"{unit}","value":{count}"#);
    let metrics = [
        state("nginx.service", "active"),
        state("broken.service", "failed"),
        state("apt.timer", "active"),
        restarts("nginx.service", 3),
        restarts("broken.service", 0),
    ];
    let message = |(at, metric): (usize, &String)| {
        let continues = at + 1 < metrics.len();
        format!("{{\"parameters\":{{\"name\":\"io.systemd.Manager.{metric}}},\"continues\":{continues}}}\0")
    };
    let answer: String = metrics.iter().enumerate().map(message).collect();
    std::thread::spawn(move || {
        for client in listener.incoming().map(Result::unwrap) {
            let mut client = BufReader::new(client);
            client.read_until(0, &mut Vec::new()).unwrap();
            client.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
}

#[test]
fn the_servers_units_largest_processes_and_text_files_are_golden() {
    let host = FixtureHost::copy("server");
    systemd(&host);
    let file = host.root().join("proc/textfiles/backup.prom");
    host.write(
        "proc/textfiles/backup.prom",
        "# HELP backup_bytes Size of the backup\n# TYPE backup_bytes gauge\nbackup_bytes{job=\"db\"} 1.5e9\n\
         # TYPE backup_runs_total counter\nbackup_runs_total{job=\"db\"} 42\nbackup_last 7\n",
    );
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_755_000_000_500);
    fs::File::open(file).unwrap().set_modified(written).unwrap();
    let options = Options {
        since: Since::Boot,
        top_processes: 2,
        textfile_dir: Some(host.root().join("proc/textfiles")),
        collectors: Some(["services", "process", "textfile"].map(str::to_owned).to_vec()),
        ..Options::default()
    };
    let mut collected = Pipeline::new(&host.context(options)).collect();
    // The owner is that of the files, which is the user who runs the test.
    collected.0.iter_mut().for_each(|point| point.attributes.retain(|(key, _)| key != "process.owner"));
    let text = collected.to_string().replace(&host.root().display().to_string(), "");
    if let Some(difference) = compare("server-units-processes-textfiles", &text) {
        panic!("{difference}");
    }
}

#[test]
fn the_servers_second_collection_is_golden_too() {
    let mut differences = Vec::new();
    for (name, per_cpu) in [("server-start-second", false), ("server-start-second-per-cpu", true)] {
        let host = FixtureHost::copy("server");
        let mut pipeline = Pipeline::new(&host.context(Options { per_cpu, ..Options::default() }));
        pipeline.collect();
        a_second_passes(&host);
        let mut second = pipeline.collect();
        second
            .0
            .retain(|point| !["system.memory", "system.paging.u"].iter().any(|other| point.name.starts_with(other)));
        differences.extend(compare(name, &second.to_string()));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
