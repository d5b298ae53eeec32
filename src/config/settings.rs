//! Where a setting comes from: a flag, a variable, or nowhere. Errors name that place, and what is allowed.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// Wrong usage, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The environment: what is set for the process, then what a `.env` file adds. Empty variables are unset.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// The variables given; the first of a name counts.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut environment = Self::default();
        environment.add(variables);
        environment
    }

    /// Adds variables that are not set yet.
    pub fn add(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in variables {
            if !value.trim().is_empty() {
                self.0.entry(name).or_insert(value);
            }
        }
    }

    /// A variable's value, trimmed.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim())
    }
}

/// A value and the place it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// `--flag` or `VARIABLE`.
    pub place: &'a str,
    /// The text.
    pub value: &'a str,
}

impl<'a> Found<'a> {
    /// Whether the OpenTelemetry specification wants a warning and the default where this value is wrong: other programs
    /// share the variable, and it may mean something to them.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.place.starts_with("OTEL_") || self.place == "RUST_LOG"
    }

    /// The line for a wrong value.
    #[must_use]
    pub fn wrong(&self, allowed: &str) -> UsageError {
        UsageError(format!("{}: '{}' is not valid; allowed: {allowed}", self.place, self.value))
    }

    /// The line for a wrong value that must not be printed.
    #[must_use]
    pub fn wrong_secret(&self, allowed: &str) -> UsageError {
        UsageError(format!("{}: its value (not shown) is not valid; allowed: {allowed}", self.place))
    }
}

/// Looks settings up, and keeps the warnings for shared variables with wrong values.
#[derive(Debug)]
pub struct Lookup<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// Lines for the log.
    pub warnings: Vec<String>,
}

impl<'a> Lookup<'a> {
    /// The first of a flag and some variables that is set.
    #[must_use]
    pub fn find(&self, flag: &'static str, value: Option<&'a str>, variables: &[&'static str]) -> Option<Found<'a>> {
        let variable = |name: &&'static str| Some(Found { place: name, value: self.environment.get(name)? });
        value.map(|value| Found { place: flag, value }).or_else(|| variables.iter().find_map(variable))
    }

    /// A setting's parsed value; `None` where it is not set, or wrong in a shared variable.
    ///
    /// # Errors
    /// The place, the value and what is allowed, for a flag or a variable of this program's own.
    pub fn parse<T>(
        &mut self,
        found: Option<Found<'a>>,
        allowed: &str,
        parse: impl FnOnce(Found<'a>) -> Option<T>,
    ) -> Result<Option<T>, UsageError> {
        let Some(found) = found else { return Ok(None) };
        match parse(found) {
            Some(value) => Ok(Some(value)),
            None if found.is_shared() => {
                self.warnings.push(format!("{}; using the default", found.wrong(allowed)));
                Ok(None)
            }
            None => Err(found.wrong(allowed)),
        }
    }

    /// A setting that is one of some words, in any case.
    ///
    /// # Errors
    /// As [`Lookup::parse`].
    pub fn choice<T: Copy>(
        &mut self,
        flag: &'static str,
        value: Option<&'a str>,
        variables: &[&'static str],
        words: &[(&str, T)],
    ) -> Result<Option<T>, UsageError> {
        let allowed = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let pick = |found: Found<'_>| {
            words.iter().find(|(word, _)| word.eq_ignore_ascii_case(found.value)).map(|(_, value)| *value)
        };
        self.parse(self.find(flag, value, variables), &allowed, pick)
    }
}

/// A duration with its unit, such as `500ms` or `1m 30s`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// A whole number of milliseconds, as the OTEL variables have it.
#[must_use]
pub fn millis(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis)
}

/// Seconds, with a fraction if need be.
#[must_use]
pub fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// A size in bytes: a whole number and one of B, KiB, MiB, GiB (or k, M, G of 1000).
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

/// `true` and `false`, and 1 and 0 as people write them.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// `K=V` pairs separated by commas, percent-decoded, as OTEL variables have headers and resource attributes.
#[must_use]
pub fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(pair_decoded).collect()
}

fn pair_decoded(text: &str) -> Option<(String, String)> {
    let (key, value) = pair(text)?;
    let decode = |text: &str| Some(percent_encoding::percent_decode_str(text).decode_utf8().ok()?.into_owned());
    Some((decode(&key)?, decode(&value)?))
}

/// One `K=V`, taken as it is.
#[must_use]
pub fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let key = key.trim();
    (!key.is_empty()).then(|| (key.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn pairs_are_percent_decoded() {
        let decoded = pairs("a=b%20c, Authorization=Basic%20eA%3D%3D ,k=v=w,").unwrap();
        let expected = [("a", "b c"), ("Authorization", "Basic eA=="), ("k", "v=w")];
        assert_eq!(decoded, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(pairs("novalue"), None);
        assert_eq!(pairs("k=%ff"), None);
    }

    #[test]
    fn seconds_may_have_fractions_and_are_never_negative() {
        assert_eq!(seconds("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(seconds("-1"), None);
        assert_eq!(seconds("nan"), None);
        assert_eq!(seconds("1e300"), None);
    }

    #[test]
    fn an_empty_variable_is_unset_and_the_first_of_a_name_counts() {
        let mut environment = Environment::new([("A".into(), String::new()), ("B".into(), "1".into())]);
        environment.add([("A".into(), "2".into()), ("B".into(), "2".into())]);
        assert_eq!((environment.get("A"), environment.get("B")), (Some("2"), Some("1")));
    }
}
