//! Tests of an unusable directory: batches wait in memory and move to disk once it is usable.

use super::sender::Sender;
use super::*;
use crate::export::verdict::Accepted;
use crate::export::wire::{Answer, Carrier};

/// A server that accepts everything and keeps the texts.
#[derive(Clone, Default)]
struct Accepting(Arc<Mutex<Vec<String>>>);

impl Carrier for Accepting {
    fn send(&self, pieces: Vec<Bytes>) -> Answer {
        let texts = pieces.into_iter().map(|piece| String::from_utf8(piece.to_vec()).unwrap());
        self.0.lock().unwrap().extend(texts);
        Box::pin(async { Ok(Accepted::default()) })
    }

    fn refresh(self: &Arc<Self>, _now: bool) {}
    fn replace(&self) {}
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_locked_at_the_start_and_freed_later_is_not_overtaken() {
    let fs = FakeFs::default();
    let mut other = Outbox::open(&fs, limits());
    other.push("theirs", at(0));
    other.fail(at(0));
    other.settle(at(0));
    let (mut outbox, server) = (Outbox::closed(&fs, limits()), Accepting::default());
    let carrier = Arc::new(server.clone());
    let sender = Sender::new(outbox.shared.clone(), carrier, "http://accepting", HOUR, Tuning::default());
    let sender = tokio::spawn(sender.run());
    outbox.push("ours", Moment::now());
    let mut other = Some(other);
    for second in 0..30 {
        outbox.settle_after(1, Moment::now());
        // As long as the stop of an agent may take.
        if second == 5 {
            assert!(server.0.lock().unwrap().is_empty(), "nothing is sent before the directory is read");
            other = None;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(other.is_none());
    assert_eq!(*server.0.lock().unwrap(), ["theirs", "ours"]);
    sender.abort();
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_stays_locked_holds_up_sending_for_30_s() {
    let fs = FakeFs::default();
    let _other = Outbox::open(&fs, limits());
    let (mut outbox, server) = (Outbox::closed(&fs, limits()), Accepting::default());
    let carrier = Arc::new(server.clone());
    let sender = Sender::new(outbox.shared.clone(), carrier, "http://accepting", HOUR, Tuning::default());
    let sender = tokio::spawn(sender.run());
    outbox.push("ours", Moment::now());
    for second in 0..32 {
        assert!(second >= 30 || server.0.lock().unwrap().is_empty(), "sent after {second} s");
        outbox.settle_after(1, Moment::now());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(*server.0.lock().unwrap(), ["ours"]);
    sender.abort();
}

#[test]
fn while_all_is_well_nothing_is_written() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    for n in 0..5 {
        outbox.push(&n.to_string(), at(n));
        outbox.settle(at(n));
        assert_eq!(outbox.take(usize::MAX, at(n)), [n.to_string()]);
        outbox.shared.lock().queue.delivered(0, None);
        outbox.settle(at(n));
    }
    assert!(fs.records().is_empty());
    assert_eq!(fs.disk().writes, 0);
}

#[test]
fn a_batch_is_written_when_its_request_takes_long_and_deleted_when_it_was_accepted() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    outbox.push("slow", at(0));
    assert_eq!(outbox.take(usize::MAX, at(0)), ["slow"]);
    outbox.shared.lock().queue.slow = true;
    outbox.settle(at(1));
    assert_eq!(fs.records().len(), 1);
    outbox.shared.lock().queue.delivered(0, None);
    outbox.settle(at(2));
    assert_eq!((fs.records().len(), outbox.stats().exported_batches), (0, 1));
}

#[test]
fn a_batch_that_was_accepted_while_it_was_written_is_not_left_on_disk() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    outbox.push("quick", at(0));
    outbox.take(usize::MAX, at(0));
    let id = outbox.shared.lock().queue.entries[0].id;
    // As if the worker were between the write and reporting it.
    outbox.shared.lock().queue.delivered(0, None);
    outbox.shared.lock().queue.saved(id, 5);
    assert_eq!(outbox.shared.lock().queue.trash, [id]);
}

#[test]
fn a_directory_that_refuses_is_tried_again_and_order_holds_across_it() {
    for faults in [
        Faults { write: Some(Errno::ROFS), ..Faults::default() },
        Faults { rename: Some(Errno::IO), ..Faults::default() },
        Faults { sync: Some(Errno::IO), ..Faults::default() },
        Faults { capacity: Some(0), ..Faults::default() },
    ] {
        let fs = FakeFs::default();
        let mut outbox = Outbox::open(&fs, limits());
        outbox.push("1", at(0));
        outbox.fail(at(0));
        fs.fail(faults.clone());
        outbox.settle(at(0));
        outbox.push("2", at(1));
        outbox.settle(at(1));
        assert_eq!(fs.records().len(), 0, "{faults:?}");
        fs.fail(Faults::default());
        outbox.settle(at(1));
        assert_eq!(fs.records().len(), 0, "{faults:?}: not before its time");
        outbox.settle_after(60, at(61));
        outbox.push("3", at(61));
        outbox.settle(at(61));
        assert_eq!(fs.records().len(), 3, "{faults:?}");
        assert_eq!(outbox.drain(at(62)), ["1", "2", "3"], "{faults:?}");
        assert_eq!(outbox.stats().dropped.total().batches, 0, "{faults:?}");
    }
}

#[test]
fn a_directory_of_another_agent_is_taken_over_when_that_ends_and_its_batches_go_first() {
    let fs = FakeFs::default();
    let mut other = Outbox::open(&fs, limits());
    other.push("theirs", at(0));
    other.fail(at(0));
    other.settle(at(0));
    let mut outbox = Outbox::open(&fs, limits());
    assert_eq!(outbox.shared.lock().directory, Directory::Unusable);
    outbox.push("ours 1", at(1));
    outbox.push("ours 2", at(1));
    outbox.settle_after(60, at(60));
    assert_eq!(outbox.shared.lock().directory, Directory::Unusable);
    drop(other);
    outbox.settle_after(60, at(120));
    assert_eq!(outbox.shared.lock().directory, Directory::Open);
    assert_eq!(fs.records().len(), 3, "what comes behind a backlog is written");
    assert_eq!(outbox.drain(at(121)), ["theirs", "ours 1", "ours 2"]);
    assert!(fs.records().is_empty());
}

#[test]
fn numbers_go_on_after_the_highest_found_whenever_the_directory_opens() {
    let fs = FakeFs::default();
    let mut first = Outbox::open(&fs, limits());
    (0..3).for_each(|n| first.push(&n.to_string(), at(0)));
    first.fail(at(0));
    first.settle(at(0));
    drop(first);
    let mut second = Outbox::closed(&fs, limits());
    second.push("late", at(1));
    second.fail(at(1));
    second.settle(at(1));
    let names: Vec<_> = (1..=4).map(|n| format!("{n:020}.batch")).collect();
    assert_eq!(fs.records(), names);
}

#[test]
fn a_full_disk_loses_the_oldest_and_only_as_many_as_one_new_batch_needs() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    fs.fail(Faults { capacity: Some(3 * 4096), ..Faults::default() });
    outbox.fail(at(0));
    for n in 0..5 {
        outbox.push(&n.to_string(), at(n));
        outbox.settle_after(60, at(n));
    }
    assert_eq!((outbox.dropped(DropReason::Io), fs.records().len()), (2, 3));
    assert_eq!(outbox.drain(at(9)), ["2", "3", "4"]);
}

#[test]
fn a_record_that_cannot_be_deleted_is_deleted_later() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    outbox.push("1", at(0));
    outbox.fail(at(0));
    outbox.settle(at(0));
    fs.fail(Faults { remove: Some(Errno::IO), ..Faults::default() });
    assert_eq!(outbox.drain(at(1)), ["1"]);
    assert_eq!(fs.records().len(), 1);
    fs.fail(Faults::default());
    outbox.push("2", at(2));
    outbox.fail(at(2));
    outbox.settle(at(2));
    assert_eq!(fs.records(), [format!("{:020}.batch", 2)]);
}

#[test]
fn the_batches_that_wait_for_the_disk_are_bounded_and_the_oldest_are_dropped() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    fs.fail(Faults { write: Some(Errno::IO), ..Faults::default() });
    outbox.fail(at(0));
    let mebibyte = "x".repeat(1 << 20);
    for n in 0..8 {
        outbox.push(&format!("{n}{mebibyte}"), at(n));
        outbox.settle(at(n));
    }
    assert_eq!((outbox.dropped(DropReason::Io), outbox.stats().outbox_batches), (4, 4));
    fs.fail(Faults::default());
    outbox.settle_after(60, at(60));
    assert!(outbox.drain(at(60))[0].starts_with('4'));
}
