//! Has glibc's malloc use one arena for all threads.
//!
//! By default each thread gets an arena of its own, and each arena keeps free memory for its thread alone. The agent's few
//! threads work one after the other, so that this is memory for nothing: 0.25 MB of the 4.5 MB that the static build takes.
//!
//! A crate of its own because the call is `unsafe`, which the main crate forbids.

/// Has all threads share one arena. To be called before there is a second thread. Another C library has no arenas.
pub fn one_arena() {
    // SAFETY: it changes a limit that malloc looks at when a thread first allocates, under malloc's own lock.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn threads_allocate_from_one_arena() {
        super::one_arena();
        let threads = (0..4).map(|_| std::thread::spawn(|| std::hint::black_box(vec![1_u8; 100_000]).len()));
        let lengths: Vec<_> = threads.map(|thread| thread.join().unwrap()).collect();
        assert_eq!(lengths, [100_000; 4]);
    }
}
