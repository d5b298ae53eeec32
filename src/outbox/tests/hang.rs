//! A disk that hangs: whoever asks goes on, and nothing is out of order when it is back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, mpsc};
use std::time::Instant;

use super::*;

/// A caller that waits this long in these tests waits for the disk, which is what must not be.
const FOR_EVER: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_millis(100);
/// A disk that works may be busy with other tests.
const GENEROUS: Duration = FOR_EVER;

/// The host's file system, whose writes hang while the gate is shut.
#[derive(Clone, Debug, Default)]
struct HangingFs {
    shut: Arc<(Mutex<bool>, Condvar)>,
    /// Operations that wait at the gate.
    stuck: Arc<AtomicUsize>,
}

impl HangingFs {
    fn shut(&self, shut: bool) {
        *self.shut.0.lock().unwrap() = shut;
        self.shut.1.notify_all();
    }

    fn pass(&self) {
        self.stuck.fetch_add(1, Ordering::SeqCst);
        drop(self.shut.1.wait_while(self.shut.0.lock().unwrap(), |shut| *shut).unwrap());
        self.stuck.fetch_sub(1, Ordering::SeqCst);
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

fn open_hanging(dir: &Path) -> (AsideStore, HangingFs) {
    let fs = HangingFs::default();
    let store = DiskStore::open_with(fs.clone(), dir, limits(), BOOT, at(0)).unwrap();
    (AsideStore::start(store, dir.to_path_buf(), GENEROUS).unwrap(), fs)
}

/// Shuts the gate, for callers who do not wait long.
fn hang(store: &mut AsideStore, fs: &HangingFs) {
    store.patience = PATIENCE;
    fs.shut(true);
}

/// A channel that hears of each wake.
fn wakes(store: &mut AsideStore) -> mpsc::Receiver<()> {
    let (told, woken) = mpsc::channel();
    store.on_wake(Box::new(move || told.send(()).unwrap()));
    woken
}

/// Opens the gate and waits until the disk has everything.
fn heal(store: &mut AsideStore, fs: &HangingFs) {
    fs.shut(false);
    store.patience = GENEROUS;
    let begun = Instant::now();
    while store.sync(at(1)) != Tally::default() {
        assert!(begun.elapsed() < FOR_EVER, "the disk never took all");
    }
}

#[test]
fn a_disk_that_hangs_holds_up_nobody_and_takes_all_in_order_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, fs) = open_hanging(dir.path());
    assert_eq!(store.push(b"0", 1, at(0)).kept, Kept::OnDisk);
    hang(&mut store, &fs);
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
    let (mut store, fs) = open_hanging(dir.path());
    push_all(&mut store, &["1", "2", "3"]);
    let seqs: Vec<u64> = store.peek(2, at(0)).iter().map(|batch| batch.seq).collect();
    hang(&mut store, &fs);
    assert_eq!(store.remove(&seqs), 2);
    assert_eq!(store.push(b"4", 1, at(0)).kept, Kept::InMemory);
    heal(&mut store, &fs);
    assert_eq!(contents(&mut store, at(1)), ["3", "4"]);
}

#[test]
fn memory_for_a_disk_that_hangs_is_bounded_and_loses_its_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, fs) = open_hanging(dir.path());
    hang(&mut store, &fs);
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
    let (mut store, _) = open_hanging(dir.path());
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
        let (mut store, _) = open_hanging(dir.path());
        assert_eq!(store.len(), n);
        store.push(b"x", 1, at(0));
    }
}

#[test]
fn a_push_that_took_long_wakes_whoever_found_nothing_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, fs) = open_hanging(dir.path());
    let woken = wakes(&mut store);
    hang(&mut store, &fs);
    assert_eq!(store.push(b"1", 1, at(0)).kept, Kept::InMemory);
    assert_eq!(contents(&mut store, at(0)), [""; 0]);
    assert!(woken.try_recv().is_err(), "not before the disk answers");
    fs.shut(false);
    woken.recv_timeout(FOR_EVER).unwrap();
    store.patience = GENEROUS;
    assert_eq!(contents(&mut store, at(0)), ["1"]);
}

#[test]
fn what_a_slow_peek_found_is_given_to_the_next_one_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, fs) = open_hanging(dir.path());
    let woken = wakes(&mut store);
    push_all(&mut store, &["1", "2"]);
    hang(&mut store, &fs);
    while fs.stuck.load(Ordering::SeqCst) == 0 {
        assert_eq!(contents(&mut store, at(0)), [""; 0]);
    }
    fs.shut(false);
    woken.recv_timeout(FOR_EVER).unwrap();
    fs.shut(true);
    assert_eq!(contents(&mut store, at(0)), ["1", "2"], "without the disk");
    assert_eq!(contents(&mut store, at(0)), [""; 0]);
    fs.shut(false);
}

#[test]
fn what_a_slow_peek_found_is_forgotten_when_batches_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, fs) = open_hanging(dir.path());
    let woken = wakes(&mut store);
    push_all(&mut store, &["1", "2"]);
    hang(&mut store, &fs);
    while fs.stuck.load(Ordering::SeqCst) == 0 {
        assert_eq!(contents(&mut store, at(0)), [""; 0]);
    }
    fs.shut(false);
    woken.recv_timeout(FOR_EVER).unwrap();
    store.patience = GENEROUS;
    assert_eq!(store.remove(&[1]), 1);
    assert_eq!(contents(&mut store, at(0)), ["2"]);
}

#[test]
fn a_caller_without_patience_leaves_no_store_that_waits_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open_hanging(dir.path());
    push_all(&mut store, &["1"]);
    store.patience = Duration::ZERO;
    for _ in 0..1000 {
        store.peek(1, at(0));
    }
    store.patience = GENEROUS;
    let begun = Instant::now();
    while contents(&mut store, at(0)) != ["1"] {
        assert!(begun.elapsed() < FOR_EVER, "the store waits for an answer that will not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_batch_that_memory_could_not_hold_goes_to_a_disk_that_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, fs) = open_hanging(dir.path());
    let large = vec![0; 5 << 20];
    assert_eq!(store.push(&large, 1, at(0)).kept, Kept::OnDisk);
    hang(&mut store, &fs);
    store.push(b"x", 1, at(0));
    assert_eq!(store.push(&large, 1, at(0)).kept, Kept::Not(DropReason::Io));
    heal(&mut store, &fs);
    assert_eq!(store.len(), 2);
}

fn open_within(dir: &Path, fs: &HangingFs, within: Duration) -> Result<AsideStore, OpenError> {
    let (fs, path) = (fs.clone(), dir.to_path_buf());
    let open = move || DiskStore::open_with(fs, &path, limits(), BOOT, at(0));
    AsideStore::open(open, limits(), dir.to_path_buf(), PATIENCE, within)
}

#[test]
fn a_disk_that_hangs_at_the_start_holds_up_nobody_and_its_batches_come_first_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    push_all(&mut open_dir(dir.path()), &["1", "2"]);
    let fs = HangingFs::default();
    fs.shut(true);
    let mut store = open_within(dir.path(), &fs, PATIENCE).unwrap();
    let woken = wakes(&mut store);
    assert_eq!((store.len(), store.on_disk()), (0, true));
    assert_eq!(store.push(b"3", 1, at(0)).kept, Kept::InMemory);
    assert_eq!(contents(&mut store, at(0)), [""; 0]);
    fs.shut(false);
    woken.recv_timeout(FOR_EVER).unwrap();
    heal(&mut store, &fs);
    assert_eq!(contents(&mut store, at(0)), ["1", "2", "3"]);
}

#[test]
fn a_directory_that_is_refused_after_a_long_wait_leaves_an_outbox_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (go, wait) = mpsc::channel();
    let path = dir.path().to_path_buf();
    let open = move || -> Result<DiskStore, OpenError> {
        wait.recv().unwrap();
        Err(OpenError { dir: path, fault: OpenFault::InUse })
    };
    let mut store = AsideStore::open(open, limits(), dir.path().to_path_buf(), PATIENCE, PATIENCE).unwrap();
    let woken = wakes(&mut store);
    store.push(b"1", 1, at(0));
    go.send(()).unwrap();
    woken.recv_timeout(FOR_EVER).unwrap();
    store.patience = GENEROUS;
    assert_eq!(store.push(b"2", 1, at(0)).kept, Kept::InMemory);
    assert_eq!(contents(&mut store, at(0)), ["1", "2"]);
    assert_eq!((store.on_disk(), store.unsaved().batches), (false, 2));
}
