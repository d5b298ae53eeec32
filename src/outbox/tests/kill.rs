//! kill -9 at random points: every batch on disk must still exist afterwards, in order, intact and once.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::fs::OsFs;
use super::*;

const DIR_VARIABLE: &str = "HEKA_TEST_OUTBOX_KILL";
const SEED_VARIABLE: &str = "HEKA_TEST_SEED";
const ROUNDS: u32 = 100;

/// The content of batch `n`: its number, repeated to more than one disk block.
fn text(n: u64) -> String {
    format!("{n} ").repeat(600)
}

/// Verifies every byte of a batch and returns its number.
fn number(body: &[u8]) -> u64 {
    let body = std::str::from_utf8(body).unwrap();
    let n = body.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(body, text(n), "altered");
    n
}

struct Real {
    shared: Arc<Shared>,
    worker: Worker<OsFs>,
}

impl Real {
    fn open(dir: &Path) -> Self {
        let shared = Shared::new(Queue::new(limits(), true));
        let worker = Worker::new(shared.clone(), OsFs, dir.into(), BOOT);
        let mut real = Self { shared, worker };
        real.settle();
        real
    }

    fn settle(&mut self) {
        while self.worker.step(Instant::now(), &Moment::now()) == Step::Done {}
    }

    /// Takes the oldest batch and returns its number.
    fn take(&mut self) -> Option<u64> {
        let items = take(&self.shared, 0, Moment::now()).or_else(|| {
            self.settle();
            take(&self.shared, 0, Moment::now())
        })?;
        Some(number(&items[0].payload))
    }
}

#[test]
#[ignore = "the process that batches_on_disk_survive_kill_9 starts and kills"]
fn child_pushes_and_sends_until_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else {
        return;
    };
    let mut outbox = Real::open(Path::new(&dir));
    let mut out = std::io::stdout();
    let mut report = |what: &str, n: u64| {
        writeln!(out, "{what} {n}").unwrap();
        out.flush().unwrap();
    };
    let first: u64 = std::fs::read_to_string(Path::new(&dir).join("next")).unwrap().parse().unwrap();
    outbox.shared.lock().queue.slow = true;
    report("ready", first);
    for n in first.. {
        outbox.shared.lock().queue.push(text(n).into(), 1, &Moment::now());
        outbox.settle();
        assert!(outbox.shared.lock().queue.to_write(true).is_none());
        report("saved", n);
        // Three of four batches are sent while the child is alive.
        if n % 4 == 3 {
            for _ in 0..3 {
                let Some(sent) = outbox.take() else { break };
                report("sending", sent);
                outbox.shared.lock().queue.delivered(0, None);
                outbox.settle();
                report("sent", sent);
            }
        }
    }
}

/// Runs one child that is killed while it works or while it opens the directory. Returns its output lines.
fn one_life(dir: &Path, while_opening: bool, rng: &mut fastrand::Rng) -> Vec<(String, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "outbox::tests::kill::child_pushes_and_sends_until_killed", "--ignored", "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut reported = Vec::new();
    let mut line = String::new();
    while !while_opening && !line.contains("ready") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child ended");
    }
    // Then a random delay: up to a few dozen batches.
    std::thread::sleep(Duration::from_micros(rng.u64(0..25_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines.lines() {
        let line = line.unwrap();
        let mut words = line.split_whitespace();
        if let (Some(what), Some(Ok(n)), None) = (words.next(), words.next().map(str::parse), words.next()) {
            reported.push((what.to_string(), n));
        }
    }
    reported
}

#[test]
fn batches_on_disk_survive_kill_9() {
    // A failing run prints its seed. The same seed gives the same delays, but not the same progress of the child.
    let seed = std::env::var(SEED_VARIABLE).ok().map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("{SEED_VARIABLE}={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let (mut next, mut saved_in_all) = (1, 0);
    // Batches of earlier rounds that must exist, oldest first.
    let mut expected: Vec<u64> = Vec::new();
    for round in 0..ROUNDS {
        std::fs::write(dir.path().join("next"), next.to_string()).unwrap();
        let reported = one_life(dir.path(), round % 8 == 7, &mut rng);
        let all = |what: &str| reported.iter().filter(|(word, _)| word == what).map(|(_, n)| *n).collect::<Vec<u64>>();
        let (saved, sending, sent) = (all("saved"), all("sending"), all("sent"));
        saved_in_all += saved.len();

        let mut outbox = Real::open(dir.path());
        assert_eq!(outbox.shared.snapshot().dropped, DropCounts::default(), "round {round}: nothing is torn");
        // Every second round leaves a backlog for the next one.
        let keep = round % 2 == 0;
        let mut found = Vec::new();
        let waiting = outbox.shared.snapshot().outbox_batches;
        if keep {
            outbox.shared.lock().queue.wanted = Some(usize::MAX);
            outbox.settle();
            let state = outbox.shared.lock();
            found
                .extend(state.queue.entries.iter().flat_map(|entry| entry.payload.as_deref()).map(|body| number(body)));
        } else {
            while let Some(n) = outbox.take() {
                found.push(n);
                outbox.shared.lock().queue.delivered(0, None);
                outbox.settle();
            }
        }
        assert_eq!(found.len() as u64, waiting, "round {round}");
        assert!(found.is_sorted_by(|a, b| a < b), "round {round}: order, and each once: {found:?}");
        expected.extend(&saved);
        expected.retain(|n| !sending.contains(n));
        assert!(expected.iter().all(|n| found.contains(n)), "round {round}: {found:?} lacks some of {expected:?}");
        assert!(sent.iter().all(|n| !found.contains(n)), "round {round}: {found:?} has some of {sent:?} again");
        // Besides the reported batches, at most the one being saved and the one being removed may exist.
        assert!(found.len() <= expected.len() + 2, "round {round}");
        next = found.iter().chain(&saved).max().map_or(next, |last| last + 1);
        expected = if keep { found } else { Vec::new() };
    }
    assert!(saved_in_all > ROUNDS as usize, "{saved_in_all} in all: the kills came too early to test anything");
}
