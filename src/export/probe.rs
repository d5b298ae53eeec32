//! Checks a configuration against its server with an empty export: connection, TLS and credentials.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::ExportError;
use super::config::{OtlpConfig, Protocol};
use super::verdict::Failure;
use super::wire::Wire;

/// The server accepted an empty export, or rejected only its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOk {
    pub endpoint: String,
    pub protocol: Protocol,
    /// Time from connecting to the response.
    pub took: Duration,
    /// The warning of a server that accepted the request; usually empty.
    pub message: String,
    /// Why the server rejected an export without metrics, if it did.
    pub not_empty: Option<String>,
}

/// Sends one empty export, within the configured timeout. Must be called inside a tokio runtime.
///
/// # Errors
/// An invalid configuration, an unreachable server, or a rejected request.
pub async fn probe(config: &OtlpConfig) -> Result<ProbeOk, ExportError> {
    let wire = Wire::once(config, &Handle::current())?;
    let began = Instant::now();
    // Zero bytes encode a request without metrics.
    let answer = tokio::time::timeout(config.timeout, wire.send(Vec::new()))
        .await
        .unwrap_or_else(|_| Err(Failure::timeout(config.timeout)));
    let (message, not_empty) = match answer {
        Ok(accepted) => (accepted.message, None),
        Err(failure) if failure.content => (String::new(), Some(failure.words)),
        Err(failure) => {
            let (endpoint, words) = (config.shown_endpoint(), failure.words);
            let sent = if failure.local { "" } else { " (an empty export was sent)" };
            return Err(ExportError::new(format!("{endpoint}: {words}{sent}")));
        }
    };
    let (endpoint, protocol) = (config.shown_endpoint(), config.protocol);
    Ok(ProbeOk { endpoint, protocol, took: began.elapsed(), message, not_empty })
}
