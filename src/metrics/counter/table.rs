//! Rows with a name: disks, interfaces, CPUs.

use std::collections::HashMap;
use std::time::Duration;

use super::{Row, Rules};

/// A row with its collector's data, such as the attributes of its series.
#[derive(Debug)]
pub struct Entry<T, const N: usize> {
    name: Vec<u8>,
    pub data: T,
    row: Row<N>,
    /// The number of the last listing that had the row.
    listed: u64,
}

impl<T, const N: usize> Entry<T, N> {
    #[cfg(test)]
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    #[must_use]
    pub fn row(&self) -> &Row<N> {
        &self.row
    }

    /// Must be called when the row's attributes change; `grown` is the growth of its last reading. See [`Row::keep_only`].
    pub fn renamed(&mut self, grown: &[u64; N], rules: &Rules<N>) {
        self.row.keep_only(grown, rules);
    }
}

/// The rows of a listing, found by name in any order.
///
/// A collection calls [`Table::begin`], [`Table::read`] for each line, and [`Table::end`]; none of them if the file could
/// not be read, so that the totals stay.
#[derive(Debug)]
pub struct Table<T, const N: usize> {
    rules: Rules<N>,
    entries: Vec<Entry<T, N>>,
    places: HashMap<Vec<u8>, usize>,
    /// Maximum number of removed rows that are remembered, in case they come back.
    most_gone: usize,
    listing: u64,
    /// Index of the row that is expected next: the order of a file rarely changes.
    next: usize,
    now: Duration,
    listed: usize,
}

impl<T, const N: usize> Table<T, N> {
    #[must_use]
    pub fn new(rules: Rules<N>, most_gone: usize) -> Self {
        Self {
            rules,
            entries: Vec::new(),
            places: HashMap::new(),
            most_gone,
            listing: 0,
            next: 0,
            now: Duration::ZERO,
            listed: 0,
        }
    }

    /// Begins a good listing at the time `now` of CLOCK_BOOTTIME.
    pub fn begin(&mut self, now: Duration) {
        self.listing += 1;
        (self.next, self.now, self.listed) = (0, now, 0);
    }

    /// Reads a line; `data` creates the data of a new row. Returns the row and the growth of each total, or `None` if the
    /// listing already had the name, which means that the file is corrupt.
    pub fn read(
        &mut self,
        name: &[u8],
        readings: &[Option<u64>; N],
        data: impl FnOnce() -> T,
    ) -> Option<(&mut Entry<T, N>, [u64; N])> {
        self.read_same(name, readings, |_| true, data)
    }

    /// As [`Table::read`], if another device can take the name between two listings. `same` compares the device with the
    /// row's data; if it is another one, the row takes new baselines and new data, and its totals stay.
    pub fn read_same(
        &mut self,
        name: &[u8],
        readings: &[Option<u64>; N],
        same: impl FnOnce(&T) -> bool,
        data: impl FnOnce() -> T,
    ) -> Option<(&mut Entry<T, N>, [u64; N])> {
        let place = match self.place(name) {
            None => self.insert(name, data()),
            Some(place) => {
                if let Some(entry) = self.entries.get_mut(place).filter(|entry| !same(&entry.data)) {
                    // Not with the rule for delta temporality: the series did not miss a collection.
                    entry.row.absent(&self.rules.delta(false));
                    entry.data = data();
                }
                place
            }
        };
        self.next = place + 1;
        let entry = self.entries.get_mut(place).filter(|entry| entry.listed != self.listing)?;
        entry.listed = self.listing;
        self.listed += 1;
        let grown = entry.row.read(readings, self.now, &self.rules);
        Some((entry, grown))
    }

    /// Ends a listing: rows that it did not have are absent.
    pub fn end(&mut self) {
        if self.listed == self.entries.len() {
            return;
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.listed + 1 == self.listing) {
            entry.row.absent(&self.rules);
        }
    }

    fn insert(&mut self, name: &[u8], data: T) -> usize {
        let entry = Entry { name: name.to_vec(), data, row: Row::default(), listed: 0 };
        let reused = self.longest_gone();
        let place = reused.unwrap_or(self.entries.len());
        match reused.and_then(|place| self.entries.get_mut(place)) {
            Some(gone) => _ = self.places.remove(&std::mem::replace(gone, entry).name),
            None => self.entries.push(entry),
        }
        self.places.insert(name.to_vec(), place);
        place
    }

    /// Index of the row that was removed longest ago, if the maximum number is remembered.
    fn longest_gone(&self) -> Option<usize> {
        let gone = || self.entries.iter().enumerate().filter(|(_, entry)| entry.listed + 1 < self.listing);
        if self.entries.len() <= self.most_gone || gone().count() < self.most_gone {
            return None;
        }
        gone().min_by_key(|(_, entry)| entry.listed).map(|(place, _)| place)
    }

    /// The rows of the last good listing.
    pub fn listed(&self) -> impl Iterator<Item = &Entry<T, N>> {
        self.entries.iter().filter(|entry| entry.listed == self.listing)
    }

    /// As [`Table::listed`].
    pub fn listed_mut(&mut self) -> impl Iterator<Item = &mut Entry<T, N>> {
        self.entries.iter_mut().filter(|entry| entry.listed == self.listing)
    }

    /// The row with this name, if it is remembered.
    pub fn get(&self, name: &[u8]) -> Option<&Entry<T, N>> {
        self.place(name).and_then(|place| self.entries.get(place))
    }

    fn place(&self, name: &[u8]) -> Option<usize> {
        match self.entries.get(self.next) {
            Some(entry) if entry.name == name => Some(self.next),
            _ => self.places.get(name).copied(),
        }
    }

    #[must_use]
    pub fn rules(&self) -> Rules<N> {
        self.rules
    }

    /// Whether the listing before this one had the row.
    #[must_use]
    pub fn had(&self, name: &[u8]) -> bool {
        self.get(name).is_some_and(|entry| entry.listed > 0 && entry.listed + 1 >= self.listing)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
