//! Prints the results as a table and records a run.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cases::Case;
use crate::slope::{exponent, slopes};

/// The cost of a case at each of its sizes.
pub struct Row {
    pub case: &'static Case,
    pub nanoseconds: Vec<f64>,
    pub instructions: Option<Vec<f64>>,
}

pub fn markdown(rows: &[Row]) -> String {
    let mut text = heading();
    table(&mut text, "Time, µs a cycle", " ns", rows, |row| Some(&row.nanoseconds), |ns| format!("{:.1}", ns / 1e3));
    if rows.iter().any(|row| row.instructions.is_some()) {
        let thousands = |count: f64| format!("{:.1}", count / 1e3);
        table(&mut text, "Instructions, thousands a cycle", "", rows, |row| row.instructions.as_ref(), thousands);
    } else {
        text += "Instructions were not counted: there is no valgrind.\n";
    }
    text
}

fn table(
    text: &mut String,
    title: &str,
    unit: &str,
    rows: &[Row],
    costs: impl Fn(&Row) -> Option<&Vec<f64>>,
    form: impl Fn(f64) -> String,
) {
    writeln!(text, "## {title}\n").unwrap();
    writeln!(text, "| what | at | costs | one more costs | grows as n^ |\n|---|---|---|---|---|").unwrap();
    for row in rows {
        let Some(costs) = costs(row) else { continue };
        let sizes = row.case.sizes;
        let join = |items: Vec<String>| items.join(" / ");
        let at = if sizes.len() > 1 { join(sizes.iter().map(ToString::to_string).collect()) } else { String::new() };
        let more = slopes(sizes, costs).iter().map(|slope| format!("{slope:.0}")).collect();
        let exponent = exponent(sizes, costs).map_or(String::new(), |exponent| format!("{exponent:.2}"));
        let name = row.case.name;
        let costs = join(costs.iter().map(|cost| form(*cost)).collect());
        if sizes.len() > 1 {
            writeln!(text, "| {name} | {at} {} | {costs} | {}{unit} | {exponent} |", row.case.unit, join(more))
                .unwrap();
        } else {
            writeln!(text, "| {name} | | {costs} | | |").unwrap();
        }
    }
    text.push('\n');
}

fn heading() -> String {
    let said = |command: &str, arguments: &[&str]| {
        let output = Command::new(command).args(arguments).output().ok();
        output.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "# Micro-benchmarks, {}\n\nCommit {}; {}; {cpus} × {}; Linux {}; load average {} at the end. How to repeat it: [benches/README.md](../../README.md).\n\n",
        said("date", &["-u", "+%F"]),
        said("git", &["describe", "--always", "--dirty", "--exclude=*"]),
        said("rustc", &["--version"]),
        model.trim_start_matches([' ', '\t', ':']),
        said("uname", &["-r"]),
        fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default(),
    )
}

/// Saves the table in benches/runs, in the directory named by `HEKA_BENCH_RUN`.
pub fn record(text: &str) {
    if let Some(name) = std::env::var_os("HEKA_BENCH_RUN") {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/runs").join(name);
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("micro.md"), text).unwrap();
    }
}
