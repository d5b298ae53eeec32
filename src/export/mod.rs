//! How batches leave the process.
//!
//! | file | its one idea |
//! |---|---|
//! | [`config`] | its settings |
//! | [`otlp`] | the live exporter: `opentelemetry-otlp` over a connection that we build, deaf to its environment |
//! | [`link`] | one configuration's connection: live exporter and raw sender over the same sockets; swapped as a whole |
//! | [`sender`] | stored bytes onto the wire, and what the answer means |
//! | [`channel`] | gRPC: the tonic channel |
//! | [`http`], [`proxy`] | http/protobuf: the hyper client, and the way through a proxy |
//! | [`tls`], [`headers`] | certificates and headers from files, checked before they are used |
//! | [`watched`] | why TLS ended a connection that hyper only calls closed |
//! | [`verdict`] | a gRPC status or an HTTP answer: keep, doubt, drop |
//! | [`probe`] | one empty export, to check a configuration |
//! | [`prometheus`] | the HTTP endpoint that Prometheus scrapes |
//! | [`console`] | a table people can read, or JSON |
//! | [`reason`] | an error chain in an operator's words |

pub mod channel;
pub mod config;
pub mod console;
pub mod headers;
pub mod http;
pub mod link;
pub mod otlp;
pub mod probe;
pub mod prometheus;
pub mod proxy;
pub mod reason;
pub mod sender;
pub mod tls;
pub mod verdict;
pub mod watched;

use std::fmt;

/// Why an exporter could not be built: one line that names the flag, what it was given, and what is allowed.
/// It never holds a header's value or a key.
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
