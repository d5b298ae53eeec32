//! The agent's log on standard error. Writing never blocks.

use std::borrow::Cow;
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
use crate::export::harmless;

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
            .with_writer(|| Lines { output: io::stderr(), dropped: &DROPPED, form: Form::Journal })
            .with_ansi(false)
            .event_format(journal::Priority)
            .boxed(),
        LogFormat::Text => fmt::layer()
            .with_writer(|| Lines { output: io::stderr(), dropped: &DROPPED, form: Form::Text })
            .with_ansi(false)
            .with_target(false)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .with_writer(|| Lines { output: io::stderr(), dropped: &DROPPED, form: Form::Json })
            .with_ansi(false)
            .json()
            .flatten_event(true)
            .boxed(),
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    hook_panics();
}

#[derive(Clone, Copy)]
enum Form {
    Text,
    /// Text after a priority.
    Journal,
    Json,
}

impl Form {
    /// A warning, as a line.
    fn warning(self, text: &str) -> String {
        match self {
            Self::Text => format!(" WARN {text}\n"),
            Self::Journal => format!("<4>{text}\n"),
            Self::Json => format!("{{\"level\":\"WARN\",\"message\":\"{text}\"}}\n"),
        }
    }
}

/// Writes lines to an output and drops them while it is full, so that an unread log blocks neither collections nor
/// delivery nor the exit. The next written line is preceded by the number of dropped lines.
///
/// Control characters within a line are replaced: a message may contain a path or the name of a unit, and a line break in
/// it would start a line that looks like another message.
struct Lines<W> {
    output: W,
    dropped: &'static AtomicU64,
    form: Form,
}

/// The line with a replacement character for each control character except the line break at its end.
fn one_line(line: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = match line.strip_suffix(b"\n") {
        Some(text) => (text, "\n"),
        None => (line, ""),
    };
    let text = String::from_utf8_lossy(text);
    if !text.contains(char::is_control) {
        return Cow::Borrowed(line);
    }
    Cow::Owned((harmless(&text) + end).into_bytes())
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
            self.output.write_all(self.form.warning(&text).as_bytes())?;
            if !takes_more(&self.output) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return Ok(line.len());
            }
        }
        let shown = one_line(line);
        match shown.split_at_checked(LINE_MAX_BYTES - 1) {
            Some((head, rest)) if !rest.is_empty() => {
                self.output.write_all(head)?;
                self.output.write_all(b"\n")?;
            }
            _ => self.output.write_all(&shown)?,
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
        let mut lines = Lines { output: writer, dropped: &DROPPED, form: Form::Text };
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
        let expected = format!(" WARN {dropped} log lines were dropped: standard error was full\nafter\n");
        assert!(rest.ends_with(&expected), "{}", &rest[rest.len() - 200..]);
    }

    #[test]
    fn a_line_longer_than_a_pipe_takes_at_once_is_cut() {
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines { output: writer, dropped: &DROPPED, form: Form::Text };
        lines.write_all(&[b'x'; 10_000]).unwrap();
        drop(lines);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.len() == LINE_MAX_BYTES && text.ends_with("x\n"), "{}", text.len());
    }

    #[test]
    fn the_number_of_dropped_lines_has_the_priority_of_a_warning_in_the_journal() {
        static DROPPED: AtomicU64 = AtomicU64::new(3);
        let (mut reader, writer) = io::pipe().unwrap();
        Lines { output: writer, dropped: &DROPPED, form: Form::Journal }.write_all(b"<6>after\n").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "<4>3 log lines were dropped: standard error was full\n<6>after\n");
    }

    #[test]
    fn a_message_with_control_characters_is_one_line() {
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        let (mut reader, writer) = io::pipe().unwrap();
        let layer = fmt::layer()
            .with_writer(move || Lines { output: writer.try_clone().unwrap(), dropped: &DROPPED, form: Form::Journal })
            .with_ansi(false)
            .event_format(journal::Priority);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            error!(path = "/a\nb", "a\n<3>forged\r\u{1b}[31m\u{9b}é");
            error!("/b");
        });
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("<3>a") && lines[1] == "<3>/b", "{lines:?}");
        assert!(lines[0].contains('é') && !lines[0].contains(char::is_control), "{lines:?}");
    }
}
