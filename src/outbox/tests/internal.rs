//! Tests of internal errors of the sender and the worker.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::sender::Sender;
use super::*;
use crate::export::verdict::Accepted;
use crate::export::wire::{Answer, Carrier};

/// A server whose first two requests end in a panic.
#[derive(Clone, Default)]
struct Faulty(Arc<AtomicUsize>);

impl Carrier for Faulty {
    fn send(&self, _pieces: Vec<Bytes>) -> Answer {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) >= 2, "a fault that the test wants");
        Box::pin(async { Ok(Accepted::default()) })
    }

    fn refresh(self: &Arc<Self>, _now: bool) {}
    fn replace(&self) {}
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_the_sender_costs_a_try_and_not_the_delivery() {
    let shared = Shared::new(Queue::new(limits(), false));
    let carrier = Faulty::default();
    let tuning = Tuning::default();
    let sender = Sender::new(shared.clone(), Arc::new(carrier.clone()), "http://faulty", HOUR, tuning);
    let sender = tokio::spawn(sender.run());
    shared.lock().queue.push(Bytes::from_static(b"x"), 1, &Moment::now());
    shared.wake.notify_one();
    tokio::time::timeout(HOUR, async {
        while shared.snapshot().exported_batches == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(carrier.0.load(Ordering::SeqCst), 3);
    assert!(!sender.is_finished());
}

#[test]
fn a_fault_in_the_worker_restarts_it() {
    let fs = FakeFs::default();
    fs.fail(Faults { panics: 1, ..Faults::default() });
    let shared = Shared::new(Queue::new(limits(), true));
    Worker::new(shared.clone(), fs.clone(), DIR.into(), BOOT).spawn().unwrap();
    let begun = Instant::now();
    while shared.lock().directory != Directory::Open {
        assert!(begun.elapsed() < Duration::from_secs(20), "the worker is not restarted");
        std::thread::sleep(Duration::from_millis(1));
    }
    shared.lock().queue.push(Bytes::from_static(b"x"), 1, &Moment::now());
    shared.lock().phase = Phase::Saving;
    shared.wake_worker();
    while shared.lock().directory != Directory::None {
        assert!(begun.elapsed() < Duration::from_secs(20), "the worker does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(fs.records().len(), 1);
    assert!(!fs.disk().locked, "the directory is free");
}

#[tokio::test(start_paused = true)]
async fn when_the_sender_ends_early_what_waits_is_saved() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    let carrier = Arc::new(Faulty::default());
    let sender = Sender::new(outbox.shared.clone(), carrier, "http://faulty", HOUR, Tuning::default());
    outbox.push("x", at(0));
    drop(sender.run());
    outbox.settle(at(0));
    assert_eq!(fs.records().len(), 1);
}
