//! The same faults on a real file system, in a mount namespace of the test's own. Where the host does not allow one (no
//! `unshare`, no user namespaces), these tests say so and pass: the injected faults cover the same behaviour.

use std::process::Command;

use super::*;

const DIR_VARIABLE: &str = "HEKA_TEST_OUTBOX_MOUNT";

/// Runs this same test again inside a namespace with a tmpfs of 64 KiB mounted on a directory; true in the child, which
/// then does the test.
fn inside_mount(test: &str) -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(DIR_VARIABLE) {
        return Some(dir.into());
    }
    let dir = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=64k,mode=700 tmpfs "$0" || exit 77; exec "$@""#;
    let output = Command::new("unshare")
        .args(["-Urm", "sh", "-c", script])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("outbox::tests::mounts::{test}"), "--nocapture"])
        .env(DIR_VARIABLE, dir.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child ran no test");
        }
        Ok(output) if output.status.code() == Some(101) => {
            panic!("in the mount:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        // An ordinary user's machine may not allow it; where all checks have to run, that is no excuse.
        other if std::env::var_os("CI").is_some() => panic!("no private tmpfs here ({other:?})"),
        other => eprintln!("skipped: no private tmpfs here ({other:?})"),
    }
    None
}

#[test]
fn a_really_full_disk_keeps_the_newest_and_nothing_torn() {
    let Some(dir) = inside_mount("a_really_full_disk_keeps_the_newest_and_nothing_torn") else {
        return;
    };
    let mut store = open_dir(&dir);
    for n in 1..=40u8 {
        assert_eq!(store.push(&[n; 9000], 1, at(0)).kept, Kept::OnDisk, "batch {n}");
    }
    // 64 KiB are 16 pages; a record of 9,064 bytes takes three.
    let waiting: Vec<u8> = store.peek(usize::MAX, at(0)).iter().map(|batch| batch.payload[0]).collect();
    assert_eq!(waiting, [36, 37, 38, 39, 40]);
    assert_eq!(store.dropped().total(), store.dropped().get(DropReason::Io));
    assert_eq!(store.dropped().total().batches, 35);

    // Somebody else fills what is left and more than the oldest frees.
    std::fs::write(dir.join("other"), vec![0; 4096]).unwrap();
    drop(store);
    let mut store = open_dir(&dir);
    assert_eq!(store.len(), 5);
    assert_eq!(store.push(&[41; 9000], 1, at(0)).kept, Kept::OnDisk);
    assert_eq!(store.push(&[42; 30000], 1, at(0)).kept, Kept::OnDisk);
    drop(store);
    let mut store = open_dir(&dir);
    let waiting: Vec<u8> = store.peek(usize::MAX, at(0)).iter().map(|batch| batch.payload[0]).collect();
    assert_eq!(waiting, [40, 41, 42]);
    assert_eq!(store.dropped(), DropCounts::default());
}

#[test]
fn a_disk_that_turns_read_only_holds_batches_in_memory_and_cannot_be_opened() {
    let test = "a_disk_that_turns_read_only_holds_batches_in_memory_and_cannot_be_opened";
    let Some(dir) = inside_mount(test) else {
        return;
    };
    let remount = |how: &str| {
        let status = Command::new("mount").args(["-o", how]).arg(&dir).status().unwrap();
        assert!(status.success(), "{how}");
    };
    push_all(&mut open_dir(&dir), &["1"]);
    remount("remount,ro");
    let error = DiskStore::open(&dir, limits(), BOOT, at(0)).unwrap_err();
    assert!(matches!(error.fault, OpenFault::NotWritable(_)), "{error:?}");
    assert!(error.to_string().contains("Read-only file system"), "{error}");
    remount("remount,rw");
    let mut store = open_dir(&dir);
    // Nothing is open for writing but the lock: so the remount needs it closed, and a read-only bind does not.
    let bind = Command::new("mount").args(["--bind"]).arg(&dir).arg(&dir).status().unwrap();
    assert!(bind.success());
    remount("remount,bind,ro");
    assert_eq!(store.push(b"2", 1, at(1)).kept, Kept::InMemory);
    assert_eq!(contents(&mut store, at(1)), ["1", "2"]);
    remount("remount,bind,rw");
    assert_eq!(store.push(b"3", 1, at(100)).kept, Kept::OnDisk);
    assert_eq!(contents(&mut store, at(100)), ["1", "2", "3"]);
}
