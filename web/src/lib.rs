//! The page's one WebAssembly module: the network of the example `mlp_mnist`, trained by Adam and by MIAdam in turns, on WebGPU
//! or on the CPU twin.

mod check;
mod cpu;
mod digits;
mod drawn;
mod gpu;
mod landscape;
mod mnist;
#[allow(dead_code, reason = "others use the rest")]
#[path = "../../support/src/random.rs"]
mod random;
mod run;
mod saved;
mod settings;

use wasm_bindgen::prelude::wasm_bindgen;

/// A sentence for people.
pub type Result<T> = std::result::Result<T, String>;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = reportError)]
    fn report_error(error: &js_sys::Error);
}

/// Lets the page hear of a defect: without it an awaited call would stay pending.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| report_error(&js_sys::Error::new(&info.to_string()))));
}
