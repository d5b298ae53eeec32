//! Any sequence of calls, against a queue that cannot be wrong.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Call {
    Push(usize),
    /// Sends what one peek gives, less a few at its end.
    Drain {
        max_bytes: usize,
        keep: usize,
    },
    Refuse,
    Reopen,
    /// Disk faults on or off; none of them may break order or invent a batch.
    Disk(Option<u8>),
    Wait(u64),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        6 => (0..400usize).prop_map(Call::Push),
        3 => (0..1500usize, 0..3usize).prop_map(|(max_bytes, keep)| Call::Drain { max_bytes, keep }),
        1 => Just(Call::Refuse),
        1 => Just(Call::Reopen),
        1 => proptest::option::of(0..5u8).prop_map(Call::Disk),
        1 => (0..40u64).prop_map(Call::Wait),
    ];
    proptest::collection::vec(call, 1..60)
}

const MAX_BYTES: u64 = 2000;

/// The payload of batch `n`: different for each, and of this length.
fn payload(n: u64, len: usize) -> Vec<u8> {
    n.to_le_bytes().into_iter().cycle().take(len + 8).collect()
}

fn lost(store: &dyn Store) -> u64 {
    store.dropped().total().batches
}

/// Runs the calls. The model holds what was pushed and not yet removed; the store may have dropped some of it, and must
/// have counted exactly those.
fn run(calls: Vec<Call>, dir: &Path, faulty: bool) -> Result<(), TestCaseError> {
    let limits = Limits { max_bytes: MAX_BYTES, ..limits() };
    let (mut store, mut faults) = open_faulty(dir, limits);
    let mut model: VecDeque<Vec<u8>> = VecDeque::new();
    let (mut pushed, mut secs, mut gone) = (0, 0, 0);
    for call in calls {
        match call {
            Call::Push(len) => {
                pushed += 1;
                model.push_back(payload(pushed, len));
                store.push(&payload(pushed, len), 1, at(secs));
            }
            Call::Drain { max_bytes, keep } => {
                let batches = store.peek(max_bytes, at(secs));
                let size: usize = batches.iter().map(|batch| batch.payload.len()).sum();
                prop_assert!(batches.len() <= 1 || size <= max_bytes);
                prop_assert!(!batches.is_empty() || store.is_empty());
                let sent = &batches[..batches.len().saturating_sub(keep)];
                let seqs: Vec<u64> = sent.iter().map(|batch| batch.seq).collect();
                prop_assert_eq!(store.remove(&seqs), seqs.len());
                model.retain(|payload| sent.iter().all(|batch| batch.payload != payload));
            }
            Call::Refuse => {
                let seqs: Vec<u64> = store.peek(0, at(secs)).iter().map(|batch| batch.seq).collect();
                store.refuse(&seqs);
            }
            Call::Reopen => {
                *faults.lock().unwrap() = Faults::default();
                prop_assert_eq!(store.sync(at(secs)), Tally::default());
                gone += lost(&store);
                drop(store);
                (store, faults) = open_faulty(dir, limits);
            }
            Call::Disk(kind) if faulty => {
                *faults.lock().unwrap() = match kind {
                    Some(0) => Faults { write: Some(Errno::IO), ..Faults::default() },
                    Some(1) => Faults { rename: Some(Errno::ROFS), ..Faults::default() },
                    Some(2) => Faults { sync_dir: Some(Errno::IO), ..Faults::default() },
                    Some(3) => Faults { capacity: Some(2 * 4096), ..Faults::default() },
                    Some(_) => Faults { capacity: Some(0), ..Faults::default() },
                    None => Faults::default(),
                };
            }
            Call::Disk(_) => {}
            Call::Wait(more) => secs += more,
        }
        // What waits is the model less what was dropped, in the model's order, bit for bit.
        let waiting = store.peek(usize::MAX, at(secs));
        prop_assert_eq!(waiting.len(), store.len());
        prop_assert!(waiting.is_sorted_by(|a, b| a.seq < b.seq));
        let mut rest = model.iter();
        prop_assert!(waiting.iter().all(|batch| rest.any(|payload| batch.payload == payload)));
        prop_assert_eq!(model.len() as u64, waiting.len() as u64 + gone + lost(&store));
        prop_assert!(store.bytes() <= MAX_BYTES);
        prop_assert_eq!(store.bytes(), waiting.iter().map(|batch| 64 + batch.payload.len() as u64).sum::<u64>());
        if !faulty {
            prop_assert_eq!(store.dropped().get(DropReason::Io), Tally::default());
            prop_assert_eq!(records(dir).len(), waiting.len());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_keep_order_and_bounds(calls in calls()) {
        let dir = tempfile::tempdir().unwrap();
        run(calls, dir.path(), false)?;
    }

    #[test]
    fn any_calls_on_a_failing_disk_keep_order_and_bounds(calls in calls()) {
        let dir = tempfile::tempdir().unwrap();
        run(calls, dir.path(), true)?;
    }

    #[test]
    fn any_calls_on_memory_keep_order_and_bounds(sizes in proptest::collection::vec((0..400usize, 0..4usize), 1..80)) {
        let mut store = MemoryStore::new(Limits { max_bytes: MAX_BYTES, ..limits() });
        let mut next = 1;
        for (len, sent) in sizes {
            let outcome = store.push(&payload(0, len), 1, at(0));
            prop_assert!(store.bytes() <= MAX_BYTES);
            let waiting: Vec<u64> = store.peek(usize::MAX, at(0)).iter().map(|batch| batch.seq).collect();
            prop_assert_eq!(waiting.len(), store.len());
            prop_assert!(waiting.iter().copied().eq(waiting[0]..=outcome.seq));
            prop_assert!(waiting[0] >= next);
            let sent = sent.min(waiting.len());
            prop_assert_eq!(store.remove(&waiting[..sent]), sent);
            next = waiting[0] + sent as u64;
        }
    }
}
