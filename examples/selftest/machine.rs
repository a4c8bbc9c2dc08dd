//! What there is: the machine's adapters, and the limits of the one that is checked.

use std::env::consts::{ARCH, OS};

use miadam::plan_limits;
use miadam_support::adapter::{self, AdapterError};
use miadam_support::command_line::{one_line, wrapped};
use wgpu::{Adapter, Limits};

pub fn describe(adapter: &Adapter) -> Result<String, AdapterError> {
    let info = adapter.get_info();
    let driver = one_line(&format!("{} {}", info.driver, info.driver_info));
    let checked = wrapped(&format!("checked: {}, driver {driver}", adapter::description(&info)));
    let chosen = format!("{checked}\nsystem: {OS}, {ARCH}");
    let offers = adapter.limits();
    let mut lines = vec!["adapters:".to_owned(), adapter::list()?];
    for adapter in adapter::all()? {
        let limits = adapter.limits();
        let can = match plan_limits(&limits) {
            Ok(_) => {
                format!("miadam runs on it; {} storage buffers a stage", limits.max_storage_buffers_per_shader_stage)
            }
            Err(error) => format!("miadam does not run on it: {error}"),
        };
        lines.push(wrapped(&format!("{}: {can}", adapter::description(&adapter.get_info()))));
    }
    lines.extend([String::new(), chosen, String::new()]);
    lines.push(format!("{:<48}{:>12}{:>13}", "limit", "asked for", "adapter has"));
    lines.extend(limits(&offers).into_iter().zip(limits(&Limits::default())).map(|((name, has), (_, asked))| {
        // An alignment is better where it is smaller.
        let short = if name.starts_with("min") { has > asked } else { has < asked };
        format!("{name:<48}{asked:>12}{has:>13}{}", if short { "  short" } else { "" })
    }));
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// The limits that the optimizer goes by.
fn limits(limits: &Limits) -> [(&'static str, u64); 9] {
    [
        ("max_storage_buffers_per_shader_stage", limits.max_storage_buffers_per_shader_stage.into()),
        ("max_bindings_per_bind_group", limits.max_bindings_per_bind_group.into()),
        (
            "max_dynamic_storage_buffers_per_pipeline_layout",
            limits.max_dynamic_storage_buffers_per_pipeline_layout.into(),
        ),
        ("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size),
        ("max_buffer_size", limits.max_buffer_size),
        ("min_storage_buffer_offset_alignment", limits.min_storage_buffer_offset_alignment.into()),
        ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup.into()),
        ("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension.into()),
        ("max_compute_workgroup_storage_size", limits.max_compute_workgroup_storage_size.into()),
    ]
}
