//! Copies of many tensors in one submission, where cubecl would launch a kernel for each.

use burn::tensor::wgpu::{WgpuSetup, wgpu};
use miadam::Slice;

/// A range of bytes that is copied. Both places are at whole words.
pub struct Copy {
    pub from: Slice,
    pub to: Slice,
    pub bytes: u64,
}

/// The most bytes that wait between two places of one buffer.
const STAGE: u64 = 32 << 20;

/// Submits all copies. wgpu does not copy within a buffer, as cubecl's pools need it, so that such a copy goes by way of another
/// buffer.
pub fn submit(setup: &WgpuSetup, copies: &[Copy]) {
    if copies.is_empty() {
        return;
    }
    let label = Some("miadam copies");
    let mut encoder = setup.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
    let (within, between): (Vec<_>, Vec<_>) = copies.iter().partition(|copy| copy.from.buffer == copy.to.buffer);
    for Copy { from, to, bytes } in between {
        encoder.copy_buffer_to_buffer(&from.buffer, from.offset, &to.buffer, to.offset, *bytes);
    }
    let all: u64 = within.iter().map(|copy| copy.bytes).sum();
    if all > 0 {
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label, size: all.min(STAGE), usage, mapped_at_creation: false };
        let stage = setup.device.create_buffer(&descriptor);
        let lens: Vec<_> = within.iter().map(|copy| copy.bytes).collect();
        for batch in batches(&lens, all.min(STAGE)) {
            for Part { number, start, staged, bytes } in &batch {
                let from = &within[*number].from;
                encoder.copy_buffer_to_buffer(&from.buffer, from.offset + start, &stage, *staged, *bytes);
            }
            for Part { number, start, staged, bytes } in &batch {
                let to = &within[*number].to;
                encoder.copy_buffer_to_buffer(&stage, *staged, &to.buffer, to.offset + start, *bytes);
            }
        }
    }
    setup.queue.submit([encoder.finish()]);
}

/// A part of a copy, with its place in the stage.
#[derive(Debug, PartialEq)]
struct Part {
    number: usize,
    start: u64,
    staged: u64,
    bytes: u64,
}

/// The parts of copies of these lengths, as they fill a stage time after time.
fn batches(lens: &[u64], room: u64) -> Vec<Vec<Part>> {
    let mut batches = vec![Vec::new()];
    let (mut last, mut staged) = (0, 0);
    for (number, &len) in lens.iter().enumerate() {
        let mut start = 0;
        while start < len {
            if staged == room {
                batches.push(Vec::new());
                (last, staged) = (last + 1, 0);
            }
            let bytes = (len - start).min(room - staged);
            batches[last].push(Part { number, start, staged, bytes });
            (staged, start) = (staged + bytes, start + bytes);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::{Part, batches};

    #[test]
    fn batches_fill_the_stage() {
        let part = |number, start, staged, bytes| Part { number, start, staged, bytes };
        let wanted = [
            vec![part(0, 0, 0, 4), part(2, 0, 4, 4)],
            vec![part(2, 4, 0, 8)],
            vec![part(2, 12, 0, 4), part(3, 0, 4, 4)],
        ];
        assert_eq!(batches(&[4, 0, 16, 4], 8), wanted);
    }
}
