//! Every flag, under help headings. Values are taken as text: [`crate::config`] validates them together with the
//! environment, so that a wrong one gets the same line wherever it came from.

use clap::Parser;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("HEKA_COMMIT"), ")");
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:   ",
    env!("HEKA_COMMIT"),
    "\ntarget:   ",
    env!("HEKA_TARGET"),
    "\nfeatures: grpc, http/protobuf, tls (ring), gzip"
);

/// What a person types.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "heka-insights-agent",
    version = VERSION,
    long_version = LONG_VERSION,
    about = "Reads this Linux host's metrics and sends them as OpenTelemetry (OTLP).",
    after_help = "Precedence: flag, OTEL variable of the metrics signal, general OTEL variable, default. An empty variable is unset.\n\
                  Exit status: 0 a clean stop, 1 it could not run, 2 wrong usage.",
    disable_help_subcommand = true,
    next_line_help = false,
    max_term_width = 120
)]
#[allow(rustdoc::broken_intra_doc_links)] // the fields' documentation is the help text, where brackets are no links
pub struct Cli {
    /// check: read every source once, try the endpoint, say what is missing, and exit
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,

    /// Where metrics go: otlp, prometheus (an HTTP endpoint to scrape), console, none [default: otlp] [env: OTEL_METRICS_EXPORTER; OTEL_SDK_DISABLED=true is none]
    #[arg(long, value_name = "NAME", help_heading = "What to do")]
    pub exporter: Option<String>,
    /// Address that --exporter prometheus listens on, HOST:PORT or :PORT for all interfaces [default: localhost:9464] [env: OTEL_EXPORTER_PROMETHEUS_HOST, OTEL_EXPORTER_PROMETHEUS_PORT]
    #[arg(long, value_name = "ADDRESS", help_heading = "What to do")]
    pub listen: Option<String>,
    /// How the console prints: table, json (one object a cycle, raw numbers) [default: table] [env: HEKA_CONSOLE_FORMAT]
    #[arg(long, value_name = "FORMAT", help_heading = "What to do")]
    pub console_format: Option<String>,
    /// Time between two collections, 100ms to 1h, such as 500ms, 10s, 1m [default: 10s] [env: OTEL_METRIC_EXPORT_INTERVAL (ms), CPU_POLL_INTERVAL_SECONDS (s, fractions allowed)]
    #[arg(long, value_name = "DURATION", help_heading = "What to do")]
    pub interval: Option<String>,
    /// Collect once, send or print it, and exit
    #[arg(long, help_heading = "What to do")]
    pub once: bool,
    /// Start at once, not at this host's own phase of the interval [default: wait, with the console start at once] [env: HEKA_NO_PHASE=true]
    #[arg(long, help_heading = "What to do")]
    pub no_phase: bool,

    /// Collector or backend: http://HOST:PORT, https://HOST:PORT or unix:/PATH; over HTTP /v1/metrics is appended unless it is there [default: http://localhost:4317, over HTTP :4318] [env: OTEL_EXPORTER_OTLP_METRICS_ENDPOINT (over HTTP taken as it is), OTEL_EXPORTER_OTLP_ENDPOINT; without a scheme OTEL_EXPORTER_OTLP_[METRICS_]INSECURE decides]
    #[arg(long, value_name = "URL", help_heading = "Sending")]
    pub endpoint: Option<String>,
    /// grpc, http/protobuf [default: grpc; http/protobuf where the endpoint's port is 4318 or its path ends in /v1/metrics] [env: OTEL_EXPORTER_OTLP_[METRICS_]PROTOCOL]
    #[arg(long, value_name = "NAME", help_heading = "Sending")]
    pub protocol: Option<String>,
    /// A header of every request, such as api-key=SECRET; repeat for more. Replaces those of the variables [env: OTEL_EXPORTER_OTLP_[METRICS_]HEADERS (K=V,K=V, percent-encoded)]
    #[arg(long = "header", value_name = "K=V", help_heading = "Sending")]
    pub headers: Vec<String>,
    /// A file with one K=V a line, for secrets; read again when it changes, and wins over the same header elsewhere [env: HEKA_HEADERS_FILE]
    #[arg(long, value_name = "FILE", help_heading = "Sending")]
    pub headers_file: Option<String>,
    /// none, gzip [default: none] [env: OTEL_EXPORTER_OTLP_[METRICS_]COMPRESSION]
    #[arg(long, value_name = "NAME", help_heading = "Sending")]
    pub compression: Option<String>,
    /// Bound on one request, connecting included, above 0; a collection never waits that long [default: 10s] [env: OTEL_EXPORTER_OTLP_[METRICS_]TIMEOUT (ms)]
    #[arg(long, value_name = "DURATION", help_heading = "Sending")]
    pub timeout: Option<String>,
    /// PEM file of the authorities to trust [default: the system's] [env: OTEL_EXPORTER_OTLP_[METRICS_]CERTIFICATE]
    #[arg(long, value_name = "FILE", help_heading = "Sending")]
    pub ca_file: Option<String>,
    /// PEM file of the client certificate, with --key-file [env: OTEL_EXPORTER_OTLP_[METRICS_]CLIENT_CERTIFICATE]
    #[arg(long, value_name = "FILE", help_heading = "Sending")]
    pub cert_file: Option<String>,
    /// PEM file of the client's private key, with --cert-file [env: OTEL_EXPORTER_OTLP_[METRICS_]CLIENT_KEY]
    #[arg(long, value_name = "FILE", help_heading = "Sending")]
    pub key_file: Option<String>,
    /// cumulative (totals), delta (differences), lowmemory (as cumulative) [default: cumulative] [env: OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE]
    #[arg(long, value_name = "NAME", help_heading = "Sending")]
    pub temporality: Option<String>,

    /// Directory that keeps what an outage holds up, over restarts and power cuts [default: in memory; under systemd its STATE_DIRECTORY] [env: HEKA_OUTBOX_DIR]
    #[arg(long, value_name = "DIR", help_heading = "Outages")]
    pub outbox_dir: Option<String>,
    /// Most bytes it keeps, at least 64KiB; the oldest go first [default: 64MiB on disk, 4MiB in memory] [env: HEKA_OUTBOX_MAX_SIZE]
    #[arg(long, value_name = "SIZE", help_heading = "Outages")]
    pub outbox_max_size: Option<String>,
    /// Oldest data it keeps, at least 1s [default: 24h] [env: HEKA_OUTBOX_MAX_AGE]
    #[arg(long, value_name = "DURATION", help_heading = "Outages")]
    pub outbox_max_age: Option<String>,

    /// Collectors to collect, separated by commas, of those that `check` lists [default: all] [env: HEKA_COLLECTORS]
    #[arg(long, value_name = "LIST", help_heading = "What to collect")]
    pub collectors: Option<String>,
    /// basic, detailed [default: basic] [env: HEKA_DETAIL]
    #[arg(long, value_name = "LEVEL", help_heading = "What to collect")]
    pub detail: Option<String>,
    /// CPU series per logical CPU instead of for the whole host [env: HEKA_PER_CPU=true]
    #[arg(long, help_heading = "What to collect")]
    pub per_cpu: bool,
    /// Names of metrics and attributes: semconv, hostmetrics (those of the Collector's receiver), node_exporter (those of Prometheus' node_exporter, with its default filters, one series per CPU and totals since boot) [default: semconv] [env: HEKA_NAMING]
    #[arg(long, value_name = "PROFILE", help_heading = "What to collect")]
    pub naming: Option<String>,
    /// start: counters count from the agent's start, as the start time they carry says. boot: the kernel's own totals, to compare with /proc; a backend that uses start times adds the whole uptime again at every restart, and delta temporality refuses it [default: start; boot with --exporter console or prometheus and with --naming node_exporter] [env: HEKA_COUNTERS_SINCE]
    #[arg(long, value_name = "WHEN", help_heading = "What to collect")]
    pub counters_since: Option<String>,
    /// device: one series per disk. total: one over the physical disks [default: device; the console shows both] [env: HEKA_DISK_SCOPE]
    #[arg(long, value_name = "SCOPE", help_heading = "What to collect")]
    pub disk_scope: Option<String>,
    /// Disks to report instead of the whole physical ones, by regular expression on the name; repeat for more [env: HEKA_DISK_INCLUDE (separated by commas)]
    #[arg(long, value_name = "REGEX", help_heading = "What to collect")]
    pub disk_include: Vec<String>,
    /// Disks to leave out [env: HEKA_DISK_EXCLUDE]
    #[arg(long, value_name = "REGEX", help_heading = "What to collect")]
    pub disk_exclude: Vec<String>,
    /// File systems to report instead of the disk-backed ones, one mount per device; by regular expression on the mount point [env: HEKA_FILESYSTEM_INCLUDE]
    #[arg(long, value_name = "REGEX", help_heading = "What to collect")]
    pub filesystem_include: Vec<String>,
    /// File systems to leave out [env: HEKA_FILESYSTEM_EXCLUDE]
    #[arg(long, value_name = "REGEX", help_heading = "What to collect")]
    pub filesystem_exclude: Vec<String>,
    /// Network interfaces to report instead of all but lo, veth* and cali*; by regular expression on the name [env: HEKA_NETWORK_INCLUDE]
    #[arg(long, value_name = "REGEX", help_heading = "What to collect")]
    pub network_include: Vec<String>,
    /// Network interfaces to leave out [env: HEKA_NETWORK_EXCLUDE]
    #[arg(long, value_name = "REGEX", help_heading = "What to collect")]
    pub network_exclude: Vec<String>,
    /// Most series a metric may have, at least 1; what is cut is counted and said once [default: 2000, or what the host's CPUs and disks need] [env: HEKA_MAX_SERIES]
    #[arg(long, value_name = "NUMBER", help_heading = "What to collect")]
    pub max_series: Option<String>,

    /// on: the agent also sends its own cost, and what it sent and lost. off: only the host's metrics [default: on] [env: HEKA_SELF_METRICS]
    #[arg(long, value_name = "on|off", help_heading = "What to collect")]
    pub self_metrics: Option<String>,

    /// Service name of the resource [default: heka-insights-agent] [env: OTEL_SERVICE_NAME]
    #[arg(long, value_name = "NAME", help_heading = "This host")]
    pub service_name: Option<String>,
    /// A resource attribute; repeat for more. Wins over what the agent found out [env: OTEL_RESOURCE_ATTRIBUTES (K=V,K=V, percent-encoded)]
    #[arg(long = "resource-attribute", value_name = "K=V", help_heading = "This host")]
    pub resource_attributes: Vec<String>,
    /// The host's root directory, for an agent in a container [default: /] [env: HEKA_ROOT_PATH; HOST_PROC, HOST_SYS, HOST_ETC win for theirs]
    #[arg(long, value_name = "DIR", help_heading = "This host")]
    pub root_path: Option<String>,

    /// error, warn, info, debug, trace, off, or targets as in RUST_LOG; to standard error [default: info] [env: RUST_LOG, OTEL_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL", help_heading = "Log")]
    pub log_level: Option<String>,
    /// text, json [default: text] [env: HEKA_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT", help_heading = "Log")]
    pub log_format: Option<String>,
}

impl Cli {
    /// Parses arguments. An error's first line is all a person needs: it names the argument.
    ///
    /// # Errors
    /// clap's own, for an argument that is not known or lacks its value; also for `--help` and `--version`.
    pub fn parse_arguments(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_heading_and_says_its_default_or_variable() {
        for argument in Cli::command().get_arguments().filter(|argument| argument.get_long().is_some()) {
            let name = argument.get_long().unwrap();
            if ["help", "version", "once"].contains(&name) {
                continue;
            }
            let help = argument.get_help().unwrap().to_string();
            assert!(argument.get_help_heading().is_some(), "--{name} has no heading");
            assert!(help.contains("[env: "), "--{name} does not say its variable");
        }
    }
}
