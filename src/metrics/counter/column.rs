//! One column: its mark and total, and the record of a column whose readings are in doubt.

use std::time::Duration;

use super::{Kind, Since};

/// A column is believed after this many readings of a candidate.
const READINGS: u8 = 3;
/// Maximum number of old tracks: one for each restart at a lower reading.
const MOST_TRACKS: usize = 8;
/// A 32-bit column wraps at this value.
const RANGE: u64 = 1 << 32;

/// The last believed reading and the total.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    mark: u64,
    pub(super) total: u64,
}

impl Column {
    /// The mark before the first reading.
    const UNSEEN: u64 = u64::MAX;
    /// The mark after nothing but rows of zeros.
    const ZERO: u64 = u64::MAX - 1;
    pub(super) const NEW: Self = Self { mark: Self::UNSEEN, total: 0 };

    /// The two largest numbers are special marks, not readings.
    pub(super) fn is_reading(reading: u64) -> bool {
        reading < Self::ZERO
    }

    pub(super) fn has_baseline(&self) -> bool {
        self.mark < Self::ZERO
    }

    pub(super) fn is_seen(&self) -> bool {
        self.mark != Self::UNSEEN
    }

    pub(super) fn see_zero(&mut self) {
        if self.mark == Self::UNSEEN {
            self.mark = Self::ZERO;
        }
    }

    pub(super) fn forget_mark(&mut self) {
        self.mark = Self::UNSEEN;
    }

    pub(super) fn mark(&self) -> u64 {
        self.mark
    }

    /// Takes the first reading. Returns by how much the total grew.
    pub(super) fn baseline(&mut self, reading: u64, since: Since) -> u64 {
        self.mark = reading;
        match since {
            Since::Start => 0,
            Since::Boot => self.add(reading.saturating_sub(self.total)),
        }
    }

    /// Believes a reading that is not below the mark.
    pub(super) fn believe(&mut self, reading: u64) -> u64 {
        let by = reading.saturating_sub(self.mark);
        self.mark = reading;
        self.add(by)
    }

    fn add(&mut self, by: u64) -> u64 {
        let before = self.total;
        self.total = before.saturating_add(by);
        self.total - before
    }
}

/// A reading, and how it is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) reading: u64,
    pub(super) now: Duration,
    /// A step back of less than this only holds the total.
    pub(super) hold: u64,
    /// The row's columns grew by more than their common limit.
    pub(super) over: bool,
}

/// The state of a column that is in doubt, or that was and may return to an older track.
#[derive(Debug)]
pub(super) struct Doubt {
    /// When the mark was read.
    pub(super) believed: Duration,
    pub(super) state: State,
    candidate: Option<Candidate>,
    /// The tracks that lower candidates replaced, with falling marks.
    tracks: Vec<Track>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The last reading was believed.
    Believed,
    /// The last reading was a small step back.
    Held,
    InDoubt,
}

#[derive(Debug)]
struct Candidate {
    first: u64,
    last: u64,
    at: Duration,
    grown: u64,
    rose: bool,
    readings: u8,
}

#[derive(Debug)]
struct Track {
    mark: u64,
    total: u64,
    believed: Duration,
    /// The first reading of the candidate that replaced the track.
    low: u64,
}

impl Doubt {
    pub(super) fn new(believed: Duration) -> Self {
        Self { believed, state: State::Believed, candidate: None, tracks: Vec::new() }
    }

    /// Whether the record can be discarded.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Believed && self.tracks.is_empty()
    }

    /// Whether the reading continues the current track or returns to an older one.
    fn admits(&self, column: &Column, reading: u64, limit: impl Fn(Duration) -> u64, now: Duration) -> bool {
        let near = reading >= column.mark && reading - column.mark <= limit(now.saturating_sub(self.believed));
        near || self.returns_to(column, reading, &limit, now).is_some()
    }

    fn returns_to(
        &self,
        column: &Column,
        reading: u64,
        limit: impl Fn(Duration) -> u64,
        now: Duration,
    ) -> Option<&Track> {
        let leap = reading.saturating_sub(column.mark);
        self.tracks.iter().find(|track| {
            reading >= track.mark
                && leap > (track.mark - track.low) / 2
                && reading - track.mark <= limit(now.saturating_sub(track.believed))
        })
    }

    /// Judges a reading. Returns by how much the total grew.
    pub(super) fn judge(
        &mut self,
        column: &mut Column,
        judged: &Judged,
        kind: Kind,
        limit: impl Fn(Duration) -> u64,
    ) -> u64 {
        let Judged { reading, now, hold, over } = *judged;
        if (!over || reading == column.mark) && self.admits(column, reading, &limit, now) {
            let grown = match self.returns_to(column, reading, &limit, now) {
                Some(track) => {
                    let total = track.total.saturating_add(reading - track.mark);
                    column.mark = reading;
                    column.add(total.saturating_sub(column.total))
                }
                None => column.believe(reading),
            };
            self.settle(reading, now);
            return grown;
        }
        if reading < column.mark && column.mark - reading < hold {
            (self.state, self.candidate) = (State::Held, None);
            return 0;
        }
        self.state = State::InDoubt;
        let narrow = kind.narrow && column.mark < RANGE;
        let candidate = match self.candidate.take() {
            Some(candidate) => candidate.next(reading, now, narrow, &limit),
            None => Candidate::new(reading, now),
        };
        if candidate.readings < READINGS || !candidate.rose {
            self.candidate = Some(candidate);
            return 0;
        }
        self.confirm(column, &candidate, narrow)
    }

    fn confirm(&mut self, column: &mut Column, candidate: &Candidate, narrow: bool) -> u64 {
        let Column { mark, total } = *column;
        let mut by = candidate.grown;
        if narrow && wraps(mark, candidate.first) {
            by = by.saturating_add(RANGE - mark + candidate.first);
        } else if candidate.first < mark {
            if self.tracks.len() == MOST_TRACKS {
                self.tracks.pop();
            }
            self.tracks.push(Track { mark, total, believed: self.believed, low: candidate.first });
        }
        column.mark = candidate.last;
        self.settle(candidate.last, candidate.at);
        column.add(by)
    }

    fn settle(&mut self, reading: u64, now: Duration) {
        self.tracks.retain(|track| track.mark > reading);
        (self.state, self.candidate, self.believed) = (State::Believed, None, now);
    }
}

impl Candidate {
    fn new(reading: u64, at: Duration) -> Self {
        Self { first: reading, last: reading, at, grown: 0, rose: false, readings: 1 }
    }

    fn next(self, reading: u64, now: Duration, narrow: bool, limit: impl Fn(Duration) -> u64) -> Self {
        let readings = self.readings.saturating_add(1);
        if reading >= self.last && reading - self.last <= limit(now.saturating_sub(self.at)) {
            let by = reading - self.last;
            return Self {
                first: self.first,
                last: reading,
                at: now,
                grown: self.grown.saturating_add(by),
                rose: self.rose || by > 0,
                readings,
            };
        }
        if narrow && wraps(self.last, reading) {
            // The readings before may have been a glitch before the only wrap: what they grew by is not counted.
            return Self { rose: true, readings, ..Self::new(reading, now) };
        }
        Self::new(reading, now)
    }
}

/// Whether a 32-bit column that fell from one reading to the other wrapped.
fn wraps(from: u64, to: u64) -> bool {
    (RANGE / 2..RANGE).contains(&from) && to < RANGE / 2
}
