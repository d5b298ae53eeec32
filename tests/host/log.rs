//! Captures the log lines of this process. Tests run in parallel, so each one selects the lines that contain its own
//! text.

use std::io;
use std::sync::{Mutex, Once};

static LINES: Mutex<String> = Mutex::new(String::new());
static START: Once = Once::new();

struct Keep;

impl io::Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps lines from now on.
pub fn keep() {
    START.call_once(|| {
        let format = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
        format.with_max_level(tracing::Level::INFO).with_writer(|| Keep).init();
    });
}

/// The lines so far that hold `mark`.
pub fn lines(mark: &str) -> Vec<String> {
    LINES.lock().unwrap().lines().filter(|line| line.contains(mark)).map(|line| line.trim().to_owned()).collect()
}
