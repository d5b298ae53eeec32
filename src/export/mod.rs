//! How batches leave the process.
//!
//! | file | contents |
//! |---|---|
//! | [`config`] | its settings |
//! | [`encode`] | a collection becomes bytes: `opentelemetry-otlp`, cut off from its environment |
//! | [`split`] | one request becomes two, divided between data points |
//! | [`wire`] | one configuration's connection, swapped as a whole |
//! | [`grpc`], [`http`] | encoded batches onto the wire; [`body`]: without copying them |
//! | [`tcp`], [`proxy`], [`tls`], [`headers`] | shared by both protocols |
//! | [`watched`] | the reason of TLS for a connection that hyper reports as closed |
//! | [`verdict`] | the table of answers and their consequences |
//! | [`probe`] | one empty export, to check a configuration |
//! | [`prometheus`] | the HTTP endpoint that Prometheus scrapes |
//! | [`console`] | a table people can read, or JSON |
//! | [`reason`] | an error chain as one sentence for an operator |

pub mod body;
pub mod config;
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
pub mod watched;
pub mod wire;

use std::fmt;

/// Why an exporter could not be built, or cannot deliver: one line that names the flag or the endpoint, the value, and the
/// reason. It never holds a header's value or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportError(String);

impl ExportError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ExportError {}

/// A fragment never reaches a server, and it swallows the path that is appended to an endpoint.
pub(crate) fn refuse_fragment(config: &config::OtlpConfig) -> Result<(), ExportError> {
    match config.endpoint.contains('#') {
        false => Ok(()),
        true => Err(ExportError::new(format!(
            "--endpoint {}: a URL with a fragment (#...) cannot be an endpoint; write # as %23",
            config.shown_endpoint()
        ))),
    }
}

/// `error: cause: cause`, without a cause that only repeats what came before.
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
