//! Software RAID in node_exporter's naming, from `/proc/mdstat` and `/sys/block/md*/md`.

use super::super::{Collector, Context, Definition, Observer};
use super::facts::Facts;
use super::list;
use crate::host::{Host, Reader, Source, read_small};
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, Metric, Names, label};
use crate::metrics::parse::{number, text};

pub const DEFINITION: Definition =
    Definition { name: "raid", metrics: METRICS, new: |context| Box::new(Raid::new(context)) };

const DEVICE: Attribute = label("device");
const STATES: [(&str, &str); 5] = [
    ("active", "active"),
    ("inactive", "inactive"),
    ("recovering", "recovery"),
    ("resync", "resync"),
    ("check", "check"),
];
const STATE: Attribute = Attribute {
    key: Names::both("state"),
    values: &[
        Names::both("active"),
        Names::both("inactive"),
        Names::both("recovering"),
        Names::both("resync"),
        Names::both("check"),
    ],
};
const DISK_STATE: Attribute = Attribute {
    key: Names::both("state"),
    values: &[Names::both("active"), Names::both("failed"), Names::both("spare")],
};

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::node("state", Gauge, Int, "node_md_state", &[&DEVICE, &STATE],
        "Whether the array is in the state, 1 or 0", "/proc/mdstat"),
    Metric::node("disks", Gauge, Int, "node_md_disks", &[&DEVICE, &DISK_STATE],
        "Disks of the array in each state", "/proc/mdstat"),
    Metric::node("required", Gauge, Int, "node_md_disks_required", &[&DEVICE],
        "Disks that the array needs", "/proc/mdstat"),
    Metric::node("blocks", Gauge, Int, "node_md_blocks", &[&DEVICE],
        "Blocks of the array", "/proc/mdstat"),
    Metric::node("synced", Gauge, Int, "node_md_blocks_synced", &[&DEVICE],
        "Blocks that are in sync", "/proc/mdstat"),
    Metric::node("raid_disks", Gauge, Int, "node_md_raid_disks", &[&DEVICE],
        "Disks that the array needs", "/sys/block/md*/md/raid_disks"),
    Metric::node("degraded", Gauge, Int, "node_md_degraded", &[&DEVICE],
        "Disks that the array lacks", "/sys/block/md*/md/degraded"),
];

struct Raid {
    host: Host,
    source: Source,
    facts: Facts,
}

impl Raid {
    fn new(context: &Context) -> Self {
        let host = context.host.clone();
        Self { source: Source::optional(host.proc("mdstat")), facts: Facts::default(), host }
    }
}

/// An array in `mdstat`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Array {
    name: String,
    state: String,
    /// Active, failed and spare disks.
    disks: [u64; 3],
    required: u64,
    blocks: u64,
    synced: u64,
}

/// Parses `mdstat`. An array is a line `md0 : active raid1 sda[0] sdb[1]`, a line with its blocks, `523968 blocks [2/2]
/// [UU]`, and optional lines that start with blanks: a bitmap, or a progress such as `recovery = 8.5%
/// (16775552/195310144)`.
fn parse(file: &str) -> Vec<Array> {
    let mut arrays: Vec<Array> = Vec::new();
    let mut fixed = false;
    for line in file.lines() {
        let mut fields = line.split_whitespace();
        if let (false, Some(name), Some(":")) = (line.starts_with(' '), fields.next(), fields.next()) {
            if name == "Personalities" {
                continue;
            }
            let state = fields.next().unwrap_or_default().to_owned();
            let count = |what: &str| line.matches(what).count() as u64;
            // These levels have no spare or failed disks, and no `[2/2]` in mdstat.
            fixed = line.contains("raid0") || line.contains("linear");
            let members = if fixed { count("[") } else { 0 };
            let disks = [members, count("(F)"), count("(S)")];
            arrays.push(Array { name: name.to_owned(), state, disks, required: members, ..Array::default() });
            continue;
        }
        let Some(array) = arrays.last_mut().filter(|_| line.starts_with(' ')) else { continue };
        if let Some((blocks, _)) = line.split_once(" blocks") {
            array.blocks = blocks.trim().parse().unwrap_or(0);
            array.synced = array.blocks;
            let bracket = line.split('[').find_map(|part| part.split_once(']')?.0.split_once('/'));
            if let (Some((required, active)), false, false) = (bracket, fixed, array.state == "inactive") {
                array.required = required.parse().unwrap_or(0);
                let [now, ..] = &mut array.disks;
                *now = active.parse().unwrap_or(0);
            }
        } else if let Some(action) =
            ["recovery", "reshape", "check", "resync"].iter().find(|word| line.contains(**word))
        {
            (*action).clone_into(&mut array.state);
            let progress = line.split_once('(').and_then(|(_, rest)| rest.split_once('/'));
            let waits = line.contains("PENDING") || line.contains("DELAYED");
            array.synced = if waits { 0 } else { progress.and_then(|(done, _)| done.parse().ok()).unwrap_or(0) };
        }
    }
    arrays
}

#[allow(clippy::cast_precision_loss)] // blocks of a disk
impl Collector for Raid {
    fn read(&mut self, reader: &mut Reader) {
        self.facts.clear();
        let arrays = reader.read(&mut self.source).map(|bytes| parse(&text(bytes))).unwrap_or_default();
        for array in arrays {
            let device = ("device", array.name.clone());
            let with = |state: &str| [device.clone(), ("state", state.to_owned())];
            for (state, word) in STATES {
                self.facts.add("state", f64::from(u8::from(array.state == word)), &with(state));
            }
            for (state, disks) in ["active", "failed", "spare"].into_iter().zip(array.disks) {
                self.facts.add("disks", disks as f64, &with(state));
            }
            for (id, value) in [("required", array.required), ("blocks", array.blocks), ("synced", array.synced)] {
                self.facts.add(id, value as f64, std::slice::from_ref(&device));
            }
        }
        let dir = self.host.sys("block");
        for name in list(reader, &dir).into_iter().filter(|name| name.starts_with("md")) {
            let device = [("device", name.clone())];
            // "4 (3)" while the array is being reshaped.
            let value = |file: &str| {
                let content = read_small(&dir.join(&name).join("md").join(file))?;
                number(content.split(|&b| b == b' ').next()?)
            };
            if let Some(disks) = value("raid_disks") {
                self.facts.add("raid_disks", disks as f64, &device);
                // An array without redundancy has no such file and is never degraded.
                self.facts.add("degraded", value("degraded").unwrap_or(0) as f64, &device);
            }
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        self.facts.observe(metric.id, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_has_its_disks_and_its_progress() {
        let file = "Personalities : [raid1] [raid0]\n\
            md8 : active raid1 sdb1[1] sda1[0] sdc[2](F) sde[3](S)\n\
            \x20     195310144 blocks [2/1] [U_]\n\
            \x20     [=>...]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec\n\n\
            md0 : active raid0 sda[0] sdb[1]\n\
            \x20     314159265 blocks 64k chunks\n\n\
            md9 : active raid1 sdc2[2] sdd2[3]\n\
            \x20     523968 blocks super 1.2 [2/2] [UU]\n\
            \x20       resync=DELAYED\n\n\
            md6 : inactive sdb2[2](F) sda2[0]\n\
            \x20     195310144 blocks [2/1] [U_]\n\n\
            unused devices: <none>\n";
        let array = |name: &str, state: &str, disks, required, blocks, synced| Array {
            name: name.to_owned(),
            state: state.to_owned(),
            disks,
            required,
            blocks,
            synced,
        };
        assert_eq!(
            parse(file),
            [
                array("md8", "recovery", [1, 1, 1], 2, 195_310_144, 16_775_552),
                array("md0", "active", [2, 0, 0], 2, 314_159_265, 314_159_265),
                array("md9", "resync", [2, 0, 0], 2, 523_968, 0),
                array("md6", "inactive", [0, 1, 0], 0, 195_310_144, 195_310_144),
            ]
        );
    }
}
