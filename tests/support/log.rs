//! Captures log lines. Tests of one file run in parallel, so each one selects the lines with its own endpoint.

use std::io;
use std::sync::{Mutex, Once};

static LINES: Mutex<String> = Mutex::new(String::new());
static START: Once = Once::new();

struct Capture;

impl io::Write for Capture {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().push_str(&String::from_utf8_lossy(buf));
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn capture() {
    START.call_once(|| {
        let format = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
        format.with_max_level(tracing::Level::INFO).with_writer(|| Capture).init();
    });
}

pub fn lines(about: &str) -> Vec<String> {
    LINES.lock().unwrap().lines().filter(|line| line.contains(about)).map(|line| line.trim().to_string()).collect()
}

/// Those lines without the one about the first batch.
pub fn news(about: &str) -> Vec<String> {
    lines(about).into_iter().filter(|line| !line.contains("accepted the first batch")).collect()
}
