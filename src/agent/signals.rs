//! The signals that steer the program.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

/// Process managers repeat a signal, and a terminal may send one to a whole group: a second one within this time is the
/// first one once more.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// Ready at a SIGTERM or SIGINT.
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

/// Ready at a SIGTERM or SIGINT that comes `IMPATIENCE` after now or later.
pub async fn terminate_again() {
    let first = Instant::now();
    loop {
        terminate().await;
        if first.elapsed() >= IMPATIENCE {
            return;
        }
    }
}

/// Calls `act` at each SIGHUP, until the runtime ends.
///
/// # Errors
/// When the handler cannot be installed. Must be called inside a runtime.
pub fn on_hangup(act: impl Fn() + Send + 'static) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            act();
        }
    })
}
