//! Whether the disk takes and gives batches, said when it changes and not more often than is useful.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Moment;

/// A disk that refused is left alone for this long, then twice as long, up to [`RETRY_MAX`]: asking costs the caller a
/// wait each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A disk that works and fails by turns is told of once in this time.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// What is known of the directory's disk.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Present while the disk refuses to be written.
    refusal: Option<Refusal>,
    said_at: Option<Duration>,
    said_unreadable: bool,
}

#[derive(Debug)]
struct Refusal {
    retry_at: Duration,
    wait: Duration,
    said: bool,
}

impl Health {
    /// Whether it is time to write again.
    pub fn may_try(&self, now: &Moment) -> bool {
        self.refusal.as_ref().is_none_or(|refusal| now.up >= refusal.retry_at)
    }

    /// The disk did not take a batch.
    pub fn refused(&mut self, dir: &Path, error: &io::Error, now: &Moment) {
        let (wait, said) = match &self.refusal {
            Some(before) => ((before.wait * 2).min(RETRY_MAX), before.said),
            None => (RETRY_FIRST, self.say_refused(dir, error, now)),
        };
        self.refusal = Some(Refusal { retry_at: now.up + wait, wait, said });
    }

    fn say_refused(&mut self, dir: &Path, error: &io::Error, now: &Moment) -> bool {
        let say = self.said_at.is_none_or(|before| now.up.saturating_sub(before) >= SAY_AGAIN);
        if say {
            self.said_at = Some(now.up);
            tracing::warn!(
                "outbox directory {} refuses new batches ({error}); they wait in memory until it takes them",
                dir.display()
            );
        }
        say
    }

    /// The disk took a batch and all that waited for it, which were `waited` more.
    pub fn works(&mut self, dir: &Path, waited: usize) {
        if self.refusal.take().is_some_and(|refusal| refusal.said) {
            tracing::info!("outbox directory {} takes batches again, {waited} of them from memory", dir.display());
        }
    }

    /// A batch could not be read, and may be readable later. Said once: it is met again at every peek.
    pub fn unreadable(&mut self, dir: &Path, error: &io::Error) {
        if !std::mem::replace(&mut self.said_unreadable, true) {
            tracing::warn!("outbox directory {} cannot be read ({error}); its batches are kept", dir.display());
        }
    }
}

/// Whether the disk answers at all, said likewise.
#[derive(Debug, Default)]
pub(super) struct Silence {
    said_at: Option<Instant>,
    said: bool,
}

impl Silence {
    /// `hangs`: a call is long overdue. `done`: none is left that the disk has not done.
    pub fn look(&mut self, hangs: bool, done: bool, dir: &Path, now: Instant) {
        let again = self.said_at.is_none_or(|before| now.saturating_duration_since(before) >= SAY_AGAIN);
        if hangs && !self.said && again {
            (self.said, self.said_at) = (true, Some(now));
            tracing::warn!("outbox directory {} does not answer; batches wait in memory until it does", dir.display());
        } else if done && std::mem::take(&mut self.said) {
            tracing::info!("outbox directory {} answers again", dir.display());
        }
    }
}
