//! The kernels' WGSL, assembled from the files in `shaders/`.
//!
//! A file names what it needs by lines such as `#import shared/chunk.wgsl`. A word in capitals, `#import ACCESS`, is a
//! choice that the variant makes. A line that begins with `#each` stands for one line for each quad of a bundle, and one with `#cell`
//! for each of its cells. Switches are WGSL `override`s, whose values go to the pipeline.

use std::fmt;

use crate::abi;
use crate::dtype::Dtype;
use crate::options::StatePrecision;
use crate::plan::{Access, Extras, Form, Format, Integrals, Kernel, Shape};
use crate::planes::Rounding;

/// A kernel's source, and the values of its overrides.
#[derive(Debug, Clone, PartialEq)]
pub struct Shader {
    /// WGSL.
    pub source: String,
    /// The value of each override, by its name.
    pub constants: Vec<(&'static str, f64)>,
}

/// The values of the overrides as comments, and the source.
impl fmt::Display for Shader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.constants {
            writeln!(f, "// override {name} = {value}")?;
        }
        write!(f, "\n{}", self.source)
    }
}

/// The files that can be imported.
const FILES: [(&str, &str); 31] = [
    ("access/elements.wgsl", include_str!("../../shaders/access/elements.wgsl")),
    ("access/mixed.wgsl", include_str!("../../shaders/access/mixed.wgsl")),
    ("access/mixed_elements.wgsl", include_str!("../../shaders/access/mixed_elements.wgsl")),
    ("access/mixed_quads.wgsl", include_str!("../../shaders/access/mixed_quads.wgsl")),
    ("access/quad.wgsl", include_str!("../../shaders/access/quad.wgsl")),
    ("access/quads.wgsl", include_str!("../../shaders/access/quads.wgsl")),
    ("access/word.wgsl", include_str!("../../shaders/access/word.wgsl")),
    ("shared/average.wgsl", include_str!("../../shaders/shared/average.wgsl")),
    ("shared/bundle.wgsl", include_str!("../../shaders/shared/bundle.wgsl")),
    ("shared/chunk.wgsl", include_str!("../../shaders/shared/chunk.wgsl")),
    ("shared/coefs.wgsl", include_str!("../../shaders/shared/coefs.wgsl")),
    ("shared/draw.wgsl", include_str!("../../shaders/shared/draw.wgsl")),
    ("shared/gain.wgsl", include_str!("../../shaders/shared/gain.wgsl")),
    ("shared/half.wgsl", include_str!("../../shaders/shared/half.wgsl")),
    ("shared/partial.wgsl", include_str!("../../shaders/shared/partial.wgsl")),
    ("shared/progress.wgsl", include_str!("../../shaders/shared/progress.wgsl")),
    ("shared/q8.wgsl", include_str!("../../shaders/shared/q8.wgsl")),
    ("shared/rows.wgsl", include_str!("../../shaders/shared/rows.wgsl")),
    ("shared/run.wgsl", include_str!("../../shaders/shared/run.wgsl")),
    ("shared/table.wgsl", include_str!("../../shaders/shared/table.wgsl")),
    ("shared/u64.wgsl", include_str!("../../shaders/shared/u64.wgsl")),
    ("shared/verdict.wgsl", include_str!("../../shaders/shared/verdict.wgsl")),
    ("shared/whole.wgsl", include_str!("../../shaders/shared/whole.wgsl")),
    ("shared/wide.wgsl", include_str!("../../shaders/shared/wide.wgsl")),
    ("shared/workgroup.wgsl", include_str!("../../shaders/shared/workgroup.wgsl")),
    ("state/bf16.wgsl", include_str!("../../shaders/state/bf16.wgsl")),
    ("state/f32.wgsl", include_str!("../../shaders/state/f32.wgsl")),
    ("state/q8.wgsl", include_str!("../../shaders/state/q8.wgsl")),
    ("swap/master.wgsl", include_str!("../../shaders/swap/master.wgsl")),
    ("swap/packed.wgsl", include_str!("../../shaders/swap/packed.wgsl")),
    ("swap/whole.wgsl", include_str!("../../shaders/swap/whole.wgsl")),
];

/// Where the verdict on a step's gradients comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// From the options alone: no gradient is looked at.
    Blind,
    /// From the finds of the measure kernels, which run before.
    Measured,
    /// From another optimizer.
    Followed,
}

impl Judgement {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Blind, Self::Measured, Self::Followed];

    /// Whether measure kernels run.
    pub(super) fn measures(self) -> bool {
        self == Self::Measured
    }
}

/// The advance kernel.
#[must_use]
pub fn advance(judgement: Judgement) -> Shader {
    let source = assemble("advance.wgsl", include_str!("../../shaders/advance.wgsl"), &Variant::default());
    let constant = |name, own| (name, switch(judgement == own));
    Shader {
        source,
        constants: vec![constant("MEASURE", Judgement::Measured), constant("FOLLOW", Judgement::Followed)],
    }
}

/// The kernel that moves state to other buffers.
#[must_use]
pub fn moves() -> Shader {
    let source = assemble("move.wgsl", include_str!("../../shaders/move.wgsl"), &Variant::default());
    Shader { source, constants: Vec::new() }
}

/// What a kernel gathers of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Words of a plane in `f32`.
    Word,
    /// Quads of one whose rows have whole quads.
    Quad,
    /// Bundles of one that is kept in fewer bits before or after.
    Bundle {
        /// Its precision before.
        before: StatePrecision,
        /// Its precision after.
        after: StatePrecision,
    },
}

/// The kernel that gathers the state of rows.
#[must_use]
pub fn gather(unit: Unit) -> Shader {
    let of_elements = |file| {
        let variant = Variant { files: vec![("ELEMENT", file)], ..Variant::default() };
        let source = assemble("gather.wgsl", include_str!("../../shaders/gather.wgsl"), &variant);
        Shader { source, constants: Vec::new() }
    };
    match unit {
        Unit::Word => of_elements("access/word.wgsl"),
        Unit::Quad => of_elements("access/quad.wgsl"),
        Unit::Bundle { before, after } => {
            let mut variant = Variant::default();
            variant.keep(after);
            let source = assemble("gather_bundles.wgsl", include_str!("../../shaders/gather_bundles.wgsl"), &variant);
            let before = vec![("WIDTH_BEFORE", before.bundle() as f64)];
            Shader { source, constants: [before, variant.constants].concat() }
        }
    }
}

/// A variant of the update kernel, with as many windows as its form needs.
#[must_use]
pub fn update(kernel: Kernel, windows: usize) -> Shader {
    let mut variant = Variant::new(kernel, windows);
    let Format { state, rounding, .. } = kernel.format;
    variant.keep(state);
    let source = assemble("update.wgsl", include_str!("../../shaders/update.wgsl"), &variant);
    Shader { source, constants: [extras(kernel.extras, rounding), variant.constants].concat() }
}

/// The kernel that makes the master copies of an update kernel's parameters. The update's extras do not matter.
#[must_use]
pub fn adopt(kernel: Kernel, windows: usize) -> Shader {
    let variant = Variant::new(kernel, windows);
    let source = assemble("adopt.wgsl", include_str!("../../shaders/adopt.wgsl"), &variant);
    Shader { source, constants: [QUAD_BY_QUAD.to_vec(), variant.constants].concat() }
}

/// The kernel that swaps parameters and averages, `out` if the parameters go back. A clock has so many words. The update's
/// extras do not matter.
#[must_use]
pub fn swap(kernel: Kernel, windows: usize, out: bool, words: usize) -> Shader {
    let mut variant = Variant::new(kernel, windows);
    let exchange = match kernel.format.rounding {
        Rounding::Exact => "swap/whole.wgsl",
        Rounding::Master => "swap/master.wgsl",
        Rounding::Stochastic => "swap/packed.wgsl",
    };
    variant.files.push(("EXCHANGE", exchange));
    let source = assemble("swap.wgsl", include_str!("../../shaders/swap.wgsl"), &variant);
    let own = vec![("OUT", switch(out)), ("CLOCK_WORDS", words as f64)];
    Shader { source, constants: [own, QUAD_BY_QUAD.to_vec(), variant.constants].concat() }
}

/// The kernel that measures the gradients of an update kernel. The update's extras do not matter.
#[must_use]
pub fn measure(kernel: Kernel, windows: usize) -> Shader {
    let variant = Variant::new(kernel, windows);
    let source = assemble("measure.wgsl", include_str!("../../shaders/measure.wgsl"), &variant);
    let table = ("TABLE", switch(kernel.shape == Shape::Table));
    Shader { source, constants: [vec![table], variant.constants].concat() }
}

/// A kernel of the caller's own, which may import shared files: for tests of what is in those.
#[must_use]
pub fn custom(text: &str) -> Shader {
    Shader { source: assemble("custom", text, &Variant::default()), constants: Vec::new() }
}

/// The overrides of a kernel that visits quads, not bundles.
const QUAD_BY_QUAD: [(&str, f64); 2] = [("WIDTH", 1.0), ("BUNDLES", 1.0)];

/// The choices of a kernel's variant.
#[derive(Default)]
struct Variant {
    /// The file that each word in capitals stands for.
    files: Vec<(&'static str, &'static str)>,
    /// The quads for each of which a line with `#each` stands, and the cells for each of which one with `#cell` does.
    quads: usize,
    cells: usize,
    /// The text behind `#import WINDOWS`.
    windows: String,
    /// The overrides of the access.
    constants: Vec<(&'static str, f64)>,
}

impl Variant {
    fn new(kernel: Kernel, windows: usize) -> Self {
        let grid = match kernel.shape {
            Shape::Run => "shared/run.wgsl",
            Shape::Table => "shared/table.wgsl",
        };
        let mut files = vec![("GRID", grid)];
        let mut constants = Vec::new();
        if kernel.format.is_single() {
            files.push(("ACCESS", by_access(kernel.access, "access/quads.wgsl", "access/elements.wgsl")));
        } else {
            files.push(("ACCESS", "access/mixed.wgsl"));
            files.push(("WORDS", by_access(kernel.access, "access/mixed_quads.wgsl", "access/mixed_elements.wgsl")));
            constants.extend(formats(kernel.format));
        }
        Self { files, windows: windows_wgsl(kernel.form, windows), constants, ..Self::default() }
    }

    /// Keeps state in this precision.
    fn keep(&mut self, precision: StatePrecision) {
        let file = match precision {
            StatePrecision::F32 => "state/f32.wgsl",
            StatePrecision::Bf16 => "state/bf16.wgsl",
            StatePrecision::Q8 => "state/q8.wgsl",
        };
        self.files.push(("STATE", file));
        self.quads = precision.bundle() as usize;
        self.cells = (precision.bundle() / precision.width()) as usize;
        self.constants.extend([("WIDTH", self.quads as f64), ("BUNDLES", precision.block_bundles() as f64)]);
    }

    /// The name and the text of what a file imports.
    fn import<'a>(&'a self, name: &'a str) -> (&'a str, &'a str) {
        if name == "WINDOWS" {
            return (name, &self.windows);
        }
        let file = self.files.iter().find(|(word, _)| *word == name).map_or(name, |(_, file)| file);
        let found = FILES.iter().find(|(name, _)| *name == file);
        *found.unwrap_or_else(|| unreachable!("every import of a shader names a file: {file}"))
    }
}

fn by_access(access: Access, quads: &'static str, elements: &'static str) -> &'static str {
    match access {
        Access::Quads => quads,
        Access::Elements => elements,
    }
}

/// The file with everything that it imports before it, each file once.
fn assemble(name: &str, text: &str, variant: &Variant) -> String {
    let mut assembled = String::new();
    append((name, text), variant, &mut Vec::new(), &mut assembled);
    assembled
}

fn append<'a>((name, text): (&str, &'a str), variant: &'a Variant, known: &mut Vec<&'a str>, assembled: &mut String) {
    for import in text.lines().filter_map(|line| line.strip_prefix("#import ")) {
        if !known.contains(&import) {
            known.push(import);
            append(variant.import(import), variant, known, assembled);
        }
    }
    *assembled += &format!("// ==== {name}\n\n");
    let mut after_import = false;
    for line in text.lines() {
        let is_import = line.starts_with("#import ");
        // The empty line behind imports goes with them.
        if is_import || (after_import && line.is_empty()) {
            after_import = is_import;
            continue;
        }
        after_import = false;
        let repeated = [("#each ", variant.quads), ("#cell ", variant.cells)];
        let found = repeated.iter().find_map(|(mark, times)| Some((line.split_once(mark)?, *times)));
        if let Some(((indent, line), times)) = found {
            for (number, field) in ('a'..='h').enumerate().take(times) {
                let line = line.replace("{q}", &field.to_string()).replace("{i}", &number.to_string());
                *assembled += &format!("{indent}{line}\n");
            }
            continue;
        }
        assembled.push_str(line);
        assembled.push('\n');
    }
    assembled.push('\n');
}

fn switch(on: bool) -> f64 {
    f64::from(u8::from(on))
}

fn extras(extras: Extras, rounding: Rounding) -> Vec<(&'static str, f64)> {
    let Extras { adjust, clamp, decay, cautious, skip, zero, amsgrad, average, integrals } = extras;
    let (has_integrals, planes) = match integrals {
        Integrals::None => (false, 0),
        Integrals::Few(planes) => (true, planes),
        Integrals::Any => (true, 0),
    };
    vec![
        ("ADJUST", switch(adjust)),
        ("CLAMP", switch(clamp)),
        ("DECAY", switch(decay)),
        ("CAUTIOUS", switch(cautious)),
        ("SKIP", switch(skip)),
        ("ZERO", switch(zero)),
        ("AMSGRAD", switch(amsgrad)),
        ("AVERAGE", switch(average)),
        ("INTEGRALS", switch(has_integrals)),
        ("PLANES", f64::from(planes)),
        ("MASTER", switch(rounding == Rounding::Master)),
    ]
}

/// The overrides of mixed.wgsl, which numbers the types.
fn formats(format: Format) -> [(&'static str, f64); 3] {
    let number = |dtype| match dtype {
        Dtype::F32 => 0.0,
        Dtype::F16 => 1.0,
        Dtype::Bf16 => 2.0,
    };
    [
        ("PARAM_DTYPE", number(format.param)),
        ("GRAD_DTYPE", number(format.grad)),
        ("STOCHASTIC", switch(format.rounding == Rounding::Stochastic)),
    ]
}

/// `read_word` and `write_word`, which reach a word of a parameter or of its gradient. WGSL cannot index bindings, so that
/// a choice among windows is a `switch`. A software driver goes through all of its cases, so that there are no more than
/// need be.
fn windows_wgsl(form: Form, windows: usize) -> String {
    let mut source =
        "// Generated: the windows into the caller's buffers.\n\nconst PARAM = 0u;\nconst GRAD = 1u;\n\n".to_owned();
    for window in 0..windows {
        let binding = abi::update::WINDOWS + window as u32;
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
        source += &format!("\nfn {function} {{ {body} }}\n");
    }
    source
}

/// An access to the window, among these, that the chunk names for the role.
fn choose(numbers: &[usize], access: &str) -> String {
    let to = |number: &usize| access.replace("WINDOW", &format!("window_{number}"));
    let (last, others) = numbers.split_last().unwrap_or_else(|| unreachable!("every form has a window"));
    if others.is_empty() {
        return to(last);
    }
    let cases: String = others.iter().map(|number| format!("case {number}u: {{ {} }} ", to(number))).collect();
    format!("switch (chunk.windows >> (16u * role)) & 0xffffu {{ {cases}default: {{ {} }} }}", to(last))
}
