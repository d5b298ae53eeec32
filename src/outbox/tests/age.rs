//! Ages under a wall clock that steps.

use super::*;

const DAY: u64 = 24 * 3600;

fn wall(secs: u64) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

/// Opens the directory as another boot of the host would.
fn open_after_reboot(dir: &Path, now: Moment) -> DiskStore {
    DiskStore::open(dir, limits(), BOOT + 1, now).unwrap()
}

#[test]
fn batches_over_the_age_bound_are_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open_dir(dir.path());
    let mut memory = MemoryStore::new(limits());
    for store in [&mut disk as &mut dyn Store, &mut memory] {
        store.push(b"old", 5, at(0));
        store.push(b"young", 7, at(3600));
        assert_eq!(contents(store, at(DAY)), ["old", "young"], "a day old is not over a day");
        assert_eq!(contents(store, at(DAY + 1)), ["young"]);
        assert_eq!(store.dropped().get(DropReason::Age), Tally { batches: 1, points: 5 });
        store.push(b"new", 1, at(DAY + 3601));
        assert_eq!(store.len(), 1);
        assert_eq!(store.oldest(at(DAY + 3603)), Some(Duration::from_secs(2)));
    }
    assert_eq!(records(dir.path()).len(), 1);
}

#[test]
fn a_wall_clock_stepping_back_and_forth_changes_no_age() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open_dir(dir.path());
    let mut memory = MemoryStore::new(limits());
    for store in [&mut disk as &mut dyn Store, &mut memory] {
        store.push(b"text", 1, at(0));
        for wall in [wall(0), wall(4_000_000_000), wall(1_000_000_000)] {
            let now = Moment { wall, ..at(60) };
            assert_eq!(store.oldest(now), Some(Duration::from_secs(60)));
            store.push(b"text", 1, now);
            assert_eq!(store.oldest(now), Some(Duration::from_secs(60)));
        }
        assert_eq!(store.peek(usize::MAX, at(120)).len(), 4);
        assert_eq!(store.peek(usize::MAX, at(DAY + 120)).len(), 0, "nor is anything kept for ever");
        assert_eq!(store.dropped().get(DropReason::Age).batches, 4);
    }
}

#[test]
fn a_restart_in_the_same_boot_knows_ages_whatever_the_wall_clock_did() {
    for restart_wall in [wall(0), wall(4_000_000_000), at(3600).wall] {
        let dir = tempfile::tempdir().unwrap();
        open_dir(dir.path()).push(b"text", 1, at(60));
        let now = Moment { wall: restart_wall, ..at(3660) };
        let store = DiskStore::open(dir.path(), limits(), BOOT, now).unwrap();
        assert_eq!(store.oldest(now), Some(HOUR));
    }
}

#[test]
fn after_a_reboot_ages_come_from_the_wall_clock_once() {
    let dir = tempfile::tempdir().unwrap();
    open_dir(dir.path()).push(b"text", 1, at(50_000));
    // An hour later by the wall clock, ten seconds after the boot.
    let now = Moment { wall: at(50_000).wall + HOUR, up: Duration::from_secs(10) };
    let mut store = open_after_reboot(dir.path(), now);
    assert_eq!(store.oldest(now), Some(HOUR));
    let stepped = Moment { wall: wall(4_000_000_000), up: Duration::from_secs(20) };
    assert_eq!(store.oldest(stepped), Some(HOUR + Duration::from_secs(10)));
    assert_eq!(contents(&mut store, stepped), ["text"]);
    assert_eq!(contents(&mut store, at(23 * 3600 + 11)), [""; 0]);
}

#[test]
fn a_record_older_than_the_bound_is_dropped_at_opening_after_a_reboot() {
    let dir = tempfile::tempdir().unwrap();
    open_dir(dir.path()).push(b"text", 3, at(0));
    let now = Moment { up: Duration::from_secs(10), ..at(DAY + 1) };
    let store = open_after_reboot(dir.path(), now);
    assert_eq!(store.len(), 0);
    assert_eq!(store.dropped().get(DropReason::Age), Tally { batches: 1, points: 3 });
}

#[test]
fn a_record_from_the_future_is_fresh_and_ages_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    open_dir(dir.path()).push(b"text", 1, at(0));
    // A board without a battery: the wall clock is back in 1970 at the opening, right a minute later.
    let boot = Moment { wall: wall(5), up: Duration::from_secs(5) };
    let mut store = open_after_reboot(dir.path(), boot);
    assert_eq!(store.oldest(boot), Some(Duration::ZERO));
    let right = Moment { up: Duration::from_secs(65), ..at(30 * DAY) };
    assert_eq!(store.oldest(right), Some(Duration::from_secs(60)));
    assert_eq!(contents(&mut store, right), ["text"]);
    let day_later = Moment { wall: wall(6), up: Duration::from_secs(DAY + 6) };
    assert_eq!(contents(&mut store, day_later), [""; 0], "nor is it kept for ever");
}

#[test]
fn a_record_from_a_clock_that_was_never_set_is_not_fifty_years_old() {
    let dir = tempfile::tempdir().unwrap();
    open_dir(dir.path()).push(b"text", 1, Moment { wall: wall(30), ..at(30) });
    let mut store = open_after_reboot(dir.path(), at(60));
    assert_eq!(store.oldest(at(60)), Some(Duration::ZERO));
    assert_eq!(contents(&mut store, at(60)), ["text"]);
}

#[test]
fn an_expired_record_behind_a_fresh_one_is_dropped_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_dir(dir.path());
    store.push(b"from the future", 1, Moment { wall: wall(4_000_000_000), ..at(0) });
    store.push(b"old", 1, at(1));
    drop(store);
    let mut store = open_after_reboot(dir.path(), Moment { up: Duration::ZERO, ..at(DAY + 60) });
    assert_eq!(contents(&mut store, at(1)), ["from the future"]);
    assert_eq!(store.len(), 1);
}

#[test]
fn a_batch_carries_the_wall_clock_of_its_push() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open_dir(dir.path());
    let mut memory = MemoryStore::new(limits());
    for store in [&mut disk as &mut dyn Store, &mut memory] {
        store.push(b"text", 9, at(17));
        let batch = &store.peek(0, at(18))[0];
        assert_eq!((batch.created, batch.points, batch.seq), (at(17).wall, 9, 1));
    }
}
