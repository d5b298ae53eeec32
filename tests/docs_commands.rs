//! Checks the commands in the README and the operators' pages: every flag and variable must exist, every command must
//! run as written, and each row of the table of backends must send the request that it describes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use heka_insights_agent::internals::config::{cli, table};
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use support::Seen;
use support::grpc::GrpcServer;
use support::http::HttpServer;

const PROGRAM: &str = "heka-insights-agent";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages that people read, with their names.
fn pages() -> Vec<(String, String)> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    assert!(pages.len() >= 8, "{pages:?}");
    std::iter::once(root().join("README.md"))
        .chain(pages)
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// What stands in backticks, outside of blocks.
fn spans(page: &str) -> Vec<String> {
    let prose = page.split("```").step_by(2);
    prose.flat_map(|text| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The commands of `sh` blocks, without comments, lines that go on joined.
fn shell_lines(page: &str) -> Vec<String> {
    let blocks = page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let joined = blocks.map(|block| block.replace("\\\n", " "));
    let line = |line: &str| line.split(" #").next().unwrap_or("").trim().to_owned();
    joined.flat_map(|block| block.lines().map(line).collect::<Vec<_>>()).filter(|line| !line.is_empty()).collect()
}

/// What a command gives to the program, directly, through cargo or in a container; `None` for other commands.
fn arguments(command: &str) -> Option<&str> {
    match command.split_whitespace().next()? {
        PROGRAM => Some(command.trim_start().strip_prefix(PROGRAM)?),
        "cargo" => Some(command.split_once(" run ")?.1.split_once(" -- ")?.1),
        "docker" => Some(command.rsplit_once(&format!(" {PROGRAM} "))?.1),
        _ => None,
    }
}

/// All commands of the program that a page shows, as arguments.
fn commands(page: &str) -> Vec<Vec<String>> {
    let shown = shell_lines(page).into_iter().chain(spans(page));
    let words = |text: &str| text.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect();
    shown.filter_map(|command| arguments(&command).map(words)).collect()
}

fn flags() -> Vec<String> {
    let command = cli::command();
    let own = command.get_arguments().filter_map(|flag| flag.get_long().map(|name| format!("--{name}")));
    own.chain(["--help".into(), "--version".into()]).collect()
}

#[test]
fn every_flag_that_the_pages_name_exists() {
    let known = flags();
    // Another program's that the prose speaks of.
    let others = ["--web.enable-otlp-receiver", "--require-signature", "--no-service", "--uninstall"];
    let mut seen = 0;
    for (name, page) in pages() {
        let prose = spans(&page).into_iter().filter(|span| span.starts_with("--"));
        let ours = shell_lines(&page).into_iter().chain(spans(&page));
        let ours = ours.filter_map(|command| arguments(&command).map(str::to_owned));
        for text in prose.chain(ours) {
            for word in text.split(|c: char| c.is_whitespace() || "/,|".contains(c)) {
                let flag = word.split(['=', ')', ';', '`']).next().unwrap_or("");
                // `--disk-` and the like name a group.
                if !flag.starts_with("--") || flag.len() < 4 || flag.ends_with('-') {
                    continue;
                }
                seen += 1;
                assert!(known.iter().any(|k| k == flag) || others.contains(&flag), "{name}: no flag {flag} in: {text}");
            }
        }
    }
    assert!(seen > 50, "only {seen} flags were found");
}

#[test]
fn every_variable_that_the_pages_name_exists() {
    let mut help: String = table::variable_names().map(|name| format!("{name} ")).collect();
    // The pages write both variables of a signal as one.
    help += &help.replace("OTLP_METRICS_", "OTLP_[METRICS_]");
    // Of the build, the installer and the tests.
    help += "HEKA_LAYOUT HEKA_DOWNLOAD HEKA_UPDATE HEKA_OUTAGE HEKA_FLEET_OUTAGE";
    let mut seen = 0;
    for (name, page) in pages() {
        for word in page.split(|c: char| !(c.is_ascii_uppercase() || "_[]".contains(c))) {
            let ours = ["HEKA_", "OTEL_"].iter().any(|start| word.starts_with(start) && !word.ends_with('_'));
            if ours {
                seen += 1;
                assert!(help.contains(word), "{name}: no variable {word} in the table of settings");
            }
        }
    }
    assert!(seen > 20, "only {seen} variables were found");
}

/// Runs the program once on a fixture host, in a directory with a headers file.
fn once(arguments: &[String], endpoint: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("headers.txt"), "api-key=SECRET\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heka-insights-agent"));
    command.args(arguments).env_clear().env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).current_dir(dir.path());
    command
        .env("HOST_PROC", root().join("tests/fixtures/server/proc"))
        .env("HOST_SYS", root().join("tests/fixtures/server/sys"));
    // What is scraped runs until it is stopped: its settings are checked.
    if arguments.iter().any(|argument| argument == "prometheus") {
        command.arg("check");
    } else if !arguments.iter().any(|argument| argument == "check" || argument == "--once") {
        command.arg("--once");
    }
    command.output().unwrap()
}

/// Puts a local server in the place of a URL's scheme and host.
fn at(addr: std::net::SocketAddr, url: &str) -> String {
    let path = url.split_once("://").unwrap().1.split_once('/').map_or(String::new(), |(_, path)| format!("/{path}"));
    format!("http://{addr}{path}")
}

#[test]
fn every_command_that_the_pages_show_runs_as_written() {
    let (grpc, http) = (GrpcServer::start(), HttpServer::start());
    let mut ran = 0;
    for (name, page) in pages() {
        for shown in commands(&page) {
            // Only the server's place is another.
            let swap = |word: &String| match word {
                url if url.ends_with("/v1/metrics") => at(http.addr, url),
                url if url.starts_with("http") => grpc.endpoint(),
                // Parts of commands that the prose speaks of.
                word => word.clone(),
            };
            let arguments: Vec<String> = shown.iter().map(swap).collect();
            let before = grpc.scene.seen().len() + http.scene.seen().len();
            let ended = once(&arguments, &grpc.endpoint());
            let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
            assert!(ended.status.success(), "{name}: {shown:?}: {out}{err}");
            let words = shown.join(" ");
            let sends = !["--help", "--version", "console", "prometheus"].iter().any(|word| words.contains(word));
            let sent = grpc.scene.seen().len() + http.scene.seen().len() - before;
            assert_eq!(sent > 0, sends, "{name}: {shown:?}: {out}{err}");
            assert!(sends || !out.is_empty(), "{name}: {shown:?} printed nothing");
            ran += 1;
        }
    }
    assert!(ran > 12, "only {ran} commands were found");
}

/// The rows of the backends' table: name, endpoint, protocol, headers, temporality.
fn backends() -> Vec<[String; 5]> {
    let page = std::fs::read_to_string(root().join("docs/backends.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| row.split('|').skip(1).take(5).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    rows.map(|row| cells(row).try_into().unwrap()).collect()
}

fn code(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

fn check_wire(name: &str, seen: &Seen, headers: &[(String, String)], temporality: &str) {
    for (key, value) in headers {
        assert_eq!(seen.headers.get(key.as_str()).map(|v| v.to_str().unwrap()), Some(value.as_str()), "{name}: {key}");
    }
    let metrics = seen.request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    let counters: Vec<i32> = metrics
        .filter_map(|metric| match &metric.data {
            Some(Data::Sum(sum)) if sum.is_monotonic => Some(sum.aggregation_temporality),
            _ => None,
        })
        .collect();
    let wanted = match temporality {
        "cumulative" => AggregationTemporality::Cumulative,
        "delta" => AggregationTemporality::Delta,
        other => panic!("{name}: no temporality {other}"),
    };
    assert!(counters.len() > 5 && counters.iter().all(|each| *each == wanted as i32), "{name}: {counters:?}");
}

#[test]
fn each_backend_gets_the_path_protocol_headers_and_temporality_of_its_row() {
    let rows = backends();
    assert_eq!(rows.len(), 8, "{rows:#?}");
    for [name, endpoint, protocol, headers, temporality] in rows {
        let (grpc, http) = (GrpcServer::start(), HttpServer::start());
        let (endpoint, protocol, temporality) = (code(&endpoint), code(&protocol), code(&temporality));
        let pairs = headers.split('`').skip(1).step_by(2).map(|pair| pair.split_once('=').unwrap());
        let headers: Vec<(String, String)> = pairs.map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect();
        let mut arguments = vec!["--temporality".to_owned(), temporality.clone(), "--endpoint".to_owned()];
        let by_http = protocol == "http/protobuf";
        arguments.push(at(if by_http { http.addr } else { grpc.addr }, &endpoint));
        if endpoint.ends_with(":4318") {
            // The local server has another port, so the protocol that the port implies has to be set.
            arguments.extend(["--protocol".to_owned(), protocol]);
        }
        for (key, value) in &headers {
            arguments.extend(["--header".to_owned(), format!("{key}={value}")]);
        }
        let ended = once(&arguments, "http://127.0.0.1:1");
        assert!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
        let seen = if by_http { http.scene.seen() } else { grpc.scene.seen() };
        let first = seen.first().unwrap_or_else(|| panic!("{name}: {}", String::from_utf8_lossy(&ended.stderr)));
        if by_http {
            let path = at(http.addr, &endpoint).split_once(&http.addr.to_string()).unwrap().1.to_owned();
            assert_eq!(first.target, if path.is_empty() { "/v1/metrics".to_owned() } else { path }, "{name}");
            assert_eq!(first.headers["content-type"], "application/x-protobuf", "{name}");
        }
        check_wire(&name, first, &headers, &temporality);
    }
}
