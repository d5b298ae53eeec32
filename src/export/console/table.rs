//! The table: one group a family, one row a metric and device, one column a word (a mode, a state, a direction).

use std::collections::BTreeMap;
use std::fmt::Write;

use super::human;
use super::series::{Collection, Series, Values};

/// A block of rows that share their columns.
struct Grid {
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// The collection as text, closed by an empty line.
#[must_use]
pub fn render(collection: &Collection) -> String {
    let mut text = String::new();
    let time = humantime::format_rfc3339_seconds(collection.time);
    let host = collection.host.as_deref().unwrap_or("this host");
    let elapsed = collection.elapsed.map_or_else(
        || "first cycle; rates and CPU utilization follow with the next".to_owned(),
        |s| format!("{s:.1} s after the last"),
    );
    let _ = writeln!(text, "{host}  {time}  {elapsed}");
    let mut family = "";
    for grid in grids(&collection.metrics) {
        if grid.0 != family {
            family = grid.0;
            let _ = writeln!(text, "\n{}", family.to_uppercase());
        }
        render_grid(&mut text, &grid.1);
    }
    text.push('\n');
    text
}

fn grids(metrics: &[Values]) -> Vec<(&'static str, Grid)> {
    let mut grids: Vec<(&'static str, Grid)> = Vec::new();
    for values in metrics {
        let columns = columns(values);
        let rows = rows(values, &columns);
        match grids.last_mut() {
            Some((family, grid)) if *family == values.collector && grid.columns == columns => grid.rows.extend(rows),
            _ => grids.push((values.collector, Grid { columns, rows })),
        }
    }
    grids
}

/// The words of a metric, in the order of their sets; one column without a word where it has none.
fn columns(values: &Values) -> Vec<String> {
    let words: BTreeMap<&Vec<usize>, String> =
        values.series.iter().map(|series| (&series.order, column(series))).collect();
    words.into_values().collect()
}

fn column(series: &Series) -> String {
    series.words.iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>().join(" ")
}

fn rows(values: &Values, columns: &[String]) -> Vec<(String, Vec<String>)> {
    let short = values.name.strip_prefix("system.").unwrap_or(&values.name);
    let several = values.series.iter().any(|series| !series.labels.is_empty());
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    // The whole over the devices comes last, below its parts.
    let (parts, whole): (Vec<&Series>, Vec<&Series>) =
        values.series.iter().partition(|series| !series.labels.is_empty());
    for series in parts.into_iter().chain(whole) {
        let mut names: Vec<&str> = series.labels.iter().map(|(_, name)| name.as_str()).collect();
        names.dedup(); // an interface and its device
        let names = names.join(" ");
        let label = match (several, names.is_empty()) {
            (false, _) => short.to_owned(),
            (true, true) => format!("{short}  total"),
            (true, false) => format!("{short}  {names}"),
        };
        if rows.last().is_none_or(|(last, _)| *last != label) {
            rows.push((label, vec![String::new(); columns.len()]));
        }
        let place = columns.iter().position(|column_name| *column_name == column(series));
        if let Some(cell) = rows.last_mut().zip(place).and_then(|((_, cells), place)| cells.get_mut(place)) {
            *cell = human::value(series.value, values.unit, values.metric.kind);
            if let Some(rate) = series.rate {
                let _ = write!(cell, "  {:>9}", human::rate(rate, values.unit));
            }
        }
    }
    rows
}

fn render_grid(text: &mut String, grid: &Grid) {
    const LEAST_LABEL: usize = 28;
    let width = |place: usize| {
        let cells = grid.rows.iter().filter_map(|(_, cells)| cells.get(place)).map(|cell| cell.chars().count());
        cells.chain(grid.columns.get(place).map(|column| column.chars().count())).max().unwrap_or(0)
    };
    let label_width = grid.rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0).max(LEAST_LABEL);
    let widths: Vec<usize> = (0..grid.columns.len()).map(width).collect();
    let mut line = |label: &str, cells: &[String]| {
        let mut out = format!("  {label:label_width$}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(out, "  {cell:>width$}");
        }
        let _ = writeln!(text, "{}", out.trim_end());
    };
    if grid.columns.iter().any(|column| !column.is_empty()) {
        line("", &grid.columns);
    }
    for (label, cells) in &grid.rows {
        line(label, cells);
    }
}
