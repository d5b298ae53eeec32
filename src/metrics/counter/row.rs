//! Columns that are read together: a line of a file, or all counters of a small file.

use std::time::Duration;

use super::column::{Column, Doubt, Judged, State};
use super::{Rules, allowed, growth};

/// The columns of a device, a CPU or a small file: 16 bytes each, more only while one is in doubt.
#[derive(Debug)]
pub struct Row<const N: usize> {
    columns: [Column; N],
    /// When the row was last read: when the marks of all columns without a doubt were read.
    at: Duration,
    /// Time between the last two readings.
    interval: Duration,
    doubts: Vec<(usize, Doubt)>,
    /// Whether a column of the last reading is in doubt, or all are missing.
    doubtful: bool,
    comparable: bool,
    new: bool,
}

impl<const N: usize> Default for Row<N> {
    fn default() -> Self {
        Self {
            columns: [Column::NEW; N],
            at: Duration::ZERO,
            interval: Duration::MAX,
            doubts: Vec::new(),
            doubtful: false,
            comparable: false,
            new: false,
        }
    }
}

impl<const N: usize> Row<N> {
    /// Takes a reading of a good listing at the time `now` of CLOCK_BOOTTIME. `None` is a column that is missing or has no
    /// number: it keeps its total. Returns by how much each total grew.
    pub fn read(&mut self, readings: &[Option<u64>; N], now: Duration, rules: &Rules<N>) -> [u64; N] {
        let mut grown = [0; N];
        if readings.iter().all(Option::is_none) {
            (self.doubtful, self.comparable, self.new) = (true, false, false);
            return grown;
        }
        if readings.iter().flatten().all(|reading| *reading == 0) {
            self.read_zeros(readings, now);
            return grown;
        }
        let elapsed = now.saturating_sub(self.at);
        (self.comparable, self.new) = (!self.doubtful, false);
        // At most the usual interval: after a suspend, idle may have stepped back by hours, which must not be held.
        let interval = allowed(elapsed.min(self.interval));
        let hold = rules.together.map_or(0, |together| growth(together.per_second, interval).saturating_mul(3));
        let allowed = allowed(elapsed);
        let common = rules.together.map(|together| together.limit(elapsed));
        let over = common.is_some_and(|common| self.is_over(readings, now, common, rules));
        for (place, reading) in readings.iter().enumerate() {
            let Some(reading) = reading.filter(|reading| Column::is_reading(*reading)) else { continue };
            let (Some(column), Some(grown)) = (self.columns.get_mut(place), grown.get_mut(place)) else { continue };
            if !column.has_baseline() {
                *grown = column.baseline(reading, rules.since);
                (self.comparable, self.new) = (false, true);
                continue;
            }
            let doubted = self.doubts.iter().position(|(of, _)| *of == place);
            let near = reading >= column.mark()
                && reading - column.mark() <= common.unwrap_or_else(|| limit(place, allowed, rules));
            if doubted.is_none() && near && !(over && reading > column.mark()) {
                *grown = column.believe(reading);
                continue;
            }
            let at = doubted.unwrap_or_else(|| {
                self.doubts.push((place, Doubt::new(self.at)));
                self.doubts.len() - 1
            });
            let (Some((_, doubt)), Some(kind)) = (self.doubts.get_mut(at), rules.kinds.get(place)) else { continue };
            let judged = Judged { reading, now, hold, over };
            *grown = doubt.judge(column, &judged, *kind, |elapsed| limit(place, super::allowed(elapsed), rules));
        }
        self.doubts.retain(|(_, doubt)| !doubt.is_over());
        self.doubtful = self.doubts.iter().any(|(_, doubt)| doubt.state == State::InDoubt);
        self.comparable &= !self.doubtful;
        if !self.new {
            self.interval = elapsed;
        }
        self.at = now;
        grown
    }

    /// A row of zeros is no reading of any column.
    fn read_zeros(&mut self, readings: &[Option<u64>; N], now: Duration) {
        for (place, column) in self.columns.iter_mut().enumerate() {
            if readings.get(place).is_none_or(Option::is_none) {
                continue;
            }
            column.see_zero();
            if !column.has_baseline() || column.mark() == 0 {
                continue;
            }
            match self.doubts.iter_mut().find(|(of, _)| *of == place) {
                Some((_, doubt)) => doubt.state = State::InDoubt,
                None => {
                    let mut doubt = Doubt::new(self.at);
                    doubt.state = State::InDoubt;
                    self.doubts.push((place, doubt));
                }
            }
        }
        (self.doubtful, self.comparable, self.new, self.at) = (true, false, false, now);
    }

    /// Whether the growth of all plausible columns together exceeds their limit: `common` since the last reading, or that of
    /// the longer time since the mark of a column in doubt.
    fn is_over(&self, readings: &[Option<u64>; N], now: Duration, common: u64, rules: &Rules<N>) -> bool {
        let (mut sum, mut most) = (0u64, common);
        for (place, (column, reading)) in self.columns.iter().zip(readings).enumerate() {
            let Some(reading) = reading.filter(|reading| column.has_baseline() && *reading > column.mark()) else {
                continue;
            };
            let doubt = self.doubts.iter().find(|(of, _)| *of == place);
            let own =
                doubt.map_or(common, |(_, doubt)| limit(place, allowed(now.saturating_sub(doubt.believed)), rules));
            if reading - column.mark() <= own {
                sum = sum.saturating_add(reading - column.mark());
                most = most.max(own);
            }
        }
        sum > most
    }

    /// The row was not in a good listing: what comes back under its name takes new baselines, and every doubt ends.
    pub fn absent(&mut self, rules: &Rules<N>) {
        self.doubts = Vec::new();
        self.doubtful = false;
        for column in &mut self.columns {
            column.forget_mark();
            if rules.delta {
                column.total = 0;
            }
        }
    }

    /// Adds the growth of another row of the same device.
    pub fn add(&mut self, grown: &[u64; N]) {
        for (column, by) in self.columns.iter_mut().zip(grown) {
            column.see_zero();
            column.total = column.total.saturating_add(*by);
        }
    }

    /// Under delta temporality, the SDK sends the whole total of a series that gets other attributes: the totals keep only
    /// what the last reading grew by.
    pub fn keep_only(&mut self, grown: &[u64; N], rules: &Rules<N>) {
        if rules.delta {
            self.columns.iter_mut().zip(grown).for_each(|(column, grown)| column.total = *grown);
        }
    }

    #[must_use]
    pub fn total(&self, place: usize) -> u64 {
        self.columns.get(place).map_or(0, |column| column.total)
    }

    /// A column's total, or `None` where no reading had the column.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<u64> {
        self.columns.get(place).filter(|column| column.is_seen()).map(|column| column.total)
    }

    /// Whether the last reading and the one before were believed, so that the growth is that of the time between them. A
    /// small step back of a CPU's time is held, which is no doubt.
    #[must_use]
    pub fn is_comparable(&self) -> bool {
        self.comparable
    }

    /// Whether the last reading was a column's baseline.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.new
    }
}

/// Maximum growth of a column in this many milliseconds.
fn limit<const N: usize>(place: usize, allowed: u64, rules: &Rules<N>) -> u64 {
    match rules.together {
        Some(together) => growth(together.per_second, allowed).saturating_mul(together.times),
        None => rules.kinds.get(place).map_or(0, |kind| kind.limit(allowed)),
    }
}

/// The counters of a small file, one per column. The kernel may lack any of them.
#[derive(Debug)]
pub struct Counters<const N: usize> {
    row: Row<N>,
    rules: Rules<N>,
}

impl<const N: usize> Counters<N> {
    #[must_use]
    pub fn new(rules: Rules<N>) -> Self {
        Self { row: Row::default(), rules }
    }

    /// Takes a good reading; a source that could not be read is no reading. See [`Row::read`].
    pub fn read(&mut self, readings: &[Option<u64>; N], now: Duration) {
        self.row.read(readings, now, &self.rules);
    }

    /// A counter's total, or `None` where no reading had it.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<u64> {
        self.row.get(place)
    }

    pub fn totals(&self) -> impl Iterator<Item = Option<u64>> + '_ {
        (0..N).map(|place| self.row.get(place))
    }
}
