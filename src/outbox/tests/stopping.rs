//! Tests of shutdown: the worker saves pending batches, and those that it cannot save are counted as lost.

use super::*;

#[test]
fn the_rest_is_saved_at_the_end() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    (0..3).for_each(|n| outbox.push(&n.to_string(), at(0)));
    outbox.shared.lock().phase = Phase::Saving;
    outbox.settle(at(0));
    assert_eq!(fs.records().len(), 3);
    assert_eq!(outbox.worker.step(outbox.clock, &at(0)), Step::End);
    assert_eq!(outbox.shared.lock().queue.close(), Tally::default());
    drop(outbox);
    assert_eq!(Outbox::open(&fs, limits()).drain(at(1)), ["0", "1", "2"]);
}

#[test]
fn a_directory_that_refuses_is_tried_once_more_at_the_end_and_the_rest_is_counted() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    fs.fail(Faults { write: Some(Errno::IO), ..Faults::default() });
    outbox.fail(at(0));
    (0..3).for_each(|n| outbox.push(&n.to_string(), at(0)));
    outbox.settle(at(0));
    outbox.shared.lock().phase = Phase::Saving;
    outbox.settle(at(0));
    assert_eq!(outbox.worker.step(outbox.clock, &at(0)), Step::End);
    assert_eq!(outbox.shared.lock().queue.close(), Tally { batches: 3, points: 3 });
    assert_eq!(outbox.stats().lost_at_end, 3);
}

#[test]
fn a_directory_that_was_missing_is_opened_at_the_end_if_it_can_be() {
    let fs = FakeFs::default();
    fs.fail(Faults { open: Some(Errno::ACCESS), ..Faults::default() });
    let mut outbox = Outbox::open(&fs, limits());
    outbox.push("x", at(0));
    fs.fail(Faults::default());
    outbox.settle(at(0));
    assert!(fs.records().is_empty());
    outbox.shared.lock().phase = Phase::Saving;
    outbox.settle(at(0));
    assert_eq!(fs.records().len(), 1);
}
