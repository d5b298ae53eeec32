//! The program's own log, to standard error.

use std::panic;

use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::collectors::fault;
use crate::config::{Config, LogFormat};

/// Starts logging as configured. A second call has no effect.
///
/// If standard error is the systemd journal, each text line starts with its priority (`<3>` to `<7>`) and has no time:
/// the journal has both as fields.
pub fn start(config: &Config) {
    // The crates below say little at info, but their debug lines may show requests: only what is asked for by name.
    let filter: Targets = config.log_level.parse().unwrap_or_default();
    let layer = match config.log_format {
        LogFormat::Text if is_journal() => {
            fmt::layer().with_writer(std::io::stderr).with_ansi(false).event_format(Journal).boxed()
        }
        LogFormat::Text => fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false).boxed(),
        LogFormat::Json => {
            fmt::layer().with_writer(std::io::stderr).with_ansi(false).json().flatten_event(true).boxed()
        }
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    hook_panics();
}

/// Whether systemd connected standard error to the journal and still is: `JOURNAL_STREAM` has its device and inode.
fn is_journal() -> bool {
    let Ok(file) = rustix::fs::fstat(std::io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Log lines for the journal.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The level as syslog has it.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Makes every panic one line. One that is caught has none here: its catcher logs it.
pub fn hook_panics() {
    // Never a backtrace: resolving one costs 31 MB of memory for good.
    panic::set_hook(Box::new(|info| {
        if let Some(what) = fault::unguarded(info) {
            error!("internal error: {what}");
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

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
    fn each_line_for_the_journal_starts_with_its_priority() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer().with_writer(move || writer.clone()).with_ansi(false).event_format(Journal);
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
