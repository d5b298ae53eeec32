//! A disk that hangs: whoever asks goes on, and nothing is out of order when it is back.

use std::sync::Condvar;
use std::time::Instant;

use super::*;

/// A caller that waits this long in these tests waits for the disk, which is what must not be.
const FOR_EVER: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_millis(100);

/// The host's file system, whose writes hang while the gate is shut.
#[derive(Clone, Debug, Default)]
struct HangingFs {
    shut: Arc<(Mutex<bool>, Condvar)>,
}

impl HangingFs {
    fn shut(&self, shut: bool) {
        *self.shut.0.lock().unwrap() = shut;
        self.shut.1.notify_all();
    }

    fn pass(&self) {
        drop(self.shut.1.wait_while(self.shut.0.lock().unwrap(), |shut| *shut).unwrap());
    }
}

impl Fs for HangingFs {
    fn write(&self, path: &Path, parts: [&[u8]; 2]) -> io::Result<()> {
        self.pass();
        OsFs.write(path, parts)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsFs.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass();
        OsFs.sync_dir(dir)
    }
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.pass();
        OsFs.read(path, limit)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass();
        OsFs.remove(path)
    }
}

fn open_hanging(dir: &Path, patience: Duration) -> (AsideStore, HangingFs) {
    let fs = HangingFs::default();
    let store = DiskStore::open_with(fs.clone(), dir, limits(), BOOT, at(0)).unwrap();
    (AsideStore::start(store, dir.to_path_buf(), patience).unwrap(), fs)
}

/// Opens the gate and waits until the disk has everything.
fn heal(store: &mut AsideStore, fs: &HangingFs) {
    fs.shut(false);
    let begun = Instant::now();
    while store.sync(at(1)) != Tally::default() {
        assert!(begun.elapsed() < FOR_EVER, "the disk never took all");
    }
}

#[test]
fn a_disk_that_hangs_holds_up_nobody_and_takes_all_in_order_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, fs) = open_hanging(dir.path(), PATIENCE);
    assert_eq!(store.push(b"0", 1, at(0)).kept, Kept::OnDisk);
    fs.shut(true);
    let begun = Instant::now();
    for text in ["1", "2", "3", "4"] {
        assert_eq!(store.push(text.as_bytes(), 2, at(1)).kept, Kept::InMemory);
    }
    assert_eq!(contents(&mut store, at(1)), [""; 0]);
    assert_eq!((store.len(), store.points()), (5, 9));
    assert_eq!(store.sync(at(1)), Tally { batches: 4, points: 8 }, "what an exit would lose");
    assert!(begun.elapsed() < FOR_EVER / 10, "{:?}", begun.elapsed());

    heal(&mut store, &fs);
    assert_eq!(store.push(b"5", 1, at(1)).seq, 6);
    assert_eq!(contents(&mut store, at(1)), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!((store.len(), store.dropped()), (6, DropCounts::default()));
    drop(store);
    assert_eq!(contents(&mut open_dir(dir.path()), at(1)), ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn what_was_sent_before_the_disk_hung_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, fs) = open_hanging(dir.path(), PATIENCE);
    push_all(&mut store, &["1", "2", "3"]);
    let seqs: Vec<u64> = store.peek(2, at(0)).iter().map(|batch| batch.seq).collect();
    fs.shut(true);
    assert_eq!(store.remove(&seqs), 2);
    assert_eq!(store.push(b"4", 1, at(0)).kept, Kept::InMemory);
    heal(&mut store, &fs);
    assert_eq!(contents(&mut store, at(1)), ["3", "4"]);
}

#[test]
fn memory_for_a_disk_that_hangs_is_bounded_and_loses_its_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, fs) = open_hanging(dir.path(), PATIENCE);
    fs.shut(true);
    let payloads: Vec<Vec<u8>> = (0..10).map(|n| vec![n; 1 << 20]).collect();
    for payload in &payloads {
        store.push(payload, 2, at(0));
    }
    // The first is the one that the disk hangs on.
    assert_eq!(store.len(), 1 + 4);
    assert_eq!(store.dropped().get(DropReason::Io), Tally { batches: 5, points: 10 });
    assert!(store.bytes() <= 4 << 20, "{}", store.bytes());
    heal(&mut store, &fs);
    let kept: Vec<u8> = store.peek(usize::MAX, at(0)).iter().map(|batch| batch.payload[0]).collect();
    assert_eq!(kept, [0, 6, 7, 8, 9]);
}

#[test]
fn a_disk_that_answers_has_each_batch_before_the_push_returns() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open_hanging(dir.path(), FOR_EVER);
    for n in 1..=3 {
        assert_eq!(store.push(b"x", 1, at(0)).kept, Kept::OnDisk);
        assert_eq!(records(dir.path()).len(), n);
    }
    assert_eq!(store.remove(&[1, 2, 9]), 2);
    assert_eq!(store.refuse(&[3]), 1);
    assert_eq!((store.len(), store.dropped().get(DropReason::Refused).batches), (0, 1));
}

#[test]
fn the_directory_is_free_when_the_store_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..20 {
        let (mut store, _) = open_hanging(dir.path(), FOR_EVER);
        assert_eq!(store.len(), n);
        store.push(b"x", 1, at(0));
    }
}
