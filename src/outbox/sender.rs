//! The sender: one task that takes the oldest batches, sends them, and judges the answer.
//!
//! Several batches travel in one request, since their encodings in a row are one valid request; a batch that is larger
//! than a request may be travels in parts. A batch leaves the queue only after the server's answer: what a crash interrupts
//! is sent again. After a part was accepted, the rest of the batch replaces it, in the queue and on disk, before the
//! next part is sent. The consequences of an answer are the table in [`crate::export::verdict`].

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::account::Tally;
use super::backoff::Backoff;
use super::moment::Moment;
use super::queue::{Item, Taken};
use super::shared::{Directory, Shared};
use super::status::Status;
use super::tuning::Tuning;
use crate::export::split::{self, Halves};
use crate::export::verdict::{Accepted, Failure, LARGE_BYTES, Verdict};
use crate::export::wire::Carrier;

/// After this many requests in a row that no server answered, the connection is replaced: one that was cut silently would
/// cost up to two minutes after the network is back.
const UNANSWERED_UNTIL_RECONNECT: u32 = 3;

/// How often a batch that the server stumbles over is tried alone.
const DOUBTFUL_TRIES: u32 = 5;

/// After this many accepted requests, requests may be twice as large again.
const GROW_AFTER: u32 = 8;

/// A size that a server's answer has shown to be too large is not tried again within this time.
const CEILING_HOLDS: Duration = Duration::from_secs(3600);

/// Longest wait after a refusal: a server that rejects everything must not fill the outbox.
const REFUSAL_PAUSE: Duration = Duration::from_secs(2);

/// A batch that has been under way for this long belongs on disk.
const URGENT_AFTER: Duration = Duration::from_secs(1);

/// How often records are asked for again that could not be read.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(2);

/// Batches of an earlier run are the older ones. Sending waits this long for a directory that takes its time to open.
const OPENING_MOST: Duration = Duration::from_secs(30);
/// As [`OPENING_MOST`], once the process ends.
const OPENING_MOST_AT_END: Duration = Duration::from_secs(1);

/// How often a worker that could not be started is started again.
const START_WORKER_EVERY: Duration = Duration::from_secs(30);

/// Between the end of sending and the last line, for the worker to save the rest: at least, and at most.
const SAVE_LEAST: Duration = Duration::from_millis(400);
const SAVE_LONGEST: Duration = Duration::from_millis(1_500);
/// After the stop signal.
const LAST_LINE_AT: Duration = Duration::from_millis(4_400);

/// Takes, sends, judges.
pub(super) struct Sender<C> {
    shared: Arc<Shared>,
    carrier: Arc<C>,
    request_timeout: Duration,
    tuning: Tuning,
    status: Status,
    /// Starts the worker, where there is to be one, and when that was tried last.
    start_worker: Option<StartWorker>,
    worker_tried: Instant,
    backoff: Backoff,
    /// Largest request, in bytes before compression.
    limit: usize,
    ceiling: Option<(usize, Instant)>,
    /// Accepted requests since the limit changed.
    accepted: u32,
    /// Requests in a row that no server answered.
    unanswered: u32,
    /// Batches up to this one are sent one by one.
    alone_until: Option<i64>,
    /// The batch that is in doubt and how often it was tried alone.
    doubt: (i64, u32),
}

/// Starts a worker's thread.
pub(super) type StartWorker = Box<dyn Fn() -> std::io::Result<()> + Send + Sync>;

/// One request.
struct Request {
    pieces: Vec<Bytes>,
    size: usize,
    sent: Tally,
    last: i64,
    /// The remaining part of the batch, where it does not fit.
    rest: Option<(Bytes, u32)>,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    /// Go on after a wait: at least this long where the server asked for it.
    Backoff(Option<Duration>),
    /// Go on after a refusal.
    Pace,
}

impl<C: Carrier> Sender<C> {
    pub fn new(shared: Arc<Shared>, carrier: Arc<C>, endpoint: &str, timeout: Duration, tuning: Tuning) -> Self {
        let backoff = Backoff::new(tuning.backoff_base, tuning.backoff_cap).with_jitter(tuning.backoff_jitter);
        Self {
            shared,
            carrier,
            request_timeout: timeout,
            tuning,
            status: Status::new(endpoint),
            start_worker: None,
            worker_tried: Instant::now(),
            backoff,
            limit: tuning.request_max_bytes,
            ceiling: None,
            accepted: 0,
            unanswered: 0,
            alone_until: None,
            doubt: (0, 0),
        }
    }

    /// With a worker that has to be started, now and again if that fails: a host may be short of threads for a while.
    pub fn with_worker(self, start: StartWorker) -> Self {
        if let Err(error) = start() {
            self.shared.lock().directory = Directory::Missing;
            tracing::warn!(
                "outbox directory: no thread for its disk ({error}); batches wait in memory, which a restart loses, until \
                 there is one; retrying"
            );
        }
        Self { start_worker: Some(start), ..self }
    }

    /// A worker that could not be started is started later.
    fn ensure_worker(&mut self) {
        let missing = {
            let state = self.shared.lock();
            state.worker_ended && !state.finish
        };
        if let Some(start) = &self.start_worker
            && missing
            && self.worker_tried.elapsed() >= START_WORKER_EVERY
        {
            self.worker_tried = Instant::now();
            if start().is_ok() {
                tracing::info!("the outbox directory has its thread");
            }
        }
    }

    /// Runs until delivery ends. A fault inside costs the request that is under way a second try, not the delivery.
    pub async fn run(mut self) {
        self.wait_for_directory().await;
        while let Err(Fault) = Guarded(AssertUnwindSafe(Box::pin(self.send_all()))).await {
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
            while shared.lock().directory == Directory::Opening {
                shared.wake.notified().await;
            }
        };
        tokio::select! {
            () = opened => {}
            () = sleep(OPENING_MOST) => {}
            // A short run ends before its directory is open; the batches in it go first nevertheless.
            () = async { shared.stop_signal().await; sleep(OPENING_MOST_AT_END).await } => {}
        }
        let account = shared.snapshot();
        if shared.lock().directory == Directory::Open && account.outbox_batches > 0 {
            self.pause(self.tuning.resume_within.mul_f64(fastrand::f64())).await;
        }
    }

    /// Returns when the process ends and nothing is left to try.
    async fn send_all(&mut self) {
        loop {
            let Some(request) = self.next_request().await else {
                if self.shared.lock().closing {
                    return;
                }
                self.idle().await;
                continue;
            };
            let began_late = self.shared.stopping();
            let next = self.deliver(request).await;
            if next == Next::Go {
                continue;
            }
            if began_late || (self.shared.stopping() && self.shared.since_stop() >= self.tuning.stop_send) {
                // One failure after the stop signal is enough: what waits now stays where it is.
                return self.last_batch().await;
            }
            let (wait, asked) = match next {
                Next::Go => (Duration::ZERO, false),
                Next::Backoff(asked) => (self.backoff.next(asked), asked.is_some()),
                Next::Pace => (self.backoff.next(None).min(REFUSAL_PAUSE), false),
            };
            self.pause(wait).await;
            if asked && self.shared.stopping() {
                // The server asked for quiet: the end of this process is no reason to break it.
                return self.last_batch().await;
            }
        }
    }

    /// Waits for the last collection, which is kept with the rest.
    async fn last_batch(&self) {
        let closing = async {
            while !self.shared.lock().closing {
                self.shared.wake.notified().await;
            }
        };
        let _ = timeout(self.budget_left(), closing).await;
    }

    /// Waits for a batch, or for a moment where batches wait that cannot be read.
    async fn idle(&mut self) {
        let account = self.shared.snapshot();
        self.log_losses(false);
        let woken = self.shared.wake.notified();
        if account.outbox_batches == 0 {
            self.status.emptied(&account, std::time::Instant::now());
            woken.await;
        } else {
            let _ = timeout(UNREADABLE_PAUSE, woken).await;
        }
    }

    /// Waits, but not beyond the end. Batches come meanwhile, and losses are logged.
    async fn pause(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        loop {
            self.log_losses(false);
            if self.shared.stopping() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = self.shared.stop_signal() => return,
                () = self.shared.wake.notified() => {}
            }
        }
    }

    fn log_losses(&mut self, last: bool) {
        let state = self.shared.lock();
        let (account, oversize, busy) = (state.queue.snapshot(&Moment::now()), state.queue.oversize_lost, state.busy);
        drop(state);
        let now = std::time::Instant::now();
        self.status.disk(busy, now);
        self.status.lost(&account, oversize, now, last);
    }

    async fn next_request(&mut self) -> Option<Request> {
        let merge = self.tuning.merge_bytes.min(self.limit);
        let taken = self.shared.lock().queue.take(merge, self.alone_until, &Moment::now());
        let items = match taken {
            Taken::Nothing => return None,
            Taken::Memory(items) => items,
            Taken::Disk(ids) => self.read(ids).await,
        };
        let Some(last) = items.last().map(|item| item.id) else {
            self.shared.lock().queue.landed();
            return None;
        };
        Some(self.request(items, last))
    }

    /// Asks the worker for records. The wait ends with the time for the end, however long the disk takes.
    async fn read(&mut self, ids: Vec<i64>) -> Vec<Item> {
        let (answer, answered) = oneshot::channel();
        let wanted = ids.len();
        self.shared.lock().read = Some((ids, answer));
        self.shared.wake_worker();
        let items = self.by_the_end(answered).await.and_then(Result::ok).unwrap_or_default();
        if items.len() < wanted {
            // Those after the first gap are taken again.
            let mut state = self.shared.lock();
            if let (Some(first), Some(last)) = (items.first(), items.last()) {
                state.queue.shorten_flight(first.id, last.id);
            }
        }
        items
    }

    /// `None` where the time for the end is over first.
    async fn by_the_end<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let ended = async {
            self.shared.stop_signal().await;
            sleep(self.budget_left()).await;
        };
        tokio::select! {
            biased;
            value = future => Some(value),
            () = ended => None,
        }
    }

    fn request(&self, items: Vec<Item>, last: i64) -> Request {
        if let [only] = items.as_slice()
            && only.payload.len() > self.limit
            && let Some(Halves { first, rest }) = split::split(&only.payload, self.limit)
        {
            let sent = Tally { batches: 0, points: first.1.into() };
            return Request { size: first.0.len(), pieces: vec![first.0], sent, last, rest: Some(rest) };
        }
        let sent =
            items.iter().fold(Tally::default(), |sum, item| sum.and(Tally { batches: 1, points: item.points.into() }));
        let pieces: Vec<Bytes> = items.into_iter().map(|item| item.payload).collect();
        Request { size: pieces.iter().map(Bytes::len).sum(), pieces, sent, last, rest: None }
    }

    async fn deliver(&mut self, request: Request) -> Next {
        self.carrier.refresh(false);
        let time = match self.shared.stopping() {
            true => self.request_timeout.min(self.tuning.stop_send).min(self.budget_left()),
            false => self.request_timeout,
        };
        let answer = self.answer(request.pieces.clone(), time).await;
        self.shared.lock().urgent = false;
        match answer {
            Ok(accepted) => self.delivered(request, &accepted).await,
            Err(failure) => self.failed(request, &failure).await,
        }
    }

    /// Sends, and puts the batches on disk when the answer takes long. After the stop signal it may take [`Tuning::stop_send`].
    async fn answer(&self, pieces: Vec<Bytes>, time: Duration) -> Result<Accepted, Failure> {
        let shared = &self.shared;
        let late = async {
            sleep(URGENT_AFTER).await;
            shared.lock().urgent = true;
            shared.wake_worker();
            std::future::pending::<()>().await;
        };
        let stopped = async {
            shared.stop_signal().await;
            sleep(self.tuning.stop_send).await;
        };
        tokio::select! {
            biased;
            answer = self.carrier.send(pieces) => answer,
            () = sleep(time) => Err(Failure::timeout(time)),
            () = stopped => Err(Failure::timeout(self.tuning.stop_send)),
            () = late => Err(Failure::timeout(time)),
        }
    }

    async fn delivered(&mut self, request: Request, accepted: &Accepted) -> Next {
        self.backoff.reset();
        self.unanswered = 0;
        self.accepted += 1;
        if self.accepted >= GROW_AFTER {
            self.accepted = 0;
            let ceiling = self.ceiling.filter(|(_, since)| since.elapsed() < CEILING_HOLDS);
            let most = ceiling.map_or(self.tuning.request_max_bytes, |(bytes, _)| bytes);
            self.limit = self.limit.saturating_mul(2).min(most);
        }
        let sent = match request.rest {
            None => self.shared.lock().queue.delivered(accepted.rejected),
            Some((rest, points)) => {
                self.shared.lock().queue.part_delivered(accepted.rejected, rest, points);
                self.rewritten(request.last).await;
                request.sent
            }
        };
        self.shared.wake_worker();
        let account = self.shared.snapshot();
        self.status.delivered(sent, accepted, &account, std::time::Instant::now());
        self.log_losses(false);
        Next::Go
    }

    /// Waits until the record of a batch holds what is left of it.
    async fn rewritten(&self, id: i64) {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if state.worker_ended || state.directory != Directory::Open {
                return;
            }
            state.rewrite = Some((id, answer));
        }
        self.shared.wake_worker();
        self.by_the_end(answered).await;
    }

    async fn failed(&mut self, request: Request, failure: &Failure) -> Next {
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
                self.shared.lock().queue.again();
                Next::Go
            }
            Verdict::Doubt | Verdict::Drop if request.sent.batches > 1 => {
                self.alone_until = Some(request.last);
                self.shared.lock().queue.again();
                Next::Pace
            }
            Verdict::Drop | Verdict::Smaller => self.refused(request, failure).await,
            Verdict::Doubt => {
                let tries = if self.doubt.0 == request.last { self.doubt.1 + 1 } else { 1 };
                self.doubt = (request.last, tries);
                if tries >= DOUBTFUL_TRIES { self.refused(request, failure).await } else { self.kept(failure, None) }
            }
            Verdict::Keep(asked) => {
                if failure.by_size && divisible && request.size > LARGE_BYTES {
                    self.reduce(&request, failure, LARGE_BYTES);
                }
                self.kept(failure, asked)
            }
        }
    }

    fn reduce(&mut self, request: &Request, failure: &Failure, least: usize) {
        self.accepted = 0;
        self.limit = (request.size / 2).max(least).min(self.limit);
        self.status.smaller(&failure.words, request.size, self.limit);
    }

    fn kept(&mut self, failure: &Failure, asked: Option<Duration>) -> Next {
        self.shared.lock().queue.kept(&Moment::now());
        self.ensure_worker();
        self.shared.wake_worker();
        let account = self.shared.snapshot();
        self.status.failed(&failure.words, &account, std::time::Instant::now());
        // A certificate or a token that was replaced meanwhile may be the cure.
        self.carrier.refresh(true);
        Next::Backoff(asked)
    }

    async fn refused(&mut self, request: Request, failure: &Failure) -> Next {
        self.doubt = (0, 0);
        match request.rest {
            None => drop(self.shared.lock().queue.refused()),
            Some((rest, points)) => {
                self.shared.lock().queue.part_refused(rest, points);
                self.rewritten(request.last).await;
            }
        }
        self.shared.wake_worker();
        let account = self.shared.snapshot();
        self.status.refused(&failure.words, &account, std::time::Instant::now());
        Next::Pace
    }

    fn budget_left(&self) -> Duration {
        self.tuning.stop_budget.saturating_sub(self.shared.since_stop())
    }

    /// Saves the rest and writes the last lines.
    async fn finish(mut self) {
        let shared = self.shared.clone();
        shared.lock().finish = true;
        shared.wake_worker();
        let saved = async {
            while !shared.lock().worker_ended {
                shared.wake.notified().await;
            }
        };
        let _ =
            timeout(SAVE_LEAST.max(LAST_LINE_AT.saturating_sub(shared.since_stop())).min(SAVE_LONGEST), saved).await;
        self.log_losses(true);
        let (lost, on_disk) = {
            let mut state = shared.lock();
            (state.queue.close(), state.directory != Directory::None)
        };
        self.status.closed(lost, &shared.snapshot(), on_disk);
        shared.lock().ended = true;
        shared.changed.notify_all();
    }
}

/// A panic inside the future.
struct Fault;

/// A future whose panics are caught.
struct Guarded<F>(AssertUnwindSafe<F>);

impl<F: Future + Unpin> Future for Guarded<F> {
    type Output = Result<F::Output, Fault>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<F::Output, Fault>> {
        let inner = &mut self.0.0;
        match std::panic::catch_unwind(AssertUnwindSafe(|| std::pin::Pin::new(inner).poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => std::task::Poll::Ready(Err(Fault)),
        }
    }
}
