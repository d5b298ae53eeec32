//! Checks a configuration against its server with an empty export: connection, TLS and credentials.

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
    /// The message of a server that accepts the request with a warning; mostly empty.
    pub message: String,
    /// Why it does not take an export without metrics, where it does not.
    pub not_empty: Option<String>,
}

/// Sends one empty export, within the configuration's timeout. Must be called inside a tokio runtime.
///
/// # Errors
/// A wrong configuration, an unreachable server, or a rejected request.
pub async fn probe(config: &OtlpConfig) -> Result<ProbeOk, ExportError> {
    let wire = Wire::once(config, &Handle::current())?;
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
        Err(failure) => {
            let (endpoint, words) = (config.shown_endpoint(), failure.words);
            Err(ExportError::new(format!("{endpoint}: {words} (an empty export was sent)")))
        }
    }
}
