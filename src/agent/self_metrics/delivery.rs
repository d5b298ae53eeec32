//! What was sent, what waits in the outbox and what was lost.

use crate::collectors::Observer;
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names};
use crate::outbox::{DropReason, Snapshot};

use super::{COMPONENT_NAME, COMPONENT_TYPE, component, own};

/// What the conventions call an exporter that speaks OTLP over gRPC.
pub const GRPC_EXPORTER: &str = "otlp_grpc_metric_exporter";
/// What the conventions call an exporter that speaks OTLP as protobuf over HTTP.
pub const HTTP_EXPORTER: &str = "otlp_http_metric_exporter";

const ERROR_TYPE: Attribute =
    Attribute { key: Names::both("error.type"), values: &[REJECTED, FULL, EXPIRED, CORRUPT, IO] };
const DROP_REASON: Attribute = Attribute {
    key: Names::both("heka.outbox.drop.reason"),
    values: &[
        Names::both(DropReason::Size.as_str()),
        Names::both(DropReason::Age.as_str()),
        Names::both(DropReason::Corrupt.as_str()),
        Names::both(DropReason::Refused.as_str()),
        Names::both(DropReason::Io.as_str()),
    ],
};

/// The server turned the points down, in part of a request or the whole of it.
const REJECTED: Names = Names::both("rejected");
const FULL: Names = Names::both("outbox_full");
const EXPIRED: Names = Names::both("outbox_expired");
const CORRUPT: Names = Names::both("outbox_corrupt");
const IO: Names = Names::both("outbox_io");

#[rustfmt::skip] // a table
pub(super) const METRICS: &[Metric] = &[
    Metric::new("exported", Counter, Int,
        "Data points that the server took (without error.type), or that will never arrive and why",
        "the exporter and the outbox")
        .semconv("otel.sdk.exporter.metric_data_point.exported", "{data_point}", Basic,
            &[&COMPONENT_NAME, &COMPONENT_TYPE, &ERROR_TYPE]),
    Metric::new("inflight", UpDownCounter, Int,
        "Data points that wait in the outbox",
        "the outbox")
        .semconv("otel.sdk.exporter.metric_data_point.inflight", "{data_point}", Basic,
            &[&COMPONENT_NAME, &COMPONENT_TYPE]),
    Metric::new("send.failures", Counter, Int,
        "Sends that failed and were or will be tried again, live ones and those from the outbox",
        "the exporter and the outbox")
        .semconv("heka.exporter.send.failures", "{send}", Basic, &[]),
    Metric::new("outbox.batches", UpDownCounter, Int,
        "Batches that wait in the outbox",
        "the outbox")
        .semconv("heka.outbox.batches", "{batch}", Basic, &[]),
    Metric::new("outbox.size", UpDownCounter, Int,
        "Bytes that the waiting batches take",
        "the outbox")
        .semconv("heka.outbox.size", "By", Basic, &[]),
    Metric::new("outbox.age", Gauge, Double,
        "How long the oldest batch has waited, 0 when none waits",
        "the outbox")
        .semconv("heka.outbox.age", "s", Basic, &[]),
    Metric::new("outbox.replayed", Counter, Int,
        "Batches from the outbox that the server took",
        "the outbox")
        .semconv("heka.outbox.replayed", "{batch}", Basic, &[]),
    Metric::new("outbox.dropped", Counter, Int,
        "Batches that were lost, and why",
        "the outbox")
        .semconv("heka.outbox.dropped", "{batch}", Basic, &[&DROP_REASON]),
];

/// Why data points will never arrive, as `error.type` has it.
fn error_type(reason: DropReason) -> Names {
    match reason {
        DropReason::Size => FULL,
        DropReason::Age => EXPIRED,
        DropReason::Corrupt => CORRUPT,
        DropReason::Refused => REJECTED,
        DropReason::Io => IO,
    }
}

/// The series, built once.
struct Series {
    component: Attributes,
    errors: [(DropReason, Attributes); DropReason::ALL.len()],
    reasons: [(DropReason, Attributes); DropReason::ALL.len()],
}

impl Series {
    fn new(exporter: &'static str) -> Self {
        let pairs = component(exporter).map(|(attribute, value)| (attribute, AttributeValue::Text(value.into())));
        let errors = DropReason::ALL.map(|reason| {
            let [name, kind] = pairs.clone();
            (reason, own(&[name, kind, (&ERROR_TYPE, AttributeValue::Word(error_type(reason)))]))
        });
        let reasons = DropReason::ALL
            .map(|reason| (reason, own(&[(&DROP_REASON, AttributeValue::Word(Names::both(reason.as_str())))])));
        Self { component: own(&pairs), errors, reasons }
    }
}

/// Reports a snapshot. The totals in it count from the start of the process, those reported from `base` on.
pub(super) fn report(
    exporter: &'static str,
    base: Snapshot,
) -> impl Fn(&Snapshot, &str, &mut Observer<'_>) + Send + Sync + 'static {
    let series = Series::new(exporter);
    move |now, id, out| match id {
        "exported" => {
            out.int(now.exported_points.saturating_sub(base.exported_points), &series.component);
            for (reason, attributes) in &series.errors {
                let lost = |figures: &Snapshot| {
                    let partly = if *reason == DropReason::Refused { figures.rejected_points } else { 0 };
                    figures.dropped.get(*reason).points + partly
                };
                // A kind of failure is a series once it happened.
                let points = lost(now).saturating_sub(lost(&base));
                if points > 0 {
                    out.int(points, attributes);
                }
            }
        }
        "inflight" => out.int(now.outbox_points, &series.component),
        "send.failures" => out.int(now.failed_sends.saturating_sub(base.failed_sends), &[]),
        "outbox.batches" => out.int(now.outbox_batches, &[]),
        "outbox.size" => out.int(now.outbox_bytes, &[]),
        "outbox.age" => out.float(now.outbox_oldest.unwrap_or_default().as_secs_f64(), &[]),
        "outbox.replayed" => out.int(now.replayed_batches.saturating_sub(base.replayed_batches), &[]),
        "outbox.dropped" => {
            for (reason, attributes) in &series.reasons {
                let lost = |figures: &Snapshot| figures.dropped.get(*reason).batches;
                out.int(lost(now).saturating_sub(lost(&base)), attributes);
            }
        }
        _ => {}
    }
}
