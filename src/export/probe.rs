//! Checks a configuration against its server: connects, does TLS, shows the credentials, exports nothing.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::ExportError;
use super::config::{OtlpConfig, Protocol};
use super::verdict::Failure;
use super::wire::Wire;

/// The server is there and took an empty export, or found fault with nothing but its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOk {
    /// Where.
    pub endpoint: String,
    /// How.
    pub protocol: Protocol,
    /// From the first packet to the answer.
    pub took: Duration,
    /// What the server had to say although it agreed; mostly empty.
    pub message: String,
    /// Why it does not take an export without metrics, where it does not.
    pub not_empty: Option<String>,
}

/// Why the configuration would not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// It is wrong in itself.
    Config(ExportError),
    /// The server is unreachable, or it rejects the request.
    Server {
        /// Where.
        endpoint: String,
        /// In an operator's words.
        words: String,
    },
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Server { endpoint, words } => write!(f, "{endpoint}: {words}"),
        }
    }
}

impl std::error::Error for ProbeError {}

/// Sends one empty export, within the configuration's timeout. Must be called inside a tokio runtime.
///
/// # Errors
/// A configuration that is wrong, or what stands between it and the server.
pub async fn probe(config: &OtlpConfig) -> Result<ProbeOk, ProbeError> {
    let wire = Wire::once(config, &Handle::current()).map_err(ProbeError::Config)?;
    let began = Instant::now();
    // No bytes at all are a request with no metrics in it.
    let answer = tokio::time::timeout(config.timeout, wire.send(Vec::new()))
        .await
        .unwrap_or_else(|_| Err(Failure::timeout(config.timeout)));
    match answer {
        Ok(accepted) => Ok(ProbeOk {
            endpoint: config.shown_endpoint(),
            protocol: config.protocol,
            took: began.elapsed(),
            message: accepted.message,
            not_empty: None,
        }),
        Err(failure) if failure.content => Ok(ProbeOk {
            endpoint: config.shown_endpoint(),
            protocol: config.protocol,
            took: began.elapsed(),
            message: String::new(),
            not_empty: Some(failure.words),
        }),
        Err(failure) => Err(ProbeError::Server { endpoint: config.shown_endpoint(), words: failure.words }),
    }
}
