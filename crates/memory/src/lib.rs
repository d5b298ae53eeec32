//! Three ways to keep less memory than the C library and the kernel would: one arena for malloc, no free memory after work that took
//! much of it, and no pages of code that only the start needed.
//!
//! A crate of its own because the calls are `unsafe`, which the main crate forbids.

use std::ffi::c_void;
use std::fs;
use std::ptr;

/// Has all threads share one arena of glibc's malloc. To be called before there is a second thread. Another C library has no arenas.
///
/// By default each thread gets an arena of its own, and each arena keeps free memory for its thread alone. The agent's few
/// threads work one after the other, so that this is memory for nothing.
pub fn one_arena() {
    // SAFETY: it changes a limit that malloc looks at when a thread first allocates, under malloc's own lock.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives whole pages of free memory back to the kernel, also those between memory in use, which glibc's malloc would keep. Another C
/// library keeps what it keeps.
pub fn release_free() {
    // SAFETY: it takes malloc's own locks and changes nothing that is allocated.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Unmaps the pages of the program's code and constants. Those that are used again are mapped again from the page cache, so the
/// others, which only the start needed, no longer count as resident. Returns the bytes that were looked at, mapped or not.
pub fn release_code() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(never_written).map(|(start, length)| release(start, length)).sum()
}

fn release(start: usize, length: usize) -> usize {
    // SAFETY: a mapping of a file that this process cannot write, and has not written: the kernel maps the same bytes again at the
    // next access.
    let answer =
        unsafe { libc::madvise(ptr::with_exposed_provenance_mut::<c_void>(start), length, libc::MADV_DONTNEED) };
    if answer == 0 { length } else { 0 }
}

/// The start and the length of a mapping of code, or of constants. These are in the first mapping of a file; a later one that cannot
/// be written now may have been: relocated data.
fn never_written(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights, offset, _device, inode) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let constants = rights == "r--p" && offset.bytes().all(|digit| digit == b'0');
    if inode == "0" || !(rights == "r-xp" || constants) {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).ok());
    Some((start?, end?.checked_sub(start?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_allocate_from_one_arena() {
        one_arena();
        let threads = (0..4).map(|_| std::thread::spawn(|| std::hint::black_box(vec![1_u8; 100_000]).len()));
        let lengths: Vec<_> = threads.map(|thread| thread.join().unwrap()).collect();
        assert_eq!(lengths, [100_000; 4]);
    }

    #[test]
    fn free_memory_between_memory_in_use_is_given_back() {
        let anonymous = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        let block = |_| std::hint::black_box(vec![1_u8; 50_000]);
        let mut blocks: Vec<_> = (0..400).map(block).map(Some).collect();
        blocks.iter_mut().step_by(2).for_each(|block| *block = None);
        let before = anonymous();
        release_free();
        let after = anonymous();
        assert!(cfg!(not(target_env = "gnu")) || after + 5_000 < before, "{before} kB, then {after} kB");
        assert!(blocks.iter().flatten().all(|block| block.iter().all(|byte| *byte == 1)));
    }

    #[test]
    fn code_and_constants_are_there_again_after_their_release() {
        for _ in 0..3 {
            assert!(release_code() > 100_000);
            let text = format!("{:?} {}", std::hint::black_box([1.5, 2.5]), "constant");
            assert_eq!(text, "[1.5, 2.5] constant");
        }
        std::thread::spawn(|| assert!(release_code() > 0)).join().unwrap();
    }

    #[test]
    fn only_what_was_never_written_is_released() {
        let file = "08:01 77 /usr/bin/agent";
        assert_eq!(never_written(&format!("1000-3000 r-xp 00165000 {file}")), Some((0x1000, 0x2000)));
        assert_eq!(never_written(&format!("1000-3000 r--p 00000000 {file}")), Some((0x1000, 0x2000)));
        for kept in [
            format!("1000-3000 r--p 005fa000 {file}"),
            format!("1000-3000 rw-p 00653000 {file}"),
            format!("1000-3000 rwxp 00000000 {file}"),
            "1000-3000 r-xp 00000000 00:00 0 [vdso]".to_owned(),
            "1000-3000 r--p 00000000 00:00 0 [vvar]".to_owned(),
            String::new(),
        ] {
            assert_eq!(never_written(&kept), None, "{kept}");
        }
    }
}
