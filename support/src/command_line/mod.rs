//! How every example begins and ends: 0 or 1, and an error is one line.

mod number;
mod output;
mod warnings;
mod words;

pub use number::{NumberParser, number};
pub use output::{WIDTH, one_line, say, wrapped};
pub use warnings::without_warnings;
pub use words::{objection, parse, parse_over};

use std::any::type_name;
use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Command, Parser};

use crate::adapter;

/// Shows warnings, parses the flags and runs. Unlike clap's own exit, a wrong flag is one line and code 1 as any other
/// error.
///
/// `--list-adapters` is done here, as `--help` is, so that it needs no other flag.
pub fn main<Flags: Parser>(run: impl FnOnce(&Flags) -> Result<(), Box<dyn Error>>) -> ExitCode {
    // The path of a type begins with the name of its program.
    warnings::show(type_name::<Flags>().split("::").next().unwrap_or_default());
    let result = if is_list_wanted(&words::command::<Flags>()) {
        list_adapters()
    } else {
        match parse(env::args_os()) {
            Ok(flags) => run(&flags),
            Err(request) if !request.use_stderr() => {
                // Nothing is left to report to if stdout is closed.
                let _ = request.print();
                return ExitCode::SUCCESS;
            }
            Err(error) => Err(objection(&error).into()),
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
    has_flag && env::args_os().skip(1).any(|argument| argument == "--list-adapters")
}

fn list_adapters() -> Result<(), Box<dyn Error>> {
    Ok(say(&adapter::list()?)?)
}

/// Whether the reader has gone, as `| head` does.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
