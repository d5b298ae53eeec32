//! The largest processes, by CPU time since the last walk and by memory: `--top-processes N`.
//!
//! All processes would be thousands of series. This reports at most 4 × N processes, usually N to 2 × N; see
//! `ranking.rs`. CPU time and I/O count from the time when a process is first reported. A process that has ended has no
//! series; a reused pid is another process with its own `process.creation.time`.
//!
//! I/O, open files and the path of the executable are visible for processes of the agent's user, and for all processes
//! with CAP_SYS_PTRACE; otherwise they are absent. Command lines may contain secrets: they are sent only with
//! `--process-command-lines`.
//!
//! A walk over all processes costs about 10 µs per process, almost all of it in the kernel. It is made at every
//! collection; if it takes more than 40 ms of CPU time, less often. The collections in between read only the processes
//! that are reported, so that their values are current and a process that has ended has no series. There is no fixed
//! interval for the walk: on most hosts it costs less than a millisecond, and a longer one would rank by old values and miss
//! short-lived processes.

mod ranking;

use std::collections::HashMap;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::cpu::MOST_CPUS;
use super::processes::{rest_after, thread_cpu_time};
use super::{Collector, Context, Definition, Observer};
use crate::host::processes::Stat;
use crate::host::{Host, Reader, files, processes};
use crate::metrics::counter::{Kind as Column, Rules, Table};
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};
use crate::metrics::parse::{fields, lines, number};
use ranking::{Candidate, Key, Ranking};

pub const DEFINITION: Definition =
    Definition { name: "process", metrics: METRICS, new: |context| Box::new(TopProcesses::new(context)) };

/// Maximum value of `--top-processes`.
pub const MOST_PROCESSES: usize = 100;

const PID: Attribute = Attribute { key: Names::both("process.pid"), values: &[] };
const CREATED: Attribute = Attribute { key: Names::both("process.creation.time"), values: &[] };
const EXECUTABLE: Attribute = Attribute { key: Names::both("process.executable.name"), values: &[] };
const OWNER: Attribute = Attribute { key: Names::both("process.owner"), values: &[] };
const CGROUP: Attribute = Attribute { key: Names::both("process.linux.cgroup"), values: &[] };
const COMMAND: Attribute = Attribute { key: Names::both("process.command_line"), values: &[] };
const MODE: Attribute = Attribute { key: Names::both("cpu.mode"), values: &[USER, SYSTEM] };
const DIRECTION: Attribute = Attribute { key: Names::both("disk.io.direction"), values: &[READ, WRITE] };

const USER: Names = Names::both("user");
const SYSTEM: Names = Names::both("system");
const READ: Names = Names::both("read");
const WRITE: Names = Names::both("write");

const IDENTITY: &[&Attribute] = &[&PID, &CREATED, &EXECUTABLE, &OWNER, &CGROUP, &COMMAND];

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("cpu", Counter, Double, "CPU time of the process", "/proc/[pid]/stat, utime and stime")
        .semconv("process.cpu.time", "s", Basic, &[&PID, &CREATED, &EXECUTABLE, &OWNER, &CGROUP, &COMMAND, &MODE]),
    Metric::new("memory", UpDownCounter, Int, "Physical memory that the process uses", "/proc/[pid]/stat, rss")
        .semconv("process.memory.usage", "By", Basic, IDENTITY),
    Metric::new("virtual", UpDownCounter, Int, "Address space of the process", "/proc/[pid]/stat, vsize")
        .semconv("process.memory.virtual", "By", Basic, IDENTITY),
    Metric::new("io", Counter, Int, "Bytes that the process caused to be read from and written to disks", "/proc/[pid]/io, read_bytes and write_bytes")
        .since("2.6.20")
        .semconv("process.disk.io", "By", Basic, &[&PID, &CREATED, &EXECUTABLE, &OWNER, &CGROUP, &COMMAND, &DIRECTION]),
    Metric::new("threads", UpDownCounter, Int, "Threads of the process", "/proc/[pid]/stat, num_threads")
        .semconv("process.thread.count", "{thread}", Basic, IDENTITY),
    Metric::new("files", UpDownCounter, Int, "File descriptors that the process has open", "/proc/[pid]/fd")
        .semconv("process.unix.file_descriptor.count", "{file_descriptor}", Basic, IDENTITY),
];

const COLUMNS: usize = 4;
/// Maximum clock ticks per second: all CPUs that Linux supports, at the highest tick rate.
const CPU_TICKS: u64 = MOST_CPUS as u64 * 1_000;

struct Series {
    plain: Attributes,
    modes: [Attributes; 2],
    directions: [Attributes; 2],
    resident_pages: u64,
    virtual_bytes: u64,
    threads: u64,
    open_files: Option<u64>,
    key: Key,
}

/// Values of a process that is reported, or may be.
struct Found {
    key: Key,
    name: Box<[u8]>,
    user: u64,
    system: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Found {
    fn new(pid: u32, stat: &Stat<'_>) -> Self {
        let Stat { name, user, system, threads, start, virtual_bytes, resident_pages, .. } = *stat;
        Self {
            key: (pid, start),
            name: name.into(),
            user,
            system,
            threads: threads.into(),
            virtual_bytes,
            resident_pages,
        }
    }
}

struct TopProcesses {
    host: Host,
    naming: Naming,
    command_lines: bool,
    ranking: Ranking,
    table: Table<Series, COLUMNS>,
    /// The CPU time that this thread has used.
    cpu_time: fn() -> Duration,
    /// Number of collections before the next walk.
    rest: u32,
    hidden_reported: bool,
}

impl TopProcesses {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        let kinds = [Column::at_most(CPU_TICKS), Column::at_most(CPU_TICKS), Column::BYTES, Column::BYTES];
        Self {
            host: context.host.clone(),
            naming: options.naming,
            command_lines: options.process_command_lines,
            ranking: Ranking::new(options.top_processes),
            table: Table::new(Rules::new(kinds, options.since).delta(options.delta), 4 * options.top_processes),
            cpu_time: thread_cpu_time,
            rest: 0,
            hidden_reported: false,
        }
    }

    /// Walks all processes, and reads those that are the largest now.
    fn walk(&mut self, reader: &mut Reader) {
        let proc = self.host.proc("");
        let mut found = Vec::new();
        let outcome = processes::each(&proc, &mut |pid, stat| found.push(Found::new(pid, stat)));
        match outcome {
            Ok(true) => {}
            Ok(false) => {
                if !std::mem::replace(&mut self.hidden_reported, true) {
                    reader.note(&proc, false, "processes of other users are hidden (hidepid), so only some are ranked");
                }
            }
            Err(error) => {
                reader.fail();
                reader.note(&proc, true, error.to_string());
                return;
            }
        }
        let candidate = |one: &Found| Candidate {
            key: one.key,
            cpu: one.user.saturating_add(one.system),
            memory: one.resident_pages,
        };
        let chosen = self.ranking.choose(&found.iter().map(candidate).collect::<Vec<_>>());
        // In the order of the walk, so that the table finds its rows at the same positions.
        found.retain(|process| chosen.contains(&process.key));
        self.report(&found, reader);
    }

    /// Reads the reported processes again. Those that have ended are no longer reported.
    fn follow(&mut self, reader: &mut Reader) {
        let proc = self.host.proc("");
        let keys = self.table.listed().map(|entry| entry.data.key);
        let again = keys.filter_map(|key| {
            processes::one(&proc, key.0, |stat| Found::new(key.0, stat)).filter(|process| process.key == key)
        });
        let found: Vec<Found> = again.collect();
        self.report(&found, reader);
    }

    /// Reports these processes and no others. Reads their other files.
    fn report(&mut self, found: &[Found], reader: &mut Reader) {
        // Not kept: names change, and a host can have any number of users.
        let mut owners = HashMap::new();
        self.table.begin(reader.now());
        for process in found {
            let (pid, start) = process.key;
            let io = io(&self.host, pid);
            let name = format!("{pid} {start}");
            let readings =
                [Some(process.user), Some(process.system), io.map(|[read, _]| read), io.map(|[_, write]| write)];
            let (host, naming, command_lines) = (&self.host, self.naming, self.command_lines);
            let new = || Series::new(naming, process.key, &identity(host, process, &mut owners, command_lines));
            if let Some((entry, _)) = self.table.read(name.as_bytes(), &readings, new) {
                let series = &mut entry.data;
                series.resident_pages = process.resident_pages;
                series.virtual_bytes = process.virtual_bytes;
                series.threads = process.threads;
                series.open_files = processes::open_files(&self.host.proc(&format!("{pid}/fd")));
            }
        }
        self.table.end();
    }
}

impl Collector for TopProcesses {
    fn read(&mut self, reader: &mut Reader) {
        if self.rest > 0 {
            self.rest -= 1;
            self.follow(reader);
            return;
        }
        let before = (self.cpu_time)();
        self.walk(reader);
        // The first ranking is by the total of the CPU time, and the baseline is not sent: the next collection ranks again.
        if reader.cycle() > 0 {
            self.rest = rest_after((self.cpu_time)().saturating_sub(before));
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        #[allow(clippy::cast_precision_loss)] // exact for millions of years
        let seconds = |ticks: u64| ticks as f64 / self.host.ticks_per_second.max(1) as f64;
        for entry in self.table.listed() {
            let (series, row) = (&entry.data, entry.row());
            match metric.id {
                "cpu" => {
                    for (at, attributes) in series.modes.iter().enumerate() {
                        if let Some(ticks) = row.get(at) {
                            out.float(seconds(ticks), attributes);
                        }
                    }
                }
                "io" => {
                    for (at, attributes) in series.directions.iter().enumerate() {
                        if let Some(bytes) = row.get(at + 2) {
                            out.int(bytes, attributes);
                        }
                    }
                }
                "memory" => out.int(series.resident_pages.saturating_mul(self.host.page_bytes), &series.plain),
                "virtual" => out.int(series.virtual_bytes, &series.plain),
                "threads" => out.int(series.threads, &series.plain),
                "files" => {
                    if let Some(files) = series.open_files {
                        out.int(files, &series.plain);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Series {
    fn new(naming: Naming, key: Key, identity: &[(&'static Attribute, AttributeValue)]) -> Self {
        let with = |attribute: &'static Attribute, values: [Names; 2]| {
            values.map(|value| {
                let mut pairs = identity.to_vec();
                pairs.push((attribute, AttributeValue::Word(value)));
                attributes(naming, &pairs)
            })
        };
        Self {
            plain: attributes(naming, identity),
            modes: with(&MODE, [USER, SYSTEM]),
            directions: with(&DIRECTION, [READ, WRITE]),
            resident_pages: 0,
            virtual_bytes: 0,
            threads: 0,
            open_files: None,
            key,
        }
    }
}

/// The attributes of a process that are visible to this user.
fn identity(
    host: &Host,
    process: &Found,
    owners: &mut HashMap<u32, Arc<str>>,
    command_lines: bool,
) -> Vec<(&'static Attribute, AttributeValue)> {
    let (pid, start) = process.key;
    let text = |bytes: &[u8]| AttributeValue::Text(Arc::from(String::from_utf8_lossy(bytes)));
    let path = |name: &str| host.proc(&format!("{pid}/{name}"));
    let executable = files::read_link(&path("exe")).ok().and_then(|exe| exe.file_name().map(ToOwned::to_owned));
    let name = executable.as_ref().map_or(&*process.name, |name| name.as_bytes());
    // The suffix of an executable that was replaced by an upgrade.
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    let mut pairs = vec![(&PID, AttributeValue::Int(i64::from(pid))), (&EXECUTABLE, text(name))];
    if let Some(created) = creation_time(host, start) {
        pairs.push((&CREATED, AttributeValue::Text(created)));
    }
    if let Ok(owner) = files::metadata(&host.proc(&pid.to_string())) {
        let name = owners.entry(owner.uid()).or_insert_with(|| user_name(host, owner.uid()));
        pairs.push((&OWNER, AttributeValue::Text(Arc::clone(name))));
    }
    if let Some(cgroup) = files::read_small(&path("cgroup")).as_deref().and_then(cgroup) {
        pairs.push((&CGROUP, text(cgroup)));
    }
    if command_lines && let Some(line) = files::read_small(&path("cmdline")) {
        const MOST_COMMAND_BYTES: usize = 1_024;
        let line: Vec<u8> = line.iter().take(MOST_COMMAND_BYTES).map(|&b| if b == 0 { b' ' } else { b }).collect();
        let line = line.trim_ascii();
        if !line.is_empty() {
            pairs.push((&COMMAND, text(line)));
        }
    }
    pairs
}

/// The path in the unified hierarchy or, with version 1, in systemd's own hierarchy.
fn cgroup(file: &[u8]) -> Option<&[u8]> {
    let of = |prefix: &[u8]| lines(file).find_map(|line| line.strip_prefix(prefix));
    of(b"0::").or_else(|| {
        lines(file).find_map(|line| {
            line.split(|&b| b == b':').nth(2).filter(|_| line.windows(13).any(|part| part == b":name=systemd"))
        })
    })
}

/// The start time of a process in RFC 3339 format, in whole seconds. Uses the kernel's boot time (`btime` of
/// `/proc/stat`), because the current time minus the uptime would vary between readings.
fn creation_time(host: &Host, start: u64) -> Option<Arc<str>> {
    let stat = files::read(&host.proc("stat")).ok()?;
    let boot = number(fields(lines(&stat).find_map(|line| line.strip_prefix(b"btime "))?).next()?)?;
    let seconds = boot.checked_add(start / host.ticks_per_second.max(1))?;
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    let mut text = String::new();
    // Fails for a time after the year 9999, which the format cannot hold.
    write!(text, "{}", humantime::format_rfc3339_seconds(time)).ok()?;
    Some(Arc::from(text))
}

/// The user's name from the host's `/etc/passwd`, or the number.
fn user_name(host: &Host, uid: u32) -> Arc<str> {
    let passwd = files::read(&host.etc("passwd")).unwrap_or_default();
    let name = lines(&passwd).find_map(|line| {
        let mut parts = line.split(|&b| b == b':');
        let name = parts.next()?;
        (number(parts.nth(1)?)? == u64::from(uid)).then_some(name)
    });
    name.map_or_else(|| Arc::from(uid.to_string()), |name| Arc::from(String::from_utf8_lossy(name)))
}

/// Bytes read and written, if visible to this user.
fn io(host: &Host, pid: u32) -> Option<[u64; 2]> {
    let file = files::read(&host.proc(&format!("{pid}/io"))).ok()?;
    let of = |key: &[u8]| lines(&file).find_map(|line| number(line.strip_prefix(key)?.trim_ascii()));
    Some([of(b"read_bytes:")?, of(b"write_bytes:")?])
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{Bench, Host as TestHost};
    use super::*;

    fn options(most: usize) -> Options {
        Options { top_processes: most, ..Options::default() }
    }

    fn process(host: &TestHost, pid: u32, name: &str, ticks: u64, start: u64, pages: u64) {
        let stat = format!("{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 3 0 {start} 8192 {pages} 0\n");
        host.write(&format!("proc/{pid}/stat"), stat);
    }

    fn host() -> TestHost {
        let host = TestHost::empty();
        host.write("proc/stat", "cpu 1 1 1 1\nbtime 1700000000\n");
        process(&host, 1, "init", 10, 1, 10);
        process(&host, 50, "busy", 1_000, 500, 20);
        process(&host, 60, "large", 5, 600, 9_000);
        for pid in 70..80 {
            process(&host, pid, "small", 1, u64::from(pid), 1);
        }
        host
    }

    fn of<'a>(points: &'a [String], id: &str) -> Vec<&'a str> {
        points.iter().filter(|point| point.starts_with(&format!("{id}{{"))).map(String::as_str).collect()
    }

    #[test]
    fn the_busiest_and_the_largest_are_reported_with_pid_start_name_and_owner() {
        let host = host();
        host.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        host.write("proc/60/cgroup", "0::/system.slice/large.service\n");
        host.write("proc/60/io", "rchar: 9\nread_bytes: 4096\nwrite_bytes: 512\n");
        let mut bench = Bench::new(DEFINITION, host.context(options(1)));
        process(&host, 50, "busy", 1_250, 500, 20);
        host.write("proc/60/io", "rchar: 9\nread_bytes: 8192\nwrite_bytes: 512\n");
        let points = bench.next();
        let memory = of(&points, "process.memory.usage");
        assert_eq!(memory.len(), 2, "{memory:#?}");
        let owner = super::user_name(&host.context(options(1)).host, rustix::process::getuid().as_raw());
        let page = host.context(options(1)).host.page_bytes;
        let large = format!(
            "process.memory.usage{{process.creation.time=2023-11-14T22:13:26Z,process.executable.name=large,process.linux.cgroup=/system.slice/large.service,process.owner={owner},process.pid=60}} {}",
            9_000 * page
        );
        assert!(memory.contains(&large.as_str()), "{large} in {memory:#?}");
        let busy = of(&points, "process.cpu.time")
            .into_iter()
            .find(|point| point.contains("=busy") && point.contains("=user"))
            .unwrap();
        assert!(busy.ends_with("} 2.5"), "{busy}");
        let read = of(&points, "process.disk.io").into_iter().find(|point| point.contains("direction=read")).unwrap();
        assert!(read.ends_with(" 4096"), "{read}");
    }

    #[test]
    fn a_start_after_the_year_9999_is_left_out_and_the_process_stays() {
        let host = host();
        for ticks in [u64::MAX, u64::MAX / 2, 253_402_300_800 * 100] {
            process(&host, 60, "large", 5, ticks, 9_000);
            let mut bench = Bench::new(DEFINITION, host.context(options(1)));
            let points = bench.next();
            let memory = of(&points, "process.memory.usage");
            let large = memory.iter().find(|point| point.contains("=large")).unwrap();
            assert!(!large.contains("creation"), "{large}");
        }
    }

    #[test]
    fn cpu_times_that_are_too_large_for_a_sum_leave_the_others_as_they_are() {
        let host = host();
        let stat = format!("70 (small) S 1 1 1 0 -1 0 0 0 0 0 {} 5 0 0 20 0 3 0 70 8192 1 0\n", u64::MAX);
        host.write("proc/70/stat", stat);
        let points = Bench::new(DEFINITION, host.context(options(1))).next();
        assert!(of(&points, "process.memory.usage").iter().any(|point| point.contains("=large")), "{points:#?}");
    }

    #[test]
    fn a_process_that_ended_has_no_series_and_its_pid_used_again_is_another_process() {
        let host = host();
        let mut bench = Bench::new(DEFINITION, host.context(options(1)));
        process(&host, 50, "busy", 9_000, 500, 20);
        bench.next();
        process(&host, 50, "other", 4_000, 90_000, 20);
        let points = bench.next();
        let cpu: Vec<_> =
            of(&points, "process.cpu.time").into_iter().filter(|point| point.contains("pid=50")).collect();
        assert!(cpu.iter().all(|point| point.contains("other")) && !cpu.is_empty(), "{cpu:#?}");
        assert!(cpu.iter().any(|point| point.ends_with("} 0")), "it counts from its first sight: {cpu:#?}");
    }

    /// A CPU clock that advances by 100 ms at each call, so that a walk takes that long.
    fn slow() -> Duration {
        thread_local!(static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
        LOOKS.set(LOOKS.get() + 1);
        Duration::from_millis(100 * LOOKS.get())
    }

    #[test]
    fn between_two_walks_the_reported_processes_are_read_and_one_that_ended_has_no_series() {
        let host = host();
        let context = host.context(options(1));
        let mut bench = Bench::new(DEFINITION, context.clone());
        bench.collector = Box::new(TopProcesses { cpu_time: slow, ..TopProcesses::new(&context) });
        let seen = |points: Vec<String>| {
            let memory = of(&points, "process.memory.usage").into_iter();
            let name =
                |point: &str| point.split("executable.name=").nth(1).unwrap().split(',').next().unwrap().to_owned();
            let mut names: Vec<_> = memory.map(name).collect();
            names.sort();
            (
                names,
                of(&points, "process.cpu.time")
                    .into_iter()
                    .find(|point| point.contains("=busy") && point.contains("=user"))
                    .map(|point| point.rsplit_once(' ').unwrap().1.to_owned()),
            )
        };
        let both = vec!["busy".to_owned(), "large".to_owned()];
        assert_eq!(
            seen(bench.next()),
            (both.clone(), Some("0".to_owned())),
            "a walk of 100 ms: none in the next two collections"
        );
        process(&host, 50, "busy", 1_100, 500, 20);
        process(&host, 90, "newcomer", 5_000, 700, 90_000);
        assert_eq!(seen(bench.next()), (both, Some("1".to_owned())));
        // The pid is used again; the largest has ended.
        process(&host, 50, "other", 2_000, 900, 20);
        std::fs::remove_dir_all(host.path("proc/60")).unwrap();
        assert_eq!(seen(bench.next()), (vec![], None));
        assert!(seen(bench.next()).0.contains(&"newcomer".to_owned()), "the next walk");
    }

    #[test]
    fn a_users_name_is_not_kept_for_later_processes() {
        let host = host();
        let user = rustix::process::getuid().as_raw();
        host.write("etc/passwd", format!("before:x:{user}:0::/:/bin/sh\n"));
        let mut bench = Bench::new(DEFINITION, host.context(options(1)));
        assert!(of(&bench.points(), "process.memory.usage").iter().all(|point| point.contains("owner=before")));
        host.write("etc/passwd", format!("after:x:{user}:0::/:/bin/sh\n"));
        process(&host, 90, "newcomer", 50_000, 700, 90_000);
        let points = bench.next();
        let newcomer = of(&points, "process.memory.usage").into_iter().find(|point| point.contains("=newcomer"));
        assert!(newcomer.unwrap().contains("owner=after"), "{points:#?}");
    }

    #[test]
    fn a_command_line_is_sent_only_when_it_is_asked_for_and_is_cut() {
        let host = host();
        host.write("proc/50/cmdline", format!("busy\0--password\0{}\0", "x".repeat(5_000)));
        let points = Bench::new(DEFINITION, host.context(options(1))).points();
        assert!(!points.iter().any(|point| point.contains("password")));
        let asked = Options { process_command_lines: true, ..options(1) };
        let points = Bench::new(DEFINITION, host.context(asked)).points();
        let line = points.iter().find(|point| point.contains("process.command_line=busy --password xxx")).unwrap();
        assert!(line.len() < 1_400, "{}", line.len());
    }

    #[test]
    fn a_cgroup_of_version_1_is_the_one_that_systemd_keeps() {
        assert_eq!(cgroup(b"12:cpu,cpuacct:/a\n1:name=systemd:/b\n"), Some(&b"/b"[..]));
        assert_eq!(cgroup(b"0::/c\n"), Some(&b"/c"[..]));
        assert_eq!(cgroup(b"x\n"), None);
    }
}
