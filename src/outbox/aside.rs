//! The outbox on disk on a thread of its own, so that a disk that hangs holds up nobody.
//!
//! A disk that fails says so at once; one that hangs (a dead network file system, a device that resets) says nothing, for
//! minutes. Every call goes to the thread and waits for its answer, but no longer than the caller's patience. Calls are done
//! in their order, whether somebody still waits or not: a batch whose push was not awaited is on disk as soon as the disk
//! is back, behind the older ones. Until then it is in memory, at most 4 MiB of them, oldest dropped first.
//!
//! While an answer is overdue nobody waits at all: pushes stay here, and there is nothing to peek at until the store's
//! wake says so. A directory that takes long to open is such a disk too.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::desk::{Answer, Call, Desk, State};
use super::health::Silence;
use super::memory::{MEMORY_MAX_BYTES, MemoryStore};
use super::{
    Batch, DropCounts, DropReason, Kept, Limits, Moment, OpenError, OpenFault, PushOutcome, Store, Tally, Wake,
};

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
    pub(super) patience: Duration,
    silence: Silence,
}

impl AsideStore {
    /// Gives `store`, whose files are in `dir`, a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(store: impl Store + 'static, dir: PathBuf, patience: Duration) -> io::Result<Self> {
        let store = Self::spawn(dir, patience, move |desk| desk.serve(Box::new(store)))?;
        drop(store.desk.changed.wait_while(store.desk.lock(), |state| !state.open));
        Ok(store)
    }

    /// Opens a directory on the thread that will have it. If that takes longer than `within`, batches wait in memory
    /// meanwhile, and for good if it fails then: in a store with the limits `instead`.
    ///
    /// # Errors
    /// Why it cannot be opened, where that is known in time.
    pub fn open<S: Store + 'static>(
        open: impl FnOnce() -> Result<S, OpenError> + Send + 'static,
        instead: Limits,
        dir: PathBuf,
        patience: Duration,
        within: Duration,
    ) -> Result<Self, OpenError> {
        let (told, outcome) = mpsc::sync_channel(1);
        let path = dir.clone();
        let opening = move |desk: &Desk| match open() {
            Ok(store) => {
                desk.serve(Box::new(store));
            }
            Err(error) => {
                let mut state = desk.lock();
                state.open = true;
                if state.overdue {
                    drop(state);
                    super::warn_of(&error);
                    desk.serve(Box::new(MemoryStore::new(instead)));
                } else {
                    drop(told.send(error));
                    desk.changed.notify_all();
                }
            }
        };
        let store = Self::spawn(dir, patience, opening)
            .map_err(|error| OpenError { dir: path, fault: OpenFault::NoThread(error) });
        let mut store = store?;
        let desk = store.desk.clone();
        let waited = desk.changed.wait_timeout_while(desk.lock(), within, |state| !state.open);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Ok(error) = outcome.try_recv() {
            state.ended = true;
            return Err(error);
        }
        if !state.open {
            state.overdue = true;
            store.silence.look(true, false, &store.dir, Instant::now());
        }
        Ok(store)
    }

    fn spawn(dir: PathBuf, patience: Duration, run: impl FnOnce(&Desk) + Send + 'static) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        desk.lock().busy = Some((None, Instant::now()));
        let served = desk.clone();
        let thread = thread::Builder::new().name("outbox".into()).stack_size(STACK_BYTES);
        thread.spawn(move || run(&served))?;
        Ok(Self { desk, dir, patience, silence: Silence::default() })
    }

    /// Puts a call on the desk and waits for its answer; `None` if that would take too long.
    fn ask(&mut self, call: Call) -> Option<Answer> {
        let desk = self.desk.clone();
        let mut state = desk.lock();
        self.tell(&state);
        match call {
            Call::Peek(..) => {
                if let Some(batches) = state.late.take() {
                    return Some(Answer::Batches(batches));
                }
                if state.overdue {
                    return None;
                }
            }
            // What was found before is no longer true.
            Call::Remove(_) | Call::Refuse(_) => (state.late, state.late_wanted) = (None, false),
            Call::Push(..) | Call::Sync(_) => {}
        }
        if let Call::Push(payload, points, _) = &call {
            state.make_room(payload.len() as u64);
            state.queued_bytes += payload.len() as u64;
            state.queued.add(*points);
        }
        let peek = matches!(call, Call::Peek(..));
        let patience = match call {
            Call::Sync(_) => LAST_CHANCE,
            _ if state.overdue => Duration::ZERO,
            _ => self.patience,
        };
        state.asked += 1;
        state.queue.push_back(call);
        desk.changed.notify_all();
        let asked = state.asked;
        state.awaited = Some(asked);
        let waited = desk.changed.wait_timeout_while(state, patience, |state| state.done < asked);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        state.awaited = None;
        if waited.timed_out() {
            if peek && matches!(state.queue.back(), Some(Call::Peek(..))) {
                state.queue.pop_back();
                state.asked -= 1;
            } else if peek {
                state.late_wanted = true;
            }
            state.overdue = state.pending();
            return None;
        }
        Some(std::mem::take(&mut state.answer))
    }

    /// Says when the disk hangs, and when it is back.
    fn tell(&mut self, state: &State) {
        let hangs = state.overdue && state.busy.is_some_and(|(_, since)| since.elapsed() >= SAY_AFTER);
        self.silence.look(hangs, !state.overdue && !state.pending(), &self.dir, Instant::now());
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
        let mut state = self.desk.lock();
        // More than memory may hold goes to a disk that takes it at once, or nowhere.
        if payload.len() as u64 > MEMORY_MAX_BYTES && (state.overdue || state.pending()) {
            state.dropped.add(DropReason::Io, points);
            return PushOutcome { seq: 0, kept: Kept::Not(DropReason::Io), dropped: 1 };
        }
        drop(state);
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
        !self.desk.lock().seen.in_memory
    }

    fn patience(&self) -> Duration {
        self.patience.max(LAST_CHANCE)
    }

    fn on_wake(&mut self, wake: Wake) {
        drop(self.desk.wake.set(wake));
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
