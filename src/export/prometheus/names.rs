//! The name under which Prometheus stores a metric, for push and pull alike.

use std::borrow::Cow;

use crate::metrics::naming::Kind;

/// The name under which Prometheus 3 stores a metric received over OTLP, with the default translation strategy
/// (`UnderscoreEscapingWithSuffixes`): `_` replaces invalid characters; the unit and `total` or `ratio` are appended
/// unless the name already contains them.
#[must_use]
pub fn prometheus_name(name: &str, unit: &str, kind: Kind) -> String {
    let mut words: Vec<&str> =
        name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':').filter(|word| !word.is_empty()).collect();
    let (main, per) = match unit.split_once('/') {
        Some((main, per)) => (main, Some(per)),
        None => (unit, None),
    };
    let main = word(main);
    if !main.is_empty() && !words.contains(&main) {
        words.push(main);
    }
    if let Some(per) = per.and_then(per_word)
        && !words.contains(&per)
    {
        words.extend(["per", per]);
    }
    let last = match (kind, unit) {
        (Kind::Counter, _) => "total",
        (Kind::Gauge, "1") => "ratio",
        _ => return words.join("_"),
    };
    words.retain(|&word| word != last);
    words.push(last);
    words.join("_")
}

/// The label for an attribute: `_` replaces characters that a label cannot have.
#[must_use]
pub fn label_name(key: &str) -> Cow<'_, str> {
    let is_odd = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    if key.contains(is_odd) { key.replace(is_odd, "_").into() } else { key.into() }
}

/// The word for a unit. Annotations such as `{packet}` have none.
fn word(unit: &str) -> &str {
    match unit {
        "s" => "seconds",
        "ms" => "milliseconds",
        "By" => "bytes",
        "Hz" => "hertz",
        "V" => "volts",
        "A" => "amperes",
        "W" => "watts",
        "J" => "joules",
        "Cel" => "celsius",
        "%" => "percent",
        "1" => "",
        annotation if annotation.starts_with('{') => "",
        other => other,
    }
}

fn per_word(unit: &str) -> Option<&'static str> {
    match unit {
        "s" => Some("second"),
        "min" | "m" => Some("minute"),
        "h" => Some("hour"),
        "d" => Some("day"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_in_the_unit_and_in_total_for_counters() {
        for (name, unit, kind, expected) in [
            ("system.cpu.time", "s", Kind::Counter, "system_cpu_time_seconds_total"),
            ("system.cpu.utilization", "1", Kind::Gauge, "system_cpu_utilization_ratio"),
            ("system.memory.usage", "By", Kind::UpDownCounter, "system_memory_usage_bytes"),
            ("system.cpu.frequency", "Hz", Kind::Gauge, "system_cpu_frequency_hertz"),
            ("system.disk.operations", "{operation}", Kind::Counter, "system_disk_operations_total"),
            ("system.cpu.load_average.15m", "{thread}", Kind::Gauge, "system_cpu_load_average_15m"),
            ("hw.network.bandwidth.limit", "By/s", Kind::UpDownCounter, "hw_network_bandwidth_limit_bytes_per_second"),
            ("hw.network.up", "1", Kind::UpDownCounter, "hw_network_up"),
            ("hw.temperature", "Cel", Kind::Gauge, "hw_temperature_celsius"),
            ("a.total.b", "By", Kind::Counter, "a_b_bytes_total"),
            ("a.seconds", "s", Kind::Gauge, "a_seconds"),
        ] {
            assert_eq!(prometheus_name(name, unit, kind), expected);
        }
    }

    #[test]
    fn names_of_node_exporter_stay_as_they_are() {
        for (name, kind) in [
            ("node_cpu_seconds_total", Kind::Counter),
            ("node_memory_MemTotal_bytes", Kind::Gauge),
            ("node_netstat_Tcp_RetransSegs", Kind::Gauge),
            ("node_load1", Kind::Gauge),
        ] {
            assert_eq!(prometheus_name(name, "", kind), name);
        }
    }
}
