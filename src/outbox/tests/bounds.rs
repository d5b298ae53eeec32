//! Tests of the limits on size and age.

use super::*;

/// Limits for a queue of `n` one-byte batches.
fn room_for(n: u64) -> Limits {
    Limits { max_bytes: n * 65, ..limits() }
}

#[test]
fn a_full_queue_drops_the_oldest_that_is_not_under_way() {
    let mut outbox = Outbox::open(&FakeFs::default(), room_for(3));
    (0..3).for_each(|n| outbox.push(&n.to_string(), at(0)));
    assert_eq!(outbox.take(1, at(0)), ["0"]);
    (3..5).for_each(|n| outbox.push(&n.to_string(), at(0)));
    assert_eq!(outbox.dropped(DropReason::Size), 2);
    outbox.shared.lock().queue.delivered(0, None);
    assert_eq!(outbox.drain(at(0)), ["3", "4"]);
    assert_eq!(outbox.stats().exported_batches + outbox.dropped(DropReason::Size), 5);
}

#[test]
fn a_batch_larger_than_the_outbox_has_one_try_and_is_lost_alone() {
    let mut outbox = Outbox::open(&FakeFs::default(), room_for(3));
    let large = "x".repeat(1000);
    outbox.push(&large, at(0));
    outbox.push("1", at(0));
    assert_eq!(outbox.take(usize::MAX, at(0)), [large.clone(), "1".into()]);
    outbox.shared.lock().queue.delivered(0, None);
    assert_eq!(outbox.stats().exported_batches, 2, "a healthy server gets it");
    outbox.push("2", at(1));
    outbox.push(&large, at(1));
    outbox.push("3", at(1));
    outbox.fail(at(1));
    outbox.push(&large, at(2));
    outbox.push("4", at(2));
    assert_eq!((outbox.dropped(DropReason::Oversize), outbox.dropped(DropReason::Size)), (2, 0));
    assert_eq!(outbox.drain(at(3)), ["2", "3", "4"]);
}

#[test]
fn a_batch_that_is_too_old_is_dropped_and_not_sent() {
    let mut outbox = Outbox::open(&FakeFs::default(), Limits { max_age: HOUR, ..limits() });
    outbox.push("old", at(0));
    outbox.push("new", at(3_000));
    outbox.fail(at(3_000));
    outbox.settle(at(3_000));
    assert_eq!(outbox.drain(at(3_601)), ["new"]);
    assert_eq!(outbox.dropped(DropReason::Age), 1);
}

/// The number of batches left after a restart at `now` with the boot id `boot`, if one batch was pushed at `pushed`.
fn after_restart(pushed: Moment, now: Moment, boot: u128) -> usize {
    let fs = FakeFs::default();
    let limits = Limits { max_age: HOUR, ..limits() };
    let mut outbox = Outbox::open(&fs, limits);
    outbox.push("x", pushed);
    outbox.fail(pushed);
    outbox.settle(pushed);
    drop(outbox);
    let mut outbox = Outbox::closed(&fs, limits);
    outbox.worker = Worker::new(outbox.shared.clone(), fs, DIR.into(), boot);
    outbox.settle(now);
    outbox.drain(now).len()
}

#[test]
fn age_counts_across_a_restart_by_the_boots_clock_and_across_a_reboot_by_the_wall() {
    let stepped = |secs: u64, wall: u64| Moment { wall: UNIX_EPOCH + TODAY + Duration::from_secs(wall), ..at(secs) };
    assert_eq!(after_restart(at(100), stepped(3_600, 90_000), BOOT), 1, "a wall clock that stepped changes nothing");
    assert_eq!(after_restart(at(100), stepped(3_800, 0), BOOT), 0);
    assert_eq!(after_restart(at(100), stepped(5, 3_000), 7), 1);
    assert_eq!(after_restart(at(100), stepped(5, 3_800), 7), 0);
    assert_eq!(after_restart(at(9_000), stepped(5, 100), 7), 1, "a stamp from the future counts as fresh");
    let never_set = Moment { wall: UNIX_EPOCH + Duration::from_secs(60), ..at(60) };
    assert_eq!(after_restart(never_set, stepped(5, 0), 7), 1, "a clock that was never set tells nothing");
}

#[test]
fn a_smaller_limit_after_a_restart_drops_the_oldest_records() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    (0..5).for_each(|n| outbox.push(&n.to_string(), at(0)));
    outbox.fail(at(0));
    outbox.settle(at(0));
    drop(outbox);
    let mut outbox = Outbox::open(&fs, room_for(2));
    assert_eq!((outbox.dropped(DropReason::Size), fs.records().len()), (3, 2));
    assert_eq!(outbox.drain(at(1)), ["3", "4"]);
}

#[test]
fn memory_comes_back_after_a_peak() {
    let mut outbox = Outbox::open(&FakeFs::default(), limits());
    (0..10_000).for_each(|n| outbox.push(&n.to_string(), at(0)));
    assert_eq!(outbox.drain(at(0)).len(), 10_000);
    assert_eq!(outbox.shared.lock().queue.entries.capacity(), 0);
}
