//! Files that two collectors need: the first to ask in a collection reads the file for both.

use std::sync::atomic::Ordering;

use super::reader::is_pair;
use super::{Host, Reader, Source};
use crate::metrics::parse::{decimal, fields, lines};

/// A file with the content that it had in one collection.
#[derive(Debug)]
struct SharedFile {
    source: Source,
    buffer: Vec<u8>,
    bytes: Option<usize>,
    cycle: Option<u64>,
}

/// `/proc/vmstat` and `/proc/loadavg`.
#[derive(Debug)]
pub(super) struct SharedFiles([SharedFile; 2]);

const VMSTAT: usize = 0;
const LOADAVG: usize = 1;

impl SharedFiles {
    pub(super) fn new(host: &Host) -> Self {
        let file = |source| SharedFile { source, buffer: Vec::new(), bytes: None, cycle: None };
        Self([
            file(
                Source::new(host.proc("vmstat"), "this kernel has no CONFIG_VM_EVENT_COUNTERS")
                    .holds_counters()
                    .expecting(|vmstat| lines(vmstat).any(is_pair)),
            ),
            file(
                Source::new(host.proc("loadavg"), "is this a Linux /proc?")
                    .required()
                    .expecting(|loadavg| fields(loadavg).any(|field| decimal(field).is_some())),
            ),
        ])
    }
}

impl Reader {
    /// The content of `/proc/vmstat`, for the collectors paging and kernel.
    pub fn vmstat(&mut self) -> Option<&[u8]> {
        self.shared_file(VMSTAT)
    }

    /// The content of `/proc/loadavg`, for the collectors load and kernel.
    pub fn loadavg(&mut self) -> Option<&[u8]> {
        self.shared_file(LOADAVG)
    }

    fn shared_file(&mut self, place: usize) -> Option<&[u8]> {
        let cycle = self.cycle;
        let stale = self.shared.0.get(place)?.cycle != Some(cycle);
        if stale {
            let file = self.shared.0.get_mut(place)?;
            file.cycle = Some(cycle);
            file.bytes = file.source.read_below(&mut file.buffer, Some(&self.proc)).map(<[u8]>::len);
            let (failed, problem) = (file.source.failed(), file.source.problem());
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.failures += u64::from(failed);
            self.problems.iter_mut().for_each(|problems| problems.extend(problem.clone()));
        }
        let file = self.shared.0.get(place)?;
        file.buffer.get(..file.bytes?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_file_is_read_once_a_collection() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let file = dir.path().join("proc/vmstat");
        std::fs::write(&file, "pgfault 1\n").unwrap();
        let host = Host::new(&crate::host::Roots { root: Some(dir.path().to_owned()), ..Default::default() });
        let mut reader = Reader::new(&host);
        assert_eq!(reader.vmstat(), Some(&b"pgfault 1\n"[..]));
        std::fs::write(&file, "pgfault 2\n").unwrap();
        assert_eq!(reader.vmstat(), Some(&b"pgfault 1\n"[..]), "the same collection");
        reader.next_cycle();
        assert_eq!(reader.vmstat(), Some(&b"pgfault 2\n"[..]));
        assert_eq!((reader.reads(), reader.failures()), (2, 0));
    }
}
