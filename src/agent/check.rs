//! `heka-insights-agent check`: reads every selected source once, tries the endpoint and the outbox's directory, and says
//! in one table what works, what is missing and what to do.

use std::fmt::Write;
use std::path::Path;

use crate::agent::readings;
use crate::collectors::{Context, Survey};
use crate::config::{Config, Exporter};
use crate::export::config::Protocol;
use crate::export::probe::{ProbeError, ProbeOk, probe};
use crate::host::bounded::deadline;
use crate::host::{Host, Problem};
use crate::outbox::{OpenError, OpenFault, recovery};

/// What a check found.
#[derive(Debug)]
pub struct Report {
    /// The table.
    pub text: String,
    /// Whether nothing failed. What this kernel only lacks is no failure.
    pub well: bool,
}

/// What `check` reads, as the agent would read it.
#[must_use]
pub fn context(config: &Config) -> Context {
    let mut host = Host::new(&config.roots);
    host.deadline = deadline(config.interval);
    Context { host, options: config.options.clone() }
}

/// Reads and tries everything once.
///
/// # Errors
/// When no runtime can be started.
pub fn check(config: &Config) -> std::io::Result<Report> {
    let surveys = readings::from_child(|| context(config));
    let endpoint = match config.exporter {
        Exporter::Otlp => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Some(runtime.block_on(probe(&config.otlp)))
        }
        _ => None,
    };
    let mut report = report(&surveys, endpoint.as_ref());
    if config.exporter == Exporter::Otlp {
        let dir = config.outbox.dir.as_deref();
        report.outbox(dir, dir.map(recovery::probe));
    }
    Ok(report)
}

impl Report {
    /// Adds the line on the outbox, which may have a directory.
    fn outbox(&mut self, dir: Option<&Path>, outcome: Option<Result<(), OpenError>>) {
        let place = dir.map(|dir| dir.display().to_string()).unwrap_or_default();
        let _ = match outcome {
            None => {
                let told = "what waits is lost when the agent ends; --outbox-dir keeps it";
                writeln!(self.text, "OUTBOX       in memory    {told}")
            }
            Some(Ok(())) => writeln!(self.text, "OUTBOX       ok           {place} can be written"),
            // Most of those who ask have an agent that runs.
            Some(Err(OpenError { fault: OpenFault::InUse, .. })) => {
                let told = "an agent that runs; another one needs a directory of its own";
                writeln!(self.text, "OUTBOX       ok           {place} is in use by {told}")
            }
            Some(Err(error)) => {
                self.well = false;
                writeln!(self.text, "OUTBOX       failed       {error}")
            }
        };
    }
}

fn report(surveys: &[Survey], endpoint: Option<&Result<ProbeOk, ProbeError>>) -> Report {
    let mut text = String::new();
    let mut well = true;
    let mut absences = Vec::new();
    let _ = writeln!(text, "{:<12} {:<12} {:>7} {:>10}  NOTES", "COLLECTOR", "STATE", "SERIES", "TIME");
    for survey in surveys {
        let failed = survey.panicked || survey.problems.iter().any(|problem| problem.failed);
        well &= !failed;
        let (absent, told): (Vec<&Problem>, Vec<&Problem>) =
            survey.problems.iter().partition(|problem| problem.is_normal());
        let state = match (failed, survey.series, told.is_empty()) {
            (true, ..) => "failed",
            (false, 0, _) => "nothing here",
            (false, _, true) => "ok",
            (false, _, false) => "ok, partly",
        };
        absences.extend(absent.iter().map(|problem| problem.path.display().to_string()));
        let mut notes = told.into_iter().map(|problem| {
            let path = problem.path.display();
            match problem.failed {
                true => format!("{path} cannot be read: {}", problem.words),
                // What is missing of a directory is something in it.
                false if problem.path.is_dir() => format!("{path}: {}", problem.words),
                false => format!("{path} is not there: {}", problem.words),
            }
        });
        let fault = survey.panicked.then(|| "its collector has a fault; please report it".to_owned());
        let first = fault.or_else(|| notes.next()).unwrap_or_default();
        let time = format!("{:.2} ms", survey.took.as_secs_f64() * 1e3);
        let line = format!("{:<12} {state:<12} {:>7} {time:>10}  {first}", survey.collector, survey.series);
        let _ = writeln!(text, "{}", line.trim_end());
        for note in notes {
            let _ = writeln!(text, "{:45}{note}", "");
        }
    }
    let series: usize = surveys.iter().map(|survey| survey.series).sum();
    let _ = writeln!(text, "{:<12} {:<12} {series:>7}", "all", "");
    if !absences.is_empty() {
        absences.sort_unstable();
        absences.dedup();
        let _ = writeln!(text, "\nABSENT       normal       {}", absences.join(", "));
    }
    match endpoint {
        None => text.push_str("\nENDPOINT     not used by this exporter\n"),
        Some(Ok(answer)) => {
            let over = match answer.protocol {
                Protocol::Grpc => "gRPC",
                Protocol::HttpProtobuf => "HTTP",
            };
            let took = answer.took.as_secs_f64() * 1e3;
            let _ = writeln!(
                text,
                "\nENDPOINT     ok           {} over {over}: an empty export was taken in {took:.0} ms {}",
                answer.endpoint, answer.message
            );
        }
        Some(Err(error)) => {
            well = false;
            let _ = writeln!(text, "\nENDPOINT     failed       {error}");
        }
    }
    Report { text, well }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn found(series: usize, problems: Vec<Problem>) -> Survey {
        Survey { collector: "cpu", series, took: Duration::from_micros(250), problems, panicked: false }
    }

    fn problem(failed: bool) -> Problem {
        Problem { path: "/proc/stat".into(), failed, words: "permission denied".to_owned() }
    }

    #[test]
    fn a_missing_file_is_told_and_is_no_failure() {
        let report = report(&[found(3, vec![problem(false)])], None);
        assert!(report.well);
        assert!(
            report.text.contains("ok, partly") && report.text.contains("/proc/stat is not there: permission denied"),
            "{}",
            report.text
        );
    }

    #[test]
    fn absences_that_are_normal_are_one_line_and_no_note() {
        let absent = |path: &str| Problem { path: path.into(), failed: false, words: String::new() };
        let surveys = [found(3, vec![absent("/sys/class/hwmon")]), found(0, vec![absent("/proc/1/net/snmp6")])];
        let report = report(&surveys, None);
        assert!(report.well);
        let lines: Vec<&str> =
            report.text.lines().filter(|line| line.contains("/sys") || line.contains("snmp6")).collect();
        assert_eq!(lines, ["ABSENT       normal       /proc/1/net/snmp6, /sys/class/hwmon"]);
        assert!(!report.text.contains("partly"), "{}", report.text);
    }

    #[test]
    fn a_directory_that_is_there_is_not_said_to_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let problem = Problem { path: dir.path().into(), failed: false, words: "some are hidden".to_owned() };
        let report = report(&[found(1, vec![problem])], None);
        assert!(report.text.contains(": some are hidden") && !report.text.contains("is not there"), "{}", report.text);
    }

    #[test]
    fn an_outbox_in_memory_or_of_an_agent_that_runs_is_no_failure_and_one_that_cannot_be_made_is() {
        let dir = Path::new("/var/lib/agent/outbox");
        let mut report = Report { text: String::new(), well: true };
        report.outbox(None, None);
        report.outbox(Some(dir), Some(Ok(())));
        report.outbox(Some(dir), Some(Err(OpenError { dir: dir.into(), fault: OpenFault::InUse })));
        assert!(report.well);
        let words = ["in memory", "outbox can be written", "outbox is in use by an agent that runs"];
        for (line, words) in report.text.lines().zip(words) {
            assert!(line.starts_with("OUTBOX ") && line.contains(words), "{line}");
        }
        assert_eq!(report.text.lines().count(), 3);
        let fault = OpenFault::NotCreated(std::io::ErrorKind::NotFound.into());
        report.outbox(Some(dir), Some(Err(OpenError { dir: dir.into(), fault })));
        assert!(!report.well, "{}", report.text);
    }

    #[test]
    fn a_file_that_fails_and_an_endpoint_that_fails_are_failures() {
        assert!(!report(&[found(3, vec![problem(true)])], None).well);
        let error =
            ProbeError::Server { endpoint: "http://localhost:4317".to_owned(), words: "connection refused".to_owned() };
        let report = report(&[found(3, Vec::new())], Some(&Err(error)));
        assert!(!report.well);
        assert!(report.text.contains("http://localhost:4317: connection refused"));
    }
}
