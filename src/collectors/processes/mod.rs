//! Processes created and processes in each state, from `/proc/stat` and `/proc/[pid]/stat`.
//!
//! `created` is the kernel's count of forks, which includes threads (clone counts as a fork).
//!
//! A process has the state of its main thread, so the states sum to the number of processes. hostmetrics overwrites
//! `running` and `blocked` with procs_running and procs_blocked of `/proc/stat`, which count threads, so its states do
//! not sum to it; here both profiles count processes. The conventions define running, sleeping, stopped and defunct. As
//! in hostmetrics, `blocked` (D, uninterruptible: waiting for a disk) and `idle` (I, an idle kernel thread, since Linux
//! 4.14) are separate from sleeping. Other letters are `unknown`, reported once one has been seen.
//!
//! The count covers the pid namespace of the `/proc` that is read: in a container without the host's pid namespace, the
//! container's. If the mount option hidepid hides processes, the count would be too low and is omitted.
//!
//! Reading the state of one process takes the kernel about 10 µs, a third of that if the file stays open (`walk.rs`). If
//! a count takes more than 40 ms of CPU time, it is skipped in some collections, so that the average stays below this
//! limit.

use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use tracing::{info, warn};

use super::{Collector, Context, Definition, Observer};
use crate::host::Reader;
use crate::metrics::counter::{self, Counters, Rules};
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::{Counter, UpDownCounter};
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, Attributes, Metric, Names, word};
use crate::metrics::parse::{fields, next_number};

pub(super) mod hidden;
mod walk;

use walk::{Counts, STATES, UNKNOWN_AT, Walk};

pub const DEFINITION: Definition =
    Definition { name: "processes", metrics: METRICS, new: |context| Box::new(Processes::new(context)) };

const STATE: Attribute = Attribute {
    key: Names("process.state", "status"),
    values: &[RUNNING, SLEEPING, BLOCKED, IDLE, STOPPED, DEFUNCT, UNKNOWN],
};

const RUNNING: Names = Names::both("running");
const SLEEPING: Names = Names::both("sleeping");
const BLOCKED: Names = Names::both("blocked");
const IDLE: Names = Names::both("idle");
const STOPPED: Names = Names::both("stopped");
const DEFUNCT: Names = Names("defunct", "zombies");
const UNKNOWN: Names = Names::both("unknown");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("created", Counter, Int,
        "Processes and threads created",
        "/proc/stat, processes")
        .semconv("system.process.created", "{process}", Basic, &[])
        .hostmetrics("system.processes.created", "{processes}", Basic, &[]),
    Metric::new("count", UpDownCounter, Int,
        "Processes whose main thread is in each state",
        "/proc/[pid]/stat, field 3")
        .semconv("system.process.count", "{process}", Basic, &[&STATE])
        .hostmetrics("system.processes.count", "{processes}", Basic, &[&STATE]),
];

/// Average CPU time limit of counting, per collection.
const MOST_PER_COLLECTION: Duration = Duration::from_millis(40);

struct Processes {
    created: Counters<1>,
    proc: PathBuf,
    walk: Walk,
    /// Whether the mount options at startup hide processes. A later remount is detected by the walk.
    hidden: bool,
    series: [Attributes; STATES],
    counts: Option<Counts>,
    seen_unknown: bool,
    health: Health,
    /// The CPU time that this thread has used.
    cpu_time: fn() -> Duration,
    /// Number of collections to skip before the next count.
    rest: u32,
    rest_logged: bool,
}

/// How many collections to skip after a count that took this much CPU time.
pub(super) fn rest_after(took: Duration) -> u32 {
    let collections = took.as_nanos().div_ceil(MOST_PER_COLLECTION.as_nanos()).max(1);
    u32::try_from(collections - 1).unwrap_or(u32::MAX)
}

/// The CPU time that this thread has used.
pub(super) fn thread_cpu_time() -> Duration {
    // The kernel's nanoseconds are below one second, and the clock starts at zero.
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The cause of hidden processes, and the fix.
pub(super) const HIDDEN: &str = "processes of other users are hidden; their count is left out, it would be too low. Give the agent \
     CAP_SYS_PTRACE, or the group of the mount option gid=, or mount without hidepid (systemd: ProtectProc=default)";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Uncounted,
    Good,
    Hidden,
    Failed,
}

impl Processes {
    fn new(context: &Context) -> Self {
        let naming = context.options.naming;
        let proc = context.host.proc("");
        Self {
            created: Counters::new(Rules::new(
                [counter::Kind::EVENTS.word(context.host.word_bits)],
                context.options.since,
            )),
            hidden: hidden::by_mount_options(&proc),
            proc,
            walk: Walk::new(),
            series: [RUNNING, SLEEPING, BLOCKED, IDLE, STOPPED, DEFUNCT, UNKNOWN]
                .map(|state| word(naming, &STATE, state)),
            counts: None,
            seen_unknown: false,
            health: Health::Uncounted,
            cpu_time: thread_cpu_time,
            rest: 0,
            rest_logged: false,
        }
    }

    /// Sets the number of collections to skip after a count that took this much CPU time.
    fn pace(&mut self, took: Duration) {
        self.rest = rest_after(took);
        if self.rest > 0 && !std::mem::replace(&mut self.rest_logged, true) {
            info!(
                "counting the processes takes {} ms of CPU time: they are counted about every {} collections; the other collections have no count",
                took.as_millis(),
                self.rest.saturating_add(1)
            );
        }
    }

    fn count(&mut self) -> Result<Counts, Errno> {
        if self.hidden { Err(Errno::ACCESS) } else { self.walk.count(&self.proc) }
    }

    fn note(&mut self, outcome: Result<Counts, Errno>, hidden: bool) {
        let proc = self.proc.display();
        let health = match outcome {
            Ok(_) => Health::Good,
            Err(_) if hidden => Health::Hidden,
            Err(_) => Health::Failed,
        };
        match (self.health, health, outcome) {
            (before, now, _) if before == now => {}
            (_, Health::Hidden, _) => info!("{proc}: {HIDDEN}"),
            (_, Health::Failed, Err(error)) => {
                let error = words(error);
                warn!("the processes in {proc} cannot be counted ({error}); their count is left out until they can");
            }
            (Health::Hidden | Health::Failed, Health::Good, _) => info!("the processes in {proc} can be counted again"),
            _ => {}
        }
        self.health = health;
    }
}

fn words(error: Errno) -> String {
    if error == Errno::SRCH { "it shows no process 1".to_owned() } else { error.to_string() }
}

/// Parses the count of forks. Searched from the end, because large hosts have long lines before it.
fn created(stat: &[u8]) -> Option<u64> {
    stat.rsplit(|&b| b == b'\n').find_map(|line| {
        let mut fields = fields(line.strip_prefix(b"processes")?);
        line.get(b"processes".len())?.is_ascii_whitespace().then(|| next_number(&mut fields))?
    })
}

impl Collector for Processes {
    fn read(&mut self, reader: &mut Reader) {
        let now = reader.now();
        if let Some(stat) = reader.stat() {
            self.created.read(&[created(stat)], now);
        }
        if self.rest > 0 {
            self.rest -= 1;
            self.counts = None;
            return;
        }
        let begun = (self.cpu_time)();
        let outcome = self.count();
        // The options may have changed by a remount since startup.
        let denied = matches!(outcome, Err(Errno::ACCESS | Errno::PERM | Errno::SRCH));
        let hidden = denied && (self.hidden || hidden::by_mount_options(&self.proc));
        // The baseline reading before the first collection is not sent, so it has no effect on skipping.
        if reader.cycle() > 0 {
            self.pace((self.cpu_time)().saturating_sub(begun));
        }
        self.note(outcome, hidden);
        match (self.health, outcome) {
            (Health::Failed, Err(error)) => {
                reader.fail();
                reader.note(&self.proc, true, words(error));
            }
            (Health::Hidden, _) => reader.note(&self.proc, false, HIDDEN),
            _ => {}
        }
        self.counts = outcome.ok();
        self.seen_unknown |= self.counts.is_some_and(|counts| counts.get(UNKNOWN_AT).is_some_and(|&n| n > 0));
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        match metric.id {
            "created" => {
                if let Some(total) = self.created.get(0) {
                    out.int(total, &[]);
                }
            }
            "count" => {
                let states = if self.seen_unknown { STATES } else { UNKNOWN_AT };
                for (attributes, count) in self.series.iter().zip(self.counts.iter().flatten()).take(states) {
                    out.int(*count, attributes);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
