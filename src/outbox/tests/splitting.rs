//! Tests of batches that are sent in parts: after each part, queue and record hold only the rest.

use super::*;

#[test]
fn the_rest_of_a_batch_replaces_it_in_the_queue_on_disk_and_in_the_account() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    outbox.shared.lock().queue.push(Bytes::from_static(b"whole"), 10, &at(0));
    outbox.push("next", at(0));
    outbox.fail(at(0));
    outbox.settle(at(0));
    outbox.take(1, at(0));
    outbox.shared.lock().queue.delivered(1, Some((Bytes::from_static(b"rest"), 4)));
    let stats = outbox.stats();
    assert_eq!((stats.exported_points, stats.rejected_points, stats.exported_batches), (5, 1, 0));
    assert_eq!((stats.outbox_points, stats.outbox_batches), (5, 2));
    assert_eq!(take(&outbox.shared, 1, at(0)), None, "the rest is not sent before its record is replaced");
    outbox.settle(at(0));
    assert!(take(&outbox.shared, 1, at(0)).is_some());
    // After a kill here, only the rest is sent again.
    drop(outbox);
    let mut outbox = Outbox::open(&fs, limits());
    assert_eq!(outbox.stats().outbox_points, 5);
    assert_eq!(outbox.drain(at(1)), ["rest", "next"]);
}

#[test]
fn a_batch_that_is_dropped_after_a_part_was_accepted_counts_only_its_rest_as_lost() {
    let mut outbox = Outbox::open(&FakeFs::default(), Limits { max_bytes: 200, ..limits() });
    outbox.shared.lock().queue.push(Bytes::from_static(b"whole"), 10, &at(0));
    outbox.take(1, at(0));
    outbox.shared.lock().queue.delivered(0, Some((Bytes::from_static(b"rest"), 4)));
    (0..3).for_each(|n| outbox.push(&n.to_string(), at(0)));
    let stats = outbox.stats();
    assert_eq!(stats.dropped.get(DropReason::Size), Tally { batches: 1, points: 4 });
    assert_eq!(stats.exported_points + stats.dropped.total().points + stats.outbox_points, 13);
}

#[test]
fn a_part_that_is_rejected_counts_its_points_and_the_rest_goes_on() {
    let mut outbox = Outbox::open(&FakeFs::default(), limits());
    outbox.shared.lock().queue.push(Bytes::from_static(b"whole"), 10, &at(0));
    outbox.take(1, at(0));
    outbox.shared.lock().queue.refused(Some((Bytes::from_static(b"rest"), 4)));
    assert_eq!(outbox.stats().dropped.get(DropReason::Refused), Tally { batches: 0, points: 6 });
    assert_eq!(outbox.drain(at(0)), ["rest"]);
    assert_eq!(outbox.stats().exported_points, 4);
}

#[test]
fn a_part_that_is_accepted_while_the_whole_is_written_holds_up_the_rest_until_the_record_is_replaced() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    outbox.shared.lock().queue.push(Bytes::from_static(b"whole"), 10, &at(0));
    assert!(take(&outbox.shared, 1, at(0)).is_some());
    outbox.shared.lock().queue.slow = true;
    let shared = outbox.shared.clone();
    let job = outbox.worker.next(&mut shared.lock(), outbox.clock);
    assert!(matches!(job, Job::Write(_)), "{job:?}");
    outbox.shared.lock().queue.delivered(0, Some((Bytes::from_static(b"rest"), 4)));
    assert_eq!(take(&outbox.shared, 1, at(0)), None, "a kill now would send the whole again");
    outbox.worker.perform(job, outbox.clock, &at(0));
    assert_eq!(take(&outbox.shared, 1, at(0)), None);
    outbox.settle(at(0));
    assert!(take(&outbox.shared, 1, at(0)).is_some());
    drop((outbox, shared));
    assert_eq!(Outbox::open(&fs, limits()).drain(at(1)), ["rest"]);
}
