//! Ctrl-C: asked for once, the run ends where it can go on later; twice, it ends at once.

use std::error::Error;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell makes of a process that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on, Ctrl-C no longer ends the process by itself.
pub fn listen() -> Result<(), Box<dyn Error>> {
    let handler = || {
        if ASKED.swap(true, Ordering::Relaxed) {
            exit(INTERRUPTED);
        }
    };
    set_handler(handler)
        .map_err(|error| format!("--checkpoint: Ctrl-C cannot be caught: {error}; drop the flag").into())
}

#[cfg(not(target_arch = "wasm32"))]
use ctrlc::set_handler;

#[cfg(target_arch = "wasm32")]
fn set_handler(_: impl Fn()) -> Result<(), &'static str> {
    Err("WebAssembly has no signals")
}

/// Whether Ctrl-C has been pressed.
pub fn is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
