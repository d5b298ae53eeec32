//! Tests of usage errors: exit code 2 and one line with the source, the value and the allowed values, before anything
//! starts.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use rustix::net::{AddressFamily, SocketType};

use crate::help::flags;
use crate::run::{Run, fixture};

/// A flag, its variable, wrong values, and a word of what is allowed.
type Wrong = (&'static str, Option<&'static str>, &'static [&'static str], &'static str);

#[rustfmt::skip] // a table
const WRONG: &[Wrong] = &[
    ("--exporter", None, &["jaeger", ""], "otlp, prometheus, console, none"),
    ("--listen", None, &["9100", "::1:9100"], "HOST:PORT"),
    ("--console-format", Some("HEKA_CONSOLE_FORMAT"), &["yaml"], "table, json"),
    ("--interval", Some("HEKA_INTERVAL"), &["5", "99ms", "61m", "-1s", "soon", ""], "100ms to 1h"),
    ("--endpoint", None, &["ftp://h", "h:4317", "http://", "http://h:99999", ""], "http://HOST:PORT"),
    ("--protocol", None, &["http/json", "http"], "grpc, http/protobuf"),
    ("--compression", None, &["zstd"], "none, gzip"),
    ("--timeout", None, &["0s", "10"], "a duration above 0"),
    ("--temporality", None, &["sum"], "cumulative, delta, lowmemory"),
    ("--outbox-max-size", Some("HEKA_OUTBOX_MAX_SIZE"), &["1KiB", "much", "-1"], "at least 64KiB"),
    ("--outbox-max-age", Some("HEKA_OUTBOX_MAX_AGE"), &["1ms", "24"], "at least 1s"),
    ("--collectors", Some("HEKA_COLLECTORS"), &["cpu,disc", ","], "cpu, memory"),
    ("--detail", Some("HEKA_DETAIL"), &["full"], "basic, detailed"),
    ("--naming", Some("HEKA_NAMING"), &["prometheus"], "semconv, hostmetrics"),
    ("--counters-since", Some("HEKA_COUNTERS_SINCE"), &["yesterday"], "start, boot"),
    ("--disk-scope", Some("HEKA_DISK_SCOPE"), &["both"], "device, total"),
    ("--disk-include", Some("HEKA_DISK_INCLUDE"), &["sd("], "regular expression"),
    ("--disk-exclude", Some("HEKA_DISK_EXCLUDE"), &["["], "regular expression"),
    ("--network-include", Some("HEKA_NETWORK_INCLUDE"), &["*"], "regular expression"),
    ("--network-exclude", Some("HEKA_NETWORK_EXCLUDE"), &["a)"], "regular expression"),
    ("--filesystem-include", Some("HEKA_FILESYSTEM_INCLUDE"), &["("], "regular expression"),
    ("--service-include", Some("HEKA_SERVICE_INCLUDE"), &["("], "regular expression"),
    ("--service-exclude", Some("HEKA_SERVICE_EXCLUDE"), &["a)"], "regular expression"),
    ("--filesystem-exclude", Some("HEKA_FILESYSTEM_EXCLUDE"), &["("], "regular expression"),
    ("--self-metrics", Some("HEKA_SELF_METRICS"), &["maybe", "1"], "on, detailed, off"),
    ("--max-series", Some("HEKA_MAX_SERIES"), &["0", "-1", "1.5", "many", "100001"], "from 1 to 100000"),
    ("--top-processes", Some("HEKA_TOP_PROCESSES"), &["-1", "101", "few"], "from 0 to 100"),
    ("--resource-attribute", None, &["novalue", "=v"], "K=V"),
    ("--log-level", None, &["loud"], "error, warn, info"),
    ("--log-format", Some("HEKA_LOG_FORMAT"), &["xml"], "text, json"),
];

/// Text and files, of which none is wrong before it is used; and secrets, which have a test of their own.
const FREE: [&str; 11] = [
    "--env-file",
    "--header",
    "--headers-file",
    "--ca-file",
    "--cert-file",
    "--key-file",
    "--outbox-dir",
    "--service-name",
    "--root-path",
    "--textfile-dir",
    "--check",
];

fn refused(run: Run, place: &str, value: &str, allowed: &str) {
    let ended = run.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{place}={value:?}: {ended:?}");
    let line = ended.err.trim_end_matches('\n');
    assert!(!line.contains('\n') && !line.is_empty(), "{place}={value:?}: not one line: {line}");
    assert!(line.starts_with(&format!("heka-insights-agent: {place}: '{value}'")), "{place}={value:?}: {line}");
    assert!(line.contains("; allowed: ") && line.contains(allowed), "{place}={value:?}: {line}");
}

#[test]
fn a_wrong_value_of_a_flag_is_refused_in_one_line() {
    for (flag, _, values, allowed) in WRONG {
        for value in *values {
            refused(Run::new(&[&format!("{flag}={value}")]), flag, value, allowed);
        }
    }
}

#[test]
fn a_wrong_value_of_this_programs_own_variable_is_refused_in_one_line() {
    for (_, variable, values, allowed) in WRONG {
        for (variable, value) in variable.iter().flat_map(|variable| values.iter().map(move |value| (variable, value)))
        {
            // In a variable, a comma or nothing is an empty list, which is no list.
            if variable.ends_with("CLUDE") || !value.is_empty() {
                refused(Run::new(&[]).set(variable, value), variable, value, allowed);
            }
        }
    }
    for variable in ["HEKA_PER_CPU", "HEKA_NO_PHASE"] {
        refused(Run::new(&[]).set(variable, "maybe"), variable, "maybe", "true, false");
    }
    refused(Run::new(&[]).set("CPU_POLL_INTERVAL_SECONDS", "0"), "CPU_POLL_INTERVAL_SECONDS", "0", "0.1 to 3600");
    for variable in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] {
        refused(Run::new(&[]).set(variable, "ftp://h"), variable, "ftp://h", "http://HOST:PORT");
    }
}

#[test]
fn every_flag_with_a_value_has_a_wrong_one_here() {
    let help = Run::new(&["--help"]).end().out;
    for (flag, text) in flags(&help).iter().filter(|(_, text)| text.contains(" <")) {
        let known = WRONG.iter().any(|(name, ..)| name == flag) || FREE.contains(&flag.as_str());
        assert!(known, "{text}");
        for word in text.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(|word| word.starts_with("HEKA_")) {
            let known = WRONG.iter().any(|(_, variable, ..)| *variable == Some(word));
            assert!(known || FREE.contains(&flag.as_str()), "{word} of {text}");
        }
    }
}

#[test]
fn an_unknown_flag_or_command_and_a_missing_value_are_named_in_one_line() {
    for (arguments, named) in [
        (&["--nope"][..], "--nope"),
        (&["--interval"], "--interval"),
        (&["--once=1"], "--once"),
        (&["--detail", "basic", "--detail", "detailed"], "--detail"),
        (&["--intervall", "1s"], "did you mean --interval? --help lists all flags"),
        (&["--send"], "only with the command check"),
        (&["chek"], "'chek'"),
        (&["tolken"], "unknown command (not shown)"),
        (&["check", "more"], "unexpected argument (not shown)"),
        (&["check", "--once"], "--once"),
        (&["--temporality", "delta", "--counters-since", "boot"], "--counters-since"),
        (&["--cert-file", "c.pem"], "--cert-file"),
    ] {
        let ended = Run::new(arguments).end();
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(named) && ended.err.lines().count() == 1, "{arguments:?}: {ended:?}");
    }
}

#[test]
fn secrets_are_never_printed() {
    let secret = "hunter2";
    let runs = [
        Run::new(&["--header", secret]),
        Run::new(&["--header", "bad name=hunter2"]),
        Run::new(&["--headers", "api-key=hunter2"]),
        Run::new(&["--headers=api-key=hunter2"]),
        Run::new(&["--header", "api-key:", secret]),
        Run::new(&["--header", "authorization:", "bearer", secret]),
        Run::new(&["--endpoint", "https://user:hunter2@h"]),
        Run::new(&["--endpoint", "https://h:99999/v1?key=hunter2"]),
        Run::new(&[]).set("OTEL_EXPORTER_OTLP_HEADERS", secret),
        Run::new(&[]).set("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "k=hunter2%ff"),
        Run::new(&[]).dot_env("OTEL_EXPORTER_OTLP_HEADERS=\"api-key=hunter2\nHEKA_DETAIL=basic\n"),
        Run::new(&[]).dot_env("hunter2\n"),
    ];
    for run in runs {
        let ended = run.end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.lines().count() == 1, "{ended:?}");
        assert!(!ended.err.contains(secret) && !ended.out.contains(secret), "{ended:?}");
    }
    let console = Run::console(&["--once", "--header", "api-key=hunter2", "--log-level", "trace"]).end();
    assert_eq!(console.code, Some(0));
    assert!(!console.err.contains(secret) && !console.out.contains(secret), "{console:?}");
}

#[test]
fn a_file_of_headers_that_cannot_be_read_is_named() {
    let ended = Run::new(&["--headers-file", "/no/such/file"]).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("--headers-file") && ended.err.contains("/no/such/file"), "{ended:?}");
}

#[test]
fn a_single_collection_that_is_lost_is_a_failure_and_one_that_waits_on_disk_is_not() {
    // Bound and without a listener: nobody else gets the port, and a connection is refused.
    let bound = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&bound, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddrV4::try_from(rustix::net::getsockname(&bound).unwrap()).unwrap();
    let endpoint = format!("http://{address}");
    let lost = Run::new(&["--once", "--endpoint", &endpoint]).end();
    assert_eq!(lost.code, Some(1), "{lost:#?}");
    assert!(lost.err.contains("the collection was not delivered"), "{}", lost.err);
    let kept = Run::new(&["--once", "--endpoint", &endpoint, "--outbox-dir", "outbox"]).end();
    assert_eq!(kept.code, Some(0), "{kept:#?}");
    assert!(kept.err.contains("the outbox on disk keeps 1 batch for the next start"), "{}", kept.err);
    // What an earlier run left damaged is not this one's loss.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("00000000000000000001.batch"), "").unwrap();
    let dir = dir.path().to_str().unwrap();
    let kept = Run::new(&["--once", "--endpoint", &endpoint, "--outbox-dir", dir]).end();
    assert!(kept.code == Some(0) && kept.err.contains("1 batches lost"), "{kept:#?}");
}

#[test]
fn check_reports_whether_the_outbox_directory_is_usable_and_leaves_no_files() {
    let root = fixture("server");
    let check = |dir: &Path| {
        let arguments = ["check", "--endpoint", "http://127.0.0.1:1", "--root-path", root.to_str().unwrap()];
        let ended = Run::new(&arguments).set("HEKA_OUTBOX_DIR", dir).end();
        assert_eq!(ended.code, Some(1), "nothing listens there: {ended:#?}");
        ended.out.lines().find(|line| line.starts_with("OUTBOX")).unwrap().to_owned()
    };
    let dir = tempfile::tempdir().unwrap();
    let wanted = dir.path().join("state/outbox");
    let line = check(&wanted);
    assert!(line.starts_with("OUTBOX       ok  ") && line.contains("state/outbox can be written"), "{line}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    // A file in the way fails for everyone, root included.
    std::fs::write(dir.path().join("state"), "").unwrap();
    let line = check(&wanted);
    assert!(line.starts_with("OUTBOX       failed  ") && line.contains("cannot be created"), "{line}");
    assert!(line.contains("or name another"), "what to do: {line}");
}

#[test]
fn check_lists_what_a_host_lacks_in_one_line() {
    let root = fixture("container");
    let ended = Run::new(&["check", "--exporter", "none", "--root-path", root.to_str().unwrap()]).end();
    let lines: Vec<&str> = ended.out.lines().filter(|line| line.starts_with("ABSENT")).collect();
    assert_eq!(lines.len(), 1, "{}", ended.out);
    for absent in ["sys/class/hwmon", "sys/class/net/bonding_masters", "sys/devices/system/edac/mc"] {
        let path = root.join(absent).display().to_string();
        assert!(lines[0].contains(&path) && ended.out.matches(&path).count() == 1, "{absent} in {}", ended.out);
    }
}

#[test]
fn check_as_json_is_one_object_for_scripts() {
    let root = fixture("server");
    let arguments = ["check", "--json", "--exporter", "none", "--root-path", root.to_str().unwrap()];
    let ended = Run::new(&arguments).end();
    let object: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(ended.code, Some(if object["ok"].as_bool().unwrap() { 0 } else { 1 }), "{ended:#?}");
    assert!(object["series"].as_u64().unwrap() > 50 && object["collectors"].as_array().unwrap().len() > 5, "{object}");
}

#[test]
fn check_tests_the_settings_of_an_environment_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.env");
    std::fs::write(&file, "# the service's\nOTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1\n").unwrap();
    let root = fixture("server");
    let arguments = ["check", "--env-file", file.to_str().unwrap(), "--root-path", root.to_str().unwrap()];
    // The file wins over the environment of whoever runs the check.
    let ended = Run::new(&arguments).set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:2").end();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.out.contains("http://127.0.0.1:1: "), "{}", ended.out);
    let missing = Run::new(&["check", "--env-file", "/no/such/file"]).end();
    assert_eq!(missing.code, Some(2), "{missing:#?}");
    assert!(missing.err.contains("--env-file: /no/such/file cannot be read"), "{}", missing.err);
}
