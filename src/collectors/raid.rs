//! md arrays (software RAID), from `/sys/block/md*/md` (Documentation/admin-guide/md.rst) rather than from the text of
//! `/proc/mdstat`. The list of arrays is updated once a minute.
//!
//! No semantic convention fits: `hw.logical_disk.*` has no count of members. hostmetrics has no such metrics.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Collector, Context, Definition, Observer};
use crate::host::Reader;
use crate::metrics::naming::Detail::{Basic, Detailed};
use crate::metrics::naming::Kind::{Gauge, UpDownCounter};
use crate::metrics::naming::Number::{Double, Int};
use crate::metrics::naming::{Attribute, AttributeValue, Attributes, Detail, Metric, Names, Naming, attributes};
use crate::metrics::parse::number;

pub const DEFINITION: Definition =
    Definition { name: "raid", metrics: METRICS, new: |context| Box::new(Raid::new(context)) };

const DEVICE: Attribute = Attribute { key: Names::both("system.device"), values: &[] };
const STATE: Attribute = Attribute { key: Names::both("system.disk.linux.raid.state"), values: &STATES };
const MEMBER_STATE: Attribute =
    Attribute { key: Names::both("system.disk.linux.raid.member.state"), values: &MEMBER_STATES };

/// Exactly one of these is 1. During an action, an array is not reported as active.
const STATES: [Names; 6] = [
    Names::both("active"),
    Names::both("inactive"),
    Names::both("recovering"),
    Names::both("resyncing"),
    Names::both("checking"),
    Names::both("reshaping"),
];
const MEMBER_STATES: [Names; 3] = [Names::both("active"), Names::both("failed"), Names::both("spare")];

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::new("state", UpDownCounter, Int, "State of the array: 1 for the one that it is in, 0 for the others",
        "/sys/block/md*/md, array_state, sync_action")
        .semconv("system.disk.linux.raid.status", "1", Basic, &[&DEVICE, &STATE]),
    Metric::new("members", UpDownCounter, Int,
        "Members of the array in each state; one that is rebuilt counts as spare", "/sys/block/md*/md/dev-*/state")
        .semconv("system.disk.linux.raid.member.count", "{device}", Basic, &[&DEVICE, &MEMBER_STATE]),
    Metric::new("required", UpDownCounter, Int, "Active members that the complete array has",
        "/sys/block/md*/md/raid_disks")
        .semconv("system.disk.linux.raid.member.limit", "{device}", Basic, &[&DEVICE]),
    Metric::new("degraded", UpDownCounter, Int, "Members that are missing or failed", "/sys/block/md*/md/degraded")
        .semconv("system.disk.linux.raid.member.missing", "{device}", Basic, &[&DEVICE]),
    Metric::new("sync", Gauge, Double,
        "Share of the array that the current recovery, resync, check or reshape has done",
        "/sys/block/md*/md/sync_completed")
        .semconv("system.disk.linux.raid.sync.completed", "1", Detailed, &[&DEVICE]),
];

/// How long the list of arrays is valid.
const LIST_LASTS: Duration = Duration::from_secs(60);

/// An array, as of the last reading.
struct Array {
    dir: PathBuf,
    device: Attributes,
    states: [Attributes; STATES.len()],
    member_states: [Attributes; MEMBER_STATES.len()],
    reading: Option<Reading>,
}

#[derive(Debug, PartialEq)]
struct Reading {
    /// Index in [`STATES`].
    state: usize,
    members: [u64; MEMBER_STATES.len()],
    required: Option<u64>,
    degraded: Option<u64>,
    sync: Option<f64>,
}

struct Raid {
    naming: Naming,
    detail: Detail,
    dir: PathBuf,
    arrays: Vec<Array>,
    listed: Option<Instant>,
}

impl Raid {
    fn new(context: &Context) -> Self {
        let (naming, detail) = (context.options.naming, context.options.detail);
        Self { naming, detail, dir: context.host.sys("block"), arrays: Vec::new(), listed: None }
    }

    fn list(&mut self, reader: &mut Reader) {
        if self.listed.is_some_and(|when| when.elapsed() < LIST_LASTS) {
            return;
        }
        let failures = reader.failures();
        let names = reader.list(&self.dir).unwrap_or_default();
        // A directory that cannot be read is tried in each collection.
        self.listed = (reader.failures() == failures).then(Instant::now);
        let arrays = names.iter().filter_map(|name| name.to_str()).filter(|name| name.starts_with("md"));
        self.arrays = arrays.map(|name| Array::new(self.naming, self.dir.join(name).join("md"), name)).collect();
    }
}

impl Array {
    fn new(naming: Naming, dir: PathBuf, name: &str) -> Self {
        let device: std::sync::Arc<str> = name.replace('!', "/").into();
        let with = |pair: Option<(&Attribute, Names)>| {
            let mut pairs = vec![(&DEVICE, AttributeValue::Text(std::sync::Arc::clone(&device)))];
            pairs.extend(pair.map(|(attribute, word)| (attribute, AttributeValue::Word(word))));
            attributes(naming, &pairs)
        };
        Self {
            dir,
            device: with(None),
            states: STATES.map(|state| with(Some((&STATE, state)))),
            member_states: MEMBER_STATES.map(|state| with(Some((&MEMBER_STATE, state)))),
            reading: None,
        }
    }

    /// `None` if the directory is not an array, or the array is stopped.
    fn read(&self, reader: &mut Reader, detail: Detail) -> Option<Reading> {
        let array_state = reader.small(&self.dir.join("array_state"))?;
        let action = reader.small(&self.dir.join("sync_action")).unwrap_or_default();
        let mut members = [0; MEMBER_STATES.len()];
        for name in reader.list(&self.dir)?.iter().filter(|name| name.as_encoded_bytes().starts_with(b"dev-")) {
            let state = reader.small(&self.dir.join(name).join("state"));
            if let Some(count) = state.and_then(|state| members.get_mut(member_state(&state))) {
                *count += 1;
            }
        }
        let sync = (detail == Detailed).then(|| reader.small(&self.dir.join("sync_completed"))).flatten();
        Some(Reading {
            state: array_state_place(&array_state, &action)?,
            members,
            required: reader.small_number(&self.dir.join("raid_disks")),
            degraded: reader.small_number(&self.dir.join("degraded")),
            sync: sync.and_then(|text| progress(&text)),
        })
    }
}

/// The index in [`STATES`] of an array's state; `None` for a stopped array (`clear`) and for an unknown state.
fn array_state_place(array_state: &[u8], action: &[u8]) -> Option<usize> {
    let active = match action {
        b"recover" => 2,
        b"resync" => 3,
        b"check" | b"repair" => 4,
        b"reshape" => 5,
        _ => 0,
    };
    match array_state {
        b"inactive" | b"suspended" | b"broken" => Some(1),
        b"readonly" | b"read-auto" | b"clean" | b"active" | b"write-pending" | b"active-idle" => Some(active),
        _ => None,
    }
}

/// The index in [`MEMBER_STATES`] of a member's comma-separated flags.
fn member_state(flags: &[u8]) -> usize {
    let has = |flag: &[u8]| flags.split(|&b| b == b',').any(|word| word == flag);
    match (has(b"faulty"), has(b"in_sync")) {
        (true, _) => 1,
        (false, true) => 0,
        (false, false) => 2,
    }
}

/// Parses `done / total`, in sectors, as a share; `None` for `none` and `delayed`.
fn progress(text: &[u8]) -> Option<f64> {
    let mut halves = text.split(|&b| b == b'/').map(|half| number(half.trim_ascii()));
    let (done, total) = (halves.next()??, halves.next()??);
    #[allow(clippy::cast_precision_loss)] // a ratio
    (done <= total && total > 0).then(|| done as f64 / total as f64)
}

impl Collector for Raid {
    fn read(&mut self, reader: &mut Reader) {
        self.list(reader);
        for array in &mut self.arrays {
            array.reading = array.read(reader, self.detail);
        }
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        for (array, reading) in self.arrays.iter().filter_map(|array| Some((array, array.reading.as_ref()?))) {
            match metric.id {
                "state" => {
                    for (place, series) in array.states.iter().enumerate() {
                        out.int(u64::from(place == reading.state), series);
                    }
                }
                "members" => {
                    array.member_states.iter().zip(reading.members).for_each(|(series, count)| out.int(count, series));
                }
                "required" => reading.required.iter().for_each(|value| out.int(*value, &array.device)),
                "degraded" => reading.degraded.iter().for_each(|value| out.int(*value, &array.device)),
                "sync" => reading.sync.iter().for_each(|value| out.float(*value, &array.device)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Options;
    use super::super::testing::{Bench, Host};
    use super::*;

    fn host(members: &[(&str, &str)], array_state: &str, action: &str) -> Host {
        let host = Host::empty();
        let md = "sys/block/md0/md";
        for (name, state) in members {
            host.write(&format!("{md}/dev-{name}/state"), format!("{state}\n"));
        }
        for (file, content) in [("array_state", array_state), ("sync_action", action), ("raid_disks", "2")] {
            host.write(&format!("{md}/{file}"), format!("{content}\n"));
        }
        host
    }

    fn value(points: &[String], start: &str) -> Vec<String> {
        points.iter().filter_map(|point| point.strip_prefix(start)).map(str::to_owned).collect()
    }

    #[test]
    fn a_failed_member_is_counted_as_failed_and_the_array_stays_active() {
        let host = host(&[("sda1", "in_sync"), ("sdb1", "faulty,write_error"), ("sdc1", "spare")], "clean", "idle");
        host.write("sys/block/md0/md/degraded", "1\n");
        let points = Bench::new(DEFINITION, host.context(Options::default())).next();
        let members = "system.disk.linux.raid.member.count{system.device=md0,system.disk.linux.raid.member.state=";
        assert_eq!(value(&points, members), ["active} 1", "failed} 1", "spare} 1"]);
        assert_eq!(value(&points, "system.disk.linux.raid.member.missing{system.device=md0} "), ["1"]);
        assert_eq!(value(&points, "system.disk.linux.raid.member.limit{system.device=md0} "), ["2"]);
        let state = "system.disk.linux.raid.status{system.device=md0,system.disk.linux.raid.state=";
        assert_eq!(
            value(&points, state).iter().filter(|point| point.ends_with(" 1")).collect::<Vec<_>>(),
            ["active} 1"]
        );
    }

    #[test]
    fn a_recovery_is_the_state_and_has_a_progress() {
        let host = host(&[("sda1", "in_sync"), ("sdb1", "spare")], "active", "recover");
        host.write("sys/block/md0/md/sync_completed", "250 / 1000\n");
        let options = Options { detail: Detail::Detailed, ..Options::default() };
        let points = Bench::new(DEFINITION, host.context(options)).next();
        assert!(points.iter().any(|point| point.ends_with("state=recovering} 1")), "{points:#?}");
        assert_eq!(value(&points, "system.disk.linux.raid.sync.completed{system.device=md0} "), ["0.25"]);
    }

    #[test]
    fn the_progress_is_read_for_the_detailed_metrics_alone() {
        let host = host(&[("sda1", "in_sync")], "active", "idle");
        // A reader that records notices when a file in its place is a directory.
        std::fs::create_dir(host.path("sys/block/md0/md/sync_completed")).unwrap();
        for (detail, read) in [(Basic, 0), (Detailed, 1)] {
            let context = host.context(Options { detail, ..Options::default() });
            let mut reader = Reader::new(&context.host).recording();
            Raid::new(&context).read(&mut reader);
            assert_eq!(reader.problems().len(), read, "{detail:?}");
        }
    }

    #[test]
    fn a_stopped_array_and_a_disk_with_a_similar_name_have_no_series() {
        let host = host(&[], "clear", "");
        host.write("sys/block/mdisk/size", "1\n");
        assert!(Bench::new(DEFINITION, host.context(Options::default())).next().is_empty());
    }

    #[test]
    fn progress_is_a_share_of_something() {
        assert_eq!(progress(b"1 / 4"), Some(0.25));
        for none in [&b"none"[..], b"delayed", b"", b"1", b"1 / 0", b"5 / 4", b"x / 4"] {
            assert_eq!(progress(none), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_state_or_none(state: Vec<u8>, action: Vec<u8>, flags: Vec<u8>, sync: Vec<u8>) {
            prop_assert!(array_state_place(&state, &action).is_none_or(|place| place < STATES.len()));
            prop_assert!(member_state(&flags) < MEMBER_STATES.len());
            progress(&sync);
        }
    }
}
