//! Every way to send that a Collector listens to.

use serde_json::{Value, json};

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
