//! State of the clock synchronization, from adjtimex(2), which any user may call. "Synchronized" is the kernel's own
//! state: an NTP or PTP daemon maintains it; without one, the kernel clears it when the estimated error reaches 16 s.
//!
//! These metrics exist neither in the semantic conventions nor in hostmetrics.

use std::io;

use tracing::{info, warn};

use super::{Collector, Context, Definition, Observer};
use crate::host::{ClockState, Reader};
use crate::metrics::counter::{Counters, Kind as CounterKind, Rules};
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Counter, Gauge, UpDownCounter};
use crate::metrics::naming::Metric;
use crate::metrics::naming::Number::{Double, Int};

pub const DEFINITION: Definition =
    Definition { name: "clock", metrics: METRICS, new: |context| Box::new(Clock::new(context)) };

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("offset", Gauge, Double, "Time between the clock and its reference, as its discipline reports it",
        "adjtimex, offset")
        .semconv("system.clock.linux.offset", "s", Basic, &[])
        .node_exporter("node_timex_offset_seconds", Basic, &[]),
    Metric::new("estimated_error", Gauge, Double, "Error of the clock that its discipline estimates",
        "adjtimex, esterror")
        .semconv("system.clock.linux.error.estimated", "s", Basic, &[])
        .node_exporter("node_timex_estimated_error_seconds", Basic, &[]),
    Metric::new("maximum_error", Gauge, Double,
        "Error of the clock that is possible; grows while nothing disciplines it", "adjtimex, maxerror")
        .semconv("system.clock.linux.error.maximum", "s", Basic, &[])
        .node_exporter("node_timex_maxerror_seconds", Basic, &[]),
    Metric::new("synchronized", UpDownCounter, Int, "Whether the kernel considers the clock synchronized: 1 or 0",
        "adjtimex, its answer is not TIME_ERROR")
        .semconv("system.clock.linux.synchronized", "1", Basic, &[])
        .node_exporter("node_timex_sync_status", Basic, &[]),
    Metric::new("frequency", Gauge, Double, "Factor by which the clock's frequency is corrected; 1 is no correction",
        "adjtimex, freq")
        .semconv("system.clock.linux.frequency_adjustment", "1", Detailed, &[])
        .node_exporter("node_timex_frequency_adjustment_ratio", Basic, &[]),
    Metric::new("tai_offset", Gauge, Double, "Time between TAI and UTC; 0 where nothing has set it", "adjtimex, tai")
        .semconv("system.clock.linux.tai_offset", "s", Detailed, &[])
        .node_exporter("node_timex_tai_offset_seconds", Basic, &[]),
    Metric::node("status", Gauge, Int, "node_timex_status", &[], "The status bits", "adjtimex, status"),
    Metric::node("constant", Gauge, Int, "node_timex_loop_time_constant", &[], "Time constant of the phase-locked loop", "adjtimex, constant"),
    Metric::node("tick", Gauge, Double, "node_timex_tick_seconds", &[], "Time between two clock ticks", "adjtimex, tick"),
    Metric::node("pps.frequency", Gauge, Double, "node_timex_pps_frequency_hertz", &[], "Frequency against a pulse per second", "adjtimex, ppsfreq"),
    Metric::node("pps.jitter", Gauge, Double, "node_timex_pps_jitter_seconds", &[], "By how much the pulse varies", "adjtimex, jitter"),
    Metric::node("pps.shift", Gauge, Int, "node_timex_pps_shift_seconds", &[], "Time between two calibrations, as a power of two", "adjtimex, shift"),
    Metric::node("pps.stability", Gauge, Double, "node_timex_pps_stability_hertz", &[], "By how much the frequency varies", "adjtimex, stabil"),
    Metric::node(PULSES[0], Counter, Int, "node_timex_pps_jitter_total", &[], "How often the jitter's limit was exceeded", "adjtimex, jitcnt"),
    Metric::node(PULSES[1], Counter, Int, "node_timex_pps_calibration_total", &[], "Calibrations", "adjtimex, calcnt"),
    Metric::node(PULSES[2], Counter, Int, "node_timex_pps_error_total", &[], "Calibrations that failed", "adjtimex, errcnt"),
    Metric::node(PULSES[3], Counter, Int, "node_timex_pps_stability_exceeded_total", &[], "How often the stability's limit was exceeded", "adjtimex, stbcnt"),
];

/// Counters of the pulse-per-second signal.
const PULSES: [&str; 4] = ["pps.jitters", "pps.calibrations", "pps.errors", "pps.unstable"];

struct Clock {
    ask: fn() -> io::Result<ClockState>,
    state: Option<ClockState>,
    /// Whether the last call failed; only the first failure is logged.
    failed: bool,
    unsupported: bool,
    pulses: Counters<{ PULSES.len() }>,
}

impl Clock {
    fn new(context: &Context) -> Self {
        let rules = Rules::new([CounterKind::EVENTS; PULSES.len()], context.options.since).delta(context.options.delta);
        let pulses = Counters::new(rules);
        Self { ask: context.host.calls.adjtimex, state: None, failed: false, unsupported: false, pulses }
    }
}

impl Collector for Clock {
    fn read(&mut self, reader: &mut Reader) {
        if self.unsupported {
            return;
        }
        self.state = None;
        match (self.ask)() {
            Ok(state) => {
                if std::mem::take(&mut self.failed) {
                    info!("adjtimex works again");
                }
                self.pulses.read(&state.pulse.counts.map(|count| u64::try_from(count).ok()), reader.now());
                self.state = Some(state);
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.unsupported = true,
            // A container's seccomp filter may deny the call for as long as the container runs.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let words = "the call is refused; a container needs a seccomp profile that allows it";
                info!("adjtimex: {words}; the collector clock reports nothing");
                reader.note("adjtimex", false, words);
                self.unsupported = true;
            }
            Err(error) => {
                reader.fail();
                reader.note("adjtimex", true, error.to_string());
                if !std::mem::replace(&mut self.failed, true) {
                    warn!("adjtimex failed ({error}); the collector clock reports nothing until it works");
                }
            }
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        let Some(state) = &self.state else { return };
        match metric.id {
            "offset" => out.float(state.offset_seconds, &[]),
            "estimated_error" => out.float(state.estimated_error_seconds, &[]),
            "maximum_error" => out.float(state.maximum_error_seconds, &[]),
            "synchronized" => out.int(u64::from(state.synchronized), &[]),
            "frequency" => out.float(state.frequency_ratio, &[]),
            "tai_offset" => out.float(f64::from(state.tai_offset_seconds), &[]),
            "status" => out.int(u64::try_from(state.status).unwrap_or(0), &[]),
            "constant" => out.int(u64::try_from(state.loop_time_constant).unwrap_or(0), &[]),
            "tick" => out.float(state.tick_seconds, &[]),
            "pps.frequency" => out.float(state.pulse.frequency_hertz, &[]),
            "pps.jitter" => out.float(state.pulse.jitter_seconds, &[]),
            "pps.shift" => out.int(u64::try_from(state.pulse.shift_seconds).unwrap_or(0), &[]),
            "pps.stability" => out.float(state.pulse.stability_hertz, &[]),
            id => {
                let place = PULSES.iter().position(|pulse| *pulse == id);
                if let Some(count) = place.and_then(|place| self.pulses.get(place)) {
                    out.int(count, &[]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{Bench, fixture};
    use super::*;
    use crate::host::Pulse;
    use crate::metrics::naming::Detail;

    const STATE: ClockState = ClockState {
        offset_seconds: -0.000_125,
        estimated_error_seconds: 0.000_25,
        maximum_error_seconds: 16.0,
        frequency_ratio: 1.000_001_5,
        tai_offset_seconds: 37,
        status: 0x2041,
        synchronized: false,
        loop_time_constant: 7,
        tick_seconds: 0.01,
        pulse: Pulse {
            frequency_hertz: 0.0,
            jitter_seconds: 0.0,
            shift_seconds: 0,
            stability_hertz: 0.0,
            counts: [0; 4],
        },
    };

    fn bench(ask: fn() -> io::Result<ClockState>) -> Bench {
        let mut context = fixture("server", Options { detail: Detail::Detailed, ..Options::default() });
        context.host.calls.adjtimex = ask;
        Bench::new(DEFINITION, context)
    }

    #[test]
    fn a_clock_that_is_not_synchronized_is_reported_with_its_errors() {
        assert_eq!(
            bench(|| Ok(STATE)).next(),
            [
                "system.clock.linux.offset -0.000125",
                "system.clock.linux.error.estimated 0.00025",
                "system.clock.linux.error.maximum 16",
                "system.clock.linux.synchronized 0",
                "system.clock.linux.frequency_adjustment 1.0000015",
                "system.clock.linux.tai_offset 37",
            ]
        );
    }

    #[test]
    fn a_refused_call_is_no_failure_and_any_other_error_is_one() {
        let mut refused = bench(|| Err(io::ErrorKind::PermissionDenied.into()));
        assert!(refused.next().is_empty());
        assert_eq!(refused.reader.failures(), 0);
        let mut failing = bench(|| Err(io::ErrorKind::InvalidInput.into()));
        assert!(failing.next().is_empty());
        assert_eq!(failing.reader.failures(), 2);
    }
}
