//! Signal handling.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

/// Signals within this time count as one: process managers repeat signals, and a terminal may send one to a whole
/// group.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// Completes at a SIGTERM or SIGINT.
pub async fn terminate() {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut term), Ok(mut int)) => tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        },
        (Err(error), _) | (_, Err(error)) => {
            warn!(
                "SIGTERM and SIGINT cannot be handled ({error}): they will end the program without a last collection"
            );
            std::future::pending().await
        }
    }
}

/// Completes at a SIGTERM or SIGINT at least `IMPATIENCE` from now.
pub async fn terminate_again() {
    let first = Instant::now();
    loop {
        terminate().await;
        if first.elapsed() >= IMPATIENCE {
            return;
        }
    }
}

/// Calls `act` at each SIGHUP until the runtime ends.
///
/// # Errors
/// The handler cannot be installed. Must be called inside a runtime.
pub fn on_hangup(act: impl Fn() + Send + 'static) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            act();
        }
    })
}
