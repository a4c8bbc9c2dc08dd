use crate::layout;
use crate::plan::{Access, Extras, Form, Integrals, Kernel, Shape};

/// The source of the advance kernel; `measures` where a measure kernel runs before it.
#[must_use]
pub fn advance_wgsl(measures: bool) -> String {
    [
        &workgroup_size(),
        &format!("const MEASURE = {measures};\n"),
        include_str!("../../shaders/coefs.wgsl"),
        include_str!("../../shaders/words.wgsl"),
        include_str!("../../shaders/partial.wgsl"),
        include_str!("../../shaders/verdict.wgsl"),
        include_str!("../../shaders/advance.wgsl"),
    ]
    .join("\n")
}

/// The source of a variant of the update kernel; `windows` bindings, as many as its form needs.
#[must_use]
pub fn update_wgsl(kernel: Kernel, windows: usize) -> String {
    let shape = match kernel.shape {
        Shape::Run => include_str!("../../shaders/run.wgsl"),
        Shape::Table => include_str!("../../shaders/table.wgsl"),
    };
    [
        &workgroup_size(),
        &extras(kernel.extras),
        include_str!("../../shaders/chunk.wgsl"),
        include_str!("../../shaders/coefs.wgsl"),
        include_str!("../../shaders/update.wgsl"),
        shape,
        access(kernel.access),
        &windows_wgsl(kernel.form, windows),
    ]
    .join("\n")
}

/// The source of the measure kernel over the tensors of an update kernel, whose extras do not matter.
#[must_use]
pub fn measure_wgsl(kernel: Kernel, windows: usize) -> String {
    let (table, quads) = match kernel.shape {
        Shape::Run => (false, layout::MEASURED_QUADS),
        Shape::Table => (true, (layout::CHUNK / layout::WORKGROUP) as u32),
    };
    [
        &workgroup_size(),
        &format!("const TABLE = {table};\nconst MEASURED_QUADS = {quads}u;\n"),
        include_str!("../../shaders/chunk.wgsl"),
        include_str!("../../shaders/partial.wgsl"),
        include_str!("../../shaders/measure.wgsl"),
        access(kernel.access),
        &windows_wgsl(kernel.form, windows),
    ]
    .join("\n")
}

fn workgroup_size() -> String {
    format!("const WORKGROUP_SIZE = {}u;\n", layout::WORKGROUP_SIZE)
}

fn extras(Extras { adjust, clamp, skip, zero, amsgrad, integrals }: Extras) -> String {
    let (integrals, planes) = match integrals {
        Integrals::None => (false, 0),
        Integrals::Few(planes) => (true, planes),
        Integrals::Any => (true, 0),
    };
    let switches = [
        ("ADJUST", adjust),
        ("CLAMP", clamp),
        ("SKIP", skip),
        ("ZERO", zero),
        ("AMSGRAD", amsgrad),
        ("INTEGRALS", integrals),
    ];
    let switches = switches.map(|(name, value)| format!("const {name} = {value};\n")).concat();
    format!("{switches}const PLANES = {planes}u;\n")
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Quads => include_str!("../../shaders/quads.wgsl"),
        Access::Elements => include_str!("../../shaders/elements.wgsl"),
    }
}

/// `read_param`, `read_grad`, `write_param` and `write_grad` over the windows: WGSL cannot index bindings, so that a choice
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
    let write_grad = choose(grad, "chunk.windows >> 16u", &write);
    source
        + &format!("fn read_param(chunk: Chunk, at: u32) -> Word {{ {read_param} }}\n")
        + &format!("fn read_grad(chunk: Chunk, at: u32) -> Word {{ {read_grad} }}\n")
        + &format!("fn write_param(chunk: Chunk, at: u32, value: Word) {{ {write_param} }}\n")
        + &format!("fn write_grad(chunk: Chunk, at: u32, value: Word) {{ {write_grad} }}\n")
}
