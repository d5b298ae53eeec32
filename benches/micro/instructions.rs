//! Instructions of one cycle, counted by callgrind: the same in every run, independent of other load on the machine.
//! The kernel's instructions are not included.

use std::process::Command;

use crate::cases::{CASES, Case};

const FEW: usize = 10;
const TWICE: usize = 2 * FEW;

/// Runs a case `count` times under callgrind. The host's clock is advanced equally often for every count, so that the
/// difference of two counts does not include it.
pub fn cycles(name: &str, size: usize, count: usize) {
    let case = CASES.iter().find(|case| case.name == name).expect("a case's name");
    let mut cycle = case.prepare(size);
    for number in (0..TWICE).rev() {
        cycle.between();
        if number < count {
            cycle.run();
        }
    }
}

/// Instructions per cycle at each size; `None` without valgrind.
pub fn per_cycle(case: &Case) -> Option<Vec<f64>> {
    let valgrind = Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success());
    valgrind.then(|| {
        let each = |size: &usize| {
            let [few, twice] = [FEW, TWICE].map(|count| counted(case, *size, count));
            (twice - few) / FEW as f64
        };
        case.sizes.iter().map(each).collect()
    })
}

fn counted(case: &Case, size: usize, count: usize) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--cycles", case.name, &size.to_string(), &count.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let line = said.lines().find_map(|line| line.split_once("Collected : ")).expect("callgrind's sum");
    line.1.trim().parse().unwrap()
}
