//! The outbox on disk on a thread of its own, so that a disk that hangs holds up nobody.
//!
//! A disk that fails says so at once; one that hangs (a dead network file system, a device that resets) says nothing, for
//! minutes. Every call goes to the thread and waits for its answer, but no longer than the caller's patience. Calls are done
//! in their order, whether somebody still waits or not: a batch whose push was not awaited is on disk as soon as the disk
//! is back, behind the older ones. Until then it is in memory, at most 4 MiB of them, oldest dropped first.
//!
//! While an answer is overdue nobody waits at all: pushes stay here, and there is nothing to peek at.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::memory::{MEMORY_MAX_BYTES, give_back};
use super::{Batch, DropCounts, DropReason, Kept, Moment, PushOutcome, Store, Tally};

/// A disk that is slow for a moment is no news.
const SAY_AFTER: Duration = Duration::from_secs(5);

/// At the end of the process even a disk that hangs gets this long.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// The thread's stack; what it does is shallow.
const STACK_BYTES: usize = 128 * 1024;

/// A store that waits for its disk no longer than it is told to.
pub struct AsideStore {
    desk: Arc<Desk>,
    /// What is named in the log.
    dir: PathBuf,
    patience: Duration,
    said: bool,
}

/// Where calls and answers are put.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Calls not yet begun.
    queue: VecDeque<Call>,
    /// The call that the disk is busy with, its push if it is one, and since when.
    busy: Option<(Option<Tally>, Instant)>,
    /// A caller gave up on the call that the disk is busy with.
    overdue: bool,
    /// Numbers of the newest call and of the newest one that was done.
    asked: u64,
    done: u64,
    answer: Answer,
    /// The disk's store after the last call.
    seen: Seen,
    /// Batches of the queue, and of those that gave way because it was full.
    queued: Tally,
    queued_bytes: u64,
    dropped: DropCounts,
    ending: bool,
    ended: bool,
}

enum Call {
    Push(Bytes, u32, Moment),
    Peek(usize, Moment),
    Remove(Vec<u64>),
    Refuse(Vec<u64>),
    Sync(Moment),
}

#[derive(Default)]
enum Answer {
    #[default]
    None,
    Pushed(PushOutcome),
    Batches(Vec<Batch>),
    Found(usize),
    Unsaved(Tally),
}

#[derive(Clone, Copy, Default)]
struct Seen {
    batches: usize,
    points: u64,
    bytes: u64,
    /// When the oldest was born, on the clock since boot.
    oldest: Option<Duration>,
    dropped: DropCounts,
    unsaved: Tally,
}

impl Seen {
    fn of(store: &dyn Store) -> Self {
        let now = Moment::now();
        let oldest = store.oldest(now).map(|age| now.up.saturating_sub(age));
        Self {
            batches: store.len(),
            points: store.points(),
            bytes: store.bytes(),
            oldest,
            dropped: store.dropped(),
            unsaved: store.unsaved(),
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: does one call after the other.
    fn serve(&self, mut store: impl Store) {
        let mut state = self.lock();
        loop {
            let Some(call) = state.queue.pop_front() else {
                if state.ending {
                    break;
                }
                give_back(&mut state.queue);
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let pushed = state.leave_queue(&call);
            state.busy = Some((pushed, Instant::now()));
            drop(state);
            let answer = match call {
                Call::Push(payload, points, now) => Answer::Pushed(store.push(&payload, points, now)),
                Call::Peek(max_bytes, now) => Answer::Batches(store.peek(max_bytes, now)),
                Call::Remove(seqs) => Answer::Found(store.remove(&seqs)),
                Call::Refuse(seqs) => Answer::Found(store.refuse(&seqs)),
                Call::Sync(now) => Answer::Unsaved(store.sync(now)),
            };
            let seen = Seen::of(&store);
            state = self.lock();
            (state.answer, state.seen, state.busy, state.overdue) = (answer, seen, None, false);
            state.done += 1;
            self.changed.notify_all();
        }
        drop(state);
        drop(store); // and with it the lock on the directory
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

impl State {
    /// A call that is no longer in the queue; what it was to push.
    fn leave_queue(&mut self, call: &Call) -> Option<Tally> {
        let Call::Push(payload, points, _) = call else { return None };
        self.queued_bytes = self.queued_bytes.saturating_sub(payload.len() as u64);
        self.queued.batches = self.queued.batches.saturating_sub(1);
        self.queued.points = self.queued.points.saturating_sub((*points).into());
        Some(Tally { batches: 1, points: (*points).into() })
    }

    /// Makes room in the queue for a push by dropping the oldest ones there.
    fn make_room(&mut self, bytes: u64) {
        while self.queued_bytes + bytes > MEMORY_MAX_BYTES {
            let Some(oldest) = self.queue.iter().position(|call| matches!(call, Call::Push(..))) else { return };
            let Some(call) = self.queue.remove(oldest) else { return };
            if let (Call::Push(_, points, _), Some(_)) = (&call, self.leave_queue(&call)) {
                self.dropped.add(DropReason::Io, *points);
            }
            // It counts as done, for those who count.
            self.asked -= 1;
        }
    }

    /// Batches that the disk's store does not have yet.
    fn on_the_way(&self) -> Tally {
        let busy = self.busy.and_then(|(pushed, _)| pushed).unwrap_or_default();
        Tally { batches: self.queued.batches + busy.batches, points: self.queued.points + busy.points }
    }
}

impl AsideStore {
    /// Gives `store`, whose files are in `dir`, a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(store: impl Store + 'static, dir: PathBuf, patience: Duration) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        desk.lock().seen = Seen::of(&store);
        let served = desk.clone();
        thread::Builder::new().name("outbox".into()).stack_size(STACK_BYTES).spawn(move || served.serve(store))?;
        Ok(Self { desk, dir, patience, said: false })
    }

    /// Puts a call on the desk and waits for its answer; `None` if that would take too long.
    fn ask(&mut self, call: Call) -> Option<Answer> {
        let desk = self.desk.clone();
        let mut state = desk.lock();
        self.tell(&state);
        if state.overdue && matches!(call, Call::Peek(..)) {
            return None;
        }
        if let Call::Push(payload, points, _) = &call {
            state.make_room(payload.len() as u64);
            state.queued_bytes += payload.len() as u64;
            state.queued.add(*points);
        }
        let patience = match call {
            Call::Sync(_) => LAST_CHANCE,
            _ if state.overdue => Duration::ZERO,
            _ => self.patience,
        };
        state.asked += 1;
        state.queue.push_back(call);
        desk.changed.notify_all();
        let asked = state.asked;
        let waited = desk.changed.wait_timeout_while(state, patience, |state| state.done < asked);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            state.overdue = true;
            // Nobody will look at what it finds.
            if let Some(Call::Peek(..)) = state.queue.back() {
                state.queue.pop_back();
                state.asked -= 1;
            }
            return None;
        }
        Some(std::mem::take(&mut state.answer))
    }

    /// Says when the disk hangs, and when it is back.
    fn tell(&mut self, state: &State) {
        let hangs = state.overdue && state.busy.is_some_and(|(_, since)| since.elapsed() >= SAY_AFTER);
        if hangs && !self.said {
            tracing::warn!(
                "outbox directory {} does not answer; batches wait in memory until it does",
                self.dir.display()
            );
        } else if self.said && !state.overdue {
            tracing::info!("outbox directory {} answers again", self.dir.display());
        }
        self.said = hangs || (self.said && state.overdue);
    }
}

impl Drop for AsideStore {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.ending = true;
        self.desk.changed.notify_all();
        if !state.overdue {
            // The directory is free for the next one when this returns.
            drop(self.desk.changed.wait_timeout_while(state, self.patience, |state| !state.ended));
        }
    }
}

impl Store for AsideStore {
    fn push(&mut self, payload: &[u8], points: u32, now: Moment) -> PushOutcome {
        let before = self.dropped().total().batches;
        if payload.len() as u64 > MEMORY_MAX_BYTES {
            self.desk.lock().dropped.add(DropReason::Size, points);
            return PushOutcome { seq: 0, kept: Kept::Not(DropReason::Size), dropped: 1 };
        }
        match self.ask(Call::Push(Bytes::copy_from_slice(payload), points, now)) {
            Some(Answer::Pushed(outcome)) => outcome,
            // It gets its number when the disk takes it.
            _ => PushOutcome { seq: 0, kept: Kept::InMemory, dropped: self.dropped().total().batches - before },
        }
    }

    fn peek(&mut self, max_bytes: usize, now: Moment) -> Vec<Batch> {
        match self.ask(Call::Peek(max_bytes, now)) {
            Some(Answer::Batches(batches)) => batches,
            _ => Vec::new(),
        }
    }

    fn remove(&mut self, seqs: &[u64]) -> usize {
        match self.ask(Call::Remove(seqs.to_vec())) {
            Some(Answer::Found(found)) => found,
            _ => seqs.len(),
        }
    }

    fn refuse(&mut self, seqs: &[u64]) -> usize {
        match self.ask(Call::Refuse(seqs.to_vec())) {
            Some(Answer::Found(found)) => found,
            _ => seqs.len(),
        }
    }

    fn len(&self) -> usize {
        let state = self.desk.lock();
        state.seen.batches + usize::try_from(state.on_the_way().batches).unwrap_or(usize::MAX)
    }

    fn points(&self) -> u64 {
        let state = self.desk.lock();
        state.seen.points + state.on_the_way().points
    }

    fn bytes(&self) -> u64 {
        let state = self.desk.lock();
        state.seen.bytes + state.queued_bytes
    }

    fn oldest(&self, now: Moment) -> Option<Duration> {
        let state = self.desk.lock();
        let queued = || {
            state.queue.iter().find_map(|call| match call {
                Call::Push(_, _, born) => Some(born.up),
                _ => None,
            })
        };
        state.seen.oldest.or_else(queued).map(|born| now.up.saturating_sub(born))
    }

    fn dropped(&self) -> DropCounts {
        let state = self.desk.lock();
        state.seen.dropped.and(&state.dropped)
    }

    fn on_disk(&self) -> bool {
        true
    }

    fn unsaved(&self) -> Tally {
        let state = self.desk.lock();
        let (there, here) = (state.seen.unsaved, state.on_the_way());
        Tally { batches: there.batches + here.batches, points: there.points + here.points }
    }

    fn sync(&mut self, now: Moment) -> Tally {
        match self.ask(Call::Sync(now)) {
            Some(Answer::Unsaved(tally)) => tally,
            _ => self.unsaved(),
        }
    }
}
