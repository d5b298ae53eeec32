//! Table output: one group per collector, one row per metric and device, one column per fixed attribute value (a mode,
//! a state, a direction).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::time::Duration;

use super::human;
use super::series::{Collection, Series, Values};
use super::top;
use super::view::View;
use crate::export::harmless;

/// Maximum number of attribute values shown as columns; more are shown as rows.
const MOST_COLUMNS: usize = 4;
const INDENT: &str = "  ";

/// Rows with the same columns.
struct Grid {
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// Formats the collection as lines that fit the view. `interval` is the time until the next collection.
#[must_use]
pub fn render(collection: &Collection, view: View, interval: Option<Duration>) -> Vec<String> {
    let time = humantime::format_rfc3339_seconds(collection.time);
    let host = collection.host.as_deref().map_or_else(|| "this host".to_owned(), harmless);
    let elapsed = match (collection.elapsed, interval) {
        (Some(seconds), _) => format!("{seconds:.1} s since the last reading"),
        (None, Some(interval)) => {
            format!("first reading; rates come with the next one, in {}", humantime::format_duration(interval))
        }
        (None, None) => "one reading; no rates".to_owned(),
    };
    let mut lines = vec![format!("{host}  {time}"), elapsed];
    let mut collector = "";
    for (name, grid) in grids(&collection.metrics, view) {
        if name != collector {
            collector = name;
            lines.extend([String::new(), name.to_uppercase()]);
        }
        render_grid(&mut lines, grid, view.width);
    }
    let processes = top::lines(&collection.metrics);
    if !processes.is_empty() {
        lines.extend([String::new(), top::COLLECTOR.to_uppercase()]);
        lines.extend(processes);
    }
    lines.into_iter().map(|line| clip(&line, view.width)).collect()
}

fn clip(line: &str, width: usize) -> String {
    match line.char_indices().nth(width) {
        None => line.to_owned(),
        Some(_) => line.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn grids(metrics: &[Values], view: View) -> Vec<(&'static str, Grid)> {
    let utilized: HashSet<&str> =
        metrics.iter().filter(|values| is_share(values)).map(|values| values.collector).collect();
    let idle = idle(metrics);
    let mut grids: Vec<(&'static str, Grid)> = Vec::new();
    for values in metrics.iter().filter(|values| values.collector != top::COLLECTOR) {
        let columns = columns(values);
        let rows = rows(values, &columns, &idle, utilized.contains(values.collector), view.full_names);
        if rows.is_empty() {
            continue;
        }
        match grids.last_mut() {
            Some((name, grid)) if *name == values.collector && grid.columns == columns => grid.rows.extend(rows),
            _ => grids.push((values.collector, Grid { columns, rows })),
        }
    }
    grids
}

/// Whether this is CPU utilization. If it is shown, the rate of CPU time would show the same percentage again.
fn is_share(values: &Values) -> bool {
    values.collector == "cpu" && values.metric.id == "cpu.utilization" && !values.series.is_empty()
}

/// The interfaces that never had traffic. Not those without traffic since the previous collection: rows that come and go
/// move everything below them.
fn idle(metrics: &[Values]) -> HashSet<String> {
    let mut busy: HashMap<String, bool> = HashMap::new();
    for series in metrics.iter().filter(|values| values.collector == "network").flat_map(|values| &values.series) {
        if let Some((_, interface)) = series.labels.first() {
            *busy.entry(interface.clone()).or_default() |= series.value.as_f64() > 0.0;
        }
    }
    busy.into_iter().filter(|(_, busy)| !busy).map(|(interface, _)| interface).collect()
}

/// The column headings of a metric: its attribute values in the order of their sets, or one empty heading.
fn columns(values: &Values) -> Vec<String> {
    let words: BTreeMap<&Vec<usize>, String> =
        values.series.iter().map(|series| (&series.order, column(series))).collect();
    words.into_values().collect()
}

fn column(series: &Series) -> String {
    series.words.iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>().join(" ")
}

fn device(series: &Series) -> String {
    let mut names: Vec<String> = series.labels.iter().map(|(_, name)| harmless(name)).collect();
    names.dedup(); // an interface and its device
    names.join(" ")
}

fn rows(
    values: &Values,
    columns: &[String],
    idle: &HashSet<String>,
    has_share: bool,
    full_names: bool,
) -> Vec<(String, Vec<String>)> {
    let short = values.name.strip_prefix("system.").unwrap_or(&values.name);
    let name = if full_names { &values.name } else { short };
    let shown = |series: &&Series| {
        values.collector != "network" || !series.labels.first().is_some_and(|(_, name)| idle.contains(name))
    };
    // The total over all devices is shown below them. With one device, it would repeat the same number.
    let (parts, whole): (Vec<&Series>, Vec<&Series>) =
        values.series.iter().filter(shown).partition(|series| !series.labels.is_empty());
    let devices: HashSet<String> = parts.iter().map(|series| device(series)).collect();
    let whole = if devices.len() == 1 { Vec::new() } else { whole };
    let with_rate = !(has_share && values.metric.id == "cpu.time");
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for series in parts.into_iter().chain(whole) {
        let label = match (devices.is_empty(), series.labels.is_empty()) {
            (true, _) => name.to_owned(),
            (false, true) => format!("{name}  total"),
            (false, false) => format!("{name}  {}", device(series)),
        };
        if rows.last().is_none_or(|(last, _)| *last != label) {
            rows.push((label, vec![String::new(); columns.len()]));
        }
        let place = columns.iter().position(|name| *name == column(series));
        if let Some(cell) = rows.last_mut().zip(place).and_then(|((_, cells), place)| cells.get_mut(place)) {
            *cell = human::value(series.value, values.unit, values.metric.kind);
            if let Some(rate) = series.rate.filter(|_| with_rate) {
                let _ = write!(cell, "  {:>9}", human::rate(rate, values.unit));
            }
        }
    }
    rows
}

fn render_grid(lines: &mut Vec<String>, grid: Grid, width: usize) {
    let grid = if grid.columns.len() > MOST_COLUMNS { transposed(grid) } else { grid };
    let plain = lay_out(&grid, usize::MAX);
    // Too wide: print one line per value.
    let fits = plain.iter().all(|line| line.chars().count() <= width);
    lines.extend(if fits { plain } else { lay_out(&list(grid), width) });
}

/// Shortens a label in the middle: it begins with the metric and ends with what tells it from its neighbours.
fn shortened(label: &str, most: usize) -> String {
    let count = label.chars().count();
    if count <= most {
        return label.to_owned();
    }
    let end = most.saturating_sub(1) / 2;
    let start = most.saturating_sub(1 + end);
    label.chars().take(start).chain(['…']).chain(label.chars().skip(count - end)).collect()
}

/// Swaps rows and columns.
fn transposed(grid: Grid) -> Grid {
    let cell =
        |place: usize| grid.rows.iter().map(|(_, cells)| cells.get(place).cloned().unwrap_or_default()).collect();
    let rows = grid.columns.iter().enumerate().map(|(place, word)| (word.clone(), cell(place))).collect();
    Grid { columns: grid.rows.iter().map(|(label, _)| label.clone()).collect(), rows }
}

fn list(grid: Grid) -> Grid {
    let Grid { columns, rows } = grid;
    let one = |(label, cells): (String, Vec<String>)| {
        let columns = columns.clone();
        let filled = cells.into_iter().zip(columns).filter(|(cell, _)| !cell.is_empty());
        filled
            .map(move |(cell, column)| (format!("{label}  {column}").trim_end().to_owned(), vec![cell]))
            .collect::<Vec<_>>()
    };
    Grid { columns: vec![String::new()], rows: rows.into_iter().flat_map(one).collect() }
}

/// The lines of a grid. Labels are shortened to what the values leave of `most` columns.
fn lay_out(grid: &Grid, most: usize) -> Vec<String> {
    const LEAST_LABEL: usize = 24;
    const GAP: usize = 2;
    let count = |text: &String| text.chars().count();
    let width = |place: usize| {
        let cells = grid.rows.iter().filter_map(|(_, cells)| cells.get(place)).map(count);
        cells.chain(grid.columns.get(place).map(count)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..grid.columns.len()).map(width).collect();
    let room = most.saturating_sub(INDENT.len() + widths.iter().map(|width| width + GAP).sum::<usize>());
    let longest = grid.rows.iter().map(|(label, _)| count(label)).max().unwrap_or(0).max(LEAST_LABEL);
    let label_width = longest.min(room.max(LEAST_LABEL));
    let line = |label: &str, cells: &[String]| {
        let mut out = format!("{INDENT}{:label_width$}", shortened(label, label_width));
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(out, "  {cell:>width$}");
        }
        out.trim_end().to_owned()
    };
    let heading = grid.columns.iter().any(|column| !column.is_empty()).then(|| line("", &grid.columns));
    heading.into_iter().chain(grid.rows.iter().map(|(label, cells)| line(label, cells))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::COLLECTORS;
    use crate::export::console::series::Value;
    use crate::metrics::naming::Naming;

    const VIEW: View = View { width: 80, height: None, full_names: false };

    fn values(collector: &'static str, id: &str, series: Vec<Series>) -> Values {
        let definition = COLLECTORS.iter().find(|definition| definition.name == collector).unwrap();
        let metric = definition.metrics.iter().find(|metric| metric.id == id).unwrap();
        let shape = metric.shape(Naming::Semconv).unwrap();
        Values { collector, metric, name: shape.name.into(), unit: shape.unit, series }
    }

    fn series(label: &str, word: &str, order: usize, rate: Option<f64>) -> Series {
        let labels = (!label.is_empty()).then(|| ("device".to_owned(), label.to_owned()));
        Series {
            labels: labels.into_iter().collect(),
            words: vec![("word".to_owned(), word.to_owned())],
            order: vec![order],
            value: Value::Double(0.25),
            rate,
        }
    }

    fn text(metrics: Vec<Values>) -> String {
        let time = std::time::SystemTime::UNIX_EPOCH;
        let collection = Collection { time, elapsed: Some(10.0), host: Some("h\u{1b}[2J".to_owned()), metrics };
        render(&collection, VIEW, None).join("\n")
    }

    #[test]
    fn a_cpu_mode_has_one_percentage() {
        let modes = |rate| {
            ["user", "nice", "system", "idle", "iowait"]
                .iter()
                .enumerate()
                .map(|(order, mode)| series("", mode, order, rate))
                .collect()
        };
        let text =
            text(vec![values("cpu", "cpu.time", modes(Some(1.8))), values("cpu", "cpu.utilization", modes(None))]);
        let user = text.lines().find(|line| line.contains("user")).unwrap();
        assert_eq!(user.matches('%').count(), 1, "{text}");
    }

    #[test]
    fn one_disk_has_no_total_and_two_have_one() {
        let both = |devices: &[&str]| {
            text(vec![values("disk", "io", devices.iter().map(|device| series(device, "read", 0, None)).collect())])
        };
        assert!(!both(&["vda", ""]).contains("total"));
        assert!(both(&["vda", "vdb", ""]).contains("disk.io  total"));
    }

    #[test]
    fn interfaces_without_traffic_are_left_out() {
        let series =
            |name: &str, value| Series { value: Value::Double(value), ..series(name, "receive", 0, Some(0.0)) };
        let text = text(vec![values("network", "io", vec![series("docker0", 0.0), series("eth0", 5.0)])]);
        assert!(text.contains("eth0") && !text.contains("docker0"), "{text}");
    }

    #[test]
    fn processes_are_a_table_with_the_busiest_first() {
        let one = |pid: u32, mode: &str, value: Value, rate: Option<f64>| {
            let mut series = series("", mode, 0, rate);
            let of = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            series.labels = vec![
                of("process.creation.time", "2026-01-01T00:00:00Z"),
                of("process.executable.name", if pid == 50 { "busy" } else { "data\u{1b}base" }),
                of("process.linux.cgroup", "/system.slice/data.service"),
                of("process.owner", "a-user-with-a-long-name"),
                of("process.pid", &pid.to_string()),
            ];
            series.value = value;
            series
        };
        let (bytes, threads) = (|count: i64| Value::Int(count << 20), Value::Int);
        let table = |rate: fn(f64) -> Option<f64>| {
            let cpu = [(50, "user", 0.5), (50, "system", 0.25), (60, "user", 0.02)];
            let cpu = cpu.map(|(pid, mode, share)| one(pid, mode, Value::Double(9.0), rate(share)));
            text(vec![
                values("process", "cpu", cpu.into()),
                values("process", "memory", vec![one(50, "", bytes(3), None), one(60, "", bytes(700), None)]),
                values("process", "threads", vec![one(50, "", threads(1), None), one(60, "", threads(12), None)]),
            ])
        };
        let expected = [
            "PROCESS",
            "      PID  OWNER         %CPU      MEMORY  THREADS  EXECUTABLE, UNIT",
            "       50  a-user-wit    75.0     3.0 MiB        1  busy  data.service",
            "       60  a-user-wit     2.0   700.0 MiB       12  data\u{fffd}base  data.service",
        ];
        assert_eq!(table(Some).lines().skip(3).collect::<Vec<_>>(), expected);
        // Without rates, sorted by memory.
        let first = table(|_| None);
        assert!(first.lines().nth(5).unwrap().starts_with("       60  a-user-wit       -   700.0 MiB"), "{first}");
        assert!(first.lines().all(|line| line.chars().count() <= VIEW.width));
    }

    #[test]
    fn names_of_the_host_cannot_steer_the_terminal() {
        let text = text(vec![values("disk", "io", vec![series("v\u{1b}[31mda\u{7}", "read", 0, None)])]);
        assert!(!text.contains(['\u{1b}', '\u{7}']) && text.contains("[31mda"), "{text:?}");
    }
}
