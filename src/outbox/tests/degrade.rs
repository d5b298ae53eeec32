//! A disk that refuses costs durability for a while, then the oldest; never the agent, never the order.

use super::*;

/// A moment after any retry is due.
const LATER: u64 = 1000;

#[test]
fn batches_refused_by_the_disk_wait_in_memory_and_follow_in_order_when_it_works() {
    for errno in [Errno::IO, Errno::ROFS, Errno::NOSPC, Errno::DQUOT] {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, faults) = open_faulty(dir.path(), limits());
        faults.lock().unwrap().write = Some(errno);
        for text in ["1", "2", "3"] {
            assert_eq!(store.push(text.as_bytes(), 1, at(1)).kept, Kept::InMemory, "{errno}");
        }
        assert_eq!(contents(&mut store, at(1)), ["1", "2", "3"]);
        assert_eq!(store.sync(at(1)), Tally { batches: 3, points: 3 }, "what an exit would lose");
        faults.lock().unwrap().write = None;
        assert_eq!(store.push(b"4", 1, at(LATER)).kept, Kept::OnDisk, "{errno}");
        assert_eq!(records(dir.path()).len(), 4);
        assert_eq!(contents(&mut store, at(LATER)), ["1", "2", "3", "4"]);
        assert_eq!(store.sync(at(LATER)), Tally::default());
        drop(store);
        assert_eq!(contents(&mut open_dir(dir.path()), at(LATER)), ["1", "2", "3", "4"]);
    }
}

#[test]
fn a_disk_that_fails_again_while_memory_drains_keeps_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    push_all(&mut store, &["0"]);
    faults.lock().unwrap().write = Some(Errno::IO);
    push_all(&mut store, &["1", "2"]);
    // Room for one record more: the lock file is empty, each record takes a block.
    *faults.lock().unwrap() = Faults { capacity: Some(2 * 4096), remove: Some(Errno::IO), ..Faults::default() };
    store.push(b"3", 1, at(LATER));
    assert_eq!(contents(&mut store, at(LATER)).last().unwrap(), "3");
    *faults.lock().unwrap() = Faults::default();
    store.push(b"4", 1, at(2 * LATER));
    let texts = contents(&mut store, at(2 * LATER));
    assert!(texts.is_sorted() && texts.ends_with(&["2".into(), "3".into(), "4".into()]), "{texts:?}");
}

#[test]
fn a_disk_that_refuses_is_not_asked_at_every_push() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    let before = faults.lock().unwrap().writes;
    faults.lock().unwrap().write = Some(Errno::IO);
    for tenth in 0..6000 {
        let now = Moment { up: Duration::from_millis(tenth * 100), ..at(0) };
        store.push(b"x", 1, now);
    }
    let asked = faults.lock().unwrap().writes - before;
    assert!((20..30).contains(&asked), "{asked} times in ten minutes");
}

#[test]
fn a_full_disk_costs_the_oldest_and_only_as_many_as_the_new_one_needs() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    push_all(&mut store, &["1", "2", "3", "4"]);
    faults.lock().unwrap().capacity = Some(4 * 4096);
    let outcome = store.push(b"5", 1, at(1));
    assert_eq!((outcome.kept, outcome.dropped), (Kept::OnDisk, 1));
    assert_eq!(contents(&mut store, at(1)), ["2", "3", "4", "5"]);
    let outcome = store.push(&[b'6'; 5000], 1, at(2));
    assert_eq!((outcome.kept, outcome.dropped), (Kept::OnDisk, 2));
    assert_eq!(store.dropped().get(DropReason::Io), Tally { batches: 3, points: 3 });
    assert_eq!(store.len(), 3);
    drop(store);
    let mut store = open_dir(dir.path());
    assert_eq!(store.len(), 3);
    assert_eq!(store.dropped(), DropCounts::default(), "no torn file is left");
    assert_eq!(contents(&mut store, at(3)).len(), 3);
}

#[test]
fn a_disk_filled_by_others_does_not_cost_the_whole_backlog() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    push_all(&mut store, &["1", "2", "3", "4", "5", "6", "7", "8"]);
    faults.lock().unwrap().capacity = Some(0);
    let outcome = store.push(b"9", 1, at(1));
    assert_eq!((outcome.kept, outcome.dropped), (Kept::InMemory, 1));
    assert_eq!(store.push(b"10", 1, at(1)).dropped, 0);
    assert_eq!(contents(&mut store, at(1)), ["2", "3", "4", "5", "6", "7", "8", "9", "10"]);
}

#[test]
fn memory_for_a_refusing_disk_is_bounded_and_loses_its_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    store.push(b"on disk", 1, at(0));
    faults.lock().unwrap().write = Some(Errno::IO);
    let payload = vec![7; 1 << 20];
    for _ in 0..10 {
        assert_eq!(store.push(&payload, 2, at(1)).kept, Kept::InMemory);
    }
    assert_eq!(store.len(), 1 + 3, "three of a mebibyte and a header fit into four mebibytes");
    assert_eq!(store.dropped().get(DropReason::Io), Tally { batches: 7, points: 14 });
    assert!(store.bytes() <= 4 << 20);
    let seqs: Vec<u64> = store.peek(usize::MAX, at(1)).iter().map(|batch| batch.seq).collect();
    assert_eq!(seqs, [1, 9, 10, 11]);
    let outcome = store.push(&vec![7; 5 << 20], 2, at(1));
    assert_eq!((outcome.kept, outcome.dropped), (Kept::Not(DropReason::Io), 1));
    assert_eq!(store.len(), 4);
}

#[test]
fn batches_in_memory_can_be_sent_and_removed_before_the_disk_works() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    store.push(b"1", 1, at(0));
    faults.lock().unwrap().write = Some(Errno::IO);
    push_all(&mut store, &["2", "3", "4"]);
    assert_eq!(store.remove(&[1, 3]), 2);
    assert_eq!(contents(&mut store, at(1)), ["2", "4"]);
    assert_eq!(store.refuse(&[2, 99]), 1);
    assert_eq!(store.dropped().get(DropReason::Refused).batches, 1);
    assert_eq!(store.remove(&[4]), 1);
    assert_eq!((store.len(), store.bytes()), (0, 0));
    faults.lock().unwrap().write = None;
    assert_eq!(store.push(b"5", 1, at(LATER)).kept, Kept::OnDisk);
}

#[test]
fn a_record_whose_directory_did_not_sync_is_there_once_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    faults.lock().unwrap().sync_dir = Some(Errno::IO);
    faults.lock().unwrap().remove = Some(Errno::IO);
    assert_eq!(store.push(b"1", 1, at(0)).kept, Kept::InMemory);
    *faults.lock().unwrap() = Faults::default();
    assert_eq!(store.push(b"2", 1, at(LATER)).kept, Kept::OnDisk);
    drop(store);
    assert_eq!(contents(&mut open_dir(dir.path()), at(LATER)), ["1", "2"]);
}

#[test]
fn a_sent_batch_that_cannot_be_deleted_is_not_sent_again_and_deleted_later() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    push_all(&mut store, &["1", "2"]);
    faults.lock().unwrap().remove = Some(Errno::ROFS);
    assert_eq!(store.remove(&[1]), 1);
    assert_eq!(contents(&mut store, at(0)), ["2"]);
    assert_eq!(records(dir.path()).len(), 2);
    faults.lock().unwrap().remove = None;
    store.push(b"3", 1, at(1));
    assert_eq!(records(dir.path()).len(), 2);
}

#[test]
fn every_push_is_synced_before_it_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    for n in 1..=3 {
        store.push(b"x", 1, at(0));
        assert_eq!(faults.lock().unwrap().syncs, n);
    }
}
