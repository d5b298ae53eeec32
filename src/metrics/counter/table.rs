//! Rows with a name: disks, interfaces, CPUs.

use std::collections::HashMap;
use std::time::Duration;

use super::{Row, Rules};

/// A row and what its collector keeps beside it, such as the attributes of its series.
#[derive(Debug)]
pub struct Entry<T, const N: usize> {
    name: Vec<u8>,
    /// The collector's own.
    pub data: T,
    row: Row<N>,
    /// The number of the last listing that had the row.
    listed: u64,
}

impl<T, const N: usize> Entry<T, N> {
    /// The row's name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The row.
    #[must_use]
    pub fn row(&self) -> &Row<N> {
        &self.row
    }

    /// The row has other attributes from now on; `grown` is what its last reading grew by. See [`Row::keep_only`].
    pub fn renamed(&mut self, grown: &[u64; N], rules: &Rules<N>) {
        self.row.keep_only(grown, rules);
    }
}

/// The rows of a listing, found by name in whatever order they come.
///
/// A collection calls [`Table::begin`], [`Table::read`] for each line, and [`Table::end`]. Where the file could not be read
/// it calls none of them, and the totals stay as they are.
#[derive(Debug)]
pub struct Table<T, const N: usize> {
    rules: Rules<N>,
    entries: Vec<Entry<T, N>>,
    places: HashMap<Vec<u8>, usize>,
    /// Rows that went away are remembered up to this many, in case they come back.
    most_gone: usize,
    listing: u64,
    /// Where the next line is expected: a file hardly ever changes its order.
    next: usize,
    now: Duration,
    listed: usize,
}

impl<T, const N: usize> Table<T, N> {
    /// A table without rows.
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

    /// Takes a line; `data` makes the collector's own part of a row that is new. Returns the row, and by how much each total
    /// grew. A name that comes twice in a listing can only be damage: its first line counts, and the second has no row.
    pub fn read(
        &mut self,
        name: &[u8],
        readings: &[Option<u64>; N],
        data: impl FnOnce() -> T,
    ) -> Option<(&mut Entry<T, N>, [u64; N])> {
        self.read_same(name, readings, |_| true, data)
    }

    /// As [`Table::read`], where another thing can take the name between two listings. `same` compares the thing with the
    /// row's own part; if it is another one, the row takes new baselines and a new part, and its totals stay.
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

    /// The place of the row that went away longest ago, where as many are remembered as may be.
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

    /// The rows of the last good listing, with the collector's own part mutable.
    pub fn listed_mut(&mut self) -> impl Iterator<Item = &mut Entry<T, N>> {
        self.entries.iter_mut().filter(|entry| entry.listed == self.listing)
    }

    /// The row with this name, if it is remembered.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Entry<T, N>> {
        self.place(name).and_then(|place| self.entries.get(place))
    }

    fn place(&self, name: &[u8]) -> Option<usize> {
        match self.entries.get(self.next) {
            Some(entry) if entry.name == name => Some(self.next),
            _ => self.places.get(name).copied(),
        }
    }

    /// The collector's own part of a row.
    pub fn data_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        let place = *self.places.get(name)?;
        self.entries.get_mut(place).map(|entry| &mut entry.data)
    }

    /// The rules of the rows.
    #[must_use]
    pub fn rules(&self) -> Rules<N> {
        self.rules
    }

    /// Whether the listing before this one had the row.
    #[must_use]
    pub fn had(&self, name: &[u8]) -> bool {
        self.get(name).is_some_and(|entry| entry.listed > 0 && entry.listed + 1 >= self.listing)
    }

    /// How many rows are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no listing had a row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
