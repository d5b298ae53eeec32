//! Tests that the sent data matches the configuration: headers, compression, sockets, proxies, and environment
//! variables that must have no effect. Tests that need variables run in a child process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::process::Command;
use std::time::Duration;

use heka_insights_agent::internals::export::config::{OtlpConfig, Proxies, ProxyVariable, Temporality};
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use support::agent::{Agent, config};
use support::certs::Authority;
use support::grpc::{Answer, GrpcServer};
use support::http::{Answer as HttpAnswer, HttpServer, Proxy};
use support::port::Port;
use support::{Seen, eventually, log, taken};
use tonic::Status;

/// Runs one `#[ignore]`d test of this file in a process of its own.
fn in_child(test: &str, variables: &[(&str, &str)]) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--ignored", "--nocapture"]);
    let output = child.envs(variables.iter().copied()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

/// Every variable that the library reads, all wrong.
const HOSTILE: [(&str, &str); 16] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:1"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "x-env=general,content-type=text/plain,x-team=env"),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-env=signal,content-type=text/plain,x-team=env,grpc-timeout=1n"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
    ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
    ("OTEL_EXPORTER_OTLP_INSECURE", "false"),
    ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "false"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent"),
    ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/nonexistent"),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "1"),
];

/// Whether requests are compressed, and whether the variables say otherwise.
#[derive(Clone, Copy)]
struct Run {
    gzip: bool,
    compression_in_environment: bool,
}

const RUNS: [Run; 3] = [
    Run { gzip: false, compression_in_environment: true },
    Run { gzip: false, compression_in_environment: false },
    Run { gzip: true, compression_in_environment: true },
];

fn export_in_hostile_environment(endpoint: &str, run: Run) {
    let mut variables: Vec<(&str, &str)> = HOSTILE.into();
    variables.retain(|(name, _)| run.compression_in_environment || !name.ends_with("COMPRESSION"));
    variables.push(("TEST_ENDPOINT", endpoint));
    if run.gzip {
        variables.push(("TEST_GZIP", "1"));
    }
    in_child("child_exports_twice", &variables);
}

/// Two exports; the server refuses the second one once.
#[test]
#[ignore = "run by its parents with variables set"]
fn child_exports_twice() {
    let mut config = config(variable("TEST_ENDPOINT"));
    config.headers = vec![("x-team".into(), "edge".into())];
    config.gzip = std::env::var("TEST_GZIP").is_ok();
    config.timeout = Duration::from_secs(10);
    let agent = Agent::start(config);
    agent.tick_through();
    agent.tick_through();
    assert_eq!(agent.handle.stats().exported_batches, 2);
}

fn assert_as_configured(seen: &[Seen], gzip: bool, encoding: &str) {
    // The second one is sent twice; the shutdown collects once more.
    assert_eq!(taken(seen), [1, 2, 2]);
    assert_eq!(seen.len(), 4);
    for request in seen {
        assert!(!request.headers.contains_key("x-env"), "{:?}", request.headers);
        assert_eq!(request.headers.get_all("x-team").iter().collect::<Vec<_>>(), ["edge"]);
        let encoded = request.headers.get(encoding).is_some_and(|v| v == "gzip");
        assert_eq!(encoded, gzip, "{:?}", request.headers);
        let metric = &request.request.resource_metrics[0].scope_metrics[0].metrics[0];
        let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
        assert_eq!(sum.aggregation_temporality, AggregationTemporality::Cumulative as i32);
    }
}

#[test]
fn no_variable_changes_what_goes_out_over_grpc() {
    for run in RUNS {
        let server = GrpcServer::start();
        server.scene.script([Answer::Take, Answer::Status(Status::unavailable("busy"))]);
        export_in_hostile_environment(&server.endpoint(), run);
        assert_as_configured(&server.scene.seen(), run.gzip, "grpc-encoding");
    }
}

#[test]
fn no_variable_changes_what_goes_out_over_http() {
    for run in RUNS {
        let server = HttpServer::start();
        server.scene.script([HttpAnswer::Take, HttpAnswer::Status(503, None, "busy")]);
        export_in_hostile_environment(&server.endpoint(), run);
        let seen = server.scene.seen();
        for request in &seen {
            assert_eq!(request.headers.get_all("content-type").iter().collect::<Vec<_>>(), ["application/x-protobuf"]);
        }
        assert_as_configured(&seen, run.gzip, "content-encoding");
    }
}

#[test]
fn headers_arrive_and_a_changed_headers_file_is_used_for_the_next_try() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("headers");
    std::fs::write(&file, "authorization: Bearer one\nx-team=file\n").unwrap();
    let server = GrpcServer::start();
    let mut config = config(server.endpoint());
    config.headers = vec![("x-team".into(), "flag".into()), ("x-two".into(), "a".into()), ("x-two".into(), "b".into())];
    config.headers_file = Some(file.clone());
    let agent = Agent::start(config);
    agent.tick_through();
    let first = &server.scene.seen()[0].headers;
    assert_eq!((&first["authorization"], &first["x-team"]), (&"Bearer one".parse().unwrap(), &"file".parse().unwrap()));
    assert_eq!(first.get_all("x-two").iter().count(), 2);
    assert!(first["user-agent"].to_str().unwrap().starts_with("heka-insights-agent/"));
    // The token expires; the operator's tool writes a new one.
    server.scene.script((0..1000).map(|_| Answer::Status(Status::unauthenticated("expired"))));
    agent.tick();
    eventually("the warning", || !log::lines(&server.endpoint()).is_empty());
    std::fs::write(&file, "authorization: Bearer two\n").unwrap();
    server.scene.wait("the new token", |seen| {
        seen.iter().any(|s| s.headers.get("authorization").is_some_and(|v| v == "Bearer two"))
    });
    server.scene.clear();
    assert_eq!(server.scene.wait_value(2), [1, 2]);
    assert_eq!(agent.handle.stats().dropped.total().batches, 0);
}

#[test]
fn a_unix_socket_carries_grpc_and_its_absence_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("otlp.sock");
    let endpoint = format!("unix:{}", path.display());
    let agent = Agent::start(config(&endpoint));
    agent.tick();
    eventually("the warning", || log::lines(&endpoint).iter().any(|l| l.contains("the socket does not exist")));
    let server = GrpcServer::unix(&path);
    assert_eq!(server.scene.wait_value(1), [1]);
    let other = Agent::start(config(format!("unix://{}", path.display())));
    other.tick_through();
    assert_eq!(taken(&server.scene.seen()), [1, 1]);
}

#[test]
fn delta_sends_differences_after_an_outage_too() {
    let server = GrpcServer::start();
    let mut config = config(server.endpoint());
    config.temporality = Temporality::Delta;
    let agent = Agent::start(config);
    agent.tick_through();
    let (port, scene) = server.down();
    agent.ticks(3);
    let _server = GrpcServer::restart(port, scene.clone(), None);
    scene.wait("four points", |seen| taken(seen).len() == 4);
    assert_eq!(taken(&scene.seen()), [1, 1, 1, 1]);
}

#[test]
fn bad_configurations_are_refused_with_the_flag_and_no_secret() {
    let said = |change: &dyn Fn(&mut OtlpConfig)| {
        let mut config = config("http://127.0.0.1:1");
        change(&mut config);
        match Agent::with(config, support::agent::Setup::default()) {
            Ok(_) => panic!("accepted"),
            Err(e) => e.to_string(),
        }
    };
    for error in [
        said(&|c| c.endpoint = "ftp://host".into()),
        said(&|c| c.endpoint = "http://".into()),
        said(&|c| c.endpoint = "no url".into()),
    ] {
        assert!(error.contains("--endpoint") && error.lines().count() == 1, "{error}");
    }
    let error = said(&|c| c.headers = vec![("a b".into(), "s3cr3t".into())]);
    assert!(error.contains("--header") && !error.contains("s3cr3t"), "{error}");
    let error = said(&|c| c.headers_file = Some("/nonexistent/headers".into()));
    assert!(error.contains("--headers-file") && error.contains("/nonexistent/headers"), "{error}");
}

/// A configuration whose target exists only behind the proxy.
fn behind(endpoint: &str, variables: &[(&str, &str)]) -> OtlpConfig {
    let value = |wanted| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    let proxies = Proxies::from_variables(|name| value(name).map(|value| ProxyVariable { name, value: Some(value) }));
    OtlpConfig { proxies, ..config(endpoint) }
}

fn exports(config: OtlpConfig) {
    let agent = Agent::start(config);
    agent.tick_through();
    assert_eq!(agent.handle.stats().exported_batches, 1);
}

#[test]
fn http_goes_through_the_proxy_that_the_environment_names() {
    let ca = Authority::new("ours");
    let dir = tempfile::tempdir().unwrap();
    let server = HttpServer::with(Some(ca.sign("collector.test").for_http(None)));
    let proxy = Proxy::start(server.addr);
    let url = format!("http://user:pass@{}", proxy.addr);
    let mut config = behind("https://collector.test:4318/v1/metrics", &[("HTTPS_PROXY", &url)]);
    config.tls.ca = Some(ca.file(dir.path()));
    exports(config);
    // The shutdown collects once more.
    assert_eq!(taken(&server.scene.seen()), [1, 1]);
    let head = proxy.heads.lock().unwrap()[0].clone();
    assert!(head.starts_with("CONNECT collector.test:4318 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz"), "{head}");
    assert!(!server.scene.seen()[0].headers.contains_key("proxy-authorization"));

    exports(behind("http://collector.test:4318/v1/metrics", &[("HTTP_PROXY", &url)]));
    let head = proxy.heads.lock().unwrap().iter().find(|head| head.starts_with("POST ")).unwrap().clone();
    assert!(head.starts_with("POST http://collector.test:4318/v1/metrics HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz"), "{head}");
}

#[test]
fn grpc_goes_through_a_tunnel_of_the_proxy() {
    let ca = Authority::new("ours");
    let dir = tempfile::tempdir().unwrap();
    for (scheme, variable) in [("http", "HTTP_PROXY"), ("http", "http_proxy"), ("https", "HTTPS_PROXY")] {
        let tls = (scheme == "https").then(|| ca.sign("collector.test").for_grpc(None));
        let server = GrpcServer::on(Port::new(), tls);
        let proxy = Proxy::start(server.addr);
        // The variable for the other scheme must not apply.
        let other = if scheme == "https" { "HTTP_PROXY" } else { "HTTPS_PROXY" };
        let url = format!("http://user:pass@{}", proxy.addr);
        let variables = [(variable, url.as_str()), (other, "http://127.0.0.1:1")];
        let mut config = behind(&format!("{scheme}://collector.test:4317"), &variables);
        config.tls.ca = Some(ca.file(dir.path()));
        exports(config);
        // The shutdown collects once more.
        assert_eq!(taken(&server.scene.seen()), [1, 1], "{variable}");
        let heads = proxy.heads.lock().unwrap();
        assert!(!heads.is_empty());
        for head in heads.iter() {
            assert!(head.starts_with("CONNECT collector.test:4317 HTTP/1.1\r\n"), "{head}");
            assert!(head.to_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz"), "{head}");
        }
    }
}

#[test]
fn http_goes_past_the_proxy_to_hosts_that_no_proxy_names() {
    let proxy = Proxy::start("127.0.0.1:0".parse().unwrap());
    let url = format!("http://{}", proxy.addr);
    let config = |no: &str| behind("http://collector.test:4318/v1/metrics", &[("HTTP_PROXY", &url), ("NO_PROXY", no)]);
    // The name exists nowhere but behind the proxy.
    for no_proxy in ["collector.test", "elsewhere.example,.test", "*"] {
        let agent = Agent::start(config(no_proxy));
        agent.tick();
        eventually("a failure", || agent.handle.stats().failed_sends > 0);
        assert_eq!(agent.handle.stats().exported_batches, 0);
    }
    assert_eq!(proxy.heads.lock().unwrap().len(), 0);
    exports(config("elsewhere.example"));
    assert!(!proxy.heads.lock().unwrap().is_empty());
}
