//! A device's limits as the planner needs them.

use crate::abi::{self, QUAD, WORKGROUP_SIZE};
use crate::error::Error;
use crate::plan::Limits;

/// The planner's limits of a device with these limits.
///
/// # Errors
/// If a limit is below what the shaders need.
pub fn plan_limits(limits: &wgpu::Limits) -> Result<Limits, Error> {
    let least = |limit, available: u64, needed: u64| {
        if available < needed { Err(Error::LimitTooSmall { limit, needed, available }) } else { Ok(()) }
    };
    let workgroup = u64::from(WORKGROUP_SIZE);
    // The advance kernel's, which are one more than those of an update with one window for parameters and one for gradients.
    let storage_buffers = abi::advance::CLOCKS + 1;
    least(
        "max_storage_buffers_per_shader_stage",
        limits.max_storage_buffers_per_shader_stage.into(),
        storage_buffers.into(),
    )?;
    least("max_bindings_per_bind_group", limits.max_bindings_per_bind_group.into(), storage_buffers.into())?;
    least("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup.into(), workgroup)?;
    least("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x.into(), workgroup)?;
    let gathered = workgroup * size_of::<abi::Partial>() as u64;
    least("max_compute_workgroup_storage_size", limits.max_compute_workgroup_storage_size.into(), gathered)?;
    least(
        "max_dynamic_storage_buffers_per_pipeline_layout",
        limits.max_dynamic_storage_buffers_per_pipeline_layout.into(),
        1,
    )?;
    // Small enough for any device, large enough that a window is mostly payload.
    least("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size, 1 << 16)?;
    least("max_buffer_size", limits.max_buffer_size, 1 << 16)?;
    // Squared, more than the chunks that the largest binding can list.
    least("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension.into(), 1 << 14)?;

    let bindable = limits.max_storage_buffers_per_shader_stage.min(limits.max_bindings_per_bind_group);
    // A window starts on a whole quad, too.
    let alignment = u64::from(limits.min_storage_buffer_offset_alignment).max(4 * QUAD);
    Ok(Limits {
        // Offsets within a binding are 32-bit element numbers.
        binding: limits.max_storage_buffer_binding_size.min(u64::from(u32::MAX)) / alignment * alignment,
        buffer: limits.max_buffer_size,
        windows: ((bindable - abi::update::WINDOWS) as usize).min(Limits::MAX_WINDOWS),
        workgroups: limits.max_compute_workgroups_per_dimension,
        alignment,
    })
}
