//! The log on stderr.

use std::env;
use std::io::Write;

use env_logger::{Builder, Env};

use super::output::wrapped;

/// Without RUST_LOG: what the crate and the program itself warn of, and nothing of drivers and libraries.
pub fn show(program: &str) {
    let usual = format!("off,miadam=warn,{program}=warn");
    let mut builder = Builder::from_env(Env::default().default_filter_or(usual));
    if env::var_os("RUST_LOG").is_none() {
        builder.format(|out, record| writeln!(out, "{}", wrapped(&format!("warning: {}", record.args()))));
    }
    // A test may have a log already.
    let _ = builder.try_init();
}

/// Runs `act` with the log off, as where what it warns of is known and intended.
pub fn without_warnings<T>(act: impl FnOnce() -> T) -> T {
    let level = log::max_level();
    log::set_max_level(log::LevelFilter::Off);
    let result = act();
    log::set_max_level(level);
    result
}
