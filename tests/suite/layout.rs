//! The Rust structs, binding numbers and workgroup size against the parsed WGSL.

use miadam::abi::{
    self, Chunk, Coefs, Gain, Gather, GradSettings, Group, Move, Partial, Progress, Recorded, Scaler, Tick,
};
use miadam::plan::Shape;
use miadam::shader::Judgement;
use naga::{AddressSpace, Module, StorageAccess, TypeInner};

use crate::shaders::{Variant, parse, sample};

/// A struct's members and size, or None if the shader has no such struct.
fn wgsl_struct(module: &Module, name: &str) -> Option<(Vec<(String, u32)>, u32)> {
    module.types.iter().find_map(|(_, ty)| match &ty.inner {
        TypeInner::Struct { members, span } if ty.name.as_deref() == Some(name) => {
            let member = |member: &naga::StructMember| (member.name.clone().unwrap_or_default(), member.offset);
            Some((members.iter().map(member).collect(), *span))
        }
        _ => None,
    })
}

macro_rules! rust_struct {
    ($name:ident: $($field:ident),+) => {
        (
            stringify!($name),
            vec![$((stringify!($field).to_owned(), std::mem::offset_of!($name, $field) as u32)),+],
            size_of::<$name>() as u32,
        )
    };
}

#[test]
fn structs_agree() {
    let rust = [
        rust_struct!(Chunk: param, grad, moments, integrals, stride, master, average, len, clock, windows, stream, first),
        rust_struct!(Group: beta1_powers, beta2_powers, one_minus_beta1, one_minus_beta2, one_minus_kappa, eps,
            coupled_decay, cautious, grad_sign, order, switch_step, amsgrad, average_least, average_over, average_under, average_from,
            average_every, exact_gain, kappa),
        rust_struct!(Tick: integrating, adam, decay, group),
        rust_struct!(Coefs: one_minus_beta1, one_minus_beta2, one_minus_kappa, eps, coupled_decay, grad_factor,
            grad_unit, step_size, root_scale, decay, cautious, order, amsgrad, max_value, skip, average_rate, step),
        rust_struct!(GradSettings: factor, clips, max_norm, max_value, skips, growth_interval, growth_factor, backoff_factor),
        rust_struct!(Progress: step, skipped, norm, generation, bad_rows, padding),
        rust_struct!(Move: before, after, len),
        rust_struct!(Gather: before, from_start, from_end, after, start, len, width, count, counts, fills, is_signed),
        rust_struct!(Scaler: scale, good_steps, skip, padding, factor, unit, norm, tail),
        rust_struct!(Gain: high, low, exponent),
        rust_struct!(Partial: squares, small_squares, large_squares, largest),
    ];
    let (mut seen, mut expected) = (0, 0);
    for variant in sample() {
        let (shader_name, shader) = (variant.to_string(), variant.shader());
        let (module, _) = parse(&shader_name, &shader);
        for (name, members, size) in &rust {
            if let Some(found) = wgsl_struct(&module, name) {
                assert_eq!(found, (members.clone(), *size), "{name} in {shader_name}");
                seen += 1;
            }
        }
        // All but Chunk, Move and Gather in the advance kernel; Move and Progress, Chunk and Coefs, or Chunk and Partial, in the
        // others.
        expected += match () {
            () if shader_name.starts_with("advance") => rust.len() - 3,
            () if shader_name.starts_with("gather") => 1,
            () => 2,
        };
    }
    assert_eq!(seen, expected);
}

/// A struct that ends with an array in WGSL, but not in Rust.
#[test]
fn the_recorded_step_agrees() {
    let (_, members, size) = rust_struct!(Recorded: settings, generation, clock_words);
    for judgement in Judgement::ALL {
        let (module, _) = parse("advance", &miadam::shader::advance(judgement));
        let (found, _) = wgsl_struct(&module, "Recorded").unwrap();
        assert_eq!(found, [members.clone(), vec![("ticks".to_owned(), size)]].concat());
    }
}

type Bindings = Vec<(u32, String, StorageAccess)>;

fn expected_bindings(shader_name: &str, found: &Bindings) -> Bindings {
    let read = StorageAccess::LOAD;
    let write = StorageAccess::LOAD | StorageAccess::STORE;
    let own = |bindings: &[(u32, &str, StorageAccess)]| -> Bindings {
        bindings.iter().map(|&(number, name, access)| (number, name.to_owned(), access)).collect()
    };
    let windows = |own: &Bindings| -> Bindings {
        let windows = found.len() - own.len();
        let first = abi::update::WINDOWS;
        (0..windows as u32).map(|number| (first + number, format!("window_{number}"), write)).collect()
    };
    if shader_name.starts_with("advance") {
        use abi::advance::{CLOCKS, COEFS, GROUPS, PARTIALS, PROGRESS, RECORDED, SCALER};
        return own(&[
            (GROUPS, "groups", read),
            (RECORDED, "recorded", read),
            (PROGRESS, "progress", write),
            (COEFS, "coefs", write),
            (PARTIALS, "partials", read),
            (SCALER, "scaler", write),
            (CLOCKS, "clocks", write),
        ]);
    }
    if shader_name.starts_with("gather") {
        use abi::gather::{AFTER, BEFORE, GATHERS, PROGRESS, ROWS};
        return own(&[
            (GATHERS, "gathers", read),
            (ROWS, "rows", read),
            (BEFORE, "before", read),
            (AFTER, "after", write),
            (PROGRESS, "progress", write),
        ]);
    }
    if shader_name.starts_with("move") {
        use abi::moves::{AFTER, BEFORE, MOVES, PROGRESS};
        return own(&[
            (MOVES, "moves", read),
            (PROGRESS, "progress", read),
            (BEFORE, "before", read),
            (AFTER, "after", write),
        ]);
    }
    let own = if shader_name.starts_with("measure") {
        use abi::measure::{CHUNKS, PARTIALS};
        own(&[(CHUNKS, "chunks", read), (PARTIALS, "partials", write)])
    } else {
        use abi::update::{CHUNKS, COEFS, INTEGRALS, MOMENTS};
        let chunks = if shader_name.contains("Run") { "run" } else { "chunks" };
        let integrals = (INTEGRALS, "integrals", write);
        let all = [(CHUNKS, chunks, read), (COEFS, "coefs", read), (MOMENTS, "moments", write), integrals];
        // To make master copies takes no integrals, which are bound all the same.
        if shader_name.starts_with("swap") {
            own(&[all[0], all[1], all[2], (abi::swap::CLOCKS, "clocks", write)])
        } else {
            own(if shader_name.starts_with("adopt") { &all[..3] } else { &all })
        }
    };
    let windows = windows(&own);
    own.into_iter().chain(windows).collect()
}

#[test]
fn bindings_agree() {
    for variant in sample() {
        let (shader_name, shader) = (variant.to_string(), variant.shader());
        let (module, _) = parse(&shader_name, &shader);
        let mut found: Vec<_> = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space != AddressSpace::WorkGroup)
            .map(|(_, variable)| {
                let binding = variable.binding.unwrap();
                assert_eq!(binding.group, 0);
                let AddressSpace::Storage { access } = variable.space else { panic!("{shader_name}: {variable:?}") };
                (binding.binding, variable.name.clone().unwrap(), access)
            })
            .collect();
        found.sort_by_key(|&(binding, ..)| binding);
        let expected = expected_bindings(&shader_name, &found);
        assert_eq!(found, expected, "{shader_name}");
    }
}

#[test]
fn workgroup_sizes_agree() {
    for variant in sample() {
        let (shader_name, shader) = (variant.to_string(), variant.shader());
        let (module, _) = parse(&shader_name, &shader);
        let [entry] = &module.entry_points[..] else { panic!("{shader_name} has one entry point") };
        let takes_chunks = variant.host().is_some_and(|(kernel, _)| kernel.shape == Shape::Table);
        let is_table = takes_chunks && !matches!(variant, Variant::Measure(..));
        let size = if is_table { abi::TABLE_SIZE } else { abi::WORKGROUP_SIZE };
        assert_eq!(entry.workgroup_size, [size, 1, 1], "{shader_name}");
    }
}
