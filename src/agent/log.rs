//! The program's own log, to standard error.

use std::panic;

use tracing::error;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::collectors::fault;
use crate::config::{Config, LogFormat};

/// Starts logging as configured. A second call has no effect.
pub fn start(config: &Config) {
    // The crates below say little at info, but their debug lines may show requests: only what is asked for by name.
    let filter: Targets = config.log_level.parse().unwrap_or_default();
    let layer = match config.log_format {
        LogFormat::Text => fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false).boxed(),
        LogFormat::Json => {
            fmt::layer().with_writer(std::io::stderr).with_ansi(false).json().flatten_event(true).boxed()
        }
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    hook_panics();
}

/// Makes every panic one line, and one that is caught none: who catches it says what it cost.
pub fn hook_panics() {
    // Never a backtrace: resolving one costs 31 MB of memory for good.
    panic::set_hook(Box::new(|info| {
        if let Some(what) = fault::unguarded(info) {
            error!("a fault in this program: {what}");
        }
    }));
}
