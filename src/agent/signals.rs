//! The signals that steer the program.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, warn};

/// Process managers repeat a signal, and a terminal may send one to a whole group: a second one within this time is the
/// first one once more.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// Ready at the first SIGTERM or SIGINT. One that comes `IMPATIENCE` later or more ends the process at once.
pub async fn terminate() {
    let (mut term, mut int) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(term), Ok(int)) => (term, int),
        (Err(error), _) | (_, Err(error)) => {
            warn!(
                "SIGTERM and SIGINT cannot be handled ({error}): they will end the program without a last collection"
            );
            return std::future::pending().await;
        }
    };
    either(&mut term, &mut int).await;
    let first = Instant::now();
    tokio::spawn(async move {
        loop {
            either(&mut term, &mut int).await;
            if first.elapsed() >= IMPATIENCE {
                error!("second signal: exiting at once; batches that are not on disk are lost");
                std::process::exit(1);
            }
        }
    });
}

async fn either(term: &mut tokio::signal::unix::Signal, int: &mut tokio::signal::unix::Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
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
