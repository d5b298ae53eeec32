//! TLS towards the Collector's own receiver: mutual, rotated under a running agent, and what each failure is called.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::certs::{Authority, Pair};
use crate::harness::{Agent, Collector, Plan, SOON, cycles, in_order_and_once, no_second_is_missing};

const METRIC: &str = "system.memory.usage";

/// A receiver that shows `server`'s certificate and asks clients for one that the file `clients.pem` in `dir` trusts.
fn receiver(protocol: &str, dir: &Path, server: &Pair) -> Plan {
    fs::write(dir.join("server.pem"), &server.cert).unwrap();
    fs::write(dir.join("server.key"), &server.key).unwrap();
    let tls = json!({
        "cert_file": dir.join("server.pem"),
        "key_file": dir.join("server.key"),
        "client_ca_file": dir.join("clients.pem"),
    });
    let protocols: Value = json!({protocol: {"endpoint": "ADDRESS", "tls": tls}});
    Plan { protocols, ..Plan::default() }
}

fn url(collector: &Collector) -> String {
    collector.url().replace("http://127.0.0.1", "https://localhost")
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn mutual_tls_goes_on_over_a_rotation_of_the_client_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let [ours, old, new] = ["ours", "the old one", "the new one"].map(Authority::new);
    fs::write(dir.join("clients.pem"), format!("{}{}", old.pem, new.pem)).unwrap();
    let mut collector = Collector::with(receiver("grpc", dir, &ours.sign("localhost")));
    let (cert, key) = old.sign("agent").files(dir);
    let (ca, cert, key) = (ours.file(dir).display().to_string(), cert.display(), key.display());
    let agent =
        Agent::start(&url(&collector), &format!("--ca-file {ca} --cert-file {cert} --key-file {key} --log-level info"));
    let mut metrics = collector.metrics();
    metrics.wait_cycles(METRIC, 2, SOON);

    new.sign("agent").files(dir);
    agent.says("connecting again");
    let seen = cycles(metrics.look(), METRIC).len();
    metrics.wait_cycles(METRIC, seen + 2, SOON);
    assert_eq!(agent.lines("cannot deliver"), [""; 0]);

    // A Collector that no longer knows the old authority takes only the new certificate.
    collector.stop();
    fs::write(dir.join("clients.pem"), &new.pem).unwrap();
    agent.says("cannot deliver");
    collector.start_again();
    agent.says("delivering to");
    let seen = cycles(metrics.look(), METRIC).len();
    metrics.wait_cycles(METRIC, seen + 2, SOON);
    assert_eq!(agent.lines("certificate ("), [""; 0]);
    agent.stop();
    let points = collector.harvest();
    in_order_and_once(&points);
    no_second_is_missing(&cycles(&points, METRIC));
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn a_client_certificate_that_was_refused_is_cured_by_replacing_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let [ours, strangers] = ["ours", "a stranger"].map(Authority::new);
    fs::write(dir.join("clients.pem"), &ours.pem).unwrap();
    let collector = Collector::with(receiver("grpc", dir, &ours.sign("localhost")));
    let (cert, key) = strangers.sign("agent").files(dir);
    let arguments =
        format!("--ca-file {} --cert-file {} --key-file {}", ours.file(dir).display(), cert.display(), key.display());
    let agent = Agent::start(&url(&collector), &arguments);
    agent.says("refused the client certificate");
    ours.sign("agent").files(dir);
    agent.says("delivering to");
    let mut metrics = collector.metrics();
    metrics.wait_cycles(METRIC, 3, SOON);
    agent.stop();
    let points = collector.harvest();
    in_order_and_once(&points);
    no_second_is_missing(&cycles(&points, METRIC));
}

/// Each fault, and the words of its line.
fn each_fault_has_one_line(protocol: &str, arguments: &str) {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [ours, strangers] = ["ours", "a stranger"].map(Authority::new);
    let servers = [ours.sign("localhost"), ours.sign_expired("localhost"), ours.sign("elsewhere.example")];
    let collectors: Vec<_> = dirs
        .iter()
        .zip(&servers)
        .map(|(dir, server)| {
            fs::write(dir.path().join("clients.pem"), &ours.pem).unwrap();
            Collector::with(receiver(protocol, dir.path(), server))
        })
        .collect();

    let [good, other] = [&ours, &strangers].map(|authority| {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = authority.sign("agent").files(dir.path());
        let client = format!("--cert-file {} --key-file {}", cert.display(), key.display());
        (format!("--ca-file {}", authority.file(dir.path()).display()), client, dir)
    });
    let (our_ca, our_client, their_ca, their_client) = (&good.0, &good.1, &other.0, &other.1);
    let faults = [
        (0, their_ca, our_client.as_str(), "authority that is not trusted"),
        (1, our_ca, our_client, "has expired"),
        (2, our_ca, our_client, "another host name"),
        (0, our_ca, their_client, "refused the client certificate"),
        (0, our_ca, "", "requires a client certificate"),
    ]
    .map(|(server, ca, client, words)| {
        let arguments = format!("{ca} {client} {arguments} --collectors memory");
        (Agent::start(&url(&collectors[server]), &arguments), words)
    });
    for (agent, words) in &faults {
        let line = agent.says("cannot deliver");
        assert!(line.contains(words) && line.contains("WARN"), "{line:?} does not say {words:?}");
    }
    // Many more tries fail meanwhile, and have nothing new to tell.
    sleep(Duration::from_secs(5));
    for (agent, words) in faults {
        let told: Vec<_> = [agent.lines("WARN"), agent.lines("ERROR")].concat();
        assert_eq!(told.len(), 1, "{words}: {told:?}");
    }
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn each_fault_of_tls_over_grpc_has_one_line_that_names_it() {
    each_fault_has_one_line("grpc", "--protocol grpc");
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn each_fault_of_tls_over_http_has_one_line_that_names_it() {
    each_fault_has_one_line("http", "--protocol http/protobuf");
}
