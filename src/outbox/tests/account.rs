//! Tests of the log lines that are derived from the account.

use super::status::Status;
use super::*;

/// A log writer whose text a test can read.
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

/// Runs a closure on this thread and returns its log lines, each as level and text.
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
fn a_refusing_directory_is_one_warning_and_one_info_line() {
    let fs = FakeFs::default();
    let lines = lines_of(|| {
        let mut outbox = Outbox::open(&fs, limits());
        fs.fail(Faults { write: Some(Errno::ROFS), ..Faults::default() });
        outbox.fail(at(0));
        for n in 0..100 {
            outbox.push("x", at(n));
            outbox.settle_after(5, at(n));
        }
        fs.fail(Faults::default());
        outbox.settle_after(60, at(200));
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("WARN outbox directory /outbox refuses batches (Read-only file system"), "{lines:#?}");
    assert_eq!(lines[1], "INFO outbox directory /outbox can be used again");
}

#[test]
fn a_directory_that_works_and_fails_by_turns_is_not_a_line_each_time() {
    let fs = FakeFs::default();
    let lines = lines_of(|| {
        let mut outbox = Outbox::open(&fs, limits());
        outbox.fail(at(0));
        for turn in 0..100 {
            fs.fail(Faults { write: (turn % 2 == 0).then_some(Errno::IO), ..Faults::default() });
            outbox.push("x", at(turn));
            outbox.settle_after(5, at(turn));
        }
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

#[test]
fn a_recovery_is_one_line_an_error_where_something_is_lost() {
    let fs = FakeFs::default();
    let mut outbox = Outbox::open(&fs, limits());
    (0..3).for_each(|n| outbox.push(&n.to_string(), at(0)));
    outbox.fail(at(0));
    outbox.settle(at(0));
    drop(outbox);
    let lines = lines_of(|| drop(Outbox::open(&fs, limits())));
    assert_eq!(lines, ["INFO outbox directory /outbox: 3 batches of an earlier run to be sent"]);
    fs.disk().files.values_mut().next().unwrap().clear();
    let lines = lines_of(|| drop(Outbox::open(&fs, limits())));
    assert_eq!(lines, ["ERROR outbox directory /outbox: 1 batches lost (1 damaged, 0 unreadable), 2 wait to be sent"]);
}

#[test]
fn losses_are_logged_once_with_their_reasons_and_the_rest_at_the_end() {
    let start = Instant::now();
    let mut account = Snapshot::default();
    let lines = lines_of(|| {
        let mut status = Status::new("http://backend");
        status.refusal = "bad data".into();
        status.log_changes(&account, None, start, true);
        for n in 1..=3 {
            account.dropped.add(if n == 1 { DropReason::Oversize } else { DropReason::Size }, 10);
            account.dropped.add(DropReason::Refused, 1);
            status.log_changes(&account, None, start, false);
        }
        status.log_changes(&account, None, start, true);
        status.log_changes(&account, None, start, true);
    });
    assert_eq!(
        lines,
        [
            "ERROR 1 batch (10 data points) for http://backend lost; since start: 1 larger than --outbox-max-size",
            "ERROR http://backend permanently rejected data: bad data; 1 batch (1 data points) dropped since start",
            "ERROR 2 batches (20 data points) for http://backend lost; since start: 2 the outbox was full, 1 larger than \
             --outbox-max-size",
            "ERROR http://backend permanently rejected data: bad data; 3 batches (3 data points) dropped since start",
        ]
    );
}

#[test]
fn a_collection_that_was_not_encoded_is_not_blamed_on_the_disk() {
    let mut queue = Queue::new(limits(), false);
    queue.lost_unencoded(10);
    let lines =
        lines_of(|| Status::new("http://backend").log_changes(&queue.snapshot(&at(0)), None, Instant::now(), false));
    assert_eq!(lines, ["ERROR 1 batch (10 data points) for http://backend lost; since start: 1 not encoded"]);
}

#[test]
fn a_disk_that_hangs_and_answers_by_turns_is_not_a_line_each_time() {
    let (start, account) = (Instant::now(), Snapshot::default());
    let lines = lines_of(|| {
        let mut status = Status::new("http://backend");
        for turn in 0..10 {
            let now = start + Duration::from_secs(turn * 6);
            status.log_changes(&account, Some(now - Duration::from_secs(5)), now, false);
            status.log_changes(&account, None, now, false);
        }
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("WARN the outbox directory does not answer"), "{lines:#?}");
    assert!(lines[1].starts_with("INFO the outbox directory answers again"), "{lines:#?}");
}
