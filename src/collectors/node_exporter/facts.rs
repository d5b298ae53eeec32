//! Series created by a reading, each with its metric, value and labels.

use super::super::Observer;
use crate::metrics::naming::{Attributes, labels};

#[derive(Default)]
pub(super) struct Facts(Vec<Fact>);

struct Fact {
    id: &'static str,
    value: f64,
    series: Attributes,
}

impl Facts {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, id: &'static str, value: f64, pairs: &[(&'static str, String)]) {
        self.0.push(Fact { id, value, series: labels(pairs) });
    }

    pub(super) fn observe(&self, id: &str, out: &mut Observer<'_>) {
        for fact in self.0.iter().filter(|fact| fact.id == id) {
            out.number(fact.value, &fact.series);
        }
    }
}
