//! The validated settings of the agent, resolved from flags and environment.
//!
//! [`table`] defines each setting once. All code here is pure: it accesses no file, clock or process environment.
//! Errors name the flag or the variable.

pub mod cli;
mod endpoint;
pub mod env_file;
pub mod found;
pub mod lookup;
mod nearest;
mod parse;
pub mod setting;
pub mod table;

use std::path::PathBuf;
use std::time::Duration;

use crate::collectors::{DiskScope, Options, SHARED_PERIOD, unread};
use crate::config::found::{Found, UsageError};
use crate::config::lookup::{Arguments, Environment, Lookup};
use crate::export::config::{OtlpConfig, Places, Temporality, TlsFiles};
use crate::export::console::Format;
use crate::export::prometheus::Listen;
use crate::host::Roots;
use crate::metrics::counter::Since;
use crate::metrics::filter::Filter;
use crate::metrics::naming::{Detail, Naming};
use crate::outbox;
use crate::outbox::config::OutboxConfig;

/// The destination of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exporter {
    Otlp,
    Prometheus,
    /// Standard output.
    Console(Format),
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Collect until a signal arrives.
    Run,
    /// Collect once.
    Once,
    /// Check the sources and the delivery, then report.
    Check {
        /// Send a real collection instead of an empty export.
        send: bool,
        json: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub command: Command,
    pub exporter: Exporter,
    /// Time between two collections.
    pub interval: Duration,
    /// Whether to wait for the host's phase before the first collection.
    pub phase: bool,
    pub otlp: OtlpConfig,
    /// The address that the Prometheus exporter listens on.
    pub listen: Listen,
    pub outbox: OutboxConfig,
    pub options: Options,
    /// Self-metrics; `None` disables them.
    pub self_metrics: Option<Detail>,
    pub roots: Roots,
    /// Attributes that override the detected ones; later ones override earlier ones.
    pub resource: Vec<(String, String)>,
    /// Log filter, in the syntax of RUST_LOG.
    pub log_level: String,
    pub log_format: LogFormat,
    /// Warnings for the log: ignored values and variables.
    pub warnings: Vec<String>,
    /// Informational lines for the log.
    pub notes: Vec<String>,
}

impl Config {
    /// Merges flags, environment and defaults.
    ///
    /// # Errors
    /// One line with the flag or variable, its value unless it is a secret, and the allowed values.
    pub fn resolve(arguments: &Arguments, environment: &Environment) -> Result<Self, UsageError> {
        let mut lookup = Lookup::new(arguments, environment);
        let mut notes = Vec::new();
        lookup.warnings = unused(environment)?;
        let command = command(arguments)?;
        let exporter = exporter(arguments, &mut lookup)?;
        let console = matches!(exporter, Exporter::Console(_));
        let scraped = exporter == Exporter::Prometheus;
        if scraped && command == Command::Once {
            return Err(UsageError(
                "--once: not with --exporter prometheus, which collects when it is scraped".to_owned(),
            ));
        }
        // Applies only to OTLP: the console prints totals, and Prometheus requires them.
        let temporality = lookup.value(&table::TEMPORALITY)?;
        let temporality = if console || scraped { Temporality::Cumulative } else { temporality };
        let otlp = otlp(&mut lookup, &mut notes, temporality)?;
        let options = options(&mut lookup, exporter, temporality)?;
        if options.collectors.is_some() {
            let line = |(name, needed)| format!("the collector {name} sends nothing without {needed}");
            notes.extend(unread(&options).into_iter().map(line));
        }
        let no_phase = lookup.optional(&table::NO_PHASE)?.unwrap_or(console || scraped);
        Ok(Self {
            command,
            exporter,
            interval: lookup.value(&table::INTERVAL)?,
            phase: !no_phase && command == Command::Run,
            otlp,
            listen: listen(&mut lookup)?,
            outbox: outbox_config(&mut lookup)?,
            options,
            self_metrics: lookup.value(&table::SELF_METRICS)?,
            roots: Roots {
                root: lookup.optional(&table::ROOT_PATH)?,
                proc: lookup.optional(&table::HOST_PROC)?,
                sys: lookup.optional(&table::HOST_SYS)?,
                etc: lookup.optional(&table::HOST_ETC)?,
            },
            resource: resource(&mut lookup)?,
            log_level: lookup.value(&table::LOG_LEVEL)?,
            log_format: lookup.value(&table::LOG_FORMAT)?,
            warnings: lookup.warnings,
            notes,
        })
    }
}

/// Prefixes of variables for this program. A misspelled endpoint would send the data to the default one.
const PREFIXES: [&str; 2] = ["HEKA_", "OTEL_EXPORTER_OTLP_"];

/// Starts of names that the specification defines for other signals, and for histograms, which the agent does not have.
const FOR_OTHERS: [&str; 5] = [
    "OTEL_EXPORTER_OTLP_TRACES_",
    "OTEL_EXPORTER_OTLP_LOGS_",
    "OTEL_EXPORTER_OTLP_PROFILES_",
    "OTEL_EXPORTER_OTLP_SPAN_",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
];

/// A warning for each unknown variable with one of the prefixes. A known variable that is not UTF-8 is an error.
fn unused(environment: &Environment) -> Result<Vec<String>, UsageError> {
    let known: Vec<&str> = table::variable_names().collect();
    if let Some(name) = known.iter().find(|name| environment.is_not_unicode(name)) {
        return Err(UsageError(format!("{name}: its value (not shown) is not valid; allowed: UTF-8")));
    }
    let line = |name: &str| {
        let (prefix, rest) = PREFIXES.iter().find_map(|prefix| Some((prefix, name.strip_prefix(prefix)?)))?;
        if known.contains(&name) || FOR_OTHERS.iter().any(|start| name.starts_with(start)) {
            return None;
        }
        // The prefix is common to all and must not make two names similar.
        let near = nearest::nearest(rest, known.iter().filter_map(|name| name.strip_prefix(prefix)));
        let hint = match near {
            Some(near) => format!("did you mean {prefix}{near}?"),
            None => "--help lists all variables".to_owned(),
        };
        Some(UsageError(format!("{name}: unknown variable, ignored; {hint}")).to_string())
    };
    Ok(environment.names().into_iter().filter_map(line).collect())
}

fn command(arguments: &Arguments) -> Result<Command, UsageError> {
    let given = |flag| arguments.get(flag).next().is_some();
    let (once, send, json) = (given(table::ONCE.row.flag), given(table::SEND.row.flag), given(table::JSON.row.flag));
    match arguments.command.as_deref() {
        Some("check") if once => Err(UsageError("--once: not with the command check".to_owned())),
        Some("check") => Ok(Command::Check { send, json }),
        Some(other) if nearest::nearest(other, ["check"]).is_some() => {
            Err(UsageError(format!("'{other}' is not a command; did you mean check?")))
        }
        // A part of a value that was not quoted arrives as a command, and it may be a secret.
        Some(_) => Err(UsageError("unknown command (not shown); allowed: check, or no command to run".to_owned())),
        None if send || json => {
            let flag = if send { table::SEND.row.flag } else { table::JSON.row.flag };
            Err(UsageError(format!("{flag}: only with the command check")))
        }
        None => Ok(if once { Command::Once } else { Command::Run }),
    }
}

fn exporter(arguments: &Arguments, lookup: &mut Lookup<'_>) -> Result<Exporter, UsageError> {
    let format = lookup.value(&table::CONSOLE_FORMAT)?;
    let chosen = lookup.value(&table::EXPORTER)?;
    let disabled = lookup.value(&table::SDK_DISABLED)? && arguments.get(table::EXPORTER.row.flag).next().is_none();
    Ok(match chosen {
        _ if disabled => Exporter::None,
        Exporter::Console(_) => Exporter::Console(format),
        other => other,
    })
}

/// Resolves the listen address: the flag is the whole address, the variables are its two parts.
fn listen(lookup: &mut Lookup<'_>) -> Result<Listen, UsageError> {
    if let Some(address) = lookup.optional(&table::LISTEN)? {
        return Ok(address);
    }
    let host = lookup.value(&table::PROMETHEUS_HOST)?;
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok(Listen { host, port: lookup.value(&table::PROMETHEUS_PORT)? })
}

fn otlp(lookup: &mut Lookup<'_>, notes: &mut Vec<String>, temporality: Temporality) -> Result<OtlpConfig, UsageError> {
    let (protocol, endpoint) = endpoint::endpoint(lookup, notes)?;
    let tls = [&table::CA_FILE, &table::CERT_FILE, &table::KEY_FILE].map(|setting| lookup.found(setting));
    let [ca, cert, key] = tls;
    let (ca, cert, key) = (ca?, cert?, key?);
    if cert.is_some() != key.is_some() {
        let given = cert.or(key).map_or("", |(_, found)| found.place);
        return Err(UsageError(format!(
            "{given}: --cert-file and --key-file (or their variables) belong together; allowed: both or neither"
        )));
    }
    if !endpoint.starts_with("https://") {
        for (_, found) in [&ca, &cert, &key].into_iter().flatten() {
            lookup.warnings.push(format!("{}: not used, since the endpoint is not https://", found.place));
        }
    }
    let place =
        |found: &Option<(_, Found<'_>)>, flag: &str| found.as_ref().map_or(flag, |(_, found)| found.place).to_owned();
    let places = Places {
        ca: place(&ca, table::CA_FILE.row.flag),
        cert: place(&cert, table::CERT_FILE.row.flag),
        key: place(&key, table::KEY_FILE.row.flag),
    };
    let path = |found: Option<(PathBuf, _)>| found.map(|(path, _)| path);
    Ok(OtlpConfig {
        protocol,
        endpoint,
        headers: lookup.list(&table::HEADER)?,
        headers_file: lookup.optional(&table::HEADERS_FILE)?,
        gzip: lookup.value(&table::COMPRESSION)?,
        timeout: lookup.value(&table::TIMEOUT)?,
        tls: TlsFiles { ca: path(ca), cert: path(cert), key: path(key), places },
        proxies: lookup.proxies(),
        temporality,
    })
}

fn outbox_config(lookup: &mut Lookup<'_>) -> Result<OutboxConfig, UsageError> {
    let dir = lookup.found(&table::OUTBOX_DIR)?.map(|(dir, found)| match found.place {
        // systemd may name several directories, separated by colons; use the first one.
        "STATE_DIRECTORY" => PathBuf::from(found.value.split(':').next().unwrap_or_default()).join("outbox"),
        _ => dir,
    });
    let default = if dir.is_some() { outbox::DISK_MAX_BYTES } else { outbox::MEMORY_MAX_BYTES };
    Ok(OutboxConfig {
        max_bytes: lookup.optional(&table::OUTBOX_MAX_SIZE)?.unwrap_or(default),
        max_age: lookup.value(&table::OUTBOX_MAX_AGE)?,
        dir,
    })
}

fn options(lookup: &mut Lookup<'_>, exporter: Exporter, temporality: Temporality) -> Result<Options, UsageError> {
    let console = matches!(exporter, Exporter::Console(_));
    let scraped = exporter == Exporter::Prometheus;
    let delta = temporality == Temporality::Delta;
    let since = lookup.found(&table::COUNTERS_SINCE)?;
    if let (true, Some((Since::Boot, found))) = (delta, &since) {
        return Err(UsageError(format!(
            "{}: 'boot' is not valid with delta temporality, whose first difference would be the whole uptime; allowed: start",
            found.place
        )));
    }
    if let (true, Some((Since::Start, found))) = (scraped, &since) {
        return Err(UsageError(format!(
            "{}: 'start' is not valid with --exporter prometheus, whose text format has no start time; allowed: boot",
            found.place
        )));
    }
    let naming = lookup.value(&table::NAMING)?;
    let node_exporter = naming == Naming::NodeExporter;
    let boot = console || scraped || (node_exporter && !delta);
    let scope = lookup.optional(&table::DISK_SCOPE)?;
    Ok(Options {
        collectors: lookup.optional(&table::SELECTED)?,
        detail: lookup.value(&table::DETAIL)?,
        // node_exporter has no sum over the CPUs.
        per_cpu: lookup.optional(&table::PER_CPU)?.unwrap_or(false) || node_exporter,
        naming,
        // Totals on the console are compared with /proc, and no backend uses the start time.
        since: since.map_or(if boot { Since::Boot } else { Since::Start }, |(since, _)| since),
        scraped,
        delta,
        disk_scope: match (console, scope) {
            (true, None) => DiskScope::Both,
            (_, scope) => scope.unwrap_or(DiskScope::Device),
        },
        disks: Filter { include: lookup.list(&table::DISK_INCLUDE)?, exclude: lookup.list(&table::DISK_EXCLUDE)? },
        filesystems: Filter {
            include: lookup.list(&table::FILESYSTEM_INCLUDE)?,
            exclude: lookup.list(&table::FILESYSTEM_EXCLUDE)?,
        },
        interfaces: Filter {
            include: lookup.list(&table::NETWORK_INCLUDE)?,
            exclude: lookup.list(&table::NETWORK_EXCLUDE)?,
        },
        services: Filter {
            include: lookup.list(&table::SERVICE_INCLUDE)?,
            exclude: lookup.list(&table::SERVICE_EXCLUDE)?,
        },
        textfile_dir: lookup.optional(&table::TEXTFILE_DIR)?,
        max_series: lookup.optional(&table::MAX_SERIES)?,
        top_processes: lookup.value(&table::TOP_PROCESSES)?,
        // Two servers may scrape one agent within a few milliseconds.
        utilization_period: if scraped { SHARED_PERIOD } else { Duration::ZERO },
        process_command_lines: lookup.optional(&table::PROCESS_COMMAND_LINES)?.unwrap_or(false),
    })
}

/// Attributes from variables first, then from flags; later ones override earlier ones.
fn resource(lookup: &mut Lookup<'_>) -> Result<Vec<(String, String)>, UsageError> {
    let row = &table::RESOURCE_ATTRIBUTES.row;
    let mut attributes = lookup.variable(&table::RESOURCE_ATTRIBUTES)?;
    let name = lookup.optional(&table::SERVICE_NAME)?;
    attributes.extend(name.map(|name| ("service.name".to_owned(), name)));
    if lookup.find(row).first().is_some_and(|found| found.is_flag()) {
        attributes.extend(lookup.list(&table::RESOURCE_ATTRIBUTES)?);
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests;
