//! The signals that steer the program.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

/// Ready at the first SIGTERM or SIGINT. The second one ends the process at once.
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
    tokio::spawn(async move {
        either(&mut term, &mut int).await;
        std::process::exit(1);
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
