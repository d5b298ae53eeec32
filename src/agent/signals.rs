//! Signal handling.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::warn;

/// Signals within this time count as one: process managers repeat signals, and a terminal may send one to a whole
/// group.
const REPEATED_WITHIN: Duration = Duration::from_secs(2);

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

/// Completes at a SIGTERM or SIGINT at least `REPEATED_WITHIN` from now.
pub async fn terminate_again() {
    let first = Instant::now();
    loop {
        terminate().await;
        if first.elapsed() >= REPEATED_WITHIN {
            return;
        }
    }
}

/// Calls `act` at each SIGHUP until the runtime ends, on a thread of its own, because it may block. Signals during a
/// call count as one.
///
/// # Errors
/// The handler cannot be installed. Must be called inside a runtime.
pub fn on_hangup(act: impl Fn() + Send + Sync + 'static) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let (mut hangup, act) = (signal(SignalKind::hangup())?, Arc::new(act));
    Ok(async move {
        while hangup.recv().await.is_some() {
            let act = Arc::clone(&act);
            let (end, ended) = oneshot::channel::<()>();
            let call = move || {
                act();
                drop(end);
            };
            match thread::Builder::new().name("hangup".to_owned()).spawn(call) {
                Ok(_) => drop(ended.await),
                Err(error) => warn!("SIGHUP: cannot start a thread for the reload ({error})"),
            }
        }
    })
}
