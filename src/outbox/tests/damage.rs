//! Tests of corrupt records.

use super::*;

/// Three records of an earlier run.
fn three() -> FakeFs {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    ["1", "2", "3"].iter().for_each(|text| outbox.push(text, at(0)));
    outbox.fail(at(0));
    outbox.settle(at(0));
    assert_eq!(fs.records().len(), 3);
    fs
}

fn reopened(fs: &FakeFs) -> (Vec<String>, Snapshot) {
    let mut outbox = Outbox::open(fs, limits());
    let found = outbox.drain(at(1));
    (found, outbox.stats())
}

#[test]
fn a_torn_damaged_or_empty_record_costs_that_record() {
    for (damage, n) in [("empty", 0), ("torn", 1), ("header", 2), ("payload", 0), ("longer", 1)] {
        let fs = three();
        let record = fs.records()[n].clone();
        {
            let mut disk = fs.disk();
            let file = disk.files.get_mut(&record).unwrap();
            match damage {
                "empty" => file.clear(),
                "torn" => file.truncate(40),
                "header" => file[10] ^= 1,
                "payload" => *file.last_mut().unwrap() ^= 1,
                _ => file.push(0),
            }
        }
        let (found, stats) = reopened(&fs);
        let expected: Vec<String> = (0..3).filter(|i| *i != n).map(|i| (i + 1).to_string()).collect();
        assert_eq!(found, expected, "{damage}");
        assert_eq!(stats.dropped.get(DropReason::Corrupt).batches, 1, "{damage}");
        assert_eq!(stats.dropped.total().batches, 1, "{damage}");
        assert!(fs.records().is_empty(), "{damage}");
    }
}

#[test]
fn a_record_under_another_ones_name_and_one_of_another_version_are_damaged() {
    let fs = three();
    {
        let mut disk = fs.disk();
        let first = disk.files.values().next().unwrap().clone();
        disk.files.insert("00000000000000000009.batch".into(), first);
    }
    let (found, stats) = reopened(&fs);
    assert_eq!((found.len(), stats.dropped.get(DropReason::Corrupt).batches), (3, 1));
}

#[test]
fn temporary_files_are_deleted_and_foreign_ones_are_left_alone() {
    let fs = three();
    for name in ["00000000000000000007.tmp", "notes.txt", "7.batch", "99999999999999999999.batch"] {
        fs.disk().files.insert(name.into(), b"x".to_vec());
    }
    let (found, stats) = reopened(&fs);
    assert_eq!((found.len(), stats.dropped.total().batches), (3, 0));
    assert_eq!(fs.disk().files.keys().collect::<Vec<_>>(), ["7.batch", "99999999999999999999.batch", "notes.txt"]);
}

#[test]
fn a_record_that_disappears_is_counted_and_blocks_nothing() {
    let fs = three();
    let mut outbox = Outbox::open(&fs, limits());
    let first = fs.records()[0].clone();
    fs.disk().files.remove(&first);
    assert_eq!(outbox.drain(at(1)), ["2", "3"]);
    assert_eq!(outbox.dropped(DropReason::Io), 1);
}

#[test]
fn a_record_that_cannot_be_read_is_kept_and_one_on_a_bad_sector_is_given_up_after_some_tries() {
    let fs = three();
    let mut outbox = Outbox::open(&fs, limits());
    fs.fail(Faults { read: Some(Errno::NFILE), ..Faults::default() });
    for _ in 0..20 {
        assert!(outbox.take(usize::MAX, at(1)).is_empty());
        outbox.settle_after(60, at(1));
    }
    assert_eq!((outbox.stats().outbox_batches, outbox.stats().dropped.total().batches), (3, 0));
    fs.fail(Faults { read: Some(Errno::IO), ..Faults::default() });
    for tries in 0..4 {
        assert_eq!(outbox.dropped(DropReason::Io), 0, "{tries}");
        outbox.settle_after(60, at(1));
    }
    assert_eq!(outbox.dropped(DropReason::Io), 1);
    fs.fail(Faults::default());
    outbox.settle_after(60, at(2));
    assert_eq!(outbox.drain(at(2)), ["2", "3"]);
}

#[test]
fn records_of_the_version_before_are_read() {
    // Written by e8b7deb: `HKOB`, version 1, 64 bytes of header.
    const RECORD: &str = "484b4f420100000003000000070000002a00000000000000000032b491d4b318\
                          00e1f5050000000007b00000000000000000000000000000e7949609ae470957\
                          616263";
    let bytes: Vec<u8> =
        (0..RECORD.len()).step_by(2).map(|i| u8::from_str_radix(&RECORD[i..i + 2], 16).unwrap()).collect();
    let fs = FakeFs::default();
    fs.disk().files.insert("00000000000000000042.batch".into(), bytes);
    let mut outbox = Outbox::open(&fs, limits());
    assert_eq!((outbox.stats().outbox_points, outbox.stats().dropped.total().batches), (7, 0));
    outbox.push("new", at(1));
    assert_eq!(outbox.drain(at(1)), ["abc", "new"]);
}

#[test]
fn a_shortage_at_the_opening_loses_nothing_and_counts_damage_once() {
    let fs = three();
    let first = fs.records()[0].clone();
    fs.disk().files.get_mut(&first).unwrap().clear();
    fs.fail(Faults { read: Some(Errno::MFILE), ..Faults::default() });
    let mut outbox = Outbox::open(&fs, limits());
    assert_eq!((outbox.shared.lock().directory, fs.records().len()), (Directory::Unusable, 3));
    fs.fail(Faults::default());
    outbox.settle_after(60, at(60));
    assert_eq!(outbox.drain(at(60)), ["2", "3"]);
    assert_eq!((outbox.dropped(DropReason::Corrupt), outbox.stats().dropped.total().batches), (1, 1));
}
