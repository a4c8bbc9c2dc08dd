use crate::Dtype;
use crate::layout;
use crate::plan::{Access, Extras, Form, Format, Integrals, Kernel, Rounding, Shape};

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
    let constants = extras(kernel.extras, kernel.format.rounding);
    each_quad(kernel, windows, &[&constants, include_str!("../../shaders/update.wgsl")])
}

/// The source of what runs before an update kernel of parameters that have master copies, until they are made.
#[must_use]
pub fn adopt_wgsl(kernel: Kernel, windows: usize) -> String {
    each_quad(kernel, windows, &[include_str!("../../shaders/adopt.wgsl")])
}

/// A kernel that visits each quad of a dispatch.
fn each_quad(kernel: Kernel, windows: usize, visit: &[&str]) -> String {
    let shape = match kernel.shape {
        Shape::Run => include_str!("../../shaders/run.wgsl"),
        Shape::Table => include_str!("../../shaders/table.wgsl"),
    };
    [
        &workgroup_size(),
        include_str!("../../shaders/chunk.wgsl"),
        include_str!("../../shaders/coefs.wgsl"),
        &visit.join("\n"),
        shape,
        &access(kernel.access, kernel.format),
        &windows_wgsl(kernel.form, windows),
    ]
    .join("\n")
}

/// The source of the measure kernel over the tensors of an update kernel, whose extras do not matter.
#[must_use]
pub fn measure_wgsl(kernel: Kernel, windows: usize) -> String {
    let (table, quads) = (kernel.shape == Shape::Table, layout::MEASURED_QUADS);
    [
        &workgroup_size(),
        &format!("const TABLE = {table};\nconst MEASURED_QUADS = {quads}u;\n"),
        include_str!("../../shaders/chunk.wgsl"),
        include_str!("../../shaders/partial.wgsl"),
        include_str!("../../shaders/measure.wgsl"),
        &access(kernel.access, kernel.format),
        &windows_wgsl(kernel.form, windows),
    ]
    .join("\n")
}

fn workgroup_size() -> String {
    format!("const WORKGROUP_SIZE = {}u;\n", layout::WORKGROUP_SIZE)
}

fn extras(Extras { adjust, clamp, skip, zero, amsgrad, integrals }: Extras, rounding: Rounding) -> String {
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
        ("MASTER", rounding == Rounding::Master),
    ];
    let switches = switches.map(|(name, value)| format!("const {name} = {value};\n")).concat();
    format!("{switches}const PLANES = {planes}u;\n")
}

/// What reaches the caller's tensors.
fn access(access: Access, format: Format) -> String {
    if format.is_single() {
        let single = match access {
            Access::Quads => include_str!("../../shaders/quads.wgsl"),
            Access::Elements => include_str!("../../shaders/elements.wgsl"),
        };
        return single.to_owned();
    }
    let constant = |dtype| match dtype {
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        Dtype::Bf16 => "BF16",
    };
    let [param, grad] = [format.param, format.grad].map(constant);
    let stochastic = format.rounding == Rounding::Stochastic;
    let constants =
        format!("const PARAM_DTYPE = {param};\nconst GRAD_DTYPE = {grad};\nconst STOCHASTIC = {stochastic};\n");
    [
        &constants[..],
        include_str!("../../shaders/words.wgsl"),
        include_str!("../../shaders/philox.wgsl"),
        include_str!("../../shaders/half.wgsl"),
        include_str!("../../shaders/mixed.wgsl"),
        match access {
            Access::Quads => include_str!("../../shaders/mixed_quads.wgsl"),
            Access::Elements => include_str!("../../shaders/mixed_elements.wgsl"),
        },
    ]
    .join("\n")
}

/// `read_word` and `write_word` over the windows, of a parameter or of its gradient: WGSL cannot index bindings, so that a choice
/// among them is a `switch`. A software driver goes through all of its cases, so that there are no more than need be.
fn windows_wgsl(form: Form, windows: usize) -> String {
    let mut source = "const PARAM = 0u;\nconst GRAD = 1u;\n".to_owned();
    for window in 0..windows {
        let binding = layout::update::WINDOWS + window as u32;
        source += &format!("@group(0) @binding({binding}) var<storage, read_write> window_{window}: array<Word>;\n");
    }
    for (function, access) in [
        ("read_word(chunk: Chunk, role: u32, at: u32) -> Word", "return WINDOW[at];"),
        ("write_word(chunk: Chunk, role: u32, at: u32, value: Word)", "WINDOW[at] = value;"),
    ] {
        let among = |numbers: Vec<usize>| choose(&numbers, access);
        let by_role = |param, grad| format!("if role == PARAM {{ {param} }} else {{ {grad} }}");
        let body = match form {
            Form::One => among(vec![0]),
            Form::Two => by_role(among(vec![0]), among(vec![1])),
            Form::Pairs => by_role(among((0..windows).step_by(2).collect()), among((1..windows).step_by(2).collect())),
            Form::Many => among((0..windows).collect()),
        };
        source += &format!("fn {function} {{ {body} }}\n");
    }
    source
}

/// An access to the one of these windows that the chunk names for the role.
fn choose(numbers: &[usize], access: &str) -> String {
    let to = |number: &usize| access.replace("WINDOW", &format!("window_{number}"));
    let (last, others) = numbers.split_last().unwrap_or_else(|| unreachable!("every form has a window"));
    if others.is_empty() {
        return to(last);
    }
    let cases: String = others.iter().map(|number| format!("case {number}u: {{ {} }} ", to(number))).collect();
    format!("switch (chunk.windows >> (16u * role)) & 0xffffu {{ {cases}default: {{ {} }} }}", to(last))
}
