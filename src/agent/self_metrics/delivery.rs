//! Delivery metrics: data points sent and lost, and the contents of the outbox.

use crate::collectors::Observer;
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names};
use crate::outbox::{DropReason, Snapshot};

use super::own;

const DROP_REASON: Attribute = Attribute {
    key: Names::both("heka.outbox.drop.reason"),
    values: &[
        Names::both(DropReason::Size.as_str()),
        Names::both(DropReason::Oversize.as_str()),
        Names::both(DropReason::Age.as_str()),
        Names::both(DropReason::Corrupt.as_str()),
        Names::both(DropReason::Refused.as_str()),
        Names::both(DropReason::Io.as_str()),
        Names::both(DropReason::Encoding.as_str()),
    ],
};

#[rustfmt::skip] // a table
pub(super) const METRICS: &[Metric] = &[
    Metric::new("points.sent", Counter, Int,
        "Data points that the server accepted",
        "the sender")
        .semconv("heka.exporter.points.sent", "{data_point}", Basic, &[]),
    Metric::new("points.lost", Counter, Int,
        "Data points that were dropped by the agent or rejected by the server",
        "the sender and the outbox")
        .semconv("heka.exporter.points.lost", "{data_point}", Basic, &[]),
    Metric::new("requests.failed", Counter, Int,
        "Requests that failed, retries included; their data points are sent again",
        "the sender")
        .semconv("heka.exporter.requests.failed", "{request}", Basic, &[]),
    Metric::new("outbox.batches", UpDownCounter, Int,
        "Batches in the outbox",
        "the outbox")
        .semconv("heka.outbox.batches", "{batch}", Basic, &[]),
    Metric::new("outbox.size", UpDownCounter, Int,
        "Size of the batches in the outbox",
        "the outbox")
        .semconv("heka.outbox.size", "By", Basic, &[]),
    Metric::new("outbox.age", Gauge, Double,
        "Age of the oldest batch in the outbox; 0 if it is empty",
        "the outbox")
        .semconv("heka.outbox.age", "s", Basic, &[]),
    Metric::new("outbox.points", UpDownCounter, Int,
        "Data points in the outbox",
        "the outbox")
        .semconv("heka.outbox.points", "{data_point}", Detailed, &[]),
    Metric::new("outbox.replayed", Counter, Int,
        "Batches from the outbox that the server accepted",
        "the outbox")
        .semconv("heka.outbox.replayed", "{batch}", Detailed, &[]),
    Metric::new("outbox.dropped", Counter, Int,
        "Batches that were dropped, by reason",
        "the outbox")
        .semconv("heka.outbox.dropped", "{batch}", Detailed, &[&DROP_REASON]),
];

fn lost(figures: &Snapshot) -> u64 {
    figures.dropped.total().points + figures.rejected_points
}

/// Reports a snapshot. Totals in the snapshot count from process start; reported totals count from `base`.
pub(super) fn report(base: Snapshot) -> impl Fn(&Snapshot, &str, &mut Observer<'_>) + Send + Sync + 'static {
    let reasons: [(DropReason, Attributes); DropReason::ALL.len()] = DropReason::ALL
        .map(|reason| (reason, own(&[(&DROP_REASON, AttributeValue::Word(Names::both(reason.as_str())))])));
    move |now, id, out| {
        let since = |total: fn(&Snapshot) -> u64| total(now).saturating_sub(total(&base));
        match id {
            "points.sent" => out.int(since(|figures| figures.exported_points), &[]),
            "points.lost" => out.int(since(lost), &[]),
            "requests.failed" => out.int(since(|figures| figures.failed_sends), &[]),
            "outbox.batches" => out.int(now.outbox_batches, &[]),
            "outbox.size" => out.int(now.outbox_bytes, &[]),
            "outbox.age" => out.float(now.outbox_oldest.unwrap_or_default().as_secs_f64(), &[]),
            "outbox.points" => out.int(now.outbox_points, &[]),
            "outbox.replayed" => out.int(since(|figures| figures.replayed_batches), &[]),
            "outbox.dropped" => {
                for (reason, attributes) in &reasons {
                    let dropped = |figures: &Snapshot| figures.dropped.get(*reason).batches;
                    out.int(dropped(now).saturating_sub(dropped(&base)), attributes);
                }
            }
            _ => {}
        }
    }
}
