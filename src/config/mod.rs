//! What the agent was asked to do, validated: made from flags and environment, read by [`crate::agent`].
//!
//! Pure: nothing here touches a file, the clock or the process's environment. An error names the flag or the variable.

pub mod cli;
pub mod settings;

use std::path::PathBuf;
use std::time::Duration;

use regex_lite::Regex;

use crate::collectors::{COLLECTORS, DiskScope, Options};
use crate::config::cli::Cli;
use crate::config::settings::{
    Environment, Found, Lookup, UsageError, boolean, duration, millis, pair, pairs, seconds, size,
};
use crate::export::config::{OtlpConfig, Protocol, Temporality, TlsFiles};
use crate::export::prometheus::Listen;
use crate::host::Roots;
use crate::metrics::filter::Filter;
use crate::metrics::naming::{Detail, Naming};
use crate::metrics::total::Since;
use crate::outbox::config::OutboxConfig;

/// What to do with a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exporter {
    /// Send it over OTLP.
    Otlp,
    /// Answer Prometheus' scrapes.
    Prometheus,
    /// Print it as a table.
    ConsoleTable,
    /// Print it as one JSON object.
    ConsoleJson,
    /// Nothing.
    None,
}

/// What the program was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Collect until told to stop.
    Run,
    /// Collect once.
    Once,
    /// Say what works and what does not.
    Check,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that flags and environment say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Run, once or check.
    pub command: Command,
    /// Where metrics go.
    pub exporter: Exporter,
    /// Time between two collections.
    pub interval: Duration,
    /// Wait for this host's own phase before the first collection.
    pub phase: bool,
    /// The way to the backend.
    pub otlp: OtlpConfig,
    /// Where the Prometheus exporter listens.
    pub listen: Listen,
    /// What an outage may keep.
    pub outbox: OutboxConfig,
    /// What to collect.
    pub options: Options,
    /// Whether the agent reports on itself too.
    pub self_metrics: bool,
    /// Where the host's files are.
    pub roots: Roots,
    /// Attributes that win over what the agent finds out, the later ones over the earlier.
    pub resource: Vec<(String, String)>,
    /// The filter of log lines, as RUST_LOG has it.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Lines for the log: what was ignored, and what was chosen for the user.
    pub warnings: Vec<String>,
    /// As `warnings`, where nothing is wrong.
    pub notes: Vec<String>,
}

const INTERVAL_LEAST: Duration = Duration::from_millis(100);
const INTERVAL_MOST: Duration = Duration::from_secs(3_600);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const OUTBOX_LEAST_BYTES: u64 = 64 << 10;
const OUTBOX_MEMORY_BYTES: u64 = 4 << 20;
const OUTBOX_DISK_BYTES: u64 = 64 << 20;
const OUTBOX_AGE_DEFAULT: Duration = Duration::from_secs(24 * 3_600);

impl Config {
    /// Merges flags, environment and defaults.
    ///
    /// # Errors
    /// One line that names the flag or the variable, its value unless it is a secret, and what is allowed.
    pub fn resolve(cli: &Cli, environment: &Environment) -> Result<Self, UsageError> {
        let mut lookup = Lookup { environment, warnings: Vec::new() };
        let mut notes = Vec::new();
        let command = match (cli.command.as_deref(), cli.once) {
            (None, false) => Command::Run,
            (None, true) => Command::Once,
            (Some("check"), false) => Command::Check,
            (Some("check"), true) => return Err(UsageError("--once: not with the command check".to_owned())),
            (Some(other), _) => {
                return Err(UsageError(format!("'{other}' is no command; allowed: check, or none to run")));
            }
        };
        let exporter = exporter(cli, &mut lookup)?;
        let console = matches!(exporter, Exporter::ConsoleTable | Exporter::ConsoleJson);
        let scraped = exporter == Exporter::Prometheus;
        if scraped && command == Command::Once {
            return Err(UsageError(
                "--once: not with --exporter prometheus, which collects when it is scraped".to_owned(),
            ));
        }
        let temporality = lookup.choice(
            "--temporality",
            cli.temporality.as_deref(),
            &["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"],
            &[
                ("cumulative", Temporality::Cumulative),
                ("delta", Temporality::Delta),
                ("lowmemory", Temporality::LowMemory),
            ],
        )?;
        // The setting is OTLP's: a console prints totals for people to compare, and Prometheus takes nothing else.
        let temporality =
            if console || scraped { Temporality::Cumulative } else { temporality.unwrap_or(Temporality::Cumulative) };
        let otlp = otlp(cli, &mut lookup, &mut notes, temporality)?;
        let options = options(cli, &mut lookup, exporter, temporality)?;
        Ok(Self {
            command,
            exporter,
            interval: interval(cli, &mut lookup)?,
            phase: !(flag(&mut lookup, cli.no_phase, "HEKA_NO_PHASE")?
                || console
                || scraped
                || command != Command::Run),
            otlp,
            listen: listen(cli, &mut lookup)?,
            outbox: outbox(cli, &mut lookup)?,
            options,
            self_metrics: lookup
                .choice(
                    "--self-metrics",
                    cli.self_metrics.as_deref(),
                    &["HEKA_SELF_METRICS"],
                    &[("on", true), ("off", false)],
                )?
                .unwrap_or(true),
            roots: roots(cli, environment),
            resource: resource(cli, &mut lookup)?,
            log_level: log_level(cli, &mut lookup)?,
            log_format: lookup
                .choice(
                    "--log-format",
                    cli.log_format.as_deref(),
                    &["HEKA_LOG_FORMAT"],
                    &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                )?
                .unwrap_or(LogFormat::Text),
            warnings: lookup.warnings,
            notes,
        })
    }
}

/// A flag without a value, or its variable.
fn flag(lookup: &mut Lookup<'_>, given: bool, variable: &'static str) -> Result<bool, UsageError> {
    let found = lookup.find("", None, &[variable]);
    let set = lookup.parse(found, "true, false", |found| boolean(found.value))?;
    Ok(given || set.unwrap_or(false))
}

fn exporter<'a>(cli: &'a Cli, lookup: &mut Lookup<'a>) -> Result<Exporter, UsageError> {
    let json = lookup
        .choice(
            "--console-format",
            cli.console_format.as_deref(),
            &["HEKA_CONSOLE_FORMAT"],
            &[("table", false), ("json", true)],
        )?
        .unwrap_or(false);
    let console = if json { Exporter::ConsoleJson } else { Exporter::ConsoleTable };
    let words = [
        ("otlp", Exporter::Otlp),
        ("prometheus", Exporter::Prometheus),
        ("console", console),
        ("none", Exporter::None),
    ];
    let chosen = lookup.choice("--exporter", cli.exporter.as_deref(), &["OTEL_METRICS_EXPORTER"], &words)?;
    // OTEL_SDK_DISABLED: anything but "true" is false, says the specification.
    let disabled = cli.exporter.is_none()
        && lookup.environment.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Ok(if disabled { Exporter::None } else { chosen.unwrap_or(Exporter::Otlp) })
}

/// The flag is the whole address; the variables are its two halves.
fn listen<'a>(cli: &'a Cli, lookup: &mut Lookup<'a>) -> Result<Listen, UsageError> {
    const ALLOWED: &str = "HOST:PORT, [IPV6]:PORT or :PORT";
    let flag = lookup.find("--listen", cli.listen.as_deref(), &[]);
    if let Some(address) = lookup.parse(flag, ALLOWED, |found| Listen::parse(found.value))? {
        return Ok(address);
    }
    let mut address = Listen::default();
    if let Some(found) = lookup.find("", None, &["OTEL_EXPORTER_PROMETHEUS_HOST"]) {
        found.value.trim_matches(['[', ']']).clone_into(&mut address.host);
    }
    let found = lookup.find("", None, &["OTEL_EXPORTER_PROMETHEUS_PORT"]);
    if let Some(port) = lookup.parse(found, "0 to 65535", |found| found.value.parse().ok())? {
        address.port = port;
    }
    Ok(address)
}

fn interval<'a>(cli: &'a Cli, lookup: &mut Lookup<'a>) -> Result<Duration, UsageError> {
    let bounded = |interval: &Duration| (INTERVAL_LEAST..=INTERVAL_MOST).contains(interval);
    let found = lookup.find(
        "--interval",
        cli.interval.as_deref(),
        &["OTEL_METRIC_EXPORT_INTERVAL", "CPU_POLL_INTERVAL_SECONDS"],
    );
    let (allowed, parse): (&str, fn(&str) -> Option<Duration>) = match found.map(|found| found.place) {
        Some("OTEL_METRIC_EXPORT_INTERVAL") => ("whole milliseconds, 100 to 3600000", millis),
        Some("CPU_POLL_INTERVAL_SECONDS") => ("seconds, 0.1 to 3600, fractions allowed", seconds),
        _ => ("100ms to 1h with its unit, such as 500ms, 10s, 1m", duration),
    };
    Ok(lookup.parse(found, allowed, |found| parse(found.value).filter(bounded))?.unwrap_or(INTERVAL_DEFAULT))
}

/// The variables of an OTLP setting, the metrics signal's first.
macro_rules! otlp_variables {
    ($name:literal) => {
        &[concat!("OTEL_EXPORTER_OTLP_METRICS_", $name), concat!("OTEL_EXPORTER_OTLP_", $name)]
    };
}

fn otlp<'a>(
    cli: &'a Cli,
    lookup: &mut Lookup<'a>,
    notes: &mut Vec<String>,
    temporality: Temporality,
) -> Result<OtlpConfig, UsageError> {
    let protocol = lookup.choice(
        "--protocol",
        cli.protocol.as_deref(),
        otlp_variables!("PROTOCOL"),
        &[("grpc", Protocol::Grpc), ("http/protobuf", Protocol::HttpProtobuf)],
    )?;
    let (protocol, endpoint) = endpoint(cli, lookup, notes, protocol)?;
    let gzip = lookup
        .choice(
            "--compression",
            cli.compression.as_deref(),
            otlp_variables!("COMPRESSION"),
            &[("none", false), ("gzip", true)],
        )?
        .unwrap_or(false);
    let found = lookup.find("--timeout", cli.timeout.as_deref(), otlp_variables!("TIMEOUT"));
    let parse = |found: Found<'_>| if found.is_shared() { millis(found.value) } else { duration(found.value) };
    let timeout = lookup
        .parse(found, "a duration above 0 with its unit, such as 10s (the variables: whole milliseconds)", |found| {
            parse(found).filter(|timeout| !timeout.is_zero())
        })?
        .unwrap_or(TIMEOUT_DEFAULT);
    let file =
        |flag, value, variables| lookup.find(flag, value, variables).map(|found: Found<'_>| PathBuf::from(found.value));
    let tls = TlsFiles {
        ca: file("--ca-file", cli.ca_file.as_deref(), otlp_variables!("CERTIFICATE")),
        cert: file("--cert-file", cli.cert_file.as_deref(), otlp_variables!("CLIENT_CERTIFICATE")),
        key: file("--key-file", cli.key_file.as_deref(), otlp_variables!("CLIENT_KEY")),
    };
    let headers_file = file("--headers-file", cli.headers_file.as_deref(), &["HEKA_HEADERS_FILE"]);
    if tls.cert.is_some() != tls.key.is_some() {
        return Err(UsageError(
            "--cert-file and --key-file: only one of them is given; allowed: both or neither".to_owned(),
        ));
    }
    Ok(OtlpConfig { protocol, endpoint, headers: headers(cli, lookup)?, headers_file, gzip, timeout, tls, temporality })
}

fn endpoint<'a>(
    cli: &'a Cli,
    lookup: &mut Lookup<'a>,
    notes: &mut Vec<String>,
    protocol: Option<Protocol>,
) -> Result<(Protocol, String), UsageError> {
    const ALLOWED: &str = "http://HOST:PORT, https://HOST:PORT, unix:/PATH (gRPC only)";
    const METRICS_PATH: &str = "/v1/metrics";
    const METRICS_VARIABLE: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
    let found = lookup.find("--endpoint", cli.endpoint.as_deref(), otlp_variables!("ENDPOINT"));
    let Some(found) = found else {
        let protocol = protocol.unwrap_or(Protocol::Grpc);
        let endpoint = match protocol {
            Protocol::Grpc => "http://localhost:4317".to_owned(),
            Protocol::HttpProtobuf => format!("http://localhost:4318{METRICS_PATH}"),
        };
        return Ok((protocol, endpoint));
    };
    // A wrong endpoint is never replaced by the default, whatever variable it came from: metrics would go elsewhere.
    // Before an @ would be a password.
    let wrong = || if found.value.contains('@') { found.wrong_secret(ALLOWED) } else { found.wrong(ALLOWED) };
    if let Some(path) = found.value.strip_prefix("unix:") {
        return match protocol {
            Some(Protocol::HttpProtobuf) => Err(wrong()),
            _ if !path.starts_with('/') => Err(wrong()),
            _ => Ok((Protocol::Grpc, found.value.to_owned())),
        };
    }
    let mut text = found.value.to_owned();
    if !text.contains("://") {
        let insecure = lookup.find("", None, otlp_variables!("INSECURE"));
        let insecure = lookup.parse(insecure, "true, false", |found| boolean(found.value))?;
        let scheme = match (insecure, found.is_shared(), protocol) {
            (_, _, Some(Protocol::HttpProtobuf)) | (None, false, _) => return Err(wrong()),
            (Some(true), ..) => "http",
            _ => "https",
        };
        text = format!("{scheme}://{text}");
    }
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || !uri.authority().is_some_and(is_host_and_port) {
        return Err(wrong());
    }
    let path = uri.path().trim_end_matches('/');
    let protocol = match protocol {
        Some(protocol) => protocol,
        None if uri.port_u16() == Some(4318) || path.ends_with(METRICS_PATH) => {
            notes.push(format!(
                "{}: the endpoint looks like OTLP over HTTP, using http/protobuf; --protocol grpc says otherwise",
                found.place
            ));
            Protocol::HttpProtobuf
        }
        None => Protocol::Grpc,
    };
    let whole = match protocol {
        Protocol::HttpProtobuf if found.place != METRICS_VARIABLE && !path.ends_with(METRICS_PATH) => {
            let (base, query) = text.split_at(text.find('?').unwrap_or(text.len()));
            format!("{}{METRICS_PATH}{query}", base.trim_end_matches('/'))
        }
        _ => text,
    };
    Ok((protocol, whole))
}

/// `host` or `host:port` and nothing else: credentials belong into a header, where they are never printed.
fn is_host_and_port(authority: &http::uri::Authority) -> bool {
    let (host, whole) = (authority.host(), authority.as_str());
    !host.is_empty() && (whole == host || authority.port_u16().is_some_and(|port| whole == format!("{host}:{port}")))
}

fn headers(cli: &Cli, lookup: &Lookup<'_>) -> Result<Vec<(String, String)>, UsageError> {
    const ALLOWED: &str = "NAME=VALUE, the name of letters, digits and -_., the value visible ASCII";
    let found = lookup.find("", None, otlp_variables!("HEADERS"));
    let (place, given) = if cli.headers.is_empty() {
        let Some(found) = found else { return Ok(Vec::new()) };
        (found, pairs(found.value))
    } else {
        (Found { place: "--header", value: "" }, cli.headers.iter().map(|text| pair(text)).collect())
    };
    let valid = |(name, value): &(String, String)| {
        http::HeaderName::try_from(name.as_str()).is_ok() && http::HeaderValue::try_from(value.as_str()).is_ok()
    };
    let given = given.filter(|pairs| pairs.iter().all(valid)).ok_or_else(|| place.wrong_secret(ALLOWED))?;
    Ok(given.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
}

fn outbox<'a>(cli: &'a Cli, lookup: &mut Lookup<'a>) -> Result<OutboxConfig, UsageError> {
    let given = lookup
        .find("--outbox-dir", cli.outbox_dir.as_deref(), &["HEKA_OUTBOX_DIR"])
        .map(|found| PathBuf::from(found.value));
    // systemd may name several directories, separated by colons; the first is ours to use.
    let state = lookup
        .environment
        .get("STATE_DIRECTORY")
        .and_then(|dirs| dirs.split(':').next())
        .map(|dir| PathBuf::from(dir).join("outbox"));
    let dir = given.or(state);
    let found = lookup.find("--outbox-max-size", cli.outbox_max_size.as_deref(), &["HEKA_OUTBOX_MAX_SIZE"]);
    let max_bytes = lookup.parse(found, "a size of at least 64KiB, such as 512KiB, 64MiB, 1GiB", |found| {
        size(found.value).filter(|bytes| *bytes >= OUTBOX_LEAST_BYTES)
    })?;
    let found = lookup.find("--outbox-max-age", cli.outbox_max_age.as_deref(), &["HEKA_OUTBOX_MAX_AGE"]);
    let max_age = lookup.parse(found, "a duration of at least 1s with its unit, such as 30m, 24h, 7d", |found| {
        duration(found.value).filter(|age| *age >= Duration::from_secs(1))
    })?;
    Ok(OutboxConfig {
        max_bytes: max_bytes.unwrap_or(if dir.is_some() { OUTBOX_DISK_BYTES } else { OUTBOX_MEMORY_BYTES }),
        max_age: max_age.unwrap_or(OUTBOX_AGE_DEFAULT),
        dir,
    })
}

fn options<'a>(
    cli: &'a Cli,
    lookup: &mut Lookup<'a>,
    exporter: Exporter,
    temporality: Temporality,
) -> Result<Options, UsageError> {
    let console = matches!(exporter, Exporter::ConsoleTable | Exporter::ConsoleJson);
    let scraped = exporter == Exporter::Prometheus;
    let known = COLLECTORS.iter().map(|family| family.name).collect::<Vec<_>>();
    let found = lookup.find("--collectors", cli.collectors.as_deref(), &["HEKA_COLLECTORS"]);
    let collectors = lookup.parse(found, &known.join(", "), |found| {
        let names: Vec<String> = found
            .value
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| !name.is_empty())
            .collect();
        (!names.is_empty() && names.iter().all(|name| known.contains(&name.as_str()))).then_some(names)
    })?;
    let delta = temporality == Temporality::Delta;
    let since = lookup.choice(
        "--counters-since",
        cli.counters_since.as_deref(),
        &["HEKA_COUNTERS_SINCE"],
        &[("start", Since::Start), ("boot", Since::Boot)],
    )?;
    if delta && since == Some(Since::Boot) {
        return Err(UsageError("--counters-since: 'boot' is not valid with --temporality delta, whose first difference would be the whole uptime; allowed: start".to_owned()));
    }
    if scraped && since == Some(Since::Start) {
        return Err(UsageError("--counters-since: 'start' is not valid with --exporter prometheus, whose text format has no start time; allowed: boot".to_owned()));
    }
    let naming = lookup
        .choice(
            "--naming",
            cli.naming.as_deref(),
            &["HEKA_NAMING"],
            &[
                ("semconv", Naming::Semconv),
                ("hostmetrics", Naming::Hostmetrics),
                ("node_exporter", Naming::NodeExporter),
            ],
        )?
        .unwrap_or(Naming::Semconv);
    let node_exporter = naming == Naming::NodeExporter;
    let scope = lookup.choice(
        "--disk-scope",
        cli.disk_scope.as_deref(),
        &["HEKA_DISK_SCOPE"],
        &[("device", DiskScope::Device), ("total", DiskScope::Total)],
    )?;
    let found = lookup.find("--max-series", cli.max_series.as_deref(), &["HEKA_MAX_SERIES"]);
    let max_series = lookup
        .parse(found, "a whole number of at least 1", |found| found.value.parse().ok().filter(|most| *most >= 1))?;
    Ok(Options {
        collectors,
        detail: lookup
            .choice(
                "--detail",
                cli.detail.as_deref(),
                &["HEKA_DETAIL"],
                &[("basic", Detail::Basic), ("detailed", Detail::Detailed)],
            )?
            .unwrap_or(Detail::Basic),
        // node_exporter knows no sum over the CPUs.
        per_cpu: flag(lookup, cli.per_cpu, "HEKA_PER_CPU")? || node_exporter,
        naming,
        // A person at a console compares with /proc, and no backend there is misled by a start time.
        since: since.unwrap_or(if console || scraped || (node_exporter && !delta) {
            Since::Boot
        } else {
            Since::Start
        }),
        delta,
        disk_scope: match (console, scope) {
            (true, None) => DiskScope::Both,
            (_, scope) => scope.unwrap_or(DiskScope::Device),
        },
        disks: filter(
            lookup,
            ("--disk-include", &cli.disk_include, "HEKA_DISK_INCLUDE"),
            ("--disk-exclude", &cli.disk_exclude, "HEKA_DISK_EXCLUDE"),
        )?,
        filesystems: filter(
            lookup,
            ("--filesystem-include", &cli.filesystem_include, "HEKA_FILESYSTEM_INCLUDE"),
            ("--filesystem-exclude", &cli.filesystem_exclude, "HEKA_FILESYSTEM_EXCLUDE"),
        )?,
        interfaces: filter(
            lookup,
            ("--network-include", &cli.network_include, "HEKA_NETWORK_INCLUDE"),
            ("--network-exclude", &cli.network_exclude, "HEKA_NETWORK_EXCLUDE"),
        )?,
        max_series,
    })
}

type Patterns<'a> = (&'static str, &'a [String], &'static str);

fn filter(lookup: &Lookup<'_>, include: Patterns<'_>, exclude: Patterns<'_>) -> Result<Filter, UsageError> {
    Ok(Filter { include: regexes(lookup, include)?, exclude: regexes(lookup, exclude)? })
}

fn regexes(lookup: &Lookup<'_>, (flag, given, variable): Patterns<'_>) -> Result<Vec<Regex>, UsageError> {
    let regex = |place, text: &str| {
        Regex::new(text).map_err(|error| Found { place, value: text }.wrong(&format!("a regular expression ({error})")))
    };
    if !given.is_empty() {
        return given.iter().map(|text| regex(flag, text)).collect();
    }
    let listed =
        lookup.environment.get(variable).unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty());
    listed.map(|text| regex(variable, text)).collect()
}

fn roots(cli: &Cli, environment: &Environment) -> Roots {
    let variable = |name| environment.get(name).map(PathBuf::from);
    Roots {
        root: cli.root_path.as_ref().map(PathBuf::from).or_else(|| variable("HEKA_ROOT_PATH")),
        proc: variable("HOST_PROC"),
        sys: variable("HOST_SYS"),
        etc: variable("HOST_ETC"),
    }
}

/// Attributes from the variables first, from the flags last: the later ones win.
fn resource<'a>(cli: &'a Cli, lookup: &mut Lookup<'a>) -> Result<Vec<(String, String)>, UsageError> {
    let found = lookup.find("", None, &["OTEL_RESOURCE_ATTRIBUTES"]);
    let mut attributes =
        lookup.parse(found, "K=V,K=V, percent-encoded", |found| pairs(found.value))?.unwrap_or_default();
    let name = lookup.find("--service-name", cli.service_name.as_deref(), &["OTEL_SERVICE_NAME"]);
    attributes.extend(name.map(|found| ("service.name".to_owned(), found.value.to_owned())));
    for text in &cli.resource_attributes {
        let attribute = pair(text).ok_or_else(|| Found { place: "--resource-attribute", value: text }.wrong("K=V"))?;
        attributes.push(attribute);
    }
    Ok(attributes)
}

fn log_level<'a>(cli: &'a Cli, lookup: &mut Lookup<'a>) -> Result<String, UsageError> {
    let found = lookup.find("--log-level", cli.log_level.as_deref(), &["RUST_LOG", "OTEL_LOG_LEVEL"]);
    let level =
        lookup.parse(found, "error, warn, info, debug, trace, off, or targets such as info,h2=debug", |found| {
            // A lone word that is no level would be a target, and everything else silent: in RUST_LOG that is known.
            let known =
                |part: &str| part.contains('=') || part.trim().parse::<tracing::metadata::LevelFilter>().is_ok();
            let sound = found.place == "RUST_LOG" || found.value.split(',').all(known);
            let targets = found.value.parse::<tracing_subscriber::filter::Targets>();
            (sound && targets.is_ok()).then(|| found.value.to_owned())
        })?;
    Ok(level.unwrap_or_else(|| "info".to_owned()))
}

#[cfg(test)]
mod tests;
