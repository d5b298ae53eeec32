//! Memory errors that the hardware corrected or could not correct, by memory controller, from EDAC
//! (`/sys/devices/system/edac/mc`, Documentation/admin-guide/ras.rst). Most virtual machines and desktops have none.

use std::path::PathBuf;

use super::tally::Tally;
use super::{Collector, Context, Definition, Observer};
use crate::host::Reader;
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::Counter;
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};
use crate::metrics::parse::number;
use crate::metrics::total::Since;

/// The collector's entry in the list.
pub const DEFINITION: Definition =
    Definition { name: "ecc", metrics: METRICS, new: |context| Box::new(Ecc::new(context)) };

const ID: Attribute = Attribute { key: Names::both("hw.id"), values: &[] };
const TYPE: Attribute = Attribute { key: Names::both("hw.type"), values: &[MEMORY] };
const ERROR: Attribute = Attribute { key: Names::both("error.type"), values: &[CORRECTED, UNCORRECTED] };

const MEMORY: Names = Names::both("memory");
const CORRECTED: Names = Names::both("corrected");
const UNCORRECTED: Names = Names::both("uncorrected");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("errors", Counter, Int,
        "Memory errors that were corrected and that could not be, by memory controller",
        "/sys/devices/system/edac/mc/mc*, ce_count, ue_count")
        .semconv("hw.errors", "{error}", Basic, &[&ID, &TYPE, &ERROR]),
];

/// The files with the kinds of error that they count.
const FILES: [(&str, Names); 2] = [("ce_count", CORRECTED), ("ue_count", UNCORRECTED)];

/// A memory controller that is, or was, there.
struct Controller {
    name: String,
    series: [Attributes; FILES.len()],
    totals: [Tally; FILES.len()],
    present: bool,
}

struct Ecc {
    dir: PathBuf,
    naming: Naming,
    since: Since,
    delta: bool,
    controllers: Vec<Controller>,
}

impl Ecc {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        Self {
            dir: context.host.sys("devices/system/edac/mc"),
            naming: options.naming,
            since: options.since,
            delta: options.delta,
            controllers: Vec::new(),
        }
    }

    /// The place of the controller of that name.
    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.controllers.iter().position(|known| known.name == name) {
            return place;
        }
        let id: std::sync::Arc<str> = name.into();
        let series = FILES.map(|(_, error)| {
            let pairs = [
                (&ID, AttributeValue::Text(std::sync::Arc::clone(&id))),
                (&TYPE, AttributeValue::Word(MEMORY)),
                (&ERROR, AttributeValue::Word(error)),
            ];
            attributes(self.naming, &pairs)
        });
        self.controllers.push(Controller { name: name.to_owned(), series, totals: Default::default(), present: false });
        self.controllers.len() - 1
    }
}

/// Whether the entry is a memory controller: `mc` and its number.
fn is_controller(name: &str) -> bool {
    name.strip_prefix("mc").and_then(|digits| number(digits.as_bytes())).is_some()
}

impl Collector for Ecc {
    fn read(&mut self, reader: &mut Reader) {
        let names = reader.list(&self.dir).unwrap_or_default();
        let was_present: Vec<bool> =
            self.controllers.iter_mut().map(|controller| std::mem::take(&mut controller.present)).collect();
        for name in names.iter().filter_map(|name| name.to_str()).filter(|name| is_controller(name)) {
            let dir = self.dir.join(name);
            let readings = FILES.map(|(file, _)| reader.small_number(&dir.join(file)));
            let (place, since) = (self.place(name), self.since);
            let Some(controller) = self.controllers.get_mut(place) else { continue };
            for (total, reading) in controller.totals.iter_mut().zip(readings) {
                total.take(reading, since);
            }
            controller.present = true;
        }
        for (controller, was_present) in self.controllers.iter_mut().zip(was_present) {
            if self.delta && was_present && !controller.present {
                controller.totals.iter_mut().for_each(Tally::forget);
            }
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if metric.id != "errors" {
            return;
        }
        for controller in self.controllers.iter().filter(|controller| controller.present) {
            for (series, total) in controller.series.iter().zip(&controller.totals) {
                if let Some(total) = total.value() {
                    out.int(total, series);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{Bench, Host};
    use super::*;

    fn host() -> Host {
        let host = Host::empty();
        host.write("sys/devices/system/edac/mc/mc0/ce_count", "7\n");
        host.write("sys/devices/system/edac/mc/mc0/ue_count", "1\n");
        host.write("sys/devices/system/edac/mc/power/control", "auto\n");
        host
    }

    #[test]
    fn errors_count_from_the_start_by_controller_and_kind() {
        let host = host();
        let mut ecc = Bench::new(DEFINITION, host.context(Options::default()));
        host.write("sys/devices/system/edac/mc/mc0/ce_count", "10\n");
        assert_eq!(
            ecc.next(),
            [
                "hw.errors{error.type=corrected,hw.id=mc0,hw.type=memory} 3",
                "hw.errors{error.type=uncorrected,hw.id=mc0,hw.type=memory} 0",
            ]
        );
    }

    #[test]
    fn a_controller_that_goes_away_takes_its_series_along_and_an_odd_count_holds_the_total() {
        let host = host();
        let mut ecc = Bench::new(DEFINITION, host.context(Options { since: Since::Boot, ..Options::default() }));
        host.write("sys/devices/system/edac/mc/mc0/ce_count", "many\n");
        assert_eq!(ecc.next().first().unwrap(), "hw.errors{error.type=corrected,hw.id=mc0,hw.type=memory} 7");
        std::fs::remove_dir_all(host.path("sys/devices/system/edac/mc/mc0")).unwrap();
        assert!(ecc.next().is_empty());
    }

    #[test]
    fn a_host_without_edac_reports_nothing_and_fails_nothing() {
        let mut ecc = Bench::new(DEFINITION, Host::empty().context(Options::default()));
        assert!(ecc.next().is_empty());
        assert_eq!(ecc.reader.failures(), 0);
    }
}
