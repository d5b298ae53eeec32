//! Log lines about delivery and their rate limits.
//!
//! WARN: there is a problem, but no data is lost. ERROR: data is lost, with the amount. INFO: normal operation, or a
//! problem is over. An outage is logged when it begins, after one minute, then every ten minutes, and when it ends. The
//! sender owns this state; only the worker logs too, about its directory. All numbers come from the account, and a line
//! is due when one of them has grown.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::account::{DropReason, Snapshot, Tally};
use crate::export::reason::quote;

const FIRST_REMINDER: Duration = Duration::from_secs(60);
const NEXT_REMINDER: Duration = Duration::from_secs(600);
/// Shorter disk delays are not logged.
const DISK_HANGS_AFTER: Duration = Duration::from_secs(5);

pub(crate) struct Status {
    endpoint: String,
    outage: Option<Outage>,
    /// The reason of the last rejection.
    pub refusal: String,
    /// Rejections, rejected data points and losses that were logged.
    refused: (Tally, RateLimit),
    rejected: RateLimit,
    lost: (Tally, RateLimit),
    /// Losses at the time when the queue was last empty.
    lost_before: Tally,
    disk: RateLimit,
    disk_hangs: bool,
    /// At least one batch was accepted.
    delivers: bool,
}

struct Outage {
    began: Instant,
    logged: Instant,
    pause: Duration,
    words: String,
    /// The account at the start of the outage.
    before: Snapshot,
}

/// Rate limit of a log line.
#[derive(Default)]
struct RateLimit(Option<(Instant, Duration)>);

impl RateLimit {
    fn may(&mut self, now: Instant) -> bool {
        match self.0 {
            Some((logged, pause)) if now.duration_since(logged) < pause => false,
            before => {
                self.0 = Some((now, if before.is_some() { NEXT_REMINDER } else { FIRST_REMINDER }));
                true
            }
        }
    }
}

impl Status {
    pub fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.into(),
            outage: None,
            refusal: String::new(),
            refused: <_>::default(),
            rejected: RateLimit::default(),
            lost: <_>::default(),
            lost_before: Tally::default(),
            disk: RateLimit::default(),
            disk_hangs: false,
            delivers: false,
        }
    }

    /// Logs a failed request whose batches stay queued.
    pub fn failed(&mut self, words: &str, account: &Snapshot, now: Instant) {
        let endpoint = &self.endpoint;
        let Some(outage) = &mut self.outage else {
            warn!("cannot deliver to {endpoint}: {words}; batches wait in the outbox");
            let (pause, words) = (FIRST_REMINDER, words.into());
            self.outage = Some(Outage { began: now, logged: now, pause, words, before: *account });
            return;
        };
        let quiet = now.duration_since(outage.logged);
        // Log a new reason early: the operator may just have fixed the old one.
        let news = outage.words != words && quiet >= FIRST_REMINDER;
        if quiet < outage.pause && !news {
            return;
        }
        (outage.logged, outage.pause, outage.words) = (now, NEXT_REMINDER, words.into());
        let since = span(now.duration_since(outage.began));
        let (waiting, bytes) = (batches(account.outbox_batches), account.outbox_bytes);
        let oldest = span(account.outbox_oldest.unwrap_or_default());
        let still = format!(
            "still cannot deliver to {endpoint} after {since}: {words}; {waiting} ({bytes} bytes) wait, the oldest for {oldest}"
        );
        match account.silent_losses().without(self.lost_before) {
            lost if lost.batches == 0 => warn!("{still}, nothing is lost"),
            lost => error!("{still}, {} lost", shown(lost)),
        }
    }

    /// Logs changes of the account. With `last` (at shutdown), rate limits do not apply. `busy` is the start of the
    /// current disk operation.
    pub fn log_changes(&mut self, account: &Snapshot, busy: Option<Instant>, now: Instant, last: bool) {
        self.disk(busy, now);
        if account.exported_batches > 0 && !std::mem::replace(&mut self.delivers, true) && self.outage.is_none() {
            info!("{} accepted the first batch ({} data points)", self.endpoint, account.exported_points);
        }
        let (losses, refused) = (account.silent_losses(), account.dropped.get(DropReason::Refused));
        if losses != self.lost.0 && (self.lost.1.may(now) || last) {
            let grown = losses.without(std::mem::replace(&mut self.lost.0, losses));
            error!("{} for {} lost; since start: {}", shown(grown), self.endpoint, reasons(account));
        }
        if refused != self.refused.0 && (self.refused.1.may(now) || last) {
            self.refused.0 = refused;
            let (endpoint, why) = (&self.endpoint, &self.refusal);
            error!("{endpoint} permanently rejected data: {why}; {} dropped since start", shown(refused));
        }
        if account.outbox_batches == 0 {
            self.emptied(account, losses, now);
        }
    }

    /// Logs the end of an outage when the queue is empty.
    fn emptied(&mut self, account: &Snapshot, losses: Tally, now: Instant) {
        let lost = losses.without(std::mem::replace(&mut self.lost_before, losses));
        let Some(Outage { began, before, .. }) = self.outage.take() else { return };
        self.lost = (losses, RateLimit::default());
        let (endpoint, after) = (&self.endpoint, span(now.duration_since(began)));
        let replayed = account.taken().without(before.taken());
        let lost = if lost.batches == 0 { "none lost".into() } else { format!("{} lost", shown(lost)) };
        if replayed.batches > 0 {
            info!("delivering to {endpoint} again after {after}: {} replayed, {lost}", shown(replayed));
        } else {
            // Every batch was rejected or expired; those have their own log lines.
            info!("no batch waits for {endpoint} any more after {after}: none replayed, {lost}");
        }
    }

    /// Logs a partial success: a `message`, rejected data points, or both.
    pub fn partial(&mut self, rejected: u64, message: &str, account: &Snapshot, now: Instant) {
        if (rejected == 0 && message.is_empty()) || !self.rejected.may(now) {
            return;
        }
        let (endpoint, words) = (&self.endpoint, quote(message));
        match account.rejected_points {
            0 => warn!("{endpoint} accepted all data with a warning: {words}"),
            points => {
                error!("{endpoint} rejected part of accepted requests: {words}; {points} data points since start");
            }
        }
    }

    /// Logs that the request size limit was reduced.
    pub fn smaller(&self, words: &str, from: usize, to: usize) {
        info!("{} did not take a request of {from} bytes ({words}); sending requests of at most {to}", self.endpoint);
    }

    fn disk(&mut self, busy: Option<Instant>, now: Instant) {
        let hangs = busy.is_some_and(|since| now.saturating_duration_since(since) >= DISK_HANGS_AFTER);
        if hangs && !self.disk_hangs && self.disk.may(now) {
            self.disk_hangs = true;
            warn!("the outbox directory does not answer; batches for {} wait in memory until it does", self.endpoint);
        } else if busy.is_none() && std::mem::take(&mut self.disk_hangs) {
            info!("the outbox directory answers again; batches for {} are written to it", self.endpoint);
        }
    }

    /// Logs the end of delivery.
    pub fn closed(&self, lost: Tally, account: &Snapshot, on_disk: bool) {
        log_lost_at_end(&self.endpoint, lost, on_disk);
        let kept = account.outbox_batches.saturating_sub(lost.batches);
        if kept > 0 {
            info!("the outbox on disk keeps {} for the next start", batches(kept));
        }
    }
}

/// Logs batches that are lost at the end of delivery.
pub(super) fn log_lost_at_end(endpoint: &str, lost: Tally, on_disk: bool) {
    if lost.batches > 0 {
        let why = match on_disk {
            true => "the outbox directory did not take them",
            false => "the outbox is in memory (--outbox-dir keeps them)",
        };
        error!("{} could not be delivered to {endpoint} and are lost: {why}", shown(lost));
    }
}

fn reasons(account: &Snapshot) -> String {
    const WORDS: [(DropReason, &str); 6] = [
        (DropReason::Size, "the outbox was full"),
        (DropReason::Oversize, "larger than --outbox-max-size"),
        (DropReason::Age, "older than --outbox-max-age"),
        (DropReason::Corrupt, "damaged on disk"),
        (DropReason::Io, "not taken by the disk"),
        (DropReason::Encoding, "not encoded"),
    ];
    let counted = WORDS.map(|(reason, words)| (account.dropped.get(reason).batches, words));
    let some = counted.iter().filter(|(n, _)| *n > 0).map(|(n, words)| format!("{n} {words}"));
    some.collect::<Vec<_>>().join(", ")
}

/// Formats a number of batches.
pub(super) fn batches(n: u64) -> String {
    if n == 1 { "1 batch".into() } else { format!("{n} batches") }
}

fn shown(tally: Tally) -> String {
    format!("{} ({} data points)", batches(tally.batches), tally.points)
}

/// Formats a duration in whole seconds.
fn span(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
