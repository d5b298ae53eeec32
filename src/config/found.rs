//! A value as given by the user, and the error message for an invalid one.

use std::fmt;

use crate::export::harmless;

/// A usage error, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UsageError(pub String);

/// Without control characters.
impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&harmless(&self.0))
    }
}

/// Result of a parser. The error may describe the allowed values, instead of the text in the row.
pub type Parsed<T> = Result<T, Option<String>>;

/// A value and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The source: `--flag` or `VARIABLE`.
    pub place: &'a str,
    pub value: &'a str,
}

impl Found<'_> {
    #[must_use]
    pub fn is_flag(&self) -> bool {
        self.place.starts_with("--")
    }

    /// Whether the source is a variable of the OpenTelemetry specification.
    #[must_use]
    pub fn is_otel(&self) -> bool {
        self.place.starts_with("OTEL_")
    }

    /// Whether an invalid value causes only a warning, and the default is used: other programs share the variable, and
    /// the OpenTelemetry specification requires this.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_otel() || self.place == "RUST_LOG"
    }

    /// The error for an invalid value. A URL with a user part, a path, a query or a fragment is not printed, because any of
    /// them may contain a token.
    #[must_use]
    pub fn wrong(&self, allowed: &str) -> UsageError {
        if self.value.contains("://") && !is_bare(self.value) {
            return self.wrong_secret(allowed);
        }
        UsageError(format!("{}: '{}' is not valid; allowed: {allowed}", self.place, self.value))
    }

    /// As [`Self::wrong`], for a setting whose value is a URL even if it has no scheme.
    #[must_use]
    pub fn wrong_url(&self, allowed: &str) -> UsageError {
        if is_bare(self.value) { self.wrong(allowed) } else { self.wrong_secret(allowed) }
    }

    /// The error for an invalid value that must not be printed.
    #[must_use]
    pub fn wrong_secret(&self, allowed: &str) -> UsageError {
        UsageError(format!("{}: its value (not shown) is not valid; allowed: {allowed}", self.place))
    }
}

/// Whether a URL has only a scheme, a host and a port.
fn is_bare(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    !rest.trim_end_matches('/').contains(['/', '\\', '?', '#', '@'])
}
