//! Generates `docs/metrics.md` from the tables of the collectors, so that it lists exactly the metrics that are sent.

use std::collections::BTreeMap;
use std::fmt::Write;

use heka_insights_agent::internals::agent::self_metrics;
use heka_insights_agent::internals::collectors::{COLLECTORS, names};
use heka_insights_agent::internals::export::prometheus::names::prometheus_name;
use heka_insights_agent::internals::metrics::naming::{Attribute, Detail, Kind, Metric, Naming, Number, Shape};

use crate::sources::source;

const INTRODUCTION: &str = "\
# Metrics

This file is generated from the tables in `src/collectors`; `HEKA_UPDATE=1 cargo test --test docs` regenerates it.

`--naming semconv` (the default) gives the names of OpenTelemetry semantic conventions v1.44, `--naming hostmetrics`
those of the Collector's hostmetrics receiver v0.160, `--naming node_exporter` those of Prometheus' node_exporter v1.12.
● is sent by default, ○ with `--detail detailed`; – means that the profile has no such metric.

- **Kinds.** A *counter* only grows. It counts from the agent's start, which is also its start time;
  `--counters-since boot` exports the kernel's own totals. An *up-down counter* can be added up over its attributes. A
  *gauge* cannot.
- **Memory does not add up.** `used` is MemTotal − MemAvailable, as the convention defines it. It overlaps `cached` and
  `buffers`, so the states do not add up to the limit.
- **Nothing is counted twice.** Guest CPU time is subtracted from `user` and `nice`. Disks are whole physical devices, without
  their partitions and the devices that are built on them (LVM, RAID).
- **Missing is not zero.** A metric that the kernel does not have is not sent.
- **Flags change attributes.** `--per-cpu` adds `cpu.logical_number` (frequencies always have it); `--disk-scope total`
  removes `system.device` from the disks.
- **Names.** The last column gives the origin of the name in the column semconv: a *convention*, or if there is none, a
  receiver of the Collector that has the metric. *own* is a name of this agent; for an area of the host it has the form
  `system.<area>.linux.<name>`. Names in the column hostmetrics are those of the receiver, except for the agent's own metrics.
  Names in the tables of node_exporter are those of node_exporter.
- **Prometheus** shows the metrics under the names in small print. Its OTLP receiver and the Collector's exporters make
  these names with their default settings. Attributes become labels with `_` instead of `.`: `cpu.mode` is `cpu_mode`.
- **Text files.** The metrics of `--textfile-dir` are sent under the names in the files; metrics without a type are
  gauges. When scraped, counters and the parts of histograms and summaries are counters. When pushed, they are counters
  only if the name ends in `_total`; otherwise they are up-down counters with the values of the files, because Prometheus'
  OTLP receiver appends `_total` to every counter. With its default settings, this receiver also writes `a__b` as `a_b`
  and `_a` as `a`. The modification time of a file is in whole seconds, and is missing while the file has an error.

Where `--naming hostmetrics` differs from the receiver on purpose:

- Counters count from the agent's start, which is also their start time; the receiver sends the kernel's own totals.
- CPU time in `user` and `nice` is without guest time. The time of a CPU that went offline stays in the sum.
- Paging counters are the kernel's counts; the receiver multiplies all of them by 4096 and calls them operations and
  faults.
- Process states count processes. For two of the states, the receiver sends the kernel's counts of running and blocked
  threads instead.
- By default, disks are whole physical devices, file systems are disk-backed with one mount per device, and `lo` and the
  interfaces of containers are left out.
- Sockets in FIN_WAIT count as `FIN_WAIT_1` and `FIN_WAIT_2`. The receiver always sends 0 for these two, and the true
  numbers as `FIN_WAIT1` and `FIN_WAIT2`. Each socket counts; the receiver counts sockets with the same address once.
- Uptime has hundredths of a second.
- The receiver has no pressure metrics; `--naming semconv` has them.
";

/// The document.
#[must_use]
pub fn metrics_markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    for name in names() {
        let metrics: Vec<Metric> = COLLECTORS
            .iter()
            .filter(|definition| definition.name == name)
            .flat_map(|definition| definition.metrics)
            .copied()
            .collect();
        let both = |metric: &&Metric| metric.semconv.is_some() || metric.hostmetrics.is_some();
        if !metrics.iter().any(|metric| both(&metric)) {
            let _ = write!(out, "\n## {name}\n");
            node_exporter_table(&mut out, &metrics);
            continue;
        }
        let _ = write!(
            out,
            "\n## {}\n\n\
             | semconv | hostmetrics | description | kind, unit | attributes | source | since Linux | name from |\n\
             |---|---|---|---|---|---|---|---|\n",
            name
        );
        for metric in metrics.iter().filter(both) {
            row(&mut out, metric);
        }
        attribute_table(&mut out, &metrics);
        node_exporter_table(&mut out, &metrics);
    }
    own(&mut out);
    out
}

/// The metrics about the agent.
fn own(out: &mut String) {
    let _ = write!(
        out,
        "\n## The agent itself\n\n\
         These metrics are sent with `--self-metrics on` (●, the default) or `--self-metrics detailed` (● and ○), in the \
         scope `{}`. Their names are the same with `semconv` and `hostmetrics`. With OTLP, these are 12 series by default. \
         With `--exporter prometheus`, the scraped page has no metrics about delivery (`heka.exporter.*`, \
         `heka.outbox.*`), but it always has the duration and the success of each collector.\n\n\
         | metric | description | kind, unit | attributes | source |\n\
         |---|---|---|---|---|\n",
        self_metrics::SCOPE,
    );
    for (metric, shape) in self_metrics::TABLES
        .iter()
        .flat_map(|table| table.iter())
        .filter_map(|metric| metric.semconv.as_ref().map(|shape| (metric, shape)))
    {
        let prometheus = prometheus_name(shape.name, shape.unit, metric.kind);
        let keys = join(shape.attributes.iter().map(|attribute| attribute.key.of(Naming::Semconv)));
        let _ = writeln!(
            out,
            "| {} `{}`<br><sub>`{prometheus}`</sub> | {} | {}, `{}` | {keys} | {} |",
            mark(shape),
            shape.name,
            metric.description,
            kind(metric),
            shape.unit,
            metric.source
        );
    }
    out.push_str("\n| attribute | its values |\n|---|---|\n");
    let mut seen: Vec<&str> = Vec::new();
    for attribute in self_metrics::TABLES
        .iter()
        .flat_map(|table| table.iter())
        .filter_map(|metric| metric.semconv.as_ref())
        .flat_map(|shape| shape.attributes)
    {
        let key = attribute.key.of(Naming::Semconv);
        if !seen.contains(&key) {
            seen.push(key);
            let _ = writeln!(
                out,
                "| `{key}` | {} |",
                values(attribute, Naming::Semconv, "the name of the part of the agent")
            );
        }
    }
}

fn row(out: &mut String, metric: &Metric) {
    let shapes = [metric.semconv.as_ref(), metric.hostmetrics.as_ref()];
    let [semconv, hostmetrics] = shapes.map(|shape| shape.map_or_else(|| "–".to_owned(), |shape| name(metric, shape)));
    let hostmetrics = match shapes {
        [Some(one), Some(other)] if one.name == other.name => format!("{} the same", mark(other)),
        _ => hostmetrics,
    };
    let keys = |shape: &Shape, naming| join(shape.attributes.iter().map(|attribute| attribute.key.of(naming)));
    let _ = writeln!(
        out,
        "| {semconv} | {hostmetrics} | {} | {}, {} | {} | {} | {} | {} |",
        metric.description,
        kind(metric),
        both(shapes, |shape, _| format!("`{}`", shape.unit)),
        both(shapes, keys),
        metric.source,
        metric.since,
        source(metric).unwrap_or_default()
    );
}

fn mark(shape: &Shape) -> char {
    match shape.detail {
        Detail::Basic => '●',
        Detail::Detailed => '○',
    }
}

fn name(metric: &Metric, shape: &Shape) -> String {
    let mark = mark(shape);
    let prometheus = prometheus_name(shape.name, shape.unit, metric.kind);
    format!("{mark} `{}`<br><sub>`{prometheus}`</sub>", shape.name)
}

fn kind(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::UpDownCounter => "up-down counter",
        Kind::Gauge => "gauge",
    };
    let number = match metric.number {
        Number::Int => "whole",
        Number::Double => "double",
    };
    format!("{kind}, {number}")
}

/// What both profiles say, once where they agree.
fn both(shapes: [Option<&Shape>; 2], of: impl Fn(&Shape, Naming) -> String) -> String {
    let namings = [Naming::Semconv, Naming::Hostmetrics];
    let mut seen: Vec<String> =
        shapes.iter().zip(namings).filter_map(|(shape, naming)| shape.map(|shape| of(shape, naming))).collect();
    seen.dedup();
    seen.join("<br>")
}

/// The attributes of a collector, each once.
fn attribute_table(out: &mut String, metrics: &[Metric]) {
    let mut rows = BTreeMap::new();
    for (naming, shape) in metrics.iter().flat_map(|metric| {
        [(Naming::Semconv, metric.semconv.as_ref()), (Naming::Hostmetrics, metric.hostmetrics.as_ref())]
    }) {
        for attribute in shape.iter().flat_map(|shape| shape.attributes) {
            let (semconv, hostmetrics) = rows.entry((attribute.key.0, attribute.key.1)).or_insert((None, None));
            match naming {
                Naming::Semconv => *semconv = Some(*attribute),
                Naming::Hostmetrics | Naming::NodeExporter => *hostmetrics = Some(*attribute),
            }
        }
    }
    if rows.is_empty() {
        return;
    }
    out.push_str("\n| attribute in semconv | its values | in hostmetrics | its values |\n|---|---|---|---|\n");
    for (semconv, hostmetrics) in rows.values() {
        let cells = |attribute: &Option<&Attribute>, naming| match attribute {
            Some(attribute) => (format!("`{}`", attribute.key.of(naming)), values(attribute, naming, "the host's own")),
            None => ("–".to_owned(), "–".to_owned()),
        };
        let (key, its) = cells(semconv, Naming::Semconv);
        let (other_key, others) = cells(hostmetrics, Naming::Hostmetrics);
        let _ = writeln!(out, "| {key} | {its} | {other_key} | {others} |");
    }
}

/// The metrics of a collector in node_exporter's naming.
fn node_exporter_table(out: &mut String, metrics: &[Metric]) {
    let mut rows = metrics.iter().filter_map(|metric| Some((metric, metric.node_exporter.as_ref()?))).peekable();
    if rows.peek().is_none() {
        return;
    }
    out.push_str("\n| in node_exporter | description | kind | labels | source |\n|---|---|---|---|---|\n");
    for (metric, shape) in rows {
        let labels = shape.attributes.iter().map(|attribute| {
            let key = attribute.key.of(Naming::NodeExporter);
            match attribute.values {
                [] => format!("`{key}`"),
                _ => format!("`{key}` ({})", values(attribute, Naming::NodeExporter, "")),
            }
        });
        let labels = labels.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "| {} `{}` | {} | {} | {} | {} |",
            mark(shape),
            shape.name,
            metric.description,
            kind(metric),
            if labels.is_empty() { "–" } else { &labels },
            metric.source
        );
    }
}

/// The values of an attribute, or `open` where they are no fixed set.
fn values(attribute: &Attribute, naming: Naming, open: &str) -> String {
    if attribute.values.is_empty() {
        return open.to_owned();
    }
    let mut words: Vec<&str> = Vec::new();
    for word in attribute.values.iter().map(|names| names.of(naming)).filter(|word| !word.is_empty()) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    join(words)
}

fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    if quoted.is_empty() { "–".to_owned() } else { quoted.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_one_that_the_prometheus_names_know() {
        for metric in COLLECTORS.iter().flat_map(|definition| definition.metrics) {
            for shape in metric.semconv.iter().chain(&metric.hostmetrics).chain(&metric.node_exporter) {
                let known =
                    matches!(shape.unit, "s" | "By" | "By/s" | "Hz" | "1" | "Cel" | "V" | "A" | "W" | "J" | "rpm" | "")
                        || shape.unit.starts_with('{');
                assert!(known, "{}: {}", shape.name, shape.unit);
            }
        }
    }

    #[test]
    fn no_cell_breaks_its_table() {
        for metric in COLLECTORS.iter().flat_map(|definition| definition.metrics) {
            for text in [metric.description, metric.source, metric.since] {
                assert!(!text.contains(['|', '\n']), "{text}");
            }
        }
    }

    #[test]
    fn one_name_in_a_profile_is_one_metric() {
        for naming in Naming::ALL {
            let mut names: Vec<_> = COLLECTORS
                .iter()
                .flat_map(|definition| definition.metrics)
                .filter_map(|metric| metric.shape(naming).map(|shape| shape.name))
                .collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{naming:?}");
        }
    }
}
