//! Tests of TLS with the Collector's receiver: mutual TLS, certificate rotation while the agent runs, and error
//! messages.

use std::fs;
use std::path::Path;
use std::process::Command;
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
        // On a busy machine a read may be late.
        let told: Vec<_> = told.into_iter().filter(|line| !line.contains("until it does")).collect();
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

/// Runs openssl, which people make certificates with, in a directory.
fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn certificates_as_people_make_them_work_or_are_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let key = |curve: &str, name: &str| openssl(dir, &format!("ecparam -name {curve} -genkey -noout -out {name}.key"));
    let own = |curve: &str, name: &str, extensions: &str| {
        key(curve, name);
        openssl(dir, &format!("req -x509 -new -key {name}.key -subj /CN={name} -days 30 -out {name}.pem {extensions}"));
    };
    let request = |name: &str| openssl(dir, &format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
    let leaf = "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost";
    own("prime256v1", "plain", "-addext subjectAltName=DNS:localhost");
    own("prime256v1", "leaf", leaf);
    own("prime256v1", "nameless", "-addext basicConstraints=critical,CA:FALSE");
    own("secp521r1", "large", leaf);
    own("secp521r1", "largeca", "");
    key("prime256v1", "old");
    request("old");
    openssl(dir, "x509 -req -in old.csr -signkey old.key -days 30 -out old.pem");
    for (ca, name) in [("old", "byold"), ("largeca", "bylarge")] {
        key("prime256v1", name);
        request(name);
        let signed = format!("-CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days 30 -extfile names");
        openssl(dir, &format!("x509 -req -in {name}.csr -out {name}.pem {signed}"));
    }
    for (server, ca, words) in [
        ("leaf", "leaf", ""),
        ("byold", "old", ""),
        (
            "plain",
            "plain",
            "is one of an authority, not of a server (openssl req -x509 makes such certificates); make it with -addext",
        ),
        ("old", "old", "is of X.509 version 1; make one of version 3"),
        ("nameless", "nameless", "is for another host name"),
        ("large", "large", "no version, cipher or certificate in common with this program (a P-521 certificate"),
        ("bylarge", "largeca", "is signed in a way that is not supported (P-521"),
    ] {
        let pair =
            json!({"cert_file": dir.join(format!("{server}.pem")), "key_file": dir.join(format!("{server}.key"))});
        for (protocol, name) in [("grpc", "grpc"), ("http", "http/protobuf")] {
            let protocols = json!({protocol: {"endpoint": "ADDRESS", "tls": pair}});
            let collector = Collector::with(Plan { protocols, ..Plan::default() });
            let arguments = format!("--collectors memory --protocol {name} --ca-file {}/{ca}.pem", dir.display());
            let agent = Agent::start(&url(&collector), &arguments);
            match words {
                "" => drop(collector.metrics().wait_cycles(METRIC, 1, SOON)),
                words => {
                    let line = agent.says("cannot deliver");
                    assert!(line.contains("TLS: the server") && line.contains(words), "{server}: {line}");
                }
            }
        }
    }

    // The agent's own files, each named by what the user gave, and never with anything that is in them.
    openssl(dir, "pkey -in leaf.key -aes256 -passout pass:x -out locked.key");
    openssl(dir, "ec -in leaf.key -aes256 -passout pass:x -out locked1.key");
    openssl(dir, "x509 -in leaf.pem -outform der -out der.pem");
    openssl(dir, "pkey -in leaf.key -outform der -out der.key");
    for (cert, key, place, words) in [
        ("leaf.key", "leaf.pem", "--cert-file", "holds a private key where a certificate is expected"),
        (
            "leaf.pem",
            "leaf.pem",
            "--key-file",
            "holds a certificate where a private key is expected; are the two files swapped?",
        ),
        (
            "leaf.pem",
            "locked.key",
            "--key-file",
            "the private key is encrypted, which is not supported; decrypt it: openssl",
        ),
        (
            "leaf.pem",
            "locked1.key",
            "--key-file",
            "the private key is encrypted, which is not supported; decrypt it: openssl",
        ),
        ("leaf.pem", "old.key", "--key-file", "the key is not this certificate's"),
        (
            "large.pem",
            "large.key",
            "--key-file",
            "the key is of a kind that cannot be used (P-521, DSA); make one with",
        ),
        ("old.pem", "old.key", "--cert-file", "the certificate is of X.509 version 1; make one of version 3"),
        ("der.pem", "leaf.key", "--cert-file", "is DER, not PEM; convert it: openssl x509 -inform der"),
        ("leaf.pem", "der.key", "--key-file", "is DER, not PEM; convert it: openssl pkey -inform der"),
    ] {
        let files = format!("--cert-file {0}/{cert} --key-file {0}/{key}", dir.display());
        let checked = Agent::check("https://localhost:1", &format!("--collectors memory {files}"));
        let line = checked.lines().find(|line| line.starts_with("ENDPOINT")).unwrap();
        assert!(line.contains("failed") && line.contains(place) && line.contains(words), "{cert} {key}: {line}");
        for file in [cert, key] {
            let content = String::from_utf8_lossy(&fs::read(dir.join(file)).unwrap()).into_owned();
            let secret = content.lines().filter(|line| line.len() > 20 && !line.contains("-----"));
            assert!(secret.into_iter().all(|part| !line.contains(part)), "{line}");
        }
    }
}
