//! A value as the user wrote it, and the line for a wrong one.

use std::fmt;

/// Wrong usage, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// A parser's result. An error may describe the allowed values better than the row does.
pub type Parsed<T> = Result<T, Option<String>>;

/// A value and the place it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// `--flag` or `VARIABLE`.
    pub place: &'a str,
    /// The text.
    pub value: &'a str,
}

impl Found<'_> {
    /// Whether it is a flag's value.
    #[must_use]
    pub fn is_flag(&self) -> bool {
        self.place.starts_with("--")
    }

    /// Whether it is the value of a variable of the OpenTelemetry specification.
    #[must_use]
    pub fn is_otel(&self) -> bool {
        self.place.starts_with("OTEL_")
    }

    /// Whether a wrong value is one warning and the default: other programs share the variable, and the OpenTelemetry
    /// specification asks for this.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_otel() || self.place == "RUST_LOG"
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
