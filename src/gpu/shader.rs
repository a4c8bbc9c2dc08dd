use crate::layout;
use crate::plan::{Access, Extras, Form, Integrals, Kernel, Shape};

/// The source of the advance kernel.
#[must_use]
pub fn advance_wgsl() -> String {
    let (coefs, words) = (include_str!("../../shaders/coefs.wgsl"), include_str!("../../shaders/words.wgsl"));
    [&workgroup_size(), coefs, words, include_str!("../../shaders/advance.wgsl")].join("\n")
}

fn workgroup_size() -> String {
    format!("const WORKGROUP_SIZE = {}u;\n", layout::WORKGROUP_SIZE)
}

/// The source of a variant of the update kernel; `windows` bindings, as many as its form needs.
#[must_use]
pub fn update_wgsl(kernel: Kernel, windows: usize) -> String {
    let shape = match kernel.shape {
        Shape::Run => include_str!("../../shaders/run.wgsl"),
        Shape::Table => include_str!("../../shaders/table.wgsl"),
    };
    let access = match kernel.access {
        Access::Quads => include_str!("../../shaders/quads.wgsl"),
        Access::Elements => include_str!("../../shaders/elements.wgsl"),
    };
    let Extras { adjust, amsgrad, integrals } = kernel.extras;
    let (integrals, planes) = match integrals {
        Integrals::None => (false, 0),
        Integrals::Few(planes) => (true, planes),
        Integrals::Any => (true, 0),
    };
    let extras = format!(
        "const ADJUST = {adjust};\nconst AMSGRAD = {amsgrad};\nconst INTEGRALS = {integrals};\nconst PLANES = {planes}u;\n"
    );
    let (coefs, update) = (include_str!("../../shaders/coefs.wgsl"), include_str!("../../shaders/update.wgsl"));
    [&workgroup_size(), &extras, coefs, update, shape, access, &windows_wgsl(kernel.form, windows)].join("\n")
}

/// `read_param`, `read_grad` and `write_param` over the windows: WGSL cannot index bindings, so that a choice
/// among them is a `switch`.
fn windows_wgsl(form: Form, windows: usize) -> String {
    let mut source = String::new();
    for window in 0..windows {
        let binding = layout::update::WINDOWS + window as u32;
        source += &format!("@group(0) @binding({binding}) var<storage, read_write> window_{window}: array<Word>;\n");
    }
    let [param, grad] = match form {
        Form::One => [Some(0), Some(0)],
        Form::Two => [Some(0), Some(1)],
        Form::Many => [None, None],
    };
    let choose = |fixed: Option<usize>, number: &str, access: &dyn Fn(usize) -> String| {
        let Some(window) = fixed else {
            let last = windows - 1;
            let cases: String = (0..last).map(|window| format!("case {window}u: {{ {} }} ", access(window))).collect();
            return format!("switch {number} {{ {cases}default: {{ {} }} }}", access(last));
        };
        access(window)
    };
    let read = |window| format!("return window_{window}[at];");
    let write = |window| format!("window_{window}[at] = value;");
    let read_param = choose(param, "chunk.windows & 0xffffu", &read);
    let read_grad = choose(grad, "chunk.windows >> 16u", &read);
    let write_param = choose(param, "chunk.windows & 0xffffu", &write);
    source
        + &format!("fn read_param(chunk: Chunk, at: u32) -> Word {{ {read_param} }}\n")
        + &format!("fn read_grad(chunk: Chunk, at: u32) -> Word {{ {read_grad} }}\n")
        + &format!("fn write_param(chunk: Chunk, at: u32, value: Word) {{ {write_param} }}\n")
}
