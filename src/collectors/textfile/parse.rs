//! Parses Prometheus' text format, version 0.0.4, with node_exporter's rules for files: no timestamps, no reserved
//! labels. One error rejects the whole file.

use std::collections::{HashMap, HashSet};

use crate::metrics::naming::Kind;

#[derive(Debug, Default, PartialEq)]
pub struct Parsed {
    pub samples: Vec<Sample>,
    pub helps: HashMap<String, String>,
}

/// A line with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    /// Sorted by name.
    pub labels: Vec<(String, String)>,
    pub value: f64,
    pub kind: Kind,
    /// Line number, from 1.
    pub line: usize,
}

/// Why a file is rejected.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line number, from 1.
    pub line: usize,
    pub words: &'static str,
}

pub fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
            return Err(Fault { line, words: "not UTF-8" });
        }
    };
    let mut parsed = Parsed::default();
    let mut types: HashMap<&str, &str> = HashMap::new();
    let mut seen = HashSet::new();
    for (number, line) in text.split('\n').enumerate() {
        let fault = |words| Fault { line: number + 1, words };
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.trim_start().splitn(3, [' ', '\t']);
            match (words.next(), words.next(), words.next()) {
                (Some("HELP"), Some(name), help) => {
                    let help = help.unwrap_or_default().trim().replace("\\n", "\n").replace("\\\\", "\\");
                    if parsed.helps.insert(name.to_owned(), help).is_some() {
                        return Err(fault("a second HELP for the same metric"));
                    }
                }
                (Some("TYPE"), Some(name), Some(kind)) => {
                    let kind = kind.trim();
                    if !["counter", "gauge", "untyped", "histogram", "summary"].contains(&kind) {
                        return Err(fault("an unknown type"));
                    }
                    if types.insert(name, kind).is_some() {
                        return Err(fault("a second TYPE for the same metric"));
                    }
                }
                _ => {}
            }
            continue;
        }
        let (name, labels, rest) = series(line).map_err(fault)?;
        let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
        let value = words.next().and_then(value).ok_or_else(|| fault("no value"))?;
        if words.next().is_some() {
            return Err(fault("a timestamp"));
        }
        if !seen.insert((name, labels.clone())) {
            return Err(fault("the same series a second time"));
        }
        let kind = kind(name, &types);
        parsed.samples.push(Sample { name: name.to_owned(), labels, value, kind, line: number + 1 });
    }
    Ok(parsed)
}

/// The kind of a sample: the parts of histograms and summaries are counters.
fn kind(name: &str, types: &HashMap<&str, &str>) -> Kind {
    let part = |suffixes: &[&str], of: &str| {
        suffixes.iter().filter_map(|suffix| name.strip_suffix(suffix)).any(|base| types.get(base) == Some(&of))
    };
    let is_counter = types.get(name) == Some(&"counter")
        || part(&["_bucket", "_count", "_sum"], "histogram")
        || part(&["_count", "_sum"], "summary");
    if is_counter { Kind::Counter } else { Kind::Gauge }
}

type Labels = Vec<(String, String)>;

/// Parses a line's name and labels; returns them with the rest of the line.
fn series(line: &str) -> Result<(&str, Labels, &str), &'static str> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("no name of a metric");
    }
    let rest = rest.trim_start();
    let Some(mut rest) = rest.strip_prefix('{') else { return Ok((name, Vec::new(), rest)) };
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            labels.sort();
            return Ok((name, labels, rest));
        }
        let (key, after) = rest.split_once('=').ok_or("a label without a value")?;
        let key = key.trim();
        let is_name = !key.starts_with(|c: char| c.is_ascii_digit())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !key.is_empty();
        if !is_name {
            return Err("no name of a label");
        }
        if key.starts_with("__") {
            return Err("a label with a reserved name");
        }
        if labels.iter().any(|(known, _)| known == key) {
            return Err("the same label a second time");
        }
        let (text, after) = quoted(after.trim_start()).ok_or("a label's value without quotes")?;
        labels.push((key.to_owned(), text));
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("no end of the labels"),
        }
    }
}

/// Parses a quoted text; returns it with the rest.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                c @ ('\\' | '"') => out.push(c),
                _ => return None,
            },
            c => out.push(c),
        }
    }
    None
}

/// Parses a number in Prometheus' syntax.
fn value(word: &str) -> Option<f64> {
    match word.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "+inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        // The standard library would also accept "infinity".
        word if word.bytes().all(|b| b.is_ascii_digit() || b"+-.e".contains(&b)) => word.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(text: &str) -> (usize, &'static str) {
        let fault = parse(text.as_bytes()).unwrap_err();
        (fault.line, fault.words)
    }

    #[test]
    fn samples_have_their_labels_values_and_kinds() {
        let text = "# HELP a_total All of\\nthem\n# TYPE a_total counter\na_total{z=\"1\", b=\"x\\\"y\\\\\\n\",} 1.5e3\n\
                    # a remark\n\nb -3\nb{c=\"d\"} +Inf\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum 3\n# TYPE s summary\ns{quantile=\"0.5\"} 4\ns_count 5\n";
        let parsed = parse(text.as_bytes()).unwrap();
        let lines: Vec<_> =
            parsed.samples.iter().map(|s| (s.name.as_str(), s.labels.len(), s.value, s.kind, s.line)).collect();
        assert_eq!(
            lines,
            [
                ("a_total", 2, 1500.0, Kind::Counter, 3),
                ("b", 0, -3.0, Kind::Gauge, 6),
                ("b", 1, f64::INFINITY, Kind::Gauge, 7),
                ("h_bucket", 1, 2.0, Kind::Counter, 9),
                ("h_sum", 0, 3.0, Kind::Counter, 10),
                ("s", 1, 4.0, Kind::Gauge, 12),
                ("s_count", 0, 5.0, Kind::Counter, 13),
            ]
        );
        assert_eq!(parsed.samples[0].labels[0], ("b".to_owned(), "x\"y\\\n".to_owned()));
        assert_eq!(parsed.helps["a_total"], "All of\nthem");
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        for (text, expected) in [
            ("a 1\na 2 1395066363000\n", (2, "a timestamp")),
            ("a 1\n\na 1\n", (3, "the same series a second time")),
            ("a{b=\"1\",c=\"2\"} 1\na{c=\"2\",b=\"1\"} 2\n", (2, "the same series a second time")),
            ("a{__b=\"1\"} 1\n", (1, "a label with a reserved name")),
            ("a{b=\"1\",b=\"2\"} 1\n", (1, "the same label a second time")),
            ("a{b=\"1} 1\n", (1, "a label's value without quotes")),
            ("a{b=\"1\" c=\"2\"} 1\n", (1, "no end of the labels")),
            ("a{b} 1\n", (1, "a label without a value")),
            ("a{2=\"1\"} 1\n", (1, "no name of a label")),
            ("a\n", (1, "no value")),
            ("a one\n", (1, "no value")),
            ("9 1\n", (1, "no name of a metric")),
            ("{a=\"b\"} 1\n", (1, "no name of a metric")),
            ("# TYPE a counter\n# TYPE a gauge\n", (2, "a second TYPE for the same metric")),
            ("# TYPE a meter\n", (1, "an unknown type")),
            ("# HELP a x\n# HELP a y\n", (2, "a second HELP for the same metric")),
        ] {
            assert_eq!(fault(text), expected, "{text:?}");
        }
        assert_eq!(parse(b"a 1\n\xff 2\n").unwrap_err(), Fault { line: 2, words: "not UTF-8" });
    }

    proptest! {
        #[test]
        fn any_bytes_are_metrics_or_a_fault(bytes: Vec<u8>, text in "[a-z_{}=\",# \n0-9\\\\]{0,80}") {
            let _ = parse(&bytes);
            let _ = parse(text.as_bytes());
        }
    }
}
