//! Files with named numbers, where each name in a table is a metric.

use super::super::Observer;
use crate::metrics::naming::Metric;

/// The numbers of a table's metrics by id, sorted.
pub struct Keys {
    names: Vec<&'static str>,
    values: Vec<Option<u64>>,
}

impl Keys {
    /// Creates empty numbers for the metrics that node_exporter has.
    #[must_use]
    pub fn new(metrics: &'static [Metric]) -> Self {
        Self::of(metrics.iter().filter(|metric| metric.node_exporter.is_some()).map(|metric| metric.id).collect())
    }

    #[must_use]
    pub fn of(mut names: Vec<&'static str>) -> Self {
        names.sort_unstable();
        Self { values: vec![None; names.len()], names }
    }

    /// Clears all numbers before a reading.
    pub fn clear(&mut self) {
        self.values.fill(None);
    }

    /// Stores a number if its name is in the table. The first number of a name is used; a second one means that the
    /// file is corrupt.
    pub fn set(&mut self, name: &[u8], value: Option<u64>) {
        let Ok(place) = self.names.binary_search_by(|known| known.as_bytes().cmp(name)) else { return };
        if let Some(slot) = self.values.get_mut(place).filter(|slot| slot.is_none()) {
            *slot = value;
        }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.values.get(self.names.binary_search(&name).ok()?).copied().flatten()
    }

    /// Reports the metric with this id.
    pub fn observe(&self, name: &str, out: &mut Observer<'_>) {
        if let Some(value) = self.get(name) {
            out.int(value, &[]);
        }
    }
}
