//! Numbers among the flags. Each has a range, and whatever is not in it is told so by the flag's name.

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

/// A flag's number from this range, for clap's `value_parser`.
pub fn number<T: Number>(range: RangeInclusive<T>) -> NumberParser<T> {
    NumberParser { range, otherwise: None }
}

/// See [`number`].
#[derive(Debug, Clone)]
pub struct NumberParser<T> {
    range: RangeInclusive<T>,
    otherwise: Option<&'static str>,
}

impl<T> NumberParser<T> {
    /// What else to do, instead of another number.
    pub fn or(self, otherwise: &'static str) -> Self {
        Self { otherwise: Some(otherwise), ..self }
    }
}

pub trait Number: FromStr + PartialOrd + Copy + Send + Sync + 'static {
    /// What it is called.
    const KIND: &str;

    /// Whether the text is such a number but for its size.
    fn is_written_well(text: &str) -> bool;

    /// The range in words.
    fn words(range: &RangeInclusive<Self>) -> String;
}

macro_rules! whole {
    ($($type:ty),*) => {$(
        impl Number for $type {
            const KIND: &str = "whole number";

            fn is_written_well(text: &str) -> bool {
                let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            }

            fn words(range: &RangeInclusive<Self>) -> String {
                format!("from {} to {}", range.start(), range.end())
            }
        }
    )*};
}
whole!(u8, u32, u64, usize);

impl Number for f64 {
    const KIND: &str = "number";

    fn is_written_well(text: &str) -> bool {
        text.parse::<Self>().is_ok()
    }

    fn words(range: &RangeInclusive<Self>) -> String {
        // Others have too many digits.
        let shown = |value: Self| match value == 0.0 || (1e-3..1e6).contains(&value) {
            true => value.to_string(),
            false => format!("{value:.1e}"),
        };
        let low = shown(*range.start());
        if range.end().is_finite() {
            format!("from {low} to {}", shown(*range.end()))
        } else {
            format!("from {low} up")
        }
    }
}

impl<T: Number> NumberParser<T> {
    fn read(&self, text: &str) -> Result<T, String> {
        match text.parse::<T>() {
            Ok(value) if self.range.contains(&value) => return Ok(value),
            _ => {}
        }
        let fault = match T::is_written_well(text) {
            true => "is out of range",
            false => &format!("is no {}", T::KIND),
        };
        let otherwise = self.otherwise.map(|otherwise| format!(", or {otherwise}")).unwrap_or_default();
        Err(format!("{text} {fault}; choose a {} {}{otherwise}", T::KIND, T::words(&self.range)))
    }
}

impl<T: Number> TypedValueParser for NumberParser<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let flag = arg.and_then(Arg::get_long).map(|long| format!("--{long} ")).unwrap_or_default();
        self.read(&value.to_string_lossy()).map_err(|message| {
            Error::raw(ErrorKind::ValueValidation, format_args!("{flag}{message}")).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: Number + std::fmt::Debug>(parser: &NumberParser<T>, text: &str) -> String {
        parser.read(text).unwrap_err()
    }

    #[test]
    fn a_number_is_told_its_range() {
        let count = number(1..=8192_usize);
        assert_eq!((count.read("1"), count.read("8192"), count.read("+7")), (Ok(1), Ok(8192), Ok(7)));
        for text in ["0", "-1", "8193", "-99999999999999999999999", "99999999999999999999999"] {
            let expected = format!("{text} is out of range; choose a whole number from 1 to 8192");
            assert_eq!(refused(&count, text), expected);
        }
        for text in ["", "-", "x", "1.5", "1e3", "-inf", "nan", "--lr"] {
            let expected = format!("{text} is no whole number; choose a whole number from 1 to 8192");
            assert_eq!(refused(&count, text), expected);
        }
        let seed = number(0..=u64::MAX);
        assert_eq!(seed.read("18446744073709551615"), Ok(u64::MAX));
        assert!(refused(&seed, "18446744073709551616").starts_with("18446744073709551616 is out of range; "));
    }

    #[test]
    fn fractions_are_told_their_range() {
        let part = number(0.0..=1.0);
        assert_eq!((part.read("0"), part.read("1e-3"), part.read(".5")), (Ok(0.0), Ok(1e-3), Ok(0.5)));
        for text in ["-1", "-0.5", "-1e-3", "-.5", "-inf", "inf", "nan", "-nan", "1.0000001", "1e999"] {
            assert_eq!(refused(&part, text), format!("{text} is out of range; choose a number from 0 to 1"));
        }
        assert_eq!(refused(&part, "x"), "x is no number; choose a number from 0 to 1");
        let bound = number(f64::from(f32::MIN_POSITIVE)..=f64::INFINITY).or("drop the flag");
        assert_eq!(bound.read("inf"), Ok(f64::INFINITY));
        assert_eq!(refused(&bound, "0"), "0 is out of range; choose a number from 1.2e-38 up, or drop the flag");
        assert!(refused(&number(0.5..=8.5e37), "0").ends_with("choose a number from 0.5 to 8.5e37"));
    }
}
