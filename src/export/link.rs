//! One configuration's way to the server: the live exporter and the raw sender over one connection, replaced as a whole
//! when a certificate or the headers file changes, on request, or when the connection seems dead.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderMap;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::http::HttpSender;
use super::otlp::{self, Live};
use super::sender::{Accepted, Sender};
use super::tls::TlsMaterial;
use super::verdict::Failure;
use super::watched::LastTlsError;
use super::{ExportError, channel, headers, tls};
use crate::export::config::{OtlpConfig, Protocol};

/// How often, at most, exports look whether a file changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A connection and the two that use it.
pub struct Link {
    /// Straight from the reader.
    pub live: Live,
    sender: Sender,
    secrets: Vec<String>,
    last_tls_error: LastTlsError,
}

impl Link {
    /// Sends one encoded request. The caller bounds the time.
    ///
    /// # Errors
    /// What the network or the server answered, with what to do about it, and without any header's value: servers are
    /// known to repeat the token they refuse.
    pub async fn send(&self, body: Bytes) -> Result<Accepted, Failure> {
        self.sender.send(body).await.map_err(|mut failure| {
            if failure.local
                && let Some(words) = self.last_tls_error.take()
            {
                failure.words = words;
            }
            for secret in &self.secrets {
                failure.words = failure.words.replace(secret, "[redacted]");
            }
            failure
        })
    }
}

/// What the files said when they were last good.
struct Parts {
    headers: HeaderMap,
    tls: TlsMaterial,
}

impl Parts {
    fn load(config: &OtlpConfig) -> Result<Self, ExportError> {
        Ok(Self { headers: headers::load(config)?, tls: tls::load(&config.tls)? })
    }
}

/// The current [`Link`] and what it was built from.
pub struct Links {
    config: OtlpConfig,
    runtime: Handle,
    current: RwLock<Arc<Link>>,
    files: Mutex<Files>,
    good: Mutex<Parts>,
}

struct Files {
    looked: Instant,
    stamps: Vec<Stamp>,
}

/// What tells one content of a file from another without reading it. `None`: the file is not there.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Links {
    /// Builds the first link.
    ///
    /// # Errors
    /// What is wrong with the endpoint, the headers or the certificates.
    pub fn new(config: OtlpConfig, runtime: Handle) -> Result<Self, ExportError> {
        let stamps = stamps(&config);
        let parts = Parts::load(&config)?;
        let link = build(&config, &parts, &runtime)?;
        Ok(Self {
            config,
            runtime,
            good: Mutex::new(parts),
            current: RwLock::new(Arc::new(link)),
            files: Mutex::new(Files { looked: Instant::now(), stamps }),
        })
    }

    /// What it is built from.
    pub fn config(&self) -> &OtlpConfig {
        &self.config
    }

    /// The link to use now.
    pub fn current(&self) -> Arc<Link> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Builds a new link where a file changed. Looks every few seconds at most, or at once when `now` is set: after a
    /// failed send the change may be the cure.
    pub fn refresh(&self, now: bool) {
        {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            if !now && files.looked.elapsed() < LOOK_EVERY {
                return;
            }
            files.looked = Instant::now();
            // Stamped before reading: a change between the two is seen again at the next look, never missed.
            let stamps = stamps(&self.config);
            if stamps == files.stamps {
                return;
            }
            files.stamps = stamps;
        }
        match self.rebuild() {
            Ok(()) => info!("certificates or headers for {} changed: connecting anew", self.config.endpoint),
            Err(e) => {
                warn!(
                    "certificates or headers for {} changed, but {e}; the old ones stay in use",
                    self.config.endpoint
                );
            }
        }
    }

    /// Reads every file again and connects anew.
    ///
    /// # Errors
    /// What is wrong with them; the old link stays in use.
    pub fn reload(&self) -> Result<(), ExportError> {
        let stamps = stamps(&self.config);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).stamps = stamps;
        self.rebuild()
    }

    /// Connects anew with what the files said last: for a connection that seems dead.
    pub fn replace(&self) {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        // What built once builds again; if the system's roots went missing meanwhile, the old connection has to do.
        if let Ok(link) = build(&self.config, &good, &self.runtime) {
            self.swap(link);
        }
    }

    fn rebuild(&self) -> Result<(), ExportError> {
        let parts = Parts::load(&self.config)?;
        let link = build(&self.config, &parts, &self.runtime)?;
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) = parts;
        self.swap(link);
        Ok(())
    }

    fn swap(&self, link: Link) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(link);
    }
}

/// Builds one link that nothing watches.
///
/// # Errors
/// What is wrong with the endpoint, the headers or the certificates.
pub(crate) fn once(config: &OtlpConfig, runtime: &Handle) -> Result<Link, ExportError> {
    build(config, &Parts::load(config)?, runtime)
}

fn build(config: &OtlpConfig, parts: &Parts, runtime: &Handle) -> Result<Link, ExportError> {
    // The channel spawns its worker where it is built.
    let _inside = runtime.enter();
    let headers = parts.headers.clone();
    let secrets = secrets(&headers);
    let secure = config.endpoint.starts_with("https:");
    let last_tls_error = LastTlsError::new(secure.then(|| parts.tls.has_identity()));
    let (live, sender) = match config.protocol {
        Protocol::Grpc => {
            let channel = channel::build(config, &parts.tls, last_tls_error.clone())?;
            let live = otlp::grpc(config, channel.clone(), &headers)?;
            (live, Sender::grpc(channel, headers, config.gzip))
        }
        Protocol::HttpProtobuf => {
            let sender = Arc::new(HttpSender::build(config, &parts.tls, headers, last_tls_error.clone())?);
            (otlp::http(config, sender.clone())?, Sender::Http(sender))
        }
    };
    Ok(Link { live, sender, secrets, last_tls_error })
}

/// The values to keep out of the log, longest first; of `Bearer xyz` the `xyz` alone as well.
fn secrets(headers: &HeaderMap) -> Vec<String> {
    /// Shorter values are words like `1` or `edge` that would tear holes into any message.
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
