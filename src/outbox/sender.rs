//! The sender: one task that takes the oldest batches, sends them, and acts on the answer.
//!
//! Several batches can share a request, because concatenated encodings are one valid request. A batch that is larger
//! than the request limit is sent in parts. A batch leaves the queue only after the server's answer, so a crash causes
//! it to be sent again. After a part is accepted, the rest replaces the batch, in the queue and on disk, before the
//! next part is sent. `docs/delivery.md` has the table of answers and consequences.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use super::account::Tally;
use super::backoff::Backoff;
use super::moment::Moment;
use super::queue::Item;
use super::shared::{Directory, Phase, Shared};
use super::status::Status;
use super::tuning::Tuning;
use crate::export::reason::quote;
use crate::export::split::{self, Halves};
use crate::export::verdict::{Accepted, Failure, LARGE_BYTES, Verdict};
use crate::export::wire::Carrier;

/// Reconnect after this many consecutive requests without an answer. A connection that was cut silently would otherwise
/// delay delivery by up to two minutes after the network is back.
const UNANSWERED_UNTIL_RECONNECT: u32 = 3;

/// How often a batch that causes a server error is retried alone.
const DOUBTFUL_TRIES: u32 = 5;

/// Double the request size limit after this many accepted requests.
const GROW_AFTER: u32 = 8;

/// How long a size that the server rejected as too large is not tried again.
const CEILING_HOLDS: Duration = Duration::from_secs(3600);

/// Longest delay after a rejection: a server that rejects everything must not fill the outbox.
const REFUSAL_PAUSE: Duration = Duration::from_secs(2);

/// A batch that has been in flight for this long is saved to disk.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// How long sending waits at the start for a directory that is not open, for example because the previous agent still
/// holds its lock: batches of an earlier run are older and are sent first.
const OPENING_MOST: Duration = Duration::from_secs(30);
/// As [`OPENING_MOST`], during shutdown.
const OPENING_MOST_AT_END: Duration = Duration::from_secs(1);

/// Minimum and maximum time for the worker to save the remaining batches, between the end of sending and the last log
/// line.
const SAVE_LEAST: Duration = Duration::from_millis(400);
const SAVE_MOST: Duration = Duration::from_millis(1_500);
/// Deadline of the last log line, after the stop signal.
const LAST_LINE_AT: Duration = Duration::from_millis(4_400);

pub(super) struct Sender<C> {
    shared: Arc<Shared>,
    carrier: Arc<C>,
    request_timeout: Duration,
    tuning: Tuning,
    status: Status,
    backoff: Backoff,
    /// Request size limit, in bytes before compression.
    limit: usize,
    ceiling: Option<(usize, Instant)>,
    /// Accepted requests since the limit last changed.
    accepted: u32,
    /// Consecutive requests without an answer.
    unanswered: u32,
    /// Batches up to this id are sent one at a time.
    alone_until: Option<i64>,
    /// The batch that causes server errors, and how often it was tried alone.
    doubt: (i64, u32),
}

struct Request {
    pieces: Vec<Bytes>,
    size: usize,
    sent: Tally,
    last: i64,
    /// The part of the batch that does not fit into the request.
    rest: Option<(Bytes, u32)>,
}

/// The next step after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    /// Wait for the backoff delay, or for the delay that the server requested if that is longer.
    Backoff(Option<Duration>),
    /// Wait after a rejection.
    Pace,
}

impl<C: Carrier> Sender<C> {
    pub fn new(shared: Arc<Shared>, carrier: Arc<C>, endpoint: &str, timeout: Duration, tuning: Tuning) -> Self {
        Self {
            shared,
            carrier,
            request_timeout: timeout,
            status: Status::new(endpoint),
            backoff: Backoff::new(tuning.backoff_base, tuning.backoff_cap, tuning.backoff_jitter),
            limit: tuning.request_max_bytes,
            tuning,
            ceiling: None,
            accepted: 0,
            unanswered: 0,
            alone_until: None,
            doubt: (0, 0),
        }
    }

    /// Runs until delivery ends. After an internal error, the request in flight is sent again.
    pub async fn run(mut self) {
        while AssertUnwindSafe(self.send_all()).catch_unwind().await.is_err() {
            tracing::error!("internal error in the sender; the batches are kept and sent again");
            self.shared.lock().queue.kept(&Moment::now());
            self.carrier.replace();
            sleep(self.backoff.next(None)).await;
        }
        self.finish().await;
    }

    async fn wait_for_directory(&mut self) {
        let shared = self.shared.clone();
        let opened = async {
            while shared.lock().directory == Directory::Unusable {
                shared.wake.notified().await;
            }
        };
        tokio::select! {
            () = opened => {}
            () = sleep(OPENING_MOST) => {}
            // A short run may end before its directory is open; its own batches are then sent first.
            () = self.stopped_for(OPENING_MOST_AT_END) => {}
        }
        if shared.lock().queue.entries.front().is_some_and(|entry| entry.saved) {
            self.pause(self.tuning.resume_within.mul_f64(fastrand::f64())).await;
        }
    }

    /// Returns at shutdown when there is nothing left to try.
    async fn send_all(&mut self) {
        self.wait_for_directory().await;
        loop {
            let Some(request) = self.next_request() else {
                if self.idle().await {
                    continue;
                }
                return;
            };
            let next = self.deliver(request).await;
            let (wait, requested) = match next {
                Next::Go => continue,
                // After the stop signal, one failure is enough: pending batches stay in the outbox.
                _ if self.shared.since_stop().is_some() => return self.last_batch().await,
                Next::Backoff(requested) => (self.backoff.next(requested), requested.is_some()),
                Next::Pace => (self.backoff.next(None).min(REFUSAL_PAUSE), false),
            };
            if self.pause(wait).await && requested {
                // The server requested a delay; respect it during shutdown as well.
                return self.last_batch().await;
            }
        }
    }

    /// Waits for the last collection, which stays in the outbox with the other batches.
    async fn last_batch(&self) {
        let closing = async {
            while self.shared.lock().phase < Phase::Closing {
                self.shared.wake.notified().await;
            }
        };
        let _ = timeout(self.budget_left(), closing).await;
    }

    /// Waits for a new batch, or for the worker to read or write one. Returns whether to continue.
    async fn idle(&mut self) -> bool {
        self.log(false);
        let reading = {
            let state = self.shared.lock();
            let reading = state.directory == Directory::Open && !state.queue.entries.is_empty();
            if state.phase >= Phase::Closing && !reading {
                return false;
            }
            reading
        };
        if reading {
            self.shared.wake_worker();
        }
        tokio::select! {
            () = self.shared.wake.notified() => true,
            () = self.stopped_for(self.tuning.stop_budget) => false,
        }
    }

    /// Waits for this time or until shutdown begins; logs losses meanwhile. Returns whether shutdown began.
    async fn pause(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            self.log(false);
            tokio::select! {
                biased;
                () = self.shared.stop_signal() => return true,
                () = tokio::time::sleep_until(until) => return false,
                () = self.shared.wake.notified() => {}
            }
        }
    }

    /// Completes when shutdown began this long ago.
    async fn stopped_for(&self, time: Duration) {
        self.shared.stop_signal().await;
        sleep(time.saturating_sub(self.shared.since_stop().unwrap_or_default())).await;
    }

    fn budget_left(&self) -> Duration {
        self.tuning.stop_budget.saturating_sub(self.shared.since_stop().unwrap_or_default())
    }

    fn log(&mut self, last: bool) {
        let (account, busy) = {
            let state = self.shared.lock();
            (state.queue.snapshot(&Moment::now()), state.busy)
        };
        self.status.log_changes(&account, busy, std::time::Instant::now(), last);
    }

    fn next_request(&self) -> Option<Request> {
        let merge = self.tuning.merge_bytes.min(self.limit);
        let items = {
            let mut state = self.shared.lock();
            let current = state.directory == Directory::Open;
            state.queue.take(merge, self.alone_until, current, &Moment::now())
        };
        let last = items.last()?.id;
        if let [only] = items.as_slice()
            && only.payload.len() > self.limit
            && let Some(Halves { first, rest }) = split::split(&only.payload, self.limit)
        {
            let sent = Tally { batches: 0, points: first.1.into() };
            return Some(Request { size: first.0.len(), pieces: vec![first.0], sent, last, rest: Some(rest) });
        }
        let batch = |item: &Item| Tally { batches: 1, points: item.points.into() };
        let sent = items.iter().map(batch).fold(Tally::default(), Tally::and);
        let pieces: Vec<Bytes> = items.into_iter().map(|item| item.payload).collect();
        Some(Request { size: pieces.iter().map(Bytes::len).sum(), pieces, sent, last, rest: None })
    }

    async fn deliver(&mut self, request: Request) -> Next {
        self.carrier.refresh(false);
        let answer = self.answer(request.pieces.clone()).await;
        self.shared.lock().queue.slow = false;
        let next = match answer {
            Ok(accepted) => self.delivered(request, &accepted),
            Err(failure) => self.failed(request, &failure),
        };
        self.shared.wake_worker();
        self.log(false);
        next
    }

    /// Sends a request. If the answer is slow, its batches are saved to disk. After the stop signal, the limit is
    /// [`Tuning::stop_send`].
    async fn answer(&self, pieces: Vec<Bytes>) -> Result<Accepted, Failure> {
        let (most, at_end) = (self.request_timeout, self.tuning.stop_send.min(self.budget_left()));
        let slow = async {
            sleep(SLOW_AFTER).await;
            self.shared.lock().queue.slow = true;
            self.shared.wake_worker();
            std::future::pending::<()>().await;
        };
        let stopped = async {
            self.shared.stop_signal().await;
            sleep(at_end).await;
        };
        tokio::select! {
            biased;
            answer = self.carrier.send(pieces) => answer,
            () = sleep(most) => Err(Failure::timeout(most)),
            () = stopped => Err(Failure::timeout(at_end)),
            () = slow => Err(Failure::timeout(most)),
        }
    }

    fn delivered(&mut self, request: Request, accepted: &Accepted) -> Next {
        self.backoff.reset();
        self.unanswered = 0;
        self.accepted += 1;
        if self.accepted >= GROW_AFTER {
            self.accepted = 0;
            let ceiling = self.ceiling.filter(|(_, since)| since.elapsed() < CEILING_HOLDS);
            let most = ceiling.map_or(self.tuning.request_max_bytes, |(bytes, _)| bytes);
            self.limit = self.limit.saturating_mul(2).min(most);
        }
        {
            let mut state = self.shared.lock();
            state.queue.delivered(accepted.rejected, request.rest);
            if accepted.rejected > 0 {
                let words = format!("{} data points were rejected: {}", accepted.rejected, quote(&accepted.message));
                state.failure = Some(words);
            }
        }
        let account = self.shared.snapshot();
        self.status.partial(accepted.rejected, &accepted.message, &account, std::time::Instant::now());
        Next::Go
    }

    fn failed(&mut self, request: Request, failure: &Failure) -> Next {
        self.shared.lock().failure = Some(failure.words.clone());
        self.unanswered = if failure.local { self.unanswered + 1 } else { 0 };
        if self.unanswered >= UNANSWERED_UNTIL_RECONNECT {
            self.unanswered = 0;
            tracing::debug!("{UNANSWERED_UNTIL_RECONNECT} requests in a row without an answer: connecting again");
            self.carrier.replace();
        }
        let divisible = request.sent.points > 1 || request.sent.batches > 1;
        match failure.verdict_for(request.size) {
            Verdict::Smaller if divisible => {
                self.reduce(&request, failure, 1);
                self.ceiling = Some((self.limit, Instant::now()));
                self.shared.lock().queue.resend();
                Next::Go
            }
            Verdict::Doubt | Verdict::Drop if request.sent.batches > 1 => {
                self.alone_until = Some(request.last);
                self.shared.lock().queue.resend();
                Next::Pace
            }
            Verdict::Doubt if !self.tried_enough(request.last) => self.kept(failure, None),
            Verdict::Drop | Verdict::Smaller | Verdict::Doubt => {
                self.doubt = (0, 0);
                self.status.refusal.clone_from(&failure.words);
                self.shared.lock().queue.refused(request.rest);
                Next::Pace
            }
            Verdict::Keep(requested) => {
                if failure.by_size && divisible && request.size > LARGE_BYTES {
                    self.reduce(&request, failure, LARGE_BYTES);
                }
                self.kept(failure, requested)
            }
        }
    }

    fn tried_enough(&mut self, id: i64) -> bool {
        let before = if self.doubt.0 == id { self.doubt.1 } else { 0 };
        self.doubt = (id, before + 1);
        self.doubt.1 >= DOUBTFUL_TRIES
    }

    fn reduce(&mut self, request: &Request, failure: &Failure, least: usize) {
        self.accepted = 0;
        self.limit = (request.size / 2).max(least).min(self.limit);
        self.status.smaller(&failure.words, request.size, self.limit);
    }

    fn kept(&mut self, failure: &Failure, requested: Option<Duration>) -> Next {
        self.shared.lock().queue.kept(&Moment::now());
        let account = self.shared.snapshot();
        self.status.failed(&failure.words, &account, std::time::Instant::now());
        // A renewed certificate or token may fix the failure.
        self.carrier.refresh(true);
        Next::Backoff(requested)
    }

    /// Waits for the worker to save the remaining batches and writes the last log lines.
    async fn finish(mut self) {
        let shared = self.shared.clone();
        shared.lock().phase = Phase::Saving;
        shared.wake_worker();
        let saved = async {
            while shared.lock().directory != Directory::None {
                shared.wake.notified().await;
            }
        };
        let left = LAST_LINE_AT.saturating_sub(shared.since_stop().unwrap_or_default());
        let _ = timeout(left.clamp(SAVE_LEAST, SAVE_MOST), saved).await;
        self.log(true);
        let (lost, on_disk, account) = {
            let queue = &mut shared.lock().queue;
            (queue.close(), queue.on_disk(), queue.snapshot(&Moment::now()))
        };
        self.status.closed(lost, &account, on_disk);
        shared.lock().phase = Phase::Ended;
        shared.changed.notify_all();
    }
}

impl<C> Drop for Sender<C> {
    /// If the sender ends early, because of an internal error or with its runtime, the worker saves what waits.
    fn drop(&mut self) {
        let phase = &mut self.shared.lock().phase;
        *phase = Phase::Saving.max(*phase);
        self.shared.wake_worker();
    }
}
