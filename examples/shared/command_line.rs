//! How every example begins and ends: 0 or 1, and an error is one line.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// Parses the flags and runs. Unlike clap's own exit, a wrong flag is one line and code 1 as any other error.
pub fn main<Flags: Parser>(run: impl FnOnce(&Flags) -> Result<(), Box<dyn Error>>) -> ExitCode {
    let result = match Flags::try_parse() {
        Ok(flags) => run(&flags),
        Err(request) if !request.use_stderr() => {
            // Nothing is left to report to if stdout is closed.
            let _ = request.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => Err(error.to_string().trim_start_matches("error: ").into()),
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

/// Whether stdout has been closed, as `| head` does.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Names come from files, and messages from drivers; they may hold anything.
pub fn one_line(message: &str) -> String {
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
