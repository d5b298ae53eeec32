//! Memory errors in node_exporter's naming, from `/sys/devices/system/edac/mc`.

use super::super::{Collector, Context, Definition, Observer};
use super::{MOST_GONE, list, rules};
use crate::host::{Host, Reader, read_small};
use crate::metrics::counter::{Kind, Table};
use crate::metrics::naming::Kind::Counter;
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, Attributes, Metric, label, labels};
use crate::metrics::parse::{number, text};

pub const DEFINITION: Definition =
    Definition { name: "ecc", metrics: METRICS, new: |context| Box::new(Errors::new(context)) };

const CONTROLLER: Attribute = label("controller");
const CSROW: Attribute = label("csrow");
const CHANNEL: [&Attribute; 4] = [&label("channel"), &CONTROLLER, &CSROW, &label("dimm_label")];

const fn count(id: &'static str, name: &'static str, labels: &'static [&'static Attribute]) -> Metric {
    Metric::node(id, Counter, Int, name, labels, "Memory errors of this kind", "/sys/devices/system/edac/mc")
}

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    count("controller.correctable", "node_edac_correctable_errors_total", &[&CONTROLLER]),
    count("controller.uncorrectable", "node_edac_uncorrectable_errors_total", &[&CONTROLLER]),
    count("row.correctable", "node_edac_csrow_correctable_errors_total", &[&CONTROLLER, &CSROW]),
    count("row.uncorrectable", "node_edac_csrow_uncorrectable_errors_total", &[&CONTROLLER, &CSROW]),
    count("channel.correctable", "node_edac_channel_correctable_errors_total", &CHANNEL),
    count("channel.uncorrectable", "node_edac_channel_uncorrectable_errors_total", &CHANNEL),
];

struct Errors {
    host: Host,
    /// One count per file path.
    counts: Table<(&'static str, Attributes), 1>,
}

impl Errors {
    fn new(context: &Context) -> Self {
        let counts = Table::new(rules([Kind::EVENTS], &context.options), MOST_GONE);
        Self { host: context.host.clone(), counts }
    }

    fn take(&mut self, path: &std::path::Path, id: &'static str, pairs: &[(&'static str, String)]) {
        if let Some(count) = read_small(path).and_then(|count| number(&count)) {
            self.counts.read(path.as_os_str().as_encoded_bytes(), &[Some(count)], || (id, labels(pairs)));
        }
    }

    fn controller(&mut self, reader: &mut Reader, name: &str, digits: &str) {
        let dir = self.host.sys("devices/system/edac/mc").join(name);
        let controller = ("controller", digits.to_owned());
        self.take(&dir.join("ce_count"), "controller.correctable", std::slice::from_ref(&controller));
        self.take(&dir.join("ue_count"), "controller.uncorrectable", std::slice::from_ref(&controller));
        let unknown = [controller.clone(), ("csrow", "unknown".to_owned())];
        self.take(&dir.join("ce_noinfo_count"), "row.correctable", &unknown);
        self.take(&dir.join("ue_noinfo_count"), "row.uncorrectable", &unknown);
        for row in list(reader, &dir) {
            let Some(digits) = row.strip_prefix("csrow").filter(|digits| is_number(digits)) else { continue };
            let dir = dir.join(&row);
            let pairs = [controller.clone(), ("csrow", digits.to_owned())];
            self.take(&dir.join("ce_count"), "row.correctable", &pairs);
            self.take(&dir.join("ue_count"), "row.uncorrectable", &pairs);
            for file in list(reader, &dir) {
                let Some((channel, kind)) = file.strip_prefix("ch").and_then(|rest| rest.split_once('_')) else {
                    continue;
                };
                let id = match kind {
                    "ce_count" => "channel.correctable",
                    "ue_count" => "channel.uncorrectable",
                    _ => continue,
                };
                let dimm = read_small(&dir.join(format!("ch{channel}_dimm_label"))).map_or_else(
                    || "unknown".to_owned(),
                    // "mc#0csrow#1channel#0" becomes "mc0_csrow1_channel0".
                    |name| text(&name).replace('#', "").replace("csrow", "_csrow").replace("channel", "_channel"),
                );
                let [controller, row] = pairs.clone();
                self.take(
                    &dir.join(&file),
                    id,
                    &[controller, row, ("channel", channel.to_owned()), ("dimm_label", dimm)],
                );
            }
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

impl Collector for Errors {
    fn read(&mut self, reader: &mut Reader) {
        self.counts.begin(reader.now());
        for name in list(reader, &self.host.sys("devices/system/edac/mc")) {
            if let Some(digits) = name.strip_prefix("mc").filter(|digits| is_number(digits)) {
                self.controller(reader, &name, digits);
            }
        }
        self.counts.end();
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        for entry in self.counts.listed().filter(|entry| entry.data.0 == metric.id) {
            out.int(entry.row().total(0), &entry.data.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host as TestHost, series};
    use super::*;
    use crate::metrics::counter::Since;

    #[test]
    fn errors_are_counted_for_the_controller_its_rows_and_its_channels() {
        let host = TestHost::empty();
        let files = [
            ("ce_count", "1"),
            ("ue_count", "5"),
            ("ce_noinfo_count", "2"),
            ("csrow0/ce_count", "3"),
            ("csrow0/ch1_ue_count", "2"),
            ("csrow0/ch1_dimm_label", "mc#0csrow#0channel#1"),
        ];
        for (file, content) in files {
            host.write(&format!("sys/devices/system/edac/mc/mc0/{file}"), format!("{content}\n"));
        }
        let mut errors = Errors::new(&host.context(Options { since: Since::Boot, ..Options::default() }));
        assert_eq!(host.read(&mut errors), 0);
        assert_eq!(series(&errors, METRICS, "controller.correctable"), ["controller=0 1"]);
        assert_eq!(series(&errors, METRICS, "controller.uncorrectable"), ["controller=0 5"]);
        let rows = series(&errors, METRICS, "row.correctable");
        assert_eq!(rows, ["controller=0 csrow=unknown 2", "controller=0 csrow=0 3"]);
        assert_eq!(
            series(&errors, METRICS, "channel.uncorrectable"),
            ["channel=1 controller=0 csrow=0 dimm_label=mc0_csrow0_channel1 2"]
        );
    }
}
