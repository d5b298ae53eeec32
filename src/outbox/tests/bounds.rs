//! Bounds in bytes, the size of a peek, and memory after a peak.

use super::*;

fn small(max_bytes: u64) -> Limits {
    Limits { max_bytes, ..limits() }
}

#[test]
fn the_size_bound_drops_the_oldest_and_counts_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open_faulty(dir.path(), small(3 * (64 + 100))).0;
    let mut memory = MemoryStore::new(small(3 * 200));
    for store in [&mut disk as &mut dyn Store, &mut memory] {
        for n in 0..5 {
            let outcome = store.push(&[b'0' + n; 100], 10, at(0));
            assert_eq!(outcome.dropped, u64::from(n >= 3));
        }
        let texts = contents(store, at(0));
        assert_eq!(texts, ["2".repeat(100), "3".repeat(100), "4".repeat(100)]);
        assert_eq!(store.dropped().get(DropReason::Size), Tally { batches: 2, points: 20 });
        assert_eq!(store.dropped().total(), Tally { batches: 2, points: 20 });
    }
    assert_eq!(disk.bytes(), 3 * 164);
    assert_eq!(records(dir.path()).len(), 3);
}

#[test]
fn a_batch_larger_than_the_outbox_is_dropped_and_costs_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open_faulty(dir.path(), small(1000)).0;
    let mut memory = MemoryStore::new(small(1000));
    for store in [&mut disk as &mut dyn Store, &mut memory] {
        store.push(b"small", 1, at(0));
        let outcome = store.push(&[0; 1000], 4, at(0));
        assert_eq!((outcome.kept, outcome.dropped), (Kept::Not(DropReason::Size), 1));
        assert_eq!(store.dropped().total(), Tally { batches: 1, points: 4 });
        assert_eq!(contents(store, at(0)), ["small"]);
    }
}

#[test]
fn a_smaller_bound_at_the_next_start_drops_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    push_all(&mut open_dir(dir.path()), &["1", "2", "3"]);
    let (mut store, _) = open_faulty(dir.path(), small(2 * 65));
    assert_eq!(contents(&mut store, at(0)), ["2", "3"]);
    assert_eq!(store.dropped().get(DropReason::Size).batches, 1);
}

#[test]
fn a_peek_gives_at_least_one_and_no_more_than_fit() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open_faulty(dir.path(), limits()).0;
    let mut memory = MemoryStore::new(limits());
    for store in [&mut disk as &mut dyn Store, &mut memory] {
        assert!(store.peek(100, at(0)).is_empty());
        for size in [100, 40, 40, 40] {
            store.push(&vec![b'x'; size], 1, at(0));
        }
        for (max, count) in [(0, 1), (99, 1), (100, 1), (139, 1), (140, 2), (219, 3), (220, 4), (usize::MAX, 4)] {
            assert_eq!(store.peek(max, at(0)).len(), count, "{max}");
        }
        store.remove(&[1]);
        assert_eq!(store.peek(10, at(0))[0].seq, 2);
        assert_eq!(store.peek(99, at(0)).len(), 2);
    }
}

#[test]
fn an_empty_payload_is_a_batch_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    push_all(&mut open_dir(dir.path()), &["", "x"]);
    assert_eq!(contents(&mut open_dir(dir.path()), at(0)), ["", "x"]);
}

#[test]
fn the_index_and_the_queue_give_their_memory_back_after_a_peak() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    faults.lock().unwrap().write = Some(Errno::IO);
    for _ in 0..5000 {
        store.push(b"x", 1, at(0));
    }
    assert!(store.index.capacity() >= 5000 && store.held.capacity() >= 5000);
    let seqs: Vec<u64> = store.peek(usize::MAX, at(0)).iter().map(|batch| batch.seq).collect();
    store.remove(&seqs[..4990]);
    assert!(store.index.capacity() <= 40 && store.held.capacity() <= 40);
    store.remove(&seqs);
    assert_eq!((store.index.capacity(), store.held.capacity()), (0, 0));
    assert_eq!((store.bytes, store.held_bytes), (0, 0));
}

#[test]
fn what_is_resident_of_a_batch_on_disk_is_24_bytes() {
    assert_eq!(size_of::<crate::outbox::disk::Entry>(), 24);
}
