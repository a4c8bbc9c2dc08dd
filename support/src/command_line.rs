//! How every example begins and ends: 0 or 1, and an error is one line.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Command, Parser};

use crate::adapter;

/// As wide as a terminal is at the least.
const WIDTH: usize = 80;

/// Parses the flags and runs. Unlike clap's own exit, a wrong flag is one line and code 1 as any other error.
///
/// `--list-adapters` is done here, as `--help` is, so that it needs no other flag.
pub fn main<Flags: Parser>(run: impl FnOnce(&Flags) -> Result<(), Box<dyn Error>>) -> ExitCode {
    let command = Flags::command().max_term_width(WIDTH);
    let result = if is_list_wanted(&command) {
        list_adapters()
    } else {
        match command.try_get_matches().and_then(|matches| Flags::from_arg_matches(&matches)) {
            Ok(flags) => run(&flags),
            Err(request) if !request.use_stderr() => {
                // Nothing is left to report to if stdout is closed.
                let _ = request.print();
                return ExitCode::SUCCESS;
            }
            Err(error) => Err(error.to_string().trim_start_matches("error: ").into()),
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody wants the rest.
        Err(error) if is_closed(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", one_line(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Whether the command has [`AdapterFlags`](adapter::AdapterFlags), and was given the one that lists.
fn is_list_wanted(command: &Command) -> bool {
    let has_flag = command.get_arguments().any(|argument| argument.get_long() == Some("list-adapters"));
    has_flag && std::env::args_os().skip(1).any(|argument| argument == "--list-adapters")
}

fn list_adapters() -> Result<(), Box<dyn Error>> {
    Ok(say(&adapter::list()?)?)
}

/// A line on stdout. Unlike `println`, a closed pipe is an error, which [`main`] takes for the end.
///
/// # Errors
/// If stdout cannot be written to.
pub fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// The words of a text, in lines of 80 columns.
pub fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column == 0 {
            column = width;
        } else if column + 1 + width <= WIDTH {
            column += 1 + width;
            lines.push(' ');
        } else {
            column = width;
            lines.push('\n');
        }
        lines.push_str(word);
    }
    lines
}

/// Whether stdout has been closed, as `| head` does.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Names come from files, and messages from drivers; they may hold anything.
pub fn one_line(message: &str) -> String {
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
