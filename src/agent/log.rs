//! The agent's log on standard error. Writing never blocks.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::error;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::agent::journal;
use crate::collectors::fault;
use crate::config::{Config, LogFormat};

/// Maximum size of a write that does not block when a pipe is reported as writable (PIPE_BUF on Linux).
const LINE_MAX_BYTES: usize = 4096;

/// Number of lines dropped because standard error was full.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Starts logging as configured. A second call has no effect.
pub fn start(config: &Config) {
    // Debug lines of libraries may contain requests. They are logged only if their target is named explicitly.
    let filter: Targets = config.log_level.parse().unwrap_or_default();
    let layer = match config.log_format {
        LogFormat::Text if journal::is_stderr() => fmt::layer()
            .with_writer(|| Lines { output: io::stderr(), dropped: &DROPPED, json: false })
            .with_ansi(false)
            .event_format(journal::Priority)
            .boxed(),
        LogFormat::Text => fmt::layer()
            .with_writer(|| Lines { output: io::stderr(), dropped: &DROPPED, json: false })
            .with_ansi(false)
            .with_target(false)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .with_writer(|| Lines { output: io::stderr(), dropped: &DROPPED, json: true })
            .with_ansi(false)
            .json()
            .flatten_event(true)
            .boxed(),
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    hook_panics();
}

/// Writes lines to an output and drops them while it is full, so that an unread log blocks neither collections nor
/// delivery nor the exit. The next written line is preceded by the number of dropped lines.
struct Lines<W> {
    output: W,
    dropped: &'static AtomicU64,
    json: bool,
}

impl<W: Write + AsFd> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !takes_more(&self.output) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(line.len());
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let text = format!("{dropped} log lines were dropped: standard error was full");
            let notice = match self.json {
                true => format!("{{\"level\":\"WARN\",\"message\":\"{text}\"}}\n"),
                false => format!(" WARN {text}\n"),
            };
            self.output.write_all(notice.as_bytes())?;
            if !takes_more(&self.output) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return Ok(line.len());
            }
        }
        match line.split_at_checked(LINE_MAX_BYTES - 1) {
            Some((head, rest)) if !rest.is_empty() => {
                self.output.write_all(head)?;
                self.output.write_all(b"\n")?;
            }
            _ => self.output.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether one line can be written without blocking.
fn takes_more(output: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(output, PollFlags::OUT)];
    match poll(&mut fds, Some(&Timespec::default())) {
        Ok(_) => fds.iter().any(|fd| fd.revents().contains(PollFlags::OUT)),
        // If poll fails, try to write.
        Err(_) => true,
    }
}

/// Prints panics as one line. Caught panics are not printed here; the catching code logs them.
pub fn hook_panics() {
    // No backtrace: resolving one permanently uses 31 MB of memory.
    panic::set_hook(Box::new(|info| {
        if let Some(what) = fault::unguarded(info) {
            error!("internal error: {what}");
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_full_pipe_drops_lines_and_the_next_line_follows_their_number() {
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines { output: writer, dropped: &DROPPED, json: false };
        let line = [b'x'; 999];
        for _ in 0..1_000 {
            lines.write_all(&line).unwrap();
            lines.write_all(b"\n").unwrap();
        }
        let dropped = DROPPED.load(Ordering::Relaxed);
        assert!(dropped > 1_000, "{dropped}");
        let mut room = vec![0; 32 * 1024];
        reader.read_exact(&mut room).unwrap();
        lines.write_all(b"after\n").unwrap();
        drop(lines);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        let told = format!(" WARN {dropped} log lines were dropped: standard error was full\nafter\n");
        assert!(rest.ends_with(&told), "{}", &rest[rest.len() - 200..]);
    }

    #[test]
    fn a_line_longer_than_a_pipe_takes_at_once_is_cut() {
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines { output: writer, dropped: &DROPPED, json: false };
        lines.write_all(&[b'x'; 10_000]).unwrap();
        drop(lines);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.len() == LINE_MAX_BYTES && text.ends_with("x\n"), "{}", text.len());
    }
}
