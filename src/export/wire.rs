//! The connection of one configuration to its server. It is replaced as a whole when a certificate or the headers file
//! changes, on request, or when it seems dead. A short-lived thread reads the files.

use std::fs;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderMap;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::config::{OtlpConfig, Protocol};
use super::connector::LastTlsError;
use super::grpc::GrpcWire;
use super::http::HttpWire;
use super::tls::{self, Tls};
use super::verdict::{Accepted, Failure};
use super::{ExportError, headers};

/// Stack size of the thread that reads the files.
const STACK_BYTES: usize = 512 * 1024;

/// Minimum time between checks of the files for changes.
const CHECK_EVERY: Duration = Duration::from_secs(5);

pub type Answer = Pin<Box<dyn Future<Output = Result<Accepted, Failure>> + Send>>;

/// The interface between sender and connection; tests have their own implementation.
pub trait Carrier: Send + Sync + 'static {
    /// Sends several encoded requests as one. The caller sets the timeout.
    fn send(&self, pieces: Vec<Bytes>) -> Answer;
    /// Makes the files be checked, and reconnects later if one has changed. Checks at most every few seconds, or
    /// immediately with `now`. Does not block.
    fn refresh(self: &Arc<Self>, now: bool);
    /// Reconnects, because the connection seems dead.
    fn replace(&self);
}

enum Transport {
    Grpc(GrpcWire),
    Http(Box<HttpWire>),
}

pub struct Wire {
    transport: Transport,
    secrets: Vec<String>,
    last_tls_error: LastTlsError,
}

impl Wire {
    /// Builds one connection that is never replaced.
    ///
    /// # Errors
    /// An invalid endpoint, header or certificate.
    pub fn once(config: &OtlpConfig, runtime: &Handle) -> Result<Self, ExportError> {
        Self::build(config, &Parts::load(config)?, runtime)
    }

    fn build(config: &OtlpConfig, parts: &Parts, runtime: &Handle) -> Result<Self, ExportError> {
        // The channel spawns its worker on the current runtime.
        let _inside = runtime.enter();
        let headers = parts.headers.clone();
        let secrets = secrets(&headers);
        let secure = config.endpoint.starts_with("https:");
        let last_tls_error =
            LastTlsError::new(secure.then(|| parts.tls.has_identity()), config.protocol == Protocol::Grpc);
        let transport = match config.protocol {
            Protocol::Grpc => Transport::Grpc(GrpcWire::build(config, &parts.tls, headers, last_tls_error.clone())?),
            Protocol::HttpProtobuf => {
                Transport::Http(Box::new(HttpWire::build(config, &parts.tls, headers, last_tls_error.clone())?))
            }
        };
        Ok(Self { transport, secrets, last_tls_error })
    }

    /// Sends several encoded requests as one. The caller sets the timeout.
    ///
    /// # Errors
    /// The error of the network or the server, with its verdict. Header values are removed from the message, because
    /// some servers repeat the token that they reject.
    pub async fn send(&self, pieces: Vec<Bytes>) -> Result<Accepted, Failure> {
        let answer = match &self.transport {
            Transport::Grpc(wire) => wire.send(pieces).await,
            Transport::Http(wire) => wire.send(pieces).await,
        };
        let redact = |text: String| self.secrets.iter().fold(text, |text, secret| text.replace(secret, "[redacted]"));
        match answer {
            Ok(accepted) => Ok(Accepted { message: redact(accepted.message), ..accepted }),
            Err(mut failure) => {
                if failure.local
                    && let Some(cause) = self.last_tls_error.take()
                {
                    failure.words = cause.words.into_owned();
                    failure.by_size &= cause.may_be_size;
                }
                failure.words = redact(failure.words);
                Err(failure)
            }
        }
    }
}

/// The contents of the files when they were last valid.
struct Parts {
    headers: HeaderMap,
    tls: Tls,
}

impl Parts {
    fn load(config: &OtlpConfig) -> Result<Self, ExportError> {
        let secure = config.endpoint.starts_with("https:");
        Ok(Self { headers: headers::load(config)?, tls: tls::load(&config.tls, secure)? })
    }
}

/// The current [`Wire`] and its sources.
pub struct Wires {
    config: OtlpConfig,
    runtime: Handle,
    state: Mutex<State>,
}

struct State {
    current: Arc<Wire>,
    good: Arc<Parts>,
    checked: Instant,
    stamps: Vec<Stamp>,
    /// The last thread that read the files.
    reader: Option<JoinHandle<()>>,
}

/// Identifies a version of a file without reading it; `None` if the file does not exist.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Wires {
    /// Builds the first connection.
    ///
    /// # Errors
    /// An invalid endpoint, header or certificate.
    pub fn new(config: OtlpConfig, runtime: Handle) -> Result<Self, ExportError> {
        let stamps = stamps(&config);
        let good = Arc::new(Parts::load(&config)?);
        let current = Arc::new(Wire::build(&config, &good, &runtime)?);
        let state = State { current, good, checked: Instant::now(), stamps, reader: None };
        Ok(Self { config, runtime, state: Mutex::new(state) })
    }

    /// Reads all files, which may block, and reconnects.
    ///
    /// # Errors
    /// An invalid endpoint, header or certificate; the old connection stays in use.
    pub fn reload(&self) -> Result<(), ExportError> {
        let stamps = stamps(&self.config);
        let parts = Parts::load(&self.config)?;
        let wire = Wire::build(&self.config, &parts, &self.runtime)?;
        let mut state = self.lock();
        (state.good, state.current, state.stamps) = (Arc::new(parts), Arc::new(wire), stamps);
        Ok(())
    }

    /// Reconnects if a file has changed.
    fn reload_if_changed(&self) {
        // Take the stamps before reading, so that a change in between is noticed at the next check.
        let stamps = stamps(&self.config);
        let unchanged = std::mem::replace(&mut self.lock().stamps, stamps.clone()) == stamps;
        if unchanged {
            return;
        }
        let endpoint = self.config.shown_endpoint();
        match self.reload() {
            Ok(()) => info!("reloaded certificates and headers for {endpoint}: connecting again"),
            Err(e) => warn!("certificates or headers for {endpoint} changed, but {e}; the old ones stay in use"),
        }
    }

    /// The lock is held only to copy or swap, never while a file is read.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carrier for Wires {
    fn send(&self, pieces: Vec<Bytes>) -> Answer {
        let wire = self.lock().current.clone();
        Box::pin(async move { wire.send(pieces).await })
    }

    fn refresh(self: &Arc<Self>, now: bool) {
        let mut state = self.lock();
        let early = !now && state.checked.elapsed() < CHECK_EVERY;
        let reading = state.reader.as_ref().is_some_and(|reader| !reader.is_finished());
        if early || reading || state.stamps.is_empty() {
            return;
        }
        state.checked = Instant::now();
        // A file on a network file system may hang; the connection is used as it is until then. Without a thread, the
        // next request tries again.
        let wires = self.clone();
        let check = move || wires.reload_if_changed();
        state.reader = thread::Builder::new().name("files".into()).stack_size(STACK_BYTES).spawn(check).ok();
    }

    fn replace(&self) {
        let good = self.lock().good.clone();
        // These parts worked before. If they fail now, the old connection stays in use.
        if let Ok(wire) = Wire::build(&self.config, &good, &self.runtime) {
            self.lock().current = Arc::new(wire);
        }
    }
}

/// The values to hide in log lines, longest first. For `Bearer xyz`, also `xyz` alone.
fn secrets(headers: &HeaderMap) -> Vec<String> {
    /// Shorter values, such as `1` or `edge`, would remove ordinary words from messages.
    const SHORTEST: usize = 6;
    let mut secrets: Vec<String> = headers
        .values()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| [Some(value), value.rsplit(' ').next()])
        .flatten()
        .filter(|value| value.len() >= SHORTEST)
        .map(Into::into)
        .collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

fn stamps(config: &OtlpConfig) -> Vec<Stamp> {
    let files: [&Option<PathBuf>; 4] = [&config.tls.ca, &config.tls.cert, &config.tls.key, &config.headers_file];
    files.into_iter().flatten().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.ino(), meta.size()))
}
