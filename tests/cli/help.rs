//! Tests of `--help` and `--version`.

use heka_insights_agent::internals::config::table;

use crate::run::Run;

#[test]
fn help_and_version_are_no_errors() {
    let version = Run::new(&["--version"]).end();
    assert_eq!((version.code, version.err.as_str()), (Some(0), ""));
    assert!(version.out.starts_with(concat!("heka-insights-agent ", env!("CARGO_PKG_VERSION"))), "{}", version.out);
    for line in ["commit:", "target:", "features: grpc, http/protobuf, tls"] {
        assert!(version.out.contains(line), "no {line} in {}", version.out);
    }
    for flag in ["--help", "-h"] {
        let help = Run::new(&[flag]).end();
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
        assert!(help.out.contains("Usage: heka-insights-agent"), "{}", help.out);
    }
}

#[test]
fn help_groups_the_flags_and_lists_each_default_and_variable() {
    let help = Run::new(&["--help"]).end().out;
    let mut headings: Vec<&str> = table::SETTINGS.iter().map(|setting| setting.row().heading).collect();
    headings.dedup();
    let places: Vec<_> = headings
        .iter()
        .map(|heading| help.find(&format!("\n{heading}:")).unwrap_or_else(|| panic!("no {heading:?} in {help}")))
        .collect();
    assert!(places.is_sorted(), "the headings come in the order of their use");
    let paragraphs = flags(&help);
    for row in table::SETTINGS.iter().map(|setting| setting.row()) {
        let variables = row.variables_text();
        let text = match row.flag {
            "" => help.split_whitespace().collect::<Vec<_>>().join(" "),
            flag => paragraphs.iter().find(|(name, _)| name == flag).unwrap_or_else(|| panic!("no {flag}")).1.clone(),
        };
        assert!(text.contains(&variables), "{text} lacks {variables}");
        assert!(text.contains(row.default_text()), "{text} lacks {}", row.default_text());
    }
    for (flag, bound) in [
        ("--interval", "100ms to 1h"),
        ("--timeout", "above 0"),
        ("--outbox-max-size", "at least 64KiB"),
        ("--outbox-max-age", "at least 1s"),
        ("--max-series", "from 1 to 100000"),
    ] {
        let (_, text) = paragraphs.iter().find(|(name, _)| name == flag).unwrap();
        assert!(text.contains(bound), "{flag} lacks its bound: {text}");
    }
}

/// Each long flag and its text, line breaks undone.
pub fn flags(help: &str) -> Vec<(String, String)> {
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let line = line.trim();
        let word = line.split(' ').find(|word| !word.starts_with('-') || word.starts_with("--")).unwrap_or("");
        match (word.strip_prefix("--"), flags.last_mut()) {
            (Some(_), _) if line.starts_with('-') => flags.push((word.to_owned(), line.to_owned())),
            (_, Some((_, text))) => *text = format!("{text} {line}"),
            _ => {}
        }
    }
    flags
}

#[test]
fn counters_since_names_the_cost_of_boot() {
    let help = Run::new(&["--help"]).end().out;
    let flags = flags(&help);
    let (_, text) = flags.iter().find(|(flag, _)| flag == "--counters-since").unwrap();
    assert!(text.contains("adds the whole uptime again") && text.contains("delta"), "{text}");
}
