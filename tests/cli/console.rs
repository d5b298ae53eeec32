//! Tests of the console output: a table for people, one JSON object per cycle for programs.

use serde_json::Value;

use crate::run::Run;

/// Part of every table after the first.
const LATER: &str = "s since the last reading";

#[test]
fn the_table_has_every_collector_and_rates_from_the_second_reading_on() {
    let ended = Run::console(&["--collectors", COLLECTORS])
        .until(|text| text.split(LATER).nth(1).is_some_and(|table| table.contains("PRESSURE")));
    let (first, second) = ended.out.split_once(LATER).unwrap();
    for collector in ["CPU", "MEMORY", "PAGING", "DISK", "LOAD", "PROCESSES", "SYSTEM", "PRESSURE"] {
        assert!(first.contains(&format!("\n{collector}\n")), "no {collector} in {first}");
        assert!(second.contains(&format!("\n{collector}")), "no {collector} in {second}");
    }
    assert!(first.contains("first reading; rates come with the next one, in "), "{first}");
    assert!(!first.contains("/s\n"), "{first}");
    // The kernel's own totals and units for people: 88000008 sectors, MemTotal, the sum over the disks.
    for text in ["42.0 GiB", "62.6 GiB", "disk.io  nvme0n1", "disk.io  total", "2.17"] {
        assert!(first.contains(text), "no {text} in {first}");
    }
    let io = second.lines().find(|line| line.contains("disk.io  nvme0n1")).unwrap();
    assert!(io.contains("42.0 GiB") && io.contains("0 B/s"), "a rate beside the total: {io}");
    for text in [first, second] {
        assert!(text.contains("\nNETWORK\n") && text.contains("  eth0  "), "{text}");
    }
}

const COLLECTORS: &str = "cpu,memory,paging,disk,network,load,processes,system,pressure";

#[test]
fn the_table_has_one_row_per_cpu_mode_and_one_percentage() {
    let ended = Run::console(&["--collectors", "cpu"]).until(|text| text.matches(LATER).count() > 1);
    let (_, second) = ended.out.split_once(LATER).unwrap();
    for mode in ["user", "nice", "system", "idle", "iowait", "interrupt", "steal"] {
        let rows: Vec<&str> = second
            .lines()
            .take_while(|line| !line.contains(LATER))
            .filter(|line| line.trim_start().starts_with(&format!("{mode} ")))
            .collect();
        assert!(rows.len() == 1 && rows[0].matches('%').count() <= 1, "{mode}: {rows:?} in {second}");
    }
}

#[test]
fn on_a_terminal_each_table_has_its_size_and_overwrites_the_previous_one() {
    let drawn = |text: &str| text.matches("\x1b[H").count();
    let text = Run::console(&["--collectors", COLLECTORS]).on_terminal(30, 12, |text| drawn(text) > 2);
    // The terminal adds a carriage return to the program's own.
    let text = text.replace('\r', "");
    let tables: Vec<&str> = text.split("\x1b[H").collect();
    assert_eq!(tables[0], "\x1b[2J", "the screen is cleared before the first table");
    assert!(!tables[1].contains("\x1b[2J"), "and not again: {text:?}");
    for table in &tables[1..=2] {
        let lines: Vec<&str> = table.split("\x1b[K\n").collect();
        assert_eq!(lines.len(), 12, "11 lines and the cursor's: {table:?}");
        assert!(lines[10].contains(" more lines"), "{table:?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 30), "{table:?}");
    }
    assert!(tables[1].contains("first reading; rates come wit…\x1b[K"), "{:?}", tables[1]);
}

#[test]
fn a_kernel_without_pressure_of_interrupts_is_in_no_line_of_the_log() {
    let ended = Run::console_of("container", &["--once", "--collectors", "pressure"]).end();
    assert!(ended.code == Some(0) && ended.out.contains("PRESSURE"), "{ended:?}");
    assert!(!ended.err.contains("irq"), "{}", ended.err);
    let debug = Run::console_of("container", &["--once", "--collectors", "pressure", "--log-level", "debug"]).end();
    assert!(debug.err.contains("/proc/pressure/irq"), "{}", debug.err);
}

#[test]
fn no_line_of_the_table_is_wider_than_80_columns() {
    for arguments in [
        &[][..],
        &["--detail", "detailed"],
        &["--per-cpu"],
        &["--naming", "hostmetrics"],
        &["--naming", "node_exporter"],
    ] {
        let out = Run::console(&[arguments, &["--once"]].concat()).end().out;
        let widest = out.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(widest.chars().count() <= 80, "{arguments:?}: {widest}");
        let cut = out.lines().find(|line| line.ends_with('…'));
        assert_eq!(cut, None, "{arguments:?}");
        assert!(!out.contains('\u{1b}'), "escape sequences in a pipe: {out}");
    }
}

#[test]
fn detailed_output_has_the_full_names() {
    let out = Run::console(&["--once", "--collectors", "load", "--detail", "detailed"]).end().out;
    assert!(out.contains("system.cpu.load_average.1m"), "{out}");
}

#[test]
fn the_table_ends_when_its_reader_closes_the_pipe() {
    let ended = Run::console(&[]).until(|text| text.contains("CPU"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.err.contains("panic") && !ended.err.contains("fault") && !ended.err.contains("ERROR"), "{ended:?}");
    assert!(ended.err.lines().count() <= 1, "{ended:?}");
}

#[test]
fn once_is_one_table_and_the_end() {
    let ended = Run::console(&["--once"]).end();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    assert_eq!((ended.out.matches("\nCPU\n").count(), ended.out.matches(LATER).count()), (1, 0), "{}", ended.out);
}

fn objects(arguments: &[&str], cycles: usize) -> Vec<Value> {
    let arguments = [&["--console-format", "json"], arguments].concat();
    let ended = Run::console(&arguments).until(move |text| text.matches('\n').count() >= cycles);
    ended.out.lines().take(cycles).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn json_is_one_object_per_line_and_collection() {
    let objects = objects(&[], 3);
    for (cycle, object) in objects.iter().enumerate() {
        assert_eq!(object["host"], "server01", "{object}");
        assert_eq!(object["elapsed_seconds"].is_null(), cycle == 0);
        for collector in ["cpu", "memory", "paging", "disk", "network", "load", "processes", "system", "pressure"] {
            assert!(object[collector].is_object(), "no {collector} in {object}");
        }
    }
    let io = &objects[1]["disk"]["system.disk.io"];
    assert_eq!(io["unit"], "By");
    assert_eq!(io["series"][0]["rate"], 0.0, "nothing moves on a fixture host");
    assert!(objects[0]["disk"]["system.disk.io"]["series"][0].get("rate").is_none());
}

#[test]
fn json_keeps_the_disks_raw_counters_by_disk_and_in_total() {
    let object = objects(&["--once"], 1).remove(0);
    let sda = &object["disk_io_perdisk"]["sda"];
    for (name, value) in [
        ("read_count", 500_005_u64),
        ("write_count", 300_003),
        ("read_bytes", 40_000_040 * 512),
        ("write_bytes", 24_000_024 * 512),
        ("read_merged_count", 6_006),
        ("write_merged_count", 90_009),
        ("read_time", 7_000_007),
        ("write_time", 8_000_008),
        ("busy_time", 5_600_056),
    ] {
        assert_eq!(sda[name], value, "{name} of {sda}");
    }
    let disks = object["disk_io_perdisk"].as_object().unwrap();
    assert_eq!(disks.keys().collect::<Vec<_>>(), ["mmcblk0", "nvme0n1", "nvme1n1", "nvme2n1", "sda", "sr0"]);
    for name in ["read_bytes", "write_count", "busy_time"] {
        let sum: u64 = disks.values().map(|disk| disk[name].as_u64().unwrap()).sum();
        assert_eq!(object["disk_io"][name], sum, "{name}");
    }
}

#[test]
fn json_has_the_counters_of_each_disk_in_every_naming() {
    for naming in ["semconv", "hostmetrics", "node_exporter"] {
        let object = objects(&["--once", "--naming", naming], 1).remove(0);
        let sda = &object["disk_io_perdisk"]["sda"];
        for (name, value) in [
            ("read_count", 500_005_u64),
            ("write_count", 300_003),
            ("read_merged_count", 6_006),
            ("busy_time", 5_600_056),
        ] {
            assert_eq!(sda[name], value, "{name} of {sda} in {naming}");
        }
        assert_eq!(sda["read_bytes"].as_f64(), Some(40_000_040.0 * 512.0), "{naming}");
        // Each of the nine counters is there for each disk, and its total is the sum. node_exporter lists devices that sit on others, of
        // which a sum would be too much.
        if naming == "node_exporter" {
            assert!(object["disk_io"].is_null());
            continue;
        }
        let disks = object["disk_io_perdisk"].as_object().unwrap();
        let totals = object["disk_io"].as_object().unwrap();
        assert_eq!(totals.len(), 9, "{totals:?} in {naming}");
        for (name, total) in totals {
            let sum: f64 = disks.values().map(|disk| disk[name].as_f64().unwrap()).sum();
            assert_eq!(total.as_f64(), Some(sum), "{name} in {naming}");
        }
    }
}

#[test]
fn json_ends_when_its_reader_closes_the_pipe() {
    let ended = Run::console(&["--console-format", "json"]).until(|text| text.contains('\n'));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.lines().count() <= 1 && !ended.err.contains("fault"), "{ended:?}");
}

#[test]
fn help_into_a_pipe_that_is_closed_is_no_error() {
    let ended = Run::new(&["--help"]).until(|_| true);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn the_largest_processes_are_a_table_like_that_of_top() {
    let out = Run::console(&["--once", "--collectors", "process", "--top-processes", "2"]).end().out;
    let table: Vec<&str> = out.lines().skip_while(|line| *line != "PROCESS").skip(1).collect();
    assert!(table[0].ends_with("%CPU      MEMORY  THREADS  EXECUTABLE, UNIT"), "{out}");
    let rows = &table[1..table.iter().position(|line| line.is_empty()).unwrap()];
    assert!((2..=4).contains(&rows.len()), "two by CPU time and two by memory: {out}");
    assert!(rows.iter().all(|row| row.split_whitespace().next().unwrap().parse::<u32>().is_ok()), "{out}");
}
