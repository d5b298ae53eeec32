//! JSON output: one object per collection, in one line, with unscaled numbers.
//!
//! `cpu`, `memory`, … hold each metric by name, as a list of series. `disk_io` (the sum over the physical disks) and
//! `disk_io_perdisk` (by device) repeat the disk counters in the format of psutil.

use serde_json::{Map, Value as Json, json};

use super::series::{Collection, Series, Value, Values};

#[must_use]
pub fn render(collection: &Collection) -> String {
    let mut object = Map::new();
    object.insert("timestamp".to_owned(), json!(humantime::format_rfc3339_millis(collection.time).to_string()));
    object.insert("host".to_owned(), json!(collection.host));
    object.insert("elapsed_seconds".to_owned(), json!(collection.elapsed));
    for values in &collection.metrics {
        let collector = object.entry(values.collector).or_insert_with(|| json!({}));
        if let Some(collector) = collector.as_object_mut() {
            let series: Vec<Json> = values.series.iter().map(one).collect();
            collector.insert(values.name.to_string(), json!({ "unit": values.unit, "series": series }));
        }
    }
    disks(&mut object, &collection.metrics);
    format!("{}\n", Json::Object(object))
}

fn number(value: Value) -> Json {
    match value {
        Value::Int(value) => json!(value),
        Value::Double(value) => json!(value),
    }
}

fn one(series: &Series) -> Json {
    let attributes: Map<String, Json> =
        series.labels.iter().chain(&series.words).map(|(key, value)| (key.clone(), json!(value))).collect();
    let mut object = json!({ "attributes": attributes, "value": number(series.value) });
    if let (Some(rate), Some(object)) = (series.rate, object.as_object_mut()) {
        object.insert("rate".to_owned(), json!(rate));
    }
    object
}

fn disks(object: &mut Map<String, Json>, metrics: &[Values]) {
    let (mut whole, mut parts) = (Map::new(), Map::new());
    for values in metrics.iter().filter(|values| values.collector == "disk") {
        for series in &values.series {
            let direction = series.words.first().map(|(_, word)| word.as_str());
            let found = match node_exporter_counter(&values.name) {
                Some((id, direction)) => counter(id, direction, series.value),
                None => counter(values.metric.id, direction, series.value),
            };
            let Some((key, value)) = found else { continue };
            match series.labels.first() {
                None => whole.insert(key, value),
                Some((_, device)) => {
                    let disk = parts.entry(device.clone()).or_insert_with(|| json!({}));
                    disk.as_object_mut().and_then(|disk| disk.insert(key, value))
                }
            };
        }
    }
    if !whole.is_empty() {
        object.insert("disk_io".to_owned(), Json::Object(whole));
    }
    if !parts.is_empty() {
        object.insert("disk_io_perdisk".to_owned(), Json::Object(parts));
    }
}

/// The metric and direction of a counter that has its own name in node_exporter's naming.
fn node_exporter_counter(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    Some(match name {
        "node_disk_read_bytes_total" => ("io", Some("read")),
        "node_disk_written_bytes_total" => ("io", Some("write")),
        "node_disk_reads_completed_total" => ("operations", Some("read")),
        "node_disk_writes_completed_total" => ("operations", Some("write")),
        "node_disk_reads_merged_total" => ("merged", Some("read")),
        "node_disk_writes_merged_total" => ("merged", Some("write")),
        "node_disk_read_time_seconds_total" => ("operation_time", Some("read")),
        "node_disk_write_time_seconds_total" => ("operation_time", Some("write")),
        "node_disk_io_time_seconds_total" => ("io_time", None),
        _ => return None,
    })
}

/// psutil's name for a disk counter; psutil's times are in milliseconds.
fn counter(id: &str, direction: Option<&str>, value: Value) -> Option<(String, Json)> {
    #[allow(clippy::cast_possible_truncation)] // `as` saturates
    let millis = || json!((value.as_f64() * 1e3).round() as i64);
    Some(match (id, direction) {
        ("io", Some(direction)) => (format!("{direction}_bytes"), number(value)),
        ("operations", Some(direction)) => (format!("{direction}_count"), number(value)),
        ("merged", Some(direction)) => (format!("{direction}_merged_count"), number(value)),
        ("operation_time", Some(direction)) => (format!("{direction}_time"), millis()),
        ("io_time", None) => ("busy_time".to_owned(), millis()),
        _ => return None,
    })
}
