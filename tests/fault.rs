//! Tests a collector's panic with the program's panic hook. The hook is process-wide, so this file has only one test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test may panic.

#[path = "support/exporter.rs"]
mod exporter;

use std::io;
use std::sync::Mutex;

use exporter::Calling;
use heka_insights_agent::internals::agent::log::hook_panics;
use heka_insights_agent::internals::collectors::{Collector, Context, Definition, Observer, Options, register_from};
use heka_insights_agent::internals::host::{Host, Reader, Roots};
use heka_insights_agent::internals::metrics::naming::{Detail, Kind, Metric, Number};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Keep;

impl io::Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Faulty;

impl Collector for Faulty {
    fn read(&mut self, _reader: &mut Reader) {}

    fn observe(&self, _metric: &Metric, _out: &mut Observer<'_>) {
        panic!("it broke");
    }
}

const METRICS: &[Metric] = &[Metric::new("broken", Kind::Counter, Number::Int, "of a test", "nothing").semconv(
    "t.broken",
    "1",
    Detail::Basic,
    &[],
)];

#[test]
fn a_collectors_fault_is_one_line_with_its_place_however_often_it_happens() {
    let format = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
    format.with_writer(|| Keep).init();
    let usual = std::panic::take_hook();
    hook_panics();
    let provider = SdkMeterProvider::builder().with_reader(Calling::new(|_| ()).reader()).build();
    let collector = Definition { name: "broken", metrics: METRICS, new: |_| Box::new(Faulty) };
    let context = Context { host: Host::new(&Roots::default()), options: Options::default() };
    register_from(&provider.meter("test"), &context, &[collector], None);
    (0..3).for_each(|_| provider.force_flush().unwrap());
    std::panic::set_hook(usual);
    let text = String::from_utf8(LINES.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("ERROR internal error in the collector broken, which loses metrics"), "{text}");
    assert!(text.contains("it broke at tests/fault.rs:"), "{text}");
}
