//! Rule of truth 5, end to end, for every file that the program opens. The file is replaced by a FIFO or by a file that
//! never answers. Each collector that does not read it must report in every tick, `check` must end with status 1, and a
//! stop must end all work.
//!
//! inotify records which files the program opens on a fixture host and which collector reads them, so that the files of
//! a new collector are included. The short form tests one file of each kind (`temp1_input` and `temp2_input` are of one
//! kind) for three ticks. It takes three minutes and is a separate step of `.ci/run`. The long form tests every file
//! for 5 s and three of them for a minute.
//!
//! ```sh
//! cargo test --locked --test host -- --ignored --nocapture every_file_that_the_program_opens
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use heka_insights_agent::internals::collectors::{self, COLLECTORS};
use heka_insights_agent::internals::metrics::naming::Naming;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::FixtureHost;
use crate::fuse::HangingFile;
use crate::program::{has_ended, text, wait};
use crate::support::http::HttpServer;
use crate::support::{PATIENCE, Seen};

const INTERVAL: Duration = Duration::from_millis(500);
/// Agents at a time.
const SIDE_BY_SIDE: usize = 6;
/// For these the long form takes a minute.
const LONG: [&str; 3] = ["proc/stat", "proc/meminfo", "proc/1/mountinfo"];
/// A collector of a single file. What its agent opens besides belongs to no collector.
const OF_ONE_FILE: (&str, &str) = ("load", "proc/loadavg");

/// The flags that make the agent read as many files as it can.
fn flags(naming: Naming) -> [&'static str; 7] {
    ["--detail", "detailed", "--per-cpu", "--top-processes", "3", "--naming", naming.name()]
}

fn program(root: &Path, naming: Naming) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heka-insights-agent"));
    command.env_clear().current_dir(root).arg("--root-path").arg(root).args(flags(naming));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// An agent that sends to a server of its own.
struct Agent {
    child: Child,
    server: HttpServer,
    /// Its outbox and its log.
    dir: tempfile::TempDir,
}

impl Agent {
    fn start(root: &Path, naming: Naming, more: &[&str]) -> Self {
        let (server, dir) = (HttpServer::start(), tempfile::tempdir().unwrap());
        let mut command = program(root, naming);
        command.args(["--interval", "500ms", "--no-phase", "--self-metrics", "off", "--protocol", "http/protobuf"]);
        command.args(["--endpoint", &server.endpoint(), "--outbox-dir"]).arg(dir.path().join("outbox")).args(more);
        let child = command.stderr(File::create(dir.path().join("log")).unwrap()).spawn().unwrap();
        Self { child, server, dir }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Waits for so many collections.
    fn collections(&self, count: usize) -> Vec<Seen> {
        let most = INTERVAL * u32::try_from(count).unwrap() + PATIENCE;
        let begun = Instant::now();
        loop {
            let seen = self.server.scene.seen();
            if seen.len() >= count {
                return seen;
            }
            assert!(begun.elapsed() < most, "{} of {count} collections; {}", seen.len(), self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it. Its work must end within 5 s, and the outbox be free.
    fn stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let stopped = Instant::now();
        while !has_ended(&self.child) {
            assert!(stopped.elapsed() < Duration::from_secs(5), "it still works; {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        let outbox = self.dir.path().join("outbox");
        let lock = File::open(outbox.join("outbox.lock")).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("the outbox is closed");
    }

    /// Its end, once no file hangs any more.
    fn end(mut self) {
        assert_eq!(wait(&mut self.child, Duration::from_secs(10)), Some(0), "{}", self.log());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// The names of a request's metrics that have a data point.
fn metrics(seen: &Seen) -> BTreeSet<String> {
    let metrics = seen.request.resource_metrics.iter().flat_map(|of| &of.scope_metrics).flat_map(|of| &of.metrics);
    metrics.filter(|metric| metric.data.is_some()).map(|metric| metric.name.clone()).collect()
}

/// When a request's collection was, in nanoseconds since the epoch.
fn time(seen: &Seen) -> u64 {
    let metrics = seen.request.resource_metrics.iter().flat_map(|of| &of.scope_metrics).flat_map(|of| &of.metrics);
    let points = metrics.filter_map(|metric| match metric.data.as_ref()? {
        Data::Sum(sum) => sum.data_points.first(),
        Data::Gauge(gauge) => gauge.data_points.first(),
        _ => None,
    });
    points.map(|point| point.time_unix_nano).max().unwrap()
}

/// Counts how often each regular file below the root is opened.
struct Opens {
    inotify: rustix::fd::OwnedFd,
    dirs: HashMap<i32, PathBuf>,
    root: PathBuf,
}

impl Opens {
    fn watch(root: &Path) -> Self {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        let mut dirs = HashMap::new();
        let mut waiting: Vec<PathBuf> = ["proc", "sys", "etc"].iter().map(|dir| root.join(dir)).collect();
        while let Some(dir) = waiting.pop() {
            // A close between two opens: equal events in a row would be reported as one.
            let watch = add_watch(&inotify, &dir, WatchFlags::OPEN | WatchFlags::CLOSE).unwrap();
            let entries = std::fs::read_dir(&dir).unwrap().map(Result::unwrap);
            waiting.extend(entries.filter(|entry| entry.file_type().unwrap().is_dir()).map(|entry| entry.path()));
            dirs.insert(watch, dir);
        }
        Self { inotify, dirs, root: root.to_owned() }
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let mut room = vec![MaybeUninit::uninit(); 64 << 10];
        let mut events = Reader::new(&self.inotify, &mut room);
        while let Ok(event) = events.next() {
            assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW));
            if event.events().contains(ReadFlags::OPEN)
                && !event.events().contains(ReadFlags::ISDIR)
                && let (Some(dir), Some(name)) = (self.dirs.get(&event.wd()), event.file_name())
            {
                let path = dir.join(name.to_str().unwrap());
                let path = path.strip_prefix(&self.root).unwrap().to_str().unwrap().to_owned();
                *counts.entry(path).or_default() += 1;
            }
        }
        counts
    }
}

/// What the program does on a host on which every file answers.
struct Normal {
    naming: Naming,
    /// Each file that it opens, and the collectors that read it.
    readers: BTreeMap<String, BTreeSet<&'static str>>,
    /// Each collector's metrics.
    metrics: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Normal {
    fn new(naming: Naming) -> Self {
        let opened = |collector: &str| {
            let host = host();
            let opens = Opens::watch(host.root());
            let agent = Agent::start(host.root(), naming, &["--collectors", collector]);
            agent.collections(2);
            agent.stop();
            let counts = opens.counts();
            agent.end();
            counts
        };
        let host = host();
        let agent = Agent::start(host.root(), naming, &[]);
        let tick = agent.collections(2).iter().map(metrics).reduce(|one, two| &one & &two).unwrap();
        agent.stop();
        agent.end();
        let mut of = BTreeMap::<_, BTreeSet<String>>::new();
        for definition in COLLECTORS {
            for shape in definition.metrics.iter().filter_map(|metric| metric.shape(naming)) {
                let Some(name) = tick.get(shape.name) else { continue };
                of.entry(definition.name).or_default().insert(name.clone());
            }
        }
        let names: Vec<&'static str> = of.keys().copied().collect();
        let mut at_start = opened(OF_ONE_FILE.0);
        at_start.remove(OF_ONE_FILE.1);
        let mut readers = BTreeMap::<String, BTreeSet<&'static str>>::new();
        let found = side_by_side(&names, |name| opened(name));
        for (name, counts) in names.iter().zip(found) {
            for (file, count) in counts {
                let readers = readers.entry(file.clone()).or_default();
                if count > at_start.get(&file).copied().unwrap_or(0) {
                    readers.insert(name);
                }
            }
        }
        Self { naming, readers, metrics: of }
    }
}

fn host() -> FixtureHost {
    FixtureHost::whole("server")
}

/// Does the work for each item, several at a time.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new(items.iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((place, item)) = { next.lock().unwrap().next() } {
                    let result = work(item);
                    done.lock().unwrap().insert(place, result);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

/// What stands in a file's place.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Fifo,
    Hanging,
}

fn tries(normal: &Normal, file: &str, fault: Fault, ticks: usize) {
    let what = format!("{file} as {fault:?} under {:?}", normal.naming);
    let host = host();
    let path = host.root().join(file);
    let hanging = match fault {
        Fault::Fifo => {
            host.remove(file);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
            None
        }
        Fault::Hanging => match HangingFile::over(&path) {
            None => return,
            hanging => hanging,
        },
    };
    let mut check = program(host.root(), normal.naming);
    let mut check = check.args(["--exporter", "none", "check"]).stdout(Stdio::piped()).spawn().unwrap();
    let code = wait(&mut check, Duration::from_secs(10));
    let readers = &normal.readers[file];
    // The host's identity is no part of `check`.
    assert_eq!(code, Some(i32::from(!readers.is_empty())), "{what}: {}", text(check.stdout.take()));

    let agent = Agent::start(host.root(), normal.naming, &[]);
    let seen = agent.collections(ticks + 1);
    let expected: BTreeSet<&String> =
        normal.metrics.iter().filter(|(name, _)| !readers.contains(*name)).flat_map(|(_, metrics)| metrics).collect();
    for (number, tick) in seen.iter().enumerate() {
        let there = metrics(tick);
        let lost: Vec<_> = expected.iter().filter(|name| !there.contains(**name)).collect();
        assert!(number == 0 || lost.is_empty(), "{what}: tick {number} lacks {lost:?}; {}", agent.log());
    }
    for pair in seen.windows(2) {
        let apart = Duration::from_nanos(time(&pair[1]) - time(&pair[0]));
        assert!(apart < INTERVAL * 2, "{what}: two ticks are {apart:?} apart; {}", agent.log());
    }
    agent.stop();
    if let Some(hanging) = hanging {
        hanging.answer("");
    }
    agent.end();
}

/// The file's name without its numbers.
fn kind(file: &str) -> String {
    file.chars().filter(|character| !character.is_ascii_digit()).collect()
}

fn every(normals: &[Normal], chosen: impl Fn(&str) -> Option<usize>) {
    let mut cases = Vec::new();
    let mut known = BTreeSet::new();
    for normal in normals {
        // A file that both profiles read is tried once.
        for file in normal.readers.keys().filter(|file| known.insert((*file).clone())) {
            let Some(ticks) = chosen(file) else { continue };
            cases.extend([Fault::Fifo, Fault::Hanging].map(|fault| (normal, file, fault, ticks)));
        }
    }
    assert!(cases.len() > 100, "{}", cases.len());
    let fails = |(normal, file, fault, ticks): &(&Normal, &String, Fault, usize)| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tries(normal, file, *fault, *ticks))).is_err()
    };
    let outcomes = side_by_side(&cases, fails);
    // A busy machine may delay a tick: a few cases are tried once more, alone.
    let again: Vec<_> = cases.iter().zip(outcomes).filter_map(|(case, failed)| failed.then_some(case)).collect();
    assert!(again.len() <= 5, "{} of {} fail", again.len(), cases.len());
    let failed: Vec<_> =
        again.into_iter().filter(|case| fails(case)).map(|(_, file, fault, _)| (file, fault)).collect();
    assert!(failed.is_empty(), "{failed:?} of {}", cases.len());
}

fn normals() -> [Normal; 2] {
    let normals = [Naming::Semconv, Naming::NodeExporter].map(Normal::new);
    for (name, file) in
        [("cpu", "proc/stat"), ("kernel", "proc/stat"), ("memory", "proc/meminfo"), ("disk", "proc/diskstats")]
    {
        assert!(normals[0].readers[file].contains(name), "{name} reads {file}");
    }
    assert!(collectors::names().len() > 20 && normals[0].metrics.len() > 12, "{:?}", normals[0].metrics.keys());
    normals
}

#[test]
#[ignore = "takes three minutes; .ci/run runs it"]
fn a_file_of_each_kind_that_the_program_opens_may_be_a_fifo_or_hang() {
    let seen = Mutex::new(BTreeSet::new());
    every(&normals(), |file| seen.lock().unwrap().insert(kind(file)).then_some(3));
}

#[test]
#[ignore = "takes half an hour"]
fn every_file_that_the_program_opens_may_be_a_fifo_or_hang() {
    every(&normals(), |file| Some(if LONG.contains(&file) { 120 } else { 10 }));
}
