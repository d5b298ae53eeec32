//! What each collector reports on this host, for `check`.

use std::time::{Duration, Instant};

use super::fault::guarded;
use super::observer::{Observer, Sink};
use super::registration::{metrics, selected};
use super::{COLLECTORS, Collector, Context, Definition};
use crate::host::{Problem, Reader};

/// What one family has to report on this host.
#[derive(Debug)]
pub struct Survey {
    /// Its name.
    pub collector: &'static str,
    /// Series of its selected metrics.
    pub series: usize,
    /// Time its reading took.
    pub took: Duration,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Whether its collector has a fault.
    pub panicked: bool,
}

/// Reads every selected family twice, as its first cycle would, and counts what it reports.
#[must_use]
pub fn survey(context: &Context) -> Vec<Survey> {
    let mut reader = Reader::new(&context.host).recording();
    let definitions: Vec<&Definition> = selected(COLLECTORS, &context.options).collect();
    let mut collectors: Vec<_> = definitions.iter().map(|definition| (definition.new)(context)).collect();
    let read = |collector: &mut Box<dyn Collector>, reader: &mut Reader| guarded(|| collector.read(reader)).is_err();
    let mut before = Vec::new();
    for collector in &mut collectors {
        read(collector, &mut reader);
        before.push(reader.problems());
    }
    reader.next_cycle();
    let mut surveys = Vec::new();
    for ((definition, collector), mut problems) in definitions.iter().zip(&mut collectors).zip(before) {
        let begun = Instant::now();
        let mut panicked = read(collector, &mut reader);
        let took = begun.elapsed();
        let mut out = Observer { sink: Sink::Nowhere, left: usize::MAX, seen: 0 };
        for metric in metrics(definition, &context.options) {
            panicked |= guarded(|| collector.observe(metric, &mut out)).is_err();
        }
        // What is missing is told once, at the first reading; what fails, at each.
        problems.retain(|problem| !problem.failed);
        problems.extend(reader.problems());
        problems.sort_by(|a, b| a.path.cmp(&b.path));
        problems.dedup_by(|a, b| a.path == b.path);
        surveys.push(Survey { collector: definition.name, series: out.seen, took, problems, panicked });
    }
    surveys
}
