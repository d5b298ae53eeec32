//! Divides an encoded request into two, between data points, for requests above the size limit.
//!
//! Concatenated encodings are one valid request, so both parts are valid requests.

use bytes::{Bytes, BytesMut};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, Gauge, Histogram, Metric, ResourceMetrics, ScopeMetrics, Sum, Summary,
};
use prost::Message;

/// The two parts of a request, each with its number of data points.
#[derive(Debug)]
pub struct Halves {
    /// At most the requested size, or one data point.
    pub first: (Bytes, u32),
    pub rest: (Bytes, u32),
}

/// Divides a request so that the first part has at most `max_bytes`. `None` if it has only one data point or cannot be
/// decoded.
pub fn split(request: &Bytes, max_bytes: usize) -> Option<Halves> {
    let mut remaining = ExportMetricsServiceRequest::decode(request.clone()).ok()?;
    let total = count(&remaining);
    if total < 2 {
        return None;
    }
    // Points have similar sizes. If the first part is still too large, it is divided again.
    let share = total.saturating_mul(max_bytes) / request.len().max(1);
    let mut first = take(&mut remaining, share.clamp(1, total - 1));
    let mut tail = BytesMut::new();
    loop {
        let (points, size) = (count(&first), first.encoded_len());
        if size <= max_bytes || points < 2 {
            let rest_points = total - points;
            // Oldest points first: pieces that were cut off later belong before the earlier ones.
            let mut rest = tail;
            remaining.encode(&mut rest).ok()?;
            return Some(Halves {
                first: (first.encode_to_vec().into(), u32::try_from(points).unwrap_or(u32::MAX)),
                rest: (rest.freeze(), u32::try_from(rest_points).unwrap_or(u32::MAX)),
            });
        }
        let fewer = take(&mut first, (points * max_bytes / size * 9 / 10).clamp(1, points - 1));
        let mut front = BytesMut::from(&*first.encode_to_vec());
        front.unsplit(tail);
        tail = front;
        first = fewer;
    }
}

/// Number of data points in an encoded request; 0 if it cannot be decoded.
#[cfg(test)]
pub fn points(request: &Bytes) -> usize {
    ExportMetricsServiceRequest::decode(request.clone()).map(|request| count(&request)).unwrap_or(0)
}

fn count(request: &ExportMetricsServiceRequest) -> usize {
    let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    metrics.map(points_of).sum()
}

fn points_of(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
        None => 0,
    }
}

/// Moves the first `wanted` points into a new request, with their resource, scopes and metrics.
fn take(from: &mut ExportMetricsServiceRequest, mut wanted: usize) -> ExportMetricsServiceRequest {
    let mut taken = ExportMetricsServiceRequest::default();
    for resource in &mut from.resource_metrics {
        let mut scopes = Vec::new();
        for scope in &mut resource.scope_metrics {
            let mut metrics = Vec::new();
            for metric in &mut scope.metrics {
                if wanted == 0 {
                    break;
                }
                let here = points_of(metric);
                let mut moved = without_points(metric);
                let now = here.min(wanted);
                move_points(metric, &mut moved, now);
                wanted -= now;
                metrics.push(moved);
            }
            scope.metrics.retain(|metric| points_of(metric) > 0);
            if !metrics.is_empty() {
                scopes.push(ScopeMetrics { scope: scope.scope.clone(), metrics, schema_url: scope.schema_url.clone() });
            }
        }
        resource.scope_metrics.retain(|scope| !scope.metrics.is_empty());
        if !scopes.is_empty() {
            taken.resource_metrics.push(ResourceMetrics {
                resource: resource.resource.clone(),
                scope_metrics: scopes,
                schema_url: resource.schema_url.clone(),
            });
        }
    }
    from.resource_metrics.retain(|resource| !resource.scope_metrics.is_empty());
    taken
}

/// Copies a metric without its points.
fn without_points(metric: &mut Metric) -> Metric {
    // Take the points out, so that they are not copied.
    let data = metric.data.take();
    let mut copy = metric.clone();
    copy.data = data.as_ref().map(|data| match data {
        Data::Gauge(_) => Data::Gauge(Gauge::default()),
        Data::Sum(sum) => Data::Sum(Sum { data_points: Vec::new(), ..*sum }),
        Data::Histogram(histogram) => Data::Histogram(Histogram { data_points: Vec::new(), ..*histogram }),
        Data::ExponentialHistogram(histogram) => {
            Data::ExponentialHistogram(ExponentialHistogram { data_points: Vec::new(), ..*histogram })
        }
        Data::Summary(_) => Data::Summary(Summary::default()),
    });
    metric.data = data;
    copy
}

/// Moves the first `n` points; both metrics have the same kind.
fn move_points(from: &mut Metric, to: &mut Metric, n: usize) {
    match (&mut from.data, &mut to.data) {
        (Some(Data::Gauge(a)), Some(Data::Gauge(b))) => b.data_points = a.data_points.drain(..n).collect(),
        (Some(Data::Sum(a)), Some(Data::Sum(b))) => b.data_points = a.data_points.drain(..n).collect(),
        (Some(Data::Histogram(a)), Some(Data::Histogram(b))) => b.data_points = a.data_points.drain(..n).collect(),
        (Some(Data::ExponentialHistogram(a)), Some(Data::ExponentialHistogram(b))) => {
            b.data_points = a.data_points.drain(..n).collect();
        }
        (Some(Data::Summary(a)), Some(Data::Summary(b))) => b.data_points = a.data_points.drain(..n).collect(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;

    fn request(metrics: &[usize]) -> Bytes {
        let mut time = 0;
        let metrics = metrics.iter().enumerate().map(|(n, points)| {
            let data_points = (0..*points)
                .map(|_| {
                    time += 1;
                    NumberDataPoint { time_unix_nano: time, ..Default::default() }
                })
                .collect();
            let data = if n % 2 == 0 {
                Data::Gauge(Gauge { data_points })
            } else {
                Data::Sum(Sum { data_points, aggregation_temporality: 2, is_monotonic: true })
            };
            Metric { name: format!("metric {n}"), data: Some(data), ..Default::default() }
        });
        let scope = ScopeMetrics { metrics: metrics.collect(), ..Default::default() };
        let resource = ResourceMetrics { scope_metrics: vec![scope], schema_url: "url".into(), ..Default::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![resource] }.encode_to_vec().into()
    }

    /// The time of each point, which serves as its number, with the name of its metric.
    fn times(request: &Bytes) -> Vec<(String, u64)> {
        let mut times = Vec::new();
        for resource in ExportMetricsServiceRequest::decode(request.clone()).unwrap().resource_metrics {
            assert_eq!(resource.schema_url, "url");
            for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                let points = match metric.data {
                    Some(Data::Gauge(gauge)) => gauge.data_points,
                    Some(Data::Sum(sum)) => {
                        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
                        sum.data_points
                    }
                    _ => panic!("no points"),
                };
                times.extend(points.iter().map(|point| (metric.name.clone(), point.time_unix_nano)));
            }
        }
        times
    }

    #[test]
    fn every_point_is_in_one_part_and_no_part_is_too_large() {
        let whole = request(&[300, 1, 500, 7]);
        for max in [4_000, 1_000, 200, 1] {
            let (mut rest, mut seen, mut parts) = (whole.clone(), Vec::new(), 0);
            while rest.len() > max {
                let Some(halves) = split(&rest, max) else { break };
                assert!(halves.first.0.len() <= max || halves.first.1 == 1, "{} of {max}", halves.first.0.len());
                assert_eq!(halves.first.1 as usize, points(&halves.first.0));
                assert_eq!(halves.rest.1 as usize, points(&halves.rest.0));
                seen.extend(times(&halves.first.0));
                rest = halves.rest.0;
                parts += 1;
            }
            seen.extend(times(&rest));
            assert_eq!(seen, times(&whole), "{max}");
            assert!(parts > 0, "{max}");
        }
    }

    #[test]
    fn one_point_and_what_cannot_be_decoded_are_not_divided() {
        assert!(split(&request(&[1]), 1).is_none());
        assert!(split(&Bytes::from_static(b"\xff\xff\xff"), 1).is_none());
    }
}
