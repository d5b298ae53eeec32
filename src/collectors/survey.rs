//! Summarizes each collector's reading on this host, for `check`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::observer::{Observer, Sink};
use super::registration::{max_series, metrics, selected};
use super::slot::Collection;
use super::{COLLECTORS, Collector, Context};
use crate::host::Problem;

/// The result of one collector on this host.
#[derive(Debug)]
pub struct Survey {
    pub collector: &'static str,
    /// Number of series that a collection sends.
    pub series: usize,
    pub took: Duration,
    /// Sources that could not be read.
    pub problems: Vec<Problem>,
    pub panicked: bool,
}

/// Time between the last two readings: a few of the ticks in which the kernel counts CPU time. Without a difference there
/// is no utilization.
const BETWEEN: Duration = Duration::from_millis(50);

/// Takes the baselines of every selected collector, reads it twice, and counts the series of the second reading: the first
/// one that has utilizations.
#[must_use]
pub fn survey(context: &Context) -> Vec<Survey> {
    let mut context = context.clone();
    context.options.utilization_period = Duration::ZERO;
    let context = &context;
    let collection = Collection::new(context, true);
    let definitions: Vec<_> = selected(COLLECTORS, &context.options).collect();
    let slots: Vec<_> = definitions.iter().map(|definition| collection.add(definition)).collect();
    collection.read(&slots, 0);
    let before: Vec<_> = slots.iter().map(|slot| collection.problems(slot)).collect();
    collection.read(&slots, 1);
    std::thread::sleep(BETWEEN);
    collection.read(&slots, 2);
    let most = max_series(context);
    let mut surveys = Vec::new();
    for ((definition, slot), mut problems) in definitions.iter().zip(&slots).zip(before) {
        let count = |observe: &dyn Fn(&dyn Collector, &mut Observer<'_>)| {
            let mut out = Observer::new(Sink::Nowhere, most);
            slot.report(|collector| observe(collector, &mut out));
            most - out.left
        };
        let of_table = metrics(definition, &context.options).map(|metric| count(&|it, out| it.observe(metric, out)));
        let discovered = slot.take_discovered();
        let of_files = discovered.iter().map(|metric| count(&|it, out| it.observe_discovered(&metric.name, out)));
        let series = of_table.chain(of_files).sum();
        // Some files are read only once, so their problems are only in the first reading. A file that was slow there
        // may have answered since.
        problems.retain(|problem| !problem.is_unanswered());
        problems.extend(collection.problems(slot));
        problems.sort_by(|a, b| (&a.path, &a.words).cmp(&(&b.path, &b.words)));
        problems.dedup_by(|a, b| a.path == b.path && (!a.is_remark() || a.words == b.words));
        surveys.push(Survey {
            collector: definition.name,
            series,
            took: Duration::from_nanos(slot.stats().read_nanos.load(Ordering::Relaxed)),
            problems,
            panicked: slot.had_fault(),
        });
    }
    surveys
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    use super::super::Options;
    use super::super::testing::Host as TestHost;
    use super::*;

    #[test]
    fn the_series_are_those_of_a_collection_after_the_first() {
        let host = TestHost::empty();
        let begun = Instant::now();
        let write = || {
            let ticks = 100 + begun.elapsed().as_millis() / 10;
            host.write("proc/new", format!("cpu  {ticks} 1 1 1 1 1 1 1 0 0\ncpu0 {ticks} 1 1 1 1 1 1 1 0 0\n"));
            std::fs::rename(host.path("proc/new"), host.path("proc/stat")).unwrap();
        };
        write();
        let surveyed = AtomicBool::new(false);
        let surveys = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !surveyed.load(Ordering::Relaxed) {
                    write();
                }
            });
            let collectors = Some(vec!["cpu".to_owned()]);
            // As for Prometheus, where a scrape within the period repeats the utilization.
            let utilization_period = Duration::from_secs(3_600);
            let surveys = survey(&host.context(Options { collectors, utilization_period, ..Options::default() }));
            surveyed.store(true, Ordering::Relaxed);
            surveys
        });
        let [cpu] = &surveys[..] else { panic!("{surveys:?}") };
        assert_eq!(
            (cpu.series, cpu.panicked),
            (7 + 7 + 1, false),
            "time and utilization in seven modes, and the count"
        );
    }
}
