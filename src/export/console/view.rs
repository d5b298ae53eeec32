//! The size of the output, and how a table is written to it.

use std::io::{self, IsTerminal};

/// Line width for a pipe or a file.
const PIPE_WIDTH: usize = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Characters per line.
    pub width: usize,
    /// Number of lines if each table overwrites the previous one; `None` if tables are appended.
    pub height: Option<usize>,
    /// Whether metrics have their full names.
    pub full_names: bool,
}

impl View {
    /// The view of the current standard output. With `redraw`, each table overwrites the previous one if it is a
    /// terminal.
    #[must_use]
    pub fn of_stdout(redraw: bool, full_names: bool) -> Self {
        let out = io::stdout();
        // Without the sequences that move the cursor.
        let redraw = redraw && std::env::var_os("TERM").is_none_or(|name| name != "dumb");
        let size = if out.is_terminal() { rustix::termios::tcgetwinsize(&out).ok() } else { None };
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 1);
        match size {
            None => Self { width: PIPE_WIDTH, height: None, full_names },
            Some(size) => {
                Self { width: usize::from(size.ws_col), height: redraw.then_some(usize::from(size.ws_row)), full_names }
            }
        }
    }

    /// Returns the text to write: the lines after the previous table, or over it. The last line of the screen stays
    /// empty for the cursor; lines that do not fit are counted.
    #[must_use]
    pub fn write(&self, lines: &[String], first: bool) -> String {
        let mut text = String::new();
        let Some(height) = self.height else {
            for line in lines {
                text += line;
                text.push('\n');
            }
            text.push('\n');
            return text;
        };
        let room = height.saturating_sub(1).max(1);
        let shown = if lines.len() > room { room - 1 } else { lines.len() };
        // Clear the screen once. Later, go to its top and clear the rest of each line and of the screen.
        text.push_str(if first { "\x1b[2J\x1b[H" } else { "\x1b[H" });
        for line in lines.iter().take(shown) {
            text += line;
            text += "\x1b[K\r\n";
        }
        if shown < lines.len() {
            let note = format!("({} more lines: --collectors selects, | less shows all)", lines.len() - shown);
            text.extend(note.chars().take(self.width));
            text += "\x1b[K\r\n";
        }
        text.push_str("\x1b[J");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("line {number}")).collect()
    }

    #[test]
    fn a_pipe_gets_plain_lines() {
        let view = View { width: 80, height: None, full_names: false };
        assert_eq!(view.write(&lines(2), true), "line 0\nline 1\n\n");
        assert_eq!(view.write(&lines(2), false), "line 0\nline 1\n\n");
    }

    #[test]
    fn a_terminal_is_cleared_once_and_then_drawn_over() {
        let view = View { width: 80, height: Some(24), full_names: false };
        assert!(view.write(&lines(2), true).starts_with("\x1b[2J\x1b[H"));
        let again = view.write(&lines(2), false);
        assert!(again.starts_with("\x1b[Hline 0\x1b[K") && again.ends_with("\x1b[J"), "{again:?}");
    }

    #[test]
    fn a_table_that_is_longer_than_the_screen_never_scrolls_it() {
        let view = View { width: 80, height: Some(10), full_names: false };
        let text = view.write(&lines(50), true);
        assert_eq!(text.matches('\n').count(), 9);
        assert!(text.contains("(42 more lines"), "{text}");
        assert!(!view.write(&lines(9), true).contains("more lines"));
    }
}
