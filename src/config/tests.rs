//! Tests of the source and precedence of each setting, through [`Config::resolve`]. Nothing is read from the process.

use regex_lite::Regex;

use super::*;
use crate::collectors::DEFAULT_MAX_SERIES;
use crate::config::setting::{Default, Kind};
use crate::export::config::Protocol;
use crate::host::Host;
use crate::host::identity::{self, Identity};

fn resolve(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, UsageError> {
    let arguments = std::iter::once(cli::NAME).chain(arguments.iter().copied()).map(Into::into);
    let arguments = cli::parse(arguments).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::resolve(&arguments, &Environment::new(variables))
}

fn good(arguments: &[&str], variables: &[(&str, &str)]) -> Config {
    resolve(arguments, variables).unwrap_or_else(|error| panic!("{arguments:?} {variables:?}: {error}"))
}

fn bad(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    match resolve(arguments, variables) {
        Ok(_) => panic!("{arguments:?} {variables:?} is taken"),
        Err(error) => error.to_string(),
    }
}

/// The sources of a setting in order of precedence, each with a value and the expected result.
struct Setting {
    flag: (&'static str, &'static str, &'static str),
    variables: &'static [(&'static str, &'static str, &'static str)],
    default: &'static str,
    read: fn(&Config) -> String,
}

#[rustfmt::skip] // a table
const SETTINGS: &[Setting] = &[
    Setting { flag: ("--exporter", "none", "None"), default: "Otlp", read: |c| format!("{:?}", c.exporter),
        variables: &[("OTEL_METRICS_EXPORTER", "console", "Console(Table)")] },
    Setting { flag: ("--listen", "[::1]:9100", "[::1]:9100"), default: "localhost:9464", read: |c| c.listen.to_string(),
        variables: &[("OTEL_EXPORTER_PROMETHEUS_HOST", "::", "[::]:9464")] },
    Setting { flag: ("--interval", "1s", "1s"), default: "10s", read: |c| format!("{:?}", c.interval),
        variables: &[("HEKA_INTERVAL", "3s", "3s"), ("OTEL_METRIC_EXPORT_INTERVAL", "2500", "2.5s"), ("CPU_POLL_INTERVAL_SECONDS", "0.5", "500ms")] },
    Setting { flag: ("--endpoint", "http://a:1", "http://a:1"), default: "http://localhost:4317", read: |c| c.otlp.endpoint.clone(),
        variables: &[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://b:2", "http://b:2"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:3", "http://c:3")] },
    Setting { flag: ("--protocol", "grpc", "Grpc"), default: "Grpc", read: |c| format!("{:?}", c.otlp.protocol),
        variables: &[("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf", "HttpProtobuf"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "Grpc")] },
    Setting { flag: ("--compression", "gzip", "true"), default: "false", read: |c| c.otlp.gzip.to_string(),
        variables: &[("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none", "false"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "true")] },
    Setting { flag: ("--timeout", "1s", "1s"), default: "10s", read: |c| format!("{:?}", c.otlp.timeout),
        variables: &[("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2000", "2s"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000", "3s")] },
    Setting { flag: ("--header", "k=1", r#"[("k", "1")]"#), default: "[]", read: |c| format!("{:?}", c.otlp.headers),
        variables: &[("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "k=2", r#"[("k", "2")]"#), ("OTEL_EXPORTER_OTLP_HEADERS", "other=3", r#"[("other", "3")]"#)] },
    Setting { flag: ("--headers-file", "/a", r#"Some("/a")"#), default: "None", read: |c| format!("{:?}", c.otlp.headers_file),
        variables: &[("HEKA_HEADERS_FILE", "/b", r#"Some("/b")"#)] },
    Setting { flag: ("--ca-file", "/a", r#"Some("/a")"#), default: "None", read: |c| format!("{:?}", c.otlp.tls.ca),
        variables: &[("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/b", r#"Some("/b")"#), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/c", r#"Some("/c")"#)] },
    Setting { flag: ("--temporality", "lowmemory", "LowMemory"), default: "Cumulative", read: |c| format!("{:?}", c.otlp.temporality),
        variables: &[("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta", "Delta")] },
    Setting { flag: ("--outbox-dir", "/a", r#"Some("/a")"#), default: "None", read: |c| format!("{:?}", c.outbox.dir),
        variables: &[("HEKA_OUTBOX_DIR", "/b", r#"Some("/b")"#), ("STATE_DIRECTORY", "/var/lib/heka:/other", r#"Some("/var/lib/heka/outbox")"#)] },
    Setting { flag: ("--outbox-max-size", "1MiB", "1048576"), default: "4194304", read: |c| c.outbox.max_bytes.to_string(),
        variables: &[("HEKA_OUTBOX_MAX_SIZE", "2MiB", "2097152")] },
    Setting { flag: ("--outbox-max-age", "1h", "3600s"), default: "86400s", read: |c| format!("{:?}", c.outbox.max_age),
        variables: &[("HEKA_OUTBOX_MAX_AGE", "2h", "7200s")] },
    Setting { flag: ("--collectors", "cpu, DISK", r#"Some(["cpu", "disk"])"#), default: "None", read: |c| format!("{:?}", c.options.collectors),
        variables: &[("HEKA_COLLECTORS", "memory", r#"Some(["memory"])"#)] },
    Setting { flag: ("--detail", "basic", "Basic"), default: "Basic", read: |c| format!("{:?}", c.options.detail),
        variables: &[("HEKA_DETAIL", "detailed", "Detailed")] },
    Setting { flag: ("--naming", "semconv", "Semconv"), default: "Semconv", read: |c| format!("{:?}", c.options.naming),
        variables: &[("HEKA_NAMING", "hostmetrics", "Hostmetrics")] },
    Setting { flag: ("--counters-since", "start", "Start"), default: "Start", read: |c| format!("{:?}", c.options.since),
        variables: &[("HEKA_COUNTERS_SINCE", "boot", "Boot")] },
    Setting { flag: ("--disk-scope", "device", "Device"), default: "Device", read: |c| format!("{:?}", c.options.disk_scope),
        variables: &[("HEKA_DISK_SCOPE", "total", "Total")] },
    Setting { flag: ("--disk-include", "^sd", "[^sd]"), default: "[]", read: |c| regexes(&c.options.disks.include),
        variables: &[("HEKA_DISK_INCLUDE", "^vd, ^xvd", "[^vd, ^xvd]")] },
    Setting { flag: ("--network-exclude", "^br", "[^br]"), default: "[]", read: |c| regexes(&c.options.interfaces.exclude),
        variables: &[("HEKA_NETWORK_EXCLUDE", "^docker", "[^docker]")] },
    Setting { flag: ("--top-processes", "5", "5"), default: "0", read: |c| c.options.top_processes.to_string(),
        variables: &[("HEKA_TOP_PROCESSES", "9", "9")] },
    Setting { flag: ("--textfile-dir", "/a", r#"Some("/a")"#), default: "None", read: |c| format!("{:?}", c.options.textfile_dir),
        variables: &[("HEKA_TEXTFILE_DIR", "/b", r#"Some("/b")"#)] },
    Setting { flag: ("--max-series", "7", "Some(7)"), default: "None", read: |c| format!("{:?}", c.options.max_series),
        variables: &[("HEKA_MAX_SERIES", "8", "Some(8)")] },
    Setting { flag: ("--self-metrics", "off", "None"), default: "Some(Basic)", read: |c| format!("{:?}", c.self_metrics),
        variables: &[("HEKA_SELF_METRICS", "DETAILED", "Some(Detailed)")] },
    Setting { flag: ("--service-name", "a", r#"[("service.name", "a")]"#), default: "[]", read: |c| format!("{:?}", c.resource),
        variables: &[("OTEL_SERVICE_NAME", "b", r#"[("service.name", "b")]"#)] },
    Setting { flag: ("--root-path", "/a", r#"Some("/a")"#), default: "None", read: |c| format!("{:?}", c.roots.root),
        variables: &[("HEKA_ROOT_PATH", "/b", r#"Some("/b")"#)] },
    Setting { flag: ("--log-level", "warn", "warn"), default: "info", read: |c| c.log_level.clone(),
        variables: &[("RUST_LOG", "heka_insights_agent=debug", "heka_insights_agent=debug"), ("OTEL_LOG_LEVEL", "error", "error")] },
    Setting { flag: ("--log-format", "text", "Text"), default: "Text", read: |c| format!("{:?}", c.log_format),
        variables: &[("HEKA_LOG_FORMAT", "json", "Json")] },
];

fn regexes(list: &[Regex]) -> String {
    format!("[{}]", list.iter().map(Regex::as_str).collect::<Vec<_>>().join(", "))
}

#[test]
fn a_flag_beats_the_signals_variable_beats_the_general_one_beats_the_default() {
    for Setting { flag: (flag, value, result), variables, default, read } in SETTINGS {
        let set: Vec<_> = variables.iter().map(|(name, value, _)| (*name, *value)).collect();
        let config = good(&[flag, value], &set);
        assert_eq!(read(&config), *result, "{flag}");
        assert!(config.warnings.iter().all(|line| line.contains("is not https")), "{:?}", config.warnings);
        for (place, (name, _, result)) in variables.iter().enumerate() {
            assert_eq!(read(&good(&[], &set[place..])), *result, "{name}");
            let emptied: Vec<_> = set
                .iter()
                .enumerate()
                .map(|(at, (name, value))| (*name, if at < place { " " } else { value }))
                .collect();
            assert_eq!(read(&good(&[], &emptied)), *result, "{name} while those before it are empty");
        }
        assert_eq!(read(&good(&[], &[])), *default, "{flag} by default");
    }
}

/// Each filter flag and variable has a different regular expression, so that a swap is detected.
#[test]
fn each_filter_reaches_its_own_list() {
    let names = ["disk", "filesystem", "network", "service"];
    let sides = ["include", "exclude"];
    let pairs: Vec<(&str, &str)> = names.iter().flat_map(|name| sides.iter().map(|side| (*name, *side))).collect();
    let flags: Vec<String> = pairs.iter().map(|(name, side)| format!("--{name}-{side}={name}.{side}")).collect();
    let variables: Vec<(String, String)> = pairs
        .iter()
        .map(|(name, side)| (format!("HEKA_{}_{}", name.to_uppercase(), side.to_uppercase()), format!("{name}.{side}")))
        .collect();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    let expected: Vec<String> = pairs.iter().map(|(name, side)| format!("[{name}.{side}]")).collect();
    for config in [good(&flags.iter().map(String::as_str).collect::<Vec<_>>(), &[]), good(&[], &variables)] {
        let options = &config.options;
        let filters = [&options.disks, &options.filesystems, &options.interfaces, &options.services];
        let found: Vec<String> =
            filters.iter().flat_map(|filter| [regexes(&filter.include), regexes(&filter.exclude)]).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn the_settings_table_has_every_flag_with_a_value_that_decides_alone() {
    // Flags with other tests: program.rs reads the file; the console's format matters only there; a certificate needs its
    // key; the attributes of all sources are merged; each filter has two lists.
    const JOINED: [&str; 11] = [
        "--env-file",
        "--console-format",
        "--cert-file",
        "--key-file",
        "--resource-attribute",
        "--disk-exclude",
        "--network-include",
        "--filesystem-include",
        "--filesystem-exclude",
        "--service-include",
        "--service-exclude",
    ];
    let rows = table::SETTINGS.iter().map(|setting| setting.row());
    for row in rows.filter(|row| !matches!(row.kind, Kind::Switch { .. }) && !row.flag.is_empty()) {
        let known = SETTINGS.iter().any(|setting| setting.flag.0 == row.flag);
        assert!(known || JOINED.contains(&row.flag), "{} is in no test of precedence", row.flag);
    }
}

#[test]
fn the_defaults_that_the_help_prints_are_the_ones_in_use() {
    let all = |config: &Config| {
        let otlp = &config.otlp;
        format!("{config:?} {:?} {:?} {:?} {:?}", otlp.gzip, otlp.timeout, otlp.temporality, otlp.headers)
    };
    let unset = all(&good(&[], &[]));
    let mut compared = 0;
    for row in table::SETTINGS.iter().map(|setting| setting.row()) {
        let Default::Value(value) = row.default else { continue };
        let set = match row.flag {
            "" => good(&[], &[(row.variables[0].0, value)]),
            flag => good(&[flag, value], &[]),
        };
        assert_eq!(all(&set), unset, "{row:?}");
        compared += 1;
    }
    assert!(compared > 12, "{compared}");
    // The defaults of these depend on other settings.
    let text =
        |flag: &str| table::SETTINGS.iter().find(|setting| setting.row().flag == flag).unwrap().row().default_text();
    assert_eq!(text("--outbox-max-size"), "64MiB on disk, 4MiB in memory");
    let bytes = |arguments: &[&str]| good(arguments, &[]).outbox.max_bytes;
    assert_eq!((bytes(&["--outbox-dir", "/d"]), bytes(&[])), (64 << 20, 4 << 20));
    assert_eq!(text("--endpoint"), "http://localhost:4317, over HTTP http://localhost:4318");
    assert_eq!(good(&[], &[]).otlp.endpoint, "http://localhost:4317");
    assert_eq!(good(&["--protocol", "http/protobuf"], &[]).otlp.endpoint, "http://localhost:4318/v1/metrics");
    assert_eq!(
        text("--counters-since"),
        "start; boot with --exporter console or prometheus and with --naming node_exporter"
    );
    assert_eq!(text("--max-series"), format!("{DEFAULT_MAX_SERIES}, or more if the host's CPUs and disks need it"));
    let host = tempfile::tempdir().unwrap();
    let roots = Roots { root: Some(host.path().to_owned()), ..Roots::default() };
    let resource = identity::resource(&Host::new(&roots), &Identity::default(), &good(&[], &[]).resource);
    assert_eq!(resource.get(&"service.name".into()).unwrap().as_str(), text("--service-name"));
    let since = |arguments: &[&str]| good(arguments, &[]).options.since;
    assert_eq!((since(&[]), since(&["--exporter", "console"])), (Since::Start, Since::Boot));
}

#[test]
fn an_unknown_variable_of_this_program_is_one_warning_with_the_nearest_name() {
    let config = good(&[], &[("HEKA_INTERVALL", "1s"), ("HEKA_COLOUR_OF_LOGS", "red"), ("OTHER", "1")]);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    let all = config.warnings.join("\n");
    assert!(all.contains("HEKA_INTERVALL: unknown variable, ignored; did you mean HEKA_INTERVAL?"), "{all}");
    assert!(all.contains("HEKA_COLOUR_OF_LOGS: unknown variable, ignored; --help"), "{all}");
}

#[test]
fn a_variable_that_is_not_utf8_is_named_and_not_shown() {
    use std::os::unix::ffi::OsStringExt;
    let resolve = |name: &str| {
        let mut environment = Environment::default();
        environment.add_process([(name.into(), std::ffi::OsString::from_vec(b"hunter2\xff".to_vec()))]);
        Config::resolve(&Arguments::default(), &environment)
    };
    for name in ["HEKA_DETAIL", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"] {
        let error = resolve(name).unwrap_err().to_string();
        assert!(error.starts_with(name) && error.contains("UTF-8") && !error.contains("hunter2"), "{error}");
    }
    assert!(resolve("OTHER").unwrap().warnings.is_empty());
    assert_eq!(resolve("HEKA_OTHER").unwrap().warnings.len(), 1);
}

#[test]
fn a_certificate_beside_an_endpoint_without_tls_is_one_warning_that_names_its_place() {
    let config = good(&["--endpoint", "http://h:1"], &[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/c")]);
    assert_eq!(config.warnings, ["OTEL_EXPORTER_OTLP_CERTIFICATE: not used, since the endpoint is not https://"]);
    assert!(good(&["--endpoint", "https://h:1", "--ca-file", "/c"], &[]).warnings.is_empty());
}

#[test]
fn an_empty_value_of_any_flag_is_an_error() {
    for row in table::SETTINGS.iter().map(|setting| setting.row()) {
        if matches!(row.kind, Kind::Switch { .. }) || row.flag.is_empty() || row.flag == "--env-file" {
            continue;
        }
        let error = bad(&[&format!("{}=", row.flag)], &[]);
        assert!(error.starts_with(&format!("{}: ", row.flag)) && error.contains("allowed: "), "{error}");
    }
}

#[test]
fn a_fragment_of_an_endpoint_is_no_part_of_its_path() {
    let config = good(&["--endpoint", "http://h:1/x#y", "--protocol", "http/protobuf"], &[]);
    assert_eq!(config.otlp.endpoint, "http://h:1/x/v1/metrics");
}

#[test]
fn the_number_of_series_has_an_upper_bound() {
    assert_eq!(good(&["--max-series", "100000"], &[]).options.max_series, Some(100_000));
    for value in ["100001", "18446744073709551615", "18446744073709551616"] {
        assert!(bad(&["--max-series", value], &[]).contains("from 1 to 100000"));
    }
}

#[test]
fn send_and_json_belong_to_check() {
    assert_eq!(good(&["check", "--send"], &[]).command, Command::Check { send: true, json: false });
    assert_eq!(good(&["check", "--json"], &[]).command, Command::Check { send: false, json: true });
    assert!(bad(&["--send"], &[]).contains("check") && bad(&["--json"], &[]).contains("check"));
}

/// A switch, its negation, its variable, and whether it is on.
type Switch = (&'static str, &'static str, &'static str, fn(&Config) -> bool);

const SWITCHES: [Switch; 3] = [
    ("--per-cpu", "--no-per-cpu", "HEKA_PER_CPU", |config| config.options.per_cpu),
    ("--no-phase", "--phase", "HEKA_NO_PHASE", |config| !config.phase),
    ("--process-command-lines", "--no-process-command-lines", "HEKA_PROCESS_COMMAND_LINES", |config| {
        config.options.process_command_lines
    }),
];

#[test]
fn a_switch_or_its_variable_turns_it_on_and_its_negation_off() {
    for (flag, negation, variable, is_on) in SWITCHES {
        let is_on = |arguments: &[&str], variables: &[(&str, &str)]| is_on(&good(arguments, variables));
        assert!(!is_on(&[], &[]), "{flag} is off by default");
        assert!(is_on(&[flag], &[]) && is_on(&[flag], &[(variable, "false")]), "{flag}");
        assert!(is_on(&[], &[(variable, "yes")]) && !is_on(&[], &[(variable, "FALSE")]), "{variable}");
        assert!(!is_on(&[negation], &[(variable, "true")]), "{negation}");
    }
    for row in table::SETTINGS.iter().map(|setting| setting.row()).filter(|row| !row.variables.is_empty()) {
        let Kind::Switch { negation } = row.kind else { continue };
        let known =
            SWITCHES.iter().any(|switch| (switch.0, switch.1, switch.2) == (row.flag, negation, row.variables[0].0));
        assert!(known && row.variables.len() == 1, "{row:?}");
    }
    assert!(!good(&["--exporter", "console"], &[]).phase, "a person at a console does not wait");
}

#[test]
fn a_client_certificate_and_its_key_come_from_flags_and_variables() {
    let signal = ["OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY"];
    let general = ["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];
    let files = |arguments: &[&str], variables: &[(&str, &str)]| {
        let tls = good(arguments, variables).otlp.tls;
        [tls.cert, tls.key].map(|file| file.unwrap().to_str().unwrap().to_owned())
    };
    let variables = [(signal[0], "/c2"), (signal[1], "/k2"), (general[0], "/c3"), (general[1], "/k3")];
    assert_eq!(files(&["--cert-file", "/c1", "--key-file", "/k1"], &variables), ["/c1", "/k1"]);
    assert_eq!(files(&[], &variables), ["/c2", "/k2"]);
    assert_eq!(files(&[], &variables[2..]), ["/c3", "/k3"]);
}

#[test]
fn a_console_prints_the_kernels_totals_and_both_scopes_of_disks() {
    let options =
        good(&["--exporter", "console"], &[("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")]).options;
    assert_eq!((options.since, options.disk_scope, options.delta), (Since::Boot, DiskScope::Both, false));
    let json = good(&[], &[("OTEL_METRICS_EXPORTER", "console"), ("HEKA_CONSOLE_FORMAT", "json")]);
    assert_eq!(json.exporter, Exporter::Console(Format::Json));
}

#[test]
fn a_scrape_has_totals_since_boot_and_no_phase() {
    let delta = ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta");
    let config = good(&["--exporter", "prometheus"], &[delta, ("OTEL_EXPORTER_PROMETHEUS_PORT", "9100")]);
    assert_eq!((config.exporter, config.phase), (Exporter::Prometheus, false));
    assert_eq!((config.options.since, config.options.delta), (Since::Boot, false));
    assert_eq!(config.listen.to_string(), "localhost:9100");
    let error = bad(&["--exporter", "prometheus", "--counters-since", "start"], &[]);
    assert!(error.contains("--counters-since"), "{error}");
    assert!(bad(&["--exporter", "prometheus", "--once"], &[]).contains("--once"));
    assert!(bad(&["--listen", "9100"], &[]).contains("'9100'"));
}

#[test]
fn the_naming_of_node_exporter_brings_its_defaults() {
    let options = good(&["--naming", "node_exporter"], &[]).options;
    assert!(options.per_cpu);
    assert_eq!((options.naming, options.since), (Naming::NodeExporter, Since::Boot));
    let delta = good(&["--naming", "node_exporter", "--temporality", "delta"], &[]).options;
    assert_eq!(delta.since, Since::Start);
}

#[test]
fn a_disabled_sdk_exports_nothing_unless_a_flag_selects_an_exporter() {
    let exporter = |arguments: &[&str], value| good(arguments, &[("OTEL_SDK_DISABLED", value)]).exporter;
    assert_eq!(exporter(&[], "True"), Exporter::None);
    assert_eq!(exporter(&[], "1"), Exporter::Otlp, "the specification: anything but true is false");
    assert_eq!(good(&[], &[("OTEL_SDK_DISABLED", "1")]).warnings.len(), 1);
    assert_eq!(exporter(&["--exporter", "otlp"], "true"), Exporter::Otlp);
}

#[test]
fn wrong_values_of_shared_variables_warn_and_leave_the_default() {
    for (name, value, setting) in [
        ("OTEL_METRICS_EXPORTER", "jaeger", "--exporter"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "70000", "--listen"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "10s", "--interval"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1", "--interval"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "--protocol"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "zstd", "--compression"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "--timeout"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1.5", "--timeout"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sum", "--temporality"),
        ("OTEL_LOG_LEVEL", "loud", "--log-level"),
    ] {
        let config = good(&[], &[(name, value)]);
        let setting = SETTINGS.iter().find(|known| known.flag.0 == setting).unwrap();
        assert_eq!((setting.read)(&config), setting.default, "{name}={value}");
        let warnings = config.warnings.join("\n");
        assert!(config.warnings.len() == 1 && warnings.contains(name) && warnings.contains(value), "{warnings}");
    }
    let config = good(&[], &[("OTEL_RESOURCE_ATTRIBUTES", "novalue")]);
    assert!(config.resource.is_empty() && config.warnings.len() == 1);
}

#[test]
fn cpu_poll_interval_takes_fractions_of_a_second_and_refuses_the_rest() {
    let interval = |value| good(&[], &[("CPU_POLL_INTERVAL_SECONDS", value)]).interval;
    assert_eq!(interval("0.1"), Duration::from_millis(100));
    assert_eq!(interval("2"), Duration::from_secs(2));
    for value in ["0.05", "-1", "nan", "inf", "1s", "4000"] {
        let error = bad(&[], &[("CPU_POLL_INTERVAL_SECONDS", value)]);
        assert!(error.contains("CPU_POLL_INTERVAL_SECONDS") && error.contains(&format!("'{value}'")), "{error}");
    }
}

const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const METRICS: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";

#[test]
fn an_endpoint_is_a_base_or_taken_as_it_is() {
    use Protocol::{Grpc, HttpProtobuf as Http};
    const HTTP: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    #[rustfmt::skip] // a table
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], Protocol, &'a str);
    let cases: &[Case<'_>] = &[
        (&[], &[], Grpc, "http://localhost:4317"),
        (&[], &[HTTP], Http, "http://localhost:4318/v1/metrics"),
        // The flag and the general variable are base URLs.
        (&["--endpoint", "http://h:1"], &[HTTP], Http, "http://h:1/v1/metrics"),
        (&["--endpoint", "http://h:1/"], &[HTTP], Http, "http://h:1/v1/metrics"),
        (&["--endpoint", "https://h/otlp/"], &[HTTP], Http, "https://h/otlp/v1/metrics"),
        (&["--endpoint", "http://h:1/v1/metrics"], &[HTTP], Http, "http://h:1/v1/metrics"),
        (&["--endpoint", "http://h/otlp?a=b"], &[HTTP], Http, "http://h/otlp/v1/metrics?a=b"),
        (&[], &[HTTP, (GENERAL, "http://h:1/x")], Http, "http://h:1/x/v1/metrics"),
        // The variable of the metrics signal is the full URL.
        (&[], &[HTTP, (METRICS, "http://h:1/x")], Http, "http://h:1/x"),
        (&[], &[HTTP, (METRICS, "http://h:1")], Http, "http://h:1"),
        (&[], &[(METRICS, "http://h:1"), (GENERAL, "http://other:2")], Grpc, "http://h:1"),
        // Without a protocol, the port and the path determine it.
        (&["--endpoint", "http://h:4318"], &[], Http, "http://h:4318/v1/metrics"),
        (&["--endpoint", "https://h/v1/metrics"], &[], Http, "https://h/v1/metrics"),
        (&["--endpoint", "http://h:4318", "--protocol", "grpc"], &[], Grpc, "http://h:4318"),
        (&["--endpoint", "https://h:4317"], &[], Grpc, "https://h:4317"),
        // The scheme may be in upper case.
        (&["--endpoint", "HTTPS://h:4317"], &[], Grpc, "https://h:4317"),
        (&[], &[HTTP, (GENERAL, "Http://h:1")], Http, "http://h:1/v1/metrics"),
        (&["--endpoint", "http://[::1]:4318"], &[], Http, "http://[::1]:4318/v1/metrics"),
        // gRPC over a Unix socket.
        (&["--endpoint", "unix:/run/otel.sock"], &[], Grpc, "unix:/run/otel.sock"),
    ];
    for (arguments, variables, protocol, endpoint) in cases {
        let config = good(arguments, variables);
        assert_eq!(
            (config.otlp.protocol, config.otlp.endpoint.as_str()),
            (*protocol, *endpoint),
            "{arguments:?} {variables:?}"
        );
    }
}

#[test]
fn an_error_and_a_warning_are_one_line_whatever_the_value_and_the_name_contain() {
    for value in ["wrong\n ERROR forged", "wrong\u{1b}[31m", "wrong\r\u{9b}31m\u{7f}"] {
        let unknown = good(&[], &[(&format!("HEKA_{value}"), "1")]).warnings;
        for line in printed(value).into_iter().chain(unknown) {
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn a_guessed_protocol_is_logged_in_one_line() {
    let notes = |arguments: &[&str]| good(arguments, &[]).notes;
    let guessed = notes(&["--endpoint", "http://h:4318"]);
    assert!(
        guessed.len() == 1 && guessed[0].contains("--endpoint") && guessed[0].contains("http/protobuf"),
        "{guessed:?}"
    );
    assert!(notes(&["--endpoint", "http://h:4318", "--protocol", "http/protobuf"]).is_empty());
    assert!(notes(&["--endpoint", "http://h:4317"]).is_empty());
    let unread = |more: &[&str]| notes(&[&["--collectors", "cpu,containers,identity,process"], more].concat());
    let line = |name: &str, option: &str| format!("the collector {name} sends nothing without {option}");
    let detailed = line("containers", "--detail detailed");
    let identity = line("identity", "--naming node_exporter");
    assert_eq!(unread(&[]), [&*detailed, &*line("process", "--top-processes N"), &*identity]);
    assert_eq!(unread(&["--detail", "detailed", "--top-processes", "5"]), [identity]);
    let process = line("process", "--naming semconv");
    assert_eq!(
        unread(&["--naming", "node_exporter", "--detail", "detailed"]),
        [line("containers", "--naming semconv"), process]
    );
}

#[test]
fn an_endpoint_without_a_scheme_gets_its_scheme_from_insecure() {
    const INSECURE: &str = "OTEL_EXPORTER_OTLP_INSECURE";
    let endpoint = |variables: &[(&str, &str)]| good(&[], variables).otlp.endpoint;
    assert_eq!(endpoint(&[(GENERAL, "h:1"), (INSECURE, "true")]), "http://h:1");
    assert_eq!(endpoint(&[(GENERAL, "h:1"), (INSECURE, "false")]), "https://h:1");
    assert_eq!(endpoint(&[(METRICS, "h:1")]), "https://h:1", "the specification's default");
    let signal = ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "true");
    assert_eq!(endpoint(&[(GENERAL, "h:1"), (INSECURE, "false"), signal]), "http://h:1");
    assert_eq!(endpoint(&[(GENERAL, "https://h:1"), (INSECURE, "true")]), "https://h:1", "a scheme wins");
    let warnings = |url, insecure| good(&[], &[(GENERAL, url), (INSECURE, insecure)]).warnings;
    for (url, insecure) in [("https://h:1", "true"), ("http://h:1", "false")] {
        let warnings = warnings(url, insecure);
        let line = format!("{INSECURE}: '{insecure}' is not used, since the scheme of {GENERAL} decides");
        assert!(warnings.len() == 1 && warnings[0].starts_with(&line), "{warnings:?}");
    }
    for (url, insecure) in [("https://h:1", "false"), ("http://h:1", "true"), ("h:1", "true"), ("h:1", "false")] {
        assert!(warnings(url, insecure).is_empty(), "{url} {insecure}");
    }
}

#[test]
fn an_unknown_variable_of_the_otlp_exporter_is_one_warning_with_the_nearest_name() {
    let warnings = |name| good(&[], &[(name, "http://h:1")]).warnings;
    for (name, near) in [
        ("OTEL_EXPORTER_OTLP_ENDPIONT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_EXPORTER_OTLP_METRIC_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"),
        ("OTEL_EXPORTER_OTLP_CA_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ] {
        assert_eq!(warnings(name), [format!("{name}: unknown variable, ignored; did you mean {near}?")]);
    }
    let far = "OTEL_EXPORTER_OTLP_RETRY_DISABLED";
    assert_eq!(warnings(far), [format!("{far}: unknown variable, ignored; --help lists all variables")]);
    for of_others in [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "OTEL_TRACES_EXPORTER",
    ] {
        assert!(warnings(of_others).is_empty(), "{of_others}");
    }
}

#[test]
fn a_wrong_endpoint_is_refused_wherever_it_comes_from() {
    for value in
        ["ftp://h", "http://", "http://:4317", "h:1", "http://h:99999", "http://h:x", "unix:", "http://h h", "://h"]
    {
        let error = bad(&["--endpoint", value], &[]);
        assert!(error.starts_with(&format!("--endpoint: '{value}'")) && error.contains("allowed: http://"), "{error}");
        if value != "h:1" {
            assert!(bad(&[], &[(GENERAL, value)]).starts_with(GENERAL));
        }
    }
    assert!(bad(&["--endpoint", "unix:/s", "--protocol", "http/protobuf"], &[]).contains("--endpoint"));
    for value in ["unix:/a#b", "unix:/a\nb"] {
        assert!(bad(&[], &[(GENERAL, value)]).starts_with(GENERAL));
    }
}

#[test]
fn a_path_with_a_control_character_is_refused() {
    for name in ["HEKA_OUTBOX_DIR", "HEKA_TEXTFILE_DIR", "HEKA_ROOT_PATH", "HOST_PROC", "HEKA_HEADERS_FILE"] {
        let error = bad(&[], &[(name, "/a\nb")]);
        assert!(error.starts_with(name) && error.ends_with("allowed: a path without control characters"), "{error}");
    }
}

#[test]
fn a_wrong_endpoint_with_more_than_a_host_and_a_port_is_not_shown() {
    for value in [
        "https://user:hunter2@h:1",
        "ftp://user:hunter2@h",
        "http://user:hunter2@h h",
        "https://h:99999/v1?key=hunter2",
        "https://h:99999?hunter2",
        "https://h:x#hunter2",
        "ftp://h/hunter2",
        "h/hunter2",
        "h:1/hunter2",
        "https:\\\\h\\hunter2",
        "://h/hunter2",
        "unix:hunter2@h",
    ] {
        let error = bad(&["--endpoint", value], &[]);
        assert!(error.starts_with("--endpoint: ") && error.contains("allowed: http://"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_url_where_another_setting_expects_none_is_not_shown() {
    for value in ["https://user:hunter2@h", "https://h/hunter2", "https://h?k=hunter2"] {
        for line in printed(value) {
            assert!(!line.contains("hunter2"), "{line}");
        }
    }
}

/// Errors and warnings of each setting with this value, by its flag and by its variables.
fn printed(value: &str) -> Vec<String> {
    let results = table::SETTINGS.iter().map(|setting| setting.row()).flat_map(|row| {
        let takes_value = !row.flag.is_empty() && !matches!(row.kind, Kind::Switch { .. });
        let variables = row.variables.iter().map(|variable| resolve(&[], &[(variable.0, value)]));
        variables.chain(takes_value.then(|| resolve(&[&format!("{}={value}", row.flag)], &[])))
    });
    let lines = |result: Result<Config, UsageError>| match result {
        Ok(config) => config.warnings,
        Err(error) => vec![error.to_string()],
    };
    results.flat_map(lines).collect()
}

#[test]
fn headers_of_variables_are_decoded_and_those_of_flags_taken_as_they_are() {
    let headers = |arguments: &[&str], value| good(arguments, &[("OTEL_EXPORTER_OTLP_HEADERS", value)]).otlp.headers;
    let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(
        headers(&[], "Authorization=Basic%20eA%3D%3D, x-team = edge "),
        owned(&[("authorization", "Basic eA=="), ("x-team", "edge")])
    );
    assert_eq!(headers(&["--header", "A=b%20c=d", "--header", "B=,"], "x=1"), owned(&[("a", "b%20c=d"), ("b", ",")]));
}

#[test]
fn a_wrong_header_is_refused_without_its_value() {
    for (arguments, variables, place) in [
        (&["--header", "hunter2"][..], &[][..], "--header"),
        (&["--header", "bad name=hunter2"], &[], "--header"),
        (&["--header", "k=hunter2\u{7f}"], &[], "--header"),
        (&["--header", "Content-Type=hunter2"], &[], "--header"),
        (&[], &[("OTEL_EXPORTER_OTLP_HEADERS", "hunter2")], "OTEL_EXPORTER_OTLP_HEADERS"),
        (&[], &[("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "k=hunter2%ff")], "OTEL_EXPORTER_OTLP_METRICS_HEADERS"),
    ] {
        let error = bad(arguments, variables);
        assert!(error.starts_with(place) && !error.contains("hunter2") && error.contains("allowed"), "{error}");
    }
    assert!(!format!("{:?}", good(&["--header", "k=hunter2"], &[])).contains("hunter2"));
}

#[test]
fn later_resource_attributes_win_and_the_service_name_is_above_the_attributes_variable() {
    let config = good(
        &["--resource-attribute", "env=flag", "--resource-attribute", "k=v=w"],
        &[("OTEL_RESOURCE_ATTRIBUTES", "env=variable,service.name=low,team=a%20b"), ("OTEL_SERVICE_NAME", "high")],
    );
    let place = |key: &str, value: &str| config.resource.iter().position(|(k, v)| k == key && v == value).unwrap();
    assert!(place("service.name", "high") > place("service.name", "low"));
    assert!(place("env", "flag") > place("env", "variable"));
    place("team", "a b");
    place("k", "v=w");
}

#[test]
fn contradictory_settings_are_refused() {
    let error = bad(&["--temporality", "delta", "--counters-since", "boot"], &[]);
    assert!(error.contains("--counters-since") && error.contains("delta"), "{error}");
    bad(&[], &[("HEKA_COUNTERS_SINCE", "boot"), ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")]);
    for lone in ["--cert-file", "--key-file"] {
        let error = bad(&[lone, "/f"], &[]);
        assert!(error.contains("--cert-file") && error.contains("--key-file"), "{error}");
    }
    good(&["--cert-file", "/c"], &[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k")]);
    bad(&["check", "--once"], &[]);
}

#[test]
fn the_outbox_on_disk_has_more_room_than_the_one_in_memory() {
    assert_eq!(good(&["--outbox-dir", "/d"], &[]).outbox.max_bytes, 64 << 20);
    assert_eq!(good(&[], &[("STATE_DIRECTORY", "/d")]).outbox.max_bytes, 64 << 20);
}

#[test]
fn each_directory_of_the_host_can_be_given_alone() {
    let roots = good(&["--root-path", "/host"], &[("HOST_PROC", "/p"), ("HOST_ETC", "/e")]).roots;
    let path = |path: &str| Some(PathBuf::from(path));
    assert_eq!(roots, Roots { root: path("/host"), proc: path("/p"), sys: None, etc: path("/e") });
}
