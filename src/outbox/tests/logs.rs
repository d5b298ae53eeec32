//! What the store says, and how often.

use super::*;

/// A writer whose text a test can read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log lines of what runs on this thread, each as its level and text.
fn lines_of(run: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(|line| line.trim().to_string()).collect()
}

#[test]
fn a_refusing_disk_is_one_warning_and_one_info_line() {
    let dir = tempfile::tempdir().unwrap();
    let lines = lines_of(|| {
        let (mut store, faults) = open_faulty(dir.path(), limits());
        faults.lock().unwrap().write = Some(Errno::ROFS);
        for secs in 0..1000 {
            store.push(b"x", 1, at(secs));
        }
        faults.lock().unwrap().write = None;
        for secs in 2000..2010 {
            store.push(b"x", 1, at(secs));
        }
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("Read-only file system"), "{lines:#?}");
    assert!(lines[0].contains(&dir.path().display().to_string()));
    assert!(lines[1].starts_with("INFO") && lines[1].contains("1000 of them from memory"), "{lines:#?}");
}

#[test]
fn a_disk_that_works_and_fails_by_turns_is_not_a_line_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let lines = lines_of(|| {
        let (mut store, faults) = open_faulty(dir.path(), limits());
        for turn in 0..100 {
            faults.lock().unwrap().write = (turn % 2 == 0).then_some(Errno::IO);
            store.push(b"x", 1, at(turn * 5));
        }
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

#[test]
fn recovery_is_one_line_an_error_where_something_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    push_all(&mut open_dir(dir.path()), &["1", "2", "3"]);
    let lines = lines_of(|| drop(open_dir(dir.path())));
    assert_eq!(
        lines,
        [format!("INFO outbox directory {}: 3 batches of an earlier run to be sent", dir.path().display())]
    );
    std::fs::write(&records(dir.path())[0], "").unwrap();
    let lines = lines_of(|| drop(open_dir(dir.path())));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("ERROR") && lines[0].contains("1 batches lost (1 damaged"), "{lines:#?}");
    assert!(lines[0].ends_with("2 wait to be sent"), "{lines:#?}");
}

#[test]
fn a_directory_that_cannot_be_used_is_one_warning_that_names_it() {
    let config = OutboxConfig { dir: Some("/proc/no-such-outbox".into()), max_bytes: 1, max_age: HOUR };
    let lines = lines_of(|| drop(crate::outbox::open(&config, BOOT, at(0), HOUR)));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("WARN") && lines[0].contains("/proc/no-such-outbox"), "{lines:#?}");
}

#[test]
fn a_disk_that_hangs_and_answers_by_turns_is_not_a_line_each_time() {
    let (dir, start) = (Path::new("/var/lib/outbox"), std::time::Instant::now());
    let lines = lines_of(|| {
        let mut silence = super::super::health::Silence::default();
        for turn in 0..100 {
            let now = start + Duration::from_secs(turn * 5);
            silence.look(true, false, dir, now);
            silence.look(false, false, dir, now);
        }
        silence.look(false, true, dir, start);
        silence.look(true, false, dir, start + Duration::from_secs(500));
        silence.look(true, false, dir, start + Duration::from_secs(600));
    });
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("/var/lib/outbox does not answer"), "{lines:#?}");
    assert!(lines[1].starts_with("INFO") && lines[1].contains("answers again"), "{lines:#?}");
    assert!(lines[2].starts_with("WARN"), "{lines:#?}");
}

#[test]
fn the_last_word_tells_what_was_lost_and_refused_after_the_last_line_and_nothing_twice() {
    let mut dropped = DropCounts::default();
    dropped.add(DropReason::Corrupt, 0); // told when the outbox was opened
    let refused = |batches| Tally { batches, points: batches * 10 };
    let start = std::time::Instant::now();
    let lines = lines_of(|| {
        let status = status::Status::new("http://backend", &dropped);
        status.last_word(&dropped);
        for _ in 0..3 {
            dropped.add(DropReason::Size, 10);
            status.lost(&dropped, start);
            status.refused("bad data", refused(1), start);
        }
        status.last_word(&dropped);
        status.last_word(&dropped);
    });
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines[0].contains("1 batch (10 data points) for http://backend lost"), "{lines:#?}");
    assert!(lines[1].ends_with("bad data; 1 batch (10 data points) since the start"), "{lines:#?}");
    assert!(lines[2].contains("2 batches (20 data points) for http://backend lost"), "{lines:#?}");
    assert!(lines[3].ends_with("bad data; 3 batches (30 data points) since the start"), "{lines:#?}");
}
