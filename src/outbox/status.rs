//! What the log says about delivery, and how rarely.
//!
//! WARN: something is wrong, nothing is lost yet. ERROR: something is lost, and how much. INFO: it is over. One line when
//! an outage begins, a reminder after a minute and then every ten, one line when it ends.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::{DropCounts, DropReason, Tally};
use crate::export::reason::quote;
use crate::export::sender::Accepted;

const FIRST_REMINDER: Duration = Duration::from_secs(60);
const NEXT_REMINDER: Duration = Duration::from_secs(600);

pub(crate) struct Status {
    endpoint: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outage: Option<Outage>,
    /// Sent from the outbox since it was last empty.
    replayed: Tally,
    refused: Rarely,
    /// Refused for good since the start, the words of the last refusal, and how much of it was told.
    refusals: (Tally, String),
    refusals_told: Tally,
    partial: Rarely,
    lost: Rarely,
    /// Losses (without refusals) that were told.
    told: Tally,
    /// Losses when the outbox was last empty: a full outbox may drop before the first failure of an outage is told.
    lost_before: Tally,
    rejected: u64,
}

struct Outage {
    began: Instant,
    spoke: Instant,
    pause: Duration,
    words: String,
}

/// A line that may be repeated after a while.
#[derive(Default)]
struct Rarely(Option<(Instant, Duration)>);

impl Rarely {
    fn may(&mut self, now: Instant) -> bool {
        match self.0 {
            Some((spoke, pause)) if now.duration_since(spoke) < pause => false,
            before => {
                self.0 = Some((now, if before.is_some() { NEXT_REMINDER } else { FIRST_REMINDER }));
                true
            }
        }
    }

    fn reset(&mut self) {
        self.0 = None;
    }
}

/// What waits while delivery fails.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    pub batches: usize,
    pub bytes: u64,
    pub oldest: Duration,
    pub dropped: DropCounts,
}

impl Status {
    /// `dropped`: what opening the outbox found lost, and told.
    pub fn new(endpoint: &str, dropped: &DropCounts) -> Self {
        let lost = losses(dropped);
        let state = State { told: lost, lost_before: lost, ..State::default() };
        Self { endpoint: endpoint.into(), state: Mutex::new(state) }
    }

    /// Batches of an earlier run were found.
    pub fn resumed(&self, waiting: Waiting) {
        info!(
            "{} from an earlier run wait in the outbox, the oldest for {}: sending them first",
            batches(waiting.batches as u64),
            span(waiting.oldest)
        );
    }

    /// A send failed and its batches are kept.
    pub fn failed(&self, words: &str, waiting: Waiting, now: Instant) {
        let mut state = self.lock();
        let lost = minus(losses(&waiting.dropped), state.lost_before);
        let Some(outage) = &mut state.outage else {
            warn!("cannot deliver to {}: {words}; batches wait in the outbox and are sent later", self.endpoint);
            state.outage = Some(Outage { began: now, spoke: now, pause: FIRST_REMINDER, words: words.into() });
            return;
        };
        let quiet = now.duration_since(outage.spoke);
        // A new reason is news: the operator may just have mended the old one.
        let news = outage.words != words && quiet >= FIRST_REMINDER;
        if quiet < outage.pause && !news {
            return;
        }
        outage.spoke = now;
        outage.pause = NEXT_REMINDER;
        outage.words = words.into();
        let since = span(now.duration_since(outage.began));
        let held = format!(
            "{} ({} bytes) wait, the oldest for {}",
            batches(waiting.batches as u64),
            waiting.bytes,
            span(waiting.oldest)
        );
        if lost.batches == 0 {
            warn!("still cannot deliver to {} after {since}: {words}; {held}, nothing is lost", self.endpoint);
        } else {
            error!("still cannot deliver to {} after {since}: {words}; {held}, {} lost", self.endpoint, told(lost));
        }
    }

    /// Stored batches were delivered; `left` more wait.
    pub fn replayed(&self, sent: Tally, left: usize, dropped: &DropCounts, now: Instant) {
        let mut state = self.lock();
        state.replayed =
            Tally { batches: state.replayed.batches + sent.batches, points: state.replayed.points + sent.points };
        if left == 0 {
            self.end(&mut state, dropped, now);
        }
    }

    /// The outbox is empty: the outage, if there was one, is over.
    pub fn emptied(&self, dropped: &DropCounts, now: Instant) {
        self.end(&mut self.lock(), dropped, now);
    }

    fn end(&self, state: &mut State, dropped: &DropCounts, now: Instant) {
        let replayed = std::mem::take(&mut state.replayed);
        let lost = minus(losses(dropped), state.lost_before);
        state.lost_before = losses(dropped);
        let Some(outage) = state.outage.take() else {
            return;
        };
        state.lost.reset();
        state.told = losses(dropped);
        let after = span(now.duration_since(outage.began));
        let lost = if lost.batches == 0 { "none".into() } else { told(lost) };
        if replayed.batches > 0 {
            info!("delivering to {} again after {after}: {} replayed, {lost} lost", self.endpoint, told(replayed));
        } else {
            // All of it was refused or grew too old; each has its own line.
            info!("nothing waits for {} any more after {after}: none replayed, {lost} lost", self.endpoint);
        }
    }

    /// The store dropped batches, perhaps: says so where the counts grew.
    pub fn lost(&self, dropped: &DropCounts, now: Instant) {
        let mut state = self.lock();
        if losses(dropped).batches > state.told.batches && state.lost.may(now) {
            self.tell_lost(&mut state, dropped);
        }
    }

    /// The agent ends: what was lost and not told yet is told now, however short ago the last line was.
    pub fn last_word(&self, dropped: &DropCounts) {
        let mut state = self.lock();
        if losses(dropped).batches > state.told.batches {
            self.tell_lost(&mut state, dropped);
        }
        if state.refusals.0 != state.refusals_told {
            self.tell_refused(&mut state);
        }
    }

    fn tell_lost(&self, state: &mut State, dropped: &DropCounts) {
        let lost = minus(losses(dropped), state.told);
        state.told = losses(dropped);
        let mut reasons = Vec::new();
        for (reason, words) in [
            (DropReason::Size, "the outbox was full"),
            (DropReason::Age, "too old"),
            (DropReason::Corrupt, "damaged on disk"),
            (DropReason::Io, "the disk refused them"),
        ] {
            let tally = dropped.get(reason);
            if tally.batches > 0 {
                reasons.push(format!("{} {words}", tally.batches));
            }
        }
        error!("{} for {} lost from the outbox; since the start: {}", told(lost), self.endpoint, reasons.join(", "));
    }

    /// The server refused batches for good.
    pub fn refused(&self, words: &str, refused: Tally, now: Instant) {
        let mut state = self.lock();
        // Counted here: a disk that hangs has not counted them yet.
        let total = &mut state.refusals.0;
        *total = Tally { batches: total.batches + refused.batches, points: total.points + refused.points };
        state.refusals.1 = words.into();
        if state.refused.may(now) {
            self.tell_refused(&mut state);
        }
    }

    fn tell_refused(&self, state: &mut State) {
        state.refusals_told = state.refusals.0;
        let (total, words) = &state.refusals;
        error!("{} refuses data for good, it is dropped: {words}; {} since the start", self.endpoint, told(*total));
    }

    /// The server took a request; says so where it turned part of it down, or has a warning.
    pub fn partial(&self, accepted: &Accepted, now: Instant) {
        if accepted.rejected == 0 && accepted.message.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.rejected += accepted.rejected;
        if !state.partial.may(now) {
            return;
        }
        let words = quote(&accepted.message);
        if state.rejected > 0 {
            error!(
                "{} turned down {} data points of accepted requests since the start: {words}",
                self.endpoint, state.rejected
            );
        } else {
            warn!("{} says: {words}", self.endpoint);
        }
    }

    /// The agent ends.
    pub fn closed(&self, lost: Tally, waiting: usize, on_disk: bool) {
        if lost.batches > 0 {
            let why = if on_disk {
                "the outbox directory did not take them"
            } else {
                "the outbox is in memory (--outbox-dir keeps them)"
            };
            error!("{} could not be delivered to {} and are lost: {why}", told(lost), self.endpoint);
        }
        let kept = (waiting as u64).saturating_sub(lost.batches);
        if kept > 0 {
            info!("the outbox on disk keeps {} for the next start", batches(kept));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything lost but refusals, which have their own line.
fn losses(dropped: &DropCounts) -> Tally {
    minus(dropped.total(), dropped.get(DropReason::Refused))
}

fn minus(a: Tally, b: Tally) -> Tally {
    Tally { batches: a.batches.saturating_sub(b.batches), points: a.points.saturating_sub(b.points) }
}

/// A number of batches, in words.
pub(super) fn batches(n: u64) -> String {
    if n == 1 { "1 batch".into() } else { format!("{n} batches") }
}

fn told(tally: Tally) -> String {
    format!("{} ({} data points)", batches(tally.batches), tally.points)
}

/// A duration in whole seconds, as people write it.
fn span(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
