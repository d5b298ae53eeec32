//! `heka-insights-agent check`: reads every selected source, tests the endpoint and the outbox directory, and reports
//! what works, what is missing and how to fix it, as a table or as JSON.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use crate::agent::{self, readings, self_metrics};
use crate::collectors::{Context, Survey, unread};
use crate::config::{Command, Config, Exporter};
use crate::export::config::Protocol;
use crate::export::harmless;
use crate::export::probe::probe;
use crate::host::bounded::deadline;
use crate::host::{Host, Problem};
use crate::outbox::OutboxError;
use crate::outbox::config::OutboxConfig;
use crate::outbox::opening::{self, Usable};

/// The files of the packaged service.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    pub settings: &'a str,
    /// Its state directory. systemd passes it to the service in `STATE_DIRECTORY`.
    pub state: &'a str,
}

/// The service that the packages install.
pub const SERVICE: Service<'static> =
    Service { settings: "/etc/heka-insights-agent.env", state: "/var/lib/heka-insights-agent" };

#[derive(Debug)]
pub struct Report {
    surveys: Vec<Survey>,
    /// The collectors that are not read, and the option that each of them needs.
    unread: Vec<(&'static str, String)>,
    /// Number of series of the metrics about the agent.
    self_series: usize,
    endpoint: Endpoint,
    outbox: Outbox,
    hint: Option<String>,
}

#[derive(Debug)]
enum Endpoint {
    /// The exporter uses no endpoint.
    Unused,
    Ok(String),
    Failed(String),
}

#[derive(Debug)]
enum Outbox {
    /// The exporter uses no outbox.
    Unused,
    Memory,
    Directory(PathBuf, Result<Usable, OutboxError>),
}

/// The host and the options that the agent would use for its readings.
#[must_use]
pub fn context(config: &Config) -> Context {
    let mut host = Host::new(&config.roots);
    host.deadline = deadline(config.interval);
    Context { host, options: config.options.clone() }
}

/// Reads all sources and tests endpoint and outbox once. With `send`, a real collection is delivered.
///
/// # Errors
/// The runtime cannot be started.
pub fn check(config: &Config, send: bool) -> std::io::Result<Report> {
    let surveys = readings::from_child(|| context(config));
    let self_series = self_series(config, &surveys);
    let unread = unread(&config.options);
    if config.exporter != Exporter::Otlp {
        let (endpoint, outbox) = (Endpoint::Unused, Outbox::Unused);
        return Ok(Report { surveys, unread, self_series, endpoint, outbox, hint: None });
    }
    let endpoint = if send { collection(config) } else { empty_export(config)? };
    let outbox = match &config.outbox.dir {
        None => Outbox::Memory,
        Some(dir) => Outbox::Directory(dir.clone(), opening::probe(dir)),
    };
    Ok(Report { surveys, unread, self_series, endpoint, outbox, hint: None })
}

fn self_series(config: &Config, surveys: &[Survey]) -> usize {
    let scraped = config.exporter == Exporter::Prometheus;
    let detail = config.self_metrics.filter(|_| scraped || config.exporter == Exporter::Otlp);
    // Definitions that share a name share their series.
    let collectors: BTreeSet<&str> = surveys.iter().map(|survey| survey.collector).collect();
    detail.map_or(0, |detail| self_metrics::series(config.options.naming, detail, scraped, collectors.len()))
}

fn empty_export(config: &Config) -> std::io::Result<Endpoint> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(match runtime.block_on(probe(&config.otlp)) {
        Ok(answer) => {
            let (took, place) = (answer.took.as_secs_f64() * 1e3, transport(answer.protocol));
            let place = format!("{} over {place}", answer.endpoint);
            match answer.not_empty {
                None => {
                    let text = format!("{place}: an empty export was accepted in {took:.0} ms {}", answer.message);
                    Endpoint::Ok(text.trim_end().to_owned())
                }
                Some(why) => Endpoint::Ok(format!(
                    "{place}: reachable, does not take an empty export ({why}); check --send tries a collection"
                )),
            }
        }
        Err(error) => Endpoint::Failed(error.to_string()),
    })
}

/// Delivers one collection without an outbox directory, as `--once` does.
fn collection(config: &Config) -> Endpoint {
    let outbox = OutboxConfig { dir: None, ..config.outbox.clone() };
    let once = Config { command: Command::Once, outbox, ..config.clone() };
    let begun = Instant::now();
    let place = format!("{} over {}", config.otlp.shown_endpoint(), transport(config.otlp.protocol));
    match agent::run(&once, std::future::pending(), Box::new(SystemTime::now)) {
        Ok(()) => {
            Endpoint::Ok(format!("{place}: a collection was accepted in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3))
        }
        Err(error) => Endpoint::Failed(format!("{place}: {error}")),
    }
}

fn transport(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Grpc => "gRPC",
        Protocol::HttpProtobuf => "HTTP",
    }
}

impl Service<'_> {
    /// Whether its environment file exists and can be read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        std::fs::File::open(self.settings).is_ok()
    }

    /// The variable that systemd sets for the service, if its state directory exists.
    #[must_use]
    pub fn state_directory(&self) -> Option<(String, String)> {
        Path::new(self.state).is_dir().then(|| ("STATE_DIRECTORY".to_owned(), self.state.to_owned()))
    }

    /// Suggests its settings if they exist and the user has given no others.
    #[must_use]
    pub fn hint(&self, configured: bool) -> Option<String> {
        let file = self.settings;
        if configured || !Path::new(file).exists() {
            return None;
        }
        Some(match self.is_readable() {
            true => format!("this tested the service's settings: {file}"),
            false => {
                format!("the service's settings were not tested; run: sudo heka-insights-agent check --env-file {file}")
            }
        })
    }
}

fn failed(survey: &Survey) -> bool {
    survey.panicked || survey.problems.iter().any(|problem| problem.failed)
}

fn state(survey: &Survey) -> &'static str {
    match (failed(survey), survey.series, survey.problems.iter().all(is_well)) {
        (true, ..) => "failed",
        (false, 0, _) => "no data",
        (false, _, true) => "ok",
        (false, _, false) => "partial",
    }
}

fn is_well(problem: &Problem) -> bool {
    problem.is_normal() || problem.is_remark()
}

/// Formats a problem as one line; the path may contain any bytes.
fn note(problem: &Problem) -> String {
    harmless(&words(problem))
}

fn words(problem: &Problem) -> String {
    let (path, words) = (problem.path.display(), &problem.words);
    match problem.failed {
        _ if problem.is_remark() => words.clone(),
        true => format!("{path} cannot be read: {words}"),
        // The directory exists; something in it is missing.
        false if problem.path.is_dir() => format!("{path}: {words}"),
        false => format!("{path} is not there: {words}"),
    }
}

/// A row of the table, without blanks at its end.
fn row(name: &str, state: &str, series: usize, time: &str, note: &str) -> String {
    format!("{name:<12} {state:<12} {series:>7} {time:>10}  {note}").trim_end().to_owned()
}

fn notes(survey: &Survey) -> Vec<String> {
    let fault = survey.panicked.then(|| "internal error in this collector; please report it".to_owned());
    fault.into_iter().chain(survey.problems.iter().filter(|problem| !problem.is_normal()).map(note)).collect()
}

impl Endpoint {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Unused => ("unused", "not used by this exporter"),
            Self::Ok(text) => ("ok", text),
            Self::Failed(text) => ("failed", text),
        }
    }
}

impl Outbox {
    fn parts(&self) -> (&'static str, String) {
        match self {
            Self::Unused => ("unused", "not used by this exporter".to_owned()),
            Self::Memory => {
                ("in memory", "undelivered batches are lost when the agent ends; --outbox-dir keeps them".to_owned())
            }
            Self::Directory(dir, Ok(Usable { in_use, batches })) => {
                let state = match in_use {
                    // Usually the agent is running on a host that is being checked.
                    true => "is in use by a running agent; another agent needs its own directory",
                    false => "can be written",
                };
                let waiting =
                    if *batches == 1 { "1 batch waits".to_owned() } else { format!("{batches} batches wait") };
                ("ok", format!("{} {state}; {waiting}", dir.display()))
            }
            Self::Directory(_, Err(error)) => ("failed", error.to_string()),
        }
    }
}

impl Report {
    #[must_use]
    pub fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Whether nothing failed. A source that this kernel lacks is not a failure.
    #[must_use]
    pub fn well(&self) -> bool {
        let parts = [self.endpoint.parts().0, self.outbox.parts().0];
        !self.surveys.iter().any(failed) && !parts.contains(&"failed")
    }

    /// Number of series that a collection sends.
    fn series(&self) -> usize {
        self.surveys.iter().map(|survey| survey.series).sum::<usize>() + self.self_series
    }

    /// Optional sources that this host lacks.
    fn absent(&self) -> Vec<String> {
        let problems = self.surveys.iter().flat_map(|survey| &survey.problems);
        let absent = problems.filter(|problem| problem.is_normal());
        let mut paths: Vec<String> = absent.map(|problem| problem.path.display().to_string()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{:<12} {:<12} {:>7} {:>10}  NOTES\n", "COLLECTOR", "STATE", "SERIES", "TIME");
        for survey in &self.surveys {
            let mut notes = notes(survey).into_iter();
            let time = format!("{:.2} ms", survey.took.as_secs_f64() * 1e3);
            let (name, series, first) = (survey.collector, survey.series, notes.next().unwrap_or_default());
            let _ = writeln!(text, "{}", row(name, state(survey), series, &time, &first));
            for note in notes {
                let _ = writeln!(text, "{:45}{note}", "");
            }
        }
        for (name, needed) in &self.unread {
            let _ = writeln!(text, "{}", row(name, "off", 0, "", &format!("needs {needed}")));
        }
        for (name, series) in [("self-metrics", self.self_series), ("all", self.series())] {
            let _ = writeln!(text, "{}", row(name, "", series, "", ""));
        }
        text.push('\n');
        let absent = self.absent();
        if !absent.is_empty() {
            let _ = writeln!(text, "ABSENT       normal       {}", absent.join(", "));
        }
        let ((endpoint, message), (outbox, place)) = (self.endpoint.parts(), self.outbox.parts());
        let _ = writeln!(text, "ENDPOINT     {endpoint:<12} {message}");
        let _ = writeln!(text, "OUTBOX       {outbox:<12} {place}");
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "\nHINT         {hint}");
        }
        text
    }

    /// The report as one JSON object in one line.
    #[must_use]
    pub fn json(&self) -> String {
        let collectors: Vec<Value> = self
            .surveys
            .iter()
            .map(|survey| {
                json!({
                    "name": survey.collector,
                    "state": state(survey),
                    "series": survey.series,
                    "milliseconds": survey.took.as_secs_f64() * 1e3,
                    "notes": notes(survey),
                })
            })
            .chain(self.unread.iter().map(|(name, needed)| {
                json!({"name": name, "state": "off", "series": 0, "notes": [format!("needs {needed}")]})
            }))
            .collect();
        let ((endpoint, message), (outbox, place)) = (self.endpoint.parts(), self.outbox.parts());
        let object = json!({
            "ok": self.well(),
            "series": self.series(),
            "collectors": collectors,
            "self_metrics": self.self_series,
            "absent": self.absent(),
            "endpoint": {"state": endpoint, "message": message},
            "outbox": {"state": outbox, "message": place},
            "hint": self.hint,
        });
        format!("{object}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Problem;
    use crate::outbox::opening::Fault;
    use std::time::Duration;

    fn found(series: usize, problems: Vec<Problem>) -> Survey {
        Survey { collector: "cpu", series, took: Duration::from_micros(250), problems, panicked: false }
    }

    fn problem(failed: bool) -> Problem {
        Problem { path: "/proc/stat".into(), failed, words: "permission denied".to_owned() }
    }

    fn report(survey: Survey) -> Report {
        let (unread, endpoint, outbox) = (Vec::new(), Endpoint::Unused, Outbox::Unused);
        Report { surveys: vec![survey], unread, self_series: 0, endpoint, outbox, hint: None }
    }

    #[test]
    fn a_missing_file_is_noted_and_is_no_failure() {
        let report = report(found(3, vec![problem(false)]));
        let text = report.text();
        assert!(report.well());
        assert!(text.contains("partial") && text.contains("/proc/stat is not there: permission denied"), "{text}");
    }

    #[test]
    fn absences_that_are_normal_are_one_line_and_no_note() {
        let absent = |path: &str| Problem { path: path.into(), failed: false, words: String::new() };
        let surveys = vec![found(3, vec![absent("/sys/class/hwmon")]), found(0, vec![absent("/proc/1/net/snmp6")])];
        let report = Report { surveys, ..report(found(0, Vec::new())) };
        let text = report.text();
        assert!(report.well());
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("/sys") || line.contains("snmp6")).collect();
        assert_eq!(lines, ["ABSENT       normal       /proc/1/net/snmp6, /sys/class/hwmon"]);
        assert!(!text.contains("partial"), "{text}");
    }

    #[test]
    fn a_collector_that_is_not_read_has_a_row_with_the_option_that_it_needs() {
        let unread = vec![("containers", "--detail detailed".to_owned())];
        let report = Report { unread, ..report(found(3, Vec::new())) };
        let row = "containers   off                0             needs --detail detailed\n";
        assert!(report.well() && report.text().contains(row), "{}", report.text());
        let object: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((object["collectors"][1]["state"].as_str(), object["series"].as_u64()), (Some("off"), Some(3)));
    }

    #[test]
    fn a_directory_that_exists_is_not_reported_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        let problem = Problem { path: dir.path().into(), failed: false, words: "some are hidden".to_owned() };
        let text = report(found(1, vec![problem])).text();
        assert!(text.contains(": some are hidden") && !text.contains("is not there"), "{text}");
    }

    #[test]
    fn an_outbox_in_memory_or_in_use_is_no_failure_and_one_that_cannot_be_created_is() {
        let dir = PathBuf::from("/var/lib/agent/outbox");
        let usable = |in_use, batches| Outbox::Directory(dir.clone(), Ok(Usable { in_use, batches }));
        for (outbox, words) in [
            (Outbox::Memory, "in memory"),
            (usable(false, 1), "outbox can be written; 1 batch waits"),
            (
                usable(true, 12),
                "outbox is in use by a running agent; another agent needs its own directory; 12 batches wait",
            ),
        ] {
            let report = Report { outbox, ..report(found(1, Vec::new())) };
            assert!(report.well() && report.text().contains(words), "{}", report.text());
        }
        let fault = Fault::NotCreated(std::io::ErrorKind::NotFound.into());
        let outbox = Outbox::Directory(dir.clone(), Err(OutboxError::Directory { dir, fault }));
        assert!(!Report { outbox, ..report(found(1, Vec::new())) }.well());
    }

    #[test]
    fn a_file_that_fails_and_an_endpoint_that_fails_are_failures() {
        assert!(!report(found(3, vec![problem(true)])).well());
        let endpoint = Endpoint::Failed("http://localhost:4317: connection refused".to_owned());
        let report = Report { endpoint, ..report(found(3, Vec::new())) };
        assert!(!report.well());
        assert!(report.text().contains("http://localhost:4317: connection refused"));
    }

    #[test]
    fn json_has_the_state_of_everything_and_the_number_of_series() {
        let report = report(found(3, vec![problem(true)]));
        let object: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((object["ok"].as_bool(), object["series"].as_u64()), (Some(false), Some(3)));
        assert_eq!(object["collectors"][0]["name"], "cpu");
        assert_eq!(object["collectors"][0]["state"], "failed");
        assert_eq!(object["endpoint"]["state"], "unused");
    }

    #[test]
    fn the_services_settings_are_named_if_the_host_has_them_and_nothing_was_configured() {
        let hint = |configured, settings: &Path| {
            Service { settings: settings.to_str().unwrap(), state: "/no/such/directory" }.hint(configured)
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(hint(false, file.path()).unwrap().contains("this tested"));
        // A file that exists but cannot be opened, not even by root.
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed");
        let _socket = std::os::unix::net::UnixListener::bind(&closed).unwrap();
        assert!(hint(false, &closed).unwrap().contains("--env-file"));
        assert_eq!(hint(true, file.path()), None);
        assert_eq!(hint(false, Path::new("/no/such/file")), None);
    }
}
