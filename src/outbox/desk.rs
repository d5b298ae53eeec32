//! Where the callers of an outbox on disk and the thread that has the disk meet: calls, answers, and what memory holds
//! meanwhile.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::memory::{MEMORY_MAX_BYTES, give_back};
use super::{Batch, DropCounts, DropReason, Moment, PushOutcome, Store, Tally, Wake};

/// Where calls and answers are put.
#[derive(Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    pub changed: Condvar,
    /// Told when an answer that was overdue has come.
    pub wake: OnceLock<Wake>,
}

#[derive(Default)]
pub(super) struct State {
    /// Calls not yet begun.
    pub queue: VecDeque<Call>,
    /// The call that the disk is busy with, its push if it is one, and since when.
    pub busy: Option<(Option<Tally>, Instant)>,
    /// A caller gave up on the call that the disk is busy with.
    pub overdue: bool,
    /// Numbers of the newest call and of the newest one that was done.
    pub asked: u64,
    pub done: u64,
    /// The call that somebody waits for, and its answer. What nobody waits for is not kept.
    pub awaited: Option<u64>,
    pub answer: Answer,
    /// What a peek found after its caller gave up is kept for the next one: a disk that always needs longer would else
    /// never give anything out.
    pub late_wanted: bool,
    pub late: Option<Vec<Batch>>,
    /// The disk's store after the last call.
    pub seen: Seen,
    /// Batches of the queue, and of those that gave way because it was full.
    pub queued: Tally,
    pub queued_bytes: u64,
    pub dropped: DropCounts,
    /// The directory is open, or given up.
    pub open: bool,
    pub ending: bool,
    pub ended: bool,
}

pub(super) enum Call {
    Push(Bytes, u32, Moment),
    Peek(usize, Moment),
    Remove(Vec<u64>),
    Refuse(Vec<u64>),
    Sync(Moment),
}

#[derive(Default)]
pub(super) enum Answer {
    #[default]
    None,
    Pushed(PushOutcome),
    Batches(Vec<Batch>),
    Found(usize),
    Unsaved(Tally),
}

#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    pub batches: usize,
    pub points: u64,
    pub bytes: u64,
    /// When the oldest was born, on the clock since boot.
    pub oldest: Option<Duration>,
    pub dropped: DropCounts,
    pub unsaved: Tally,
    /// Only where the directory turned out to be of no use.
    pub in_memory: bool,
}

impl Seen {
    pub fn of(store: &dyn Store) -> Self {
        let now = Moment::now();
        let oldest = store.oldest(now).map(|age| now.up.saturating_sub(age));
        Self {
            batches: store.len(),
            points: store.points(),
            bytes: store.bytes(),
            oldest,
            dropped: store.dropped(),
            unsaved: store.unsaved(),
            in_memory: !store.on_disk(),
        }
    }
}

impl Desk {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: does one call after the other.
    pub fn serve(&self, mut store: Box<dyn Store>) {
        let seen = Seen::of(&*store);
        let mut state = self.lock();
        (state.seen, state.busy, state.open) = (seen, None, true);
        self.answered(&mut state);
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
            let seen = Seen::of(&*store);
            state = self.lock();
            (state.seen, state.busy) = (seen, None);
            state.done += 1;
            state.put(answer);
            self.answered(&mut state);
        }
        drop(state);
        drop(store); // and with it the lock on the directory
        self.end();
    }

    /// The thread is done.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// The disk is not silent any more: whoever found nothing to peek at because of that may look again.
    fn answered(&self, state: &mut State) {
        self.changed.notify_all();
        if std::mem::take(&mut state.overdue)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }
}

impl State {
    /// Whether the disk has calls that it has not done.
    pub fn pending(&self) -> bool {
        self.done < self.asked
    }

    /// Puts an answer where it is wanted, or nowhere.
    fn put(&mut self, answer: Answer) {
        if self.awaited == Some(self.done) {
            self.answer = answer;
        } else if let Answer::Batches(batches) = answer
            && std::mem::take(&mut self.late_wanted)
        {
            self.late = Some(batches);
        }
    }

    /// A call that is no longer in the queue; what it was to push.
    fn leave_queue(&mut self, call: &Call) -> Option<Tally> {
        let Call::Push(payload, points, _) = call else { return None };
        self.queued_bytes = self.queued_bytes.saturating_sub(payload.len() as u64);
        self.queued.batches = self.queued.batches.saturating_sub(1);
        self.queued.points = self.queued.points.saturating_sub((*points).into());
        Some(Tally { batches: 1, points: (*points).into() })
    }

    /// Makes room in the queue for a push by dropping the oldest ones there.
    pub fn make_room(&mut self, bytes: u64) {
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
    pub fn on_the_way(&self) -> Tally {
        let busy = self.busy.and_then(|(pushed, _)| pushed).unwrap_or_default();
        Tally { batches: self.queued.batches + busy.batches, points: self.queued.points + busy.points }
    }
}
