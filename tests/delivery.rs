//! Tests of delivery over gRPC to a misbehaving server: the received data, its order, duplicates, and log lines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::time::Duration;

use heka_insights_agent::internals::outbox::config::OutboxConfig;
use heka_insights_agent::internals::outbox::{DropReason, Tuning};
use support::agent::{Agent, Setup, config, memory, on_disk, quick};
use support::grpc::{Answer, GrpcServer};
use support::port::Port;
use support::{eventually, log, taken, values};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const MINUTE: Duration = Duration::from_secs(60);

fn unavailable() -> Answer {
    Answer::Status(Status::unavailable("busy"))
}

#[test]
fn a_healthy_server_gets_every_collection_once_and_in_order() {
    let server = GrpcServer::start();
    let agent = Agent::start(config(server.endpoint()));
    (0..3).for_each(|_| _ = agent.tick_through());
    assert_eq!(taken(&server.scene.seen()), [1, 2, 3]);
    let stats = agent.handle.stats();
    assert_eq!((stats.exported_batches, stats.exported_points, stats.replayed_batches), (3, 3, 0));
    assert_eq!(server.scene.connections(), 1);
    let (last, _) = agent.stop();
    assert_eq!(taken(&server.scene.seen()), [1, 2, 3, last]);
    let lines = log::lines(&server.addr.to_string());
    assert!(lines.len() == 1 && lines[0].ends_with("accepted the first batch (1 data points)"), "{lines:#?}");
}

#[test]
fn an_outage_is_replayed_once_in_order_and_logged_once() {
    let server = GrpcServer::start();
    let endpoint = server.endpoint();
    let agent = Agent::start(config(&endpoint));
    (0..2).for_each(|_| _ = agent.tick_through());
    let (port, scene) = server.down();
    agent.ticks(5);
    eventually("the warning", || log::news(&endpoint).iter().any(|l| l.contains("cannot deliver")));
    agent.ticks(3);
    let _server = GrpcServer::restart(port, scene.clone(), None);
    assert_eq!(scene.wait_value(10), (1..=10).collect::<Vec<_>>());
    eventually("the recovery", || log::news(&endpoint).iter().any(|l| l.contains("again after")));
    let last = agent.ticks(2);
    assert_eq!(scene.wait_value(last), (1..=12).collect::<Vec<_>>());
    agent.emptied();
    let lines = log::news(&endpoint);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("connection refused"), "{lines:#?}");
    assert!(
        lines[1].starts_with("INFO") && lines[1].contains("8 batches (8 data points) replayed, none lost"),
        "{lines:#?}"
    );
    let stats = agent.handle.stats();
    assert_eq!((stats.exported_points, stats.replayed_batches, stats.outbox_batches), (12, 8, 0));
}

#[test]
fn several_stored_batches_travel_in_one_request() {
    let server = GrpcServer::start();
    let endpoint = server.endpoint();
    let tuning = Tuning { backoff_base: Duration::from_millis(200), ..quick() };
    let agent = Agent::with(config(&endpoint), Setup { tuning, ..Setup::default() }).unwrap();
    let (port, scene) = server.down();
    agent.ticks(40);
    let _server = GrpcServer::restart(port, scene.clone(), None);
    assert_eq!(scene.wait_value(40), (1..=40).collect::<Vec<_>>());
    assert!(scene.seen().len() < 5, "{} requests", scene.seen().len());
}

#[test]
fn statuses_that_may_pass_are_retried_until_they_do() {
    let server = GrpcServer::start();
    let agent = Agent::start(config(server.endpoint()));
    let soon = ErrorDetails::with_retry_info(Some(Duration::from_millis(30)));
    server.scene.script([
        Answer::Status(Status::with_error_details(Code::Unavailable, "later", soon.clone())),
        Answer::Status(Status::with_error_details(Code::ResourceExhausted, "quota", soon)),
        Answer::Status(Status::aborted("x")),
        Answer::Status(Status::unauthenticated("token expired")),
        Answer::Status(Status::unknown("bug")),
        Answer::Status(Status::data_loss("x")),
    ]);
    let last = agent.ticks(3);
    assert_eq!(server.scene.wait_value(last), [1, 2, 3]);
    eventually("an empty outbox", || agent.handle.stats().outbox_batches == 0);
    assert_eq!(agent.handle.stats().dropped.total().batches, 0);
}

#[test]
fn the_servers_retry_info_is_the_floor_of_the_wait() {
    let server = GrpcServer::start();
    let agent = Agent::start(config(server.endpoint()));
    let wait = Duration::from_millis(600);
    for code in [Code::ResourceExhausted, Code::Unavailable] {
        let details = ErrorDetails::with_retry_info(Some(wait));
        server.scene.script([Answer::Status(Status::with_error_details(code, "quota", details))]);
        agent.tick_through();
        let seen = server.scene.seen();
        let [.., first, second] = seen.as_slice() else { panic!("{} requests", seen.len()) };
        assert!(!first.taken && second.taken && second.at - first.at >= wait, "{code:?}: {:?}", second.at - first.at);
    }
    assert_eq!(taken(&server.scene.seen()), [1, 2]);
}

#[test]
fn a_permanently_rejected_batch_is_dropped_counted_and_logged_once() {
    let server = GrpcServer::start();
    let endpoint = server.endpoint();
    let agent = Agent::start(config(&endpoint));
    for _ in 0..4 {
        server.scene.script([Answer::Status(Status::invalid_argument("too old"))]);
        agent.tick_through();
    }
    let refused = agent.handle.stats().dropped.get(DropReason::Refused);
    assert_eq!((refused.batches, refused.points), (4, 4));
    eventually("the line", || !log::lines(&endpoint).is_empty());
    let lines = log::lines(&endpoint);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("ERROR") && lines[0].contains("too old"), "{lines:#?}");
    let value = agent.tick();
    server.scene.wait_value(value);
}

#[test]
fn one_bad_batch_among_many_costs_only_itself() {
    let server = GrpcServer::start();
    let tuning = Tuning { backoff_base: Duration::from_millis(300), ..quick() };
    let agent = Agent::with(config(server.endpoint()), Setup { tuning, ..Setup::default() }).unwrap();
    let (port, scene) = server.down();
    agent.ticks(5);
    let bad = || Answer::Status(Status::invalid_argument("bad"));
    eventually("a failure", || agent.handle.stats().failed_sends > 0);
    // All together; 1 and 2 alone; 3 is the bad one; the rest.
    scene.script([bad(), Answer::Take, Answer::Take, bad()]);
    let _server = GrpcServer::restart(port, scene.clone(), None);
    assert_eq!(scene.wait_value(5), [1, 2, 4, 5]);
    assert_eq!(agent.handle.stats().dropped.get(DropReason::Refused).batches, 1);
}

#[test]
fn a_batch_that_the_server_fails_on_is_dropped_after_some_tries_and_blocks_nothing() {
    let server = GrpcServer::start();
    let agent = Agent::start(config(server.endpoint()));
    let stumble = || Answer::Status(Status::out_of_range("message too large"));
    server.scene.script((0..64).map(|_| stumble()));
    agent.tick();
    eventually("the drop", || agent.handle.stats().dropped.get(DropReason::Refused).batches == 1);
    server.scene.clear();
    let value = agent.tick();
    assert_eq!(server.scene.wait_value(value), [2]);
}

#[test]
fn a_batch_that_is_always_deferred_blocks_the_next_only_until_its_maximum_age() {
    let server = GrpcServer::start();
    let endpoint = server.endpoint();
    server.scene.script((0..100_000).map(|_| unavailable()));
    let max_age = Duration::from_secs(2);
    let outbox = OutboxConfig { max_age, ..memory(1 << 20) };
    let agent = Agent::with(config(&endpoint), Setup { outbox, ..Setup::default() }).unwrap();
    agent.tick();
    eventually("the end of its age", || agent.handle.stats().dropped.get(DropReason::Age).batches == 1);
    eventually("the line", || {
        log::lines(&endpoint).iter().any(|l| l.starts_with("ERROR") && l.contains("1 older than --outbox-max-age"))
    });
    server.scene.clear();
    let next = agent.tick();
    assert_eq!(server.scene.wait_value(next), [next]);
}

#[test]
fn a_server_that_hangs_delays_no_collection() {
    let server = GrpcServer::start();
    server.scene.script([Answer::Hang]);
    let agent = Agent::patient(config(server.endpoint()));
    agent.tick();
    server.scene.wait("the hanging request", |seen| seen.len() == 1);
    // Each collection ends although the first request has no answer yet, neither from the server nor from its timeout.
    agent.ticks(20);
    let stats = agent.handle.stats();
    assert_eq!((server.scene.seen().len(), stats.failed_sends, stats.outbox_batches), (1, 0, 21));
}

#[test]
fn requests_without_an_answer_are_logged_and_sent_again() {
    let server = GrpcServer::start();
    let endpoint = server.endpoint();
    let mut config = config(&endpoint);
    config.timeout = Duration::from_millis(300);
    let agent = Agent::start(config);
    server.scene.script((0..1000).map(|_| Answer::Hang));
    agent.ticks(21);
    eventually("the warning", || {
        log::lines(&endpoint).iter().any(|l| l.starts_with("WARN") && l.contains("no answer within 300ms"))
    });
    server.scene.clear();
    assert_eq!(server.scene.wait_value(21), (1..=21).collect::<Vec<_>>());
}

#[test]
fn three_unanswered_requests_replace_the_connection() {
    let server = GrpcServer::start();
    let mut config = config(server.endpoint());
    config.timeout = Duration::from_millis(50);
    let agent = Agent::start(config);
    server.scene.script((0..4).map(|_| Answer::Hang));
    agent.tick();
    assert_eq!(server.scene.wait_value(1), [1]);
    assert_eq!(server.scene.connections(), 2);
}

#[test]
fn a_slow_server_gets_every_batch_once() {
    let server = GrpcServer::start();
    server.scene.script((0..5).map(|_| Answer::Slow(Duration::from_millis(150))));
    let agent = Agent::start(config(server.endpoint()));
    (0..5).for_each(|_| _ = agent.tick_through());
    assert_eq!(taken(&server.scene.seen()), [1, 2, 3, 4, 5]);
    assert_eq!(agent.handle.stats().failed_sends, 0);
}

#[test]
fn a_partial_success_is_logged_at_its_first_occurrence() {
    let server = GrpcServer::start();
    let endpoint = server.endpoint();
    server.scene.script((0..3).map(|_| Answer::Partial(1, "no such metric")));
    let agent = Agent::start(config(&endpoint));
    agent.tick_through();
    eventually("the line", || !log::news(&endpoint).is_empty());
    (0..4).for_each(|_| _ = agent.tick_through());
    let stats = agent.handle.stats();
    assert_eq!((stats.rejected_points, stats.exported_points, stats.exported_batches), (3, 2, 5));
    let lines = log::news(&endpoint);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("ERROR") && lines[0].contains("no such metric"), "{lines:#?}");
}

#[test]
fn a_partial_success_of_a_replayed_batch_is_counted_and_logged_too() {
    let server = GrpcServer::start();
    let endpoint = server.endpoint();
    server.scene.script([unavailable(), Answer::Partial(1, "no such metric")]);
    let agent = Agent::start(config(&endpoint));
    agent.tick_through();
    let stats = agent.handle.stats();
    assert_eq!((stats.replayed_batches, stats.rejected_points, stats.exported_points), (1, 1, 0));
    eventually("the line", || log::lines(&endpoint).iter().any(|line| line.contains("no such metric")));
}

#[test]
fn a_shutdown_without_a_stop_signal_delivers_what_waits_too() {
    let server = GrpcServer::start();
    let tuning = Tuning { backoff_base: MINUTE, backoff_cap: MINUTE, ..quick() };
    let agent = Agent::with(config(server.endpoint()), Setup { tuning, ..Setup::default() }).unwrap();
    let (port, scene) = server.down();
    agent.ticks(2);
    let _server = GrpcServer::restart(port, scene.clone(), None);
    let last = agent.shut_down();
    assert_eq!(taken(&scene.seen()), (1..=last).collect::<Vec<_>>());
}

#[test]
fn connections_that_are_cut_at_once_lose_nothing() {
    let port = Port::new();
    let listener = port.listen();
    let agent = Agent::start(config(format!("http://{}", port.addr())));
    let cutter = std::thread::spawn(move || {
        for _ in 0..6 {
            drop(listener.accept().unwrap());
        }
    });
    agent.ticks(3);
    cutter.join().unwrap();
    let server = GrpcServer::on(port, None);
    assert_eq!(server.scene.wait_value(3), [1, 2, 3]);
    assert_eq!(agent.handle.stats().dropped.total().batches, 0);
}

#[test]
fn a_full_outbox_drops_the_oldest_batches_and_logs_their_number() {
    let port = Port::new();
    let endpoint = format!("http://{}", port.addr());
    // After the first failure nothing is in flight, where a batch is kept although it is the oldest.
    let tuning = Tuning { backoff_base: MINUTE, backoff_cap: MINUTE, backoff_jitter: false, ..quick() };
    let agent = Agent::with(config(&endpoint), Setup { outbox: memory(2000), tuning, ..Setup::default() }).unwrap();
    agent.tick();
    eventually("the warning", || log::lines(&endpoint).iter().any(|l| l.contains("cannot deliver")));
    agent.ticks(29);
    let stats = agent.handle.stats();
    let lost = stats.dropped.get(DropReason::Size).batches;
    eventually("the line", || log::lines(&endpoint).iter().any(|l| l.starts_with("ERROR")));
    assert!(lost > 0 && lost + stats.outbox_batches == 30, "{stats:?}");
    assert!(stats.outbox_bytes <= 2000 && stats.outbox_oldest.is_some(), "{stats:?}");
    let lines = log::lines(&endpoint);
    let errors: Vec<_> = lines.iter().filter(|l| l.starts_with("ERROR")).collect();
    assert!(errors.len() == 1 && errors[0].contains("the outbox was full"), "{lines:#?}");
    let server = GrpcServer::on(port, None);
    let handle = agent.handle.clone();
    let last = agent.shut_down();
    let lost = handle.stats().dropped.get(DropReason::Size).batches;
    assert_eq!(taken(&server.scene.seen()), (lost + 1..=last).collect::<Vec<_>>());
    eventually("the recovery", || {
        log::lines(&endpoint).iter().any(|l| l.contains("again after") && l.contains(&format!("{lost} batches")))
    });
}

#[test]
fn stopping_while_the_server_hangs_is_quick_and_logs_how_much_is_lost_with_the_memory() {
    let server = GrpcServer::start();
    let endpoint = server.endpoint();
    server.scene.script((0..100).map(|_| Answer::Hang));
    let agent = Agent::start(config(&endpoint));
    agent.tick();
    server.scene.wait("the hanging request", |seen| !seen.is_empty());
    let (_, took) = agent.stop();
    assert!(took < Duration::from_secs(4), "{took:?}");
    let lines = log::lines(&endpoint);
    assert!(
        lines
            .iter()
            .any(|l| l.starts_with("ERROR") && l.contains("2 batches (2 data points)") && l.contains("are lost")),
        "{lines:#?}"
    );
}

#[test]
fn batches_on_disk_survive_a_stop_and_are_sent_first_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let disk = || Setup { outbox: on_disk(dir.path()), ..Setup::default() };
    let server = GrpcServer::start();
    let endpoint = server.endpoint();
    server.scene.script((0..100).map(|_| Answer::Hang));
    let agent = Agent::with(config(&endpoint), disk()).unwrap();
    agent.ticks(3);
    let (last, took) = agent.stop();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(!log::lines(&endpoint).iter().any(|l| l.starts_with("ERROR")));
    server.scene.clear();
    let agent = Agent::with(config(&endpoint), disk()).unwrap();
    // The next run counts from one again.
    agent.tick();
    server.scene.wait("all of them", |seen| taken(seen).len() == 5);
    assert_eq!(taken(&server.scene.seen()), [1, 2, 3, last, 1]);
    agent.emptied();
    drop(agent);
    let left = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "batch"));
    assert_eq!(left.count(), 0);
}

#[test]
fn stopping_with_a_healthy_server_delivers_what_waits() {
    let server = GrpcServer::start();
    let endpoint = server.endpoint();
    let tuning = Tuning { backoff_base: MINUTE, backoff_cap: MINUTE, ..quick() };
    let agent = Agent::with(config(&endpoint), Setup { tuning, ..Setup::default() }).unwrap();
    let (port, scene) = server.down();
    agent.ticks(3);
    let _server = GrpcServer::restart(port, scene.clone(), None);
    let (last, took) = agent.stop();
    assert_eq!(taken(&scene.seen()), (1..=last).collect::<Vec<_>>(), "all seen: {:?}", values(&scene.seen()));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn stopping_with_nothing_listening_is_quick() {
    let port = Port::new();
    let endpoint = format!("http://{}", port.addr());
    let agent = Agent::start(config(&endpoint));
    agent.ticks(2);
    let (_, took) = agent.stop();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let lines = log::lines(&endpoint);
    assert!(lines.iter().any(|l| l.starts_with("ERROR") && l.contains("3 batches")), "{lines:#?}");
}

#[test]
fn an_answer_that_came_too_late_is_sent_again_with_the_same_value() {
    let server = GrpcServer::start();
    let mut config = config(server.endpoint());
    config.timeout = Duration::from_millis(300);
    let agent = Agent::start(config);
    server.scene.script([Answer::TakeAndHang]);
    agent.tick();
    let seen = server.scene.wait("the second sending", |seen| seen.len() == 2);
    assert_eq!(seen[0].request, seen[1].request, "same times, same values");
}
