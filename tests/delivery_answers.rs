//! Tests of each row in the table of answers in docs/delivery.md, with a server that can send any HTTP response.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

mod support;

use std::time::Duration;

use heka_insights_agent::internals::outbox::{DropReason, Tuning};
use support::agent::{Agent, Setup, config, quick};
use support::pages::{PageServer, Reply};
use support::{eventually, log, taken, values};

/// The consequence of an answer for one small batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consequence {
    Accepted,
    /// Sent again until it is accepted.
    Kept,
    Dropped,
}
use Consequence::{Accepted, Dropped, Kept};

/// What becomes of one batch whose first answer is `reply` and whose second is a success.
fn consequence(grpc: bool, reply: Reply) -> Consequence {
    let server = PageServer::start(grpc, move |n, _| if n == 0 { reply.clone() } else { Reply::success(grpc) });
    let agent = Agent::start(config(server.endpoint()));
    agent.tick_through();
    let stats = agent.handle.stats();
    let dropped = stats.dropped.get(DropReason::Refused).batches;
    match (values(&server.scene.seen()).len(), stats.exported_batches, dropped) {
        (1, 1, 0) => Accepted,
        (2, 1, 0) => Kept,
        (1, 0, 1) => Dropped,
        other => panic!("{other:?}"),
    }
}

fn html(status: u16) -> Reply {
    Reply::page(status).header("content-type", "text/html").body("<html><title>Sorry</title></html>")
}

#[test]
fn over_http_each_row_has_its_consequence() {
    for (reply, expected) in [
        (Reply::page(200).taken(), Accepted),
        (Reply::page(202).header("content-type", "text/plain").body("ok").taken(), Accepted),
        (Reply::page(200).header("content-type", "application/json").body("{}").taken(), Accepted),
        (Reply::page(200).header("content-type", "application/x-protobuf").body("no protobuf").taken(), Accepted),
        (Reply::page(204).taken(), Accepted),
        (html(200), Kept),
        (html(400), Kept),
        (html(403), Kept),
        (html(404), Kept),
        (html(502), Kept),
        (Reply::page(400).body("Client sent an HTTP request to an HTTPS server.\n"), Kept),
        (Reply::page(302).header("location", "/login"), Kept),
        (Reply::page(401), Kept),
        (Reply::page(404), Kept),
        (Reply::page(405), Kept),
        (Reply::page(407), Kept),
        (Reply::page(408), Kept),
        (Reply::page(421), Kept),
        (Reply::page(425), Kept),
        (Reply::page(429), Kept),
        (Reply::page(500), Kept),
        (Reply::page(502), Kept),
        (Reply::page(503), Kept),
        (Reply::page(504), Kept),
        (Reply::page(522), Kept),
        (Reply::page(400), Dropped),
        (Reply::page(403), Dropped),
        (Reply::page(413), Dropped),
        (Reply::page(415), Dropped),
        (Reply::page(501), Dropped),
    ] {
        assert_eq!(consequence(false, reply.clone()), expected, "{reply:?}");
    }
}

#[test]
fn over_grpc_each_row_has_its_consequence() {
    for (reply, expected) in [
        (Reply::grpc("0"), Accepted),
        // What follows a status OK is a courtesy.
        (Reply::grpc("0").body("\0\0\0\0\x03abc"), Accepted),
        (Reply::grpc("0").body(""), Accepted),
        (Reply::page(200).header("content-type", "application/grpc").header("grpc-status", "0").taken(), Accepted),
        (Reply::grpc("1"), Kept),
        (Reply::grpc("4"), Kept),
        (Reply::grpc("8"), Kept),
        (Reply::grpc("10"), Kept),
        (Reply::grpc("14"), Kept),
        (Reply::grpc("15"), Kept),
        (Reply::grpc("16"), Kept),
        (Reply::grpc("2"), Kept),
        (Reply::grpc("11"), Kept),
        (Reply::grpc("13"), Kept),
        (Reply::grpc("3"), Dropped),
        (Reply::grpc("5"), Dropped),
        (Reply::grpc("6"), Dropped),
        (Reply::grpc("7"), Dropped),
        (Reply::grpc("9"), Dropped),
        (Reply::grpc("12"), Dropped),
        (Reply::page(200).header("content-type", "application/grpc").header("grpc-status", "3"), Dropped),
        // Pages of somebody in between.
        (html(200), Kept),
        (html(401), Kept),
        (html(403), Kept),
        (html(404), Kept),
        (html(429), Kept),
        (html(502), Kept),
        (html(503), Kept),
        (Reply::page(403).header("content-type", "text/plain").body("RBAC: access denied"), Kept),
        (Reply::page(200).header("content-type", "application/grpc"), Kept),
    ] {
        assert_eq!(consequence(true, reply.clone()), expected, "{reply:?}");
    }
}

#[test]
fn an_ingress_that_answers_404_for_a_while_costs_no_batch() {
    for grpc in [false, true] {
        let server = PageServer::start(grpc, move |n, _| if n < 4 { html(404) } else { Reply::success(grpc) });
        let agent = Agent::start(config(server.endpoint()));
        agent.ticks(10);
        assert_eq!(server.scene.wait_value(10), (1..=10).collect::<Vec<_>>());
        assert_eq!(agent.handle.stats().dropped.total().batches, 0);
    }
}

#[test]
fn a_login_page_is_named_in_the_log_and_loses_nothing() {
    let server = PageServer::start(false, |n, _| if n < 3 { html(200) } else { Reply::success(false) });
    let agent = Agent::start(config(server.endpoint()));
    agent.tick_through();
    let lines = log::lines(&server.addr.to_string());
    assert!(lines[0].contains("HTML page") && lines[0].contains("captive portal"), "{lines:#?}");
    assert_eq!(taken(&server.scene.seen()), [1]);
}

#[test]
fn the_wait_that_the_first_answer_asks_for_is_kept() {
    for grpc in [false, true] {
        let server = PageServer::start(grpc, move |n, _| match n {
            0 => Reply::page(503).header("retry-after", "1"),
            _ => Reply::success(grpc),
        });
        let agent = Agent::start(config(server.endpoint()));
        agent.tick_through();
        let seen = server.scene.seen();
        assert!(seen[1].at - seen[0].at >= Duration::from_secs(1), "grpc: {grpc}");
    }
}

#[test]
fn a_wait_until_a_date_is_kept() {
    let server = PageServer::start(false, |n, _| match n {
        // A date has whole seconds: at least one second from now.
        0 => {
            let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(2));
            Reply::page(429).header("retry-after", date.leak())
        }
        _ => Reply::success(false),
    });
    let agent = Agent::start(config(server.endpoint()));
    agent.tick_through();
    let seen = server.scene.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(990), "{:?}", seen[1].at - seen[0].at);
}

#[test]
fn a_batch_that_a_server_fails_on_is_tried_five_times_and_dropped() {
    for (grpc, failure) in [(false, Reply::page(500)), (true, Reply::grpc("13")), (true, Reply::grpc("2"))] {
        let server = PageServer::start(grpc, move |n, _| if n < 5 { failure.clone() } else { Reply::success(grpc) });
        let wait = Duration::from_millis(100);
        let tuning = Tuning { backoff_base: wait, backoff_cap: wait, backoff_jitter: false, ..quick() };
        let agent = Agent::with(config(server.endpoint()), Setup { tuning, ..Setup::default() }).unwrap();
        (0..2).for_each(|_| _ = agent.tick_through());
        let seen = server.scene.seen();
        assert_eq!(values(&seen), [1, 1, 1, 1, 1, 2], "grpc: {grpc}");
        assert!(seen.windows(2).all(|pair| pair[1].at - pair[0].at >= wait), "grpc: {grpc}");
        let stats = agent.handle.stats();
        assert_eq!((stats.dropped.get(DropReason::Refused).batches, stats.exported_batches), (1, 1), "grpc: {grpc}");
    }
}

#[test]
fn refusals_are_paced() {
    for (grpc, refusal) in [(false, Reply::page(400)), (true, Reply::grpc("3"))] {
        let server = PageServer::start(grpc, move |_, _| refusal.clone());
        let wait = Duration::from_millis(200);
        let tuning = Tuning { backoff_base: wait, backoff_cap: wait, backoff_jitter: false, ..quick() };
        let agent = Agent::with(config(server.endpoint()), Setup { tuning, ..Setup::default() }).unwrap();
        (0..3).for_each(|_| _ = agent.tick_through());
        let seen = server.scene.seen();
        assert!(seen.windows(2).all(|pair| pair[1].at - pair[0].at >= wait), "grpc: {grpc}");
        assert_eq!(agent.handle.stats().dropped.get(DropReason::Refused).batches, 3);
    }
}

/// The series of all points that were taken: each once.
fn series(server: &PageServer) -> usize {
    let mut series = Vec::new();
    for seen in server.scene.seen().iter().filter(|seen| seen.taken) {
        for resource in &seen.request.resource_metrics {
            for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                let Some(opentelemetry_proto::tonic::metrics::v1::metric::Data::Sum(sum)) = &metric.data else {
                    panic!("{metric:?}")
                };
                series.extend(sum.data_points.iter().map(|point| format!("{:?}", point.attributes)));
            }
        }
    }
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all, "each point once");
    all
}

const MANY: usize = 5_000;

#[test]
fn a_request_that_is_too_large_for_the_server_is_halved_until_it_is_not() {
    for (grpc, refusal) in [(false, Reply::page(413)), (true, Reply::grpc("8")), (true, html(413))] {
        let server = PageServer::start(grpc, move |_, size| match size > 70_000 {
            true => refusal.clone(),
            false => Reply::success(grpc),
        });
        let agent = Agent::with(config(server.endpoint()), Setup { series: MANY, ..Setup::default() }).unwrap();
        agent.tick_through();
        assert_eq!(series(&server), MANY, "grpc: {grpc}");
        let stats = agent.handle.stats();
        assert_eq!((stats.exported_points, stats.exported_batches), (MANY as u64, 1));
        assert_eq!(stats.dropped.total().points, 0);
    }
}

#[test]
fn a_request_that_is_too_large_for_the_path_to_the_server_is_halved_after_its_failure() {
    for grpc in [false, true] {
        // A slow link, a box in between that cuts or gives up.
        for reply in [Reply::hang(), Reply::cut(), Reply::page(504)] {
            let too_large = reply.clone();
            let server = PageServer::start(grpc, move |_, size| match size > 150_000 {
                true => too_large.clone(),
                false => Reply::success(grpc),
            });
            let mut config = config(server.endpoint());
            config.timeout = Duration::from_millis(500);
            let agent = Agent::with(config, Setup { series: MANY, ..Setup::default() }).unwrap();
            agent.tick();
            agent.emptied();
            assert_eq!(series(&server), MANY, "grpc: {grpc}, {reply:?}");
        }
    }
}

#[test]
fn a_size_that_the_server_rejected_is_not_tried_again_for_an_hour() {
    for (grpc, refusal) in [(true, Reply::grpc("8")), (true, Reply::grpc("11")), (false, Reply::page(413))] {
        let server = PageServer::start(grpc, move |n, _| if n == 0 { refusal.clone() } else { Reply::success(grpc) });
        let agent = Agent::with(config(server.endpoint()), Setup { series: MANY, ..Setup::default() }).unwrap();
        // More than enough successes for the size to double.
        (0..6).for_each(|_| _ = agent.tick_through());
        let sizes = server.sizes.lock().unwrap().clone();
        assert!(sizes.len() > 10 && sizes[1..].iter().all(|size| *size <= sizes[0] / 2 + 200), "{grpc}: {sizes:?}");
    }
}

#[test]
fn after_a_failure_that_may_pass_requests_are_halved_and_grow_again() {
    for grpc in [false, true] {
        let without_status = Reply::page(200).header("content-type", "application/grpc").body([0; 5]);
        let unfinished = grpc.then_some(without_status);
        for reply in [Reply::hang(), Reply::cut(), Reply::page(504)].into_iter().chain(unfinished) {
            let first = reply.clone();
            let server = PageServer::start(grpc, move |n, _| if n == 0 { first.clone() } else { Reply::success(grpc) });
            let mut config = config(server.endpoint());
            // Only the request that hangs must reach it.
            config.timeout = Duration::from_secs(if reply.hang { 1 } else { 20 });
            let agent = Agent::with(config, Setup { series: MANY, ..Setup::default() }).unwrap();
            (0..12).for_each(|_| _ = agent.tick_through());
            let sizes = server.sizes.lock().unwrap().clone();
            let halved = sizes[1] <= sizes[0] / 2 + 200;
            assert!(halved && *sizes.last().unwrap() >= sizes[0], "grpc: {grpc}, {reply:?}: {sizes:?}");
        }
    }
}

#[test]
fn a_504_to_a_large_request_has_its_retry_after_respected() {
    for grpc in [false, true] {
        let server = PageServer::start(grpc, move |n, _| match n {
            0 => Reply::page(504).header("retry-after", "1"),
            _ => Reply::success(grpc),
        });
        let agent = Agent::with(config(server.endpoint()), Setup { series: MANY, ..Setup::default() }).unwrap();
        agent.tick_through();
        let seen = server.scene.seen();
        assert!(seen[1].at - seen[0].at >= Duration::from_secs(1), "grpc: {grpc}");
    }
}

#[test]
fn a_collection_above_4_mib_arrives_whole_and_once_in_both_temporalities() {
    use heka_insights_agent::internals::export::config::Temporality;
    for temporality in [Temporality::Cumulative, Temporality::Delta] {
        const POINTS: usize = 100_000;
        let server = PageServer::start(true, |_, size| {
            assert!(size <= 4 << 20, "{size}");
            Reply::grpc("0")
        });
        let mut config = config(server.endpoint());
        config.temporality = temporality;
        // Larger than the outbox may be, too: a healthy server gets it nevertheless.
        let agent = Agent::with(config, Setup { series: POINTS, ..Setup::default() }).unwrap();
        agent.tick_through();
        assert_eq!(series(&server), POINTS);
        let stats = agent.handle.stats();
        assert_eq!((stats.exported_points, stats.exported_batches, stats.failed_sends), (POINTS as u64, 1, 0));
        assert!(server.sizes.lock().unwrap().iter().sum::<usize>() > 4 << 20);
    }
}

#[test]
fn a_batch_larger_than_the_outbox_is_lost_alone_with_its_reason() {
    let server = PageServer::start(true, |n, _| if n < 2 { Reply::grpc("14") } else { Reply::grpc("0") });
    let outbox = support::agent::memory(100_000);
    let agent = Agent::with(config(server.endpoint()), Setup { outbox, series: MANY, ..Setup::default() }).unwrap();
    agent.tick();
    agent.emptied();
    eventually("the line", || {
        let lines = log::lines(&server.addr.to_string());
        lines.iter().any(|line| line.starts_with("ERROR") && line.contains("larger than --outbox-max-size"))
    });
    assert_eq!(agent.handle.stats().dropped.get(DropReason::Oversize).points, MANY as u64);
    // The next request that fails costs the next batch, and after that all is well.
    agent.tick();
    agent.emptied();
    agent.tick_through();
    assert_eq!(agent.handle.stats().exported_batches, 1);
}
