//! The processes of `--top-processes` as a table like that of top(1): one line per process, the busiest first.

use std::collections::HashMap;

use super::human;
use super::series::{Series, Value, Values};
use crate::export::harmless;
use crate::metrics::naming::Kind;

/// The collector whose series are shown in this format.
pub(super) const COLLECTOR: &str = "process";

const HEAD: &str = "      PID  OWNER         %CPU      MEMORY  THREADS  EXECUTABLE, UNIT";

#[derive(Default)]
struct Process<'a> {
    /// Labels of the process; they are the same in all of its series.
    of: Option<&'a Series>,
    /// CPU usage since the previous collection, as a share of one CPU; `None` at the first.
    cpu: Option<f64>,
    memory: f64,
    threads: f64,
}

/// The lines of the table; none if no process is reported.
pub(super) fn lines(metrics: &[Values]) -> Vec<String> {
    let mut processes: HashMap<[&str; 2], Process<'_>> = HashMap::new();
    for values in metrics.iter().filter(|values| values.collector == COLLECTOR) {
        for series in &values.series {
            let key = ["process.pid", "process.creation.time"].map(|key| label(series, key).unwrap_or_default());
            let process = processes.entry(key).or_default();
            process.of = Some(series);
            match values.metric.id {
                "cpu" => process.cpu = series.rate.map(|rate| process.cpu.unwrap_or(0.0) + rate).or(process.cpu),
                "memory" => process.memory = series.value.as_f64(),
                "threads" => process.threads = series.value.as_f64(),
                _ => {}
            }
        }
    }
    let mut processes: Vec<_> = processes.into_iter().collect();
    let size = |process: &Process<'_>| (process.cpu.unwrap_or(0.0), process.memory);
    processes.sort_by(|(a_key, a), (b_key, b)| {
        let ((a_cpu, a_memory), (b_cpu, b_memory)) = (size(a), size(b));
        b_cpu.total_cmp(&a_cpu).then(b_memory.total_cmp(&a_memory)).then(a_key.cmp(b_key))
    });
    let head = (!processes.is_empty()).then(|| HEAD.to_owned());
    head.into_iter().chain(processes.iter().map(|([pid, _], process)| line(pid, process))).collect()
}

fn line(pid: &str, process: &Process<'_>) -> String {
    const OWNER: usize = 10;
    let text = |key: &str| harmless(process.of.and_then(|series| label(series, key)).unwrap_or_default());
    let owner: String = text("process.owner").chars().take(OWNER).collect();
    let cpu = process.cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{:.1}", cpu * 100.0));
    let memory = human::value(Value::Double(process.memory), "By", Kind::UpDownCounter);
    let (cgroup, command) = (text("process.linux.cgroup"), text("process.command_line"));
    let unit = cgroup.rsplit('/').next().unwrap_or_default();
    let name = if command.is_empty() { text("process.executable.name") } else { command };
    format!("{pid:>9}  {owner:<OWNER$}  {cpu:>6}  {memory:>10}  {:>7}  {name}  {unit}", process.threads)
        .trim_end()
        .to_owned()
}

fn label<'a>(series: &'a Series, key: &str) -> Option<&'a str> {
    series.labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}
