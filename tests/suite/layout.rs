//! The Rust structs, binding numbers and workgroup size against the parsed WGSL.

use miadam::layout::{self, Chunk, Coefs, Group, Progress, Rates};
use naga::{AddressSpace, Module, StorageAccess, TypeInner};

use crate::shaders::{parse, sources};

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
        rust_struct!(Chunk: param, grad, moments, integrals, stride, len, group, windows),
        rust_struct!(Group: beta1_powers, beta2_powers, one_minus_beta1, one_minus_beta2, one_minus_kappa, eps,
            coupled_decay, grad_sign, order, switch_step, amsgrad, padding),
        rust_struct!(Rates: integrating, adam, decay),
        rust_struct!(Coefs: one_minus_beta1, one_minus_beta2, one_minus_kappa, eps, coupled_decay, grad_sign,
            step_size, root_scale, decay, order, amsgrad),
        rust_struct!(Progress: step),
    ];
    let mut seen = 0;
    for (source_name, source) in sources() {
        let (module, _) = parse(&source_name, &source);
        for (name, members, size) in &rust {
            if let Some(found) = wgsl_struct(&module, name) {
                assert_eq!(found, (members.clone(), *size), "{name} in {source_name}");
                seen += 1;
            }
        }
    }
    // Four in the advance kernel, two in each of the variants of the update.
    assert_eq!(seen, 4 + 2 * (sources().len() - 1));
}

#[test]
fn bindings_agree() {
    let read = StorageAccess::LOAD;
    let write = StorageAccess::LOAD | StorageAccess::STORE;
    for (source_name, source) in sources() {
        let (module, _) = parse(&source_name, &source);
        let mut found: Vec<_> = module
            .global_variables
            .iter()
            .map(|(_, variable)| {
                let binding = variable.binding.unwrap();
                assert_eq!(binding.group, 0);
                let AddressSpace::Storage { access } = variable.space else { panic!("{source_name}: {variable:?}") };
                (binding.binding, variable.name.clone().unwrap(), access)
            })
            .collect();
        found.sort_by_key(|&(binding, ..)| binding);
        let expected = if source_name == "advance" {
            use layout::advance::{COEFS, GROUPS, PROGRESS, RATES};
            vec![
                (GROUPS, "groups".into(), read),
                (RATES, "rates".into(), read),
                (PROGRESS, "progress".into(), write),
                (COEFS, "coefs".into(), write),
            ]
        } else {
            use layout::update::{CHUNKS, COEFS, INTEGRALS, MOMENTS, WINDOWS};
            let chunks = if source_name.contains("Run") { "run" } else { "chunks" };
            let state = [
                (CHUNKS, chunks.into(), read),
                (COEFS, "coefs".into(), read),
                (MOMENTS, "moments".into(), write),
                (INTEGRALS, "integrals".into(), write),
            ];
            let windows = found.len() as u32 - WINDOWS;
            let windows = (0..windows).map(|number| (WINDOWS + number, format!("window_{number}"), write));
            state.into_iter().chain(windows).collect()
        };
        assert_eq!(found, expected, "{source_name}");
    }
}

#[test]
fn workgroup_sizes_agree() {
    for (source_name, source) in sources() {
        let (module, _) = parse(&source_name, &source);
        let [entry] = &module.entry_points[..] else { panic!("{source_name} has one entry point") };
        assert_eq!(entry.workgroup_size, [layout::WORKGROUP_SIZE, 1, 1], "{source_name}");
    }
}
