//! Log lines about delivery, and how rarely they are written.
//!
//! WARN: something is wrong, nothing is lost yet. ERROR: something is lost, and how much. INFO: it is over. One line when
//! an outage begins, a reminder after a minute and then every ten, one line when it ends. The sender owns this: nobody
//! else logs about delivery, except the worker about its directory.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::account::{DropReason, Snapshot, Tally};
use crate::export::reason::quote;
use crate::export::verdict::Accepted;

const FIRST_REMINDER: Duration = Duration::from_secs(60);
const NEXT_REMINDER: Duration = Duration::from_secs(600);
/// A disk that is slow for a moment is no news.
const DISK_HANGS_AFTER: Duration = Duration::from_secs(5);

pub(crate) struct Status {
    endpoint: String,
    outage: Option<Outage>,
    /// Sent since the outage began.
    replayed: Tally,
    refused: Rarely,
    refused_logged: Tally,
    /// The reason of the last refusal.
    refusal: String,
    partial: Rarely,
    lost: Rarely,
    /// Losses (without refusals) that were logged.
    lost_logged: Tally,
    /// Losses when no batch waited last.
    lost_before: Tally,
    disk: Rarely,
    disk_hangs: bool,
}

struct Outage {
    began: Instant,
    logged: Instant,
    pause: Duration,
    words: String,
}

/// A line that may be repeated after a while.
#[derive(Default)]
struct Rarely(Option<(Instant, Duration)>);

impl Rarely {
    fn may(&mut self, now: Instant) -> bool {
        match self.0 {
            Some((logged, pause)) if now.duration_since(logged) < pause => false,
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

impl Status {
    pub fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.into(),
            outage: None,
            replayed: Tally::default(),
            refused: Rarely::default(),
            refused_logged: Tally::default(),
            refusal: String::new(),
            partial: Rarely::default(),
            lost: Rarely::default(),
            lost_logged: Tally::default(),
            lost_before: Tally::default(),
            disk: Rarely::default(),
            disk_hangs: false,
        }
    }

    /// A request failed and its batches are kept.
    pub fn failed(&mut self, words: &str, account: &Snapshot, now: Instant) {
        let lost = losses(account).without(self.lost_before);
        let endpoint = &self.endpoint;
        let Some(outage) = &mut self.outage else {
            warn!("cannot deliver to {endpoint}: {words}; batches wait in the outbox and are sent later");
            self.outage = Some(Outage { began: now, logged: now, pause: FIRST_REMINDER, words: words.into() });
            return;
        };
        let quiet = now.duration_since(outage.logged);
        // A new reason is news: the operator may just have mended the old one.
        let news = outage.words != words && quiet >= FIRST_REMINDER;
        if quiet < outage.pause && !news {
            return;
        }
        outage.logged = now;
        outage.pause = NEXT_REMINDER;
        outage.words = words.into();
        let since = span(now.duration_since(outage.began));
        let waiting = format!(
            "{} ({} bytes) wait, the oldest for {}",
            batches(account.outbox_batches),
            account.outbox_bytes,
            span(account.outbox_oldest.unwrap_or_default())
        );
        if lost.batches == 0 {
            warn!("still cannot deliver to {endpoint} after {since}: {words}; {waiting}, nothing is lost");
        } else {
            error!("still cannot deliver to {endpoint} after {since}: {words}; {waiting}, {} lost", shown(lost));
        }
    }

    /// A request was accepted. The outage is over when nothing of it waits any more.
    pub fn delivered(&mut self, sent: Tally, answer: &Accepted, account: &Snapshot, now: Instant) {
        self.partial(answer, account, now);
        if self.outage.is_some() {
            self.replayed = self.replayed.and(sent);
        }
        if account.outbox_batches == 0 {
            self.emptied(account, now);
        }
    }

    /// Nothing waits: the outage, if there was one, is over.
    pub fn emptied(&mut self, account: &Snapshot, now: Instant) {
        let replayed = std::mem::take(&mut self.replayed);
        let losses = losses(account);
        let lost = losses.without(std::mem::replace(&mut self.lost_before, losses));
        let Some(outage) = self.outage.take() else { return };
        self.lost.reset();
        self.lost_logged = losses;
        let after = span(now.duration_since(outage.began));
        let lost = if lost.batches == 0 { "none lost".into() } else { format!("{} lost", shown(lost)) };
        if replayed.batches > 0 {
            info!("delivering to {} again after {after}: {} replayed, {lost}", self.endpoint, shown(replayed));
        } else {
            // All of it was rejected or grew too old; each has its own line.
            info!("no batch waits for {} any more after {after}: none replayed, {lost}", self.endpoint);
        }
    }

    /// The outbox dropped batches, perhaps: logged where the counts grew. At the end (`last`) however short ago the last
    /// line was.
    pub fn lost(&mut self, account: &Snapshot, oversize: u64, now: Instant, last: bool) {
        let losses = losses(account);
        let grown = losses.without(self.lost_logged);
        if (grown.batches > 0 || grown.points > 0) && (last || self.lost.may(now)) {
            self.lost_logged = losses;
            let count = |reason| account.dropped.get(reason).batches;
            let reasons = [
                (count(DropReason::Size).saturating_sub(oversize), "the outbox was full"),
                (oversize, "larger than --outbox-max-size"),
                (count(DropReason::Age), "older than --outbox-max-age"),
                (count(DropReason::Corrupt), "damaged on disk"),
                (count(DropReason::Io), "not taken by the disk"),
            ];
            let reasons: Vec<_> =
                reasons.iter().filter(|(n, _)| *n > 0).map(|(n, words)| format!("{n} {words}")).collect();
            error!("{} for {} lost; since start: {}", shown(grown), self.endpoint, reasons.join(", "));
        }
        if last && account.dropped.get(DropReason::Refused) != self.refused_logged {
            self.log_refused(account);
        }
    }

    /// The server rejected batches permanently.
    pub fn refused(&mut self, words: &str, account: &Snapshot, now: Instant) {
        self.refusal = words.into();
        if self.refused.may(now) {
            self.log_refused(account);
        }
    }

    fn log_refused(&mut self, account: &Snapshot) {
        self.refused_logged = account.dropped.get(DropReason::Refused);
        let total = shown(self.refused_logged);
        error!("{} permanently rejected data: {}; {total} dropped since start", self.endpoint, self.refusal);
    }

    fn partial(&mut self, answer: &Accepted, account: &Snapshot, now: Instant) {
        if (answer.rejected == 0 && answer.message.is_empty()) || !self.partial.may(now) {
            return;
        }
        let (endpoint, words) = (&self.endpoint, quote(&answer.message));
        match account.rejected_points {
            0 => warn!("{endpoint} accepted all data with a warning: {words}"),
            points => {
                error!("{endpoint} rejected part of accepted requests: {words}; {points} data points since start")
            }
        }
    }

    /// The sender reduces the size of its requests.
    pub fn smaller(&self, words: &str, from: usize, to: usize) {
        info!("{} did not take a request of {from} bytes ({words}); sending requests of at most {to}", self.endpoint);
    }

    /// The operation that the disk is busy with began at `busy`.
    pub fn disk(&mut self, busy: Option<Instant>, now: Instant) {
        let hangs = busy.is_some_and(|since| now.saturating_duration_since(since) >= DISK_HANGS_AFTER);
        if hangs && !self.disk_hangs && self.disk.may(now) {
            self.disk_hangs = true;
            warn!("the outbox directory does not answer; batches for {} wait in memory until it does", self.endpoint);
        } else if busy.is_none() && std::mem::take(&mut self.disk_hangs) {
            info!("the outbox directory answers again; batches for {} are written to it", self.endpoint);
        }
    }

    /// Delivery ends.
    pub fn closed(&self, lost: Tally, account: &Snapshot, on_disk: bool) {
        log_lost_at_end(&self.endpoint, lost, on_disk);
        let kept = account.outbox_batches.saturating_sub(lost.batches);
        if kept > 0 {
            info!("the outbox on disk keeps {} for the next start", batches(kept));
        }
    }
}

/// Everything lost but refusals and what the opening of the directory found: both have their own lines.
fn losses(account: &Snapshot) -> Tally {
    account.dropped.without_refused().without(account.found_lost)
}

/// The last line about batches that have no place to wait in.
pub(super) fn log_lost_at_end(endpoint: &str, lost: Tally, on_disk: bool) {
    if lost.batches > 0 {
        let why = match on_disk {
            true => "the outbox directory did not take them",
            false => "the outbox is in memory (--outbox-dir keeps them)",
        };
        error!("{} could not be delivered to {endpoint} and are lost: {why}", shown(lost));
    }
}

/// A number of batches, in words.
pub(super) fn batches(n: u64) -> String {
    if n == 1 { "1 batch".into() } else { format!("{n} batches") }
}

fn shown(tally: Tally) -> String {
    format!("{} ({} data points)", batches(tally.batches), tally.points)
}

/// A duration in whole seconds, as people write it.
fn span(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
