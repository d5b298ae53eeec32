//! Log lines for the systemd journal. Each line starts with its priority (`<3>` to `<7>`) and has no timestamp, because
//! the journal stores both as fields.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

pub const ERROR: &str = "<3>";

/// Whether standard error is connected to the journal: `JOURNAL_STREAM` contains its device and inode.
#[must_use]
pub fn is_stderr() -> bool {
    let Ok(file) = rustix::fs::fstat(std::io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

/// The log format with priority prefixes.
#[derive(Debug)]
pub struct Priority;

impl<S, N> FormatEvent<S, N> for Priority
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_starts_with_its_priority() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer().with_writer(move || writer.clone()).with_ansi(false).event_format(Priority);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!(number = 1, "lost");
            tracing::warn!("late");
            tracing::info!("sent");
            tracing::debug!("read");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "<3>lost number=1\n<4>late\n<6>sent\n<7>read\n");
    }
}
