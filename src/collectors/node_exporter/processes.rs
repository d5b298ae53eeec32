//! Processes and threads by state, as in node_exporter's processes collector, under the letters of `/proc/[pid]/stat`;
//! only with `--detail detailed`. This reads a file per thread. If a count exceeds the CPU time limit of the processes
//! collector, it is not repeated in every collection.

use std::collections::BTreeMap;

use tracing::warn;

use super::super::processes::{HIDDEN, hidden, rest_after, thread_cpu_time};
use super::super::{Collector, Context, Definition, Observer};
use crate::host::{Host, Reader, processes, read_small};
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, Metric, label, labels};
use crate::metrics::parse::number;

pub const DEFINITION: Definition =
    Definition { name: "processes", metrics: METRICS, new: |context| Box::new(Processes::new(context)) };

const STATE: Attribute = label("state");
const THREAD_STATE: Attribute = label("thread_state");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::node("threads", Gauge, Int, "node_processes_threads", &[],
        "Threads", "/proc/[pid]/stat, field 20").detailed(),
    Metric::node("max_threads", Gauge, Int, "node_processes_max_threads", &[],
        "Limit of threads", "/proc/sys/kernel/threads-max").detailed(),
    Metric::node("state", Gauge, Int, "node_processes_state", &[&STATE],
        "Processes in each state", "/proc/[pid]/stat, field 3").detailed(),
    Metric::node("threads_state", Gauge, Int, "node_processes_threads_state", &[&THREAD_STATE],
        "Threads in each state", "/proc/[pid]/task/[tid]/stat, field 3").detailed(),
    Metric::node("pids", Gauge, Int, "node_processes_pids", &[],
        "Processes", "/proc/[pid]").detailed(),
    Metric::node("max_processes", Gauge, Int, "node_processes_max_processes", &[],
        "Limit of process ids", "/proc/sys/kernel/pid_max").detailed(),
];

#[derive(Default)]
struct Counts {
    pids: u64,
    threads: u64,
    /// Number of processes by state letter.
    processes: BTreeMap<u8, u64>,
    thread_states: BTreeMap<u8, u64>,
}

struct Processes {
    host: Host,
    counts: Option<Counts>,
    /// Maximum number of threads and of process ids.
    limits: [Option<u64>; 2],
    failed: bool,
    /// Number of collections to skip before the next count.
    rest: u32,
}

impl Processes {
    fn new(context: &Context) -> Self {
        Self { host: context.host.clone(), counts: None, limits: [None; 2], failed: false, rest: 0 }
    }

    /// Counts all processes and their threads; `None` if some are hidden.
    fn count(&self) -> std::io::Result<Option<Counts>> {
        let proc = self.host.proc("");
        if hidden::by_mount_options(&proc) {
            return Ok(None);
        }
        let mut counts = Counts::default();
        let mut with_threads = Vec::new();
        let all = processes::each(&proc, &mut |pid, stat| {
            counts.pids += 1;
            counts.threads += u64::from(stat.threads);
            *counts.processes.entry(stat.state).or_default() += 1;
            if stat.threads > 1 {
                with_threads.push(pid);
            } else {
                *counts.thread_states.entry(stat.state).or_default() += 1;
            }
        })?;
        for pid in with_threads {
            // A process that has ended meanwhile has no threads.
            let _ = processes::each(&proc.join(pid.to_string()).join("task"), &mut |_, stat| {
                *counts.thread_states.entry(stat.state).or_default() += 1;
            });
        }
        if all { Ok(Some(counts)) } else { Err(std::io::Error::other("it shows no process 1")) }
    }
}

impl Collector for Processes {
    fn read(&mut self, reader: &mut Reader) {
        self.counts = None;
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        let begun = thread_cpu_time();
        let proc = self.host.proc("");
        let limit = |file: &str| number(&read_small(&proc.join("sys/kernel").join(file))?);
        self.limits = ["threads-max", "pid_max"].map(limit);
        match self.count() {
            Ok(counts) => {
                if counts.is_none() {
                    reader.note(proc, false, HIDDEN);
                }
                (self.counts, self.failed) = (counts, false);
            }
            Err(error) => {
                reader.fail();
                reader.note(&proc, true, error.to_string());
                if !std::mem::replace(&mut self.failed, true) {
                    warn!(
                        "the processes in {} cannot be counted ({error}); their count is left out until they can",
                        proc.display()
                    );
                }
            }
        }
        self.rest = rest_after(thread_cpu_time().saturating_sub(begun));
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let Some(counts) = &self.counts else { return };
        let [max_threads, max_processes] = self.limits;
        let (key, states) = match metric.id {
            "threads" => return out.int(counts.threads, &[]),
            "pids" => return out.int(counts.pids, &[]),
            "max_threads" => return max_threads.into_iter().for_each(|limit| out.int(limit, &[])),
            "max_processes" => return max_processes.into_iter().for_each(|limit| out.int(limit, &[])),
            "state" => ("state", &counts.processes),
            _ => ("thread_state", &counts.thread_states),
        };
        for (letter, count) in states {
            out.int(*count, &labels(&[(key, char::from(*letter).to_string())]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;

    fn stat(state: &str, threads: u32) -> String {
        format!("1 (a) {state} 1 77 77 0 -1 4194560 1 2 3 4 110 20 0 0 20 0 {threads} 0 4242 1048576 250\n")
    }

    #[test]
    fn processes_and_their_threads_are_counted_by_letter() {
        let host = TestHost::empty();
        host.write("proc/1/stat", stat("S", 1));
        host.write("proc/20/stat", stat("S", 3));
        for (thread, state) in [("20", "S"), ("21", "R"), ("22", "D")] {
            host.write(&format!("proc/20/task/{thread}/stat"), stat(state, 3));
        }
        host.write("proc/30/stat", stat("Z", 1));
        host.write("proc/sys/kernel/threads-max", "5000\n");
        host.write("proc/sys/kernel/pid_max", "32768\n");
        let mut processes = Processes::new(&host.context(Options::default()));
        assert_eq!(host.read(&mut processes), 0);
        for (id, expected) in [
            ("threads", &["5"][..]),
            ("max_threads", &["5000"]),
            ("pids", &["3"]),
            ("max_processes", &["32768"]),
            ("state", &["state=S 2", "state=Z 1"]),
            ("threads_state", &["thread_state=D 1", "thread_state=R 1", "thread_state=S 2", "thread_state=Z 1"]),
        ] {
            assert_eq!(series(&processes, METRICS, id), expected, "{id}");
        }
    }

    #[test]
    fn a_proc_without_its_first_process_is_a_failure_without_a_count() {
        let host = TestHost::empty();
        host.write("proc/20/stat", stat("S", 1));
        let mut processes = Processes::new(&host.context(Options::default()));
        assert_eq!(host.read(&mut processes), 1);
        assert!(series(&processes, METRICS, "pids").is_empty());
    }
}
