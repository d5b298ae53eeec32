//! Reads the kernel's clock state with adjtimex(2), without changing it.
//!
//! A crate of its own because the call is `unsafe`, which the main crate forbids. Neither rustix nor nix has it.

use std::io;

/// The clock as its discipline, for example an NTP daemon, left it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockState {
    /// Seconds between this clock and its reference.
    pub offset_seconds: f64,
    /// Seconds of error that the discipline estimates.
    pub estimated_error_seconds: f64,
    /// Seconds of error that are possible. Grows while nothing disciplines the clock.
    pub maximum_error_seconds: f64,
    /// Factor by which the clock's frequency is corrected; 1 is no correction.
    pub frequency_ratio: f64,
    /// Seconds between TAI and UTC; 0 where nothing has set it.
    pub tai_offset_seconds: i32,
    /// The status bits (`STA_*`).
    pub status: i32,
    /// Whether the kernel takes the clock to be synchronized: the call did not answer `TIME_ERROR`.
    pub synchronized: bool,
    /// Time constant of the phase-locked loop.
    pub loop_time_constant: i64,
    /// Seconds between two clock ticks.
    pub tick_seconds: f64,
    /// A pulse per second, where the kernel gets one.
    pub pulse: Pulse,
}

/// What the kernel knows of a pulse per second (PPS); all zero without one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pulse {
    /// Frequency of the clock against the pulse, in Hz.
    pub frequency_hertz: f64,
    /// Seconds by which the pulse varies.
    pub jitter_seconds: f64,
    /// Seconds between two calibrations, as a power of two.
    pub shift_seconds: i32,
    /// By how much the frequency varies, in Hz.
    pub stability_hertz: f64,
    /// How often the jitter's limit was exceeded, the frequency was calibrated, a calibration failed, and the
    /// stability's limit was exceeded.
    pub counts: [i64; 4],
}

/// The call's answer for a clock that is not synchronized.
const TIME_ERROR: i32 = 5;
/// The status bit with which the offset is in nanoseconds.
const STA_NANO: i32 = 0x2000;

/// Reads the clock state. Any user may.
///
/// # Errors
/// Those of the call: a seccomp filter may refuse it.
pub fn read() -> io::Result<ClockState> {
    // SAFETY: all bits zero is a valid `timex`, whose fields are integers; `modes` is 0, so the kernel changes nothing.
    // The pointer is valid for the whole call.
    let (answer, state) = unsafe {
        let mut state: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut state), state)
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(interpret(&state, answer))
}

#[allow(clippy::cast_precision_loss)] // the kernel bounds these far below 2^52
#[allow(clippy::useless_conversion)] // a long has 32 bits on a 32-bit machine
fn interpret(state: &libc::timex, answer: i32) -> ClockState {
    let offset_unit = if state.status & STA_NANO == 0 { 1e6 } else { 1e9 };
    ClockState {
        offset_seconds: state.offset as f64 / offset_unit,
        estimated_error_seconds: state.esterror as f64 / 1e6,
        maximum_error_seconds: state.maxerror as f64 / 1e6,
        frequency_ratio: 1.0 + state.freq as f64 / (1e6 * 65536.0),
        tai_offset_seconds: state.tai,
        status: state.status,
        synchronized: answer != TIME_ERROR,
        loop_time_constant: state.constant.into(),
        tick_seconds: state.tick as f64 / 1e6,
        pulse: Pulse {
            frequency_hertz: state.ppsfreq as f64 / (1e6 * 65536.0),
            jitter_seconds: state.jitter as f64 / offset_unit,
            shift_seconds: state.shift,
            stability_hertz: state.stabil as f64 / (1e6 * 65536.0),
            counts: [state.jitcnt.into(), state.calcnt.into(), state.errcnt.into(), state.stbcnt.into()],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(offset: libc::c_long, status: i32) -> libc::timex {
        // SAFETY: all bits zero is a valid `timex`.
        let mut state: libc::timex = unsafe { std::mem::zeroed() };
        (state.offset, state.status, state.esterror, state.maxerror) = (offset, status, 250, 16_000_000);
        (state.freq, state.tai) = (65_536, 37);
        state
    }

    #[test]
    fn the_offset_is_in_nanoseconds_with_sta_nano_and_in_microseconds_without() {
        assert_eq!(interpret(&state(-1_500, STA_NANO), 0).offset_seconds, -1.5e-6);
        assert_eq!(interpret(&state(-1_500, 0), 0).offset_seconds, -1.5e-3);
    }

    #[test]
    fn errors_are_in_microseconds_and_time_error_is_not_synchronized() {
        let read = interpret(&state(0, 0x40), TIME_ERROR);
        assert_eq!((read.estimated_error_seconds, read.maximum_error_seconds), (0.00025, 16.0));
        assert_eq!((read.frequency_ratio, read.tai_offset_seconds, read.synchronized), (1.000001, 37, false));
    }

    #[test]
    fn any_user_can_read_the_running_kernels_clock() {
        let read = read().unwrap();
        assert!(read.maximum_error_seconds >= 0.0 && read.estimated_error_seconds >= 0.0);
    }
}
