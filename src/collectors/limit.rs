//! The SDK's limit for each instrument: it folds series over an instrument's limit into one overflow series, and makes
//! room for the limit in advance. Too low loses data, too high costs memory; where all attributes have fixed values, the
//! limit is the number of their combinations.

use super::registration::{metrics, selected};
use super::{COLLECTORS, Context, max_series};
use crate::metrics::naming::Shape;

/// Room for the agent's own metrics, which have a series a collector at most.
const OWN: usize = 64;

/// The limit of each instrument by its name, for a view of the SDK.
pub fn by_instrument(context: &Context) -> impl Fn(&str) -> usize + use<> {
    let most = max_series(context);
    let naming = context.options.naming;
    // The names in text files are not known yet.
    let others = if context.options.textfile_dir.is_some() { most } else { OWN };
    let limits: Vec<(&'static str, usize)> = selected(COLLECTORS, &context.options)
        .flat_map(|definition| metrics(definition, &context.options))
        .filter_map(|metric| metric.shape(naming))
        .map(|shape| (shape.name, combinations(shape).map_or(most, |known| known.min(most))))
        .collect();
    move |name| limits.iter().find(|(known, _)| *known == name).map_or(others, |(_, limit)| *limit)
}

/// The series that a metric can have at most, where no attribute's value is the host's to choose.
fn combinations(shape: &Shape) -> Option<usize> {
    let values = shape.attributes.iter().map(|attribute| attribute.values.len());
    Some(values.product::<usize>()).filter(|combinations| *combinations > 0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Host as TestHost;
    use super::super::{DEFAULT_MAX_SERIES, Options};
    use super::*;
    use crate::metrics::naming::Naming;

    #[test]
    fn an_instrument_whose_series_are_known_has_room_for_exactly_these() {
        for naming in [Naming::Semconv, Naming::Hostmetrics] {
            let context =
                TestHost::fixture("server").context(Options { naming, top_processes: 1, ..Options::default() });
            let limit = by_instrument(&context);
            for definition in COLLECTORS {
                for shape in metrics(definition, &context.options).filter_map(|metric| metric.shape(naming)) {
                    let fixed = shape.attributes.iter().all(|attribute| !attribute.values.is_empty());
                    let expected = shape.attributes.iter().map(|attribute| attribute.values.len()).product();
                    assert_eq!(limit(shape.name), if fixed { expected } else { DEFAULT_MAX_SERIES }, "{}", shape.name);
                }
            }
            assert_eq!(limit("heka.process.cpu.time"), OWN);
        }
    }
}
