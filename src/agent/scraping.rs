//! `--exporter prometheus`: one collection per scrape, on this thread. Concurrent scrapes share a collection.

use std::collections::BTreeMap;
use std::iter;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{error, info};

use super::{AgentError, Cadence, Event, Memory, pipeline};
use crate::collectors::Context;
use crate::collectors::limit::Limits;
use crate::export::prometheus::names::label_name;
use crate::export::prometheus::{Exposition, Listen, server};
use crate::metrics::naming::{Detail, Naming};

/// How long the thread sleeps without a scrape. Watchdog notifications wake it in between.
const IDLE: Duration = Duration::from_secs(3_600);

/// The Prometheus endpoint of a run.
pub(super) struct Scraping<'a> {
    pub listen: &'a Listen,
    /// Whether to include the success and duration of each collector.
    pub self_metrics: Option<Detail>,
    pub events: Sender<Event>,
    pub stopped: watch::Receiver<bool>,
    pub io: &'a Handle,
}

impl Scraping<'_> {
    /// Serves scrapes until the agent is stopped.
    pub(super) fn run(self, cadence: &Cadence, context: &Context, resource: &Resource) -> Result<(), AgentError> {
        let failed = |error| AgentError::Listen(self.listen.clone(), error);
        let listeners = self.listen.bind().map_err(failed)?;
        let address = listeners.first().and_then(|first| first.local_addr().ok());
        let resource = with_label_names(resource);
        let limits = Limits::default();
        let start = || {
            // node_exporter has no `target_info`.
            let exposition = Exposition::new(context.options.naming != Naming::NodeExporter);
            let (provider, registered) =
                pipeline::scraped(context, &resource, exposition.clone(), self.self_metrics, &limits);
            // Until the first collection, the SDK's maps are allocated for the maximum number of series.
            let _ = exposition.collect();
            (exposition, provider, registered)
        };
        let mut scraped = start();
        let events = self.events;
        let ask = Box::new(move |reply| {
            // If there is no receiver, the agent is stopping; the dropped reply ends the scrape.
            let _ = events.send(Event::Scrape(reply));
        });
        let server = server::serve(listeners, ask, self.stopped, self.io).map_err(failed)?;
        if let Some(address) = address {
            info!(%address, "listening; metrics are at /metrics");
        }
        cadence.manager.ready();
        let (mut running, mut memory) = (true, Memory::default());
        while running {
            match cadence.wait(Instant::now() + IDLE) {
                Ok(Event::Scrape(reply)) => {
                    let (exposition, _provider, registered) = &scraped;
                    let page = exposition.collect();
                    let mut replies = vec![reply];
                    for event in iter::from_fn(|| cadence.inbox.try_recv().ok()) {
                        match event {
                            Event::Scrape(reply) => replies.push(reply),
                            Event::Stop => running = false,
                        }
                    }
                    match page {
                        // The scraper may have disconnected.
                        Ok(page) => replies.into_iter().for_each(|reply| drop(reply.send(page.clone()))),
                        Err(error) => error!("a scrape failed: {error}"),
                    }
                    memory.collected();
                    registered.discover();
                    if registered.outgrown() {
                        info!("the host has more series than at the start; making room for them");
                        limits.double();
                        scraped = start();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => running = false,
            }
        }
        cadence.manager.stopping();
        server.finish(self.io);
        Ok(())
    }
}

/// Converts attribute names to valid label names, as Prometheus' OTLP receiver does. Where two become one, their values are
/// joined in the order of the names.
fn with_label_names(resource: &Resource) -> Resource {
    let mut attributes: Vec<_> = resource.iter().collect();
    attributes.sort_unstable_by_key(|(key, _)| key.as_str());
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in attributes {
        let digit = key.as_str().starts_with(|first: char| first.is_ascii_digit());
        let valid = label_name(key.as_str());
        let joined = labels.entry(if digit { format!("key_{valid}") } else { valid.into_owned() }).or_default();
        if !joined.is_empty() {
            joined.push(';');
        }
        joined.push_str(&value.as_str());
    }
    let attributes = labels.into_iter().map(|(key, value)| KeyValue::new(key, value));
    Resource::builder_empty().with_attributes(attributes).build()
}
