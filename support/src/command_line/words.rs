//! From the words of the command line to flags, and from clap's objections to a line.

use std::ffi::OsString;

use clap::{Command, Error, Parser};

use super::output::{WIDTH, one_line};

/// The flags of these words, the first of which is the program's name.
///
/// # Errors
/// If a flag is wrong, or if there is a request such as `--help` among them.
pub fn parse<Flags: Parser>(words: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Flags, Error> {
    flags(command::<Flags>(), words.into_iter().map(Into::into))
}

/// As [`parse`], with other defaults: flags in the form `--flag=value`. What is among the words takes their place.
///
/// # Errors
/// As [`parse`], and if a default is wrong.
pub fn parse_over<Flags: Parser>(defaults: Vec<OsString>, words: &[OsString]) -> Result<Flags, Error> {
    let (program, given) = words.split_at(words.len().min(1));
    let words = program.iter().cloned().chain(defaults).chain(given.iter().cloned());
    flags(command::<Flags>().args_override_self(true), words)
}

fn flags<Flags: Parser>(command: Command, words: impl Iterator<Item = OsString>) -> Result<Flags, Error> {
    let words = joined(&command, words);
    command.try_get_matches_from(words).and_then(|matches| Flags::from_arg_matches(&matches))
}

pub(super) fn command<Flags: Parser>() -> Command {
    Flags::command().max_term_width(WIDTH)
}

/// The words with each negative number joined to the flag before it. Apart, clap takes `-1` for a flag, and `-1e-3` even where
/// it is asked to look for numbers.
fn joined(command: &Command, words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let takes_value = |word: &OsString| {
        let long = word.to_str().and_then(|word| word.strip_prefix("--"));
        let mut arguments = command.get_arguments();
        long.is_some() && arguments.any(|arg| arg.get_long() == long && arg.get_action().takes_values())
    };
    let is_negative = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with('-') && is_number(word));
    let mut joined: Vec<OsString> = Vec::new();
    let mut are_flags = true;
    for word in words {
        are_flags &= word != "--";
        match joined.last_mut() {
            Some(flag) if are_flags && is_negative(&word) && takes_value(flag) => {
                flag.push("=");
                flag.push(word);
            }
            _ => joined.push(word),
        }
    }
    joined
}

fn is_number(word: &str) -> bool {
    word.parse::<f64>().is_ok()
}

/// All that clap says of an error, and its advice, but for the usage, which `--help` shows.
pub fn objection(error: &Error) -> String {
    let text = error.to_string();
    let parts = text.trim_start_matches("error: ").split("\n\n").flat_map(|part| part.split("\n  tip: ").enumerate());
    let parts = parts.map(|(tip, part)| if tip == 0 { one_line(part) } else { format!("tip: {}", one_line(part)) });
    let parts = parts.filter(|part| !part.is_empty() && !part.starts_with("Usage: "));
    let parts = parts.map(|part| part.replace("For more information, ", "for more, ").trim_end_matches('.').to_owned());
    parts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::number::number;
    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[arg(long, default_value_t = 0.5, value_parser = number(0.0..=1.0))]
        part: f64,
        #[arg(long, num_args = 0..=1, default_missing_value = "8", value_parser = number(1..=9_u32))]
        count: Option<u32>,
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        quiet: bool,
        kind: Option<String>,
    }

    fn read(words: &str) -> Result<Flags, String> {
        parse(["program"].into_iter().chain(words.split_whitespace())).map_err(|error| objection(&error))
    }

    #[test]
    fn negative_numbers_are_values() {
        for number in ["-1", "-0.1", "-1e-3", "-.5", "-inf", "-nan", "-99999999999999999999"] {
            for joint in [" ", "="] {
                let error = read(&format!("--part{joint}{number}")).unwrap_err();
                assert_eq!(error, format!("--part {number} is out of range; choose a number from 0 to 1"));
                let error = read(&format!("--count{joint}{number}")).unwrap_err();
                assert!(error.starts_with(&format!("--count {number} is ")), "{error}");
                assert_eq!(read(&format!("--name{joint}{number}")).unwrap().name.as_deref(), Some(number));
            }
        }
        let flags = read("--count --quiet --part 0.25 update").unwrap();
        assert_eq!((flags.count, flags.quiet, flags.part), (Some(8), true, 0.25));
        assert_eq!(flags.kind.as_deref(), Some("update"));
        assert_eq!(read("-- -1").unwrap().kind.as_deref(), Some("-1"));
    }

    #[test]
    fn defaults_give_way_to_what_is_given() {
        let over = |given: &str| {
            let defaults = ["--part=0.25", "--count=3", "--quiet"].map(OsString::from).to_vec();
            let words: Vec<_> = ["program"].into_iter().chain(given.split_whitespace()).map(OsString::from).collect();
            parse_over::<Flags>(defaults, &words)
        };
        let flags = over("--count --part 1 update").unwrap();
        assert_eq!((flags.part, flags.count, flags.quiet), (1.0, Some(8), true));
        let flags = over("").unwrap();
        assert_eq!((flags.part, flags.count, flags.quiet, flags.name), (0.25, Some(3), true, None));
        assert_eq!(
            objection(&over("--part -1").unwrap_err()),
            "--part -1 is out of range; choose a number from 0 to 1"
        );
    }

    #[test]
    fn advice_survives_in_one_line() {
        for (words, expected) in [
            ("--quite", "unexpected argument '--quite' found; tip: a similar argument exists: '--quiet'; "),
            ("--name", "a value is required for '--name <NAME>' but none was supplied; "),
            ("--part", "a value is required for '--part <PART>' but none was supplied; "),
            ("--name -x", "unexpected argument '-x' found; tip: to pass '-x' as a value, use '-- -x'; "),
            ("--quiet -1", "unexpected argument '-1' found; tip: to pass '-1' as a value, use '-- -1'; "),
            ("--part 0 --part 1", "the argument '--part <PART>' cannot be used multiple times; "),
        ] {
            assert_eq!(read(words).unwrap_err(), format!("{expected}for more, try '--help'"));
        }
        assert_eq!(read("--part x").unwrap_err(), "--part x is no number; choose a number from 0 to 1");
    }
}
