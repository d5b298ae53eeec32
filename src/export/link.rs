//! One configuration's way to the server: the live exporter and the raw sender over one connection, replaced as a whole
//! when a certificate or the headers file changes, on request, or when the connection seems dead.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{info, warn};

use super::http::HttpSender;
use super::otlp::{self, Live};
use super::sender::Sender;
use super::{ExportError, channel, headers, tls};
use crate::config::{OtlpConfig, Protocol};

/// How often, at most, exports look whether a file changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A connection and the two that use it.
pub struct Link {
    /// Straight from the reader.
    pub live: Live,
    /// For stored bytes.
    pub sender: Sender,
}

/// The current [`Link`] and what it was built from.
pub struct Links {
    config: OtlpConfig,
    runtime: Handle,
    current: RwLock<Arc<Link>>,
    files: Mutex<Files>,
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
        let link = build(&config, &runtime)?;
        Ok(Self {
            config,
            runtime,
            current: RwLock::new(Arc::new(link)),
            files: Mutex::new(Files {
                looked: Instant::now(),
                stamps,
            }),
        })
    }

    /// What it is built from.
    pub fn config(&self) -> &OtlpConfig {
        &self.config
    }

    /// The link to use now.
    pub fn current(&self) -> Arc<Link> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
            Ok(()) => info!("certificates or headers changed: connecting anew"),
            Err(e) => warn!("certificates or headers changed, but {e}; the old ones stay in use"),
        }
    }

    /// Reads every file again and connects anew.
    ///
    /// # Errors
    /// What is wrong with them; the old link stays in use.
    pub fn reload(&self) -> Result<(), ExportError> {
        let stamps = stamps(&self.config);
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stamps = stamps;
        self.rebuild()
    }

    fn rebuild(&self) -> Result<(), ExportError> {
        let link = Arc::new(build(&self.config, &self.runtime)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = link;
        Ok(())
    }
}

fn build(config: &OtlpConfig, runtime: &Handle) -> Result<Link, ExportError> {
    // The channel spawns its worker where it is built.
    let _inside = runtime.enter();
    let headers = headers::load(config)?;
    let tls = tls::load(&config.tls)?;
    match config.protocol {
        Protocol::Grpc => {
            let channel = channel::build(config, &tls)?;
            let live = otlp::grpc(config, channel.clone(), &headers)?;
            Ok(Link {
                live,
                sender: Sender::grpc(channel, headers, config.gzip),
            })
        }
        Protocol::HttpProtobuf => {
            let sender = Arc::new(HttpSender::build(config, &tls, headers)?);
            let live = otlp::http(config, sender.clone())?;
            Ok(Link {
                live,
                sender: Sender::Http(sender),
            })
        }
    }
}

fn stamps(config: &OtlpConfig) -> Vec<Stamp> {
    let files: [&Option<PathBuf>; 4] = [
        &config.tls.ca,
        &config.tls.cert,
        &config.tls.key,
        &config.headers_file,
    ];
    files
        .into_iter()
        .flatten()
        .map(|path| stamp(path))
        .collect()
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.ino(), meta.size()))
}
