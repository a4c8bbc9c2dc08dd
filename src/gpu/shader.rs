use std::fmt::Write;

use crate::layout;
use crate::plan::{Access, Form};

/// The source of the advance kernel.
#[must_use]
pub fn advance_wgsl() -> &'static str {
    include_str!("../../shaders/advance.wgsl")
}

/// The source of the update kernel for one access and form; `windows` bindings, as many as the form needs.
#[must_use]
pub fn update_wgsl(access: Access, form: Form, windows: usize) -> String {
    let access = match access {
        Access::Quads => include_str!("../../shaders/quads.wgsl"),
        Access::Elements => include_str!("../../shaders/elements.wgsl"),
    };
    let mut source = [include_str!("../../shaders/update.wgsl"), access].join("\n");
    write_windows(&mut source, form, windows).unwrap_or_else(|_| unreachable!("writing to a String cannot fail"));
    source
}

/// `read_param`, `read_grad` and `write_param` over the windows: WGSL cannot index bindings, so that a choice
/// among them is a `switch`.
fn write_windows(source: &mut String, form: Form, windows: usize) -> std::fmt::Result {
    for window in 0..windows {
        let binding = layout::update::WINDOWS + window as u32;
        writeln!(source, "@group(0) @binding({binding}) var<storage, read_write> window_{window}: array<Word>;")?;
    }
    let [param, grad] = match form {
        Form::One => [Some(0), Some(0)],
        Form::Two => [Some(0), Some(1)],
        Form::Many => [None, None],
    };
    let choose = |number: &str, fixed: Option<usize>, access: &dyn Fn(usize) -> String| match fixed {
        Some(window) => access(window),
        None => {
            let cases: String =
                (0..windows - 1).map(|window| format!("case {window}u: {{ {} }} ", access(window))).collect();
            format!("switch {number} {{ {cases}default: {{ {} }} }}", access(windows - 1))
        }
    };
    let read = |window| format!("return window_{window}[at];");
    let write = |window| format!("window_{window}[at] = value;");
    let (param_number, grad_number) = ("chunk.windows & 0xffffu", "chunk.windows >> 16u");
    writeln!(source, "fn read_param(chunk: Chunk, at: u32) -> Word {{ {} }}", choose(param_number, param, &read))?;
    writeln!(source, "fn read_grad(chunk: Chunk, at: u32) -> Word {{ {} }}", choose(grad_number, grad, &read))?;
    writeln!(source, "fn write_param(chunk: Chunk, at: u32, value: Word) {{ {} }}", choose(param_number, param, &write))
}
