//! The background task: from the store to the server, oldest first.
//!
//! Several batches travel in one request, since their encodings in a row are one valid request. A batch leaves the store
//! only after the server's answer: what a crash interrupts is sent again. When a request is refused for good, its batches
//! are sent one by one, so that only the bad one is lost. What is doubtful is tried alone a few times. Everything else is
//! kept and tried again, after a wait with full jitter, until the store's own bounds drop it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::backoff::Backoff;
use super::shared::Shared;
use super::{Batch, Moment, Tally};
use crate::export::sender::Accepted;
use crate::export::verdict::{Failure, Verdict};

/// After this many unanswered requests in a row the connection is replaced: one that was cut silently would else cost up
/// to two minutes after the network is back.
const TIMEOUTS_UNTIL_RECONNECT: u32 = 3;

/// How often a batch that the server stumbles over is tried alone.
const DOUBTFUL_TRIES: u32 = 5;

/// How often a store is asked again that holds batches and cannot read them just now.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(5);

/// Runs until the process stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let ended = async {
        shared.stopped().await;
        tokio::time::sleep(shared.budget_left()).await;
    };
    let mut drain = Drain::new(&shared);
    tokio::select! {
        () = drain.forever() => {}
        () = ended => {}
    }
    shared.report_drained();
}

struct Drain<'a> {
    shared: &'a Shared,
    backoff: Backoff,
    /// Unanswered requests in a row.
    timeouts: u32,
    /// Batches up to this one are sent one by one.
    alone_until: Option<u64>,
    /// The batch that is in doubt and how often it was tried alone.
    doubt: (u64, u32),
    /// When a store that could not be read is asked again.
    ask_at: Option<Instant>,
}

/// What the loop does next.
enum Next {
    /// Send what is oldest now.
    Go,
    /// The same, after a wait: a failure, perhaps with the server's wish.
    Wait(Option<Duration>),
    /// The store holds nothing that can be sent.
    Idle,
}

impl<'a> Drain<'a> {
    fn new(shared: &'a Shared) -> Self {
        let tuning = &shared.tuning;
        let backoff = Backoff::new(tuning.backoff_base, tuning.backoff_cap).with_jitter(tuning.backoff_jitter);
        Self { shared, backoff, timeouts: 0, alone_until: None, doubt: (0, 0), ask_at: None }
    }

    /// Returns only when the process ends and nothing is left to try.
    async fn forever(&mut self) {
        let shared = self.shared;
        let waiting = Shared::waiting(&**shared.store());
        if waiting.batches > 0 {
            shared.status.resumed(waiting);
            self.pause(shared.tuning.resume_within.mul_f64(fastrand::f64())).await;
        }
        loop {
            if shared.live_failed.swap(false, Ordering::Relaxed) {
                let wait = self.backoff.next(None);
                self.pause(wait).await;
            }
            match self.step().await {
                Next::Go => {}
                Next::Idle => {
                    if *shared.closing.borrow() {
                        return;
                    }
                    self.idle().await;
                }
                Next::Wait(asked) => {
                    if shared.stopping() {
                        // One failure after the stop signal is enough: what waits now stays where it is.
                        let mut closing = shared.closing.subscribe();
                        drop(closing.wait_for(|closing| *closing).await);
                        return;
                    }
                    let wait = self.backoff.next(asked);
                    self.pause(wait).await;
                    if shared.stopping() && asked.is_some() {
                        // The server asked for quiet: the end of this process is no reason to break it.
                        return;
                    }
                }
            }
        }
    }

    /// Waits for a batch, or for a store that cannot be read to get better.
    async fn idle(&mut self) {
        let unreadable = !self.shared.store().is_empty();
        let now = Instant::now();
        // A batch that comes meanwhile does not put it off.
        let ask_at = self.ask_at.filter(|_| unreadable).unwrap_or(now + UNREADABLE_PAUSE);
        self.ask_at = unreadable.then_some(ask_at);
        let again = async {
            if unreadable {
                tokio::time::sleep(ask_at.saturating_duration_since(now)).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.shared.pushed.notified() => {}
            () = again => self.ask_at = None,
        }
    }

    /// Waits, but not beyond the stop signal.
    async fn pause(&self, wait: Duration) {
        if self.shared.stopping() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.shared.stopped() => {}
        }
    }

    /// Sends one request of the oldest batches.
    async fn step(&mut self) -> Next {
        let batches = self.take();
        let Some(last) = batches.last().map(|batch| batch.seq) else {
            return Next::Idle;
        };
        self.ask_at = None;
        let config = self.shared.links.config();
        self.shared.links.refresh(false);
        let link = self.shared.links.current();
        let began = Instant::now();
        let answer = match tokio::time::timeout(config.timeout, link.send(join(&batches))).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::timeout(config.timeout)),
        };
        match answer {
            Ok(accepted) => {
                self.delivered(&batches, &accepted, began.elapsed());
                Next::Go
            }
            Err(failure) => self.failed(&batches, last, &failure),
        }
    }

    /// The oldest batches, as many as may travel together.
    fn take(&self) -> Vec<Batch> {
        let mut store = self.shared.store();
        let mut batches = store.peek(self.shared.tuning.request_bytes, Moment::now());
        let alone = match (self.alone_until, batches.first()) {
            (Some(until), Some(first)) => first.seq <= until,
            _ => false,
        };
        if alone {
            batches.truncate(1);
        }
        // Looking drops what is too old or damaged.
        self.shared.stats.store_changed(&**store);
        let (dropped, empty) = (store.dropped(), store.is_empty());
        drop(store);
        self.shared.status.lost(&dropped, Instant::now());
        if empty {
            self.shared.status.emptied(&dropped, Instant::now());
        }
        batches
    }

    fn delivered(&mut self, batches: &[Batch], accepted: &Accepted, took: Duration) {
        let shared = self.shared;
        self.backoff.reset();
        self.timeouts = 0;
        if took < shared.live_deadline {
            shared.through_store.store(false, Ordering::Relaxed);
        }
        let sent = tally(batches);
        let mut store = shared.store();
        store.remove(&seqs(batches));
        shared.stats.delivered(sent.batches, sent.points, accepted.rejected, true);
        shared.stats.store_changed(&**store);
        let (left, dropped) = (store.len(), store.dropped());
        drop(store);
        let now = Instant::now();
        shared.status.partial(accepted, now);
        shared.status.replayed(sent, left, &dropped, now);
    }

    fn failed(&mut self, batches: &[Batch], last: u64, failure: &Failure) -> Next {
        let shared = self.shared;
        shared.stats.failed();
        if failure.timed_out {
            self.timeouts += 1;
            if self.timeouts >= TIMEOUTS_UNTIL_RECONNECT {
                self.timeouts = 0;
                tracing::debug!("{TIMEOUTS_UNTIL_RECONNECT} requests in a row without an answer: connecting anew");
                shared.links.replace();
            }
        } else {
            self.timeouts = 0;
        }
        if batches.len() > 1 && matches!(failure.verdict, Verdict::Doubt | Verdict::Drop) {
            self.alone_until = Some(last);
            return Next::Go;
        }
        match failure.verdict {
            Verdict::Drop => self.refused(batches, failure),
            Verdict::Doubt => {
                let tries = if self.doubt.0 == last { self.doubt.1 + 1 } else { 1 };
                self.doubt = (last, tries);
                if tries >= DOUBTFUL_TRIES { self.refused(batches, failure) } else { self.kept(failure, None) }
            }
            Verdict::Keep(asked) => self.kept(failure, asked),
        }
    }

    fn kept(&self, failure: &Failure, asked: Option<Duration>) -> Next {
        let shared = self.shared;
        let waiting = Shared::waiting(&**shared.store());
        shared.status.failed(&failure.words, waiting, Instant::now());
        // A certificate or a token that was replaced meanwhile may be the cure.
        shared.links.refresh(true);
        Next::Wait(asked)
    }

    fn refused(&mut self, batches: &[Batch], failure: &Failure) -> Next {
        let shared = self.shared;
        self.backoff.reset();
        let mut store = shared.store();
        store.refuse(&seqs(batches));
        shared.stats.store_changed(&**store);
        drop(store);
        shared.status.refused(&failure.words, tally(batches), Instant::now());
        Next::Go
    }
}

fn seqs(batches: &[Batch]) -> Vec<u64> {
    batches.iter().map(|batch| batch.seq).collect()
}

fn tally(batches: &[Batch]) -> Tally {
    let mut tally = Tally::default();
    for batch in batches {
        tally.add(batch.points);
    }
    tally
}

fn join(batches: &[Batch]) -> Bytes {
    if let [only] = batches {
        return only.payload.clone();
    }
    let mut joined = BytesMut::with_capacity(batches.iter().map(|batch| batch.payload.len()).sum());
    for batch in batches {
        joined.extend_from_slice(&batch.payload);
    }
    joined.freeze()
}
