//! Parsers for the values of settings.

use std::path::PathBuf;
use std::time::Duration;

use regex_lite::Regex;

use crate::config::found::{Found, Parsed};
use crate::export::headers::reserved;

pub fn text(found: Found<'_>) -> Parsed<String> {
    Ok(found.value.to_owned())
}

/// A path. Log lines contain paths, and a line break in one would start a line of its own.
pub fn path(found: Found<'_>) -> Parsed<PathBuf> {
    match found.value.contains(char::is_control) {
        false => Ok(PathBuf::from(found.value)),
        true => Err(Some("a path without control characters".to_owned())),
    }
}

/// A boolean. `OTEL_*` variables follow their specification: `true` or `false`. Other sources also accept common words.
pub fn boolean(found: Found<'_>) -> Parsed<bool> {
    let word = found.value.to_ascii_lowercase();
    match word.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ if found.is_otel() => Err(Some("true, false".to_owned())),
        "1" | "yes" | "on" => Ok(true),
        "0" | "no" | "off" => Ok(false),
        _ => Err(Some("true, false, yes, no, on, off, 1, 0".to_owned())),
    }
}

/// A duration with a unit, such as `500ms` or `1m 30s`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// An integer number of milliseconds, as in the OTEL variables.
#[must_use]
pub fn millis(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis)
}

/// Seconds, optionally with a fraction.
#[must_use]
pub fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// A size in bytes: an integer and one of B, KiB, MiB, GiB (or k, M, G as powers of 1000).
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split)?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// One regular expression from a flag, or a list from a variable.
pub fn regexes(found: Found<'_>) -> Parsed<Vec<Regex>> {
    let regex = |text: &str| Regex::new(text).map_err(|error| Some(format!("a regular expression ({error})")));
    if found.is_flag() {
        return Ok(vec![regex(found.value)?]);
    }
    split_regexes(found.value).into_iter().map(regex).collect()
}

/// Splits a list at commas. A comma within brackets, braces or parentheses, or after a backslash, is part of the
/// expression.
fn split_regexes(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut escaped) = (Vec::new(), 0, 0_u32, false);
    for (at, letter) in list.char_indices() {
        match letter {
            _ if escaped => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(list.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.push(list.get(start..).unwrap_or_default());
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// `K=V` pairs: one literal pair from a flag, or a list from a variable, comma-separated and percent-encoded, as the
/// OTEL specification defines for headers and resource attributes.
pub fn pairs(found: Found<'_>) -> Parsed<Vec<(String, String)>> {
    if found.is_flag() {
        return Ok(vec![pair(found.value, &['=']).ok_or(None)?]);
    }
    let list = found.value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    list.map(|text| pair_decoded(text).ok_or(None)).collect()
}

/// Headers, as [`pairs`]; a flag may also use `Name: value`. Names are converted to lower case.
pub fn headers(found: Found<'_>) -> Parsed<Vec<(String, String)>> {
    const OF_VARIABLE: &str = "NAME=VALUE,NAME=VALUE, percent-encoded (NAME of letters, digits, - _ and . only)";
    let wrong = || (!found.is_flag()).then(|| OF_VARIABLE.to_owned());
    let headers = match found.is_flag() {
        // A name contains neither character, so the first one ends it.
        true => vec![pair(found.value, &['=', ':']).ok_or_else(wrong)?],
        false => pairs(found).map_err(|_| wrong())?,
    };
    let valid = |(name, value): &(String, String)| {
        http::HeaderName::try_from(name.as_str()).is_ok() && http::HeaderValue::try_from(value.as_str()).is_ok()
    };
    if !headers.iter().all(valid) {
        return Err(wrong());
    }
    if let Some(name) = headers.iter().find_map(|(name, _)| reserved(name)) {
        return Err(Some(format!("headers other than {name}, which belongs to the protocol")));
    }
    Ok(headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
}

fn pair_decoded(text: &str) -> Option<(String, String)> {
    let (key, value) = pair(text, &['='])?;
    let decode = |text: &str| Some(percent_encoding::percent_decode_str(text).decode_utf8().ok()?.into_owned());
    Some((decode(&key)?, decode(&value)?))
}

fn pair(text: &str, signs: &[char]) -> Option<(String, String)> {
    let (key, value) = text.split_once(signs)?;
    let key = key.trim();
    (!key.is_empty()).then(|| (key.to_owned(), value.trim().to_owned()))
}

/// A log filter: levels, or targets as in `RUST_LOG`.
pub fn log_filter(found: Found<'_>) -> Parsed<String> {
    // A word that is not a level would be a target with everything enabled and all others disabled. RUST_LOG has that
    // meaning in every program.
    let known = |part: &str| part.contains('=') || part.trim().parse::<tracing::metadata::LevelFilter>().is_ok();
    let sound = found.place == "RUST_LOG" || found.value.split(',').all(known);
    let targets = found.value.parse::<tracing_subscriber::filter::Targets>();
    if sound && targets.is_ok() { Ok(found.value.to_owned()) } else { Err(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(value: &str) -> Found<'_> {
        Found { place: "VARIABLE", value }
    }

    fn flag(value: &str) -> Found<'_> {
        Found { place: "--flag", value }
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("4MiB", 4 << 20), ("64 KiB", 65_536), ("1g", 1_000_000_000), ("123", 123), ("1GiB", 1 << 30)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "1TB", "99999999999GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn pairs_of_variables_are_percent_decoded_and_those_of_flags_are_not() {
        let decoded = pairs(variable("a=b%20c, Authorization=Basic%20eA%3D%3D ,k=v=w,")).unwrap();
        assert_eq!(decoded, owned(&[("a", "b c"), ("Authorization", "Basic eA=="), ("k", "v=w")]));
        assert_eq!(pairs(variable("novalue")), Err(None));
        assert_eq!(pairs(variable("k=%ff")), Err(None));
        assert_eq!(pairs(flag("a=b%20c,d=e")).unwrap(), owned(&[("a", "b%20c,d=e")]));
    }

    #[test]
    fn a_header_flag_takes_a_colon_or_an_equals_sign() {
        for (text, name, value) in [
            ("Api-Key: a=b", "api-key", "a=b"),
            ("Api-Key=a: b", "api-key", "a: b"),
            ("Authorization:Bearer x", "authorization", "Bearer x"),
        ] {
            assert_eq!(headers(flag(text)).unwrap(), owned(&[(name, value)]), "{text}");
        }
        let error = headers(variable("Api-Key: a")).unwrap_err().unwrap();
        assert!(error.starts_with("NAME=VALUE,NAME=VALUE, percent-encoded"), "the specification's variable: {error}");
    }

    #[test]
    fn seconds_may_have_fractions_and_are_never_negative() {
        assert_eq!(seconds("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(seconds("-1"), None);
        assert_eq!(seconds("nan"), None);
        assert_eq!(seconds("1e300"), None);
    }

    #[test]
    fn a_list_of_regular_expressions_is_split_only_at_its_outer_commas() {
        for (list, parts) in [
            ("^sd, ^vd", &["^sd", "^vd"][..]),
            ("^sd[a-c]{1,2}$,^nvme", &["^sd[a-c]{1,2}$", "^nvme"]),
            ("(a,b),[,;]", &["(a,b)", "[,;]"]),
            (r"a\,b,c", &[r"a\,b", "c"]),
            (r"a\(,b", &[r"a\(", "b"]),
            (" , ", &[]),
        ] {
            assert_eq!(split_regexes(list), parts, "{list}");
            regexes(variable(list)).unwrap();
        }
        assert_eq!(regexes(flag("a,b")).unwrap().len(), 1);
        assert!(regexes(variable("a,b(")).is_err());
    }

    #[test]
    fn booleans_take_the_same_words_everywhere_but_in_otel_variables() {
        for (word, value) in [("TRUE", true), ("yes", true), ("on", true), ("1", true), ("No", false), ("off", false)] {
            assert_eq!(boolean(flag(word)), Ok(value), "{word}");
            assert_eq!(boolean(Found { place: "HEKA_PER_CPU", value: word }), Ok(value), "{word}");
        }
        let otel = |value| boolean(Found { place: "OTEL_SDK_DISABLED", value });
        assert_eq!((otel("True"), otel("false")), (Ok(true), Ok(false)));
        assert!(otel("1").is_err() && otel("yes").is_err());
    }
}
