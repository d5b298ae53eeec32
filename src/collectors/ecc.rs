//! Corrected and uncorrected memory errors by memory controller, from EDAC (`/sys/devices/system/edac/mc`,
//! Documentation/admin-guide/ras.rst). Most virtual machines and desktops have no EDAC.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Collector, Context, Definition, Observer};
use crate::host::Reader;
use crate::metrics::counter::{Kind, Rules, Table};
use crate::metrics::naming::Detail::Basic;
use crate::metrics::naming::Kind::Counter;
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Metric, Names, Naming, attributes};
use crate::metrics::parse::number;

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
    Metric::new("errors", Counter, Int, "Memory errors that were corrected and that could not be, by memory controller",
        "/sys/devices/system/edac/mc/mc*, ce_count, ue_count")
        .semconv("hw.errors", "{error}", Basic, &[&ID, &TYPE, &ERROR]),
];

/// The files and the kind of error that they count.
const FILES: [(&str, Names); 2] = [("ce_count", CORRECTED), ("ue_count", UNCORRECTED)];

/// The columns of a controller: its files, and one that is never zero, so that the first error is counted even if both
/// files start at zero.
const COLUMNS: usize = FILES.len() + 1;
/// Maximum number of removed controllers that are remembered.
const MOST_GONE: usize = 64;

struct Ecc {
    dir: PathBuf,
    naming: Naming,
    controllers: Table<[Attributes; FILES.len()], COLUMNS>,
}

impl Ecc {
    fn new(context: &Context) -> Self {
        let options = &context.options;
        let rules =
            Rules::new([Kind::EVENTS.word(context.host.word_bits); COLUMNS], options.since).delta(options.delta);
        Self {
            dir: context.host.sys("devices/system/edac/mc"),
            naming: options.naming,
            controllers: Table::new(rules, MOST_GONE),
        }
    }
}

fn series(naming: Naming, name: &str) -> [Attributes; FILES.len()] {
    let id: Arc<str> = name.into();
    FILES.map(|(_, error)| {
        let pairs = [
            (&ID, AttributeValue::Text(Arc::clone(&id))),
            (&TYPE, AttributeValue::Word(MEMORY)),
            (&ERROR, AttributeValue::Word(error)),
        ];
        attributes(naming, &pairs)
    })
}

/// Whether the entry is a memory controller: `mc` followed by a number.
fn is_controller(name: &str) -> bool {
    name.strip_prefix("mc").and_then(|digits| number(digits.as_bytes())).is_some()
}

impl Collector for Ecc {
    fn read(&mut self, reader: &mut Reader) {
        let names = reader.list(&self.dir).unwrap_or_default();
        self.controllers.begin(reader.now());
        for name in names.iter().filter_map(|name| name.to_str()).filter(|name| is_controller(name)) {
            let dir = self.dir.join(name);
            let [corrected, uncorrected] = FILES.map(|(file, _)| reader.small_number(&dir.join(file)));
            let naming = self.naming;
            self.controllers.read(name.as_bytes(), &[corrected, uncorrected, Some(1)], || series(naming, name));
        }
        self.controllers.end();
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        if metric.id != "errors" {
            return;
        }
        for controller in self.controllers.listed() {
            for (place, series) in controller.data.iter().enumerate() {
                controller.row().get(place).iter().for_each(|total| out.int(*total, series));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{Bench, Host};
    use super::*;
    use crate::metrics::counter::Since;

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
    fn the_first_error_of_a_controller_counts() {
        let host = host();
        host.write("sys/devices/system/edac/mc/mc0/ce_count", "0\n");
        host.write("sys/devices/system/edac/mc/mc0/ue_count", "0\n");
        let mut ecc = Bench::new(DEFINITION, host.context(Options::default()));
        host.write("sys/devices/system/edac/mc/mc0/ue_count", "1\n");
        assert_eq!(ecc.next().last().unwrap(), "hw.errors{error.type=uncorrected,hw.id=mc0,hw.type=memory} 1");
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
