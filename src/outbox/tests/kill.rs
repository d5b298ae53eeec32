//! kill -9 at random points: what was reported as kept is there, in order, intact and once.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const DIR_VARIABLE: &str = "HEKA_TEST_OUTBOX_KILL";
const ROUNDS: u32 = 200;

/// What batch `n` contains: its number, and more than a block of bytes that depend on it.
fn text(n: u64) -> String {
    format!("{n} ").repeat(600)
}

/// Not a test by itself: the process that [`acknowledged_batches_survive_kill_9`] kills.
#[test]
fn child_pushes_and_drains_until_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else {
        return;
    };
    let mut store = DiskStore::open(Path::new(&dir), limits(), BOOT, Moment::now()).unwrap();
    let mut out = std::io::stdout();
    let mut say = |what: &str, n: u64| {
        writeln!(out, "{what} {n}").unwrap();
        out.flush().unwrap();
    };
    let first: u64 = std::fs::read_to_string(Path::new(&dir).join("next")).unwrap().parse().unwrap();
    say("ready", first);
    for n in first.. {
        assert_eq!(store.push(text(n).as_bytes(), 1, Moment::now()).kept, Kept::OnDisk);
        say("pushed", n);
        // As the drain does, three of four are sent while the child lives.
        if n % 4 == 3 {
            let seqs: Vec<u64> = store.peek(3 * text(n).len(), Moment::now()).iter().map(|batch| batch.seq).collect();
            for seq in seqs {
                let sent = number(&store.peek(0, Moment::now())[0]);
                say("sending", sent);
                store.remove(&[seq]);
                say("sent", sent);
            }
        }
    }
}

/// The number of a batch, after checking every byte of it.
fn number(batch: &Batch) -> u64 {
    let body = std::str::from_utf8(&batch.payload).unwrap();
    let n = body.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(body, text(n), "altered");
    n
}

/// One life of a child, killed while it works, or while it opens the store; returns its lines.
fn one_life(dir: &Path, while_opening: bool) -> Vec<(String, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "outbox::tests::kill::child_pushes_and_drains_until_killed", "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    let mut take = |line: &str| {
        let mut words = line.split_whitespace();
        if let (Some(what), Some(Ok(n)), None) = (words.next(), words.next().map(str::parse), words.next()) {
            said.push((what.to_string(), n));
        }
    };
    // Then a random while: up to some dozen batches.
    let mut line = String::new();
    while !while_opening && !line.contains("ready") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child ended by itself");
    }
    std::thread::sleep(Duration::from_micros(fastrand::u64(0..25_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines.lines() {
        take(&line.unwrap());
    }
    said
}

#[test]
fn acknowledged_batches_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut next = 1;
    let (mut pushed_in_all, mut left_temporary) = (0, 0);
    // What must be there, oldest first, from the lives before.
    let mut expected: Vec<u64> = Vec::new();
    for round in 0..ROUNDS {
        std::fs::write(dir.path().join("next"), next.to_string()).unwrap();
        let said = one_life(dir.path(), round % 8 == 7);
        let all = |what: &str| said.iter().filter(|(word, _)| word == what).map(|(_, n)| *n).collect::<Vec<u64>>();
        let (pushed, sending, sent) = (all("pushed"), all("sending"), all("sent"));
        pushed_in_all += pushed.len();
        left_temporary += std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|suffix| suffix == "tmp"))
            .count();

        let mut store = open_dir(dir.path());
        let found: Vec<u64> = store.peek(usize::MAX, at(1)).iter().map(number).collect();
        assert_eq!(store.dropped(), DropCounts::default(), "round {round}: nothing is torn");
        assert!(found.is_sorted_by(|a, b| a < b), "round {round}: order, and each once: {found:?}");
        expected.extend(&pushed);
        expected.retain(|n| !sending.contains(n));
        assert!(expected.iter().all(|n| found.contains(n)), "round {round}: {found:?} lacks some of {expected:?}");
        assert!(sent.iter().all(|n| !found.contains(n)), "round {round}: {found:?} has some of {sent:?} again");
        // Beyond what was acknowledged there may be the one being pushed and the one being removed, no more.
        assert!(found.len() <= expected.len() + 2, "round {round}");
        next = found.iter().chain(&pushed).max().map_or(next, |last| last + 1);

        // Half of the rounds start from what is left, to test a backlog; the others start anew.
        if round % 2 == 1 {
            let seqs: Vec<u64> = store.peek(usize::MAX, at(1)).iter().map(|batch| batch.seq).collect();
            store.remove(&seqs);
        }
        expected = store.peek(usize::MAX, at(1)).iter().map(number).collect();
    }
    assert!(
        pushed_in_all > ROUNDS as usize,
        "{pushed_in_all} pushes in all: the kills came too early to test anything"
    );
    eprintln!("{ROUNDS} kills, {pushed_in_all} acknowledged batches, {left_temporary} temporary files left");
}
