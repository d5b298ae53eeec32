//! Tests of delivery over http/protobuf: the requests, and the handling of the server's answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::time::Duration;

use heka_insights_agent::internals::export::probe::probe;
use heka_insights_agent::internals::outbox::DropReason;
use support::agent::{Agent, config};
use support::http::{Answer, HttpServer};
use support::{eventually, log, taken};

#[test]
fn a_healthy_server_gets_every_collection_once_at_the_configured_path() {
    let server = HttpServer::start();
    let mut config = config(server.endpoint());
    config.headers = vec![("x-team".into(), "edge".into())];
    let agent = Agent::start(config);
    (0..3).for_each(|_| _ = agent.tick_through());
    let seen = server.scene.seen();
    assert_eq!(taken(&seen), [1, 2, 3]);
    for request in &seen {
        assert_eq!(request.target, "/v1/metrics");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        assert_eq!(request.headers["x-team"], "edge");
        assert!(request.headers["user-agent"].to_str().unwrap().starts_with("heka-insights-agent/"));
        assert!(!request.headers.contains_key("content-encoding"));
    }
    assert_eq!(server.scene.connections(), 1, "the connection is kept");
}

#[test]
fn gzip_is_used_for_every_try() {
    let server = HttpServer::start();
    let mut config = config(server.endpoint());
    config.gzip = true;
    let agent = Agent::start(config);
    agent.tick_through();
    server.scene.script([Answer::Status(503, None, "busy")]);
    agent.tick();
    assert_eq!(server.scene.wait_value(2), [1, 2]);
    let seen = server.scene.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|request| request.headers["content-encoding"] == "gzip"));
}

#[test]
fn retryable_answers_are_retried_and_retry_after_is_the_floor() {
    let server = HttpServer::start();
    let agent = Agent::start(config(server.endpoint()));
    server.scene.script([
        Answer::Status(429, Some("1"), "slow down"),
        Answer::Status(502, None, ""),
        Answer::Status(401, None, "token expired"),
        Answer::Status(302, None, ""),
        Answer::Status(500, None, "bug"),
    ]);
    agent.tick();
    assert_eq!(server.scene.wait_value(1), [1]);
    let seen = server.scene.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1), "the 429's Retry-After");
    assert_eq!(agent.handle.stats().dropped.total().batches, 0);
}

#[test]
fn a_refused_batch_is_dropped_and_logged_with_the_servers_text_without_an_echoed_secret() {
    let server = HttpServer::start();
    let endpoint = server.addr.to_string();
    let mut config = config(server.endpoint());
    config.headers = vec![("authorization".into(), "Bearer s3cr3t-token".into())];
    let agent = Agent::start(config);
    let refusal = || Answer::Status(403, None, "no write permission for s3cr3t-token");
    server.scene.script([refusal()]);
    agent.tick();
    eventually("the drop", || agent.handle.stats().dropped.get(DropReason::Refused).batches == 1);
    eventually("the line", || !log::lines(&endpoint).is_empty());
    let lines = log::lines(&endpoint);
    assert!(
        lines[0].starts_with("ERROR") && lines[0].contains("403") && lines[0].contains("no write permission"),
        "{lines:#?}"
    );
    assert!(!lines.iter().any(|line| line.contains("s3cr3t")), "{lines:#?}");
}

#[test]
fn partial_successes_are_counted_and_logged_once() {
    let server = HttpServer::start();
    let endpoint = server.addr.to_string();
    let agent = Agent::start(config(server.endpoint()));
    server.scene.script((0..2).map(|_| Answer::Partial(1, "no such metric")));
    (0..2).for_each(|_| _ = agent.tick_through());
    assert_eq!(agent.handle.stats().rejected_points, 2);
    eventually("the line", || !log::news(&endpoint).is_empty());
    let lines = log::news(&endpoint);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("ERROR") && lines[0].contains("no such metric"), "{lines:#?}");
}

#[test]
fn a_server_that_hangs_delays_no_collection() {
    let server = HttpServer::start();
    server.scene.script([Answer::Hang]);
    let agent = Agent::patient(config(server.endpoint()));
    agent.tick();
    server.scene.wait("the hanging request", |seen| seen.len() == 1);
    agent.ticks(10);
    let stats = agent.handle.stats();
    assert_eq!((server.scene.seen().len(), stats.failed_sends, stats.outbox_batches), (1, 0, 11));
}

#[test]
fn requests_without_an_answer_are_sent_again() {
    let server = HttpServer::start();
    let mut config = config(server.endpoint());
    config.timeout = Duration::from_millis(300);
    let agent = Agent::start(config);
    server.scene.script((0..3).map(|_| Answer::Hang));
    agent.ticks(10);
    assert_eq!(server.scene.wait_value(10), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_probe_succeeds_or_has_a_reason() {
    let runtime = support::grpc::runtime();
    let server = HttpServer::start();
    let config = config(server.endpoint());
    assert!(runtime.block_on(probe(&config)).is_ok());
    assert!(server.scene.seen()[0].request.resource_metrics.is_empty());
    server.scene.script([Answer::Status(401, None, "who are you")]);
    let error = runtime.block_on(probe(&config)).unwrap_err().to_string();
    assert!(error.contains("401") && error.contains("who are you"), "{error}");
    let mut unix = config;
    unix.endpoint = "unix:/run/otlp.sock".into();
    let error = runtime.block_on(probe(&unix)).unwrap_err().to_string();
    assert!(error.contains("--endpoint") && error.contains("grpc"), "{error}");
}
