//! Shared code of the delivery tests: scripted OTLP servers, a minimal agent, certificates, captured log lines.
#![allow(dead_code, missing_docs)] // Each test file uses its part.

pub mod agent;
pub mod certs;
pub mod exporter;
pub mod grpc;
pub mod http;
pub mod log;
pub mod manual;
pub mod pages;
pub mod port;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;

/// Far beyond what any event here takes: reaching it is a failure, never a delay of a good run.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One request as a server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub headers: http_types::HeaderMap,
    /// Path, or the full URL where the request line had it.
    pub target: String,
    pub request: ExportMetricsServiceRequest,
    /// Whether it was taken.
    pub taken: bool,
}

pub use ::http as http_types;

/// A server's script and its diary.
pub struct Scene<A> {
    state: Mutex<State<A>>,
    changed: Condvar,
}

struct State<A> {
    script: VecDeque<A>,
    seen: Vec<Seen>,
    connections: usize,
}

impl<A> Default for Scene<A> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State { script: VecDeque::new(), seen: Vec::new(), connections: 0 }),
            changed: Condvar::new(),
        }
    }
}

impl<A> Scene<A> {
    /// Adds answers; when they are used up, everything is taken.
    pub fn script(&self, answers: impl IntoIterator<Item = A>) {
        self.state.lock().unwrap().script.extend(answers);
    }

    /// Drops the answers that were not used yet.
    pub fn clear(&self) {
        self.state.lock().unwrap().script.clear();
    }

    pub fn next_answer(&self) -> Option<A> {
        self.state.lock().unwrap().script.pop_front()
    }

    pub fn connected(&self) {
        self.state.lock().unwrap().connections += 1;
        self.changed.notify_all();
    }

    pub fn note(&self, seen: Seen) {
        self.state.lock().unwrap().seen.push(seen);
        self.changed.notify_all();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Waits for the diary to satisfy `enough`.
    pub fn wait(&self, what: &str, enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let state = self.state.lock().unwrap();
        let (state, late) = self.changed.wait_timeout_while(state, PATIENCE, |s| !enough(&s.seen)).unwrap();
        assert!(!late.timed_out(), "waited in vain for {what}; seen: {:?}", values(&state.seen));
        state.seen.clone()
    }

    /// Waits until the counter's value `last` was taken and returns all values that were taken, in order of arrival.
    pub fn wait_value(&self, last: u64) -> Vec<u64> {
        let seen = self.wait(&format!("value {last}"), |seen| taken(seen).contains(&last));
        taken(&seen)
    }
}

/// The counter's values in the requests that were taken.
pub fn taken(seen: &[Seen]) -> Vec<u64> {
    seen.iter().filter(|s| s.taken).flat_map(|s| values_of(&s.request)).collect()
}

/// The counter's values in all requests.
pub fn values(seen: &[Seen]) -> Vec<u64> {
    seen.iter().flat_map(|s| values_of(&s.request)).collect()
}

pub fn values_of(request: &ExportMetricsServiceRequest) -> Vec<u64> {
    let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    metrics
        .filter_map(|m| match &m.data {
            Some(Data::Sum(sum)) => Some(sum),
            _ => None,
        })
        .flat_map(|sum| &sum.data_points)
        .map(|point| match point.value {
            Some(Value::AsInt(value)) => u64::try_from(value).unwrap(),
            other => panic!("not an integer: {other:?}"),
        })
        .collect()
}

/// Number of data points in a request.
pub fn points(request: &ExportMetricsServiceRequest) -> usize {
    let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    metrics
        .map(|metric| match &metric.data {
            Some(Data::Sum(sum)) => sum.data_points.len(),
            Some(Data::Gauge(gauge)) => gauge.data_points.len(),
            _ => 0,
        })
        .sum()
}

/// Waits for a condition that has no event of its own, looking every millisecond; the bound is for failures only.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub type Shared<A> = Arc<Scene<A>>;
