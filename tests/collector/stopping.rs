//! Tests of the agent's shutdown: within 5 s, with a last collection, and with a log line about lost data.

use std::net::TcpListener;
use std::time::Duration;

use crate::harness::{Agent, Collector, FLUSH, Plan, SOON, since_epoch};

const LONGEST: Duration = Duration::from_secs(5);

/// An address that accepts connections and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn sigterm_sends_a_last_collection() {
    let collector = Collector::start();
    let mut agent = Agent::start(&collector.url(), "--interval 10s");
    let mut metrics = collector.metrics();
    metrics.wait_cycles("system.memory.usage", 1, SOON);
    let asked = since_epoch();
    let (code, took) = agent.terminate();
    assert_eq!(code, Some(0));
    assert!(took < LONGEST, "{took:?}");
    metrics.wait("the last collection", FLUSH, |points| points.iter().any(|point| point.time > asked));
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn with_nothing_listening_it_ends_in_time_and_logs_the_loss_once() {
    let nobody = Collector::stopped(Plan::default());
    let mut agent = Agent::start(&nobody.url(), "");
    agent.says("cannot deliver");
    let (code, took) = agent.terminate();
    assert_eq!(code, Some(0));
    assert!(took < LONGEST, "{took:?}");
    let errors = agent.lines("ERROR");
    assert_eq!(errors.len(), 1, "{}", agent.log());
    assert!(errors[0].contains("batch") && errors[0].contains("lost"), "{}", errors[0]);
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn with_nothing_listening_an_outbox_on_disk_keeps_all_and_no_error_is_logged() {
    let nobody = Collector::stopped(Plan::default());
    let outbox = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(&nobody.url(), &format!("--outbox-dir {}", outbox.path().display()));
    agent.says("cannot deliver");
    let (code, took) = agent.terminate();
    assert_eq!(code, Some(0));
    assert!(took < LONGEST, "{took:?}");
    assert_eq!(agent.lines("ERROR"), [""; 0]);
    assert!(agent.lines("the outbox on disk keeps").len() == 1, "{}", agent.log());
}

#[test]
#[ignore = "needs a Collector: tests/collector/run"]
fn a_server_that_never_answers_does_not_hold_up_the_end() {
    let (_listener, url) = silent();
    let mut agent = Agent::start(&url, "");
    agent.says("cannot deliver");
    let (code, took) = agent.terminate();
    assert_eq!(code, Some(0));
    assert!(took < LONGEST, "{took:?}");
    assert_eq!(agent.lines("ERROR").len(), 1, "{}", agent.log());
}
