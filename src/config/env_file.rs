//! Environment files: `.env` and the file of `--env-file`.
//!
//! One `NAME=VALUE` per line; empty lines and lines that start with `#` or `;` are ignored. `export ` may precede the
//! name. A value is plain, 'single-quoted' or "double-quoted". In a plain value, ` #` starts a comment. In double
//! quotes, a backslash escapes the next character (`\n` is a line break). Nothing is expanded: `$` is an ordinary
//! character. The last assignment to a name is used, as by systemd and a shell.

use crate::config::found::UsageError;

/// Parses the variables of a file, in order.
///
/// # Errors
/// A line that is not an assignment. The message has its number but not its content, which may be a secret.
pub fn parse(name: &str, text: &str) -> Result<Vec<(String, String)>, UsageError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables: Vec<(String, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let wrong = || UsageError(format!("{name}: line {} is not NAME=VALUE", index + 1));
        let (name, value) = assignment(line).ok_or_else(wrong)?;
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value));
    }
    Ok(variables)
}

fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end();
    let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !is_name || name.is_empty() || name.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    Some((name.to_owned(), unquote(value.trim_start())?))
}

fn unquote(value: &str) -> Option<String> {
    let (text, rest) = match value.strip_prefix(['\'', '"']) {
        None if value.starts_with('#') => return Some(String::new()),
        None => return Some(value.split(" #").next().unwrap_or_default().trim_end().to_owned()),
        Some(inner) if value.starts_with('\'') => inner.split_once('\'').map(|(text, rest)| (text.to_owned(), rest))?,
        Some(inner) => double_quoted(inner)?,
    };
    let rest = rest.trim_start();
    (rest.is_empty() || rest.starts_with('#')).then_some(text)
}

fn double_quoted(inner: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut letters = inner.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((text, inner.get(at + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => text.push('\n'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_write_a_value_gives_it() {
        for (line, value) in [
            ("A=b", "b"),
            ("export A=b", "b"),
            ("  A = b  ", "b"),
            ("A=b c # comment", "b c"),
            ("A=b#c", "b#c"),
            ("A=", ""),
            ("A= # comment", ""),
            ("A='b # c' # comment", "b # c"),
            (r#"A="b \"c\" \\ d" # comment"#, r#"b "c" \ d"#),
            (r#"A="$HOME ${X} `x`""#, "$HOME ${X} `x`"),
            ("A=$HOME", "$HOME"),
            (r"A='\n'", r"\n"),
            ("A=k=v=w", "k=v=w"),
        ] {
            assert_eq!(parse("f", line).unwrap(), [("A".to_owned(), value.to_owned())], "{line}");
        }
    }

    #[test]
    fn a_byte_order_mark_carriage_returns_and_comments_are_no_part_of_a_value() {
        let variables = parse("f", "\u{feff}# first\r\nA=1\r\n\r\n; more\r\nB=\"2\"\r\n").unwrap();
        assert_eq!(variables, [("A", "1"), ("B", "2")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_last_assignment_to_a_name_is_used() {
        let variables = parse("f", "A=1\nB=2\nA=3\nB=\n").unwrap();
        assert_eq!(variables, [("A", "3"), ("B", "")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_line_that_is_no_assignment_is_named_by_its_number_and_not_shown() {
        for line in ["hunter2", "1A=hunter2", "=hunter2", "A B=hunter2", "A='hunter2", "A=\"hunter2", "A='x' hunter2"] {
            let error = parse(".env", &format!("A=1\n\n{line}\n")).unwrap_err().to_string();
            assert_eq!(error, ".env: line 3 is not NAME=VALUE", "{line}");
        }
    }
}
