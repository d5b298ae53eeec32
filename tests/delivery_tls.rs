//! Tests of TLS over both protocols: valid configurations, error messages, and certificate changes while the agent
//! runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::path::Path;
use std::time::Duration;

use heka_insights_agent::internals::export::config::OtlpConfig;
use heka_insights_agent::internals::export::probe::probe;
use support::agent::{Agent, Setup, config};
use support::certs::{Authority, Pair};
use support::grpc::{GrpcServer, runtime};
use support::http::HttpServer;
use support::pages::{PageServer, Reply};
use support::port::Port;
use support::{eventually, log, taken};

/// The result of a probe against a TLS server that has `server`'s certificate and asks for `clients`'.
fn probe_both(server: &Pair, clients: Option<&Authority>, change: impl Fn(&mut OtlpConfig)) -> [Result<(), String>; 2] {
    let grpc = GrpcServer::on(Port::new(), Some(server.for_grpc(clients)));
    let http = HttpServer::with(Some(server.for_http(clients)));
    let endpoints = [
        format!("https://localhost:{}", grpc.addr.port()),
        format!("https://localhost:{}/v1/metrics", http.addr.port()),
    ];
    endpoints.map(|endpoint| {
        let mut config = config(endpoint);
        config.timeout = Duration::from_secs(5);
        change(&mut config);
        runtime().block_on(probe(&config)).map(drop).map_err(|e| e.to_string())
    })
}

fn assert_words(results: &[Result<(), String>; 2], words: &str) {
    for result in results {
        let error = result.as_ref().unwrap_err();
        assert!(error.contains(words), "{error:?} does not say {words:?}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_certificate_of_the_given_authority_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new("ours");
    let results = probe_both(&ca.sign("localhost"), None, |c| c.tls.ca = Some(ca.file(dir.path())));
    assert_eq!(results, [Ok(()), Ok(())]);
}

#[test]
fn the_wrong_authority_is_named_so() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let results = probe_both(&theirs.sign("localhost"), None, |c| c.tls.ca = Some(ours.file(dir.path())));
    assert_words(&results, "authority that is not trusted");
}

#[test]
fn an_expired_certificate_is_named_so() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new("ours");
    let results = probe_both(&ca.sign_expired("localhost"), None, |c| c.tls.ca = Some(ca.file(dir.path())));
    assert_words(&results, "certificate has expired");
}

#[test]
fn a_certificate_for_another_host_is_named_so() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new("ours");
    let results = probe_both(&ca.sign("other.test"), None, |c| c.tls.ca = Some(ca.file(dir.path())));
    assert_words(&results, "for another host name");
}

#[test]
fn a_client_certificate_is_shown_and_its_refusal_and_absence_are_named_so() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, strangers) = (Authority::new("ours"), Authority::new("strangers"));
    let server = ca.sign("localhost");
    let with = |pair: Option<Pair>| {
        probe_both(&server, Some(&ca), |c| {
            c.tls.ca = Some(ca.file(dir.path()));
            if let Some(pair) = &pair {
                let (cert, key) = pair.files(dir.path());
                (c.tls.cert, c.tls.key) = (Some(cert), Some(key));
            }
        })
    };
    assert_eq!(with(Some(ca.sign("client"))), [Ok(()), Ok(())]);
    assert_words(&with(Some(strangers.sign("client"))), "refused the client certificate");
    assert_words(&with(None), "requires a client certificate");
}

#[test]
fn a_server_without_tls_is_named_so() {
    let grpc = GrpcServer::start();
    let mut config = config(format!("https://localhost:{}", grpc.addr.port()));
    let dir = tempfile::tempdir().unwrap();
    config.tls.ca = Some(Authority::new("ours").file(dir.path()));
    let error = runtime().block_on(probe(&config)).unwrap_err().to_string();
    assert!(error.contains("does not speak TLS"), "{error}");
}

#[test]
fn files_that_cannot_be_used_are_refused_at_once_with_flag_and_file() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new("ours");
    let pair = ca.sign("client");
    let (cert, key) = pair.files(dir.path());
    let other_key = dir.path().join("other.key");
    std::fs::write(&other_key, &ca.sign("other").key).unwrap();
    let junk = dir.path().join("junk.pem");
    std::fs::write(&junk, "hello").unwrap();
    let missing = dir.path().join("missing.pem");
    let said = |ca: Option<&Path>, cert: Option<&Path>, key: Option<&Path>| {
        let mut config = config("https://localhost:1");
        config.tls.ca = ca.map(Into::into);
        config.tls.cert = cert.map(Into::into);
        config.tls.key = key.map(Into::into);
        runtime().block_on(probe(&config)).unwrap_err().to_string()
    };
    for (error, flag) in [
        (said(Some(&missing), None, None), "--ca-file"),
        (said(Some(&junk), None, None), "--ca-file"),
        (said(None, Some(&cert), None), "--key-file"),
        (said(None, Some(&junk), Some(&key)), "--cert-file"),
        (said(None, Some(&cert), Some(&junk)), "--key-file"),
        (said(None, Some(&cert), Some(&other_key)), "--key-file"),
    ] {
        assert!(error.contains(flag) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn a_rotated_client_certificate_is_picked_up_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (server_ca, old, new) = (Authority::new("server"), Authority::new("old"), Authority::new("new"));
    let server = server_ca.sign("localhost");
    let grpc = GrpcServer::on(Port::new(), Some(server.for_grpc(Some(&old))));
    let endpoint = format!("https://localhost:{}", grpc.addr.port());
    let mut config = config(&endpoint);
    config.tls.ca = Some(server_ca.file(dir.path()));
    let (cert, key) = old.sign("client").files(dir.path());
    (config.tls.cert, config.tls.key) = (Some(cert.clone()), Some(key));
    let agent = Agent::start(config);
    agent.tick_through();
    assert_eq!(taken(&grpc.scene.seen()), [1]);
    // The server trusts another authority from now on.
    let (port, scene) = grpc.down();
    let _grpc = GrpcServer::restart(port, scene.clone(), Some(server.for_grpc(Some(&new))));
    agent.ticks(2);
    // The first failure, which is logged, may be the end of the old connection.
    eventually("the refusal", || {
        agent.handle.last_failure().is_some_and(|why| why.contains("refused the client certificate"))
    });
    // A rotation gone wrong keeps the old files in use and is logged once.
    std::fs::write(&cert, "half a certifica").unwrap();
    eventually("the warning", || log::lines(&endpoint).iter().any(|l| l.contains("the old ones stay in use")));
    new.sign("client").files(dir.path());
    assert_eq!(scene.wait_value(3), [1, 2, 3]);
    let lines = log::lines(&endpoint);
    assert_eq!(lines.iter().filter(|l| l.contains("half") || l.contains("holds no PEM")).count(), 1, "{lines:#?}");
    assert!(!lines.iter().any(|l| l.starts_with("ERROR")), "{lines:#?}");
}

#[test]
fn reload_reads_the_files_again_and_reports_their_errors() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new("ours");
    let grpc = GrpcServer::on(Port::new(), Some(ca.sign("localhost").for_grpc(None)));
    let mut config = config(format!("https://localhost:{}", grpc.addr.port()));
    let file = ca.file(dir.path());
    config.tls.ca = Some(file.clone());
    let agent = Agent::start(config);
    agent.tick_through();
    agent.handle.reload().unwrap();
    agent.tick_through();
    assert_eq!(grpc.scene.connections(), 2);
    std::fs::remove_file(&file).unwrap();
    let error = agent.handle.reload().unwrap_err().to_string();
    assert!(error.contains("--ca-file"), "{error}");
    agent.tick_through();
    assert_eq!(taken(&grpc.scene.seen()), [1, 2, 3]);
}

#[test]
fn a_request_whose_size_ends_a_tls_connection_is_halved() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new("ours");
    let server = PageServer::over_tls(ca.sign("localhost").for_http(None), |_, size| match size > 150_000 {
        true => Reply::cut(),
        false => Reply::success(false),
    });
    let mut config = config(server.endpoint());
    config.tls.ca = Some(ca.file(dir.path()));
    let agent = Agent::with(config, Setup { series: 5_000, ..Setup::default() }).unwrap();
    agent.tick();
    agent.emptied();
    assert!(server.scene.seen().iter().any(|seen| seen.taken));
}
