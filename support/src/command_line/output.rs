//! Lines for people.

use std::io::{self, Write};

/// As wide as a terminal is at the least.
pub const WIDTH: usize = 80;

/// A line on stdout. Unlike `println`, a closed pipe is an error, which [`main`](super::main) takes for the end.
///
/// # Errors
/// If stdout cannot be written to.
pub fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// The text in lines of 80 columns, of which all but the first are indented. A longer word has a line to itself.
pub fn wrapped(text: &str) -> String {
    const INDENT: &str = "\n  ";
    let mut lines = String::new();
    let mut column = 0;
    // Names may have two spaces in a row, which stay.
    for (number, word) in text.split([' ', '\n']).enumerate() {
        let width = word.chars().count();
        if number == 0 {
            column = width;
        } else if column + 1 + width <= WIDTH {
            column += 1 + width;
            lines.push(' ');
        } else {
            column = INDENT.len() - 1 + width;
            lines.push_str(INDENT);
        }
        lines.push_str(word);
    }
    lines
}

/// Names come from files, and messages from drivers; they may hold anything.
pub fn one_line(message: &str) -> String {
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_eighty_columns() {
        let (short, long) = ("α".repeat(39), "x".repeat(100));
        assert_eq!(wrapped(""), "");
        assert_eq!(wrapped("a  b\nc"), "a  b c");
        assert_eq!(wrapped(&format!("{short} {short}x")), format!("{short} {short}x"));
        assert_eq!(wrapped(&format!("{short} {short}xy z")), format!("{short}\n  {short}xy z"));
        assert_eq!(wrapped(&format!("a {long} b")), format!("a\n  {long}\n  b"));
    }
}
