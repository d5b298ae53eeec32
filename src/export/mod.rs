//! The exporters: OTLP, Prometheus and the console.
//!
//! | file | contents |
//! |---|---|
//! | [`config`] | OTLP settings |
//! | [`encode`] | encodes a collection with `opentelemetry-otlp`, isolated from its environment variables |
//! | [`split`] | divides one request into two, between data points |
//! | [`wire`] | the connection of one configuration, replaced as a whole |
//! | [`grpc`], [`http`] | send encoded batches; [`body`] avoids copying them |
//! | [`tcp`], [`proxy`], [`tls`], [`headers`] | shared by both protocols |
//! | [`connector`] | the TLS error behind a connection that hyper reports as closed |
//! | [`verdict`] | the consequence of each answer |
//! | [`probe`] | one empty export, to check a configuration |
//! | [`prometheus`] | the HTTP endpoint that Prometheus scrapes |
//! | [`console`] | a table or JSON on standard output |
//! | [`reason`] | formats an error chain for operators |

pub mod body;
pub mod config;
pub mod connector;
pub mod console;
pub mod encode;
pub mod grpc;
pub mod headers;
pub mod http;
pub mod probe;
pub mod prometheus;
pub mod proxy;
pub mod reason;
pub mod split;
pub mod tcp;
pub mod tls;
pub mod verdict;
pub mod wire;

/// Why an exporter could not be built or cannot deliver: one line that names the flag or the endpoint, the value, and
/// the reason. It never contains a header value or a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExportError(String);

impl ExportError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Rejects an endpoint with a fragment. A fragment is never sent to a server, and a path appended after it would be
/// lost.
pub(crate) fn refuse_fragment(config: &config::OtlpConfig) -> Result<(), ExportError> {
    match config.endpoint.contains('#') {
        false => Ok(()),
        true => Err(ExportError::new(format!(
            "--endpoint {}: a URL with a fragment (#...) cannot be an endpoint; write # as %23",
            config.shown_endpoint()
        ))),
    }
}

/// Formats an error chain as `error: cause: cause`, without causes that only repeat the text before them.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

/// Replaces control characters, for text that is printed or logged: a name, a path or a value may contain line breaks and
/// the escape sequences of a terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
