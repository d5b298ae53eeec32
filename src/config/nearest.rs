//! Finds the known name that is most similar to a misspelled one.

/// The most similar name, if it is similar enough to be a misspelling.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (wrong.len() / 3).max(2);
    let distances = names.into_iter().map(|name| (distance(wrong, name), name));
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

/// The number of letters to insert, delete or replace (Levenshtein distance).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (done, letter) in from.chars().enumerate() {
        let mut diagonal = done;
        let mut left = done + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(to.chars()) {
            let above = *cell;
            left = (diagonal + usize::from(letter != other)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = done + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_the_number_of_edits() {
        for (from, to, edits) in
            [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("a", "a", 0)]
        {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }

    #[test]
    fn a_name_that_is_far_from_all_has_no_nearest() {
        let names = ["HEKA_INTERVAL", "HEKA_DETAIL", "HEKA_NAMING"];
        assert_eq!(nearest("HEKA_INTERVALL", names), Some("HEKA_INTERVAL"));
        assert_eq!(nearest("HEKA_DETIAL", names), Some("HEKA_DETAIL"));
        assert_eq!(nearest("HEKA_SOMETHING_ELSE", names), None);
    }
}
