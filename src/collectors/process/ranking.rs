//! Selects the processes to report: the largest by CPU time and by memory, without frequent changes.

use std::collections::{HashMap, HashSet};

/// Identifies a process uniquely: its pid, and its start time in clock ticks since boot. A reused pid has another start
/// time.
pub type Key = (u32, u64);

#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub key: Key,
    /// Total CPU time, in clock ticks.
    pub cpu: u64,
    /// Resident memory, in pages.
    pub memory: u64,
}

/// Ranks processes. A process is added if its rank is below `most`, and stays while its rank is below twice that. The
/// hysteresis prevents two processes of similar size from alternating.
#[derive(Debug)]
pub struct Ranking {
    most: usize,
    /// CPU time of all processes at the last walk.
    last: HashMap<Key, u64>,
    /// The processes selected by CPU time, and those selected by memory.
    chosen: [HashSet<Key>; 2],
}

impl Ranking {
    /// Creates a ranking of the `most` largest by each measure.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, last: HashMap::new(), chosen: Default::default() }
    }

    /// Selects the processes to report, in no particular order: at most four times `most`. CPU time is ranked by the
    /// growth since the last walk; at the first walk by the total.
    pub fn choose(&mut self, candidates: &[Candidate]) -> HashSet<Key> {
        // A new process used all of its time since the last walk.
        let used = |one: &Candidate| one.cpu.saturating_sub(self.last.get(&one.key).copied().unwrap_or(0));
        let by_cpu: Vec<(u64, Key)> = candidates.iter().map(|one| (used(one), one.key)).collect();
        let by_memory = candidates.iter().map(|one| (one.memory, one.key)).collect();
        self.last = candidates.iter().map(|one| (one.key, one.cpu)).collect();
        for (measure, chosen) in [by_cpu, by_memory].into_iter().zip(&mut self.chosen) {
            *chosen = take(self.most, measure, chosen);
        }
        let [by_cpu, by_memory] = &self.chosen;
        by_cpu.union(by_memory).copied().collect()
    }
}

/// Selects the largest by one measure; `before` is the selection of the last walk.
fn take(most: usize, mut measure: Vec<(u64, Key)>, before: &HashSet<Key>) -> HashSet<Key> {
    // Processes without usage are not ranked, so that none is reported on an idle host.
    measure.retain(|(size, _)| *size > 0);
    let stay = most.saturating_mul(2).min(measure.len());
    if stay == 0 {
        return HashSet::new();
    }
    // Ties are ordered by pid, so that the selection is stable.
    let order = |a: &(u64, Key), b: &(u64, Key)| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
    if stay < measure.len() {
        measure.select_nth_unstable_by(stay - 1, order);
        measure.truncate(stay);
    }
    measure.sort_unstable_by(order);
    let ranked = measure.into_iter().map(|(_, key)| key).enumerate();
    ranked.filter(|(rank, key)| *rank < most || before.contains(key)).map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pid: u32, cpu: u64, memory: u64) -> Candidate {
        Candidate { key: (pid, 1), cpu, memory }
    }

    fn pids(chosen: &HashSet<Key>) -> Vec<u32> {
        let mut pids: Vec<u32> = chosen.iter().map(|key| key.0).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn the_largest_by_cpu_and_the_largest_by_memory_are_chosen() {
        let mut ranking = Ranking::new(1);
        assert_eq!(pids(&ranking.choose(&[one(1, 10, 1), one(2, 5, 100), one(3, 1, 1)])), [1, 2]);
        // Since the last walk, process 3 used 90 ticks and process 1 none.
        assert_eq!(pids(&ranking.choose(&[one(1, 10, 1), one(2, 5, 100), one(3, 91, 1)])), [2, 3]);
    }

    #[test]
    fn two_processes_of_one_size_do_not_take_turns() {
        let mut ranking = Ranking::new(1);
        ranking.choose(&[one(1, 10, 5), one(2, 9, 5)]);
        for round in 1..10u64 {
            let (a, b) = if round % 2 == 0 { (11, 10) } else { (10, 11) };
            let chosen = pids(&ranking.choose(&[one(1, 10 + round * a, 5), one(2, 9 + round * b, 5)]));
            assert!(chosen.contains(&1), "round {round}: {chosen:?}");
        }
    }

    #[test]
    fn a_pid_that_is_used_again_is_another_process() {
        let mut ranking = Ranking::new(1);
        ranking.choose(&[Candidate { key: (7, 100), cpu: 1_000, memory: 1 }]);
        let chosen = ranking.choose(&[Candidate { key: (7, 200), cpu: 5, memory: 1 }]);
        assert_eq!(chosen.iter().copied().collect::<Vec<_>>(), [(7, 200)]);
    }

    #[test]
    fn processes_that_use_nothing_are_not_chosen() {
        assert!(Ranking::new(5).choose(&[one(1, 0, 0), one(2, 0, 0)]).is_empty());
    }

    #[test]
    fn the_number_of_processes_is_bounded_through_any_churn() {
        let mut ranking = Ranking::new(3);
        for round in 0..200u32 {
            let candidates: Vec<_> = (0..50u32)
                .map(|pid| {
                    one(round * 7 + pid, u64::from((pid * 37 + round * 13) % 101), u64::from((pid * 53 + round) % 97))
                })
                .collect();
            assert!(ranking.choose(&candidates).len() <= 12);
            assert_eq!(ranking.last.len(), 50, "a process that ended is forgotten");
        }
    }
}
