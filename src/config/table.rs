//! The table of all settings: flag, variables, default, allowed values, help and parser. The command line, `--help`,
//! the man page, the completions, docs/configuration.md and the value lookup are generated from it.

use std::path::PathBuf;
use std::time::Duration;

use regex_lite::Regex;

use crate::collectors::process::MOST_PROCESSES;
use crate::collectors::{self, DiskScope};
use crate::config::found::{Found, Parsed};
use crate::config::setting::{AnySetting, Setting, Variable, Word};
use crate::config::{Exporter, LogFormat, parse};
use crate::export::config::{Protocol, Temporality};
use crate::export::console::Format;
use crate::export::prometheus::Listen;
use crate::metrics::counter::Since;
use crate::metrics::naming::{Detail, Naming};

const GENERAL: &str = "General";
const SENDING: &str = "Sending over OTLP";
const OUTBOX: &str = "Outbox for undelivered batches";
const COLLECTION: &str = "Collection";
const RESOURCE: &str = "Host and resource";
const LOG: &str = "Log";
const CHECK: &str = "Only with the command check";

/// All settings, in the order of the help text. To add one, add a constant below and an entry here.
#[rustfmt::skip] // one line each
pub static SETTINGS: &[&dyn AnySetting] = &[
    &EXPORTER, &SDK_DISABLED, &LISTEN, &PROMETHEUS_HOST, &PROMETHEUS_PORT, &CONSOLE_FORMAT, &INTERVAL, &ONCE, &NO_PHASE, &ENV_FILE,
    &ENDPOINT, &INSECURE, &PROTOCOL, &HEADER, &HEADERS_FILE, &COMPRESSION, &TIMEOUT, &CA_FILE, &CERT_FILE, &KEY_FILE,
    &TEMPORALITY,
    &OUTBOX_DIR, &OUTBOX_MAX_SIZE, &OUTBOX_MAX_AGE,
    &SELECTED, &DETAIL, &PER_CPU, &NAMING, &COUNTERS_SINCE, &DISK_SCOPE,
    &DISK_INCLUDE, &DISK_EXCLUDE, &FILESYSTEM_INCLUDE, &FILESYSTEM_EXCLUDE, &NETWORK_INCLUDE, &NETWORK_EXCLUDE,
    &TOP_PROCESSES, &PROCESS_COMMAND_LINES,
    &SERVICE_INCLUDE, &SERVICE_EXCLUDE, &TEXTFILE_DIR,
    &MAX_SERIES, &SELF_METRICS,
    &SERVICE_NAME, &RESOURCE_ATTRIBUTES, &ROOT_PATH, &HOST_PROC, &HOST_SYS, &HOST_ETC,
    &LOG_LEVEL, &LOG_FORMAT,
    &SEND, &JSON,
];

/// The variables of an OTLP setting; the one for the metrics signal comes first.
macro_rules! otlp {
    ($name:literal) => {
        otlp!($name, "")
    };
    ($name:literal, $note:literal) => {
        &[
            Variable(concat!("OTEL_EXPORTER_OTLP_METRICS_", $name), $note),
            Variable(concat!("OTEL_EXPORTER_OTLP_", $name), $note),
        ]
    };
}

pub(crate) static EXPORTER: Setting<Exporter> = Setting::words(
    "--exporter",
    "NAME",
    &[
        Word("otlp", Exporter::Otlp, ""),
        Word("prometheus", Exporter::Prometheus, "an HTTP endpoint to scrape"),
        Word("console", Exporter::Console(Format::Table), ""),
        Word("none", Exporter::None, ""),
    ],
)
.help(GENERAL, "Destination of the metrics")
.variables(&[Variable("OTEL_METRICS_EXPORTER", "")])
.default("otlp");

pub(crate) static SDK_DISABLED: Setting<bool> = Setting::variable(&[Variable("OTEL_SDK_DISABLED", "")], parse::boolean)
    .help(GENERAL, "true selects the exporter none, unless --exporter is given")
    .default("false");

pub(crate) static LISTEN: Setting<Listen> =
    Setting::one("--listen", "ADDRESS", |found| Listen::parse(found.value).ok_or(None))
        .help(GENERAL, "Address that --exporter prometheus listens on")
        .allowed("HOST:PORT, [IPV6]:PORT or :PORT for all interfaces")
        .default("localhost:9464");

pub(crate) static PROMETHEUS_HOST: Setting<String> =
    Setting::variable(&[Variable("OTEL_EXPORTER_PROMETHEUS_HOST", "")], parse::text)
        .help(GENERAL, "Host of --listen")
        .default("localhost");

pub(crate) static PROMETHEUS_PORT: Setting<u16> =
    Setting::variable(&[Variable("OTEL_EXPORTER_PROMETHEUS_PORT", "")], |found| found.value.parse().map_err(|_| None))
        .help(GENERAL, "Port of --listen")
        .allowed("0 to 65535")
        .default("9464");

pub(crate) static CONSOLE_FORMAT: Setting<Format> = Setting::words(
    "--console-format",
    "FORMAT",
    &[Word("table", Format::Table, ""), Word("json", Format::Json, "one object per collection, raw numbers")],
)
.help(GENERAL, "Output of the console")
.variables(&[Variable("HEKA_CONSOLE_FORMAT", "")])
.default("table");

pub(crate) static INTERVAL: Setting<Duration> = Setting::one("--interval", "DURATION", interval)
    .help(GENERAL, "Time between two collections")
    .allowed("100ms to 1h with its unit, such as 500ms, 10s, 1m")
    .variables(&[
        Variable("HEKA_INTERVAL", ""),
        Variable("OTEL_METRIC_EXPORT_INTERVAL", "milliseconds"),
        Variable("CPU_POLL_INTERVAL_SECONDS", "seconds, may have a fraction"),
    ])
    .default("10s");

pub(crate) static ONCE: Setting<bool> =
    Setting::switch("--once", "").help(GENERAL, "Collect once, send or print the result, and exit");

pub(crate) static NO_PHASE: Setting<bool> = Setting::switch("--no-phase", "--phase")
    .help(
        GENERAL,
        "Start the first collection at once instead of at this host's offset in the interval, which is derived from the host's id so that hosts do not send at the same time",
    )
    .variables(&[Variable("HEKA_NO_PHASE", "true or false")])
    .default_text("at the offset; at once with the console and prometheus");

pub(crate) static ENV_FILE: Setting<PathBuf> = Setting::one("--env-file", "FILE", parse::path)
    .help(
        GENERAL,
        "File with NAME=VALUE lines, read instead of .env; its variables take precedence over the environment",
    )
    .variables(&[Variable("HEKA_ENV_FILE", "")]);

pub(crate) static ENDPOINT: Setting<String> = Setting::one("--endpoint", "URL", parse::text)
    .help(SENDING, "Collector or backend")
    .note("over HTTP, /v1/metrics is appended unless the path ends in it or the URL is from OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    .allowed("http://HOST:PORT, https://HOST:PORT, unix:/PATH (gRPC only)")
    .variables(otlp!("ENDPOINT"))
    .default_text("http://localhost:4317, over HTTP http://localhost:4318");

pub(crate) static INSECURE: Setting<bool> = Setting::variable(otlp!("INSECURE"), parse::boolean)
    .help(SENDING, "Use http:// (true) or https:// (false) for a gRPC endpoint that a variable sets without a scheme")
    .default("false");

pub(crate) static PROTOCOL: Setting<Protocol> = Setting::words(
    "--protocol",
    "NAME",
    &[Word("grpc", Protocol::Grpc, ""), Word("http/protobuf", Protocol::HttpProtobuf, "")],
)
.help(SENDING, "Protocol")
.variables(otlp!("PROTOCOL"))
.default_text("grpc; http/protobuf if the endpoint's port is 4318 or its path ends in /v1/metrics");

pub(crate) static HEADER: Setting<Vec<(String, String)>> = Setting::many("--header", "K=V", parse::headers)
    .help(SENDING, "Header of every request")
    .note("replaces the headers of the variables")
    .allowed("NAME=VALUE or 'NAME: VALUE' (NAME of letters, digits, - _ and . only, VALUE of printable ASCII)")
    .variables(otlp!("HEADERS", "K=V,K=V, percent-encoded"))
    .secret();

pub(crate) static HEADERS_FILE: Setting<PathBuf> = Setting::one("--headers-file", "FILE", parse::path)
    .help(SENDING, "File with one header per line, for secrets; takes precedence over the same header elsewhere and is read again when it changes")
    .variables(&[Variable("HEKA_HEADERS_FILE", "")]);

pub(crate) static COMPRESSION: Setting<bool> =
    Setting::words("--compression", "NAME", &[Word("none", false, ""), Word("gzip", true, "")])
        .help(SENDING, "Compression of requests")
        .variables(otlp!("COMPRESSION"))
        .default("none");

pub(crate) static TIMEOUT: Setting<Duration> = Setting::one("--timeout", "DURATION", timeout)
    .help(SENDING, "Time limit of one request, including the connection")
    .note("collections do not wait for requests")
    .allowed("a duration above 0 with its unit, such as 10s (the variables: whole milliseconds)")
    .variables(otlp!("TIMEOUT", "milliseconds"))
    .default("10s");

pub(crate) static CA_FILE: Setting<PathBuf> = Setting::one("--ca-file", "FILE", parse::path)
    .help(SENDING, "PEM file with the certificate authorities to trust")
    .variables(otlp!("CERTIFICATE"))
    .default_text("the system's");

pub(crate) static CERT_FILE: Setting<PathBuf> = Setting::one("--cert-file", "FILE", parse::path)
    .help(SENDING, "PEM file with the client certificate; needs --key-file")
    .variables(otlp!("CLIENT_CERTIFICATE"));

pub(crate) static KEY_FILE: Setting<PathBuf> = Setting::one("--key-file", "FILE", parse::path)
    .help(SENDING, "PEM file with the client's private key; needs --cert-file")
    .variables(otlp!("CLIENT_KEY"));

pub(crate) static TEMPORALITY: Setting<Temporality> = Setting::words(
    "--temporality",
    "NAME",
    &[
        Word("cumulative", Temporality::Cumulative, "totals"),
        Word("delta", Temporality::Delta, "differences"),
        Word("lowmemory", Temporality::LowMemory, "same as cumulative here"),
    ],
)
.help(SENDING, "Values of counters")
.variables(&[Variable("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "")])
.default("cumulative");

pub(crate) static OUTBOX_DIR: Setting<PathBuf> = Setting::one("--outbox-dir", "DIR", parse::path)
    .help(OUTBOX, "Directory for undelivered batches; survives restarts and power loss")
    .variables(&[
        Variable("HEKA_OUTBOX_DIR", ""),
        Variable("STATE_DIRECTORY", "its subdirectory outbox; set by systemd"),
    ])
    .default_text("in memory");

pub(crate) static OUTBOX_MAX_SIZE: Setting<u64> = Setting::one("--outbox-max-size", "SIZE", outbox_size)
    .help(OUTBOX, "Maximum size")
    .note("the oldest batches are dropped first")
    .allowed("at least 64KiB, such as 512KiB, 64MiB, 1GiB")
    .variables(&[Variable("HEKA_OUTBOX_MAX_SIZE", "")])
    .default_text("64MiB on disk, 4MiB in memory");

pub(crate) static OUTBOX_MAX_AGE: Setting<Duration> = Setting::one("--outbox-max-age", "DURATION", outbox_age)
    .help(OUTBOX, "Maximum age of a batch")
    .note("older ones are dropped")
    .allowed("at least 1s with its unit, such as 30m, 24h, 7d")
    .variables(&[Variable("HEKA_OUTBOX_MAX_AGE", "")])
    .default("24h");

pub(crate) static SELECTED: Setting<Vec<String>> = Setting::one("--collectors", "LIST", collectors)
    .help(COLLECTION, "Collectors to run, separated by commas; the command check lists them")
    .variables(&[Variable("HEKA_COLLECTORS", "")])
    .default_text("all");

pub(crate) static DETAIL: Setting<Detail> =
    Setting::words("--detail", "LEVEL", &[Word("basic", Detail::Basic, ""), Word("detailed", Detail::Detailed, "")])
        .help(COLLECTION, "Amount of metrics")
        .variables(&[Variable("HEKA_DETAIL", "")])
        .default("basic");

pub(crate) static PER_CPU: Setting<bool> = Setting::switch("--per-cpu", "--no-per-cpu")
    .help(COLLECTION, "CPU series per logical CPU instead of for the whole host")
    .variables(&[Variable("HEKA_PER_CPU", "true or false")])
    .default_text("off; always on with --naming node_exporter");

pub(crate) static NAMING: Setting<Naming> = Setting::words(
    "--naming",
    "PROFILE",
    &[
        Word(Naming::Semconv.name(), Naming::Semconv, "OpenTelemetry semantic conventions"),
        Word(Naming::Hostmetrics.name(), Naming::Hostmetrics, "the Collector's hostmetrics receiver"),
        Word(
            Naming::NodeExporter.name(),
            Naming::NodeExporter,
            "Prometheus' node_exporter, with its default filters, one series per CPU and totals since boot",
        ),
    ],
)
.help(COLLECTION, "Names of metrics and attributes")
.variables(&[Variable("HEKA_NAMING", "")])
.default("semconv");

pub(crate) static COUNTERS_SINCE: Setting<Since> =
    Setting::words("--counters-since", "WHEN", &[Word("start", Since::Start, "the agent's start"), Word(
        "boot",
        Since::Boot,
        "the kernel's own totals, as in /proc",
    )])
    .help(COLLECTION, "Origin of the counters")
    .note("with boot, a backend that uses start times adds the whole uptime again at every restart; cannot be combined with delta temporality")
    .variables(&[Variable("HEKA_COUNTERS_SINCE", "")])
    .default_text("start; boot with --exporter console or prometheus and with --naming node_exporter");

pub(crate) static DISK_SCOPE: Setting<DiskScope> = Setting::words(
    "--disk-scope",
    "SCOPE",
    &[
        Word("device", DiskScope::Device, "one series per disk"),
        Word("total", DiskScope::Total, "one series for all physical disks"),
    ],
)
.help(COLLECTION, "Disk series")
.variables(&[Variable("HEKA_DISK_SCOPE", "")])
.default_text("device; the console shows both");

/// The flag and the variable of a filter.
macro_rules! filter {
    ($flag:literal, $variable:literal, $help:literal) => {
        Setting::many($flag, "REGEX", parse::regexes)
            .help(COLLECTION, $help)
            .variables(&[Variable($variable, "separated by commas")])
    };
}

type Regexes = Setting<Vec<Regex>>;

pub(crate) static DISK_INCLUDE: Regexes = filter!(
    "--disk-include",
    "HEKA_DISK_INCLUDE",
    "Disks to report instead of the physical ones; a regular expression on the name"
);
pub(crate) static DISK_EXCLUDE: Regexes = filter!("--disk-exclude", "HEKA_DISK_EXCLUDE", "Disks to leave out");
pub(crate) static FILESYSTEM_INCLUDE: Regexes = filter!(
    "--filesystem-include",
    "HEKA_FILESYSTEM_INCLUDE",
    "File systems to report instead of the disk-backed ones, one mount per device; a regular expression on the mount point"
);
pub(crate) static FILESYSTEM_EXCLUDE: Regexes =
    filter!("--filesystem-exclude", "HEKA_FILESYSTEM_EXCLUDE", "File systems to leave out");
pub(crate) static NETWORK_INCLUDE: Regexes = filter!(
    "--network-include",
    "HEKA_NETWORK_INCLUDE",
    "Network interfaces to report instead of all but lo, veth* and cali*; a regular expression on the name"
);
pub(crate) static NETWORK_EXCLUDE: Regexes =
    filter!("--network-exclude", "HEKA_NETWORK_EXCLUDE", "Network interfaces to leave out");

pub(crate) static TOP_PROCESSES: Setting<usize> = Setting::one("--top-processes", "NUMBER", top_processes)
    .help(COLLECTION, "Report this many of the largest processes by CPU time, and as many by memory")
    .note("see docs/cardinality.md for the number of series")
    .allowed("a whole number from 0 to 100")
    .variables(&[Variable("HEKA_TOP_PROCESSES", "")])
    .default("0");

pub(crate) static PROCESS_COMMAND_LINES: Setting<bool> =
    Setting::switch("--process-command-lines", "--no-process-command-lines")
        .help(COLLECTION, "Add the command line to each reported process; command lines can hold secrets")
        .variables(&[Variable("HEKA_PROCESS_COMMAND_LINES", "true or false")])
        .default_text("off");
pub(crate) static SERVICE_INCLUDE: Regexes = filter!(
    "--service-include",
    "HEKA_SERVICE_INCLUDE",
    "Units that get series of their own, instead of all units; a regular expression on the name, such as nginx\\.service"
);
pub(crate) static SERVICE_EXCLUDE: Regexes = filter!(
    "--service-exclude",
    "HEKA_SERVICE_EXCLUDE",
    "Units that get no series of their own; systemd.unit.count still includes them"
);

pub(crate) static TEXTFILE_DIR: Setting<PathBuf> = Setting::one("--textfile-dir", "DIR", parse::path)
    .help(COLLECTION, "Directory with *.prom files in Prometheus' text format, whose metrics are reported")
    .variables(&[Variable("HEKA_TEXTFILE_DIR", "")])
    .default_text("none");

pub(crate) static MAX_SERIES: Setting<usize> = Setting::one("--max-series", "NUMBER", max_series)
    .help(COLLECTION, "Maximum number of series per metric")
    .note("extra series are dropped, counted and logged once")
    .allowed("a whole number from 1 to 100000")
    .variables(&[Variable("HEKA_MAX_SERIES", "")])
    .default_text("2000, or more if the host's CPUs and disks need it");

pub(crate) static SELF_METRICS: Setting<Option<Detail>> = Setting::words(
    "--self-metrics",
    "LEVEL",
    &[
        Word("on", Some(Detail::Basic), ""),
        Word("detailed", Some(Detail::Detailed), "per collector and per reason"),
        Word("off", None, ""),
    ],
)
.help(COLLECTION, "Metrics about the agent (its cost, sent and lost data points)")
.variables(&[Variable("HEKA_SELF_METRICS", "")])
.default("on");

pub(crate) static SERVICE_NAME: Setting<String> = Setting::one("--service-name", "NAME", parse::text)
    .help(RESOURCE, "service.name of the resource")
    .variables(&[Variable("OTEL_SERVICE_NAME", "")])
    .default_text("heka-insights-agent");

pub(crate) static RESOURCE_ATTRIBUTES: Setting<Vec<(String, String)>> =
    Setting::many("--resource-attribute", "K=V", parse::pairs)
        .help(RESOURCE, "Resource attribute; takes precedence over the detected ones")
        .allowed("K=V")
        .variables(&[Variable("OTEL_RESOURCE_ATTRIBUTES", "K=V,K=V, percent-encoded; merged with the flags")]);

pub(crate) static ROOT_PATH: Setting<PathBuf> = Setting::one("--root-path", "DIR", parse::path)
    .help(RESOURCE, "Root directory of the host, for an agent in a container")
    .variables(&[Variable("HEKA_ROOT_PATH", "")])
    .default_text("/");

pub(crate) static HOST_PROC: Setting<PathBuf> = Setting::variable(&[Variable("HOST_PROC", "")], parse::path)
    .help(RESOURCE, "/proc of the host")
    .default_text("proc below --root-path");
pub(crate) static HOST_SYS: Setting<PathBuf> = Setting::variable(&[Variable("HOST_SYS", "")], parse::path)
    .help(RESOURCE, "/sys of the host")
    .default_text("sys below --root-path");
pub(crate) static HOST_ETC: Setting<PathBuf> = Setting::variable(&[Variable("HOST_ETC", "")], parse::path)
    .help(RESOURCE, "/etc of the host")
    .default_text("etc below --root-path");

pub(crate) static LOG_LEVEL: Setting<String> = Setting::one("--log-level", "LEVEL", parse::log_filter)
    .help(LOG, "Log level, to standard error")
    .allowed("error, warn, info, debug, trace, off, or targets such as info,h2=debug")
    .variables(&[Variable("RUST_LOG", ""), Variable("OTEL_LOG_LEVEL", "")])
    .default("info");

pub(crate) static LOG_FORMAT: Setting<LogFormat> =
    Setting::words("--log-format", "FORMAT", &[Word("text", LogFormat::Text, ""), Word("json", LogFormat::Json, "")])
        .help(LOG, "Format of log lines")
        .variables(&[Variable("HEKA_LOG_FORMAT", "")])
        .default("text");

pub(crate) static SEND: Setting<bool> =
    Setting::switch("--send", "").help(CHECK, "Send one real collection instead of an empty export");

pub(crate) static JSON: Setting<bool> =
    Setting::switch("--json", "").help(CHECK, "Print the result as one JSON object");

fn interval(found: Found<'_>) -> Parsed<Duration> {
    const BOUNDS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3_600);
    let (interval, allowed) = match found.place {
        "OTEL_METRIC_EXPORT_INTERVAL" => (parse::millis(found.value), Some("whole milliseconds, 100 to 3600000")),
        "CPU_POLL_INTERVAL_SECONDS" => (parse::seconds(found.value), Some("seconds, 0.1 to 3600, fractions allowed")),
        _ => (parse::duration(found.value), None),
    };
    interval.filter(|interval| BOUNDS.contains(interval)).ok_or_else(|| allowed.map(str::to_owned))
}

fn timeout(found: Found<'_>) -> Parsed<Duration> {
    let timeout = if found.is_otel() { parse::millis(found.value) } else { parse::duration(found.value) };
    timeout.filter(|timeout| !timeout.is_zero()).ok_or(None)
}

fn outbox_size(found: Found<'_>) -> Parsed<u64> {
    parse::size(found.value).filter(|bytes| *bytes >= 64 << 10).ok_or(None)
}

fn outbox_age(found: Found<'_>) -> Parsed<Duration> {
    parse::duration(found.value).filter(|age| *age >= Duration::from_secs(1)).ok_or(None)
}

fn max_series(found: Found<'_>) -> Parsed<usize> {
    found.value.parse().ok().filter(|most| (1..=100_000).contains(most)).ok_or(None)
}

fn top_processes(found: Found<'_>) -> Parsed<usize> {
    found.value.parse().ok().filter(|most| *most <= MOST_PROCESSES).ok_or(None)
}

fn collectors(found: Found<'_>) -> Parsed<Vec<String>> {
    let known = collectors::names();
    let names = found.value.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
    let names: Vec<String> = names.collect();
    let valid = !names.is_empty() && names.iter().all(|name| known.contains(&name.as_str()));
    if valid { Ok(names) } else { Err(Some(known.join(", "))) }
}

pub fn variable_names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().flat_map(|setting| setting.row().variables).map(|variable| variable.0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::setting::Default;

    #[test]
    fn each_printed_default_is_a_value_that_its_parser_takes() {
        for setting in SETTINGS {
            if let Default::Value(value) = setting.row().default {
                assert!(setting.accepts(value), "{:?}", setting.row());
            }
        }
    }

    #[test]
    fn each_setting_has_a_help_a_heading_and_names_of_its_own() {
        let mut names = HashSet::new();
        for row in SETTINGS.iter().map(|setting| setting.row()) {
            assert!(!row.help.is_empty() && !row.heading.is_empty(), "{row:?}");
            assert!(!row.flag.is_empty() || !row.variables.is_empty(), "{row:?}");
            let flag = Some(row.flag).filter(|flag| !flag.is_empty());
            for name in flag.into_iter().chain(row.variables.iter().map(|variable| variable.0)) {
                assert!(names.insert(name), "{name} is there twice");
            }
        }
    }
}
