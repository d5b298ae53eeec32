//! Files that several collectors need; each is read once per collection.

use std::path::Path;

use super::{Host, Source};
use crate::metrics::parse::{decimal, fields, lines, number};

/// A file and its content in one collection.
#[derive(Debug)]
pub(super) struct SharedFile {
    pub(super) source: Source,
    buffer: Vec<u8>,
    bytes: Option<usize>,
    cycle: Option<u64>,
}

impl SharedFile {
    fn new(source: Source) -> Self {
        Self { source, buffer: Vec::new(), bytes: None, cycle: None }
    }

    /// Reads the file unless it was already read in this collection. Returns whether it was read.
    pub(super) fn read(&mut self, cycle: u64, proc: &Path) -> bool {
        let stale = self.cycle != Some(cycle);
        if stale {
            self.cycle = Some(cycle);
            self.bytes = self.source.read_below(&mut self.buffer, Some(proc)).map(<[u8]>::len);
        }
        stale
    }

    pub(super) fn content(&self) -> Option<&[u8]> {
        self.buffer.get(..self.bytes?)
    }
}

/// Files of `/proc` that several collectors need.
#[derive(Debug)]
pub(super) struct SharedFiles {
    pub(super) stat: SharedFile,
    pub(super) vmstat: SharedFile,
    pub(super) loadavg: SharedFile,
}

impl SharedFiles {
    pub(super) fn new(host: &Host) -> Self {
        let stat = Source::new(host.proc("stat"), "is this a Linux /proc?").required().holds_counters();
        let vmstat = Source::new(host.proc("vmstat"), "this kernel has no CONFIG_VM_EVENT_COUNTERS").holds_counters();
        let loadavg = Source::new(host.proc("loadavg"), "is this a Linux /proc?").required();
        Self {
            stat: SharedFile::new(stat.expecting(|stat| lines(stat).any(is_pair))),
            vmstat: SharedFile::new(vmstat.expecting(|vmstat| lines(vmstat).any(is_pair))),
            loadavg: SharedFile::new(
                loadavg.expecting(|loadavg| fields(loadavg).any(|field| decimal(field).is_some())),
            ),
        }
    }
}

/// Whether the line is a name and a number, possibly followed by more.
fn is_pair(line: &[u8]) -> bool {
    fields(line).nth(1).and_then(number).is_some()
}
