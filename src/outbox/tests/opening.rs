//! Who may open a directory, and what the error says.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn open_error(dir: &Path) -> OpenError {
    DiskStore::open(dir, limits(), BOOT, at(0)).unwrap_err()
}

#[test]
fn two_agents_on_one_directory_are_told_and_the_first_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = open_dir(dir.path());
    push_all(&mut first, &["1"]);
    let error = open_error(dir.path());
    assert!(matches!(error.fault, OpenFault::InUse));
    assert_eq!(
        error.to_string(),
        format!(
            "outbox directory {} is in use by another agent; give each agent a directory of its own",
            dir.path().display()
        )
    );
    assert_eq!(contents(&mut first, at(0)), ["1"]);
    drop(first);
    assert_eq!(contents(&mut open_dir(dir.path()), at(0)), ["1"]);
}

#[test]
fn a_probe_touches_no_batch_and_says_why_a_directory_cannot_be_had() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = open_dir(dir.path());
    push_all(&mut first, &["1"]);
    assert!(matches!(recovery::probe(dir.path()).unwrap_err().fault, OpenFault::InUse));
    drop(first);
    recovery::probe(dir.path()).unwrap();
    assert_eq!(contents(&mut open_dir(dir.path()), at(0)), ["1"]);
    assert!(matches!(recovery::probe(Path::new("/proc/no-such-outbox")).unwrap_err().fault, OpenFault::NotCreated(_)));
}

#[test]
fn a_directory_in_use_falls_back_to_memory() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open_dir(dir.path());
    let config = OutboxConfig { dir: Some(dir.path().into()), max_bytes: DISK_MAX_BYTES, max_age: 24 * HOUR };
    let mut second = crate::outbox::open(&config, BOOT, at(0), HOUR);
    assert_eq!(second.push(b"x", 1, at(0)).kept, Kept::InMemory);
    assert_eq!(second.push(&vec![0; 5 << 20], 1, at(0)).kept, Kept::Not(DropReason::Size), "with memory's bound");
}

#[test]
fn a_path_that_cannot_become_a_directory_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.join("outbox"), file.clone(), PathBuf::from("/proc/no-such-outbox")] {
        let error = open_error(&path);
        assert!(matches!(error.fault, OpenFault::NotCreated(_)), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(&path.display().to_string()) && text.contains("create it for the agent's user"),
            "{text}"
        );
        assert!(!text.contains('\n'));
    }
}

#[test]
fn a_read_only_directory_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let fs = FaultyFs::default();
    fs.0.lock().unwrap().write = Some(Errno::ROFS);
    let error = DiskStore::open_with(fs, dir.path(), limits(), BOOT, at(0)).unwrap_err();
    assert!(matches!(error.fault, OpenFault::NotWritable(_)));
    assert!(
        error.to_string().contains("cannot be written") && error.to_string().contains("or name another"),
        "{error}"
    );
}

#[test]
fn a_directory_without_permission_is_named() {
    if rustix::process::geteuid().is_root() {
        return; // Modes do not bind root; the test of the read-only mount covers it.
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o500)).unwrap();
    assert!(matches!(open_error(dir.path()).fault, OpenFault::NotWritable(_)));
}

#[test]
fn a_full_disk_at_the_start_still_opens_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    push_all(&mut open_dir(dir.path()), &["1"]);
    let fs = FaultyFs::default();
    fs.0.lock().unwrap().write = Some(Errno::NOSPC);
    let mut store = DiskStore::open_with(fs, dir.path(), limits(), BOOT, at(0)).unwrap();
    assert_eq!(contents(&mut store, at(0)), ["1"]);
}

#[test]
fn the_directory_and_its_files_are_the_users_own() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = dir.path().join("new/outbox");
    push_all(&mut open_dir(&outbox), &["1"]);
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(&outbox), 0o700);
    for entry in std::fs::read_dir(&outbox).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    assert_eq!(std::fs::read_dir(&outbox).unwrap().count(), 2, "the lock and one record, nothing else");
}

#[test]
fn order_and_numbers_go_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    push_all(&mut open_dir(dir.path()), &["1", "2"]);
    let mut store = open_dir(dir.path());
    store.remove(&[1]);
    assert_eq!(store.push(b"3", 1, at(0)).seq, 3);
    drop(store);
    let mut store = open_dir(dir.path());
    assert_eq!(contents(&mut store, at(0)), ["2", "3"]);
    assert_eq!(store.bytes(), 2 * 65);
}
