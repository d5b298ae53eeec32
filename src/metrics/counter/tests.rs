//! Named histories, and histories of all kinds against the true counter.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The total after each reading, ten seconds apart.
fn totals(kind: Kind, readings: &[u64]) -> Vec<u64> {
    // A second column that is never zero: a row of zeros is a case of its own.
    let mut counters = Counters::new(Rules::new([kind, Kind::EVENTS], Since::Start));
    let read = |(at, reading): (u64, &u64)| {
        counters.read(&[Some(*reading), Some(1)], seconds(at * 10));
        counters.get(0).unwrap()
    };
    (0..).zip(readings).map(read).collect()
}

fn total(kind: Kind, readings: &[u64]) -> u64 {
    *totals(kind, readings).last().unwrap()
}

#[test]
fn a_total_counts_from_its_first_reading() {
    assert_eq!(totals(Kind::BYTES, &[1_000, 1_250, 1_250]), [0, 250, 250]);
}

#[test]
fn since_boot_exports_the_kernels_own_total() {
    let mut counters = Counters::new(Rules::new([Kind::BYTES], Since::Boot));
    counters.read(&[Some(1_000)], seconds(0));
    counters.read(&[Some(1_250)], seconds(10));
    assert_eq!(counters.get(0), Some(1_250));
}

#[test]
fn a_healthy_column_costs_16_bytes() {
    assert_eq!(size_of::<Row<9>>() - size_of::<Row<8>>(), 16);
}

#[test]
fn zeros_for_any_number_of_readings_add_nothing() {
    for zeros in [1, 2, 5, 50] {
        let mut counters = Counters::new(Rules::new([Kind::BYTES; 2], Since::Start));
        let mut at = 0;
        let mut read = |a, b| {
            at += 10;
            counters.read(&[Some(a), Some(b)], seconds(at));
            [counters.get(0), counters.get(1)]
        };
        for _ in 0..zeros {
            assert_eq!(read(0, 0), [Some(0); 2], "in the first readings");
        }
        assert_eq!(read(900_000_000_000, 5), [Some(0); 2]);
        assert_eq!(read(900_000_000_100, 5), [Some(100), Some(0)]);
        for _ in 0..zeros {
            assert_eq!(read(0, 0), [Some(100), Some(0)]);
        }
        assert_eq!(read(900_000_000_300, 6), [Some(300), Some(1)]);
    }
}

#[test]
fn a_restart_goes_on_from_the_total_and_adds_no_whole_reading() {
    assert_eq!(totals(Kind::BYTES, &[1_000, 1_500, 20, 30, 45, 60]), [0, 500, 500, 500, 525, 540]);
}

#[test]
fn a_restart_to_readings_that_stay_the_same_goes_on_when_they_rise() {
    assert_eq!(totals(Kind::BYTES, &[1_000, 20, 20, 20, 20, 25, 26]), [0, 0, 0, 0, 0, 5, 6]);
}

#[test]
fn low_readings_that_rose_and_leap_back_were_a_glitch() {
    assert_eq!(totals(Kind::BYTES, &[1_000_000, 500_010, 500_020, 500_030, 1_000_040]), [0, 0, 0, 20, 40]);
}

#[test]
fn a_restarted_counter_that_passes_its_old_mark_goes_on() {
    assert_eq!(totals(Kind::BYTES, &[100, 10, 40, 70, 95, 120, 150]), [0, 0, 0, 60, 85, 110, 140]);
}

#[test]
fn a_restart_within_a_restart_returns_to_the_outermost_track_it_reaches() {
    let readings = [1_000_000, 10, 20, 30, 5, 6, 7, 1_000_005];
    assert_eq!(totals(Kind::BYTES, &readings), [0, 0, 0, 20, 20, 20, 22, 22]);
    assert_eq!(total(Kind::BYTES, &[1_000_000, 10, 20, 30, 5, 6, 7, 45]), 35, "20 and the 15 since the inner track");
}

#[test]
fn a_step_back_of_one_holds_the_total() {
    assert_eq!(totals(Kind::EVENTS, &[1_000, 999, 1_010]), [0, 0, 10]);
}

#[test]
fn a_reading_beyond_the_limit_is_never_added_whether_it_lasts_or_not() {
    let huge = 1_000_000_000_000_000_000;
    assert_eq!(totals(Kind::BYTES, &[1_000, huge, 1_100]), [0, 0, 100]);
    assert_eq!(totals(Kind::BYTES, &[1_000, huge, huge + 5, huge + 9, huge + 10]), [0, 0, 0, 9, 10]);
    assert_eq!(totals(Kind::BYTES, &[huge, 1_000, 1_100, 1_200, 1_300]), [0, 0, 0, 200, 300], "in the first reading");
}

#[test]
fn a_32_bit_column_that_wraps_goes_on_once_it_is_confirmed() {
    let near = u64::from(u32::MAX) - 99;
    assert_eq!(totals(Kind::BYTES.narrow(), &[near, 50, 80, 90]), [0, 0, 0, 190]);
    assert_eq!(totals(Kind::UNLIMITED.narrow(), &[near, 50, 50, 50, 51]), [0, 0, 0, 0, 151]);
    assert_eq!(totals(Kind::BYTES, &[near, 50, 80, 90]), [0, 0, 0, 40], "a wide column restarted");
}

#[test]
fn a_32_bit_column_that_wraps_every_few_readings_goes_on() {
    let grown = 1_900_000_000;
    let mut value = 4_000_000_000u64;
    let readings: Vec<u64> = std::iter::repeat_with(|| {
        value += grown;
        value % (1 << 32)
    })
    .take(60)
    .collect();
    let total = total(Kind::BYTES.narrow(), &readings);
    assert!(total <= 59 * grown && total >= 25 * grown, "{total}");
}

#[test]
fn an_absent_row_takes_a_new_baseline_and_under_delta_a_total_of_zero() {
    for (delta, after) in [(false, 300), (true, 0)] {
        let rules = Rules::new([Kind::BYTES; 2], Since::Start).delta(delta);
        let mut row = Row::default();
        row.read(&[Some(1_000), Some(1)], seconds(0), &rules);
        row.read(&[Some(1_300), Some(1)], seconds(10), &rules);
        row.read(&[Some(10), Some(1)], seconds(20), &rules);
        row.absent(&rules);
        row.read(&[Some(40_000), Some(1)], seconds(40), &rules);
        assert_eq!(row.total(0), after);
        row.read(&[Some(40_007), Some(1)], seconds(50), &rules);
        assert_eq!(row.total(0), after + 7);
    }
}

#[test]
fn since_boot_a_returning_row_never_falls() {
    let rules = Rules::new([Kind::BYTES], Since::Boot);
    let mut row = Row::default();
    row.read(&[Some(1_000)], seconds(0), &rules);
    row.absent(&rules);
    assert_eq!(row.read(&[Some(40)], seconds(10), &rules), [0]);
    assert_eq!((row.total(0), row.read(&[Some(50)], seconds(20), &rules)), (1_000, [10]));
    row.absent(&rules);
    row.read(&[Some(5_000)], seconds(30), &rules);
    assert_eq!(row.total(0), 5_000);
}

#[test]
fn columns_that_share_a_limit_are_judged_together() {
    let rules = Rules::new([Kind::UNLIMITED; 2], Since::Start).together(Together { per_second: 100, times: 1 });
    let mut row = Row::default();
    row.read(&[Some(1_000), Some(1_000)], seconds(0), &rules);
    // 10 s × 1.25 + 2 s are 1,450 ticks.
    assert_eq!(row.read(&[Some(2_000), Some(1_450)], seconds(10), &rules), [1_000, 450]);
    assert_eq!(row.read(&[Some(3_000), Some(1_901)], seconds(20), &rules), [0, 0], "one tick too many");
    assert!(!row.is_comparable());
    assert_eq!(row.read(&[Some(3_100), Some(2_001)], seconds(30), &rules), [1_100, 551], "in twice the time");
    assert!(!row.is_comparable(), "the growth is of two intervals");
    assert_eq!(row.read(&[Some(3_100), Some(1_900)], seconds(40), &rules), [0, 0]);
    assert!(row.is_comparable(), "a small step back is held");
}

#[test]
fn a_small_step_back_of_a_mode_only_holds_however_it_goes_on() {
    let rules = Rules::new([Kind::UNLIMITED; 2], Since::Start).together(Together { per_second: 100, times: 1 });
    let mut row = Row::default();
    let readings = [1_000, 400, 500, 600, 700, 1_100];
    let grown = (0..).zip(readings).map(|(at, mode)| row.read(&[Some(mode), Some(9)], seconds(at * 10), &rules)[0]);
    assert_eq!(grown.collect::<Vec<_>>(), [0, 0, 0, 0, 0, 100]);
}

#[test]
fn another_thing_of_the_same_name_takes_a_new_baseline_and_its_total_stays() {
    for delta in [false, true] {
        let mut table = Table::new(Rules::new([Kind::BYTES], Since::Start).delta(delta), 10);
        let mut at = 0;
        let mut read = |thing: u32, reading| {
            at += 10;
            table.begin(seconds(at));
            let (entry, _) = table.read_same(b"a", &[Some(reading)], |known| *known == thing, || thing).unwrap();
            assert_eq!(entry.data, thing);
            let total = entry.row().get(0);
            table.end();
            total
        };
        let readings = [(1, 1_000), (1, 1_500), (2, 900), (2, 1_000)];
        let totals = readings.map(|(thing, reading)| read(thing, reading).unwrap());
        assert_eq!(totals, [0, 500, 500, 600]);
    }
}

#[test]
fn rows_that_went_away_are_remembered_up_to_a_number() {
    let mut table = Table::new(Rules::new([Kind::BYTES], Since::Start), 10);
    for n in 1..1_000u64 {
        table.begin(seconds(n));
        table.read(b"stays", &[Some(n)], || ());
        table.read(format!("ppp{n}").as_bytes(), &[Some(n)], || ());
        table.end();
    }
    assert!(table.len() <= 13, "{}", table.len());
    let listed: Vec<_> = table.listed().map(|entry| (entry.name().to_vec(), entry.row().total(0))).collect();
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&(b"stays".to_vec(), 998)));
    table.begin(seconds(1_000));
    assert_eq!(table.read(b"stays", &[Some(1_000)], || ()).unwrap().1, [1]);
    assert!(table.read(b"stays", &[Some(2_000)], || ()).is_none(), "a name that comes twice is damage");
}

/// The second column is narrow.
const COLUMNS: usize = 2;
const BASE: Rules<COLUMNS> = Rules::new([Kind::BYTES, Kind::EVENTS.narrow()], Since::Start);

/// How a device is read for some intervals.
#[derive(Clone, Debug)]
enum Reading {
    Good,
    /// The counters really start at zero.
    Restart,
    Absent,
    Zeros,
    /// The same number below the true one, and not zero.
    Below(Index),
    /// The same number above the limit.
    Above,
}

#[derive(Clone, Debug)]
struct Phase {
    reading: Reading,
    /// One column, or all of the row.
    of: Option<usize>,
    /// How much the true counter grows in each interval.
    grows: Vec<u64>,
}

/// The true counter of one column, and what its total may lack.
#[derive(Clone, Debug)]
struct Truth {
    raw: u64,
    grown: u64,
    may_lack: u64,
    /// Readings of the row in a good run since the counter restarted, and whether one rose; `None` when it is confirmed.
    run: Option<(u8, bool)>,
    restarted: bool,
    /// Growth since the last reading that was believed.
    unseen: u64,
    baseline: bool,
    /// What the counter was before it restarted.
    before: Vec<u64>,
    last_good: u64,
    narrow: bool,
    stuck: Option<u64>,
}

impl Truth {
    fn new(raw: u64, narrow: bool) -> Self {
        Self {
            raw,
            grown: 0,
            may_lack: 0,
            run: None,
            restarted: false,
            unseen: 0,
            baseline: false,
            before: Vec::new(),
            last_good: raw,
            narrow,
            stuck: None,
        }
    }

    fn shown(&self) -> u64 {
        if self.narrow { self.raw % (1 << 32) } else { self.raw }
    }
}

/// Runs the devices' histories through a table and holds every total against the truth.
fn run(devices: &[(u64, Vec<Phase>)]) -> Result<(), TestCaseError> {
    let mut table = Table::new(BASE, 8);
    let mut truths: Vec<[Truth; COLUMNS]> = devices
        .iter()
        .map(|(raw, _)| [Truth::new(*raw, false), Truth::new((1 << 32) - 1 - raw % 90_000, true)])
        .collect();
    let mut before = vec![[0; COLUMNS]; devices.len()];
    let steps: Vec<Vec<(&Phase, usize)>> = devices.iter().map(|(_, phases)| plan(phases)).collect();
    for step in 0..steps.iter().map(Vec::len).max().unwrap_or(0) {
        table.begin(seconds(10 * step as u64));
        for turn in 0..devices.len() {
            let device = (turn + step) % devices.len(); // listed in another order each time
            let Some((phase, at)) = steps[device].get(step) else { continue };
            if let Some(row) = advance(&mut truths[device], phase, *at) {
                table.read(format!("d{device}").as_bytes(), &row.map(Some), || ());
            }
        }
        table.end();
        for (device, (truth, before)) in truths.iter().zip(&mut before).enumerate() {
            let name = format!("d{device}");
            let Some(entry) = table.listed().find(|entry| entry.name() == name.as_bytes()) else { continue };
            for column in 0..COLUMNS {
                let (total, truth) = (entry.row().total(column), &truth[column]);
                prop_assert!(total >= before[column], "step {step} {name}/{column} falls to {total}");
                prop_assert!(total <= truth.grown, "step {step} {name}/{column} invents: {total}, {truth:?}");
                let settled = truth.baseline && truth.run.is_none() && truth.stuck.is_none();
                prop_assert!(
                    !settled || truth.grown - total <= truth.may_lack,
                    "step {step} {name}/{column} lacks: {total}, {truth:?}"
                );
                before[column] = total;
            }
        }
    }
    Ok(())
}

/// The phases, interval by interval. No rule can detect a glitch after a glitch, or one that is the first reading after an
/// absence, so these count as correct readings; zeros of the whole row are detected.
fn plan(phases: &[Phase]) -> Vec<(&Phase, usize)> {
    phases.iter().flat_map(|phase| (0..phase.grows.len()).map(move |at| (phase, at))).collect()
}

fn advance(truths: &mut [Truth; COLUMNS], phase: &Phase, at: usize) -> Option<[u64; COLUMNS]> {
    let grow = [phase.grows[at], phase.grows[at] * 31 % 5_003];
    let absent = matches!(phase.reading, Reading::Absent);
    for (column, truth) in truths.iter_mut().enumerate() {
        let hit = phase.of.is_none_or(|of| of == column);
        // A narrow counter that restarts in its upper half cannot be distinguished from one that wraps.
        if at == 0 && hit && matches!(phase.reading, Reading::Restart) && !(truth.narrow && truth.shown() >= 1 << 31) {
            truth.before.push(if truth.narrow { truth.last_good % (1 << 32) } else { truth.last_good });
            (truth.raw, truth.run) = (0, truth.baseline.then_some((0, false)));
            truth.last_good = 0;
            truth.restarted = truth.baseline;
            truth.may_lack += std::mem::take(&mut truth.unseen);
        }
        let wraps = truth.narrow && truth.shown() + grow[column] >= 1 << 32;
        truth.raw += grow[column];
        truth.grown += grow[column];
        if absent {
            (truth.baseline, truth.run, truth.stuck) = (false, None, None);
            truth.before.clear();
            truth.may_lack += std::mem::take(&mut truth.unseen);
        } else if wraps && truth.baseline && truth.run.is_none() {
            truth.run = Some((0, false));
        }
        let lost = !truth.baseline || truth.run.is_some() && truth.restarted;
        *(if lost { &mut truth.may_lack } else { &mut truth.unseen }) += grow[column];
        let glitched = hit && matches!(phase.reading, Reading::Zeros | Reading::Below(_) | Reading::Above);
        if !glitched {
            truth.stuck = None;
        } else if at == 0 {
            let shown = truth.shown();
            let number = match &phase.reading {
                Reading::Below(index) => 1 + index.index(usize::try_from(shown.max(2) - 1).unwrap()) as u64,
                Reading::Above => 1 << 62,
                _ => 0,
            };
            // Without a baseline a wrong number would be it.
            let possible =
                phase.of.is_none() && number == 0 || truth.baseline && (number == 1 << 62 || number <= shown);
            truth.stuck = possible.then_some(number);
        }
    }
    if absent {
        return None;
    }
    let row = [0, 1].map(|column: usize| truths[column].stuck.unwrap_or_else(|| truths[column].shown()));
    if row == [0; COLUMNS] {
        truths.iter_mut().filter(|truth| truth.run.is_some()).for_each(|truth| truth.run = Some((0, false)));
        return Some(row);
    }
    for (column, truth) in truths.iter_mut().enumerate() {
        if truth.stuck.is_some() {
            truth.run = truth.run.map(|_| (0, false));
            continue;
        }
        if !truth.baseline {
            // The first reading is the baseline, and lacks its own interval.
            (truth.baseline, truth.last_good) = (true, truth.raw);
            continue;
        }
        truth.run = match truth.run {
            Some((run, rose)) => {
                let rose = rose || run > 0 && grow[column] > 0;
                (!(run >= 2 && rose)).then_some((run + 1, rose))
            }
            None => None,
        };
        if truth.run.is_none() {
            (truth.restarted, truth.unseen) = (false, 0);
        }
        // A leap over the gap looks like the end of a glitch, and loses its own growth once.
        if truth.before.last().is_some_and(|mark| truth.shown() >= *mark) {
            truth.may_lack += truth.raw - truth.last_good;
            let shown = truth.shown();
            truth.before.retain(|mark| *mark > shown);
        }
        truth.last_good = truth.raw;
    }
    Some(row)
}

fn phase() -> impl Strategy<Value = Phase> {
    let reading = prop_oneof![
        4 => Just(Reading::Good),
        2 => Just(Reading::Restart),
        1 => Just(Reading::Absent),
        2 => Just(Reading::Zeros),
        2 => any::<Index>().prop_map(Reading::Below),
        1 => Just(Reading::Above),
    ];
    let grow = prop_oneof![1 => Just(0u64), 1 => Just(1), 3 => 0u64..60_000];
    let of = prop_oneof![2 => Just(None), 1 => (0..COLUMNS).prop_map(Some)];
    (reading, of, proptest::collection::vec(grow, 1..9)).prop_map(|(reading, of, grows)| Phase { reading, of, grows })
}

/// A glitch is followed by at least one good reading.
fn phases() -> impl Strategy<Value = Vec<Phase>> {
    proptest::collection::vec(phase(), 1..10).prop_map(|mut phases| {
        let glitch = |phase: &Phase| matches!(phase.reading, Reading::Zeros | Reading::Below(_) | Reading::Above);
        for at in 1..phases.len() {
            if glitch(&phases[at - 1]) && glitch(&phases[at]) {
                phases[at].reading = Reading::Good;
            }
        }
        phases
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_total_never_falls_never_invents_and_always_goes_on(
        devices in proptest::collection::vec((prop_oneof![Just(0u64), 0..2_000_000u64, any::<u32>().prop_map(u64::from)], phases()), 1..4)
    ) {
        run(&devices)?;
    }

    #[test]
    fn any_readings_give_totals_that_never_fall(
        readings in proptest::collection::vec((any::<[Option<u64>; 3]>(), 0u64..100_000, 0u8..8), 0..60), boot: bool, together: bool
    ) {
        let since = if boot { Since::Boot } else { Since::Start };
        let mut rules = Rules::new([Kind::BYTES, Kind::EVENTS.narrow(), Kind::UNLIMITED], since);
        if together {
            rules = rules.together(Together { per_second: 100, times: 4 });
        }
        let (mut row, mut now, mut before) = (Row::default(), 0, [0; 3]);
        for (readings, wait, how) in readings {
            now += wait;
            match how {
                0 => row.absent(&rules),
                _ => _ = row.read(&readings.map(|r| r.map(|r| r >> (how * 8))), Duration::from_millis(now), &rules),
            }
            for (column, before) in before.iter_mut().enumerate() {
                prop_assert!(row.total(column) >= *before);
                *before = row.total(column);
            }
        }
    }
}

/// Zeros first, then a restart, a little growth, an absence, and the same low number for a while.
#[test]
fn zeros_first_then_a_restart_and_an_absence_add_nothing_that_did_not_happen() {
    let phase = |reading, grows: &[u64]| Phase { reading, of: None, grows: grows.to_vec() };
    for (low, of) in [(0, None), (40_000, None), (40_000, Some(0))] {
        let history = vec![
            phase(Reading::Zeros, &[0]),
            phase(Reading::Good, &[0]),
            phase(Reading::Restart, &[0]),
            phase(Reading::Good, &[1, 1, 1, 14_933, 58_065, 24_758, 47_389, 18_038]),
            phase(Reading::Absent, &[0]),
            phase(Reading::Good, &[1, 1, 14_740, 18_995, 36_639, 58_978, 20_951, 26_118, 23_055]),
            Phase { of, ..phase(Reading::Below(index(low)), &[23_719, 3_675, 58_140, 46_959, 11_743, 49_337]) },
            phase(Reading::Good, &[0]),
        ];
        run(&[(1_000_000, history)]).unwrap();
    }
}

/// An index that picks about so many of a million.
fn index(part: u64) -> Index {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    std::iter::repeat_with(|| any::<Index>().new_tree(&mut runner).unwrap().current())
        .find(|index| (index.index(1_000_000) as u64).abs_diff(part) < 20_000)
        .unwrap()
}
