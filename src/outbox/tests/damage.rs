//! A damaged record costs that record and is never given out altered.

use super::*;

/// Three records, then something done to the file of the middle one, while open or between two openings.
fn with_damage(reopen: bool, damage: impl Fn(&Path)) -> (Vec<String>, DropCounts, usize) {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open_faulty(dir.path(), limits());
    push_all(&mut store, &["first", "second", "third"]);
    damage(&records(dir.path())[1]);
    if reopen {
        drop(store);
        store = open_faulty(dir.path(), limits()).0;
    }
    let texts = contents(&mut store, at(1));
    assert_eq!(store.len(), texts.len());
    assert_eq!(store.bytes(), records(dir.path()).iter().map(|path| path.metadata().unwrap().size()).sum::<u64>());
    (texts, store.dropped(), records(dir.path()).len())
}

fn assert_only_the_middle_is_lost(what: &str, damage: impl Fn(&Path)) {
    for reopen in [false, true] {
        let (texts, dropped, files) = with_damage(reopen, &damage);
        assert_eq!(texts, ["first", "third"], "{what}, reopened: {reopen}");
        assert_eq!(dropped.get(DropReason::Corrupt).batches, 1, "{what}, reopened: {reopen}");
        assert_eq!(dropped.total().batches, 1, "{what}, reopened: {reopen}");
        assert_eq!(files, 2, "the damaged file is deleted: {what}, reopened: {reopen}");
    }
}

const MIDDLE_BYTES: usize = 64 + "second".len();

#[test]
fn a_record_cut_at_any_length_costs_only_itself() {
    for len in 0..MIDDLE_BYTES {
        assert_only_the_middle_is_lost(&format!("cut at {len}"), |path| {
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len as u64).unwrap();
        });
    }
}

#[test]
fn a_flipped_bit_at_any_position_costs_only_its_record() {
    for position in 0..MIDDLE_BYTES {
        for mask in [0x01, 0x80, 0xFF] {
            assert_only_the_middle_is_lost(&format!("byte {position} ^ {mask:#x}"), |path| {
                let mut bytes = std::fs::read(path).unwrap();
                bytes[position] ^= mask;
                std::fs::write(path, bytes).unwrap();
            });
        }
    }
}

#[test]
fn a_zeroed_record_costs_only_itself() {
    assert_only_the_middle_is_lost("zeroed", |path| std::fs::write(path, [0; MIDDLE_BYTES]).unwrap());
}

#[test]
fn bytes_behind_the_end_cost_only_that_record() {
    assert_only_the_middle_is_lost("longer", |path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes.push(0);
        std::fs::write(path, bytes).unwrap();
    });
}

#[test]
fn garbage_under_a_records_name_costs_only_that_record() {
    for len in [1, 63, 64, 65, 5000] {
        let garbage: Vec<u8> = (0..len).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert_only_the_middle_is_lost(&format!("{len} bytes"), |path| std::fs::write(path, &garbage).unwrap());
    }
}

#[test]
fn a_record_under_another_records_name_is_not_sent_twice() {
    assert_only_the_middle_is_lost("a copy of the first", |path| {
        let first = path.with_file_name("00000000000000000001.batch");
        std::fs::copy(first, path).unwrap();
    });
}

#[test]
fn a_record_that_somebody_deleted_is_counted_and_skipped() {
    let (texts, dropped, _) = with_damage(false, |path| std::fs::remove_file(path).unwrap());
    assert_eq!(texts, ["first", "third"]);
    assert_eq!(dropped.get(DropReason::Io), Tally { batches: 1, points: 1 });
}

#[test]
fn an_unreadable_record_does_not_block_the_next_and_is_kept_until_it_is_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    push_all(&mut store, &["first", "second", "third"]);
    faults.lock().unwrap().read = Some(("0001.batch".into(), Errno::IO));
    assert_eq!(contents(&mut store, at(1)), ["second", "third"]);
    assert_eq!(store.len(), 3);
    faults.lock().unwrap().read = None;
    assert_eq!(contents(&mut store, at(2)), ["first", "second", "third"]);
}

#[test]
fn running_out_of_file_handles_loses_nothing_and_keeps_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    push_all(&mut store, &["first", "second", "third"]);
    faults.lock().unwrap().read = Some(("0002.batch".into(), Errno::MFILE));
    assert_eq!(contents(&mut store, at(1)), ["first"]);
    faults.lock().unwrap().read = Some((".batch".into(), Errno::MFILE));
    assert_eq!(contents(&mut store, at(1)), [""; 0]);
    assert_eq!(store.len(), 3);
    faults.lock().unwrap().read = None;
    assert_eq!(contents(&mut store, at(2)), ["first", "second", "third"]);
    assert_eq!(store.dropped(), DropCounts::default());
}

#[test]
fn a_crash_between_writing_and_renaming_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, faults) = open_faulty(dir.path(), limits());
    push_all(&mut store, &["first"]);
    // The rename fails, and so does tidying up, as if the process had ended there.
    faults.lock().unwrap().rename = Some(Errno::IO);
    faults.lock().unwrap().remove = Some(Errno::IO);
    assert_eq!(store.push(b"second", 1, at(1)).kept, Kept::InMemory);
    drop(store);
    assert!(dir.path().join("00000000000000000002.tmp").exists());

    let mut store = open_dir(dir.path());
    assert_eq!(contents(&mut store, at(2)), ["first"]);
    assert_eq!(store.dropped(), DropCounts::default());
    assert!(!dir.path().join("00000000000000000002.tmp").exists());
    store.push(b"third", 1, at(3));
    assert_eq!(contents(&mut store, at(4)), ["first", "third"]);
}

#[test]
fn a_leftover_temporary_file_does_not_stop_its_own_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_dir(dir.path());
    std::fs::write(dir.path().join("00000000000000000001.tmp"), "left by a failed attempt").unwrap();
    assert_eq!(store.push(b"first", 1, at(0)).kept, Kept::OnDisk);
    assert_eq!(contents(&mut store, at(1)), ["first"]);
}

#[test]
fn foreign_files_are_left_alone_and_numbers_go_on_after_the_highest_name() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = ["notes.txt", "7.batch", "00000000000000000009.batch.bak", "18446744073709551615.batch", "x.tmp"];
    for name in foreign {
        std::fs::write(dir.path().join(name), "not ours").unwrap();
    }
    std::fs::create_dir(dir.path().join("00000000000000000041.batch")).unwrap();
    let mut store = open_dir(dir.path());
    assert_eq!(store.push(b"text", 1, at(0)).seq, 42);
    assert_eq!(contents(&mut store, at(0)), ["text"]);
    for name in foreign {
        assert!(dir.path().join(name).exists(), "{name}");
    }
    assert_eq!(store.dropped(), DropCounts::default());
}
