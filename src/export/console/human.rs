//! Human-readable numbers.

use super::series::Value;
use crate::metrics::naming::Kind;

/// Formats a value with its unit: bytes in binary units, ratios in percent, times other than totals in the largest unit
/// that fits.
#[must_use]
pub fn value(value: Value, unit: &str, kind: Kind) -> String {
    let number = value.as_f64();
    match unit {
        "By" => bytes(number),
        // An integer is a state, such as the state of a link: 1 or 0.
        "1" if matches!(value, Value::Double(_)) => format!("{:.1} %", number * 100.0),
        "s" => time(number, kind),
        "Hz" => format!("{:.2} GHz", number / 1e9),
        _ => match value {
            Value::Int(whole) => whole.to_string(),
            Value::Double(number) => format!("{number:.2}"),
        },
    }
}

/// Formats a change per second with its unit. Seconds per second are shown as a percentage.
#[must_use]
pub fn rate(rate: f64, unit: &str) -> String {
    match unit {
        "By" => format!("{}/s", bytes(rate)),
        "s" => format!("{:.1} %", rate * 100.0),
        _ if rate >= 100.0 || rate == 0.0 => format!("{rate:.0}/s"),
        _ => format!("{rate:.1}/s"),
    }
}

fn bytes(number: f64) -> String {
    let mut number = number;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if number < 1024.0 {
            break;
        }
        number /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{number:.0} B") } else { format!("{number:.1} {unit}") }
}

/// Formats seconds. Totals stay in seconds so that the values in a row can be compared.
fn time(seconds: f64, kind: Kind) -> String {
    match seconds {
        s if kind == Kind::Counter => format!("{s:.2} s"),
        s if s < 600.0 => format!("{s:.1} s"),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_made_human() {
        let cases = [
            (Value::Int(1023), "By", "1023 B"),
            (Value::Int(1536), "By", "1.5 KiB"),
            (Value::Int(65_683_412 << 10), "By", "62.6 GiB"),
            (Value::Double(0.1234), "1", "12.3 %"),
            (Value::Int(1), "1", "1"),
            (Value::Double(12.345), "s", "12.35 s"),
            (Value::Double(7200.0), "s", "7200.00 s"),
            (Value::Int(2_400_000_000), "Hz", "2.40 GHz"),
            (Value::Int(1_234_567), "{operation}", "1234567"),
            (Value::Double(0.5), "{thread}", "0.50"),
        ];
        for (given, unit, expected) in cases {
            assert_eq!(value(given, unit, Kind::Counter), expected);
        }
        assert_eq!(value(Value::Double(7200.0), "s", Kind::Gauge), "2.0 h");
        assert_eq!(rate(2048.0, "By"), "2.0 KiB/s");
        assert_eq!(rate(0.25, "s"), "25.0 %");
        assert_eq!(rate(4.26, "{operation}"), "4.3/s");
    }
}
