//! Whether mount options of `/proc` hide processes of other users from the agent (hidepid,
//! Documentation/filesystems/proc.rst).

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::host::files;
use crate::metrics::parse::{fields, lines, number};

/// Number of the capability that makes every process visible.
const CAP_SYS_PTRACE: u32 = 19;

/// The options of a procfs mount that hide processes, with the exempt group.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    hides: bool,
    /// Whether it also hides from the exempt group.
    ptraceable: bool,
    /// The exempt group.
    gid: Option<u64>,
}

/// Whether the mount at `proc` hides processes from this one. `false` if it cannot be determined; the walk then detects
/// denied accesses.
pub fn by_mount_options(proc: &Path) -> bool {
    let Ok(meta) = files::metadata(proc) else { return false };
    let Ok(mounts) = files::read(&proc.join("self/mountinfo")) else { return false };
    let device = format!("{}:{}", rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let options = mount_options(&mounts, device.as_bytes());
    if !options.hides {
        return false;
    }
    let status = files::read(&proc.join("self/status")).unwrap_or_default();
    !sees_all(&status, &options)
}

/// The options of the procfs with the device number `major:minor`.
fn mount_options(mountinfo: &[u8], device: &[u8]) -> Options {
    let mut options = Options::default();
    for line in lines(mountinfo) {
        if fields(line).nth(2) != Some(device) {
            continue;
        }
        // The file system options are the third field after the single dash.
        let mut after = fields(line).skip_while(|&field| field != b"-").skip(1);
        let (Some(b"proc"), Some(of_file_system)) = (after.next(), after.nth(1)) else { continue };
        for option in of_file_system.split(|&b| b == b',') {
            if let Some(mode) = option.strip_prefix(b"hidepid=") {
                options.hides = !matches!(mode, b"0" | b"off");
                options.ptraceable = matches!(mode, b"4" | b"ptraceable");
            } else if let Some(gid) = option.strip_prefix(b"gid=") {
                options.gid = number(gid);
            }
        }
    }
    options
}

/// Whether a process with this `/proc/self/status` sees every process nevertheless.
fn sees_all(status: &[u8], options: &Options) -> bool {
    lines(status).any(|line| {
        let mut fields = fields(line);
        match fields.next() {
            Some(b"CapEff:") => fields
                .next()
                .and_then(|hex| std::str::from_utf8(hex).ok())
                .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                .is_some_and(|set| set & (1 << CAP_SYS_PTRACE) != 0),
            // The fields are the real, effective, saved and file system group; the last one applies.
            Some(b"Gid:") => {
                !options.ptraceable && options.gid.is_some() && fields.nth(3).and_then(number) == options.gid
            }
            Some(b"Groups:") => {
                !options.ptraceable && options.gid.is_some() && fields.any(|group| number(group) == options.gid)
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HIDING: Options = Options { hides: true, ptraceable: false, gid: Some(23) };

    fn mount(options: &str) -> Vec<u8> {
        format!(
            "30 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 28 0:21 / /proc rw,relatime shared:12 - proc proc {options}\n\
             23 28 0:22 / /other rw - proc proc rw,hidepid=2\n"
        )
        .into_bytes()
    }

    #[test]
    fn only_the_mount_that_is_read_decides() {
        assert_eq!(mount_options(&mount("rw"), b"0:21"), Options::default());
        assert!(mount_options(&mount("rw"), b"0:22").hides);
        assert!(!mount_options(&mount("rw,hidepid=2"), b"8:1").hides);
    }

    #[test]
    fn hidepid_is_known_in_both_spellings() {
        for (spelling, hides, ptraceable) in [
            ("rw,hidepid=0", false, false),
            ("rw,hidepid=off", false, false),
            ("rw,hidepid=1", true, false),
            ("rw,hidepid=noaccess", true, false),
            ("rw,hidepid=2", true, false),
            ("rw,hidepid=invisible", true, false),
            ("rw,hidepid=4", true, true),
            ("rw,hidepid=ptraceable", true, true),
        ] {
            assert_eq!(
                mount_options(&mount(spelling), b"0:21"),
                Options { hides, ptraceable, gid: None },
                "{spelling}"
            );
        }
        assert_eq!(mount_options(&mount("rw,gid=23,hidepid=invisible"), b"0:21"), HIDING);
    }

    #[test]
    fn the_capability_sees_all() {
        assert!(sees_all(b"Name:\tx\nCapEff:\t000001ffffffffff\n", &HIDING));
        assert!(sees_all(b"CapEff:\t0000000000080000\n", &Options { gid: None, ..HIDING }));
        assert!(!sees_all(b"CapEff:\t0000000000000000\n", &HIDING));
        assert!(!sees_all(b"CapEff:\t000001fffff7ffff\n", &HIDING), "root in a container without it");
    }

    #[test]
    fn the_group_of_the_mount_option_sees_all_but_not_where_only_ptrace_does() {
        for status in [&b"Gid:\t1\t1\t1\t23\nGroups:\t\n"[..], b"Gid:\t1\t1\t1\t1\nGroups:\t4 23 \n"] {
            assert!(sees_all(status, &HIDING));
            assert!(!sees_all(status, &Options { ptraceable: true, ..HIDING }));
            assert!(!sees_all(status, &Options { gid: Some(5), ..HIDING }));
        }
        assert!(!sees_all(b"Gid:\tx\tx\tx\tx\nGroups:\tx\n", &Options { gid: None, ..HIDING }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            mount_options(&bytes, b"0:21");
            sees_all(&bytes, &HIDING);
        }
    }
}
