//! Tests of every transport that a Collector accepts.

use serde_json::{Value, json};

use crate::certs::Authority;
use crate::harness::{Agent, Collector, Plan, SOON, otlp_grpc};

fn delivers(protocols: Value, endpoint: impl Fn(&Collector) -> String, arguments: &str) {
    let collector = Collector::with(Plan { protocols, ..Plan::default() });
    // One collector: how long the others read on a busy machine is not what is tested.
    let agent = Agent::start(&endpoint(&collector), &format!("--collectors memory {arguments}"));
    collector.metrics().wait_cycles("system.memory.usage", 3, SOON);
    let log = agent.stop();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn grpc_arrives() {
    delivers(otlp_grpc(), Collector::url, "");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn grpc_with_gzip_arrives() {
    delivers(otlp_grpc(), Collector::url, "--compression gzip");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn http_protobuf_arrives() {
    delivers(json!({"http": {"endpoint": "ADDRESS"}}), Collector::url, "--protocol http/protobuf");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn http_protobuf_with_gzip_arrives() {
    // This receiver takes nothing that is not compressed.
    let protocols = json!({"http": {"endpoint": "ADDRESS", "compression_algorithms": ["gzip"]}});
    delivers(protocols, Collector::url, "--protocol http/protobuf --compression gzip");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn a_path_of_metrics_means_http_protobuf() {
    delivers(json!({"http": {"endpoint": "ADDRESS"}}), |collector| format!("{}/v1/metrics", collector.url()), "");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn a_unix_socket_arrives() {
    let protocols = json!({"grpc": {"endpoint": "SOCKET", "transport": "unix"}});
    delivers(protocols, |collector| format!("unix://{}", collector.path("otlp.sock").display()), "");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn a_mix_up_of_protocols_is_one_sentence() {
    // The server refuses and closes at once, and the close may overtake the refusal.
    const NO_GRPC: [&str; 2] = [
        "the server does not speak gRPC at this port (--protocol http/protobuf, usually port 4318?)",
        "the server closed the connection before it spoke gRPC (https:// instead of http://, --protocol http/protobuf, or \
         a proxy without a server behind it?)",
    ];
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let pair = ours.sign("localhost");
    let (cert, key) = pair.files(dir.path());
    let ca = format!("--ca-file {}", ours.file(dir.path()).display());
    let tls = json!({"cert_file": cert, "key_file": key});
    let plan = |protocols| Collector::with(Plan { protocols, ..Plan::default() });
    let grpc = plan(otlp_grpc());
    let http = plan(json!({"http": {"endpoint": "ADDRESS"}}));
    let grpc_tls = plan(json!({"grpc": {"endpoint": "ADDRESS", "tls": tls}}));
    let http_tls = plan(json!({"http": {"endpoint": "ADDRESS", "tls": tls}}));
    let (over_grpc, over_http) = ("--protocol grpc", "--protocol http/protobuf");
    let nobody = Collector::stopped(Plan::default());
    for (collector, scheme, arguments, words) in [
        (&http, "http", over_grpc, &NO_GRPC[..]),
        (&grpc, "http", over_http, &["the server does not speak HTTP/1.1 at this port (--protocol grpc"]),
        (&grpc, "https", &format!("{over_grpc} {ca}"), &["TLS: the server does not speak TLS at this port (http://"]),
        (&http, "https", &format!("{over_http} {ca}"), &["TLS: the server does not speak TLS at this port (http://"]),
        (&grpc_tls, "http", over_grpc, &["closed the connection before it spoke gRPC (https:// instead of http://"]),
        (&http_tls, "http", over_http, &["the server requires TLS at this port (https:// instead of http://)"]),
        (
            &grpc_tls,
            "http",
            over_http,
            &["the server closed the connection without an answer (https:// instead of http://"],
        ),
        (&grpc_tls, "https", &format!("{over_http} {ca}"), &["or gRPC (--protocol grpc)"]),
        (&http_tls, "https", &format!("{over_grpc} {ca}"), &["a port for OTLP/HTTP needs --protocol http/protobuf"]),
        (&grpc_tls, "https", over_grpc, &["from an authority that is not trusted (wrong or missing --ca-file)"]),
        (&http_tls, "https", over_http, &["from an authority that is not trusted (wrong or missing --ca-file)"]),
        (&nobody, "http", over_grpc, &["connection refused: nothing listens there"]),
        (&nobody, "http", over_http, &["connection refused: nothing listens there"]),
    ] {
        let endpoint = collector.url().replace("http://127.0.0.1", &format!("{scheme}://localhost"));
        let arguments = format!("--collectors memory --timeout 5s {arguments}");
        let agent = Agent::start(&endpoint, &arguments);
        let is_one = |line: &str| words.iter().any(|words| line.contains(words));
        let line = agent.says("cannot deliver");
        assert!(is_one(&line), "{words:?}: {line}");
        let checked = Agent::check(&endpoint, &arguments);
        let state = checked.lines().find(|line| line.starts_with("ENDPOINT")).unwrap();
        assert!(state.contains("failed") && is_one(state), "{words:?}: {state}");
    }
}
